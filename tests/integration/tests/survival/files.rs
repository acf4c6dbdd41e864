//! The files of shared numbers, when processes die, files are damaged in the middle of a call, or
//! something else lies in their place.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::shared_files::{entries, files, folder, maps, only_file};
use teller_tests::{Database, Statements};

use crate::crash::{Victim, durable, kill, reconnect};
use crate::{answers, train_large, wait_until};

const LOCK: &str = "pg_advisory_xact_lock_shared(1)";

/// Damages the file while the statement waits in its midst, and lets it go on.
///
/// `statement` must take the advisory lock 1 somewhere: [`LOCK`].
fn damaged_meanwhile(
    admin: &mut Client,
    mut user: Client,
    statement: &str,
    damage: impl FnOnce(),
) -> (Client, Result<(), Option<SqlState>>) {
    let pid: i32 = user.value("SELECT pg_backend_pid()");
    admin.run("SELECT pg_advisory_lock(1)");
    let statement = statement.to_owned();
    let work = std::thread::spawn(move || {
        let result = user.simple_query(&statement);
        (user, result.map(drop).map_err(|error| error.code().cloned()))
    });
    let waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted");
    wait_until("the statement waits", || admin.value::<i64>(&waits) == 1);
    damage();
    admin.run("SELECT pg_advisory_unlock(1)");
    work.join().unwrap()
}

/// Calls for three users; before the one of `turn` the function `pause` is called.
fn pausing(turn: i32, pause: &str) -> String {
    format!(
        "SELECT r.* FROM generate_series(1, 3) u, LATERAL teller.recommend(
             u, 3 + length(coalesce(CASE WHEN u = {turn} THEN {pause}::text END, '')), 'm') r"
    )
}

fn cut_off(path: &Path) {
    File::options().write(true).open(path).unwrap().set_len(0).unwrap();
}

#[test]
fn a_file_cut_off_in_the_middle_of_a_statement_refuses_the_statement() {
    let database = Database::new();
    let mut admin = database.connect();
    train_large(&mut admin, "m", 31);
    let expected = answers(&mut admin, "m");
    let path = only_file(&mut admin);
    let refused = Err(Some(SqlState::DATA_CORRUPTED));
    // In the middle, when the next call notices; at the end, when only the commit can.
    for statement in [
        pausing(2, LOCK),
        pausing(3, LOCK),
        format!("BEGIN; {}; COMMIT", pausing(3, LOCK)),
        format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {}; COMMIT", pausing(2, LOCK)),
        format!("CREATE TABLE answered AS {}", pausing(3, LOCK)),
        format!("DO $$BEGIN PERFORM count(*) FROM ({}) t; END$$", pausing(3, LOCK)),
        // Nobody goes on with zeros by catching the error.
        format!(
            "DO $$BEGIN PERFORM count(*) FROM ({}) t;
                 EXCEPTION WHEN data_corrupted THEN END$$",
            pausing(2, LOCK)
        ),
    ] {
        let mut user = database.connect();
        assert_eq!(answers(&mut user, "m"), expected);
        let (mut user, result) = damaged_meanwhile(&mut admin, user, &statement, || cut_off(&path));
        assert_eq!(result, refused, "{statement}");
        let _ = user.simple_query("ROLLBACK");
        assert_eq!(answers(&mut user, "m"), expected, "the same session, after {statement}");
        assert_eq!(answers(&mut database.connect(), "m"), expected);
        only_file(&mut admin);
    }
    assert!(admin.value::<bool>("SELECT to_regclass('answered') IS NULL"));
    // Between two fetches the file is looked at again; whether the first was right nobody knows.
    let mut user = database.connect();
    user.run(
        "BEGIN; DECLARE rows CURSOR FOR SELECT r.* FROM generate_series(1, 3) u,
                  LATERAL teller.recommend(u, 1 + 0 * u, 'm') r",
    );
    user.run("FETCH 1 FROM rows");
    cut_off(&path);
    user.run("FETCH 2 FROM rows");
    user.refused("COMMIT", &SqlState::DATA_CORRUPTED);
    assert_eq!(answers(&mut user, "m"), expected);
}

/// The numbers are read on threads of their own.
#[test]
fn a_file_cut_off_under_an_evaluation_refuses_it() {
    let database = Database::new();
    let mut admin = database.connect();
    train_large(&mut admin, "m", 31);
    let expected = answers(&mut admin, "m");
    let path = only_file(&mut admin);
    let mut user = database.connect();
    answers(&mut user, "m");
    let pid: i32 = user.value("SELECT pg_backend_pid()");
    let work = std::thread::spawn(move || {
        let evaluate = "SELECT * FROM teller.evaluate('m',
             'SELECT u AS user_id, u AS item_id FROM generate_series(1, 10) u, pg_sleep(1)')";
        (user.simple_query(evaluate).map(drop).map_err(|error| error.code().cloned()), user)
    });
    let sleeps = format!("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = {pid}");
    wait_until("it reads the data", || admin.value::<Option<bool>>(&sleeps) == Some(true));
    cut_off(&path);
    let (result, mut user) = work.join().unwrap();
    assert_eq!(result, Err(Some(SqlState::DATA_CORRUPTED)));
    assert_eq!(answers(&mut user, "m"), expected);
}

#[test]
fn a_file_written_into_in_the_middle_of_a_transaction_refuses_it() {
    let database = Database::new();
    let mut admin = database.connect();
    train_large(&mut admin, "m", 31);
    let expected = answers(&mut admin, "m");
    let path = only_file(&mut admin);
    let refused = Err(Some(SqlState::DATA_CORRUPTED));
    let len = fs::metadata(&path).unwrap().len();
    // In its last page: the kernel gives zeros there without a signal.
    let shorten = || File::options().write(true).open(&path).unwrap().set_len(len - 9).unwrap();
    let overwrite = || fs::write(&path, vec![7; len as usize]).unwrap();
    for damage in [&shorten as &dyn Fn(), &overwrite] {
        for statement in [
            pausing(2, LOCK),
            pausing(3, LOCK),
            format!(
                "BEGIN; {}; SELECT * FROM teller.recommend(1, 1, 'm'); COMMIT",
                pausing(3, LOCK)
            ),
        ] {
            let user = database.connect();
            let (mut user, result) = damaged_meanwhile(&mut admin, user, &statement, damage);
            assert_eq!(result, refused, "{statement}");
            let _ = user.simple_query("ROLLBACK");
            assert_eq!(answers(&mut user, "m"), expected, "the same session, after {statement}");
            assert_eq!(answers(&mut database.connect(), "m"), expected);
        }
    }
    // Its name, its links and who may read it are not its numbers.
    let link = folder(&mut admin).with_file_name("linked");
    for harmless in [
        &(|| fs::hard_link(&path, &link).unwrap()) as &dyn Fn(),
        &|| fs::remove_file(&link).unwrap(),
        &|| fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap(),
        &|| fs::remove_file(&path).unwrap(),
    ] {
        let mut user = database.connect();
        answers(&mut user, "m");
        let (mut user, result) = damaged_meanwhile(&mut admin, user, &pausing(2, LOCK), harmless);
        assert_eq!(result, Ok(()));
        assert_eq!(answers(&mut user, "m"), expected);
    }
}

#[test]
fn a_file_cut_off_under_a_parallel_worker_refuses_the_statement() {
    let database = Database::new();
    let mut admin = database.connect();
    train_large(&mut admin, "m", 31);
    let expected = answers(&mut admin, "m");
    let path = only_file(&mut admin);
    let mut user = database.connect();
    user.run("SET force_parallel_mode = on");
    let statement = pausing(3, "pg_sleep(1)");
    let work = std::thread::spawn(move || {
        let result = user.simple_query(&statement);
        (user, result.map(drop).map_err(|error| error.code().cloned()))
    });
    let sleeps = "SELECT count(*) FROM pg_stat_activity
         WHERE backend_type = 'parallel worker' AND wait_event = 'PgSleep'
           AND datname = current_database()";
    wait_until("the worker pauses", || admin.value::<i64>(sleeps) == 1);
    cut_off(&path);
    let (mut user, result) = work.join().unwrap();
    assert_eq!(result, Err(Some(SqlState::DATA_CORRUPTED)));
    assert_eq!(answers(&mut user, "m"), expected);
}

/// Nobody knows when the pages go: no call may crash, and none may answer wrongly.
#[test]
fn a_file_cut_off_again_and_again_crashes_nobody() {
    let database = Database::new();
    let mut admin = database.connect();
    train_large(&mut admin, "m", 31);
    let expected = answers(&mut admin, "m");
    let path = only_file(&mut admin);
    let started: String = admin.value("SELECT pg_postmaster_start_time()::text");
    let pid: i32 = admin.value("SELECT pg_backend_pid()");
    let until = Instant::now() + Duration::from_secs(3);
    let (answered, refused) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let mut user = database.connect();
                let expected = &expected;
                scope.spawn(move || {
                    let (mut answered, mut refused) = (0, 0);
                    while Instant::now() < until {
                        match user.query_one(&crate::asking("'m'"), &[]) {
                            Ok(row) => {
                                assert_eq!(&row.get::<_, String>(0), expected);
                                answered += 1;
                            }
                            Err(error) => {
                                assert_eq!(
                                    error.code(),
                                    Some(&SqlState::DATA_CORRUPTED),
                                    "{error}"
                                );
                                refused += 1;
                            }
                        }
                    }
                    (answered, refused)
                })
            })
            .collect();
        while Instant::now() < until {
            if let Ok(file) = File::options().write(true).open(&path) {
                file.set_len(4096).unwrap();
            }
            std::thread::sleep(Duration::from_millis(7));
        }
        let counts = callers.into_iter().map(|caller| caller.join().unwrap());
        counts.fold((0, 0), |(a, r), (answered, refused)| (a + answered, r + refused))
    });
    assert!(answered > 0, "{answered} answered, {refused} refused");
    // The session from before still lives: no backend died, for then all would have ended.
    assert_eq!(admin.value::<i32>("SELECT pg_backend_pid()"), pid);
    assert_eq!(admin.value::<String>("SELECT pg_postmaster_start_time()::text"), started);
    assert_eq!(answers(&mut admin, "m"), expected);
}

/// SIGBUS for any other reason is not ours: the server treats it as ever.
#[test]
fn a_signal_from_elsewhere_still_ends_the_backend() {
    let (server, database) = durable();
    let mut client = server.connect(&database, "postgres");
    train_large(&mut client, "large", 31);
    let expected = answers(&mut client, "large");
    let pid: i32 = client.value("SELECT pg_backend_pid()");
    let mut watcher = server.connect(&database, "postgres");
    let sent = std::process::Command::new("kill").args(["-BUS", &pid.to_string()]).status();
    assert!(sent.unwrap().success());
    wait_until("the backend ends", || client.simple_query("SELECT 1").is_err());
    // And with it, as after any crash, all others.
    wait_until("the old sessions end", || watcher.simple_query("SELECT 1").is_err());
    let mut client = reconnect(&server, &database, Victim::Backend);
    assert_eq!(answers(&mut client, "large"), expected);
    assert!(client.value::<i32>("SELECT pg_backend_pid()") != pid);
}

#[test]
fn a_crash_while_a_file_is_written_leaves_nothing() {
    let (server, database) = durable();
    let mut client = server.connect(&database, "postgres");
    // About 20 MB, to be met in the middle.
    client.run(
        r#"SELECT teller.train('large', 'recommendation',
               'SELECT u AS user_id, u % 1000 AS item_id FROM generate_series(1, 800000) u',
               '{"algorithm": "popular"}')"#,
    );
    let mut plain = server.connect(&database, "postgres");
    plain.run("SET teller.shared_cache_size = 0");
    let expected = answers(&mut plain, "large");
    for victim in [Victim::Backend, Victim::Postmaster] {
        let draft = killed_while_writing(&server, &database, victim);
        let mut client = reconnect(&server, &database, victim);
        assert_eq!(answers(&mut client, "large"), expected, "{victim:?}");
        assert!(!draft.exists(), "{victim:?}");
        assert_eq!(answers(&mut server.connect(&database, "postgres"), "large"), expected);
        assert_eq!(entries(&mut client).len(), 2, "the file and its marker");
        assert!(maps(&mut client).is_none_or(|maps| maps == 1));
    }
}

/// Kills while there is a draft with something in it, and returns its path.
fn killed_while_writing(server: &teller_tests::Server, database: &str, victim: Victim) -> PathBuf {
    let mut admin = server.connect(database, "postgres");
    let folder = folder(&mut admin);
    for _ in 0..50 {
        for path in entries(&mut admin) {
            fs::remove_file(path).unwrap();
        }
        let mut user = server.connect(database, "postgres");
        let pid: i32 = user.value("SELECT pg_backend_pid()");
        let work = std::thread::spawn(move || {
            user.simple_query("SELECT * FROM teller.recommend(1, 1, 'large')").is_err()
        });
        let draft = loop {
            let names = fs::read_dir(&folder).into_iter().flatten().flatten();
            let mut paths = names.map(|entry| entry.path());
            let written = |path: &PathBuf| {
                path.to_string_lossy().ends_with(".new")
                    && fs::metadata(path).is_ok_and(|draft| draft.len() > 1 << 16)
            };
            if work.is_finished() {
                break None;
            }
            if let Some(draft) = paths.find(written) {
                break Some(draft);
            }
        };
        let Some(draft) = draft else { continue };
        // It does not get further meanwhile.
        let stop = |signal: &str| {
            std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap()
        };
        stop("-STOP");
        std::thread::sleep(Duration::from_millis(20));
        if !draft.exists() {
            stop("-CONT");
            work.join().unwrap();
            continue;
        }
        kill(victim, server, pid);
        if matches!(victim, Victim::Postmaster) {
            // The backend of a dead server: it would end by itself, but later.
            stop("-KILL");
        }
        assert!(work.join().unwrap(), "the statement was to be killed");
        wait_until("the old sessions end", || admin.simple_query("SELECT 1").is_err());
        assert!(draft.exists());
        return draft;
    }
    panic!("no draft was met");
}

#[test]
fn what_lies_in_a_files_place_is_cleared_or_done_without() {
    let database = Database::new();
    let mut client = database.connect();
    train_large(&mut client, "m", 31);
    let expected = answers(&mut client, "m");
    let path = only_file(&mut client);
    let named = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let elsewhere = folder(&mut client).with_file_name("elsewhere");
    fs::write(&elsewhere, b"not ours").unwrap();
    let owner = fs::metadata(folder(&mut client)).unwrap();
    let strange = |path: &Path, kind: &str| match kind {
        "unreadable" => {
            fs::write(path, b"another's").unwrap();
            // Where the test may: of another owner.
            let _ = chown(path, Some(0), Some(0));
            fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
        }
        "link" => symlink(&elsewhere, path).unwrap(),
        "pipe" => {
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
            chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        _ => fs::create_dir(path).unwrap(),
    };
    for suffix in ["", ".new", ".checked"] {
        for kind in ["unreadable", "link", "pipe", "folder"] {
            for path in entries(&mut client) {
                fs::remove_file(path).unwrap();
            }
            strange(&named(suffix), kind);
            for turn in 0..2 {
                let mut session = database.connect();
                assert_eq!(answers(&mut session, "m"), expected, "{kind} {suffix} {turn}");
            }
            assert_eq!(fs::read(&elsewhere).unwrap(), b"not ours");
            if kind == "folder" {
                fs::remove_dir(named(suffix)).unwrap();
            } else {
                assert_eq!(files(&mut client), std::slice::from_ref(&path), "{kind} {suffix}");
                assert_eq!(entries(&mut client).len(), 2, "{kind} {suffix}");
                let mut session = database.connect();
                answers(&mut session, "m");
                assert!(maps(&mut session).is_none_or(|maps| maps == 1), "{kind} {suffix}");
            }
        }
    }
    fs::remove_file(&elsewhere).unwrap();
}
