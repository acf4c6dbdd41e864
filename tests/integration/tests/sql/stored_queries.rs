//! A stored query runs in its owner's name for whoever retrains: neither of the two gets at what
//! is the other's.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

const WRITES: &SqlState = &SqlState::READ_ONLY_SQL_TRANSACTION;
const DENIED: &SqlState = &SqlState::INSUFFICIENT_PRIVILEGE;

/// A model `owner.shop` that `clerk` may train, and whose query is `data`.
struct Shop {
    database: Database<'static>,
    owner: Client,
    clerk: Client,
    root: Client,
    retrain: String,
}

impl Shop {
    fn new(data: &str) -> Self {
        let database = Database::new();
        let root = database.connect();
        let mut owner = database.connect_as("owner");
        let clerk = database.connect_as("clerk");
        let (schema, role) = (database.role("owner"), database.role("clerk"));
        super::two_groups(&mut owner);
        owner.run("CREATE TABLE switch AS SELECT false AS moved; CREATE SEQUENCE numbers");
        owner.run(&function("NULL"));
        owner.run(&format!(
            r#"SELECT teller.train('shop', 'recommendation', $data${data}$data$,
                                   '{{"algorithm": "popular"}}')"#
        ));
        owner.run(&format!(
            "GRANT USAGE ON SCHEMA {schema} TO public; GRANT INSERT, UPDATE ON shop TO {role}"
        ));
        let retrain = format!("CALL teller.retrain('{schema}.shop')");
        Self { database, owner, clerk, root, retrain }
    }

    fn rows(&mut self) -> Vec<i64> {
        self.owner.column(
            "SELECT rows FROM teller.model_versions WHERE model = 'shop'::regclass
             ORDER BY version",
        )
    }
}

/// The names in the query are the owner's, under the path that he had.
#[test]
fn the_callers_names_are_not_found() {
    let mut shop = Shop::new("SELECT user_id, item_id FROM purchases WHERE user_id < 5");
    let clerk = shop.database.role("clerk");
    for session in [&mut shop.clerk, &mut shop.root] {
        session.run(&format!(
            "CREATE TEMP TABLE purchases AS SELECT 1::bigint AS user_id, 2::bigint AS item_id;
             GRANT ALL ON purchases TO public;
             CREATE TABLE {clerk}.purchases AS TABLE pg_temp.purchases WITH NO DATA;
             GRANT ALL ON {clerk}.purchases TO public;
             SET search_path = pg_temp, {clerk}"
        ));
        session.run(&shop.retrain);
        session.run(&format!("DROP TABLE {clerk}.purchases"));
        let path: String = session.value("SHOW search_path");
        assert_eq!(path, format!("pg_temp, {clerk}"));
    }
    assert_eq!(shop.rows(), [16, 16, 16]);

    // Not even where the owner's table is gone: a view would run its author's functions as him.
    shop.owner.run("ALTER TABLE purchases RENAME TO sales");
    for session in [&mut shop.clerk, &mut shop.root] {
        let error = session.refused(&shop.retrain, DENIED);
        assert!(error.message().contains("temporary"), "{error}");
        session.run(
            "DROP TABLE pg_temp.purchases;
             CREATE TEMP VIEW purchases AS SELECT 1::bigint AS user_id, 2::bigint AS item_id;
             GRANT ALL ON purchases TO public",
        );
        let error = session.refused(&shop.retrain, DENIED);
        assert!(error.message().contains("temporary"), "{error}");
    }
    assert_eq!(shop.rows(), [16, 16, 16]);
}

/// The owner's functions reach nothing of the caller's, who may be a superuser.
#[test]
fn the_owners_functions_stay_in_the_sandbox() {
    let mut shop = Shop::new("SELECT act() AS user_id, 2 AS item_id FROM switch");
    let schema = shop.database.role("owner");
    for session in [&mut shop.clerk, &mut shop.root] {
        session.run(
            "CREATE TEMP TABLE kept AS SELECT 1 AS x; GRANT ALL ON kept TO public;
             SET app.kept = 'mine'; LISTEN a",
        );
        for act in [
            "PERFORM pg_notify('a', 'b')",
            "NOTIFY a",
            "PERFORM pg_advisory_lock(1)",
            "PERFORM nextval('numbers')",
            "PERFORM lo_create(0)",
            "INSERT INTO pg_temp.kept VALUES (2)",
            "SET ROLE NONE",
            "RESET SESSION AUTHORIZATION",
            "CREATE TEMP TABLE made (x int)",
            "GRANT ALL ON shop TO public",
            "UPDATE switch SET moved = true",
        ] {
            shop.owner.run(&function(act));
            session.refused(&shop.retrain, WRITES);
        }
        for act in [
            "PERFORM set_config('role', 'none', false)",
            "PERFORM set_config('session_authorization', 'postgres', false)",
            "PERFORM x FROM pg_temp.kept",
        ] {
            shop.owner.run(&function(act));
            session.refused(&shop.retrain, DENIED);
        }
        shop.owner.run(&function("COMMIT"));
        session.refused(&shop.retrain, &SqlState::INVALID_TRANSACTION_TERMINATION);
        // What it may do leaves nothing.
        shop.owner.run(&function(
            "PERFORM set_config('app.kept', current_user::text, false);
             PERFORM set_config('search_path', 'nowhere', false);
             OPEN r FOR SELECT 1",
        ));
        session.run(&shop.retrain);
        let kept: String = session.value(
            "SELECT concat_ws(' ', current_setting('app.kept'), current_user = session_user,
                    current_setting('search_path') <> 'nowhere',
                    current_setting('transaction_read_only'),
                    (SELECT count(*) FROM pg_cursors WHERE statement LIKE '%SELECT 1'),
                    (SELECT count(*) FROM kept))",
        );
        assert_eq!(kept, "mine t t off 0 1");
        assert!(session.notifications().is_empty());
    }
    let escaped: i64 = shop.root.value(&format!(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
         UNION ALL SELECT count(*) FROM {schema}.switch WHERE moved
         ORDER BY 1 DESC LIMIT 1"
    ));
    assert_eq!(escaped, 0);
}

fn function(act: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION act() RETURNS bigint LANGUAGE plpgsql AS
             $$DECLARE r refcursor; BEGIN {act}; RETURN 1; END$$"
    )
}

/// What stands in the manifest may be forged by the owner: an error, and no more.
#[test]
fn forged_definitions() {
    let mut shop = Shop::new("SELECT user_id, item_id FROM purchases");
    let schema = shop.database.role("owner");
    for (key, value) in [
        ("search_path", r#""pg_temp""#),
        ("search_path", r#""a, , b""#),
        ("search_path", r#""\"""#),
        ("search_path", r#""""#),
        ("search_path", "7"),
        ("data", r#""SELECT 1; DROP TABLE purchases""#),
        ("data", r#""DROP TABLE purchases""#),
        ("data", r#""SELECT * FROM pg_authid""#),
        ("data", r#""""#),
        ("data", "null"),
        ("options", r#""x""#),
        ("options", r#"{"gate": {"metric": "x", "min": 0, "data": "DROP TABLE purchases"}}"#),
        ("task", r#""x""#),
    ] {
        shop.root.run(&format!(
            "SET session_replication_role = replica; CREATE TABLE before AS TABLE {schema}.shop;
             UPDATE {schema}.shop SET info = jsonb_set(info, '{{{key}}}', '{value}') WHERE part = ''"
        ));
        for mut session in [shop.database.connect_as("clerk"), shop.database.connect()] {
            let outcome = session.simple_query(&shop.retrain);
            let error = outcome.expect_err(&format!("{key} {value}"));
            let error = error.as_db_error().expect("the session goes on");
            assert_ne!(error.code(), &SqlState::INTERNAL_ERROR, "{key} {value}: {error}");
            let rows: i64 = shop.owner.value("SELECT count(*) FROM purchases");
            assert_eq!(rows, 160);
        }
        shop.root.run(&format!(
            "TRUNCATE {schema}.shop; INSERT INTO {schema}.shop TABLE before; DROP TABLE before"
        ));
    }
    shop.root.run("RESET session_replication_role");
    shop.clerk.run(&shop.retrain);
}

/// A training row that somebody made up keeps nobody from seeing the others.
#[test]
fn forged_progress() {
    let mut shop = Shop::new("SELECT user_id, item_id FROM purchases");
    shop.owner.run(
        "CREATE TABLE odd OF teller.model (PRIMARY KEY (version, part, chunk));
         GRANT ALL ON odd TO public; INSERT INTO odd VALUES (1, '', 0, 'training')",
    );
    for progress in [
        r#"{"step": "x"}"#,
        r#"{"of": 10000000000}"#,
        r#"{"step": 1.0, "of": 2}"#,
        r#"{"rows": 1e300, "seconds": 1e-300}"#,
        r#"{"loss": {}}"#,
        r#"{"rows": "many"}"#,
        r#"{"step": -2147483648, "of": 2147483647, "seconds": 1e300}"#,
        r#"{"step": 1, "of": 2, "seconds": "NaN"}"#,
        "[]",
        "7",
    ] {
        shop.owner.run(&format!(
            r#"UPDATE odd SET info = '{{"progress": {progress},
                                        "updated_at": "2026-01-01T00:00:00Z"}}'"#
        ));
        let seen = shop.root.query("SELECT * FROM teller.training_runs", &[]);
        assert!(seen.is_ok(), "{progress}: {seen:?}");
    }
}
