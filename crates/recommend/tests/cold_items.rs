//! Items that nobody took, on public data: a tenth of the items is held out wholly, and found
//! again by what is known of them.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::collections::BTreeSet;

use serde_json::json;
use support::{Row, Triple, last_fm_graph, lines, load, on_threads, real_rows, train};
use teller_numeric::Uninterrupted;
use teller_recommend::{
    Dataset, DatasetBuilder, FeatureKind, GraphBuilder, IdRef, InteractionsBuilder,
    ItemFeaturesBuilder, Recommender, Request, metrics,
};

fn is_cold(item: i64) -> bool {
    xxhash_rust::xxh3::xxh3_64(&item.to_le_bytes()).is_multiple_of(10)
}

/// Recall and NDCG at 10 among the items that were held out.
struct Found {
    scores: [f64; 2],
    /// What a random order has on average.
    random: [f64; 2],
}

fn cold(recommender: &Recommender, rows: &[Row]) -> Found {
    let candidates: Vec<u32> = (0..recommender.items().len() as u32)
        .filter(
            |&item| matches!(recommender.item_id(item), Some(IdRef::Integer(id)) if is_cold(id)),
        )
        .collect();
    let users: BTreeSet<i64> = rows.iter().map(|row| row.0).collect();
    let (mut scores, mut random, mut count) = ([0.0; 2], [0.0; 2], 0.0);
    let gain = |ranks: usize| metrics::ndcg_at_k(&vec![true; ranks], usize::MAX, 10);
    for user in users {
        let relevant: BTreeSet<u32> = rows
            .iter()
            .filter(|row| row.0 == user && is_cold(row.1))
            .map(|row| recommender.item_index(IdRef::Integer(row.1)).unwrap())
            .collect();
        let Some(known) = recommender.user_index(IdRef::Integer(user)) else { continue };
        if relevant.is_empty() {
            continue;
        }
        let request = Request {
            user: Some(known),
            k: 10,
            candidates: Some(&candidates),
            include_seen: false,
        };
        let best = recommender.recommend(&request, &Uninterrupted).unwrap();
        let hits: Vec<bool> = best.iter().map(|(item, _)| relevant.contains(item)).collect();
        scores[0] += metrics::recall_at_k(&hits, relevant.len(), 10);
        scores[1] += metrics::ndcg_at_k(&hits, relevant.len(), 10);
        // A random order has a relevant item at each rank with the same chance.
        let chance = relevant.len() as f64 / candidates.len() as f64;
        random[0] += 10.0 / candidates.len() as f64;
        random[1] += chance * gain(10) / gain(relevant.len());
        count += 1.0;
    }
    Found { scores: scores.map(|sum| sum / count), random: random.map(|sum| sum / count) }
}

fn movies(rows: &[Row]) -> Option<Dataset> {
    let mut interactions = InteractionsBuilder::new(1 << 30);
    for &(user, item, weight) in rows.iter().filter(|row| !is_cold(row.1)) {
        interactions.push(IdRef::Integer(user), IdRef::Integer(item), weight).unwrap();
    }
    let columns = [
        ("title", FeatureKind::Text),
        ("year", FeatureKind::Number),
        ("genres", FeatureKind::Texts),
    ];
    let mut features = ItemFeaturesBuilder::new(columns, 1 << 30);
    for line in lines("movielens100k_items.tsv")?.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let item = IdRef::Integer(fields[0].parse().unwrap());
        features.item(item, &mut interactions).unwrap();
        features.text(0, fields[1]).unwrap();
        if let Ok(year) = fields[2].parse() {
            features.number(1, year);
        }
        for genre in fields[3].split(',').filter(|genre| !genre.is_empty()) {
            features.text(2, genre).unwrap();
        }
    }
    let builder = DatasetBuilder { interactions, features: Some(features), graph: None };
    Some(builder.finish(&Uninterrupted).unwrap())
}

#[test]
fn films_by_title_year_and_genres() {
    let Some(rows) = real_rows("movielens100k_ratings.tsv") else { return };
    let liked: Vec<Row> =
        rows.iter().filter(|row| row.2 >= 4.0).map(|row| (row.0, row.1, 1.0)).collect();
    let Some(data) = movies(&liked) else { return };
    let recommender = load(&train(&json!({"algorithm": "content"}), &data));
    let found = on_threads(1, || cold(&recommender, &liked));
    better_than_random("content", &found, 3.0);
}

fn better_than_random(what: &str, found: &Found, times: f64) {
    println!("{what}: recall and NDCG {:?}, of a random order {:?}", found.scores, found.random);
    for (score, random) in found.scores.iter().zip(found.random) {
        assert!(*score >= times * random, "{what}: {score} {random}");
    }
}

/// Artists that a graph knows, by its names for them.
fn artists(rows: &[Row], triples: &[Triple]) -> Dataset {
    let mut interactions = InteractionsBuilder::new(1 << 30);
    for &(user, item, weight) in rows.iter().filter(|row| !is_cold(row.1)) {
        interactions.push(IdRef::Integer(user), IdRef::Integer(item), weight).unwrap();
    }
    let mut features = ItemFeaturesBuilder::new([], 1 << 30);
    for item in rows.iter().map(|row| row.1).collect::<BTreeSet<i64>>() {
        features.item(IdRef::Integer(item), &mut interactions).unwrap();
    }
    let mut graph = GraphBuilder::new(1 << 30);
    for (head, relation, tail) in triples {
        graph.push(IdRef::Integer(*head), relation, IdRef::Integer(*tail)).unwrap();
    }
    let builder = DatasetBuilder { interactions, features: Some(features), graph: Some(graph) };
    builder.finish(&Uninterrupted).unwrap()
}

#[test]
fn artists_by_a_knowledge_graph() {
    let Some(rows) = real_rows("lastfm_plays.tsv") else { return };
    let Some((triples, entities)) = last_fm_graph() else { return };
    let rows: Vec<Row> = rows
        .into_iter()
        .filter_map(|(user, artist, _)| Some((user, *entities.get(&artist)?, 1.0)))
        .collect();
    let data = artists(&rows, &triples);
    for (embedding, times) in [("propagation", 2.0), ("transe", 5.0)] {
        let given = json!({"algorithm": "knowledge_graph", "embedding": embedding});
        let recommender = load(&train(&given, &data));
        let found = on_threads(1, || cold(&recommender, &rows));
        better_than_random(embedding, &found, times);
    }
}
