//! Candidates that a query returns.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

fn trained(client: &mut Client) {
    super::two_groups(client);
    super::train_purchases(client, "shop", "als");
    client.run(
        "CREATE TABLE products AS SELECT i AS id, i % 2 = 0 AS open FROM generate_series(1, 12) i",
    );
}

fn items(client: &mut Client, call: &str) -> Vec<i64> {
    client.column(&format!("SELECT item_id FROM teller.{call} ORDER BY rank"))
}

#[test]
fn they_are_cut_before_the_best_are_taken() {
    let mut client = Database::new().connect();
    trained(&mut client);
    let among = |arguments: &str| {
        format!("recommend_among({arguments}, $$SELECT id FROM products WHERE open$$, 3, 'shop')")
    };
    // User 1 had 1, 2, 3 and 5; of the open ones 4, 6, 8 and 10 are left, and 12 nobody had.
    let got = items(&mut client, &among("1"));
    let array = "recommend(1, 3, 'shop', ARRAY(SELECT id FROM products WHERE open))";
    assert_eq!(got, items(&mut client, array));
    assert_eq!((got.len(), got[0]), (3, 4));
    let texts: Vec<String> = client.column(&format!("SELECT item_id FROM teller.{}", among("'1'")));
    assert_eq!(texts, got.iter().map(i64::to_string).collect::<Vec<_>>());
    let basket = |query: &str| format!("recommend_from_among(ARRAY[1, 2], '{query}', 9, 'shop')");
    let got = items(&mut client, &basket("SELECT id FROM products WHERE open"));
    let array = "recommend_from(ARRAY[1, 2], 9, 'shop', ARRAY[2, 4, 6, 8, 10, 12])";
    assert_eq!(got, items(&mut client, array));
    // NULLs, unknown and repeated ids, ids of any type.
    for query in [
        "SELECT unnest(ARRAY[8, NULL, 8, 999, 1])",
        "SELECT unnest(ARRAY[''8'', NULL, ''x'', ''999''])",
        "SELECT 8::smallint AS whatever",
        "VALUES (8), (1)",
        "WITH c AS (SELECT 8 AS id) TABLE c",
    ] {
        assert_eq!(items(&mut client, &basket(query)), [8], "{query}");
    }
    assert!(items(&mut client, &basket("SELECT 1 WHERE false")).is_empty());
    assert!(items(&mut client, "recommend_among(1, NULL, 3, 'shop')").is_empty());
    assert!(items(&mut client, "recommend_among(NULL::bigint, 'SELECT 8', 3, 'shop')").is_empty());
    let everyone: i64 = client.value(
        "SELECT count(*) FROM generate_series(1, 40) u,
             LATERAL teller.recommend_among(u, 'SELECT 8 UNION SELECT 4', 2, 'shop', true)",
    );
    assert_eq!(everyone, 80);
}

#[test]
fn row_security_is_that_of_the_caller() {
    let database = Database::new();
    let mut owner = database.connect_as("owner");
    trained(&mut owner);
    let schema = database.role("owner");
    let mut teller = database.connect_as("teller_of_branch");
    let role = database.role("teller_of_branch");
    owner.run(&format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role};
         SELECT teller.grant_usage('shop', '{role}');
         GRANT SELECT ON products TO {role};
         ALTER TABLE products ENABLE ROW LEVEL SECURITY;
         CREATE POLICY only_open ON products TO {role} USING (open)"
    ));
    let call = format!(
        "recommend_among(1, 'SELECT id FROM {schema}.products', 100, '{schema}.shop', true)"
    );
    let mut got = items(&mut teller, &call);
    got.sort_unstable();
    assert_eq!(got, [2, 4, 6, 8, 10]);
    assert_eq!(items(&mut owner, &call).len(), 10);
    owner.run(&format!("REVOKE SELECT ON products FROM {role}"));
    teller.refused(&format!("SELECT * FROM teller.{call}"), &SqlState::INSUFFICIENT_PRIVILEGE);
}

#[test]
fn they_only_read() {
    let mut client = Database::new().connect();
    trained(&mut client);
    for (query, state) in [
        ("DELETE FROM products", SqlState::SYNTAX_ERROR),
        ("SELECT 1; SELECT 2", SqlState::SYNTAX_ERROR),
        ("SELECT id, open FROM products", SqlState::SYNTAX_ERROR),
        ("", SqlState::SYNTAX_ERROR),
        ("SELECT open FROM products", SqlState::DATATYPE_MISMATCH),
        ("SELECT id FROM products FOR UPDATE", SqlState::READ_ONLY_SQL_TRANSACTION),
        ("SELECT pg_advisory_lock(1)::text", SqlState::READ_ONLY_SQL_TRANSACTION),
        (
            "WITH d AS (DELETE FROM products RETURNING id) TABLE d",
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ),
        ("SELECT id FROM no_such_table", SqlState::UNDEFINED_TABLE),
        ("SELECT 1 / 0", SqlState::DIVISION_BY_ZERO),
    ] {
        client.refused(
            &format!("SELECT * FROM teller.recommend_among(1, $${query}$$, 3, 'shop')"),
            &state,
        );
    }
    for k in [0, -1] {
        client.refused(
            &format!("SELECT * FROM teller.recommend_among(1, 'SELECT 8', {k}, 'shop')"),
            &SqlState::INVALID_PARAMETER_VALUE,
        );
    }
    assert_eq!(client.value::<i64>("SELECT count(*) FROM products"), 12);
    client.run("SET statement_timeout = '300ms'");
    client.refused(
        "SELECT * FROM teller.recommend_among(1,
             'SELECT generate_series(1, 1000000000000)', 3, 'shop')",
        &SqlState::QUERY_CANCELED,
    );
}
