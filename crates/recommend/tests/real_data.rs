//! Quality on public data: 80/20 by a hash of user and item, seen items left out.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use serde_json::{Value, json};
use support::{Row, dataset, load, on_threads, real_rows, split, train};
use teller_numeric::Uninterrupted;
use teller_recommend::evaluate;

fn ndcg_at_10(rows: &[Row], given: Value) -> f64 {
    let (rows, held_out) = split(rows, 0);
    let recommender = load(&train(&given, &dataset(rows)));
    let held_out = dataset(held_out).interactions;
    let metrics = on_threads(2, || evaluate(&recommender, &held_out, 10, &Uninterrupted).unwrap());
    println!("{given}: {} {:.4}", metrics[0].0, metrics[0].1);
    metrics[0].1
}

fn unweighted(rows: &[Row], least: f32) -> Vec<Row> {
    rows.iter().filter(|row| row.2 >= least).map(|row| (row.0, row.1, 1.0)).collect()
}

#[test]
fn last_fm_plays() {
    let Some(rows) = real_rows("lastfm_plays.tsv") else { return };
    let plays = unweighted(&rows, 1.0);
    let popular = ndcg_at_10(&plays, json!({"algorithm": "popular"}));
    let als = ndcg_at_10(&plays, json!({"algorithm": "als"}));
    let svd = ndcg_at_10(&plays, json!({"algorithm": "svd"}));
    let near = ndcg_at_10(&plays, json!({"algorithm": "item_knn"}));
    let ease = ndcg_at_10(&plays, json!({"algorithm": "ease"}));
    let blocks = ndcg_at_10(&plays, json!({"algorithm": "ease", "neighbors": 200}));
    assert!(ease >= 2.5 * popular, "{ease} {popular}");
    assert!(blocks >= 0.95 * ease, "{blocks} {ease}");
    assert!(als >= 2.6 * popular, "{als} {popular}");
    assert!(svd >= 2.1 * popular, "{svd} {popular}");
    assert!(near >= 2.3 * popular, "{near} {popular}");
    // Play counts reach from 1 to 350,000: by their logarithm they do no harm.
    let counted = ndcg_at_10(&rows, json!({"algorithm": "als"}));
    assert!(counted >= 2.5 * popular, "{counted} {popular}");
}

#[test]
fn movielens_ratings() {
    let Some(rows) = real_rows("movielens100k_ratings.tsv") else { return };
    let liked = unweighted(&rows, 4.0);
    let popular = ndcg_at_10(&liked, json!({"algorithm": "popular"}));
    let als = ndcg_at_10(&liked, json!({"algorithm": "als"}));
    let svd = ndcg_at_10(&liked, json!({"algorithm": "svd"}));
    let near = ndcg_at_10(&liked, json!({"algorithm": "item_knn"}));
    let ease = ndcg_at_10(&liked, json!({"algorithm": "ease"}));
    let blocks = ndcg_at_10(&liked, json!({"algorithm": "ease", "neighbors": 200}));
    assert!(ease >= 1.8 * popular, "{ease} {popular}");
    assert!(blocks >= 0.95 * ease, "{blocks} {ease}");
    assert!(als >= 1.7 * popular, "{als} {popular}");
    assert!(svd >= 1.7 * popular, "{svd} {popular}");
    assert!(near >= 1.7 * popular, "{near} {popular}");
}

#[test]
fn movielens_ratings_are_predicted() {
    let Some(rows) = real_rows("movielens100k_ratings.tsv") else { return };
    for salt in 0..3 {
        let (kept, held_out) = split(&rows, salt);
        let recommender = load(&train(&json!({"algorithm": "biased_mf"}), &dataset(kept)));
        let held_out = dataset(held_out).interactions;
        let metrics = on_threads(2, || evaluate(&recommender, &held_out, 10, &Uninterrupted));
        let metrics = metrics.unwrap();
        let (_, rmse) = metrics.iter().find(|(name, _)| name == "rmse").unwrap();
        println!("biased_mf, salt {salt}: RMSE {rmse:.4}, {metrics:?}");
        assert!(*rmse <= 0.92, "{rmse}");
    }
}

/// On the part that neither the members nor their weights have seen.
#[test]
fn a_hybrid_is_better_than_the_best_alone() {
    let sets = [("lastfm_plays.tsv", 1.0), ("movielens100k_ratings.tsv", 4.0)];
    for (file, least) in sets {
        let Some(rows) = real_rows(file) else { return };
        let rows = unweighted(&rows, least);
        let alone = ["als", "svd", "ease", "item_knn"]
            .map(|name| ndcg_at_10(&rows, json!({"algorithm": name})))
            .into_iter()
            .fold(0.0, f64::max);
        let hybrid = ndcg_at_10(&rows, json!({"algorithm": "hybrid", "validation": 0}));
        println!("{file}: {:.4} times the best alone", hybrid / alone);
        assert!(hybrid > alone, "{hybrid} {alone}");
    }
}
