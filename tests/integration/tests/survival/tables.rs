//! What owners and administrators do to a model's table while others use it.

use std::sync::atomic::{AtomicBool, Ordering};

use postgres::error::SqlState;
use teller_tests::shared_files::only_file;
use teller_tests::{Database, Statements};

use crate::{
    answers, asking, endless, train, train_large, two_groups, wait_until, wait_until_it_trains,
};

#[test]
fn the_extension_stays_while_models_exist() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    train(&mut client, "m", "als");
    client.refused("DROP EXTENSION pg_teller", &SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
    answers(&mut client, "m");
    client.run("DROP EXTENSION pg_teller CASCADE");
    assert!(client.value::<bool>("SELECT to_regclass('m') IS NULL"));
    assert!(client.value::<bool>("SELECT to_regnamespace('teller') IS NULL"));
    assert_eq!(client.value::<i64>("SELECT count(*) FROM purchases"), 160);
    // This session has the library loaded and the model in its cache.
    client.run("CREATE EXTENSION pg_teller");
    train(&mut client, "m", "svd");
    answers(&mut client, "m");
}

#[test]
fn a_table_is_not_dropped_under_a_training_or_a_statement() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    train(&mut client, "m", "als");
    let mut trainer = database.connect();
    let pid: i32 = trainer.value("SELECT pg_backend_pid()");
    let work = std::thread::spawn(move || {
        trainer.refused(&endless("m"), &SqlState::QUERY_CANCELED);
        trainer
    });
    wait_until_it_trains(&mut client, pid);
    client.run("SET lock_timeout = '200ms'");
    client.refused("DROP TABLE m", &SqlState::LOCK_NOT_AVAILABLE);
    client.run(&format!("SELECT pg_cancel_backend({pid})"));
    let mut trainer = work.join().unwrap();

    trainer.run("BEGIN");
    answers(&mut trainer, "m");
    client.refused("DROP TABLE m", &SqlState::LOCK_NOT_AVAILABLE);
    trainer.run("COMMIT; PREPARE ask AS SELECT item_id FROM teller.recommend(1, 1, 'm')");
    trainer.run("EXECUTE ask");
    client.run("DROP TABLE m");
    trainer.refused("EXECUTE ask", &SqlState::UNDEFINED_TABLE);
    // Another model of that name is another model.
    train(&mut client, "m", "svd");
    assert_eq!(answers(&mut trainer, "m"), answers(&mut client, "m"));
}

#[test]
fn a_database_is_dropped_by_force_alone_while_a_model_is_trained() {
    let database = Database::new();
    let other = Database::empty();
    let mut client = database.connect();
    let mut admin = other.connect();
    two_groups(&mut client);
    train(&mut client, "m", "als");
    let pid: i32 = client.value("SELECT pg_backend_pid()");
    let work = std::thread::spawn(move || client.simple_query(&endless("m")).is_err());
    wait_until_it_trains(&mut admin, pid);
    let drop = format!("DROP DATABASE {}", database.name());
    // PostgreSQL waits five seconds for the sessions to end before it says so.
    admin.refused(&drop, &SqlState::OBJECT_IN_USE);
    admin.run(&format!("{drop} WITH (FORCE)"));
    assert!(work.join().unwrap());
}

#[test]
fn a_database_is_dropped_by_force_alone_while_a_model_is_served() {
    let database = Database::new();
    let other = Database::new();
    let (mut idle, mut busy) = (database.connect(), database.connect());
    let mut admin = other.connect();
    train_large(&mut idle, "m", 31);
    answers(&mut idle, "m");
    let file = only_file(&mut idle);
    let pid: i32 = busy.value("SELECT pg_backend_pid()");
    let work = std::thread::spawn(move || {
        let calls = "SELECT count(*) FROM generate_series(1, 100000000) u,
             LATERAL teller.recommend(u % 30000, 1, 'm')";
        (busy.simple_query(calls).unwrap_err().code().cloned(), busy)
    });
    let active = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE pid = {pid} AND state = 'active' AND query LIKE '%recommend%'"
    );
    wait_until("the model is served", || admin.value::<i64>(&active) == 1);
    let drop = format!("DROP DATABASE {}", database.name());
    // PostgreSQL waits five seconds for the sessions to end before it says so.
    admin.refused(&drop, &SqlState::OBJECT_IN_USE);
    answers(&mut idle, "m");
    admin.run(&format!("{drop} WITH (FORCE)"));
    let (ended, _session) = work.join().unwrap();
    assert_eq!(ended, Some(SqlState::ADMIN_SHUTDOWN));
    assert!(idle.simple_query("SELECT 1").is_err());
    // Whoever next loads a model cleans up.
    train_large(&mut admin, "m", 977);
    answers(&mut admin, "m");
    assert!(!file.exists());
    only_file(&mut admin);
}

#[test]
fn a_model_in_use_is_rewritten_and_moved() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    for algorithm in ["popular", "als", "svd"] {
        train(&mut client, "m", algorithm);
    }
    let before = answers(&mut client, "m");
    let done = AtomicBool::new(false);
    let mut user = database.connect();
    std::thread::scope(|scope| {
        let using = scope.spawn(|| {
            let mut calls = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(answers(&mut user, "m"), before);
                calls += 1;
            }
            calls
        });
        // Ends the other thread also when an assertion here fails.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            client.run("SET allow_in_place_tablespaces = on");
            client.run(&format!("CREATE TABLESPACE {} LOCATION ''", database.name()));
            for _ in 0..5 {
                for change in [
                    "VACUUM FULL m",
                    "CLUSTER m USING m_pkey",
                    &format!("ALTER TABLE m SET TABLESPACE {}", database.name()),
                    "REINDEX TABLE m",
                    "REINDEX TABLE CONCURRENTLY m",
                    "ALTER TABLE m SET TABLESPACE pg_default",
                    "VACUUM FREEZE m",
                    "ANALYZE m",
                ] {
                    client.run(change);
                    assert_eq!(answers(&mut client, "m"), before, "after {change}");
                }
            }
        }));
        done.store(true, Ordering::Relaxed);
        assert!(using.join().unwrap() > 0);
        outcome.unwrap();
    });
    train(&mut client, "m", "popular");
    assert_ne!(answers(&mut client, "m"), before);
    assert_eq!(answers(&mut user, "m"), answers(&mut client, "m"));
}

#[test]
fn a_model_in_use_is_renamed_and_moved_to_another_schema() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    train(&mut client, "m", "als");
    let mut user = database.connect();
    let before = answers(&mut user, "m");
    user.run(&format!("PREPARE ask AS {}", asking("'m'")));
    user.run(&format!("CREATE VIEW asked AS {}", asking("'m'")));
    client.run("CREATE SCHEMA models; ALTER TABLE m RENAME TO renamed");
    client.run("ALTER TABLE renamed SET SCHEMA models");
    assert_eq!(user.value::<String>("TABLE asked"), before);
    assert_eq!(answers(&mut user, "models.renamed"), before);
    user.refused(&asking("'m'"), &SqlState::UNDEFINED_TABLE);
    // As with any table: it is parsed again, and the name leads nowhere.
    user.refused("EXECUTE ask", &SqlState::UNDEFINED_TABLE);
    train(&mut client, "models.renamed", "svd");
    assert_ne!(user.value::<String>("TABLE asked"), before);
}

#[test]
fn a_view_keeps_its_model() {
    let database = Database::with_demo();
    let mut client = database.connect();
    client.run(
        r#"SELECT teller.train('m', 'image_classification',
               'SELECT image, label FROM demo.scans WHERE id <= 50',
               '{"architecture": "small", "epochs": 1}')"#,
    );
    client.run("CREATE VIEW read AS SELECT teller.classify_image(image, 'm') FROM demo.scans");
    client.refused("DROP TABLE m", &SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
    client.run("DROP TABLE m CASCADE");
    assert!(client.value::<bool>("SELECT to_regclass('read') IS NULL"));
}

/// Two trainers of one model take turns; each leaves a whole version.
#[test]
fn two_trainings_at_once_leave_two_versions() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    train(&mut client, "m", "popular");
    client.run("BEGIN");
    train(&mut client, "m", "als");
    let mut other = database.connect();
    let pid: i32 = other.value("SELECT pg_backend_pid()");
    let work = std::thread::spawn(move || train(&mut other, "m", "svd"));
    let waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted");
    wait_until("the second waits", || client.value::<i64>(&waits) == 1);
    client.run("COMMIT");
    work.join().unwrap();
    let production: i32 = client.value("SELECT version FROM m WHERE status = 'production'");
    assert_eq!(production, 3);
    answers(&mut client, "m");
}
