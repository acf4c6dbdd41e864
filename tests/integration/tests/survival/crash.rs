//! `kill -9` of a backend and of the postmaster, while a version is trained, stored, promoted, taken
//! back or retired.

use std::process::Command;

use postgres::{Client, NoTls};
use teller_tests::{Database, Server, Statements};

use crate::{answers, endless, train, training, two_groups, wait_until, wait_until_it_trains};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Victim {
    Backend,
    Postmaster,
}

/// A server that keeps what was committed when it is killed: others trade that for speed.
pub(crate) fn durable() -> (Server, String) {
    let server = Server::start();
    let database = Database::on(&server);
    let mut client = database.connect();
    client.run("ALTER SYSTEM SET synchronous_commit = on");
    client.run("SELECT pg_reload_conf(); SET synchronous_commit = on");
    two_groups(&mut client);
    train(&mut client, "m", "als");
    // Holds a training of m up in the middle of its rows.
    client.run(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_catalog.pg_sleep(600); RETURN NEW; END'",
    );
    let name = database.name().to_owned();
    (server, name)
}

pub(crate) fn kill(victim: Victim, server: &Server, backend: i32) {
    match victim {
        Victim::Backend => {
            let status = Command::new("kill").args(["-KILL", &backend.to_string()]).status();
            assert!(status.unwrap().success());
        }
        Victim::Postmaster => server.kill(),
    }
}

/// The first session after the crash: the server takes a moment to recover.
pub(crate) fn reconnect(server: &Server, database: &str, victim: Victim) -> Client {
    if matches!(victim, Victim::Postmaster) {
        server.recover();
    }
    let mut client = None;
    wait_until("the server recovers", || {
        let mut config = postgres::Config::new();
        config.host(server.folder()).dbname(database).user("postgres");
        client = config.connect(NoTls).ok();
        client.as_mut().is_some_and(|client| client.simple_query("SELECT 1").is_ok())
    });
    client.unwrap()
}

/// Ready when the trigger holds the statement up.
fn it_sleeps(client: &mut Client, pid: i32) {
    let sleeping = format!("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = {pid}");
    wait_until("the trigger sleeps", || client.value::<Option<bool>>(&sleeping) == Some(true));
}

/// Runs `statement` in a session of its own, kills when `ready` says so, and comes back.
fn crash(
    (server, database): (&Server, &str),
    victim: Victim,
    statement: String,
    ready: impl Fn(&mut Client, i32),
) -> Client {
    let mut watcher = server.connect(database, "postgres");
    let mut session = server.connect(database, "postgres");
    let pid: i32 = session.value("SELECT pg_backend_pid()");
    let work = std::thread::spawn(move || session.simple_query(&statement).is_err());
    ready(&mut watcher, pid);
    kill(victim, server, pid);
    assert!(work.join().unwrap(), "the statement was to be killed");
    // A backend's death ends all sessions; until the watcher's has ended the server is the old.
    wait_until("the old sessions end", || watcher.simple_query("SELECT 1").is_err());
    reconnect(server, database, victim)
}

#[test]
fn a_crash_while_training_or_storing_leaves_the_old_version_and_nothing_else() {
    let (server, database) = durable();
    let mut client = server.connect(&database, "postgres");
    let before = answers(&mut client, "m");
    let rows: i64 = client.value("SELECT count(*) FROM m");
    for victim in [Victim::Backend, Victim::Postmaster] {
        for model in ["m", "fresh"] {
            client = crash((&server, &database), victim, endless(model), wait_until_it_trains);
            assert_eq!(answers(&mut client, "m"), before, "{victim:?} killed in training {model}");
            assert_eq!(client.value::<i64>("SELECT count(*) FROM m"), rows);
            assert!(client.value::<bool>("SELECT to_regclass('fresh') IS NULL"));
        }
        // The last row of a version is its manifest: all others are written then.
        client.run(
            "CREATE TRIGGER wait BEFORE INSERT ON m FOR EACH ROW WHEN (NEW.part = '')
                 EXECUTE FUNCTION wait()",
        );
        client = crash((&server, &database), victim, training("m", "svd"), it_sleeps);
        assert_eq!(answers(&mut client, "m"), before, "{victim:?} killed in storing");
        assert_eq!(client.value::<i64>("SELECT count(*) FROM m"), rows);
        client.run("DROP TRIGGER wait ON m");
    }
    train(&mut client, "m", "svd");
    assert_ne!(answers(&mut client, "m"), before);
    let production: i32 = client.value("SELECT version FROM m WHERE status = 'production'");
    assert_eq!(production, 2);
}

/// All that says which version is in production, and what was written down about it.
fn state(client: &mut Client) -> String {
    assert!(client.value::<bool>("SELECT teller.verify_audit_log() IS NULL"));
    client.value(
        "SELECT (SELECT string_agg(concat_ws(' ', version, part, chunk, status, info), ',' ORDER BY
                    version, part, chunk) FROM m WHERE part IN ('', 'promotion'))
             || (SELECT string_agg(concat_ws(' ', action, from_version, to_version), ',' ORDER BY id)
                 FROM teller.audit_log)",
    )
}

/// Where a change of the production version can be held up: between its writes, and before each.
const HOLDS: [(&str, &str); 4] = [
    ("before the old version leaves", "UPDATE ON m FOR EACH ROW WHEN (NEW.status = 'archived')"),
    ("before the new one comes", "UPDATE ON m FOR EACH ROW WHEN (NEW.status = 'production')"),
    ("before the history", "INSERT ON m FOR EACH ROW WHEN (NEW.part = 'promotion')"),
    ("before the end", ""),
];

#[test]
fn a_crash_while_promoting_or_rolling_back_leaves_the_old_state_or_the_new() {
    let (server, database) = durable();
    let mut client = server.connect(&database, "postgres");
    train(&mut client, "m", "svd");
    train(&mut client, "m", "popular");
    client.run("SELECT teller.promote('m', 2)");
    for victim in [Victim::Backend, Victim::Postmaster] {
        for change in ["SELECT teller.promote('m', 1)", "SELECT teller.rollback('m')"] {
            for (when, trigger) in HOLDS {
                let before = (state(&mut client), answers(&mut client, "m"));
                let statement = if trigger.is_empty() {
                    format!("BEGIN; {change}; SELECT pg_sleep(600)")
                } else {
                    client.run(&format!(
                        "CREATE TRIGGER wait BEFORE {trigger} EXECUTE FUNCTION wait()"
                    ));
                    change.to_owned()
                };
                client = crash((&server, &database), victim, statement, it_sleeps);
                let after = (state(&mut client), answers(&mut client, "m"));
                assert_eq!(after, before, "{victim:?} killed in {change} {when}");
                client.run("DROP TRIGGER IF EXISTS wait ON m");
            }
            // Once it has been told to the client it stays.
            let mut session = server.connect(&database, "postgres");
            session.run(change);
            let (after, pid) = (state(&mut session), session.value("SELECT pg_backend_pid()"));
            let changed = answers(&mut session, "m");
            kill(victim, &server, pid);
            wait_until("the old sessions end", || {
                session.simple_query("SELECT 1").is_err()
                    && client.simple_query("SELECT 1").is_err()
            });
            client = reconnect(&server, &database, victim);
            assert_eq!((state(&mut client), answers(&mut client, "m")), (after, changed));
            client.run("SELECT teller.promote('m', 2)");
        }
    }
}

#[test]
fn a_crash_while_a_version_is_dropped_leaves_it_whole() {
    let (server, database) = durable();
    let mut client = server.connect(&database, "postgres");
    train(&mut client, "m", "svd");
    let rows = "SELECT count(*) FROM m WHERE version = 1";
    for victim in [Victim::Backend, Victim::Postmaster] {
        let (before, count) = (state(&mut client), client.value::<i64>(rows));
        client.run(
            "CREATE TRIGGER wait BEFORE DELETE ON m FOR EACH ROW WHEN (OLD.chunk > 0 OR OLD.part > 'a')
                 EXECUTE FUNCTION wait()",
        );
        let drop = "SELECT teller.drop_version('m', 1)".to_owned();
        client = crash((&server, &database), victim, drop, it_sleeps);
        assert_eq!((state(&mut client), client.value::<i64>(rows)), (before, count));
        client.run("DROP TRIGGER wait ON m");
        client.run("SELECT teller.promote('m', 1); SELECT teller.promote('m', 2)");
    }
    client.run("SELECT teller.drop_version('m', 1)");
    assert_eq!(client.value::<i64>(rows), 0);
}
