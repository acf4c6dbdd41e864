//! New interactions in a recommender, without training it again.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

fn trained(algorithm: &str) -> Client {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", algorithm);
    client
}

fn items(client: &mut Client, call: &str) -> Vec<i64> {
    client.column(&format!("SELECT item_id FROM teller.{call} ORDER BY rank"))
}

/// Folds in what user 1 bought of the other group, and all of a new user.
fn fold(client: &mut Client) -> i32 {
    client.value(
        "SELECT version FROM teller.fold_in('shop',
             'SELECT * FROM (VALUES (1, 6), (1, 7), (77, 8), (77, 9), (77, 999), (78, 999))
                  v (user_id, item_id)')",
    )
}

#[test]
fn known_and_new_users_are_served_by_a_new_version() {
    for algorithm in ["als", "svd", "item_knn", "ease", "hybrid"] {
        let mut client = trained(algorithm);
        let others = "SELECT count(*), sum(score::float8) FROM generate_series(2, 40) u,
                          LATERAL teller.recommend(u, 10, 'shop') r";
        let scores = |client: &mut Client| {
            let row = client.query_one(others, &[]).unwrap();
            (row.get::<_, i64>(0), row.get::<_, f64>(1).to_bits())
        };
        let before = scores(&mut client);
        assert_eq!(fold(&mut client), 2, "{algorithm}");
        assert_eq!(scores(&mut client), before, "{algorithm}: nothing is new of the others");
        let unseen = items(&mut client, "recommend(1, 100, 'shop')");
        assert!(unseen.iter().all(|item| ![1, 2, 3, 5, 6, 7].contains(item)), "{algorithm}");
        assert_eq!(unseen.len(), 4);
        let new = items(&mut client, "recommend(77, 3, 'shop')");
        assert_eq!(new, items(&mut client, "recommend_from(ARRAY[8, 9], 3, 'shop')"));
        assert!(new.iter().all(|item| [6, 7, 10].contains(item)), "{algorithm}: {new:?}");
        let row = client
            .query_one(
                "SELECT status, start_version, algorithm, rows, data,
                     metrics->>'new_users' || ' ' || (metrics->>'changed_users') || ' '
                         || (metrics->>'unknown_items') || ' '
                         || (metrics->>'unknown_interactions')
                 FROM teller.model_versions WHERE model = 'shop'::regclass AND version = 2",
                &[],
            )
            .unwrap();
        assert_eq!(row.get::<_, String>(0), "production");
        assert_eq!(row.get::<_, i32>(1), 1);
        assert_eq!(row.get::<_, String>(2), algorithm);
        assert_eq!(row.get::<_, i64>(3), 6);
        let data: String = row.get(4);
        assert!(data.contains("purchases"), "training again is on everything: {data}");
        assert_eq!(row.get::<_, String>(5), "1 1 1 2");
        let audited: i64 = client.value(
            "SELECT count(*) FROM teller.audit_log WHERE action = 'train' AND to_version = 2
                 AND model LIKE '%shop'",
        );
        assert!(audited >= 1, "{algorithm}");
        client.run("SELECT teller.rollback('shop')");
        assert_eq!(items(&mut client, "recommend(1, 100, 'shop')").len(), 6, "{algorithm}");
    }
}

#[test]
fn ratings_of_new_users_are_taken_in() {
    let mut client = Database::new().connect();
    client.run(
        "CREATE TABLE ratings AS
             SELECT u::bigint AS user_id, i::bigint AS item_id,
                 CASE WHEN (u <= 20) = (i <= 5) THEN 5.0 ELSE 1.0 END AS weight
             FROM generate_series(1, 40) u, generate_series(1, 10) i WHERE (u * 7 + i) % 3 <> 0",
    );
    client.run(
        r#"SELECT teller.train('shop', 'recommendation', 'SELECT * FROM ratings',
               '{"algorithm": "biased_mf", "factors": 2}')"#,
    );
    // Whoever rates as user 1 does is predicted as he is.
    client.run(
        "SELECT teller.fold_in('shop',
             'SELECT 77 AS user_id, item_id, weight FROM ratings WHERE user_id = 1')",
    );
    let alike: bool = client.value(
        "SELECT bool_and(teller.predict_rating(1, i, 'shop') = teller.predict_rating(77, i, 'shop'))
         FROM generate_series(1, 10) i",
    );
    assert!(alike);
    let predicted = |client: &mut Client, item: i64| -> f32 {
        client.value(&format!("SELECT teller.predict_rating(78, {item}, 'shop')"))
    };
    client.run(
        "SELECT teller.fold_in('shop', 'SELECT * FROM (VALUES (78, 6, 5.0), (78, 7, 5.0),
             (78, 1, 1.0)) v (user_id, item_id, weight)')",
    );
    assert!(predicted(&mut client, 8) > predicted(&mut client, 2) + 1.0);
    client.refused(
        "SELECT * FROM teller.recommend_from(ARRAY[1], 3, 'shop')",
        &SqlState::FEATURE_NOT_SUPPORTED,
    );
}

#[test]
fn promotion_and_gates_are_those_of_training() {
    let mut client = trained("als");
    let status = |client: &mut Client, options: &str| -> String {
        client.value(&format!(
            "SELECT status FROM teller.fold_in('shop', 'SELECT 1 AS user_id, 6 AS item_id',
                 '{options}')"
        ))
    };
    assert_eq!(status(&mut client, r#"{"promote": false}"#), "candidate");
    let gate = r#"{"gate": {"metric": "recall@10", "min": 2,
                   "data": "SELECT 2 AS user_id, 7 AS item_id"}}"#;
    assert_eq!(status(&mut client, gate), "candidate");
    assert_eq!(status(&mut client, "{}"), "production");
    client.refused(
        r#"SELECT teller.fold_in('shop', 'SELECT 1 AS user_id, 6 AS item_id', '{"factors": 3}')"#,
        &SqlState::INVALID_PARAMETER_VALUE,
    );
}

/// A version that was folded in is trained again from the whole query, and is no training's result.
#[test]
fn training_again() {
    let mut client = trained("als");
    fold(&mut client);
    let error = client.refused(
        "SELECT teller.retrain_check('shop', 2)",
        &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("start_version")));
    client.run("CALL teller.retrain('shop')");
    let row = client
        .query_one(
            "SELECT a.digest = b.digest, b.start_version FROM teller.model_versions a, teller.model_versions b
             WHERE a.model = 'shop'::regclass AND b.model = 'shop'::regclass
                 AND a.version = 1 AND b.version = 3",
            &[],
        )
        .unwrap();
    assert!(row.get::<_, bool>(0), "the same rows give the same numbers");
    assert_eq!(row.get::<_, Option<i32>>(1), None);
}

#[test]
fn refusals_leave_nothing() {
    let mut client = trained("als");
    let refused = |client: &mut Client, arguments: &str, state: &SqlState| {
        let error = client.refused(&format!("SELECT teller.fold_in({arguments})"), state);
        assert!(!error.message().is_empty());
        let versions: i64 = client
            .value("SELECT count(*) FROM teller.model_versions WHERE model = 'shop'::regclass");
        assert_eq!(versions, 1, "{arguments}");
    };
    let pair =
        |user: &str, item: &str| format!("'shop', 'SELECT {user} AS user_id, {item} AS item_id");
    for (arguments, state) in [
        (pair("1", "999") + "'", SqlState::INVALID_PARAMETER_VALUE),
        (pair("1", "6") + " WHERE false'", SqlState::INVALID_PARAMETER_VALUE),
        (pair("''a''::text", "6") + "'", SqlState::INVALID_PARAMETER_VALUE),
        (pair("1", "''a''::text") + "'", SqlState::INVALID_PARAMETER_VALUE),
        (pair("NULL::int", "6") + "'", SqlState::NULL_VALUE_NOT_ALLOWED),
        (pair("1", "6") + ", -1 AS weight'", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
        (pair("1", "6") + ", ''NaN''::float8 AS weight'", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
        ("'shop', 'SELECT 1 AS user_id'".to_owned(), SqlState::UNDEFINED_COLUMN),
        ("'shop', 'DELETE FROM purchases'".to_owned(), SqlState::SYNTAX_ERROR),
        ("'shop', NULL".to_owned(), SqlState::NULL_VALUE_NOT_ALLOWED),
        ("NULL, 'SELECT 1'".to_owned(), SqlState::NULL_VALUE_NOT_ALLOWED),
        ("'purchases', 'SELECT 1'".to_owned(), SqlState::WRONG_OBJECT_TYPE),
        ("'teller.digits', 'SELECT 1'".to_owned(), SqlState::WRONG_OBJECT_TYPE),
    ] {
        refused(&mut client, &arguments, &state);
    }
    client.run("BEGIN READ ONLY");
    client.refused(
        &format!("SELECT teller.fold_in({}')", pair("1", "6")),
        &SqlState::READ_ONLY_SQL_TRANSACTION,
    );
    client.run("ROLLBACK");
    let mut client = trained("popular");
    let arguments = pair("1", "6") + "'";
    refused(&mut client, &arguments, &SqlState::FEATURE_NOT_SUPPORTED);
}

/// Of two at once the second would lack what the first folded in.
#[test]
fn two_at_once() {
    let database = Database::new();
    let [mut first, mut second] = [database.connect(), database.connect()];
    super::two_groups(&mut first);
    super::train_purchases(&mut first, "shop", "als");
    let call = |user: i32| {
        format!(
            "SELECT version FROM teller.fold_in('shop', 'SELECT {user} AS user_id, 6 AS item_id')"
        )
    };
    first.run("BEGIN");
    first.value::<i32>(&call(1));
    let waiting = std::thread::spawn(move || {
        let error = second.simple_query(&call(2)).unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error:?}");
        assert_eq!(second.value::<i32>(&call(2)), 3);
        let both: i64 = second.value(
            "SELECT count(*) FROM (VALUES (1), (2)) u (id), LATERAL teller.recommend(u.id, 100, 'shop') r
             WHERE r.item_id = 6",
        );
        assert_eq!(both, 0);
    });
    let began = std::time::Instant::now();
    let is_waiting =
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'shop'::regclass";
    while first.value::<i64>(is_waiting) == 0 {
        assert!(began.elapsed().as_secs() < 60, "nobody waits");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    first.run("COMMIT");
    waiting.join().unwrap();
}
