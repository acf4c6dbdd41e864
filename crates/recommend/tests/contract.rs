//! What every recommender must hold, whatever its algorithm.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod suite;
mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use suite::*;
use support::{algorithm, dataset, described, load, on_threads, train};
use teller_numeric::{Cancelled, Stream, Uninterrupted};
use teller_recommend::{
    Because, Error, IdRef, InteractionsBuilder, Place, Request, Size, evaluate, memory_needed,
};

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
        if !["popular", "ease", "knowledge_graph"].contains(&given["algorithm"].as_str().unwrap()) {
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
    // Of triples they are probabilities, which are looked at below.
    for given in algorithms().into_iter().filter(|given| !learns_triples(given)) {
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

/// Whether its reasons are probabilities, which do not add up to a score.
fn learns_triples(given: &Value) -> bool {
    given.get("embedding").is_some_and(|name| name != "propagation")
}

#[test]
fn reasons_of_triples_are_probabilities_of_paths() {
    let data = dataset(uneven(60, 90, 900));
    let logit = |chance: f32| (chance / (1.0 - chance)).ln();
    for given in algorithms().into_iter().filter(learns_triples) {
        let recommender = load(&train(&given, &data));
        let mut paths = 0;
        for user in 0..recommender.users().len() as u32 {
            for (item, score) in ask(&recommender, request(user, 5)) {
                let reasons = recommender.explain(Some(user), item, &Uninterrupted).unwrap();
                assert!(reasons.is_sorted_by(|a, b| a.contribution >= b.contribution));
                for reason in reasons {
                    assert!((0.0..=1.0).contains(&reason.contribution), "{given} {reason:?}");
                    match reason.because {
                        Because::Path(path) => {
                            let Place::Item(had) = path[0] else { panic!("{path:?}") };
                            assert!(recommender.seen(user).contains(&had));
                            paths += 1;
                        }
                        Because::Text(text) => {
                            assert_eq!(text, "who took it");
                            let off = (logit(reason.contribution) - score).abs();
                            assert!(off < 1e-3 * (1.0 + score.abs()), "{given} {score}");
                        }
                        Because::Item(had) => panic!("{had}"),
                    }
                }
            }
        }
        assert!(paths > 1000, "{given}: {paths}");
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
            vocabulary: u64::MAX,
            graph: u64::MAX,
            triples: u64::MAX,
            entities: u64::MAX,
            threads: u64::MAX,
        };
        assert!(memory_needed(&*algorithm, &most) == u64::MAX);
    }
}
