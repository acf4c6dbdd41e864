//! A streaming standby and a logical subscriber.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Server, Statements};

use crate::{answers, train, training, two_groups, wait_until};

const DIGITS: &str = "SELECT string_agg(concat_ws(' ', p.label, float4send(probability)), ',')
    FROM demo.scans s, teller.image_probabilities(s.image) p WHERE s.id <= 20";

/// Waits until the standby has replayed what the primary has written by now.
fn caught_up(primary: &mut Client, standby: &mut Client) {
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

    let replica = Server::standby_of(&server);
    let mut standby = replica.connect(database.name(), "postgres");
    caught_up(&mut primary, &mut standby);
    assert_eq!(answers(&mut standby, "m"), first);
    assert_eq!(standby.value::<String>(DIGITS), primary.value::<String>(DIGITS));
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
