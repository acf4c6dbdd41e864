//! Recommending by what is known of the items: the option `items`.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

/// What is known of the items of the two groups, and of 11 and 12, one of each, that nobody took.
const ITEMS: &str = "CREATE TYPE shape AS ENUM ('round', 'square');
    CREATE TABLE items AS
        SELECT i::bigint AS item_id,
               CASE WHEN low THEN 'Blue savings' ELSE 'Red lending' END || ' no. ' || i AS name,
               CASE WHEN low THEN 'blue' ELSE 'red' END AS colour,
               CASE WHEN low THEN ARRAY['safe', 'slow'] ELSE ARRAY['fast', NULL] END AS tags,
               (CASE WHEN low THEN 'round' ELSE 'square' END)::shape AS shape,
               CASE WHEN low THEN 1.5 + i % 2 END AS rate,
               low AS is_low,
               'same'::text AS bank
        FROM (SELECT i, i <= 5 OR i = 11 AS low FROM generate_series(1, 12) i) i";

fn train(model: &str, items: &str) -> String {
    format!(
        r#"SELECT * FROM teller.train('{model}', 'recommendation',
               'SELECT user_id, item_id, weight FROM purchases',
               jsonb_build_object('algorithm', 'content', 'factors', 8, 'items', $q${items}$q$))"#
    )
}

fn shop() -> Client {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    client.run(ITEMS);
    client
}

#[test]
fn items_that_nobody_took_are_recommended_by_their_features() {
    let mut client = shop();
    client.run(&train("m", "SELECT * FROM items"));
    for (user, others) in [(1, 11), (40, 12)] {
        let sql = format!(
            "SELECT item_id FROM teller.recommend({user}, 1, 'm', candidates => ARRAY[11, 12])"
        );
        assert_eq!(client.value::<i64>(&sql), others, "user {user}");
    }
    let alike: Vec<i64> =
        client.column("SELECT item_id FROM teller.similar_items(11, 5, 'm') ORDER BY item_id");
    assert_eq!(alike, [1, 2, 3, 4, 5]);
    let basket = "SELECT item_id FROM teller.recommend_from(ARRAY[12], 5, 'm') ORDER BY item_id";
    assert_eq!(client.column::<i64>(basket), [6, 7, 8, 9, 10]);
    let metrics = "SELECT metrics ->> $1 FROM teller.model_versions WHERE model = 'm'::regclass";
    for (name, expected) in
        [("items", "12"), ("items_with_features", "12"), ("missing_values", "6")]
    {
        let row = client.query_one(metrics, &[&name]).unwrap();
        assert_eq!(row.get::<_, String>(0), expected, "{name}");
    }
    let row = client.query_one(metrics, &[&"dropped_columns"]).unwrap();
    assert_eq!(row.get::<_, String>(0), "1", "the bank is constant");
}

#[test]
fn features_are_the_reasons_and_add_up() {
    let mut client = shop();
    client.run(&train("m", "SELECT * FROM items"));
    let because: Vec<String> = client.column(
        "SELECT because FROM teller.explain_recommendation(1, 11, 'm') WHERE contribution > 0",
    );
    for feature in ["colour = blue", "name: savings", "tags = safe", "shape = round", "is_low"] {
        assert!(because.iter().any(|reason| reason == feature), "{feature}: {because:?}");
    }
    let off: f64 = client.value(
        "SELECT abs(r.score - (SELECT sum(contribution)
                               FROM teller.explain_recommendation(1, r.item_id, 'm')))::float8
         FROM teller.recommend(1, 1, 'm', candidates => ARRAY[11]) r",
    );
    assert!(off < 1e-5, "{off}");
}

#[test]
fn bad_items_are_refused() {
    let mut client = shop();
    for (items, state, told) in [
        ("SELECT colour FROM items", SqlState::UNDEFINED_COLUMN, "item_id"),
        ("SELECT item_id FROM items", SqlState::INVALID_PARAMETER_VALUE, "features"),
        ("SELECT item_id, bank FROM items", SqlState::INVALID_PARAMETER_VALUE, "constant"),
        (
            "SELECT item_id, NULL::text AS x FROM items",
            SqlState::INVALID_PARAMETER_VALUE,
            "constant",
        ),
        (
            "SELECT item_id, 'NaN'::real AS x FROM items",
            SqlState::INVALID_PARAMETER_VALUE,
            "constant",
        ),
        (
            "SELECT item_id, colour FROM items UNION ALL SELECT 3, ''",
            SqlState::INVALID_PARAMETER_VALUE,
            "item 3",
        ),
        ("SELECT item_id::text, colour FROM items", SqlState::INVALID_PARAMETER_VALUE, "text"),
        ("SELECT NULL::int AS item_id, 1 AS x", SqlState::NULL_VALUE_NOT_ALLOWED, "item_id"),
        ("SELECT item_id, ''::bytea AS x FROM items", SqlState::DATATYPE_MISMATCH, "bytea"),
        ("SELECT item_id, ARRAY[1] AS x FROM items", SqlState::DATATYPE_MISMATCH, "integer[]"),
        ("SELECT item_id, colour FROM nowhere", SqlState::UNDEFINED_TABLE, "nowhere"),
        ("DELETE FROM items RETURNING *", SqlState::SYNTAX_ERROR, "SELECT"),
        (
            "SELECT item_id, colour FROM items, pg_notify('a', 'b')",
            SqlState::READ_ONLY_SQL_TRANSACTION,
            "",
        ),
    ] {
        let error = client.refused(&train("m", items), &state);
        assert!(error.message().contains(told), "{items}: {}", error.message());
    }
    let without = r#"SELECT teller.train('m', 'recommendation',
        'SELECT user_id, item_id FROM purchases', '{"algorithm": "content"}')"#;
    let error = client.refused(without, &SqlState::INVALID_PARAMETER_VALUE);
    assert!(error.message().contains("expected a SELECT of item_id"), "{}", error.message());
    let of_others = train("m", "SELECT * FROM items").replace("'content'", "'als'");
    let error = client.refused(&of_others, &SqlState::INVALID_PARAMETER_VALUE);
    assert!(error.message().contains("unknown option \"items\""), "{}", error.message());
    let limited = client.batch_execute("SET teller.max_training_memory = '1MB'");
    limited.unwrap();
    let many =
        "SELECT i AS item_id, repeat(md5(i::text), 10) AS x FROM generate_series(1, 20000) i";
    client.refused(&train("m", many), &SqlState::OUT_OF_MEMORY);
    assert_eq!(client.value::<i64>("SELECT count(*) FROM pg_class WHERE relname = 'm'"), 0);
}

#[test]
fn the_lineage_covers_the_items() {
    let mut client = shop();
    let digest = |client: &mut Client| -> String {
        client.value(
            "SELECT rows_digest FROM teller.model_versions
             WHERE model = 'm'::regclass ORDER BY version DESC LIMIT 1",
        )
    };
    client.run(&train("m", "SELECT * FROM items ORDER BY item_id"));
    let first = digest(&mut client);
    client.run("CALL teller.retrain('m')");
    assert_eq!(digest(&mut client), first);
    client.run("UPDATE items SET colour = 'green' WHERE item_id = 12");
    client.run("CALL teller.retrain('m')");
    assert_ne!(digest(&mut client), first);
    let same: bool = client.value("SELECT same_rows FROM teller.retrain_check('m', 1)");
    assert!(!same);
}

#[test]
fn only_the_owner_names_other_items() {
    let database = Database::new();
    let mut owner = database.connect();
    super::two_groups(&mut owner);
    owner.run(ITEMS);
    owner.run(&train("public.m", "SELECT * FROM items"));
    let mut trainer = database.connect_as("trainer");
    let role = database.role("trainer");
    owner.run(&format!("GRANT SELECT, INSERT ON m TO {role}"));
    for option in ["items", "graph"] {
        let sql = format!(r#"CALL teller.retrain('public.m', '{{"{option}": "SELECT 1"}}')"#);
        trainer.refused(&sql, &SqlState::INSUFFICIENT_PRIVILEGE);
    }
    trainer.run("CALL teller.retrain('public.m')");
}
