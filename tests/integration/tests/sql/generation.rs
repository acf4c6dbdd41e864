//! Synthetic tables: `generation`, `synthesize`, `synthesize_into`.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

/// Customers with a column of every type, a third of the balances missing.
fn customers() -> Client {
    let mut client = Database::new().connect();
    client.run(
        "CREATE TYPE branch AS ENUM ('Graz', 'Linz', 'Wien');
         CREATE TABLE customers AS
         SELECT (20 + i * 7 % 60)::int AS age,
                CASE WHEN i % 3 > 0 THEN (i * 131 % 10000 / 100.0)::numeric(8, 2) END AS balance,
                (i * 17 % 5000)::text::money AS income,
                i % 4 = 0 AS active,
                date '2015-01-01' + i * 13 % 3000 AS opened,
                timestamp '2026-01-01 08:00' + i * 977 % 5000 * interval '1 minute' AS seen,
                timestamptz '2026-01-01 08:00+00' + i * 577 % 900 * interval '1 hour' AS called,
                (enum_range(NULL::branch))[1 + i % 3] AS branch,
                CASE WHEN i % 5 > 1 THEN 'no' ELSE 'yes' END AS \"default\"
         FROM generate_series(1, 400) i",
    );
    client
}

fn train(model: &str, algorithm: &str) -> String {
    format!(
        r#"SELECT * FROM teller.train('{model}', 'generation', 'SELECT * FROM customers',
               '{{"algorithm": "{algorithm}", "label": "default", "epochs": 3, "hidden": 32,
                  "gate": {{"metric": "column_variation", "max": 1,
                            "data": "SELECT * FROM customers"}}}}')"#
    )
}

#[test]
fn synthetic_rows_are_rows_of_the_table() {
    for algorithm in ["tabular_vae", "tabular_gan"] {
        let mut client = customers();
        client.run(&train("people", algorithm));
        client.run("CREATE TABLE synthetic (LIKE customers)");
        let made: i64 =
            client.value("SELECT teller.synthesize_into('people', 'synthetic', 5000, 7)");
        assert_eq!(made, 5000);
        let outside: i64 = client.value(
            "SELECT count(*) FROM synthetic s,
                 (SELECT min(age) a, max(age) b, min(balance) c, max(balance) d, min(income) e,
                         max(income) f, min(opened) g, max(opened) h, min(seen) i, max(seen) j,
                         min(called) k, max(called) l FROM customers) r
             WHERE age NOT BETWEEN a AND b OR balance NOT BETWEEN c AND d
                OR income NOT BETWEEN e AND f OR opened NOT BETWEEN g AND h
                OR seen NOT BETWEEN i AND j OR called NOT BETWEEN k AND l
                OR age IS NULL OR income IS NULL OR active IS NULL OR branch IS NULL
                OR \"default\" NOT IN ('yes', 'no')",
        );
        assert_eq!(outside, 0, "{algorithm}");
        let nulls: f64 = client.value(
            "SELECT (count(*) FILTER (WHERE balance IS NULL))::float8 / count(*) FROM synthetic",
        );
        assert!((nulls - 1.0 / 3.0).abs() < 0.04, "{algorithm}: {nulls}");
        let active: f64 = client
            .value("SELECT (count(*) FILTER (WHERE active))::float8 / count(*) FROM synthetic");
        assert!((active - 0.25).abs() < 0.04, "{algorithm}: {active}");
        let same: bool = client.value(
            "SELECT array_agg(a) = (SELECT array_agg(b) FROM teller.synthesize('people', 60, 7) b)
             FROM (SELECT a FROM teller.synthesize('people', 5000, 7) a LIMIT 60) a",
        );
        assert!(same, "the same seed, other rows");
        let other: bool = client.value(
            "SELECT array_agg(a) <> (SELECT array_agg(b) FROM teller.synthesize('people', 60, 8) b)
             FROM teller.synthesize('people', 60, 7) a",
        );
        assert!(other);
    }
}

#[test]
fn a_version_tells_how_private_it_is() {
    let mut client = customers();
    client.run(&train("people", "tabular_vae"));
    for name in [
        "column_variation",
        "correlation_difference",
        "copies",
        "copies_held_out",
        "copies_error",
        "distance_ratio",
        "neighbor_ratio",
        "neighbor_ratio_held_out",
        "membership_auc",
        "private",
        "training_loss",
    ] {
        let is: bool = client.value(&format!(
            "SELECT metrics ? '{name}' FROM teller.model_versions WHERE model = 'people'::regclass"
        ));
        assert!(is, "no {name}");
    }
    let names: Vec<String> = client.column(
        "SELECT metric FROM teller.evaluate('people', 'SELECT * FROM customers') ORDER BY 1",
    );
    assert_eq!(names, ["column_variation", "correlation_difference"]);
    let same: bool = client.value("SELECT same FROM teller.retrain_check('people', 1)");
    assert!(same);
}

/// Every row twice: what is kept apart is a copy of what is learned, and nearer than anything made.
#[test]
fn without_a_gate_a_version_that_tells_of_rows_stays_a_candidate() {
    let mut client = Database::new().connect();
    client
        .run("CREATE TABLE t AS SELECT 1 + i % 3 AS x, i % 2 AS y FROM generate_series(1, 400) i");
    let (status, private): (String, i64) = {
        let row = client
            .query_one(
                r#"SELECT status, (metrics->>'private')::bigint FROM teller.train('m', 'generation',
                       'SELECT * FROM t', '{"epochs": 1, "hidden": 8}')"#,
                &[],
            )
            .unwrap();
        (row.get(0), row.get(1))
    };
    let expected = if private == 1 { "production" } else { "candidate" };
    assert_eq!(status, expected);
}

#[test]
fn what_cannot_be_answered_says_why() {
    let mut client = customers();
    client.run(&train("people", "tabular_vae"));
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "popular");
    let none: i64 = client.value("SELECT count(*) FROM teller.synthesize('people', 0)");
    assert_eq!(none, 0);
    let nulls: i64 = client.value("SELECT count(*) FROM teller.synthesize('people', NULL)");
    assert_eq!(nulls, 0);
    client.refused("SELECT teller.synthesize('people', -1)", &SqlState::INVALID_PARAMETER_VALUE);
    client.refused("SELECT teller.synthesize('shop', 1)", &SqlState::WRONG_OBJECT_TYPE);
    client.refused(
        "SELECT teller.synthesize_into('people', 'purchases', 1)",
        &SqlState::UNDEFINED_COLUMN,
    );
    let refused = |options: &str, query: &str| {
        format!("SELECT teller.train('m', 'generation', '{query}', '{options}')")
    };
    for (options, query, state) in [
        ("{\"label\": \"nobody\"}", "SELECT * FROM customers", SqlState::INVALID_PARAMETER_VALUE),
        ("{\"label\": \"balance\"}", "SELECT * FROM customers", SqlState::INVALID_PARAMETER_VALUE),
        ("{}", "SELECT * FROM customers LIMIT 50", SqlState::INVALID_PARAMETER_VALUE),
        ("{}", "SELECT ARRAY[branch] AS b FROM customers", SqlState::DATATYPE_MISMATCH),
        ("{}", "SELECT point(age, age) AS p FROM customers", SqlState::DATATYPE_MISMATCH),
        // Before any row is read, of which the first divides by 0.
        ("{}", "SELECT point(1, 1 / (age - age)) AS p FROM customers", SqlState::DATATYPE_MISMATCH),
        ("{\"algorithm\": \"gans\"}", "SELECT 1", SqlState::INVALID_PARAMETER_VALUE),
        ("{\"patience\": 3}", "SELECT 1", SqlState::INVALID_PARAMETER_VALUE),
    ] {
        client.refused(&refused(options, query), &state);
    }
}

#[test]
fn rows_are_made_as_they_are_asked_for() {
    let mut client = customers();
    client.run(&train("people", "tabular_vae"));
    client.run("CREATE TABLE synthetic (LIKE customers)");
    let made: i64 = client.value(
        r#"SELECT teller.synthesize_into('people', 'synthetic', 200, 7,
               '{"where": {"default": "yes", "branch": "Linz", "active": false}}')"#,
    );
    assert_eq!(made, 200);
    let others: i64 = client.value(
        "SELECT count(*) FROM synthetic
         WHERE (\"default\", branch, active) IS DISTINCT FROM ('yes', 'Linz', false)",
    );
    assert_eq!(others, 0);
    let without: bool = client.value(
        r#"SELECT bool_and(row->'balance' = 'null')
           FROM teller.synthesize('people', 50, options => '{"where": {"balance": null}}') row"#,
    );
    assert!(without);
    // Whatever a value was told as can be asked for.
    for column in ["age", "income", "opened", "seen", "called"] {
        let refused = client.query(
            &format!(
                "SELECT teller.synthesize('people', 1, 1, jsonb_build_object('where',
                     jsonb_build_object('{column}', told->'{column}')))
                 FROM teller.synthesize('people', 1, 1) told"
            ),
            &[],
        );
        // A single moment is too rare, or not.
        let state = refused.err().and_then(|error| error.code().cloned());
        let rare = Some(SqlState::PROGRAM_LIMIT_EXCEEDED);
        assert!(state.is_none() || state == rare, "{column}: {state:?}");
    }
    for (options, state) in [
        (r#"{"where": {"brunch": "Linz"}}"#, SqlState::INVALID_PARAMETER_VALUE),
        (r#"{"where": {"branch": "Rom"}}"#, SqlState::INVALID_PARAMETER_VALUE),
        (r#"{"where": {"branch": 7}}"#, SqlState::INVALID_PARAMETER_VALUE),
        (r#"{"where": {"active": "yes"}}"#, SqlState::INVALID_PARAMETER_VALUE),
        (r#"{"where": {"age": null}}"#, SqlState::INVALID_PARAMETER_VALUE),
        (r#"{"where": {"opened": "no day"}}"#, SqlState::INVALID_DATETIME_FORMAT),
        (r#"{"where": ["branch"]}"#, SqlState::INVALID_PARAMETER_VALUE),
        (r#"{"were": {}}"#, SqlState::INVALID_PARAMETER_VALUE),
        (r#"[]"#, SqlState::INVALID_PARAMETER_VALUE),
        (
            r#"{"where": {"age": 30, "balance": 13.11, "branch": "Linz"}}"#,
            SqlState::PROGRAM_LIMIT_EXCEEDED,
        ),
    ] {
        client.refused(&format!("SELECT teller.synthesize('people', 1, 1, '{options}')"), &state);
    }
}

#[test]
fn rows_are_made_in_ranges() {
    let mut client = customers();
    client.run(&train("people", "tabular_vae"));
    for (ranges, outside) in [
        (
            r#"{"age": {"from": 30, "to": 49}, "balance": {"to": 60}, "default": "no"}"#,
            "age NOT BETWEEN 30 AND 49 OR balance > 60 OR \"default\" <> 'no'
             OR num_nulls(age, balance) > 0",
        ),
        (
            r#"{"opened": {"from": "2016-05-01", "to": "2020-12-31"}, "income": {"from": "1000"}}"#,
            "opened NOT BETWEEN '2016-05-01' AND '2020-12-31' OR income < '1000'
             OR num_nulls(opened, income) > 0",
        ),
        (
            r#"{"seen": {"from": "2026-01-02", "to": "2026-01-03 12:00"},
                "called": {"to": "2026-01-20 10:00+02", "from": null}}"#,
            "seen NOT BETWEEN '2026-01-02' AND '2026-01-03 12:00' OR called > '2026-01-20 08:00+00'
             OR num_nulls(seen, called) > 0",
        ),
    ] {
        client.run("DROP TABLE IF EXISTS synthetic; CREATE TABLE synthetic (LIKE customers)");
        let made: i64 = client.value(&format!(
            r#"SELECT teller.synthesize_into('people', 'synthetic', 300, 7, '{{"where": {ranges}}}')"#
        ));
        assert_eq!(made, 300);
        let outside: i64 = client.value(&format!("SELECT count(*) FROM synthetic WHERE {outside}"));
        assert_eq!(outside, 0, "{ranges}");
    }
    let refused = |wanted: &str| {
        format!(r#"SELECT teller.synthesize('people', 1, 1, '{{"where": {wanted}}}')"#)
    };
    let invalid = SqlState::INVALID_PARAMETER_VALUE;
    for (wanted, said) in [
        (r#"{"branch": {"from": "A", "to": "M"}}"#, "which has no ranges"),
        (r#"{"active": {"from": false}}"#, "which has no ranges"),
        (r#"{"age": {"from": 49, "to": 30}}"#, "does not end before it begins"),
        (r#"{"age": {}}"#, "from, to, or both"),
        (r#"{"age": {"from": null}}"#, "from, to, or both"),
        (r#"{"age": {"from": 30, "til": 40}}"#, "til"),
        (r#"{"age": {"from": "30"}}"#, "as synthesize tells it"),
        (r#"{"age": {"from": 500}}"#, r#"has {"from":500} in column "age""#),
        (r#"{"age": {"from": 30.2, "to": 30.8}}"#, "no row that was learned from"),
        (r#"{"opened": {"to": "2014-12-31"}}"#, r#"has {"to":"2014-12-31"} in column "opened""#),
        (r#"{"opened": "2014-12-31"}"#, r#"has "2014-12-31" in column "opened""#),
    ] {
        let error = client.refused(&refused(wanted), &invalid);
        assert!(error.message().contains(said), "{wanted}: {}", error.message());
    }
    let no_day = refused(r#"{"opened": {"from": "no day"}}"#);
    client.refused(&no_day, &SqlState::INVALID_DATETIME_FORMAT);
}

#[test]
fn a_version_whose_losses_diverge_is_failed() {
    for algorithm in ["tabular_vae", "tabular_gan"] {
        let mut client = customers();
        client.run(&train("people", algorithm));
        client.refused(
            r#"CALL teller.retrain('people', '{"optimizer": "sgd", "learning_rate": 10}')"#,
            &SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        );
        let status: Vec<String> = client.column(
            "SELECT status FROM teller.model_versions
             WHERE model = 'people'::regclass ORDER BY version",
        );
        assert_eq!(status, ["production", "failed"], "{algorithm}");
        let made: i64 = client.value("SELECT count(*) FROM teller.synthesize('people', 3)");
        assert_eq!(made, 3);
    }
}
