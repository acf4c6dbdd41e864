//! The knowledge graph on Last.FM, by the protocol of Wang et al., WWW 2019: the pairs of user and
//! item are split 6 : 2 : 2, with as many items that the user did not take, and scores are measured
//! by the area under the curve (published: KGCN 0.796, KGNN-LS 0.803).

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::collections::{HashMap, HashSet};

use serde_json::json;
use support::{lines, load, on_threads, train};
use teller_numeric::{Stream, Uninterrupted};
use teller_recommend::{
    Because, DatasetBuilder, GraphBuilder, IdRef, InteractionsBuilder, Place, Recommender, Request,
};

type Triples = Vec<(i64, String, i64)>;

/// Pairs of user and entity of the linked items, and the triples.
fn last_fm() -> Option<(Vec<(i64, i64)>, Triples)> {
    let numbers =
        |line: &str| -> Vec<i64> { line.split('\t').map(|field| field.parse().unwrap()).collect() };
    let links = lines("lastfm_item_entity.tsv")?;
    let entities: HashMap<i64, i64> =
        links.lines().skip(1).map(|line| (numbers(line)[0], numbers(line)[1])).collect();
    let plays = lines("lastfm_plays.tsv")?;
    let pairs = plays.lines().skip(1).filter_map(|line| {
        let row = numbers(line);
        Some((row[0], *entities.get(&row[1])?))
    });
    let triples = lines("lastfm_graph.tsv")?
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            (fields[0].parse().unwrap(), fields[1].to_owned(), fields[2].parse().unwrap())
        })
        .collect();
    Some((pairs.collect(), triples))
}

fn score(recommender: &Recommender, user: i64, item: i64) -> f32 {
    let user = recommender.user_index(IdRef::Integer(user));
    let Some(item) = recommender.item_index(IdRef::Integer(item)) else { return f32::MIN };
    let candidates = [item];
    let request = Request { user, k: 1, candidates: Some(&candidates), include_seen: true };
    recommender.recommend(&request, &Uninterrupted).unwrap()[0].1
}

#[test]
fn the_area_under_the_curve_on_last_fm() {
    let Some((mut pairs, triples)) = last_fm() else { return };
    let taken: HashSet<(i64, i64)> = pairs.iter().copied().collect();
    let mut items: Vec<i64> = pairs.iter().map(|pair| pair.1).collect();
    items.sort_unstable();
    items.dedup();
    let mut stream = Stream::new(1, "split", 0);
    stream.shuffle(&mut pairs);
    let (train_pairs, rest) = pairs.split_at(pairs.len() * 6 / 10);
    let test = &rest[rest.len() / 2..];
    let mut interactions = InteractionsBuilder::new(1 << 30);
    for &(user, item) in train_pairs {
        interactions.push(IdRef::Integer(user), IdRef::Integer(item), 1.0).unwrap();
    }
    let mut features = teller_recommend::ItemFeaturesBuilder::new([], 1 << 30);
    items.iter().for_each(|&item| {
        features.item(IdRef::Integer(item), &mut interactions).unwrap();
    });
    let mut graph = GraphBuilder::new(1 << 30);
    for (head, relation, tail) in &triples {
        graph.push(IdRef::Integer(*head), relation, IdRef::Integer(*tail)).unwrap();
    }
    let builder = DatasetBuilder { interactions, features: Some(features), graph: Some(graph) };
    let data = builder.finish(&Uninterrupted).unwrap();
    let begun = std::time::Instant::now();
    let recommender = load(&train(&json!({"algorithm": "knowledge_graph"}), &data));
    println!("trained in {:?}", begun.elapsed());
    let mut scored: Vec<(f32, bool)> = Vec::new();
    on_threads(1, || {
        for &(user, item) in test {
            scored.push((score(&recommender, user, item), true));
            let other = loop {
                let other = items[stream.below(items.len() as u32) as usize];
                if !taken.contains(&(user, other)) {
                    break other;
                }
            };
            scored.push((score(&recommender, user, other), false));
        }
    });
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut won) = (0u64, 0u64);
    for &(_, positive) in &scored {
        if positive { won += below } else { below += 1 }
    }
    let area = won as f64 / (below as f64 * test.len() as f64);
    println!("area under the curve: {area:.4}");
    assert!(area >= 0.80, "{area}");
}

/// Two groups that share makers alone; item 100 nobody took, and the graph says whose it is.
#[test]
fn a_path_leads_to_an_item_that_nobody_took() {
    let mut interactions = InteractionsBuilder::new(1 << 20);
    for user in 0..20 {
        for item in 0..10 {
            if user % 2 == item % 2 && (user + item) % 5 != 0 {
                interactions.push(IdRef::Integer(user), IdRef::Integer(item), 1.0).unwrap();
            }
        }
    }
    let mut features = teller_recommend::ItemFeaturesBuilder::new([], 1 << 20);
    let mut graph = GraphBuilder::new(1 << 20);
    for item in (0..10).chain([100, 101]) {
        features.item(IdRef::Integer(item), &mut interactions).unwrap();
        let maker = IdRef::Text(["even", "odd"][item as usize % 2]);
        graph.push(IdRef::Integer(item), "made by", maker).unwrap();
    }
    let builder = DatasetBuilder { interactions, features: Some(features), graph: Some(graph) };
    let data = builder.finish(&Uninterrupted).unwrap();
    let recommender = load(&train(&json!({"algorithm": "knowledge_graph"}), &data));
    let user = recommender.user_index(IdRef::Integer(4));
    let candidates = [100, 101].map(|id| recommender.item_index(IdRef::Integer(id)).unwrap());
    let request = Request { user, k: 1, candidates: Some(&candidates), include_seen: false };
    let best = recommender.recommend(&request, &Uninterrupted).unwrap()[0].0;
    assert_eq!(recommender.item_id(best), Some(IdRef::Integer(100)));
    let reasons = recommender.explain(user, best, &Uninterrupted).unwrap();
    let Because::Path(path) = &reasons[0].because else { panic!("{reasons:?}") };
    let name = |name: &str| Place::Name(name.to_owned());
    assert!(matches!(path[0], Place::Item(_)));
    assert_eq!(path[1..], [name("made by"), name("even"), name("made by")]);
}
