//! Serving a basket, what is similar, and why.

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

#[test]
fn a_basket_brings_what_is_missing_of_its_group() {
    for algorithm in ["als", "svd", "ease", "item_knn"] {
        let mut client = trained(algorithm);
        for missing in 1..=10 {
            let group = if missing <= 5 { 1..=5 } else { 6..=10 };
            let basket: Vec<String> =
                group.filter(|&item| item != missing).map(|item: i64| item.to_string()).collect();
            let call = format!("recommend_from(ARRAY[{}], 1, 'shop')", basket.join(", "));
            assert_eq!(items(&mut client, &call), [missing], "{algorithm}: {call}");
        }
    }
}

#[test]
fn baskets_of_all_shapes() {
    for algorithm in ["als", "svd", "ease", "item_knn", "popular"] {
        let mut client = trained(algorithm);
        let popular = items(&mut client, "recommend(999, 100, 'shop')");
        for nothing in ["'{}'::bigint[]", "ARRAY[999]", "ARRAY[NULL::bigint]", "ARRAY[-1, 999]"] {
            let got = items(&mut client, &format!("recommend_from({nothing}, 100, 'shop')"));
            assert_eq!(got, popular, "{algorithm}: {nothing}");
        }
        let got = items(&mut client, "recommend_from(ARRAY[1, NULL, 999, 2, 2], 100, 'shop')");
        assert_eq!(got.len(), 8, "{algorithm}");
        assert!(got.iter().all(|item| ![1, 2].contains(item)), "{algorithm}: {got:?}");
        let scores = |basket: &str| {
            format!("SELECT item_id, score FROM teller.recommend_from({basket}, 100, 'shop')")
        };
        let differing = |client: &mut Client, a: &str, b: &str| -> i64 {
            let (a, b) = (scores(a), scores(b));
            client.value(&format!("SELECT count(*) FROM (({a}) EXCEPT ({b})) d"))
        };
        let order = ["ARRAY[1, 2, 1]", "ARRAY[2, 1, NULL, 999, 1]"];
        assert_eq!(differing(&mut client, order[0], order[1]), 0, "{algorithm} minds the order");
        let counts = differing(&mut client, "ARRAY[1, 2]", "ARRAY[1, 1, 2]") > 0;
        let once = ["popular", "ease"].contains(&algorithm);
        assert_eq!(counts, !once, "{algorithm}: duplicates count as more");
        let all = items(&mut client, "recommend_from(ARRAY[1], 100, 'shop', include_seen => true)");
        assert_eq!(all.len(), 10, "{algorithm}");
        let among = "recommend_from(ARRAY[1], 3, 'shop', ARRAY[1, 8, 8, 999, NULL])";
        assert_eq!(items(&mut client, among), [8], "{algorithm}");
        for none in ["NULL::bigint[], 3", "ARRAY[1], NULL"] {
            assert!(items(&mut client, &format!("recommend_from({none}, 'shop')")).is_empty());
        }
        for k in [0, -1] {
            client.refused(
                &format!("SELECT * FROM teller.recommend_from(ARRAY[1], {k}, 'shop')"),
                &SqlState::INVALID_PARAMETER_VALUE,
            );
        }
    }
}

#[test]
fn similar_items_are_of_the_same_group() {
    for algorithm in ["als", "svd", "ease", "item_knn", "hybrid"] {
        let mut client = trained(algorithm);
        for item in 1..=10 {
            let mut got = items(&mut client, &format!("similar_items({item}, 4, 'shop')"));
            got.sort_unstable();
            let group = if item <= 5 { 1..=5 } else { 6..=10 };
            let expected: Vec<i64> = group.filter(|&other| other != item).collect();
            assert_eq!(got, expected, "{algorithm}: {item}");
        }
        let all = items(&mut client, "similar_items(1, 100, 'shop')");
        assert_eq!(all.len(), 9, "{algorithm}");
        let among = items(&mut client, "similar_items(1, 2, 'shop', ARRAY[1, 9, 9, 999, NULL])");
        assert_eq!(among, [9], "{algorithm}");
        for none in ["999, 3, 'shop'", "NULL::bigint, 3, 'shop'", "1, NULL, 'shop'"] {
            assert!(items(&mut client, &format!("similar_items({none})")).is_empty());
        }
        client.refused(
            "SELECT * FROM teller.similar_items(1, 0, 'shop')",
            &SqlState::INVALID_PARAMETER_VALUE,
        );
    }
    let mut client = trained("popular");
    let error = client.refused(
        "SELECT * FROM teller.similar_items(1, 3, 'shop')",
        &SqlState::FEATURE_NOT_SUPPORTED,
    );
    assert!(error.hint().is_some(), "{}", error.message());
}

#[test]
fn reasons_add_up_to_the_score() {
    for algorithm in ["als", "svd", "ease", "item_knn", "popular"] {
        let mut client = trained(algorithm);
        let worst: f64 = client.value(
            // A score that nearly cancels is as exact as the greatest one of the user is.
            "SELECT max(abs(r.score - e.sum) / greatest(abs(r.score), e.most, r.best / 100))
             FROM (SELECT generate_series(1, 41) AS id) u,
                  LATERAL (SELECT *, max(score) OVER () AS best
                           FROM teller.recommend(u.id, 10, 'shop', include_seen => true)) r,
                  LATERAL (SELECT coalesce(sum(contribution::float8), 0) AS sum,
                                  coalesce(max(abs(contribution)), 1) AS most
                           FROM teller.explain_recommendation(u.id, r.item_id, 'shop')) e",
        );
        assert!(worst < 1e-4, "{algorithm}: {worst}");
        let because = |client: &mut Client, arguments: &str| -> Vec<String> {
            client.column(&format!(
                "SELECT because FROM teller.explain_recommendation({arguments}, 'shop')"
            ))
        };
        // User 1 had 1, 2, 3 and 5.
        let mut got = because(&mut client, "1, 4");
        got.retain(|because| because != "remainder");
        got.sort();
        let expected: &[&str] =
            if algorithm == "popular" { &["popularity"] } else { &["1", "2", "3", "5"] };
        assert_eq!(got, expected, "{algorithm}");
        assert_eq!(because(&mut client, "'1', '4'").len(), because(&mut client, "1, 4").len());
        assert_eq!(because(&mut client, "999, 4"), ["popularity"], "{algorithm}");
        assert!(because(&mut client, "1, 999").is_empty(), "{algorithm}");
        for none in ["NULL::bigint, 4", "1, NULL::bigint"] {
            assert!(because(&mut client, none).is_empty(), "{algorithm}");
        }
    }
}

#[test]
fn ids_are_integers_or_texts() {
    let mut client = trained("als");
    let by_number = items(&mut client, "recommend_from(ARRAY[1, 2], 3, 'shop')");
    let by_text: Vec<String> =
        client.column("SELECT item_id FROM teller.recommend_from(ARRAY['1', '2'], 3, 'shop')");
    assert_eq!(by_text, by_number.iter().map(i64::to_string).collect::<Vec<_>>());

    client.run("ALTER TABLE purchases ALTER item_id TYPE text USING 'item ' || item_id");
    super::train_purchases(&mut client, "named", "als");
    let named: Vec<String> = client.column(
        "SELECT item_id FROM teller.recommend_from(
             ARRAY['item 1', 'item 2', 'item 3', 'item 5'], 1, 'named')",
    );
    assert_eq!(named, ["item 4"]);
    let like: Vec<String> =
        client.column("SELECT item_id FROM teller.similar_items('item 1', 4, 'named')");
    assert_eq!(like.len(), 4);
    for call in [
        "recommend_from(ARRAY[1], 1, 'named')",
        "similar_items(1, 1, 'named')",
        "explain_recommendation(1, 1, 'named')",
    ] {
        client.refused(&format!("SELECT * FROM teller.{call}"), &SqlState::DATATYPE_MISMATCH);
    }
}

/// A plan may run them in parallel workers, with the same answers.
#[test]
fn parallel_plans() {
    let mut client = trained("als");
    let count = "SELECT sum(r.item_id * r.rank)::bigint FROM purchases p,
                     LATERAL teller.recommend_from(ARRAY[p.item_id], 2, 'shop') r,
                     LATERAL teller.similar_items(p.item_id, 1, 'shop') s,
                     LATERAL teller.explain_recommendation(p.user_id, s.item_id, 'shop') e";
    let serial: i64 = client.value(count);
    client.run(
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
         SET min_parallel_table_scan_size = 0; SET force_parallel_mode = on",
    );
    let plan: Vec<String> = client.column(&format!("EXPLAIN {count}"));
    assert!(plan.iter().any(|line| line.contains("Gather")), "{plan:?}");
    assert_eq!(client.value::<i64>(count), serial);
}
