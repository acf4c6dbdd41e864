//! `teller.retrain`: a version from the stored definition, in the owner's name, committed as it
//! goes.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

use crate::{train_purchases, two_groups};

fn with_model() -> (Database<'static>, Client) {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    train_purchases(&mut client, "m", "als");
    (database, client)
}

fn statuses(client: &mut Client) -> Vec<String> {
    client.column("SELECT status FROM m WHERE part = '' ORDER BY version")
}

fn digests(client: &mut Client) -> Vec<String> {
    client.column("SELECT info->>'digest' FROM m WHERE part = '' ORDER BY version")
}

#[test]
fn the_same_rows_give_the_same_bytes_and_other_rows_a_new_version() {
    let (_database, mut client) = with_model();
    client.run("CALL teller.retrain('m')");
    assert_eq!(statuses(&mut client), ["archived", "production"]);
    let same = digests(&mut client);
    assert_eq!(same[0], same[1]);
    client.run("INSERT INTO purchases VALUES (41, 1, 1)");
    client.run("CALL teller.retrain('m')");
    assert_eq!(statuses(&mut client), ["archived", "archived", "production"]);
    let other = digests(&mut client);
    assert_ne!(other[1], other[2]);
    // Everything of the run is gone, and its log is as that of any training.
    let left: Vec<String> =
        client.column("SELECT DISTINCT part FROM m WHERE version = 3 ORDER BY part");
    assert!(left.contains(&"log".to_owned()) && !left.contains(&"checkpoint".to_owned()));
    let steps: Vec<i64> =
        client.column("SELECT count(*) FROM teller.training_log GROUP BY version");
    // Fifteen sweeps on a part of the data, and as many on all of it.
    assert_eq!(steps, [30, 30, 30]);
    let audited: Vec<String> = client.column(
        "SELECT concat_ws(' ', action, from_version, to_version) FROM teller.audit_log
         WHERE to_version = 3 ORDER BY id",
    );
    assert_eq!(audited, ["train 3", "promote 2 3"]);
}

#[test]
fn lineage_says_where_a_version_comes_from() {
    let (_database, mut client) = with_model();
    client.run("CALL teller.retrain('m')");
    client.run("UPDATE purchases SET weight = 2 WHERE user_id = 1");
    client.run(r#"CALL teller.retrain('m', '{"seed": 7}')"#);
    let rows: Vec<String> = client.column(
        "SELECT concat_ws(' ', rows, rows_digest, seed,
                          peak_memory >= 0, seconds > 0, trained_by, options->>'seed')
         FROM teller.model_versions WHERE model = 'm'::regclass ORDER BY version",
    );
    let digest = |row: &str| row.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(digest(&rows[0]), digest(&rows[1]));
    assert_ne!(digest(&rows[1]), digest(&rows[2]));
    for (row, seed) in rows.iter().zip(["42 t t postgres", "42 t t postgres", "7 t t postgres 7"]) {
        assert!(row.starts_with("160 ") && row.ends_with(seed), "{row}");
        assert_eq!(digest(row).len(), 64);
    }
}

#[test]
fn a_check_trains_again_and_compares() {
    let (database, mut client) = with_model();
    let check = |client: &mut Client, version: i32| {
        client.value::<String>(&format!(
            "SELECT concat_ws(' ', same, same_rows, stored_digest = trained_digest)
             FROM teller.retrain_check('m', {version})"
        ))
    };
    assert_eq!(check(&mut client, 1), "t t t");
    client.run("SET default_transaction_read_only = on");
    assert_eq!(check(&mut client, 1), "t t t");
    client.run("RESET default_transaction_read_only");
    client.run("INSERT INTO purchases VALUES (41, 1, 1)");
    assert_eq!(check(&mut client, 1), "f f f");
    client.refused("SELECT teller.retrain_check('m', 9)", &SqlState::UNDEFINED_OBJECT);
    assert_eq!(statuses(&mut client), ["production"]);

    // Whoever may read the model may check what was approved; a candidate's query was not.
    let auditor = database.role("auditor");
    let mut other = database.connect_as("auditor");
    other.refused("SELECT teller.retrain_check('m', 1)", &SqlState::INSUFFICIENT_PRIVILEGE);
    client.run(&format!("GRANT SELECT ON m TO {auditor}"));
    assert_eq!(check(&mut other, 1), "f f f");
    client.run(r#"CALL teller.retrain('m', '{"promote": false}')"#);
    assert_eq!(statuses(&mut client), ["production", "candidate"]);
    other.refused("SELECT teller.retrain_check('m', 2)", &SqlState::INSUFFICIENT_PRIVILEGE);
    assert_eq!(check(&mut client, 2), "t t t");
}

#[test]
fn it_runs_by_itself_alone() {
    let (database, mut client) = with_model();
    let state = SqlState::INVALID_TRANSACTION_TERMINATION;
    client.run("BEGIN");
    client.refused("CALL teller.retrain('m')", &state);
    client.run("ROLLBACK");
    client.refused("SELECT 1; CALL teller.retrain('m')", &state);
    client.refused(
        "DO $$ BEGIN CALL teller.retrain('m'); EXCEPTION WHEN division_by_zero THEN NULL; END $$",
        &state,
    );
    client.run(
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL teller.retrain('m'); END $$",
    );
    client.refused("SELECT f()", &state);
    assert_eq!(statuses(&mut client), ["production"]);
    client.run("DO $$ BEGIN CALL teller.retrain('m'); END $$");
    assert_eq!(statuses(&mut client), ["archived", "production"]);

    // Prepared, as drivers send it.
    client.execute("CALL teller.retrain($1::text::regclass)", &[&"m"]).unwrap();
    assert_eq!(statuses(&mut client), ["archived", "archived", "production"]);

    client.run("SET default_transaction_read_only = on");
    client.refused("CALL teller.retrain('m')", &SqlState::READ_ONLY_SQL_TRANSACTION);
    drop(database);
}

#[test]
fn bad_calls_are_refused() {
    let (_database, mut client) = with_model();
    client.refused("CALL teller.retrain(NULL)", &SqlState::NULL_VALUE_NOT_ALLOWED);
    client.refused("CALL teller.retrain('purchases')", &SqlState::WRONG_OBJECT_TYPE);
    for options in ["[]", "1", r#"{"epochs": 3}"#, r#"{"factors": 0}"#] {
        client.refused(
            &format!("CALL teller.retrain('m', '{options}')"),
            &SqlState::INVALID_PARAMETER_VALUE,
        );
    }
    client.run("SELECT teller.create_model_table('public', 'empty')");
    client.refused("CALL teller.retrain('empty')", &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    client.run("ALTER TABLE purchases RENAME TO sales");
    client.refused("CALL teller.retrain('m')", &SqlState::UNDEFINED_TABLE);
    assert_eq!(statuses(&mut client), ["production"]);
}

#[test]
fn a_gate_holds_for_retrained_versions_and_only_the_owner_changes_it() {
    let (database, mut client) = with_model();
    let gate = r#"{"gate": {"metric": "ndcg@10", "min": 2,
                            "data": "SELECT user_id, user_id % 5 + 1 AS item_id FROM purchases WHERE user_id < 5"}}"#;
    let trainer = database.role("trainer");
    let mut other = database.connect_as("trainer");
    client.run(&format!("GRANT INSERT, UPDATE, SELECT (version) ON m TO {trainer}"));
    other.refused(
        &format!("CALL teller.retrain('public.m', '{gate}')"),
        &SqlState::INSUFFICIENT_PRIVILEGE,
    );
    client.run(&format!("CALL teller.retrain('m', '{gate}')"));
    assert_eq!(statuses(&mut client), ["production", "candidate"]);
    // What the production version's definition says holds for the next one: it has no gate.
    other.run("CALL teller.retrain('public.m')");
    assert_eq!(statuses(&mut client), ["archived", "candidate", "production"]);
}

/// The stored query reads what the owner may read, for a caller who may not.
#[test]
fn the_query_runs_in_the_owners_name() {
    let database = Database::new();
    let mut root = database.connect();
    let mut owner = database.connect_as("owner");
    two_groups(&mut owner);
    owner.run(
        "CREATE FUNCTION who() RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN
             RAISE WARNING 'read by %', current_user; RETURN 1; END $$",
    );
    owner.run(
        "SELECT teller.train('m', 'recommendation',
             'SELECT user_id, item_id, weight * who() AS weight FROM purchases
              WHERE user_id < 5', '{\"algorithm\": \"popular\"}')",
    );
    let (owner_role, cron) = (database.role("owner"), database.role("cron"));
    drop(database.connect_as("cron"));
    root.run(&format!("GRANT USAGE ON SCHEMA {owner_role} TO {cron}"));
    owner.run(&format!("GRANT INSERT ON m TO {cron}"));
    let (mut client, heard) = database.connect_listening();
    client.run(&format!("SET SESSION AUTHORIZATION {cron}"));
    client.run(&format!("CALL teller.retrain('{owner_role}.m')"));
    let heard: Vec<String> = heard
        .try_iter()
        .filter(|notice| notice.severity() == "WARNING")
        .map(|n| n.message().into())
        .collect();
    assert_eq!(heard.len(), 16);
    assert!(heard.iter().all(|line| *line == format!("read by {owner_role}")), "{heard:?}");
    assert_eq!(client.value::<String>("SELECT current_user::text"), cron);
    // Without UPDATE it leaves a candidate.
    assert_eq!(statuses(&mut owner), ["production", "candidate"]);
    client.refused("SELECT count(*) FROM purchases", &SqlState::UNDEFINED_TABLE);
}

/// Rows of a model come from pg_teller's functions, whatever was granted.
#[test]
fn grants_let_nobody_write_rows_by_hand() {
    let (database, client) = with_model();
    let mut root = client;
    root.run(r#"CALL teller.retrain('m', '{"promote": false}')"#);
    let (role, mut other) = (database.role("trainer"), database.connect_as("trainer"));
    root.run(&format!("GRANT ALL ON m TO {role}"));
    for forged in [
        "INSERT INTO public.m SELECT 7, part, chunk, status, info, payload FROM public.m WHERE version = 1",
        "INSERT INTO public.m VALUES (7, 'weights', 0, NULL, NULL, '')",
        "UPDATE public.m SET status = 'archived' WHERE part = '' AND version = 2",
        "DELETE FROM public.m WHERE version = 2",
    ] {
        let error = other.refused(forged, &SqlState::INSUFFICIENT_PRIVILEGE);
        assert!(error.message().contains("write rows"), "{}", error.message());
    }
    other.run("SELECT teller.promote('public.m', 2); SELECT teller.drop_version('public.m', 1)");
    assert_eq!(statuses(&mut root), ["production"]);
}

/// A job of cron runs under other settings than the analyst who wrote the query.
#[test]
fn the_query_is_read_under_the_settings_of_its_training() {
    let mut client = Database::new().connect();
    client.run(
        "CREATE TABLE visits AS
             SELECT u AS user_id, timestamptz '2026-01-01 00:00+00' + u * i * interval '7 hours' AS at
             FROM generate_series(1, 20) u, generate_series(1, 5) i;
         SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'",
    );
    client.run(
        "SELECT teller.train('m', 'recommendation',
             'SELECT user_id, at::date::text AS item_id FROM visits', '{\"algorithm\": \"popular\"}')",
    );
    client.run("SET timezone = 'America/Lima'");
    client.run("SET datestyle = 'ISO'");
    client.run("CALL teller.retrain('m')");
    let same: bool = client.value(
        "SELECT count(DISTINCT rows_digest) = 1 AND count(*) = 2 FROM teller.model_versions
         WHERE model = 'm'::regclass",
    );
    assert!(same);
    assert_eq!(client.value::<String>("SHOW timezone"), "America/Lima");
}
