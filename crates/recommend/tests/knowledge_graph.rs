//! The knowledge graph on Last.FM, by the protocol of Wang et al., WWW 2019: the pairs of user and
//! item are split 6 : 2 : 2, with as many items that the user did not take, and scores are measured
//! by the area under the curve (published: KGCN 0.796, KGNN-LS 0.803).

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::collections::HashSet;

use serde_json::{Value, json};
use support::{Triple, last_fm_graph, load, on_threads, real_rows, train};
use teller_numeric::{Stream, Uninterrupted};
use teller_recommend::{
    Because, DatasetBuilder, GraphBuilder, IdRef, InteractionsBuilder, ItemFeaturesBuilder, Place,
    Recommender, Request,
};

type Pair = (i64, i64);

/// Pairs of user and entity of the linked items, and the triples.
fn last_fm() -> Option<(Vec<Pair>, Vec<Triple>)> {
    let (triples, entities) = last_fm_graph()?;
    let plays = real_rows("lastfm_plays.tsv")?.into_iter();
    let pairs = plays.filter_map(|(user, artist, _)| Some((user, *entities.get(&artist)?)));
    Some((pairs.collect(), triples))
}

/// Whom a score is for.
enum Whom<'a> {
    User(i64),
    /// Somebody who took the same items.
    Basket(&'a [u32]),
}

fn score(recommender: &Recommender, whom: &Whom<'_>, item: i64) -> f32 {
    let Some(item) = recommender.item_index(IdRef::Integer(item)) else { return f32::MIN };
    let candidates = [item];
    let request = Request { user: None, k: 1, candidates: Some(&candidates), include_seen: true };
    let best = match whom {
        Whom::User(user) => {
            let user = recommender.user_index(IdRef::Integer(*user));
            recommender.recommend(&Request { user, ..request }, &Uninterrupted)
        }
        Whom::Basket(basket) => recommender.recommend_from(basket, &request, &Uninterrupted),
    };
    best.unwrap()[0].1
}

/// The area under the curve, and that for baskets of what a tenth of the users took.
fn areas(given: &Value) -> Option<[f64; 2]> {
    let (mut pairs, triples) = last_fm()?;
    let taken: HashSet<Pair> = pairs.iter().copied().collect();
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
    let mut features = ItemFeaturesBuilder::new([], 1 << 30);
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
    let recommender = load(&train(given, &data));
    println!("{given}: trained in {:?}", begun.elapsed());
    let (mut of_users, mut of_baskets) = (Vec::new(), Vec::new());
    on_threads(1, || {
        for &(user, item) in test {
            let other = loop {
                let other = items[stream.below(items.len() as u32) as usize];
                if !taken.contains(&(user, other)) {
                    break other;
                }
            };
            let index = recommender.user_index(IdRef::Integer(user));
            let basket = index.map_or(&[][..], |index| recommender.seen(index));
            for (item, took) in [(item, true), (other, false)] {
                of_users.push((score(&recommender, &Whom::User(user), item), took));
                if user % 10 == 0 {
                    of_baskets.push((score(&recommender, &Whom::Basket(basket), item), took));
                }
            }
        }
    });
    let areas = [of_users, of_baskets].map(area);
    println!("{given}: areas under the curve {areas:?}");
    Some(areas)
}

/// The chance that an item that was taken is scored higher than one that was not.
fn area(mut scored: Vec<(f32, bool)>) -> f64 {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut won) = (0u64, 0u64);
    for &(_, positive) in &scored {
        if positive { won += below } else { below += 1 }
    }
    won as f64 / (below * (scored.len() as u64 - below)) as f64
}

fn at_least(given: &Value, least: f64) {
    let Some(areas) = areas(given) else { return };
    assert!(areas.iter().all(|&area| area >= least), "{given}: {areas:?}");
}

#[test]
fn the_area_under_the_curve_by_propagation() {
    at_least(&json!({"algorithm": "knowledge_graph", "embedding": "propagation"}), 0.80);
}

#[test]
fn the_area_under_the_curve_by_transe() {
    at_least(&json!({"algorithm": "knowledge_graph"}), 0.85);
}

#[test]
fn the_area_under_the_curve_by_distmult() {
    at_least(&json!({"algorithm": "knowledge_graph", "embedding": "distmult"}), 0.82);
}

#[test]
fn the_area_under_the_curve_by_rotate() {
    at_least(&json!({"algorithm": "knowledge_graph", "embedding": "rotate"}), 0.84);
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
    let mut features = ItemFeaturesBuilder::new([], 1 << 20);
    let mut graph = GraphBuilder::new(1 << 20);
    for item in (0..10).chain([100, 101]) {
        features.item(IdRef::Integer(item), &mut interactions).unwrap();
        let maker = IdRef::Text(["even", "odd"][item as usize % 2]);
        graph.push(IdRef::Integer(item), "made by", maker).unwrap();
    }
    let builder = DatasetBuilder { interactions, features: Some(features), graph: Some(graph) };
    let data = builder.finish(&Uninterrupted).unwrap();
    let recommender =
        load(&train(&json!({"algorithm": "knowledge_graph", "embedding": "propagation"}), &data));
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
