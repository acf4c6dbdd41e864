//! The best of some items against a sort of all.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod suite;
mod support;

use proptest::prelude::*;
use serde_json::json;
use suite::*;
use support::{dataset, load, train};
use teller_numeric::Stream;
use teller_recommend::{Recommender, Request};

/// The candidates among all items as they are ranked, each once, without what is not wanted.
fn reference(
    ranked: &[(u32, f32)],
    candidates: &[u32],
    excluded: &[u32],
    k: usize,
) -> Vec<(u32, u32)> {
    let mut wanted = vec![false; ranked.len()];
    for &item in candidates.iter().filter(|&&item| (item as usize) < ranked.len()) {
        wanted[item as usize] = excluded.binary_search(&item).is_err();
    }
    let best: Vec<(u32, f32)> =
        ranked.iter().filter(|&&(item, _)| wanted[item as usize]).copied().collect();
    bits(&best[..k.min(best.len())])
}

fn all(recommender: &Recommender, user: u32) -> Vec<(u32, f32)> {
    ask(recommender, Request { include_seen: true, ..request(user, usize::MAX) })
}

/// Out of order, some of them twice, some that do not exist.
fn some(items: usize, count: usize, stream: &mut Stream) -> Vec<u32> {
    let mut candidates: Vec<u32> = (0..items as u32).collect();
    stream.shuffle(&mut candidates);
    candidates.truncate(count);
    let count = candidates.len();
    let twice = stream.below(count as u32 + 1) as usize;
    candidates.extend_from_within(..twice);
    candidates.extend([items as u32, u32::MAX]);
    candidates
}

/// Of so many items that blocks, the index and its own limits all come in.
#[test]
fn among_ten_to_a_hundred_thousand_items() {
    const ITEMS: u32 = 120_000;
    let mut stream = Stream::new(8, "candidates", 0);
    let taken = (0..ITEMS).map(|item| (i64::from(stream.below(500)), i64::from(item), 1.0));
    let data = dataset(taken.collect::<Vec<_>>());
    let given = json!({"algorithm": "als", "factors": 8, "iterations": 1});
    let recommender = load(&train(&given, &data));
    let (users, count) = recommender.user_factors().unwrap();
    let (items, _) = recommender.item_factors().unwrap();
    for (user, sizes) in [(0, [10, 1_000]), (1, [1_000, 100_000]), (2, [10, 100_000])] {
        let ranked = all(&recommender, user);
        assert_eq!(ranked.len(), ITEMS as usize);
        assert!(ranked.is_sorted_by(|a, b| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)));
        let factors = &users[user as usize * count..][..count];
        for &(item, score) in &ranked {
            let products = factors.iter().zip(&items[item as usize * count..][..count]);
            let product: f64 = products.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            assert!((f64::from(score) - product).abs() < 1e-5);
        }
        for size in sizes {
            let candidates = some(ITEMS as usize, size, &mut stream);
            for (k, include_seen) in [(1, false), (10, false), (10, true), (200, false)] {
                let seen = if include_seen { &[][..] } else { recommender.seen(user) };
                let among = Some(&candidates[..]);
                let request = Request { candidates: among, include_seen, ..request(user, k) };
                let expected = reference(&ranked, &candidates, seen, k);
                assert_eq!(bits(&ask(&recommender, request)), expected, "{size} {k}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn of_every_algorithm(seed in any::<u64>(), size in prop_oneof![0usize..90, 0usize..6]) {
        let mut stream = Stream::new(seed, "candidates", 0);
        let data = dataset(uneven(60, 90, 900));
        for given in algorithms().into_iter().filter(|given| given["algorithm"] != "knowledge_graph") {
            let recommender = load(&train(&given, &data));
            for user in 0..recommender.users().len() as u32 {
                let ranked = all(&recommender, user);
                let candidates = some(ranked.len(), size, &mut stream);
                let k = stream.below(20) as usize;
                let request = Request { candidates: Some(&candidates), ..request(user, k) };
                let expected = reference(&ranked, &candidates, recommender.seen(user), k);
                prop_assert_eq!(bits(&ask(&recommender, request)), expected, "{}", given);
            }
        }
    }
}
