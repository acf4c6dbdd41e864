//! What every recommender that was stored must hold: folded in, from before, altered or forged.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod suite;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use suite::*;
use support::{Row, dataset, load, on_threads, parts, train};
use teller_numeric::{Stream, Uninterrupted};
use teller_payload::{AlignedBytes, Payload, PayloadWriter, SharedBytes};
use teller_recommend::*;

#[test]
fn altered_bytes_are_refused_and_forged_ones_survived() {
    let wide = dataset(uneven(30, 40, 200));
    let tall = dataset(uneven(40, 30, 200));
    let mut stream = Stream::new(5, "mutations", 0);
    let given = algorithms();
    let cases = given.iter().flat_map(|given| [(given, &wide), (given, &tall)]);
    let cases = cases.flat_map(|(given, data)| {
        let trained = train(given, data);
        let few = dataset(vec![(2, 2, 1.0), (77, 5, 2.0)]).interactions;
        // Folded in, the weights of `ease` tell whom they are of.
        let folded = (given["algorithm"] == "ease" && std::ptr::eq(data, &wide))
            .then(|| load(&trained).fold_in(&few, &Uninterrupted).unwrap());
        [Some(trained), folded].into_iter().flatten().map(|one| parts(&one))
    });
    for intact in cases {
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
        let Some(folded) = fold(&recommender, added.clone()) else {
            assert!(given.to_string().contains("popular"), "{given}");
            continue;
        };
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
            // Ratings are in no basket.
            let Some(expected) = ask_from(&folded, &basket, whole(0)) else {
                assert_eq!(given["algorithm"], "biased_mf");
                continue;
            };
            assert_eq!(bits(&ask(&folded, whole(user))), bits(&expected), "{given}");
            let mut distinct = basket.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(folded.seen(user), distinct);
            // Solved exactly, so nothing remains to be explained. Of some it is not the items.
            let by_items = !["content", "knowledge_graph", "hybrid"]
                .contains(&given["algorithm"].as_str().unwrap());
            for (item, _) in expected.into_iter().filter(|_| by_items) {
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

/// Their factors are to the bit those that a training with the same items gives whoever has them.
#[test]
fn folded_ratings_are_what_the_training_made_of_the_same() {
    let rows = uneven(60, 90, 900);
    let data = dataset(rows.clone());
    let recommender = load(&train(&json!({"algorithm": "biased_mf", "factors": 3}), &data));
    const LATER: i64 = 1_000_000;
    // Of each the same again under another id, some of it twice: the mean is the same.
    let ratings = data.interactions.ratings();
    let id = |user: usize| match data.interactions.users().get(user as u32) {
        Some(IdRef::Integer(id)) => id,
        other => panic!("{other:?}"),
    };
    let mut again = Vec::new();
    for user in 0..ratings.rows() {
        let (items, values) = ratings.row(user);
        for (&item, &rating) in items.iter().zip(values) {
            let Some(IdRef::Integer(item)) = data.interactions.items().get(item) else { panic!() };
            again.extend(vec![(LATER + id(user), item, rating); 1 + item as usize % 2]);
        }
    }
    let folded = fold(&recommender, again).unwrap();
    let numbers = |one: &Recommender, user| {
        let (factors, count) = one.user_factors().unwrap();
        let user = one.user_index(IdRef::Integer(user)).unwrap() as usize;
        factors[user * count..][..count].iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    for user in 0..ratings.rows() {
        let before = numbers(&recommender, id(user));
        assert_eq!(numbers(&folded, id(user)), before);
        assert_eq!(numbers(&folded, LATER + id(user)), before);
    }
    // Rated again, an item counts by the mean of both.
    let (user, item, _) = rows[0];
    let known = fold(&recommender, vec![(user, item, 5.0)]).unwrap();
    let (items, values) =
        ratings.row(recommender.user_index(IdRef::Integer(user)).unwrap() as usize);
    let all = items.iter().zip(values).map(|(&other, &rating)| {
        let Some(IdRef::Integer(other)) = data.interactions.items().get(other) else { panic!() };
        (LATER, other, if other == item { (rating + 5.0) / 2.0 } else { rating })
    });
    let new = fold(&recommender, all.collect()).unwrap();
    assert_eq!(numbers(&known, user), numbers(&new, LATER));
    assert_ne!(numbers(&known, user), numbers(&recommender, user));
}

/// Each member's similarities on one scale, by their weights, without those that know of none.
#[test]
fn what_is_similar_for_a_hybrid_is_the_sum_of_what_is_for_its_members() {
    let data = dataset(uneven(60, 90, 900));
    let members = [
        json!({"algorithm": "ease"}),
        json!({"algorithm": "popular"}),
        json!({"algorithm": "svd", "factors": 3, "seed": 42}),
        json!({"algorithm": "item_knn"}),
    ];
    let fitted = train(&json!({"algorithm": "hybrid", "validation": 0, "members": members}), &data);
    let weight = |member: usize| fitted.model["members"][member]["weight"].as_f64().unwrap();
    let hybrid = load(&fitted);
    let alone = members.each_ref().map(|given| load(&train(given, &data)));
    let items = hybrid.items().len();
    for item in 0..items as u32 {
        let mut expected = vec![0f64; items];
        for (member, one) in alone.iter().enumerate() {
            let Ok(similar) = one.similar_items(item, items, None, &Uninterrupted) else {
                continue;
            };
            let scores: Vec<f64> = similar.iter().map(|&(_, score)| f64::from(score)).collect();
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            let variance = scores.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            let deviation = (variance / scores.len() as f64).sqrt();
            for (&(other, _), score) in similar.iter().zip(scores) {
                expected[other as usize] += weight(member) * (score - mean) / deviation;
            }
        }
        let similar = hybrid.similar_items(item, items, None, &Uninterrupted).unwrap();
        assert_eq!(similar.len(), items - 1);
        for (other, score) in similar {
            let difference = f64::from(score) - expected[other as usize];
            assert!(difference.abs() < 1e-5, "{score} {difference}");
        }
    }
    let popular = json!({"algorithm": "hybrid", "validation": 0, "members": [members[1]]});
    let similar = load(&train(&popular, &data)).similar_items(0, 3, None, &Uninterrupted);
    assert!(matches!(similar, Err(Error::Unsupported(_))));
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

/// A knowledge graph as 0.4.0 stored it, with a weight of 1 for all that was had.
#[test]
fn graphs_from_before_still_serve_their_users() {
    let data = dataset(uneven(60, 90, 900));
    let parts = parts(&train(
        &json!({"algorithm": "knowledge_graph", "embedding": "propagation", "epochs": 20}),
        &data,
    ));
    let whole = Recommender::load(&parts).unwrap();
    let mut older = parts.clone();
    older.remove("fold_in");
    let payload = Payload::parse(parts["seen"].clone()).unwrap();
    let offsets = payload.get(payload.array::<u64>("offsets").unwrap().0);
    let items = payload.get(payload.array::<u32>("items").unwrap().0);
    let weights = vec![1f32; items.len()];
    let mut writer = PayloadWriter::new();
    writer.array("offsets", &[offsets.len()], offsets);
    writer.array("items", &[items.len()], items);
    writer.array("weights", &[weights.len()], &weights);
    older.insert("seen".to_owned(), Arc::new(writer.finish()));
    let older = Recommender::load(&older).unwrap();
    for user in 0..older.users().len() as u32 {
        let [before, now] = [&older, &whole].map(|one| bits(&ask(one, request(user, 20))));
        assert_eq!(before, now);
        let reasons = older.explain(Some(user), 1, &Uninterrupted);
        assert_eq!(reasons, whole.explain(Some(user), 1, &Uninterrupted));
    }
    let basket = older.recommend_from(&[1], &request(0, 3), &Uninterrupted);
    assert!(matches!(basket, Err(Error::Older(_))), "{basket:?}");
    let folded = older.fold_in(&data.interactions, &Uninterrupted);
    assert!(matches!(folded, Err(Error::Older(_))));
}

fn shared(bytes: &[u8]) -> SharedBytes {
    Arc::new(AlignedBytes::from(bytes))
}
