//! Serving recommendations.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

const ALGORITHMS: [&str; 5] = ["als", "svd", "ease", "item_knn", "popular"];

fn trained(algorithm: &str) -> Client {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", algorithm);
    client
}

fn items(client: &mut Client, arguments: &str) -> Vec<i64> {
    client.column(&format!("SELECT item_id FROM teller.recommend({arguments}) ORDER BY rank"))
}

#[test]
fn the_missing_item_of_the_own_group_comes_first() {
    for algorithm in ["als", "svd", "ease", "item_knn"] {
        let mut client = trained(algorithm);
        for user in 1..=40 {
            let group = if user <= 20 { 1..=5 } else { 6..=10 };
            let missing = group.into_iter().find(|item| (user + item) % 5 == 0).unwrap();
            let got = items(&mut client, &format!("{user}, 1, 'shop'"));
            assert_eq!(got, [missing], "{algorithm}, user {user}");
        }
    }
}

#[test]
fn ranks_count_and_scores_fall() {
    for algorithm in ALGORITHMS {
        let mut client = trained(algorithm);
        let rows =
            client.query("SELECT rank, score FROM teller.recommend(1, 6, 'shop')", &[]).unwrap();
        let ranks: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        let scores: Vec<f32> = rows.iter().map(|row| row.get(1)).collect();
        assert_eq!(ranks, [1, 2, 3, 4, 5, 6], "{algorithm}");
        assert!(scores.is_sorted_by(|a, b| a >= b), "{algorithm}: {scores:?}");
    }
}

#[test]
fn seen_items_are_left_out_unless_asked_for() {
    for algorithm in ALGORITHMS {
        let mut client = trained(algorithm);
        // User 1 has items 1, 2, 3 and 5: six of ten are left.
        let unseen = items(&mut client, "1, 100, 'shop'");
        assert_eq!(unseen.len(), 6, "{algorithm}");
        assert!(unseen.iter().all(|item| ![1, 2, 3, 5].contains(item)), "{algorithm}: {unseen:?}");
        let all = items(&mut client, "1, 100, 'shop', include_seen => true");
        assert_eq!(all.len(), 10, "{algorithm}");
    }
}

#[test]
fn unknown_users_get_the_popular_items() {
    for algorithm in ALGORITHMS {
        let mut client = trained(algorithm);
        client.run("INSERT INTO purchases SELECT u, 7, 1.0 FROM generate_series(50, 59) u");
        super::train_purchases(&mut client, "grown", algorithm);
        let got = items(&mut client, "999, 3, 'grown'");
        assert_eq!((got.len(), got[0]), (3, 7), "{algorithm}");
    }
}

#[test]
fn null_users_get_nothing() {
    let mut client = trained("als");
    assert!(items(&mut client, "NULL::bigint, 3, 'shop'").is_empty());
    let none: Vec<String> =
        client.column("SELECT item_id FROM teller.recommend(NULL::text, 3, 'shop')");
    assert!(none.is_empty());
}

#[test]
fn candidates_are_cut_before_the_best_are_taken() {
    for algorithm in ALGORITHMS {
        let mut client = trained(algorithm);
        // Items of the other group, which nothing else would bring up.
        let mut got = items(&mut client, "1, 2, 'shop', candidates => ARRAY[8, 9]");
        got.sort_unstable();
        assert_eq!(got, [8, 9], "{algorithm}");
        // Seen, unknown and repeated candidates take no places.
        let got = items(&mut client, "1, 3, 'shop', candidates => ARRAY[1, 999, 8, 8, NULL]");
        assert_eq!(got, [8], "{algorithm}");
        assert!(items(&mut client, "1, 3, 'shop', candidates => '{}'").is_empty(), "{algorithm}");
        let got = items(&mut client, "999, 1, 'shop', candidates => ARRAY[9]");
        assert_eq!(got, [9], "{algorithm}: an unknown user");
    }
}

#[test]
fn huge_k_gives_what_there_is_and_small_k_is_refused() {
    let mut client = trained("als");
    assert_eq!(items(&mut client, "1, 2147483647, 'shop'").len(), 6);
    for k in [0, -1, i32::MIN] {
        client.refused(
            &format!("SELECT * FROM teller.recommend(1, {k}, 'shop')"),
            &SqlState::INVALID_PARAMETER_VALUE,
        );
    }
}

#[test]
fn ids_are_integers_or_texts() {
    let mut client = trained("als");
    let by_number: Vec<i64> = items(&mut client, "1, 3, 'shop'");
    let by_text: Vec<String> =
        client.column("SELECT item_id FROM teller.recommend('1'::text, 3, 'shop') ORDER BY rank");
    assert_eq!(by_text, by_number.iter().map(i64::to_string).collect::<Vec<_>>());

    client.run("ALTER TABLE purchases ALTER user_id TYPE text USING 'user ' || user_id");
    client.run("ALTER TABLE purchases ALTER item_id TYPE text USING 'item ' || item_id");
    super::train_purchases(&mut client, "named", "als");
    let named: Vec<String> =
        client.column("SELECT item_id FROM teller.recommend('user 1', 1, 'named')");
    assert_eq!(named, ["item 4"]);
    let error = client
        .refused("SELECT * FROM teller.recommend(1, 1, 'named')", &SqlState::DATATYPE_MISMATCH);
    assert!(error.hint().is_some_and(|hint| hint.contains("::text")), "{:?}", error.hint());
    let among: Vec<String> = client.column(
        "SELECT item_id FROM teller.recommend('user 1', 1, 'named', ARRAY['item 9', 'no such'])",
    );
    assert_eq!(among, ["item 9"]);
}

#[test]
fn the_default_recommender_is_a_setting() {
    let mut client = trained("als");
    let error = client
        .refused("SELECT * FROM teller.recommend(1)", &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    let shown = format!("{} {:?}", error.message(), error.hint());
    assert!(shown.contains("teller.default_recommender"), "{shown}");
    client.run("SET teller.default_recommender = 'shop'");
    assert_eq!(items(&mut client, "1, 1"), [4]);
    client.run("SET teller.default_recommender = 'no_such_model'");
    client.refused("SELECT * FROM teller.recommend(1)", &SqlState::UNDEFINED_TABLE);
}

/// Users and items that are rated on the whole, and one of each that nothing is known of.
#[test]
fn ratings_are_predicted() {
    let mut client = Database::new().connect();
    client.run(
        r#"CREATE TABLE ratings AS
               SELECT u AS user_id, i AS item_id,
                      CASE WHEN (u <= 20) = (i <= 5) THEN 4.0 ELSE 2.0 END AS weight
               FROM generate_series(1, 40) u, generate_series(1, 10) i WHERE (u * i) % 7 <> 3;
           SELECT teller.train('rated', 'recommendation', 'TABLE ratings',
                               '{"algorithm": "biased_mf"}');
           SELECT teller.train('named', 'recommendation',
                               'SELECT ''u'' || user_id AS user_id, item_id, weight FROM ratings
                                UNION ALL SELECT ''u1'', 1, 2', '{"algorithm": "biased_mf"}')"#,
    );
    let rating = |client: &mut Client, arguments: &str| -> Option<f32> {
        let call = format!("SELECT teller.predict_rating({arguments})");
        client.query_one(&call, &[]).unwrap().get(0)
    };
    for (user, item, expected) in [(3, 1, 4.0), (1, 3, 4.0), (3, 8, 2.0), (30, 9, 4.0)] {
        let got = rating(&mut client, &format!("{user}, {item}, 'rated'")).unwrap();
        assert!((got - expected).abs() < 0.3, "{user}, {item}: {got}");
        let by_text = rating(&mut client, &format!("'{user}', '{item}', 'rated'"));
        assert_eq!(by_text, Some(got));
    }
    let mean: f32 = client.value("SELECT avg(weight)::real FROM ratings");
    let unknown = rating(&mut client, "999, 999, 'rated'").unwrap();
    assert!((unknown - mean).abs() < 1e-5, "{unknown} {mean}");
    for arguments in ["999, 1, 'rated'", "1, 999, 'rated'"] {
        let got = rating(&mut client, arguments).unwrap();
        assert!((got - mean).abs() < 0.5, "{got} {mean}");
    }
    for arguments in ["NULL::bigint, 1, 'rated'", "'1', NULL::text, 'rated'"] {
        assert_eq!(rating(&mut client, arguments), None);
    }
    assert!(rating(&mut client, "'u3', '1', 'named'").unwrap() > 3.0);
    let duplicates: f64 = client.value(
        "SELECT (metrics->>'duplicates')::float8 FROM teller.model_versions
         WHERE model = 'named'::regclass",
    );
    assert_eq!(duplicates, 1.0);
    client.refused("SELECT teller.predict_rating(1, 1, 'named')", &SqlState::DATATYPE_MISMATCH);
    let rmse: f64 = client.value(
        "SELECT value FROM teller.evaluate('rated',
             'SELECT u AS user_id, i AS item_id,
                     CASE WHEN (u <= 20) = (i <= 5) THEN 4.0 ELSE 2.0 END AS weight
              FROM generate_series(1, 40) u, generate_series(1, 10) i') WHERE metric = 'rmse'",
    );
    assert!(rmse < 0.2, "{rmse}");
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "als");
    let error = client
        .refused("SELECT teller.predict_rating(1, 1, 'shop')", &SqlState::FEATURE_NOT_SUPPORTED);
    assert!(error.hint().is_some());
}
