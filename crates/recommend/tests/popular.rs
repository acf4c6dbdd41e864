//! Popular items, also those of late.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use support::{load, train};
use teller_numeric::{Stream, Uninterrupted};
use teller_recommend::{Dataset, Error, IdRef, InteractionsBuilder, Request};

type Row = (i64, i64, f64);

fn timed(rows: &[Row]) -> Dataset {
    let mut builder = InteractionsBuilder::new(1 << 24);
    for &(user, item, time) in rows {
        builder.push_at(IdRef::Integer(user), IdRef::Integer(item), 1.0, time).unwrap();
    }
    builder.finish(&Uninterrupted).unwrap().into()
}

/// Each user's last time with each item counts.
fn counted(rows: &[Row], half_life: f64) -> BTreeMap<i64, f64> {
    let mut latest = BTreeMap::<(i64, i64), f64>::new();
    for &(user, item, time) in rows {
        let known = latest.entry((item, user)).or_insert(time);
        *known = known.max(time);
    }
    let last = rows.iter().map(|row| row.2).fold(f64::NEG_INFINITY, f64::max);
    let mut counts = BTreeMap::new();
    for ((item, _), time) in latest {
        *counts.entry(item).or_insert(0.0) += 0.5f64.powf((last - time) / half_life);
    }
    counts
}

proptest! {
    #[test]
    fn the_latest_users_count_most(
        rows in prop::collection::vec((0i64..9, 0i64..5, -400f64..400.0), 1..60),
        half_life in 1f64..200.0,
        seed in any::<u64>(),
    ) {
        let given = json!({"algorithm": "popular", "half_life": half_life, "validation": 0});
        let fitted = train(&given, &timed(&rows));
        let recommender = load(&fitted);
        let counts = counted(&rows, half_life);
        let known = recommender.user_index(IdRef::Integer(rows[0].0));
        for user in [None, known] {
            let request = Request { user, k: 9, candidates: None, include_seen: true };
            let all = recommender.recommend(&request, &Uninterrupted).unwrap();
            prop_assert_eq!(all.len(), counts.len());
            prop_assert!(all.is_sorted_by(|a, b| a.1 >= b.1));
            for (item, score) in all {
                let Some(IdRef::Integer(id)) = recommender.item_id(item) else { unreachable!() };
                prop_assert!((f64::from(score) - counts[&id]).abs() < 1e-5 * counts[&id].max(1e-3));
                let reasons = recommender.explain(user, item, &Uninterrupted).unwrap();
                prop_assert_eq!(reasons[0].contribution, score);
            }
        }
        let mut shuffled = rows.clone();
        Stream::new(seed, "test", 0).shuffle(&mut shuffled);
        let again = train(&given, &timed(&shuffled));
        for ((name, a), (_, b)) in fitted.parts.iter().zip(&again.parts) {
            prop_assert!(***a == ***b, "{}", name);
        }
    }
}

#[test]
fn a_hybrid_knows_what_its_member_does() {
    let rows: Vec<Row> =
        (0..40).map(|row| (row % 10, row * row % 7, f64::from(row as i32))).collect();
    let member = json!({"algorithm": "popular", "half_life": 2.0});
    let given = json!({"algorithm": "hybrid", "validation": 0, "members": [member]});
    let [alone, hybrid] = [&member, &given].map(|given| load(&train(given, &timed(&rows))));
    let request = Request { user: Some(0), k: 9, candidates: None, include_seen: true };
    let [alone, hybrid] = [alone, hybrid].map(|recommender| {
        let all = recommender.recommend(&request, &Uninterrupted).unwrap();
        all.into_iter().map(|(item, _)| item).collect::<Vec<u32>>()
    });
    assert_eq!(alone, hybrid);
}

#[test]
fn without_times_and_with_wrong_ones_it_says_so() {
    let mut builder = InteractionsBuilder::new(1 << 20);
    let infinite =
        builder.push_at(IdRef::Integer(1), IdRef::Integer(1), 1.0, f64::INFINITY).unwrap_err();
    assert!(matches!(infinite, Error::Time { row: 1 }), "{infinite}");
    builder.push(IdRef::Integer(1), IdRef::Integer(1), 1.0).unwrap();
    let untimed: Dataset = builder.finish(&Uninterrupted).unwrap().into();
    let given = json!({"algorithm": "popular", "half_life": 3, "validation": 0});
    let error = support::algorithm(&given).fit(&untimed, None, &Uninterrupted).unwrap_err();
    assert!(error.to_string().contains("\"time\""), "{error}");
}
