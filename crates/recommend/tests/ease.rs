//! The closed form of the shallow autoencoder, against the paper's in double precision.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use proptest::prelude::*;
use serde_json::json;
use support::{Row, dataset, load, train};
use teller_numeric::Uninterrupted;
use teller_recommend::{Because, Dataset, IdRef, IdsView, Request};

type Matrix = Vec<Vec<f64>>;

/// By Gauss and Jordan; the matrix is positive definite.
fn inverse(mut matrix: Matrix) -> Matrix {
    let n = matrix.len();
    for (i, row) in matrix.iter_mut().enumerate() {
        row.extend((0..n).map(|j| if i == j { 1.0 } else { 0.0 }));
    }
    for k in 0..n {
        let pivot = matrix[k][k];
        matrix[k].iter_mut().for_each(|x| *x /= pivot);
        let row = matrix[k].clone();
        for (_, other) in matrix.iter_mut().enumerate().filter(|&(i, _)| i != k) {
            let factor = other[k];
            other.iter_mut().zip(&row).for_each(|(x, y)| *x -= factor * y);
        }
    }
    matrix.into_iter().map(|row| row[n..].to_vec()).collect()
}

/// The weights between items as the paper's equation 8 is written.
fn weights(data: &Dataset, regularization: f64) -> Matrix {
    let m = data.interactions.items().len();
    let mut gram = vec![vec![0.0; m]; m];
    let by_user = data.interactions.by_user();
    for user in 0..by_user.rows() {
        let items = by_user.row(user).0;
        for &i in items {
            items.iter().for_each(|&j| gram[i as usize][j as usize] += 1.0);
        }
    }
    (0..m).for_each(|i| gram[i][i] += regularization);
    let p = inverse(gram);
    let weight = |i: usize, j: usize| if i == j { 0.0 } else { -p[i][j] / p[j][j] };
    (0..m).map(|i| (0..m).map(|j| weight(i, j)).collect()).collect()
}

fn rows(users: i64, items: i64) -> impl Strategy<Value = Vec<Row>> {
    let any = (0..users, 0..items, 0.5f32..9.0);
    let often = (0..3i64, 0..items, 0.5f32..9.0);
    prop::collection::vec(prop_oneof![4 => any, 1 => often], 1..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// By users and by items.
    #[test]
    fn scores_equal_the_closed_form(
        rows in prop_oneof![rows(30, 150), rows(150, 30), rows(200, 140)],
        regularization in prop_oneof![1f64..300.0, Just(1.0)],
    ) {
        let data = dataset(rows);
        let weights = weights(&data, regularization);
        let by_user = data.interactions.by_user();
        let given = json!({"algorithm": "ease", "regularization": regularization});
        let recommender = load(&train(&given, &data));
        for user in 0..by_user.rows() {
            let had = by_user.row(user).0;
            let request =
                Request { user: Some(user as u32), k: 999, candidates: None, include_seen: true };
            let scores = recommender.recommend(&request, &Uninterrupted).unwrap();
            prop_assert_eq!(scores.len(), weights.len());
            for (item, score) in scores {
                let expected: f64 =
                    had.iter().map(|&had| weights[had as usize][item as usize]).sum();
                prop_assert!((f64::from(score) - expected).abs() < 1e-4, "{score} {expected}");
                let one = Request { candidates: Some(&[item]), k: 1, ..request };
                let alone = recommender.recommend(&one, &Uninterrupted).unwrap()[0];
                prop_assert_eq!(alone.1.to_bits(), score.to_bits());
            }
        }
        // The weights stay those of the training when users come and change.
        let id = |ids: IdsView<'_>, index| match ids.get(index) {
            Some(IdRef::Integer(id)) => id,
            other => panic!("{other:?}"),
        };
        let (had, last) = (by_user.row(0).0, weights.len() as u32 - 1);
        let (known, last_id) = (id(recommender.users(), 0), id(recommender.items(), last));
        let own = had.iter().map(|&item| (1000, id(recommender.items(), item), 2.0));
        let added = dataset(own.chain([(known, last_id, 1.0), (-1, last_id, 1.0)]));
        let folded = load(&recommender.fold_in(&added.interactions, &Uninterrupted).unwrap());
        let mut more = had.to_vec();
        more.extend((!had.contains(&last)).then_some(last));
        for (user, had) in [(1000, had), (known, &more[..]), (-1, &[last])] {
            let user = folded.user_index(IdRef::Integer(user));
            let request = Request { user, k: 999, candidates: None, include_seen: true };
            for (item, score) in folded.recommend(&request, &Uninterrupted).unwrap() {
                let expected: f64 =
                    had.iter().map(|&had| weights[had as usize][item as usize]).sum();
                prop_assert!((f64::from(score) - expected).abs() < 1e-4, "{score} {expected}");
            }
        }
        for reason in recommender.explain(Some(0), 0, &Uninterrupted).unwrap() {
            let Because::Item(had) = reason.because else { panic!("{reason:?}") };
            let expected = weights[had as usize][0];
            prop_assert!((f64::from(reason.contribution) - expected).abs() < 1e-4);
        }
    }

    /// With all items as neighbors nothing is left out where all items are someone's together.
    #[test]
    fn blocks_of_all_items_are_exact(rows in rows(60, 25), regularization in 1f64..100.0) {
        let everything = (0..25).map(|item| (999, item, 1.0));
        let data = dataset(rows.into_iter().chain(everything));
        let weights = weights(&data, regularization);
        let given = json!({
            "algorithm": "ease", "regularization": regularization, "neighbors": 24,
        });
        let recommender = load(&train(&given, &data));
        for item in 0..25 {
            for (other, weight) in
                recommender.similar_items(item, 99, None, &Uninterrupted).unwrap()
            {
                let expected = weights[item as usize][other as usize];
                prop_assert!((f64::from(weight) - expected).abs() < 1e-4, "{weight} {expected}");
            }
        }
    }
}
