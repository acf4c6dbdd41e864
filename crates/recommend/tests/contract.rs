//! What every recommender must hold, whatever its algorithm.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use support::{Row, algorithm, dataset, described, load, on_threads, parts, train};
use teller_numeric::{Cancelled, Control, Step, Stream, Uninterrupted};
use teller_payload::{AlignedBytes, Payload, PayloadWriter, SharedBytes};
use teller_recommend::{
    Because, Dataset, Error, IdRef, InteractionsBuilder, Recommender, Request, Size, evaluate,
    memory_needed,
};

fn algorithms() -> Vec<Value> {
    vec![
        json!({"algorithm": "als", "factors": 8}),
        json!({"algorithm": "als", "factors": 20, "solver": "cholesky"}),
        json!({"algorithm": "svd", "factors": 3}),
        json!({"algorithm": "item_knn"}),
        json!({"algorithm": "item_knn", "similarity": "cosine", "neighbors": 30}),
        json!({"algorithm": "biased_mf", "factors": 3}),
        json!({"algorithm": "ease"}),
        json!({"algorithm": "ease", "neighbors": 20}),
        json!({"algorithm": "content", "factors": 8}),
        json!({"algorithm": "knowledge_graph", "factors": 8, "epochs": 60}),
        json!({"algorithm": "popular"}),
        json!({"algorithm": "svd", "factors": 3, "validation": 0.2}),
        json!({"algorithm": "item_knn", "validation": 0.1}),
        json!({"algorithm": "hybrid", "validation": 0, "members": [
            {"algorithm": "als", "factors": 8},
            {"algorithm": "item_knn", "similarity": "cosine"},
            {"algorithm": "svd", "factors": 3},
        ]}),
        json!({"algorithm": "hybrid", "validation": 0.1, "members": [
            {"algorithm": "popular"}, {"algorithm": "item_knn"},
        ]}),
    ]
}

fn learning() -> impl Iterator<Item = Value> {
    algorithms().into_iter().filter(|given| given["algorithm"] != "popular")
}

const SIDE: i64 = 40;

/// User `u` has had the items of his own colour, all but item `u`.
fn checkerboard() -> Vec<Row> {
    (0..SIDE)
        .flat_map(|user| (0..SIDE).map(move |item| (user, item)))
        .filter(|(user, item)| user != item && (user + item) % 2 == 0)
        .map(|(user, item)| (user, item, 1.0))
        .collect()
}

/// The checkerboard as an algorithm takes it. Ratings say nothing unless some are low: half of what
/// is of the other colour.
fn board(given: &Value) -> Dataset {
    if given["algorithm"] != "biased_mf" {
        return dataset(checkerboard());
    }
    let other = (0..SIDE).flat_map(|user| (0..SIDE).map(move |item| (user, item, 1.0)));
    let other = other.filter(|(user, item, _)| (user + item) % 4 == 1);
    let own = checkerboard().into_iter().map(|(user, item, _)| (user, item, 5.0));
    dataset(own.chain(other))
}

/// Users and items of uneven degrees and weights, and ids with gaps.
fn uneven(users: u32, items: u32, rows: usize) -> Vec<Row> {
    let mut stream = Stream::new(3, "uneven", 0);
    let mut skewed = |n: u32| i64::from(stream.below(n).min(stream.below(n))) * 3 - 7;
    let mut rows: Vec<Row> = (0..rows).map(|_| (skewed(users), skewed(items), 1.0)).collect();
    for row in &mut rows {
        row.2 = 0.5 + stream.uniform() * 3.0;
    }
    rows
}

fn ask(recommender: &Recommender, request: Request<'_>) -> Vec<(u32, f32)> {
    recommender.recommend(&request, &Uninterrupted).unwrap()
}

fn request(user: u32, k: usize) -> Request<'static> {
    Request { user: Some(user), k, candidates: None, include_seen: false }
}

fn bits(answer: &[(u32, f32)]) -> Vec<(u32, u32)> {
    answer.iter().map(|&(item, score)| (item, score.to_bits())).collect()
}

fn bytes(given: &Value, rows: Vec<Row>, threads: usize) -> Vec<(String, Vec<u8>)> {
    let data = dataset(rows);
    let fitted = on_threads(threads, || algorithm(given).fit(&data, None, &Uninterrupted).unwrap());
    fitted.parts.into_iter().map(|(name, bytes)| (name.into_owned(), bytes.to_vec())).collect()
}

#[test]
fn the_withheld_diagonal_comes_first() {
    for given in learning() {
        let recommender = load(&train(&given, &board(&given)));
        for user in 0..SIDE {
            let index = recommender.user_index(IdRef::Integer(user)).unwrap();
            let best = ask(&recommender, request(index, 1))[0].0;
            assert_eq!(recommender.item_id(best), Some(IdRef::Integer(user)), "{given}");
        }
    }
}

#[test]
fn filters_hold_and_k_are_returned_whenever_k_exist() {
    let rows = uneven(60, 90, 900);
    let data = dataset(rows.clone());
    for given in algorithms() {
        let recommender = load(&train(&given, &data));
        let items = recommender.items().len();
        for user in 0..recommender.users().len() as u32 {
            let seen = recommender.seen(user);
            let all = ask(&recommender, request(user, usize::MAX));
            assert_eq!(all.len(), items - seen.len());
            assert!(all.iter().all(|(item, _)| seen.binary_search(item).is_err()));
            assert!(all.is_sorted_by(|a, b| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)));
            for k in [1, 7, items - seen.len(), items] {
                assert_eq!(
                    bits(&ask(&recommender, request(user, k))),
                    bits(&all[..k.min(all.len())])
                );
            }
            let whole = Request { include_seen: true, ..request(user, items) };
            assert_eq!(ask(&recommender, whole).len(), items);
            assert!(ask(&recommender, request(user, 0)).is_empty());

            // The worst items as candidates, repeated and out of order: cut before the choice.
            let worst: Vec<u32> = all.iter().rev().take(5).map(|&(item, _)| item).collect();
            let candidates = [&worst[..], &worst, seen].concat();
            let candidates = Some(&candidates[..]);
            let some = ask(&recommender, Request { candidates, ..request(user, 4) });
            assert_eq!(bits(&some), bits(&all[all.len() - 5..][..4]));
            let none = Request { candidates: Some(seen), ..request(user, 4) };
            assert!(ask(&recommender, none).is_empty());
            let absent =
                Request { candidates: Some(&[u32::MAX, items as u32]), ..request(user, 4) };
            assert!(ask(&recommender, absent).is_empty());
        }
    }
}

#[test]
fn unknown_users_get_the_popular_items() {
    let data = dataset(uneven(60, 90, 900));
    for given in algorithms() {
        let recommender = load(&train(&given, &data));
        let unknown = Request { user: None, ..request(0, 10) };
        let best = ask(&recommender, unknown);
        let mut popular: Vec<(u32, f32)> = (0..).zip(data.interactions.popularity()).collect();
        popular.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        assert_eq!(best, popular[..10]);
        let beyond = Request { user: Some(u32::MAX), ..unknown };
        assert_eq!(ask(&recommender, beyond), best);
    }
}

/// What [`Recommender::recommend_from`] says; nothing where the algorithm serves no baskets.
fn ask_from(
    recommender: &Recommender,
    basket: &[u32],
    request: Request<'_>,
) -> Option<Vec<(u32, f32)>> {
    match recommender.recommend_from(basket, &request, &Uninterrupted) {
        Err(Error::Unsupported(_)) => None,
        answer => Some(answer.unwrap()),
    }
}

#[test]
fn a_basket_is_served_like_a_user() {
    let data = dataset(uneven(60, 90, 900));
    for given in algorithms() {
        let recommender = load(&train(&given, &data));
        let items = recommender.items().len() as u32;
        let all = Request { user: None, ..request(0, usize::MAX) };
        let popular = ask(&recommender, all);
        for unknown in [&[][..], &[u32::MAX, items]] {
            assert_eq!(ask_from(&recommender, unknown, all), Some(popular.clone()), "{given}");
        }
        let basket = [7, 3, 30, 3, u32::MAX];
        let Some(best) = ask_from(&recommender, &basket, all) else { continue };
        assert_eq!(best.len() as u32, items - 3);
        assert!(best.iter().all(|(item, _)| ![3, 7, 30].contains(item)), "{given}");
        assert!(best.is_sorted_by(|a, b| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)));
        let again = ask_from(&recommender, &[3, 30, 7, 3], all).unwrap();
        assert_eq!(bits(&again), bits(&best), "{given} minds the order");
        for k in [0, 1, 7] {
            let some = ask_from(&recommender, &basket, Request { k, ..all }).unwrap();
            assert_eq!(bits(&some), bits(&best[..k]));
        }
        let whole = Request { include_seen: true, ..all };
        assert_eq!(ask_from(&recommender, &basket, whole).unwrap().len() as u32, items);
        let worst: Vec<u32> = best.iter().rev().take(5).map(|&(item, _)| item).collect();
        let candidates = [&worst[..], &[3, u32::MAX]].concat();
        let some = Request { candidates: Some(&candidates), ..all };
        assert_eq!(
            bits(&ask_from(&recommender, &basket, some).unwrap()),
            bits(&best[best.len() - 5..])
        );
        if !["popular", "ease"].contains(&given["algorithm"].as_str().unwrap()) {
            let once = ask_from(&recommender, &[3, 7, 30], all).unwrap();
            assert_ne!(bits(&once), bits(&best), "{given} counts an item but once");
        }
    }
}

/// Where nothing but the history says who somebody is, those who had the same are the same.
#[test]
fn a_basket_of_what_a_user_had_is_that_user() {
    let rows = uneven(60, 90, 900).into_iter().map(|(user, item, _)| ((user, item), 1.0));
    let rows: BTreeMap<(i64, i64), f32> = rows.collect();
    let data = dataset(rows.into_iter().map(|((user, item), weight)| (user, item, weight)));
    for (given, tolerance) in [
        (json!({"algorithm": "svd", "factors": 3}), 1e-4),
        (json!({"algorithm": "ease"}), 1e-5),
        (json!({"algorithm": "ease", "neighbors": 20}), 0.0),
        (json!({"algorithm": "item_knn"}), 0.0),
        (json!({"algorithm": "item_knn", "similarity": "cosine"}), 0.0),
        (json!({"algorithm": "content"}), 0.0),
        // The last sweep moves items after users: close, but not equal.
        (json!({"algorithm": "als", "factors": 8, "iterations": 60}), 0.05),
    ] {
        let recommender = load(&train(&given, &data));
        for user in 0..recommender.users().len() as u32 {
            let whole = Request { include_seen: true, ..request(user, usize::MAX) };
            let known: BTreeMap<u32, f32> = ask(&recommender, whole).into_iter().collect();
            let basket = recommender.seen(user);
            for (item, score) in ask_from(&recommender, basket, whole).unwrap() {
                let off = (score - known[&item]).abs();
                assert!(off <= tolerance, "{given}: {score} is not {}", known[&item]);
            }
        }
    }
}

#[test]
fn reasons_add_up_to_the_score() {
    let data = dataset(uneven(60, 90, 900));
    for given in algorithms() {
        let recommender = load(&train(&given, &data));
        let items = recommender.items().len() as u32;
        let users = (0..recommender.users().len() as u32).map(Some).chain([None, Some(u32::MAX)]);
        for user in users {
            let whole = Request { user, include_seen: true, ..request(0, usize::MAX) };
            for (item, score) in ask(&recommender, whole) {
                let reasons = match recommender.explain(user, item, &Uninterrupted) {
                    Err(Error::Unsupported(_)) => continue,
                    reasons => reasons.unwrap(),
                };
                let contributions = reasons.iter().map(|reason| f64::from(reason.contribution));
                let sum: f64 = contributions.clone().sum();
                let size = contributions.map(f64::abs).fold(f64::from(score.abs()), f64::max);
                let off = (sum - f64::from(score)).abs();
                // Scores are of the size of 1: what is nearly nothing may be a difference of such.
                assert!(off <= 1e-4 * size + 1e-6, "{given}: {sum} is not {score}: {reasons:?}");
                let seen = user.map_or(&[][..], |user| recommender.seen(user));
                for reason in &reasons {
                    if let Because::Item(had) = reason.because {
                        assert!(seen.binary_search(&had).is_ok(), "{given}: {had} was never had");
                    }
                }
                let of_items = reasons.iter().filter(|r| matches!(r.because, Because::Item(_)));
                assert!(of_items.is_sorted_by(|a, b| a.contribution >= b.contribution));
            }
            let beyond = recommender.explain(user, items, &Uninterrupted);
            assert!(matches!(beyond, Err(Error::Unsupported(_))) || beyond == Ok(Vec::new()));
        }
    }
}

#[test]
fn similar_items_are_others_and_k_whenever_k_exist() {
    let data = dataset(uneven(60, 90, 900));
    for given in algorithms() {
        let recommender = load(&train(&given, &data));
        let similar = |item, k, candidates: Option<Vec<u32>>| {
            recommender.similar_items(item, k, candidates.as_deref(), &Uninterrupted)
        };
        if let Err(error) = similar(0, 1, None) {
            assert!(matches!(error, Error::Unsupported(_)), "{given}: {error}");
            continue;
        }
        let items = recommender.items().len();
        for item in 0..items as u32 {
            let all = similar(item, usize::MAX, None).unwrap();
            assert_eq!(all.len(), items - 1, "{given}");
            assert!(all.iter().all(|&(other, score)| other != item && score.is_finite()));
            assert!(all.is_sorted_by(|a, b| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)));
            for k in [0, 1, 7, items] {
                assert_eq!(bits(&similar(item, k, None).unwrap()), bits(&all[..k.min(items - 1)]));
            }
            let mut worst: Vec<u32> = all.iter().rev().take(5).map(|&(item, _)| item).collect();
            worst.extend([item, u32::MAX, items as u32]);
            let some = similar(item, 4, Some(worst)).unwrap();
            assert_eq!(bits(&some), bits(&all[all.len() - 5..][..4]));
        }
        assert_eq!(similar(items as u32, 3, None), Ok(Vec::new()), "{given}");
    }
}

/// Items of one colour are had by the same users.
#[test]
fn items_that_the_same_users_had_are_similar() {
    for given in learning() {
        let recommender = load(&train(&given, &board(&given)));
        for item in 0..SIDE as u32 {
            match recommender.similar_items(item, SIDE as usize / 2 - 1, None, &Uninterrupted) {
                Err(error) => assert!(matches!(error, Error::Unsupported(_)), "{given}: {error}"),
                Ok(similar) => {
                    assert!(similar.iter().all(|(other, _)| (other + item) % 2 == 0), "{given}");
                }
            }
        }
    }
}

#[test]
fn many_at_once_equal_one_by_one() {
    use rayon::prelude::*;
    let data = dataset(uneven(60, 90, 900));
    for given in algorithms() {
        let recommender = load(&train(&given, &data));
        let users = 0..recommender.users().len() as u32;
        let one = |user| bits(&ask(&recommender, request(user, 10)));
        let at_once: Vec<_> = on_threads(4, || users.clone().into_par_iter().map(one).collect());
        assert_eq!(at_once, users.map(one).collect::<Vec<_>>());
    }
}

#[test]
fn threads_seeds_and_the_order_of_rows() {
    // Enough rows for several tasks of each kind.
    let rows = uneven(700, 900, 9000);
    for given in algorithms() {
        let expected = bytes(&given, rows.clone(), 1);
        for threads in [2, 4] {
            let mut shuffled = rows.clone();
            Stream::new(threads as u64, "order", 0).shuffle(&mut shuffled);
            assert!(bytes(&given, shuffled, threads) == expected, "{given} on {threads} threads");
        }
        let mut reseeded = given.clone();
        if algorithm(&given).seed().is_some() {
            reseeded["seed"] = json!(7);
            assert!(bytes(&reseeded, rows.clone(), 2) != expected, "{given} ignores its seed");
        }
    }
}

#[test]
fn text_ids_and_hostile_shapes_train() {
    let shapes: [Vec<(&str, &str, f32)>; 4] = [
        vec![("only", "one", 1.0)],
        vec![("a", "x", f32::MAX), ("a", "x", f32::MAX), ("b", "y", f32::MIN_POSITIVE)],
        (0..40).map(|i| ("one", ["a", "b", "c", "d"][i % 4], 1.0)).collect(),
        vec![("", "é", 1.0), ("𝄞", "", 1e-30), ("𝄞", "é", 1e30)],
    ];
    for rows in shapes {
        let mut builder = InteractionsBuilder::new(1 << 20);
        let mut items = Vec::new();
        for (user, item, weight) in rows {
            builder.push(IdRef::Text(user), IdRef::Text(item), weight).unwrap();
            items.push(IdRef::Text(item));
        }
        let data = described(builder, &items);
        for mut given in algorithms() {
            if given["algorithm"] == "als" {
                given["regularization"] = json!(0.0);
            }
            let trained = on_threads(1, || algorithm(&given).fit(&data, None, &Uninterrupted));
            match trained {
                Ok(fitted) => {
                    let recommender = load(&fitted);
                    let best =
                        ask(&recommender, Request { include_seen: true, ..request(0, usize::MAX) });
                    assert_eq!(best.len(), data.interactions.items().len());
                    assert!(best.iter().all(|(_, score)| score.is_finite()), "{given} {best:?}");
                }
                Err(Error::Diverged { .. } | Error::NoFeatures { .. }) => {}
                Err(error) => panic!("{given}: {error}"),
            }
        }
    }
}

#[test]
fn evaluation_counts_users_and_leaves_out_what_was_seen() {
    let mut rows = checkerboard();
    let data = dataset(rows.clone());
    let given = json!({"algorithm": "svd", "factors": 3});
    let recommender = load(&train(&given, &data));
    // The diagonal, what was seen, an unknown item of a known user, an unknown user.
    let held = (0..SIDE).map(|user| (user, user, 1.0));
    rows.extend(held.chain([(0, 999, 1.0), (999, 1, 1.0)]));
    let metrics = evaluate(&recommender, &dataset(rows).interactions, 5, &Uninterrupted).unwrap();
    let metrics: BTreeMap<String, f64> = metrics.into_iter().collect();
    assert_eq!(metrics["users"], SIDE as f64 + 1.0);
    // All find their item first; user 0 misses one of two; the unknown user finds item 1 second
    // among equally popular ones.
    let expected = (f64::from(SIDE as u32 - 1) + 0.5 + 1.0) / (SIDE as f64 + 1.0);
    assert!((metrics["recall@5"] - expected).abs() < 1e-12, "{metrics:?}");
    let expected = (SIDE as f64 + 0.5) / (SIDE as f64 + 1.0);
    assert!((metrics["mrr@5"] - expected).abs() < 1e-12, "{metrics:?}");
    let nothing = evaluate(&recommender, &dataset(checkerboard()).interactions, 5, &Uninterrupted);
    assert!(matches!(nothing, Err(Error::NoRows(_))));
}

#[test]
fn altered_bytes_are_refused_and_forged_ones_survived() {
    let wide = dataset(uneven(30, 40, 200));
    let tall = dataset(uneven(40, 30, 200));
    let mut stream = Stream::new(5, "mutations", 0);
    for (given, data) in algorithms().iter().flat_map(|given| [(given, &wide), (given, &tall)]) {
        let intact = parts(&train(given, data));
        let mut loaded = 0;
        for round in 0..1000 {
            let mut forged = intact.clone();
            let names: Vec<&String> = intact.keys().collect();
            let name = names[stream.below(names.len() as u32) as usize];
            let mut bytes = (*intact[name]).as_ref().to_vec();
            let whole = bytes.len() as u32;
            for _ in 0..=stream.below(3) {
                bytes[stream.below(whole) as usize] ^= 1 << stream.below(8);
            }
            if stream.below(8) == 0 {
                bytes.truncate(stream.below(whole) as usize);
            }
            let honest = bytes == (*intact[name]).as_ref();
            // Every other time with a checksum and a length that fit, as a forger would write.
            let forge = round % 2 == 1 && bytes.len() >= 32;
            if forge {
                let len = bytes.len() as u64;
                bytes[16..24].copy_from_slice(&len.to_le_bytes());
                let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[32..]);
                bytes[24..32].copy_from_slice(&checksum.to_le_bytes());
            }
            forged.insert(name.clone(), shared(&bytes));
            match Recommender::load(&forged) {
                Ok(recommender) => {
                    assert!(forge || honest, "an altered {name} was accepted");
                    loaded += 1;
                    for user in [None, Some(0), Some(29), Some(u32::MAX)] {
                        let all = Request { user, ..request(0, usize::MAX) };
                        let best = ask(&recommender, all);
                        assert!(best.len() <= recommender.items().len());
                        assert!(best.iter().all(|&(item, _)| recommender.item_id(item).is_some()));
                        for item in [0, 20, u32::MAX] {
                            let _ = recommender.explain(user, item, &Uninterrupted);
                        }
                    }
                    for basket in [&[][..], &[0], &[3, 20, 3, u32::MAX]] {
                        let all = Request { user: None, ..request(0, usize::MAX) };
                        let few = dataset(vec![(2, 2, 1.0), (77, 5, 2.0)]);
                        let _ = recommender.fold_in(&few.interactions, &Uninterrupted);
                        match recommender.recommend_from(basket, &all, &Uninterrupted) {
                            Ok(best) => assert!(best.len() <= recommender.items().len()),
                            Err(error) => {
                                assert!(matches!(error, Error::Unsupported(_) | Error::Older(_)));
                            }
                        }
                    }
                    for item in [0, 20, u32::MAX] {
                        let all = recommender.similar_items(item, usize::MAX, None, &Uninterrupted);
                        let all = match all {
                            Err(Error::Unsupported(_)) => continue,
                            all => all.unwrap(),
                        };
                        assert!(all.iter().all(|(_, score)| !score.is_nan()));
                    }
                    recommender.user_index(IdRef::Integer(2));
                    recommender.item_index(IdRef::Text("x"));
                }
                Err(error) => assert!(
                    matches!(error, Error::Payload { .. } | Error::Inconsistent(_)),
                    "{error}"
                ),
            }
        }
        assert!(loaded > 50, "forgeries hardly ever pass the first checks: {loaded}");
        for name in intact.keys() {
            let mut lacking = intact.clone();
            lacking.remove(name);
            assert!(matches!(Recommender::load(&lacking), Err(Error::Inconsistent(_))), "{name}");
        }
    }
}

/// What [`Recommender::fold_in`] makes; nothing where the algorithm knows its users alone.
fn fold(recommender: &Recommender, rows: Vec<Row>) -> Option<Recommender> {
    match recommender.fold_in(&dataset(rows).interactions, &Uninterrupted) {
        Err(Error::Unsupported(_)) => None,
        folded => Some(load(&folded.unwrap())),
    }
}

#[test]
fn folded_users_are_what_baskets_of_theirs_would_be() {
    // Every weight is 1, as it is in a basket, or 2 where an item is in it twice.
    let rows = uneven(60, 90, 900).into_iter().map(|(user, item, _)| ((user, item), 1.0));
    let rows: BTreeMap<(i64, i64), f32> = rows.collect();
    let rows: Vec<Row> =
        rows.into_iter().map(|((user, item), weight)| (user, item, weight)).collect();
    let data = dataset(rows.clone());
    let (known, unknown) = (rows[0].0, 1_000_000);
    // A known user gets an item again and a new one, a new one gets two, with ids before, between
    // and after those that there are; an item that nobody had is left out.
    let had = rows[0].1;
    let other = data.interactions.items().len() as u32 - 1;
    let Some(IdRef::Integer(other)) = data.interactions.items().get(other) else { panic!() };
    let added = vec![
        (known, had, 1.0),
        (known, other, 1.0),
        (known, unknown, 1.0),
        (-1_000, had, 1.0),
        (-1_000, other, 1.0),
        (unknown, other, 1.0),
        (unknown + 1, unknown, 1.0),
    ];
    for given in algorithms() {
        let recommender = load(&train(&given, &data));
        let Some(folded) = fold(&recommender, added.clone()) else { continue };
        assert_eq!(folded.users().len(), recommender.users().len() + 2, "{given}");
        assert_eq!(folded.items(), recommender.items());
        let whole = |user| Request { include_seen: true, ..request(user, usize::MAX) };
        let index = |id| folded.user_index(IdRef::Integer(id)).unwrap();
        for user in 0..recommender.users().len() as u32 {
            let Some(IdRef::Integer(id)) = recommender.user_id(user) else { panic!() };
            if id != known {
                let [before, now] = [(&recommender, user), (&folded, index(id))]
                    .map(|(one, user)| (one.seen(user).to_vec(), bits(&ask(one, whole(user)))));
                assert_eq!(before, now, "{given}: nothing is new of {id}");
            }
        }
        let item = |id| folded.item_index(IdRef::Integer(id)).unwrap();
        let mut baskets = vec![
            (-1_000, vec![item(had), item(other)]),
            (unknown, vec![item(other)]),
            (
                known,
                recommender.seen(recommender.user_index(IdRef::Integer(known)).unwrap()).to_vec(),
            ),
        ];
        baskets[2].1.extend([item(had), item(other)]);
        for (user, basket) in baskets {
            let user = index(user);
            let expected = ask_from(&folded, &basket, whole(0)).unwrap();
            assert_eq!(bits(&ask(&folded, whole(user))), bits(&expected), "{given}");
            let mut distinct = basket.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(folded.seen(user), distinct);
            // Solved exactly, so nothing remains to be explained.
            for (item, _) in expected {
                let reasons = folded.explain(Some(user), item, &Uninterrupted).unwrap();
                assert!(reasons.iter().all(|r| matches!(r.because, Because::Item(_))), "{given}");
            }
        }
        let mut counts = vec![0f32; folded.items().len()];
        for user in 0..folded.users().len() as u32 {
            folded.seen(user).iter().for_each(|&item| counts[item as usize] += 1.0);
        }
        assert_eq!(folded.popularity(), counts);
        // In two steps as in one.
        let (first, second) = added.split_at(3);
        let twice = fold(&fold(&recommender, first.to_vec()).unwrap(), second.to_vec()).unwrap();
        assert!(twice.parts().eq(folded.parts()), "{given}");
    }
}

#[test]
fn what_cannot_be_folded_in_is_refused() {
    let data = dataset(uneven(60, 90, 900));
    for given in algorithms() {
        let recommender = load(&train(&given, &data));
        let fold =
            |rows| recommender.fold_in(&dataset(rows).interactions, &Uninterrupted).map(|_| ());
        match fold(vec![(1, 1_000_000, 1.0)]) {
            Err(Error::Unsupported(_)) => continue,
            nothing => assert!(matches!(nothing, Err(Error::NoRows(_))), "{given} {nothing:?}"),
        }
        let mut builder = InteractionsBuilder::new(1 << 20);
        builder.push(IdRef::Text("1"), IdRef::Integer(2), 1.0).unwrap();
        let texts = builder.finish(&Uninterrupted).unwrap();
        let refused = recommender.fold_in(&texts, &Uninterrupted);
        assert!(matches!(refused, Err(Error::OtherIds { column: "user", .. })), "{given}");
        let needed = recommender.fold_in_memory(&data.interactions);
        assert!((10_000..10_000_000).contains(&needed), "{given}: {needed}");
        for questions in [0, 1] {
            let impatient = Impatient(std::sync::atomic::AtomicI64::new(questions));
            let cancelled = recommender.fold_in(&data.interactions, &impatient);
            assert!(matches!(cancelled, Err(Error::Cancelled(_))), "{given}");
        }
        let threads = [1, 4].map(|threads| {
            let folded = on_threads(threads, || {
                recommender.fold_in(&data.interactions, &Uninterrupted).unwrap()
            });
            load(&folded).parts().map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>()
        });
        assert!(threads[0] == threads[1], "{given}");
    }
}

/// Numbers as 0.3.0 stored them serve users as before, and say what they lack.
#[test]
fn versions_from_before_still_serve_their_users() {
    let data = dataset(uneven(60, 90, 900));
    for algorithm in ["als", "svd", "item_knn"] {
        let parts = parts(&train(&json!({"algorithm": algorithm}), &data));
        let whole = Recommender::load(&parts).unwrap();
        let mut older = parts.clone();
        older.remove("fold_in");
        let mut without = |part: &str, array: &str| {
            let payload = Payload::parse(parts[part].clone()).unwrap();
            let numbers = |name| payload.get(payload.array::<u32>(name).unwrap().0);
            let floats = |name| payload.get(payload.array::<f32>(name).unwrap().0);
            let offsets = payload.get(payload.array::<u64>("offsets").unwrap().0);
            let mut writer = PayloadWriter::new();
            writer.array("offsets", &[offsets.len()], offsets);
            writer.array("items", &[numbers("items").len()], numbers("items"));
            if part == "neighbors" {
                let similarities = floats("similarities");
                writer.array("similarities", &[similarities.len()], similarities);
            }
            assert!(payload.arrays().any(|(name, ..)| name == array));
            older.insert(part.to_owned(), Arc::new(writer.finish()));
        };
        match algorithm {
            "item_knn" => without("neighbors", "weighting"),
            _ => without("seen", "weights"),
        }
        let older = Recommender::load(&older).unwrap();
        for user in 0..older.users().len() as u32 {
            let [before, now] = [&older, &whole].map(|one| bits(&ask(one, request(user, 20))));
            assert_eq!(before, now, "{algorithm}");
        }
        let basket = older.recommend_from(&[1], &request(0, 3), &Uninterrupted);
        assert!(matches!(basket, Err(Error::Older(_))), "{algorithm}: {basket:?}");
        if algorithm != "item_knn" {
            let reasons = older.explain(Some(0), 1, &Uninterrupted);
            assert!(matches!(reasons, Err(Error::Older(_))), "{algorithm}: {reasons:?}");
        }
        assert_eq!(older.similar_items(1, 3, None, &Uninterrupted).unwrap().len(), 3);
    }
}

fn shared(bytes: &[u8]) -> SharedBytes {
    Arc::new(AlignedBytes::from(bytes))
}

/// Cancels at the n-th question.
struct Impatient(std::sync::atomic::AtomicI64);

impl Control for Impatient {
    fn check(&self) -> Result<(), Cancelled> {
        match self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) {
            1.. => Ok(()),
            _ => Err(Cancelled),
        }
    }

    fn report(&self, _step: Step) {}
}

#[test]
fn cancelling_stops_everything() {
    let data = dataset(uneven(60, 90, 900));
    for given in algorithms() {
        let recommender = load(&train(&given, &data));
        let at = |questions| Impatient(std::sync::atomic::AtomicI64::new(questions));
        let answer = recommender.recommend(&request(0, 5), &at(0));
        assert_eq!(answer, Err(Error::Cancelled(Cancelled)));
        let reasons = recommender.explain(Some(0), 0, &at(0));
        assert!(matches!(reasons, Err(Error::Cancelled(_) | Error::Unsupported(_))), "{given}");
        let from = recommender.recommend_from(&[0], &request(0, 5), &at(0));
        assert!(matches!(from, Err(Error::Cancelled(_) | Error::Unsupported(_))), "{given}");
        let similar = recommender.similar_items(0, 5, None, &at(0));
        assert!(matches!(similar, Err(Error::Cancelled(_) | Error::Unsupported(_))), "{given}");
        let evaluated = evaluate(&recommender, &data.interactions, 5, &at(0));
        assert!(matches!(evaluated, Err(Error::Cancelled(_) | Error::NoRows(_))));
        if given["algorithm"] != "popular" {
            for questions in [0, 1, 5, 25] {
                let trained = on_threads(2, || algorithm(&given).fit(&data, None, &at(questions)));
                assert!(matches!(trained, Err(Error::Cancelled(_))), "{given} {questions}");
            }
        }
    }
}

#[test]
fn memory_is_estimated_without_overflow() {
    for given in algorithms() {
        let algorithm = algorithm(&given);
        let size = Size { users: 1_000, items: 1_000, interactions: 10_000, ..Size::default() };
        let small = memory_needed(&*algorithm, &size);
        assert!((10_000 * 8..20_000_000).contains(&small), "{given}: {small}");
        let most = Size {
            users: u64::MAX,
            items: u64::MAX,
            interactions: u64::MAX,
            texts: u64::MAX,
            features: u64::MAX,
            graph: u64::MAX,
            threads: u64::MAX,
        };
        assert!(memory_needed(&*algorithm, &most) == u64::MAX);
    }
}
