//! A streaming standby and a logical subscriber.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::shared_files::{folder, maps, only_file};
use teller_tests::{Database, Server, Statements};

use crate::tasks::{answers_of_all, train_all};
use crate::{answers, asking, train, train_large, training, two_groups, wait_until};

const DIGITS: &str = "SELECT string_agg(concat_ws(' ', p.label, float4send(probability)), ',')
    FROM demo.scans s, teller.image_probabilities(s.image) p WHERE s.id <= 20";

/// Waits until the standby has replayed what the primary has written by now.
fn caught_up(primary: &mut Client, standby: &mut Client) {
    // A commit that waits for the disk: the server would write the log when it finds the time.
    primary.run(
        "BEGIN; SET LOCAL synchronous_commit = on;
         SELECT pg_logical_emit_message(true, '', ''); COMMIT",
    );
    let written: String = primary.value("SELECT pg_current_wal_insert_lsn()::text");
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
    wait_until("the standby catches up", || standby.value::<bool>(&replayed));
}

#[test]
fn a_standby_serves_follows_and_takes_over() {
    let server = Server::start();
    let database = Database::on(&server);
    database.load_demo();
    let mut primary = database.connect();
    two_groups(&mut primary);
    train(&mut primary, "m", "als");
    let first = answers(&mut primary, "m");
    train_all(&mut primary);
    let of_all = answers_of_all(&mut primary);

    let replica = Server::standby_of(&server);
    let mut standby = replica.connect(database.name(), "postgres");
    caught_up(&mut primary, &mut standby);
    assert_eq!(answers(&mut standby, "m"), first);
    assert_eq!(standby.value::<String>(DIGITS), primary.value::<String>(DIGITS));
    assert_eq!(answers_of_all(&mut standby), of_all);
    let listed = "SELECT count(*) FROM teller.model_versions";
    assert_eq!(standby.value::<i64>(listed), primary.value::<i64>(listed));
    for model in ["m", "fresh"] {
        standby.refused(&training(model, "svd"), &SqlState::READ_ONLY_SQL_TRANSACTION);
    }

    // This session has the first version in its cache.
    train(&mut primary, "m", "svd");
    let second = answers(&mut primary, "m");
    assert_ne!(first, second);
    caught_up(&mut primary, &mut standby);
    assert_eq!(answers(&mut standby, "m"), second);

    assert!(standby.value::<bool>("SELECT pg_promote()"));
    assert_eq!(answers(&mut standby, "m"), second);
    train(&mut standby, "m", "als");
    assert_eq!(answers(&mut standby, "m"), first, "the same data, seed and algorithm");
    assert_eq!(answers(&mut primary, "m"), second);
}

#[test]
fn a_standby_keeps_a_transactions_version_while_it_replays() {
    let server = Server::start();
    let database = Database::on(&server);
    let mut primary = database.connect();
    two_groups(&mut primary);
    train(&mut primary, "m", "als");
    let replica = Server::standby_of(&server);
    let mut standby = replica.connect(database.name(), "postgres");
    caught_up(&mut primary, &mut standby);
    let first = answers(&mut standby, "m");
    assert_eq!(first, answers(&mut primary, "m"));

    let mut other = replica.connect(database.name(), "postgres");
    // The primary keeps rows that the standby sees.
    other.run("ALTER SYSTEM SET hot_standby_feedback = on");
    other.run("ALTER SYSTEM SET wal_receiver_status_interval = '1s'");
    other.run("SELECT pg_reload_conf()");
    standby.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(answers(&mut standby, "m"), first);
    let heard = "SELECT backend_xmin IS NOT NULL FROM pg_stat_replication";
    wait_until("the primary hears of it", || primary.value::<bool>(heard));
    train(&mut primary, "m", "svd");
    let second = answers(&mut primary, "m");
    caught_up(&mut primary, &mut other);
    assert_eq!(answers(&mut standby, "m"), first);
    assert_eq!(answers(&mut other, "m"), second);
    primary.run("SELECT teller.promote('m', 1); SELECT teller.rollback('m')");
    primary.run("SELECT teller.drop_version('m', 1)");
    caught_up(&mut primary, &mut other);
    assert_eq!(answers(&mut standby, "m"), first);
    assert_eq!(answers(&mut other, "m"), second);
    let version = "SELECT version FROM teller.model_versions
         WHERE model = 'm'::regclass AND status = 'production'";
    assert_eq!((standby.value::<i32>(version), other.value::<i32>(version)), (1, 2));
    standby.run("COMMIT");
    assert_eq!(answers(&mut standby, "m"), second);

    // Without, PostgreSQL ends a session whose transaction still would see what has gone on the primary.
    standby.run("ALTER SYSTEM SET hot_standby_feedback = off");
    standby.run("ALTER SYSTEM SET max_standby_streaming_delay = '100ms'");
    standby.run("SELECT pg_reload_conf()");
    wait_until("the primary hears of it", || !primary.value::<bool>(heard));
    standby.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(answers(&mut standby, "m"), second);
    train(&mut primary, "m", "popular");
    primary.run("SELECT teller.drop_version('m', 2)");
    primary.run("VACUUM m");
    caught_up(&mut primary, &mut other);
    assert!(standby.simple_query(&asking("'m'")).is_err(), "it sees what is gone");
    assert_eq!(answers(&mut other, "m"), answers(&mut primary, "m"));
}

#[test]
fn a_standby_builds_shared_files_of_its_own() {
    let server = Server::start();
    let database = Database::on(&server);
    let mut primary = database.connect();
    train_large(&mut primary, "m", 31);
    let first = answers(&mut primary, "m");
    let original = only_file(&mut primary);
    // A leftover, as a crash leaves it, is not copied either.
    std::fs::write(original.with_extension("new"), b"half of it").unwrap();

    let replica = Server::standby_of(&server);
    let mut standby = replica.connect(database.name(), "postgres");
    assert!(standby.value::<bool>("SELECT pg_is_in_recovery()"));
    let copied = std::fs::read_dir(folder(&mut standby)).unwrap().count();
    assert_eq!(copied, 0, "the base backup copied files that anyone can build");
    caught_up(&mut primary, &mut standby);
    assert_eq!(answers(&mut standby, "m"), first);
    let built = only_file(&mut standby);
    assert!(maps(&mut standby).is_none_or(|maps| maps == 1));
    assert_eq!(std::fs::read(&built).unwrap(), std::fs::read(&original).unwrap());

    train_large(&mut primary, "m", 977);
    let second = answers(&mut primary, "m");
    caught_up(&mut primary, &mut standby);
    assert_eq!(answers(&mut standby, "m"), second);
    assert_eq!(answers(&mut replica.connect(database.name(), "postgres"), "m"), second);
    assert!(maps(&mut standby).is_some_and(|maps| maps > 0));

    // Both go on alone, with the same transaction ids for different numbers.
    assert!(standby.value::<bool>("SELECT pg_promote()"));
    train_large(&mut standby, "m", 31);
    train_large(&mut primary, "m", 977);
    assert_eq!(answers(&mut standby, "m"), first);
    assert_eq!(answers(&mut primary, "m"), second);
    let mut fresh = replica.connect(database.name(), "postgres");
    assert_eq!(answers(&mut fresh, "m"), first);
    assert!(standby.value::<bool>("SELECT teller.verify_audit_log() IS NULL"));
}

/// PostgreSQL 15 lets superusers alone make a subscription, but its worker has no more rights than
/// the subscription's owner has by then. So a superuser makes it for a role that he then makes an
/// ordinary one, which needs the model's table and nothing else.
#[test]
fn a_subscription_runs_with_the_rights_of_an_ordinary_role() {
    let publisher = Server::start();
    publisher.connect("postgres", "postgres").run("ALTER SYSTEM SET wal_level = logical");
    publisher.restart();
    let source = Database::on(&publisher);
    let mut primary = source.connect();
    two_groups(&mut primary);
    train(&mut primary, "m", "als");
    primary.run("CREATE PUBLICATION models FOR TABLE m");

    let target = Database::new();
    let mut subscriber = target.connect();
    drop(target.connect_as("copier"));
    let copier = target.role("copier");
    subscriber.run("SELECT teller.create_model_table('public', 'm')");
    let refused = format!("ALTER SUBSCRIPTION {} OWNER TO {copier}", target.name());
    subscriber.run(&format!(
        "CREATE SUBSCRIPTION {} CONNECTION 'host={} dbname={} user=postgres' PUBLICATION models
             WITH (enabled = false)",
        target.name(),
        publisher.folder(),
        source.name(),
    ));
    subscriber.refused(&refused, &SqlState::INSUFFICIENT_PRIVILEGE);
    subscriber.run(&format!("ALTER ROLE {copier} SUPERUSER"));
    subscriber.run(&format!("ALTER SUBSCRIPTION {} OWNER TO {copier}", target.name()));
    subscriber.run(&format!("ALTER ROLE {copier} NOSUPERUSER"));
    subscriber.run(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON m TO {copier}"));
    subscriber.run(&format!("ALTER SUBSCRIPTION {} ENABLE", target.name()));
    let production = "SELECT coalesce(max(version), 0) FROM m WHERE status = 'production'";
    wait_until("the model is copied", || subscriber.value::<i32>(production) == 1);
    assert_eq!(answers(&mut subscriber, "m"), answers(&mut primary, "m"));
    for (algorithm, version) in [("svd", 2), ("popular", 3)] {
        train(&mut primary, "m", algorithm);
        wait_until("the version arrives", || subscriber.value::<i32>(production) == version);
        assert_eq!(answers(&mut subscriber, "m"), answers(&mut primary, "m"));
    }
    primary.run("SELECT teller.rollback('m'); SELECT teller.drop_version('m', 1)");
    let count = "SELECT count(*) FROM m WHERE version = 1";
    wait_until("the drop arrives", || subscriber.value::<i64>(count) == 0);
    assert_eq!(subscriber.value::<i32>(production), 2);
    assert_eq!(answers(&mut subscriber, "m"), answers(&mut primary, "m"));

    // Without the right nothing comes, and with it everything that was missed.
    subscriber.run(&format!("REVOKE INSERT ON m FROM {copier}"));
    train(&mut primary, "m", "als");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(subscriber.value::<i32>(production), 2);
    subscriber.run(&format!("GRANT INSERT ON m TO {copier}"));
    wait_until("the version arrives", || subscriber.value::<i32>(production) == 4);
    assert_eq!(answers(&mut subscriber, "m"), answers(&mut primary, "m"));
    subscriber.run(&format!("DROP SUBSCRIPTION {}", target.name()));
}

#[test]
fn a_subscriber_serves_a_published_model() {
    let publisher = Server::start();
    publisher.connect("postgres", "postgres").run("ALTER SYSTEM SET wal_level = logical");
    publisher.restart();
    let source = Database::on(&publisher);
    let mut primary = source.connect();
    two_groups(&mut primary);
    train(&mut primary, "m", "als");
    train(&mut primary, "m", "svd");
    primary.run("CREATE PUBLICATION models FOR TABLE m");

    let target = Database::new();
    let mut subscriber = target.connect();
    subscriber.run("SELECT teller.create_model_table('public', 'm')");
    subscriber.run(&format!(
        "CREATE SUBSCRIPTION {subscription} CONNECTION 'host={} dbname={} user=postgres'
             PUBLICATION models",
        publisher.folder(),
        source.name(),
        subscription = target.name(),
    ));
    let production = "SELECT coalesce(max(version), 0) FROM m WHERE status = 'production'";
    wait_until("the model is copied", || subscriber.value::<i32>(production) == 2);
    assert_eq!(answers(&mut subscriber, "m"), answers(&mut primary, "m"));

    train(&mut primary, "m", "popular");
    wait_until("the version arrives", || subscriber.value::<i32>(production) == 3);
    assert_eq!(answers(&mut subscriber, "m"), answers(&mut primary, "m"));
    let versions =
        "SELECT string_agg(concat_ws(' ', version, status, digest), ',' ORDER BY version)
                    FROM teller.model_versions WHERE model = 'm'::regclass";
    assert_eq!(subscriber.value::<String>(versions), primary.value::<String>(versions));
    // With its replication slot, for which the publisher would wait at its end.
    subscriber.run(&format!("DROP SUBSCRIPTION {}", target.name()));
}
