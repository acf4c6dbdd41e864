//! The query of a training, and the functions in it, can only read, and leave nothing behind.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

const WRITES: &SqlState = &SqlState::READ_ONLY_SQL_TRANSACTION;

fn train(data: &str) -> String {
    format!(
        "SELECT teller.train('m', 'recommendation', $data${data}$data$,
                             '{{\"algorithm\": \"popular\"}}')"
    )
}

/// Makes a function that does `body` and returns 1.
fn function(body: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION act() RETURNS bigint LANGUAGE plpgsql AS
             $$DECLARE n bigint; r refcursor; BEGIN {body}; RETURN 1; END$$;"
    )
}

/// Trains on what that function returns.
fn train_on(body: &str) -> String {
    function(body) + &train("SELECT act() AS user_id, 2 AS item_id")
}

fn locks(client: &mut Client) -> i64 {
    client.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
}

/// What has effects that outlive a read-only transaction, or are none of its business.
const CALLS: [&str; 20] = [
    "pg_notify('a', 'b')",
    "pg_advisory_lock(1)",
    "pg_advisory_lock_shared(1, 2)",
    "pg_advisory_xact_lock(1)",
    "pg_try_advisory_lock(1)",
    "pg_try_advisory_xact_lock_shared(1)",
    "pg_advisory_unlock(1)",
    "pg_advisory_unlock_all()",
    "nextval('numbers')",
    "setval('numbers', 100)",
    "setseed(0.5)",
    "lo_create(77)",
    "lo_creat(-1)",
    "lo_from_bytea(77, 'x')",
    "lo_put(76, 0, 'x')",
    "lo_unlink(76)",
    "pg_export_snapshot()",
    "pg_logical_emit_message(false, 'a', 'b')",
    "pg_cancel_backend(0)",
    "pg_stat_reset()",
];

const STATEMENTS: [&str; 22] = [
    "NOTIFY a, 'b'",
    "LISTEN a",
    "SET work_mem = '1MB'",
    "SET LOCAL work_mem = '1MB'",
    "RESET ALL",
    "SET ROLE NONE",
    "LOCK TABLE kept IN SHARE MODE",
    "CREATE TEMP TABLE made (x int)",
    "CREATE TABLE made (x int)",
    "CREATE TABLE made AS SELECT 1 AS x",
    "TRUNCATE kept",
    "DROP TABLE kept",
    "COMMENT ON TABLE kept IS 'x'",
    "EXECUTE 'PREPARE p AS SELECT 1'",
    "EXECUTE 'DEALLOCATE ALL'",
    "DISCARD PLANS",
    "DO 'BEGIN END'",
    "INSERT INTO kept VALUES (2)",
    "UPDATE kept SET x = 2",
    "DELETE FROM kept",
    "PERFORM 1 FROM kept FOR UPDATE",
    "WITH gone AS (DELETE FROM kept RETURNING x) SELECT x INTO n FROM gone",
];

fn session(database: &Database) -> Client {
    let mut client = database.connect();
    client.run(
        "CREATE SEQUENCE numbers; SELECT nextval('numbers'); SELECT lo_create(76);
         CREATE TEMP TABLE kept AS SELECT 1 AS x",
    );
    client
}

#[test]
fn calls_with_effects_are_refused() {
    let mut client = session(&Database::new());
    for call in CALLS {
        for statement in [
            train(&format!("SELECT 1 AS user_id, 2 AS item_id FROM (SELECT {call}) AS called")),
            train(&format!("SELECT 1 AS user_id, count(*) AS item_id FROM {call}")),
            train_on(&format!("PERFORM {call}")),
            // A simple expression goes without a plan.
            train_on(&format!("RAISE LOG '%', {call}")),
        ] {
            let error = client.refused(&statement, WRITES);
            assert!(error.message().contains("must only read"), "{statement}\n{error}");
        }
    }
    assert_eq!(locks(&mut client), 0);
    assert_eq!(client.value::<i64>("SELECT nextval('numbers')"), 2);
    assert_eq!(client.value::<i64>("SELECT count(*) FROM pg_largeobject_metadata"), 1);
}

#[test]
fn statements_with_effects_are_refused() {
    let mut client = session(&Database::new());
    for statement in STATEMENTS {
        let error = client.refused(&train_on(statement), WRITES);
        assert!(error.message().contains("must only read"), "{statement}\n{error}");
    }
    // By functions and operators of other kinds.
    client.run(
        "CREATE FUNCTION told(int, int) RETURNS boolean LANGUAGE sql AS
             'SELECT pg_notify(''a'', ''b''); SELECT true';
         CREATE OPERATOR === (FUNCTION = told, LEFTARG = int, RIGHTARG = int);
         CREATE OPERATOR =!= (FUNCTION = pg_try_advisory_lock, LEFTARG = int, RIGHTARG = int);
         CREATE DOMAIN checked AS int CHECK (told(VALUE, 1));
         CREATE VIEW numbered AS SELECT nextval('numbers') AS user_id, 2 AS item_id;
         CREATE PROCEDURE insert_it() LANGUAGE sql AS 'INSERT INTO kept VALUES (7)'",
    );
    for data in [
        "SELECT 1 AS user_id, 2 AS item_id WHERE 1 === 1",
        "SELECT 1 AS user_id, 2 AS item_id FROM kept WHERE x =!= 1",
        "SELECT 1 AS user_id, 2 AS item_id WHERE 1 =!= ANY (ARRAY[1, 2])",
        "SELECT 1 AS user_id, x::checked::int AS item_id FROM kept",
        "SELECT * FROM numbered",
        "SELECT 1 AS user_id, 2 AS item_id
         FROM query_to_xml('SELECT nextval(''numbers'')', true, true, '')",
        "SELECT 1 AS user_id, 2 AS item_id FROM kept FOR UPDATE",
    ] {
        client.refused(&train(data), WRITES);
    }
    client.refused(&train_on("CALL insert_it()"), WRITES);
    assert_eq!(client.value::<i64>("SELECT count(*) FROM kept"), 1);
    assert_eq!(locks(&mut client), 0);
}

/// A function may catch the refusal; what it tried is still not done, and the same statements are
/// the session's own again afterwards.
#[test]
fn nothing_is_done_by_a_function_that_catches_the_refusal() {
    let database = Database::new();
    let (mut client, notices) = database.connect_listening();
    client.run(
        "CREATE SEQUENCE numbers; SELECT nextval('numbers'); SELECT lo_create(76); LISTEN a;
         CREATE TEMP TABLE kept AS SELECT 1 AS x",
    );
    let tries = CALLS.iter().map(|call| format!("PERFORM {call}"));
    let tries = tries.chain(STATEMENTS.iter().map(|statement| (*statement).to_owned()));
    let body: Vec<String> = tries
        .map(|act| format!("BEGIN {act}; n := n + 1; EXCEPTION WHEN OTHERS THEN NULL; END"))
        .collect();
    let body = format!("n := 0; {}; IF n > 0 THEN RAISE 'done: %', n; END IF", body.join("; "));
    client.run(&train_on(&body));
    drop(notices);
    assert_eq!(locks(&mut client), 0);
    assert_eq!(client.value::<i64>("SELECT count(*) FROM kept"), 1);
    assert_eq!(client.value::<i64>("SELECT nextval('numbers')"), 2);
    assert!(client.notifications().is_empty());

    client.run(
        "SELECT pg_advisory_lock(1), pg_advisory_unlock(1), pg_notify('a', 'b');
         SET LOCAL work_mem = '1MB'; CREATE TEMP TABLE made (x int); INSERT INTO kept VALUES (2);
         DO 'BEGIN END'; PREPARE p AS SELECT 1",
    );
}

#[test]
fn settings_are_the_sessions_again() {
    let mut client = Database::new().connect();
    let shown = "SELECT concat_ws(' ', current_setting('work_mem'), current_setting('search_path'),
                                  current_setting('app.tenant', true))";
    client.run("SET search_path = public, pg_catalog");
    let before: String = client.value(shown);
    for local in ["true", "false"] {
        client.run(&train(&format!(
            "SELECT 1 AS user_id, 2 AS item_id
             FROM set_config('work_mem', '123kB', {local}) a,
                  set_config('search_path', 'teller', {local}) b,
                  set_config('app.tenant', '7', {local}) c"
        )));
        assert_eq!(client.value::<String>(shown).trim(), before.trim());
        client.run("BEGIN");
        client.run(&train_on(&format!("PERFORM set_config('work_mem', '123kB', {local})")));
        assert_eq!(client.value::<String>(shown).trim(), before.trim());
        client.run("COMMIT");
        assert_eq!(client.value::<String>(shown).trim(), before.trim());
    }
    let denied = &SqlState::INSUFFICIENT_PRIVILEGE;
    client.refused(&train_on("PERFORM set_config('role', 'pg_monitor', true)"), denied);
    client.refused(
        &train_on("PERFORM set_config('session_authorization', 'pg_monitor', false)"),
        denied,
    );
    client.refused(
        &train_on("PERFORM set_config('transaction_read_only', 'off', true)"),
        &SqlState::ACTIVE_SQL_TRANSACTION,
    );
    client.refused(&train_on("COMMIT"), &SqlState::INVALID_TRANSACTION_TERMINATION);
    client.refused(&train_on("ROLLBACK"), &SqlState::INVALID_TRANSACTION_TERMINATION);
}

/// A cursor left open would be read later by somebody else, outside.
#[test]
fn cursors_are_closed() {
    let mut client = Database::new().connect();
    client.run("BEGIN");
    client.run(&train_on("OPEN r FOR SELECT 1; FETCH r INTO n"));
    assert_eq!(client.value::<i64>("SELECT count(*) FROM pg_cursors WHERE name <> ''"), 0);
    client.run("COMMIT");
}

#[test]
fn functions_that_read_do_what_they_always_do() {
    let database = Database::with_demo();
    let mut client = database.connect();
    client.run(
        "CREATE TEMP TABLE mine AS SELECT u AS user_id, u % 3 AS item_id
             FROM generate_series(1, 20) u;
         CREATE FUNCTION careful(u int) RETURNS int LANGUAGE plpgsql SET work_mem = '1MB' AS $$
             DECLARE
                 n int := 0;
                 row record;
                 by_hand CURSOR FOR SELECT user_id FROM mine ORDER BY 1;
             BEGIN
                 FOR row IN SELECT user_id FROM mine LOOP
                     BEGIN
                         n := n + 1 / (row.user_id - u);
                     EXCEPTION WHEN division_by_zero THEN
                         n := n + 100;
                     END;
                 END LOOP;
                 OPEN by_hand;
                 FETCH by_hand INTO row;
                 CLOSE by_hand;
                 EXECUTE 'SELECT $1 + 0' INTO n USING n;
                 RETURN n + 1000;
             END$$;
         CREATE FUNCTION definer(i int) RETURNS int LANGUAGE sql SECURITY DEFINER STABLE
             SET search_path = pg_catalog AS 'SELECT i + random()::int * 0'",
    );
    client.run(&train(
        "SELECT careful(user_id) AS user_id, definer(item_id) AS item_id, 1 + random() AS weight
         FROM mine TABLESAMPLE system (100)
         WHERE gen_random_uuid() IS NOT NULL AND clock_timestamp() IS NOT NULL
         ORDER BY mine.user_id",
    ));
    // A model in the data of another.
    client.run(&train(
        "SELECT s.id AS user_id, teller.classify_image(image) AS item_id
         FROM demo.scans s WHERE id < 20",
    ));
    // And a measurement within the reading.
    client.run(&train(
        "SELECT 1 AS user_id, (value * 1000)::int AS item_id
         FROM teller.evaluate('teller.digits',
                              'SELECT image, label FROM demo.scans WHERE id % 50 = 0')",
    ));
}

/// The refusal, or any error, may come at any depth of the caller's own transaction.
#[test]
fn an_error_leaves_the_transaction_as_any_error_does() {
    let mut client = session(&Database::new());
    let bad = train_on("PERFORM nextval('numbers')");
    client.refused(&bad, WRITES);
    client.run("BEGIN; INSERT INTO kept VALUES (2); SAVEPOINT s");
    client.refused(&bad, WRITES);
    client.run("ROLLBACK TO s");
    client.refused(&train("SELECT 1 / 0 AS user_id, 2 AS item_id"), &SqlState::DIVISION_BY_ZERO);
    client.run("ROLLBACK TO s");
    client.run(&train("SELECT 1 AS user_id, 2 AS item_id"));
    client.run("RELEASE s; COMMIT; BEGIN");
    client.refused(&bad, WRITES);
    client.run("ROLLBACK");
    client.run(&function("PERFORM nextval('numbers')"));
    let call = train("SELECT act() AS user_id, 2 AS item_id").replacen("SELECT", "PERFORM", 1);
    client.run(&format!(
        "DO $do$BEGIN
             BEGIN {call}; EXCEPTION WHEN read_only_sql_transaction THEN NULL; END;
             INSERT INTO kept VALUES (3);
         END$do$"
    ));
    let kept: Vec<i32> = client.column("SELECT x FROM kept ORDER BY x");
    assert_eq!(kept, [1, 2, 3]);
    client.run("SET statement_timeout = '200ms'");
    client.refused(
        &train("SELECT 1 AS user_id, 2 AS item_id FROM pg_sleep(60)"),
        &SqlState::QUERY_CANCELED,
    );
    client.run("RESET statement_timeout; SELECT nextval('numbers'); CREATE TABLE after (x int)");
}

/// The hooks stand on the way of every statement of the session.
#[test]
fn errors_of_other_statements_are_whole() {
    let mut client = Database::new().connect();
    client.run(&train("SELECT 1 AS user_id, 2 AS item_id"));
    let error = client.refused("CREATE VIEW v AS SELECT nothing", &SqlState::UNDEFINED_COLUMN);
    assert!(error.position().is_some(), "{error:?}");
    client.run("CREATE TABLE t AS SELECT -1 AS x");
    let error = client
        .refused("ALTER TABLE t ADD CONSTRAINT above CHECK (x > 0)", &SqlState::CHECK_VIOLATION);
    assert_eq!(error.constraint(), Some("above"), "{error:?}");
    assert_eq!(error.table(), Some("t"), "{error:?}");
}

/// The digest of the rows can be computed again by whoever has them.
#[test]
fn the_digest_is_that_of_the_rows_in_order() {
    let database = Database::with_demo();
    let (mut client, notices) = database.connect_listening();
    client.run("SET client_min_messages = debug1");
    let read = |client: &mut Client, task: &str, data: &str, options: &str| {
        while notices.try_recv().is_ok() {}
        client.run(&format!("SELECT teller.train('m_{task}', '{task}', $${data}$$, '{options}')"));
        let mut said = notices
            .try_iter()
            .filter_map(|notice| notice.message().strip_prefix("read ").map(str::to_owned));
        said.next().expect("the training says what it read")
    };
    let same = |client: &mut Client, task: &str, data: &str, options: &str, row: &str| {
        let said = read(client, task, data, options);
        let expected: String = client.value(&format!(
            "SELECT count(*) || ' rows with the SHA-256 ' ||
                    encode(sha256(string_agg({row}, '' ORDER BY n)), 'hex')
             FROM (SELECT *, row_number() OVER () AS n FROM ({data}) AS data) AS numbered"
        ));
        assert_eq!(said, expected, "{data}");
        said
    };
    let scans = "SELECT image, label FROM demo.scans WHERE id % 20 = 0 ORDER BY id";
    let row = "'b' || int4send(length(image)) || image ||
               't' || int4send(octet_length(label::text)) || convert_to(label::text, 'UTF8')";
    let once = r#"{"architecture": "small", "epochs": 1}"#;
    let up = same(&mut client, "image_classification", scans, once, row);
    let down = same(&mut client, "image_classification", &format!("{scans} DESC"), once, row);
    assert_ne!(up, down);

    let popular = r#"{"algorithm": "popular"}"#;
    let purchases = "SELECT user_id, item_id FROM demo.purchases";
    let row = "'i' || int8send(user_id) || 'i' || int8send(item_id) || '-'";
    same(&mut client, "recommendation", purchases, popular, row);
    let purchases = "SELECT 'u' || user_id AS user_id, item_id, weight FROM demo.purchases";
    let row = "'t' || int4send(octet_length(user_id)) || convert_to(user_id, 'UTF8') ||
               'i' || int8send(item_id) || 'n' || float8send(weight)";
    same(&mut client, "recommendation", purchases, popular, row);
}

/// The planner calls an operator's function to estimate how many rows it selects.
#[test]
fn a_session_lock_that_the_planner_took_does_not_outlive_the_query() {
    let mut client = Database::new().connect();
    client.run("CREATE TABLE k AS SELECT i % 3 AS x FROM generate_series(1, 1000) i; ANALYZE k");
    client.run(
        "CREATE OPERATOR =!= (FUNCTION = pg_try_advisory_lock, LEFTARG = int, RIGHTARG = int,
                              RESTRICT = eqsel)",
    );
    client.run("SELECT pg_advisory_lock(7)");
    client.refused(
        &train("SELECT 1 AS user_id, 2 AS item_id UNION ALL SELECT 1, x FROM k WHERE x =!= 5"),
        &SqlState::READ_ONLY_SQL_TRANSACTION,
    );
    let held: Vec<String> = client
        .column("SELECT concat_ws(' ', classid, objid) FROM pg_locks WHERE locktype = 'advisory'");
    assert_eq!(held, ["0 7"], "the session's own lock, and no other");
}
