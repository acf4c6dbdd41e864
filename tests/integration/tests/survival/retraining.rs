//! Trainings that are interrupted go on, wherever the model then is, and end as if nothing had
//! happened.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Server, Statements};

use crate::crash::{Victim, kill, reconnect};
use crate::{two_groups, wait_until};

/// Makes a model `m` of few sweeps or epochs, and `reference`, a training of as many as
/// [`retraining`] asks for that nobody interrupts. Answers with the digest of the latter.
fn prepare(client: &mut Client, task: Task) -> String {
    let (name, data, few, many) = task.definition();
    client.run(&format!("SELECT teller.train('m', '{name}', '{data}', '{few}')"));
    client.run(&format!("SELECT teller.train('reference', '{name}', '{data}', '{many}')"));
    client.value("SELECT info->>'digest' FROM reference WHERE part = ''")
}

#[derive(Clone, Copy, Debug)]
enum Task {
    Images,
    Recommendation,
    Texts,
    Autoencoding,
    Tables,
    Scans,
}

impl Task {
    fn definition(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Images => (
                "image_classification",
                "SELECT image, label FROM demo.scans ORDER BY id",
                r#"{"architecture": "small", "epochs": 1, "patience": 0}"#,
                r#"{"architecture": "small", "epochs": 25, "patience": 0}"#,
            ),
            Self::Recommendation => (
                "recommendation",
                "SELECT u AS user_id, (u * 7 + i * i) % 3000 AS item_id
                 FROM generate_series(1, 12000) u, generate_series(1, 25) i",
                r#"{"iterations": 1}"#,
                r#"{"iterations": 40}"#,
            ),
            Self::Texts => (
                "text_classification",
                "SELECT concat_ws($$ $$, $$word$$ || i % 7, $$word$$ || i % 11, i) AS text,
                        i % 7 < 3 AS label FROM generate_series(1, 600) i",
                r#"{"algorithm": "ensemble", "epochs": 1, "patience": 0}"#,
                r#"{"algorithm": "ensemble", "epochs": 12, "patience": 0}"#,
            ),
            Self::Autoencoding => (
                "autoencoding",
                "SELECT image FROM demo.scans ORDER BY id",
                r#"{"input": {"height": 16, "width": 16}, "epochs": 1, "patience": 0}"#,
                r#"{"input": {"height": 16, "width": 16}, "epochs": 25, "patience": 0}"#,
            ),
            Self::Tables => (
                "generation",
                "SELECT i AS amount, i % 3 AS kind, sqrt(i) AS root FROM generate_series(1, 2000) i",
                r#"{"algorithm": "tabular_gan", "epochs": 1, "gate": {"metric": "column_variation",
                    "max": 1, "data": "SELECT 1 AS amount, 1 AS kind, 1.0::float8 AS root"}}"#,
                r#"{"algorithm": "tabular_gan", "epochs": 25, "gate": {"metric": "column_variation",
                    "max": 1, "data": "SELECT 1 AS amount, 1 AS kind, 1.0::float8 AS root"}}"#,
            ),
            Self::Scans => (
                "generation",
                "SELECT image, label FROM demo.scans ORDER BY id",
                r#"{"algorithm": "gan", "input": {"height": 8, "width": 8}, "epochs": 1,
                    "gate": {"metric": "frechet_distance", "max": 1000,
                    "data": "SELECT image FROM demo.scans"}}"#,
                r#"{"algorithm": "gan", "input": {"height": 8, "width": 8}, "epochs": 25,
                    "gate": {"metric": "frechet_distance", "max": 1000,
                    "data": "SELECT image FROM demo.scans"}}"#,
            ),
        }
    }

    /// The options that make a retraining of `m` as long as `reference`.
    fn retraining(self) -> &'static str {
        match self {
            Self::Images | Self::Autoencoding | Self::Tables | Self::Scans => {
                r#"CALL teller.retrain('m', '{"epochs": 25}')"#
            }
            Self::Texts => r#"CALL teller.retrain('m', '{"epochs": 12}')"#,
            Self::Recommendation => r#"CALL teller.retrain('m', '{"iterations": 40}')"#,
        }
    }
}

/// The retraining of `m` as other sessions see it.
fn state(client: &mut Client) -> String {
    let state = client.query_opt(
        "SELECT state FROM teller.training_runs WHERE model = 'm'::regclass AND version > 1
         ORDER BY version DESC LIMIT 1",
        &[],
    );
    state.unwrap().map_or("none".to_owned(), |row| row.get(0))
}

/// Waits until some steps of the retraining are there, and a checkpoint of it.
fn wait_until_it_is_on_its_way(client: &mut Client, steps: i32) {
    let seen = format!(
        "SELECT coalesce(max(step) >= {steps}, false)
             AND EXISTS (SELECT FROM m WHERE part = 'checkpoint')
         FROM teller.training_runs WHERE model = 'm'::regclass AND state = 'running'"
    );
    wait_until("the retraining is on its way", || client.value(&seen));
}

/// The version that came of it is the one that an uninterrupted training gives.
fn assert_is_as_uninterrupted(client: &mut Client, digest: &str) {
    let found: Vec<String> = client.column(
        "SELECT concat_ws(' ', version, status, info->>'digest') FROM m WHERE part = ''
         ORDER BY version",
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1], format!("2 production {digest}"));
    let same_log = "SELECT count(*) = (SELECT count(*) FROM reference WHERE part = 'log')
        FROM m JOIN reference r USING (part, chunk)
        WHERE m.version = 2 AND part = 'log' AND m.info - 'seconds' = r.info - 'seconds'";
    assert!(client.value::<bool>(same_log), "the log is another");
    let left: i64 = client.value("SELECT count(*) FROM m WHERE part = 'checkpoint'");
    assert_eq!(left, 0);
    assert_eq!(state(client), "finished");
    let metrics = "SELECT m.metrics - 'gate' = r.metrics - 'gate'
        FROM teller.model_versions m, teller.model_versions r
        WHERE m.model = 'm'::regclass AND m.version = 2 AND r.model = 'reference'::regclass";
    assert!(client.value::<bool>(metrics), "the metrics are others");
}

#[test]
fn a_cancelled_retraining_goes_on_and_others_see_how_far_it_is() {
    let tasks = [
        Task::Images,
        Task::Recommendation,
        Task::Texts,
        Task::Autoencoding,
        Task::Tables,
        Task::Scans,
    ];
    for task in tasks {
        let database = Database::with_demo();
        let mut watcher = database.connect();
        let digest = prepare(&mut watcher, task);
        for _ in 0..2 {
            let mut session = database.connect();
            let pid: i32 = session.value("SELECT pg_backend_pid()");
            let work = std::thread::spawn(move || {
                session.refused(task.retraining(), &SqlState::QUERY_CANCELED);
            });
            let done: i32 = watcher.value(
                "SELECT coalesce(max(step), 0) FROM teller.training_runs
                 WHERE model = 'm'::regclass AND version > 1",
            );
            wait_until_it_is_on_its_way(&mut watcher, done + 2);
            let seen = watcher
                .query_one(
                    "SELECT step, \"of\", loss IS NOT NULL, rows_per_second > 0, trained_by,
                            estimated_end >= updated AND started < updated
                     FROM teller.training_runs WHERE state = 'running'",
                    &[],
                )
                .unwrap();
            assert!(seen.get::<_, i32>(0) <= seen.get::<_, i32>(1));
            assert!(seen.get::<_, bool>(2) && seen.get::<_, bool>(3) && seen.get::<_, bool>(5));
            assert_eq!(seen.get::<_, &str>(4), "postgres");
            // A second one is refused at once; so is a promotion of what is not there yet.
            watcher.refused(task.retraining(), &SqlState::OBJECT_IN_USE);
            let not_yet = &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
            watcher.refused("SELECT teller.promote('m', 2)", not_yet);
            watcher.refused("SELECT teller.retrain_check('m', 2)", not_yet);
            assert!(watcher.value::<bool>(&format!("SELECT pg_cancel_backend({pid})")));
            work.join().unwrap();
            assert_eq!(state(&mut watcher), "interrupted");
        }
        watcher.run(task.retraining());
        assert_is_as_uninterrupted(&mut watcher, &digest);
    }
}

#[test]
fn a_killed_retraining_goes_on() {
    for (task, victim) in
        [(Task::Images, Victim::Backend), (Task::Recommendation, Victim::Postmaster)]
    {
        let server = Server::start();
        let database = Database::on(&server);
        database.load_demo();
        let mut client = database.connect();
        // What was committed is to be there after a crash.
        client.run("ALTER SYSTEM SET synchronous_commit = on");
        client.run("SELECT pg_reload_conf()");
        let digest = prepare(&mut client, task);
        let mut session = database.connect();
        let pid: i32 = session.value("SELECT pg_backend_pid()");
        let work = std::thread::spawn(move || session.simple_query(task.retraining()).is_err());
        wait_until_it_is_on_its_way(&mut client, 3);
        kill(victim, &server, pid);
        assert!(work.join().unwrap(), "the retraining was to be killed");
        wait_until("the old sessions end", || client.simple_query("SELECT 1").is_err());
        client = reconnect(&server, database.name(), victim);
        assert_eq!(state(&mut client), "interrupted");
        client.run(task.retraining());
        assert_is_as_uninterrupted(&mut client, &digest);
    }
}

#[test]
fn a_retraining_goes_on_where_the_standby_takes_over() {
    let primary = Server::start();
    let database = Database::on(&primary);
    let mut client = database.connect();
    let task = Task::Recommendation;
    let digest = prepare(&mut client, task);
    let standby = Server::standby_of(&primary);
    let mut other = standby.connect(database.name(), "postgres");
    other.refused(task.retraining(), &SqlState::READ_ONLY_SQL_TRANSACTION);
    let mut session = database.connect();
    let work = std::thread::spawn(move || session.simple_query(task.retraining()).is_err());
    let replayed = "SELECT count(*) > 0 FROM m WHERE part = 'checkpoint'";
    wait_until("a checkpoint is replayed", || other.value(replayed));
    assert_eq!(state(&mut other), "unknown");
    primary.kill();
    assert!(work.join().unwrap());
    assert!(other.value::<bool>("SELECT pg_promote()"));
    assert_eq!(state(&mut other), "interrupted");
    other.run(task.retraining());
    assert_is_as_uninterrupted(&mut other, &digest);
}

#[test]
fn other_rows_or_options_begin_anew() {
    let database = Database::with_demo();
    let mut client = database.connect();
    let (task, data, few, _) = Task::Images.definition();
    client.run("CREATE TABLE scans AS SELECT * FROM demo.scans");
    let data = data.replace("demo.scans", "scans");
    client.run(&format!("SELECT teller.train('m', '{task}', '{data}', '{few}')"));
    let mut watcher = database.connect();
    let mut interrupt = |version: i32, statement: &'static str| {
        let mut session = database.connect();
        let pid: i32 = session.value("SELECT pg_backend_pid()");
        let work = std::thread::spawn(move || {
            session.refused(statement, &SqlState::QUERY_CANCELED);
        });
        let begun = format!("SELECT EXISTS (SELECT FROM m WHERE version = {version})");
        wait_until("a new version is begun", || watcher.value(&begun));
        wait_until_it_is_on_its_way(&mut watcher, 1);
        watcher.run(&format!("SELECT pg_cancel_backend({pid})"));
        work.join().unwrap();
    };
    interrupt(2, r#"CALL teller.retrain('m', '{"epochs": 10000}')"#);
    interrupt(3, r#"CALL teller.retrain('m', '{"epochs": 9999}')"#);
    client.run("DELETE FROM scans WHERE id = 5");
    client.run(r#"CALL teller.retrain('m', '{"epochs": 1}')"#);
    let rows: Vec<String> = client.column(
        "SELECT concat_ws(' ', version, state, error) FROM teller.training_runs
         WHERE model = 'm'::regclass ORDER BY version",
    );
    let given_up =
        "failed given up for a training of other rows, of other options, or by another release";
    assert_eq!(
        rows,
        ["1 finished", &format!("2 {given_up}"), &format!("3 {given_up}"), "4 finished"]
    );
    let left: i64 = client.value("SELECT count(*) FROM m WHERE part = 'checkpoint'");
    assert_eq!(left, 0);
    client.refused("SELECT teller.promote('m', 3)", &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    client.run("SELECT teller.drop_version('m', 2)");
}

#[test]
fn a_training_that_diverges_has_failed() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    client.run("ALTER TABLE purchases ADD weight float4 DEFAULT 1");
    client.run(
        r#"SELECT teller.train('m', 'recommendation', 'SELECT * FROM purchases',
               '{"weighting": "linear", "algorithm": "svd", "factors": 4}')"#,
    );
    client.run("UPDATE purchases SET weight = 3e38");
    client.refused("CALL teller.retrain('m')", &SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    let row: String = client.value(
        "SELECT concat_ws(' ', version, state, error)
         FROM teller.training_runs WHERE model = 'm'::regclass AND version = 2",
    );
    assert!(row.starts_with("2 failed "), "{row}");
    let production: i32 =
        client.value("SELECT production FROM teller.models WHERE model = 'm'::regclass");
    assert_eq!(production, 1);
}

#[test]
fn what_happens_to_the_model_meanwhile_is_heard() {
    let database = Database::with_demo();
    let mut root = database.connect();
    Task::Images.run_first(&mut root);
    let trainer = database.role("trainer");
    drop(database.connect_as("trainer"));
    root.run(&format!("GRANT INSERT ON m TO {trainer}; GRANT USAGE ON SCHEMA demo TO {trainer}"));
    let statement = r#"CALL teller.retrain('public.m', '{"epochs": 10000}')"#;
    let meanwhile = |sql: String, state: &'static SqlState| {
        let mut session = database.connect_as("trainer");
        let work = std::thread::spawn(move || session.refused(statement, state));
        let mut client = database.connect();
        wait_until_it_is_on_its_way(&mut client, 1);
        client.run(&sql);
        work.join().unwrap()
    };
    meanwhile("SELECT teller.drop_version('m', 2)".to_owned(), &SqlState::UNDEFINED_OBJECT);
    assert_eq!(state(&mut root), "none");
    meanwhile(format!("REVOKE INSERT ON m FROM {trainer}"), &SqlState::INSUFFICIENT_PRIVILEGE);
    assert_eq!(state(&mut root), "interrupted");
    root.run(&format!("GRANT INSERT ON m TO {trainer}"));
    // Other versions come and go while it runs, and the owner may drop the table.
    let (task, data, few, _) = Task::Images.definition();
    let more = format!("SELECT teller.train('m', '{task}', '{data}', '{few}')");
    meanwhile(
        format!("{more}; SELECT teller.rollback('m'); DROP TABLE m"),
        &SqlState::UNDEFINED_TABLE,
    );
}

impl Task {
    fn run_first(self, client: &mut Client) {
        let (name, data, few, _) = self.definition();
        client.run(&format!("SELECT teller.train('m', '{name}', '{data}', '{few}')"));
    }
}
