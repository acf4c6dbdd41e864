//! The files in which all backends share one copy of a model's numbers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use postgres::Client;
use teller_tests::shared_files::{entries, files, folder, maps, only_file};
use teller_tests::{Database, Server, Statements};

/// Makes `purchases` of so many users and items that a model of them is worth sharing.
fn many_purchases(client: &mut Client, shift: i32) {
    client.run(&format!(
        "DROP TABLE IF EXISTS purchases;
         CREATE TABLE purchases AS
             SELECT u::bigint AS user_id, ((u * 7919 + i * {shift}) % 45000)::bigint AS item_id,
                    (1 + i)::float8 AS weight
             FROM generate_series(1, 30000) u, generate_series(1, 2) i"
    ));
}

fn train(client: &mut Client, model: &str, shift: i32) {
    many_purchases(client, shift);
    super::train_purchases(client, model, "popular");
}

/// What a model says: items and the bits of their scores.
fn answers(client: &mut Client, model: &str) -> Vec<String> {
    client.column(&format!(
        "SELECT u || ' ' || item_id || ' ' || encode(float4send(score), 'hex')
         FROM generate_series(1, 9, 4) u, teller.recommend(u::bigint, 20, '{model}') r
         ORDER BY u, rank"
    ))
}

#[test]
fn sharing_changes_no_bit() {
    let database = Database::new();
    let mut trainer = database.connect();
    many_purchases(&mut trainer, 31);
    trainer.run(
        r#"SELECT teller.train('shop', 'recommendation',
               'SELECT user_id, item_id, weight FROM purchases',
               '{"algorithm": "als", "factors": 6, "iterations": 1}')"#,
    );
    let mut private = database.connect();
    private.run("SET teller.shared_cache_size = 0");
    let expected = answers(&mut private, "shop");
    assert_eq!(expected.len(), 60);
    assert!(files(&mut private).is_empty());

    let mut sessions = [database.connect(), database.connect(), database.connect()];
    for session in &mut sessions {
        assert_eq!(answers(session, "shop"), expected);
        assert!(maps(session).is_none_or(|maps| maps == 1));
    }
    let file = only_file(&mut private);
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    // What is shared does not count as this backend's own.
    sessions[0].run("SET teller.cache_size = '64kB'");
    assert_eq!(answers(&mut sessions[0], "shop"), expected);
}

#[test]
fn whoever_may_run_a_model_shares_it_in_parallel_plans_too() {
    let database = Database::new();
    let mut owner = database.connect();
    train(&mut owner, "shop", 31);
    let expected = answers(&mut owner, "shop");
    let mut runner = database.connect_as("runner");
    owner.run(&format!("GRANT SELECT (version) ON shop TO {}", database.role("runner")));
    runner.run("SET force_parallel_mode = on; SET default_transaction_read_only = on");
    assert_eq!(answers(&mut runner, "public.shop"), expected);
    only_file(&mut owner);
}

#[test]
fn small_models_are_not_shared() {
    let database = Database::new();
    let mut client = database.connect();
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "als");
    answers(&mut client, "shop");
    assert!(entries(&mut client).is_empty());
}

#[test]
fn a_damaged_file_is_noticed_and_built_again() {
    let database = Database::new();
    let mut holder = database.connect();
    train(&mut holder, "shop", 31);
    let expected = answers(&mut holder, "shop");
    let path = only_file(&mut holder);
    let sound = fs::read(&path).unwrap();
    let half = sound.len() / 2;
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        Some(bytes)
    };
    let damages = [
        ("missing", None),
        ("flipped in the header", flipped(40)),
        ("flipped in the first part", flipped(200)),
        ("flipped in the middle", flipped(half)),
        ("flipped at the end", flipped(sound.len() - 70)),
        ("truncated", Some(sound[..half].to_vec())),
        ("too long", Some([&sound[..], b"more"].concat())),
        ("empty", Some(Vec::new())),
        ("foreign", Some(vec![7; sound.len()])),
    ];
    for (name, damage) in damages {
        match &damage {
            // In place: the backend that has it mapped must notice too.
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        assert_eq!(answers(&mut holder, "shop"), expected, "{name}: mapped before");
        assert_eq!(answers(&mut database.connect(), "shop"), expected, "{name}");
        assert!(fs::read(only_file(&mut holder)).unwrap() == sound, "{name}: not built again");
    }
}

#[test]
fn a_forged_digest_leads_to_nobody_elses_numbers() {
    let database = Database::new();
    let mut root = database.connect();
    let mut alice = database.connect_as("alice");
    let mut bob = database.connect_as("bob");
    train(&mut alice, "secret", 31);
    train(&mut bob, "mine", 977);
    let (hers, his) = (answers(&mut alice, "secret"), answers(&mut bob, "mine"));
    assert_ne!(hers, his);
    // Bob copies what Alice's manifest says, and runs it in a fresh session.
    root.run("SET session_replication_role = replica");
    root.run(&format!(
        "UPDATE {}.mine SET info = (SELECT info FROM {}.secret WHERE part = '') WHERE part = ''",
        database.role("bob"),
        database.role("alice"),
    ));
    let mut bob = database.connect_as("bob");
    assert_eq!(answers(&mut bob, "mine"), his);
    assert_eq!(answers(&mut database.connect_as("alice"), "secret"), hers);
}

#[test]
fn rewritten_numbers_are_not_taken_from_an_old_file() {
    let database = Database::new();
    let mut root = database.connect();
    train(&mut root, "shop", 31);
    train(&mut root, "other", 977);
    let (before, after) = (answers(&mut root, "shop"), answers(&mut root, "other"));
    assert_ne!(before, after);
    // The manifest with its digest stays as it was: the rows' identity alone tells.
    root.run("SET session_replication_role = replica");
    root.run(
        "UPDATE shop SET payload = o.payload FROM other o
         WHERE (shop.version, shop.part, shop.chunk) = (o.version, o.part, o.chunk)
           AND shop.payload IS NOT NULL",
    );
    assert_eq!(answers(&mut database.connect(), "shop"), after);
    root.run("VACUUM FULL shop");
    assert_eq!(answers(&mut database.connect(), "shop"), after);
    assert_eq!(files(&mut root).len(), 2, "one for each table");
}

#[test]
fn what_is_rolled_back_was_never_shared() {
    let database = Database::new();
    let mut client = database.connect();
    many_purchases(&mut client, 31);
    client.run("BEGIN");
    super::train_purchases(&mut client, "shop", "popular");
    assert_eq!(answers(&mut client, "shop").len(), 60);
    assert!(entries(&mut client).is_empty());
    client.run("SAVEPOINT s");
    super::train_purchases(&mut client, "shop", "popular");
    answers(&mut client, "shop");
    client.run("ROLLBACK TO s");
    answers(&mut client, "shop");
    client.run("ROLLBACK");
    assert!(entries(&mut client).is_empty());

    train(&mut client, "shop", 977);
    let private = answers(&mut client, "shop");
    assert_eq!(answers(&mut database.connect(), "shop"), private);
    only_file(&mut client);
}

#[test]
fn files_of_what_is_gone_go() {
    let database = Database::new();
    let mut client = database.connect();
    train(&mut client, "shop", 31);
    answers(&mut client, "shop");
    let first = only_file(&mut client);

    // A version that took its place, once a statement asks for it.
    train(&mut client, "shop", 977);
    // It stays while a transaction of before the promotion runs, in any database of the server.
    let expected = answers(&mut database.connect(), "shop");
    for _ in 0..300 {
        if !first.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        answers(&mut database.connect(), "shop");
    }
    let second = only_file(&mut client);
    assert_ne!(first, second);

    // A dropped table, and what a killed backend left.
    train(&mut client, "other", 31);
    let leftover = PathBuf::from(format!("{}.new", first.display()));
    fs::write(&leftover, b"half of it").unwrap();
    let owner = fs::metadata(&second).unwrap();
    std::os::unix::fs::chown(&leftover, Some(owner.uid()), Some(owner.gid())).unwrap();
    let mut holder = database.connect();
    assert_eq!(answers(&mut holder, "shop"), expected);
    client.run("BEGIN; DROP TABLE shop; ROLLBACK");
    assert_eq!(answers(&mut holder, "shop"), expected);
    client.run("DROP TABLE shop");
    answers(&mut database.connect(), "other");
    let third = only_file(&mut client);
    assert_ne!(second, third);
    assert_eq!(entries(&mut client).len(), 2, "the file and its marker");

    // A dropped database.
    let name: String = client.value("SELECT current_database()");
    drop((client, holder));
    let other = Database::new();
    let mut client = other.connect();
    client.run(&format!("DROP DATABASE {name} WITH (FORCE)"));
    train(&mut client, "shop", 31);
    answers(&mut client, "shop");
    assert!(!third.exists());
}

#[test]
fn many_backends_build_one_file_at_once() {
    let database = Database::new();
    let mut client = database.connect();
    train(&mut client, "shop", 31);
    let expected = answers(&mut client, "shop");
    fs::remove_file(only_file(&mut client)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let mut session = database.connect();
            let expected = &expected;
            scope.spawn(move || assert_eq!(&answers(&mut session, "shop"), expected));
        }
    });
    only_file(&mut client);
    assert_eq!(entries(&mut client).len(), 2, "the file and its marker");
}

#[test]
fn the_size_is_bounded_and_a_server_without_room_still_answers() {
    let server = Server::start();
    let database = Database::on(&server);
    let mut client = database.connect();
    for model in ["one", "two", "three"] {
        train(&mut client, model, 31);
    }
    let expected = answers(&mut client, "one");
    let len = fs::metadata(only_file(&mut client)).unwrap().len();
    // Room for two of three.
    client.run(&format!("ALTER SYSTEM SET teller.shared_cache_size = '{}kB'", len * 5 / 2 / 1024));
    client.run("SELECT pg_reload_conf()");
    let one = only_file(&mut client);
    answers(&mut database.connect(), "two");
    std::thread::sleep(std::time::Duration::from_millis(50));
    answers(&mut database.connect(), "one");
    answers(&mut database.connect(), "three");
    let left = files(&mut client);
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&one), "the one used least recently leaves");

    // After a restart everything is read once more, and damage found.
    let mut bytes = fs::read(&one).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    fs::write(&one, bytes).unwrap();
    drop(client);
    server.restart();
    let mut client = database.connect();
    assert_eq!(answers(&mut client, "one"), expected);

    // A folder that the server cannot use.
    let folder = folder(&mut client);
    for path in entries(&mut client) {
        fs::remove_file(path).unwrap();
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(answers(&mut database.connect(), "one"), expected);
    assert!(entries(&mut client).is_empty());
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, b"no folder").unwrap();
    assert_eq!(answers(&mut database.connect(), "one"), expected);
    fs::remove_file(&folder).unwrap();
    assert_eq!(answers(&mut database.connect(), "one"), expected);
    only_file(&mut client);
}

/// Of the release build that `make test` installs: a debug library is relocated into more memory.
#[test]
fn connections_hold_little_of_their_own() {
    const SESSIONS: usize = 20;
    let database = Database::new();
    let mut client = database.connect();
    train(&mut client, "shop", 31);
    answers(&mut client, "shop");
    let len = fs::metadata(only_file(&mut client)).unwrap().len() as usize / 1024;
    let mut sessions: Vec<Client> = (0..SESSIONS).map(|_| database.connect()).collect();
    sessions.iter_mut().for_each(|session| session.run("SELECT 1"));
    let Some(idle) = proportional(&mut sessions) else {
        eprintln!("skipped: the kernel does not tell the memory of other processes");
        return;
    };
    sessions.iter_mut().for_each(|session| drop(answers(session, "shop")));
    let Some(serving) = proportional(&mut sessions) else { return };
    let own = (serving.saturating_sub(idle).saturating_sub(len)) / SESSIONS;
    assert!(own < 1024, "{own} kB more a connection, the file has {len} kB");
}

/// Proportional set size of all sessions together, in kB.
fn proportional(sessions: &mut [Client]) -> Option<usize> {
    let mut total = 0;
    for session in sessions {
        let pid: i32 = session.value("SELECT pg_backend_pid()");
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
        total += line.split_whitespace().nth(1)?.parse::<usize>().ok()?;
    }
    Some(total)
}
