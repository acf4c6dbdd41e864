//! The life of a version: promoted, rolled back, dropped, gated.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

use crate::{train_purchases, two_groups};

/// A database with a model `m` of three versions that answer differently, the third in production.
fn three_versions() -> (Database<'static>, Client) {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    train_purchases(&mut client, "m", "popular");
    train_purchases(&mut client, "m", "als");
    train_purchases(&mut client, "m", "svd");
    (database, client)
}

fn statuses(client: &mut Client) -> Vec<String> {
    client.column(
        "SELECT status FROM teller.model_versions WHERE model = 'm'::regclass ORDER BY version",
    )
}

fn answer(client: &mut Client) -> f32 {
    client.value("SELECT score FROM teller.recommend(1, 1, 'm')")
}

#[test]
fn promote_and_rollback_walk_through_what_was_in_production() {
    let (_database, mut client) = three_versions();
    assert_eq!(statuses(&mut client), ["archived", "archived", "production"]);
    let third = answer(&mut client);
    assert_eq!(client.value::<i32>("SELECT teller.promote('m', 1)"), 1);
    assert_eq!(statuses(&mut client), ["production", "archived", "archived"]);
    let first = answer(&mut client);
    assert_ne!(first, third);
    assert_eq!(client.value::<i32>("SELECT teller.promote('m', 1)"), 1, "already there: no change");

    // Back through 3, 2 and 1, as they came; then there is nothing before.
    for version in [3, 2, 1] {
        assert_eq!(client.value::<i32>("SELECT teller.rollback('m')"), version);
        let production: i32 =
            client.value("SELECT version FROM m WHERE part = '' AND status = 'production'");
        assert_eq!(production, version);
    }
    assert_eq!(answer(&mut client), first);
    client.refused("SELECT teller.rollback('m')", &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert_eq!(client.value::<i32>("SELECT teller.promote('m', 3)"), 3);
    assert_eq!(client.value::<i32>("SELECT teller.rollback('m')"), 1);
}

#[test]
fn a_change_is_seen_when_it_is_committed_and_gone_when_it_is_rolled_back() {
    let (database, mut client) = three_versions();
    let mut other = database.connect();
    let third = answer(&mut client);
    client.run("BEGIN; SELECT teller.promote('m', 1)");
    let first = answer(&mut client);
    assert_ne!(first, third);
    assert_eq!(answer(&mut other), third, "not committed yet");
    client.run("ROLLBACK");
    assert_eq!(answer(&mut client), third);
    client.run("BEGIN; SAVEPOINT s; SELECT teller.promote('m', 1); ROLLBACK TO s");
    assert_eq!(answer(&mut client), third);
    client.run("COMMIT; SELECT teller.promote('m', 1)");
    assert_eq!(answer(&mut other), first);
}

#[test]
fn a_version_is_dropped_whole_unless_it_is_in_production() {
    let (_database, mut client) = three_versions();
    let error = client
        .refused("SELECT teller.drop_version('m', 3)", &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(error.message().contains("in production"), "{error}");
    client.refused("SELECT teller.drop_version('m', 9)", &SqlState::UNDEFINED_OBJECT);
    client.refused("SELECT teller.promote('m', 9)", &SqlState::UNDEFINED_OBJECT);
    client.run("SELECT teller.drop_version('m', 2)");
    assert_eq!(client.value::<i64>("SELECT count(*) FROM m WHERE version = 2"), 0);
    assert_eq!(client.value::<i32>("SELECT teller.rollback('m')"), 1, "2 is gone");
    // Nobody gets a number that the audit log and past decisions know as another version's.
    client.run("SELECT teller.drop_version('m', 3)");
    train_purchases(&mut client, "m", "als");
    let versions: Vec<i32> = client.column("SELECT version FROM m WHERE part = '' ORDER BY 1");
    assert_eq!(versions, [1, 4]);
}

#[test]
fn a_transaction_that_keeps_its_snapshot_does_not_overtake_another() {
    let (database, mut client) = three_versions();
    let mut other = database.connect();
    let train = r#"SELECT teller.train('m', 'recommendation',
        'SELECT user_id, item_id FROM purchases', '{"algorithm": "popular"}')"#;
    let promote = "SELECT teller.promote('m', 2)";
    let retire = "SELECT teller.drop_version('m', 1)";
    for (theirs, ours) in
        [(train, train), (train, promote), (promote, train), (promote, retire), (retire, train)]
    {
        client.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM m");
        other.run(theirs);
        client.refused(ours, &SqlState::T_R_SERIALIZATION_FAILURE);
        client.run("ROLLBACK");
        other.run("SELECT teller.promote('m', 3)");
    }
}

#[test]
fn a_transaction_that_keeps_its_snapshot_sees_its_own_changes() {
    let (_database, mut client) = three_versions();
    client.run("BEGIN ISOLATION LEVEL SERIALIZABLE");
    client.run("SELECT teller.promote('m', 1); SELECT teller.promote('m', 2)");
    client.run("SELECT teller.promote('m', 1), teller.promote('m', 3), teller.rollback('m')");
    train_purchases(&mut client, "m", "als");
    client.run("COMMIT");
    assert_eq!(statuses(&mut client), ["archived", "archived", "archived", "production"]);
}

/// A drop that waited for a promotion to commit must see it.
#[test]
fn a_drop_does_not_race_with_a_promotion() {
    let (database, mut client) = three_versions();
    client.run("BEGIN; SELECT teller.promote('m', 1)");
    let mut other = database.connect();
    let waiting = std::thread::spawn(move || {
        other.refused(
            "SELECT teller.drop_version('m', 1)",
            &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        );
    });
    let lock = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'm'::regclass";
    while client.value::<i64>(lock) == 0 {
        std::thread::yield_now();
    }
    client.run("COMMIT");
    waiting.join().unwrap();
    assert_eq!(statuses(&mut client), ["production", "archived", "archived"]);
}

#[test]
fn a_gate_keeps_a_worse_version_out_of_production() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    let mut train = |options: &str| -> String {
        client.value(&format!(
            "SELECT status FROM teller.train('m', 'recommendation',
                 'SELECT user_id, item_id FROM purchases', '{options}')"
        ))
    };
    let held_out = "SELECT u::bigint AS user_id, i::bigint AS item_id
                    FROM generate_series(1, 40) u, generate_series(1, 10) i
                    WHERE (u <= 20) = (i <= 5) AND (u + i) % 5 = 0";
    let gate = |bounds: &str| {
        format!(r#"{{"metric": "ndcg@10", "data": "{}", {bounds}}}"#, held_out.replace('\n', " "))
    };
    let popular = r#""algorithm": "popular""#;
    let als = r#""algorithm": "als", "factors": 4"#;
    assert_eq!(
        train(&format!(r#"{{{popular}, "gate": {}}}"#, gate(r#""min": 0.99"#))),
        "candidate",
        "it cannot tell the groups apart"
    );
    assert_eq!(train(&format!(r#"{{{als}, "gate": {}}}"#, gate(r#""min": 0.99"#))), "production");
    assert_eq!(
        train(&format!(r#"{{{popular}, "gate": {}}}"#, gate(r#""max_drop": 0.01"#))),
        "candidate",
        "worse than the champion"
    );
    assert_eq!(train(&format!(r#"{{{als}, "promote": false}}"#)), "candidate");
    assert_eq!(statuses(&mut client), ["candidate", "production", "candidate", "candidate"]);
    let figures = "SELECT metrics -> 'gate' ->> 'passed' || ' ' ||
                          ((metrics -> 'gate' ->> 'champion')::float8 > 0.99)::text
                   FROM teller.model_versions WHERE version = 3 AND model = 'm'::regclass";
    assert_eq!(client.value::<String>(figures), "false true", "both figures are kept");
    // A person may overrule the gate.
    assert_eq!(client.value::<i32>("SELECT teller.promote('m', 3)"), 3);
}

#[test]
fn gates_that_cannot_be_measured_are_refused() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    for gate in [
        r#"{"metric": "ndcg@10", "data": "SELECT user_id, item_id FROM purchases"}"#,
        r#"{"metric": "ndcg@10", "min": 0.5}"#,
        r#"{"data": "SELECT 1", "min": 0.5}"#,
        r#"{"metric": "ndcg@10", "data": "SELECT 1", "min": 0.5, "most": 1}"#,
        r#"{"metric": "ndcg", "min": 0,
            "data": "SELECT 1::bigint AS user_id, 5::bigint AS item_id"}"#,
        r#""ndcg""#,
    ] {
        client.refused(
            &format!(
                r#"SELECT teller.train('m', 'recommendation',
                       'SELECT user_id, item_id FROM purchases',
                       '{{"algorithm": "popular", "gate": {gate}}}')"#
            ),
            &SqlState::INVALID_PARAMETER_VALUE,
        );
    }
    assert_eq!(client.value::<i64>("SELECT count(*) FROM pg_class WHERE relname = 'm'"), 0);
}

#[test]
fn four_eyes_by_grant() {
    let database = Database::new();
    let mut owner = database.connect();
    two_groups(&mut owner);
    train_purchases(&mut owner, "m", "popular");
    let mut trainer = database.connect_as("trainer");
    let mut promoter = database.connect_as("promoter");
    let (trains, promotes) = (database.role("trainer"), database.role("promoter"));
    owner.run(&format!(
        "GRANT SELECT ON purchases TO {trains};
         GRANT INSERT, SELECT (version) ON m TO {trains};
         GRANT UPDATE, SELECT (version) ON m TO {promotes}"
    ));
    train_purchases(&mut trainer, "m", "als");
    assert_eq!(statuses(&mut owner), ["production", "candidate"]);
    trainer.refused("SELECT teller.promote('m', 2)", &SqlState::INSUFFICIENT_PRIVILEGE);
    trainer.refused("SELECT teller.rollback('m')", &SqlState::INSUFFICIENT_PRIVILEGE);
    promoter.refused(
        "SELECT teller.train('m', 'recommendation', 'SELECT 1 AS user_id, 2 AS item_id')",
        &SqlState::INSUFFICIENT_PRIVILEGE,
    );
    promoter.refused("SELECT teller.drop_version('m', 1)", &SqlState::INSUFFICIENT_PRIVILEGE);
    assert_eq!(promoter.value::<i32>("SELECT teller.promote('m', 2)"), 2);
    assert_eq!(statuses(&mut owner), ["archived", "production"]);
    let by: String = owner
        .value("SELECT info ->> 'by' FROM m WHERE part = 'promotion' ORDER BY chunk DESC LIMIT 1");
    assert_eq!(by, promotes);
}

#[test]
fn usage_is_granted_and_revoked() {
    let database = Database::new();
    let mut owner = database.connect();
    two_groups(&mut owner);
    train_purchases(&mut owner, "m", "popular");
    let mut clerk = database.connect_as("clerk");
    let role = database.role("clerk");
    let grant = format!("SELECT teller.grant_usage('m', '{role}')");
    let call = "SELECT item_id FROM teller.recommend(1, 1, 'm')";
    clerk.refused(call, &SqlState::INSUFFICIENT_PRIVILEGE);
    owner.run(&grant);
    clerk.value::<i64>(call);
    clerk.refused("SELECT * FROM teller.item_factors('m')", &SqlState::INSUFFICIENT_PRIVILEGE);
    clerk.refused(&grant, &SqlState::INSUFFICIENT_PRIVILEGE);
    owner.run(&format!("SELECT teller.revoke_usage('m', '{role}')"));
    clerk.refused(call, &SqlState::INSUFFICIENT_PRIVILEGE);
}

#[test]
fn a_read_only_transaction_changes_nothing() {
    let (_database, mut client) = three_versions();
    client.run("SET default_transaction_read_only = on");
    for call in [
        "SELECT teller.promote('m', 1)",
        "SELECT teller.rollback('m')",
        "SELECT teller.drop_version('m', 1)",
        "SELECT teller.train('m', 'recommendation', 'SELECT 1 AS user_id, 2 AS item_id')",
    ] {
        client.refused(call, &SqlState::READ_ONLY_SQL_TRANSACTION);
    }
    answer(&mut client);
}
