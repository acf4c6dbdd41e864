//! Each algorithm and its peer with the same parameters: NDCG at 10 of what was kept apart.

use serde_json::{Value, json};
use teller_bench::{Folder, Peer};
use teller_numeric::Uninterrupted;
use teller_recommend::metrics::ndcg_at_k;
use teller_recommend::{Interactions, Recommender, evaluate};

use crate::peer;
use crate::support::{Row, dataset, load, real_rows, split, train};

const K: usize = 10;

/// Our options, and how to ask the peer for the same.
fn pairs(als: Value, ease: f64) -> Vec<(Value, String)> {
    let knn = |similarity: &str| {
        json!({"algorithm": "item_knn", "similarity": similarity, "neighbors": 100,
               "weighting": "linear"})
    };
    let solvers = ["conjugate_gradient", "cholesky"].map(|solver| {
        let mut given = json!({"algorithm": "als", "solver": solver, "weighting": "linear",
                               "iterations": 15});
        for (name, value) in als.as_object().unwrap() {
            given[name] = value.clone();
        }
        let asked = format!(
            "als {} {} {} 15 {solver}",
            given["factors"], given["regularization"], given["alpha"]
        );
        (given, asked)
    });
    let svd = json!({"algorithm": "svd", "factors": 16, "weighting": "linear"});
    let mut pairs = vec![
        (json!({"algorithm": "popular"}), "popular".to_owned()),
        (knn("cosine"), "item_knn cosine 100".to_owned()),
        (knn("bm25"), "item_knn bm25 100".to_owned()),
        (svd, "svd 16".to_owned()),
    ];
    pairs.extend(solvers);
    pairs.push((json!({"algorithm": "ease", "regularization": ease}), format!("ease {ease}")));
    pairs
}

pub(crate) fn run() {
    let liked = |rows: Vec<Row>, least| -> Vec<Row> {
        rows.into_iter().filter(|row| row.2 >= least).map(|row| (row.0, row.1, 1.0)).collect()
    };
    if let Some(rows) = real_rows("movielens100k_ratings.tsv") {
        let als = json!({"factors": 32, "regularization": 1.0, "alpha": 10.0});
        compare("MovieLens 100K, rating >= 4", &liked(rows, 4.0), pairs(als, 300.0));
    }
    if let Some(rows) = real_rows("lastfm_plays.tsv") {
        let als = json!({"factors": 64, "regularization": 1.0, "alpha": 10.0});
        compare("Last.FM, plays > 0", &liked(rows, 0.5), pairs(als, 100.0));
    }
}

fn compare(what: &str, rows: &[Row], pairs: Vec<(Value, String)>) {
    println!(
        "\n{:<56} {:>8} {:>8} {:>8}",
        format!("{what}: NDCG at 10"),
        "ours",
        "theirs",
        "ratio"
    );
    let (known, held_out) = split(rows, 0);
    let (data, held_out) = (dataset(known), dataset(held_out).interactions);
    let folder = Folder::new("quality");
    let mut peer = peer::start(2, &folder);
    if let Some(peer) = &mut peer {
        peer::show(peer, &folder, "known", &data.interactions);
    }
    for (given, asked) in pairs {
        let recommender = load(&train(&given, &data));
        let ours = evaluate(&recommender, &held_out, K, &Uninterrupted).unwrap()[0].1;
        let mut name = given;
        name.as_object_mut().unwrap().remove("weighting");
        let name = name.to_string().replace(['{', '}', '"'], "").replace("algorithm:", "");
        let Some(peer) = &mut peer else {
            println!("  {name:<54} {ours:>8.4}");
            continue;
        };
        let theirs = theirs(peer, &folder, &asked, &recommender, &held_out);
        let ratio = ours / theirs;
        let verdict = if ratio >= 0.99 { "met" } else { "MISSED" };
        println!("  {name:<54} {ours:>8.4} {theirs:>8.4} {ratio:>8.4}  at least 0.99: {verdict}");
    }
}

/// NDCG of the peer's lists, users and items numbered as here.
fn theirs(
    peer: &mut Peer,
    folder: &Folder,
    asked: &str,
    recommender: &Recommender,
    held_out: &Interactions,
) -> f64 {
    peer.ask(asked);
    peer.ask(&format!("answer {K}"));
    let best = folder.read_indexes("best");
    let best = |user: u32| &best[user as usize * K..][..K];
    let (mut sum, mut users) = (0.0, 0);
    for row in 0..held_out.users().len() as u32 {
        let user = recommender.user_index(held_out.users().get(row).unwrap());
        let seen = user.map_or(&[][..], |user| recommender.seen(user));
        let relevant: Vec<Option<u32>> = held_out
            .by_user()
            .row(row as usize)
            .0
            .iter()
            .map(|&item| recommender.item_index(held_out.items().get(item).unwrap()))
            .filter(|item| item.is_none_or(|item| seen.binary_search(&item).is_err()))
            .collect();
        // Of the few whom the model does not know nothing is asked of anybody.
        let Some(user) = user else { continue };
        let hits: Vec<bool> =
            best(user).iter().map(|&item| relevant.contains(&Some(item))).collect();
        sum += ndcg_at_k(&hits, relevant.len(), K);
        users += usize::from(!relevant.is_empty());
    }
    sum / f64::from(users as u32)
}
