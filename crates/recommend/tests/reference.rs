//! The fast solvers against slow, readable ones in double precision.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::sync::Mutex;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Row, algorithm, dataset, on_threads, train};
use teller_numeric::{Cancelled, Control, Step};
use teller_recommend::Dataset;

type Matrix = Vec<Vec<f64>>;

fn dense(data: &Dataset) -> Matrix {
    let mut matrix =
        vec![vec![0.0; data.interactions.items().len()]; data.interactions.users().len()];
    for (user, row) in matrix.iter_mut().enumerate() {
        let (columns, values) = data.interactions.by_user().row(user);
        for (&item, &value) in columns.iter().zip(values) {
            row[item as usize] = f64::from(value);
        }
    }
    matrix
}

fn transposed(matrix: &Matrix) -> Matrix {
    (0..matrix[0].len()).map(|column| matrix.iter().map(|row| row[column]).collect()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The equations A x = b of one row in Hu, Koren and Volinsky's sweep, as their equation 4 is
/// written.
fn equations(row: &[f64], fixed: &Matrix, alpha: f64, regularization: f64) -> (Matrix, Vec<f64>) {
    let f = fixed[0].len();
    let mut a = vec![vec![0.0; f]; f];
    let mut b = vec![0.0; f];
    for (&weight, y) in row.iter().zip(fixed) {
        let confidence = 1.0 + alpha * weight;
        let preference = if weight > 0.0 { 1.0 } else { 0.0 };
        for i in 0..f {
            for j in 0..f {
                a[i][j] += confidence * y[i] * y[j];
            }
            b[i] += confidence * preference * y[i];
        }
    }
    (0..f).for_each(|i| a[i][i] += regularization);
    (a, b)
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn loss(weights: &Matrix, users: &Matrix, items: &Matrix, alpha: f64, regularization: f64) -> f64 {
    let (mut sum, mut confidences) = (0.0, 0.0);
    for (row, user) in weights.iter().zip(users) {
        for (&weight, item) in row.iter().zip(items) {
            let confidence = 1.0 + alpha * weight;
            let preference = if weight > 0.0 { 1.0 } else { 0.0 };
            sum += confidence * (preference - dot(user, item)).powi(2);
            confidences += confidence;
        }
    }
    let norms: f64 = users.iter().chain(items).map(|row| dot(row, row)).sum();
    (sum + regularization * norms) / confidences
}

fn factors(given: &Value, data: &Dataset, part: &str) -> Matrix {
    let recommender = support::load(&train(given, data));
    let (numbers, count) = match part {
        "user_factors" => recommender.user_factors().unwrap(),
        _ => recommender.item_factors().unwrap(),
    };
    numbers.chunks(count).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
}

#[derive(Default)]
struct Losses(Mutex<Vec<f64>>);

impl Control for Losses {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, step: Step) {
        self.0.lock().unwrap().push(step.loss);
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let any_row = (0i64..25, 0i64..30, 0.2f32..4.0);
    let heavy_user = (Just(0i64), 0i64..30, 0.2f32..4.0);
    prop::collection::vec(prop_oneof![3 => any_row, 1 => heavy_user], 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The items are solved last, so they solve the paper's equations with the users' factors, by
    /// whichever way each row went; and the loss is the one that is written in the paper.
    #[test]
    fn als_solves_the_equations_of_the_paper(
        rows in rows(),
        factors_count in 1usize..40,
        regularization in 0.05f64..5.0,
        alpha in 0.1f64..20.0,
    ) {
        let data = dataset(rows);
        let given = json!({
            "algorithm": "als", "solver": "cholesky", "factors": factors_count, "iterations": 2,
            "regularization": regularization, "alpha": alpha, "weighting": "linear",
        });
        let users = factors(&given, &data, "user_factors");
        let items = factors(&given, &data, "item_factors");
        let weights = dense(&data);
        for (row, item) in transposed(&weights).iter().zip(&items) {
            let (a, b) = equations(row, &users, alpha, regularization);
            let residual: Vec<f64> =
                a.iter().zip(&b).map(|(a, b)| dot(a, item) - b).collect();
            let size = norm(&a.concat()) * norm(item) + norm(&b);
            prop_assert!(norm(&residual) <= 1e-5 * size, "{} of {size}", norm(&residual));
        }
        let listener = Losses::default();
        on_threads(1, || algorithm(&given).fit(&data, None, &listener).unwrap());
        let reported = *listener.0.lock().unwrap().last().unwrap();
        let expected = loss(&weights, &users, &items, alpha, regularization);
        prop_assert!((reported - expected).abs() <= 1e-4 * expected, "{reported} {expected}");
    }

    #[test]
    fn conjugate_gradients_lower_the_loss_to_that_of_cholesky(rows in rows()) {
        let data = dataset(rows);
        let losses = |solver: &str| {
            let given = json!({
                "algorithm": "als", "solver": solver, "factors": 12, "iterations": 30,
                "regularization": 1.0, "alpha": 5.0,
            });
            let listener = Losses::default();
            on_threads(2, || algorithm(&given).fit(&data, None, &listener).unwrap());
            listener.0.into_inner().unwrap()
        };
        let (approximate, exact) = (losses("conjugate_gradient"), losses("cholesky"));
        for pair in approximate.windows(2).chain(exact.windows(2)) {
            prop_assert!(pair[1] <= pair[0] * (1.0 + 1e-5), "{pair:?}");
        }
        let (approximate, exact) = (approximate[29], exact[29]);
        prop_assert!(approximate <= exact * 1.02, "{approximate} {exact}");
    }

    /// Among all approximations of the rank, that of the largest singular values is the nearest:
    /// the residual equals what the reference's eigenvalues leave.
    #[test]
    fn svd_is_the_best_approximation(rows in rows(), rank in 1usize..8) {
        let data = dataset(rows);
        let given = json!({"algorithm": "svd", "factors": rank, "weighting": "linear"});
        let users = factors(&given, &data, "user_factors");
        let items = factors(&given, &data, "item_factors");
        let weights = dense(&data);
        let residual: f64 = weights
            .iter()
            .zip(&users)
            .flat_map(|(row, user)| row.iter().zip(&items).map(move |(w, item)| w - dot(user, item)))
            .map(|error| error * error)
            .sum();
        let values = squared_singular_values(&weights);
        let least: f64 = values.iter().skip(rank).sum();
        let total: f64 = values.iter().sum();
        prop_assert!((residual - least).abs() <= 1e-5 * total, "{residual} {least} of {total}");
        let kept = rank.min(weights.len()).min(weights[0].len());
        prop_assert_eq!(items[0].len(), kept);
        for (i, a) in transposed(&items).iter().enumerate() {
            for (j, b) in transposed(&items).iter().enumerate().take(i) {
                prop_assert!(dot(a, b).abs() < 1e-4, "item factors {i} and {j} are not orthogonal");
            }
            let norm = dot(a, a);
            prop_assert!((norm - 1.0).abs() < 1e-4 || values[i] <= 1e-9 * total, "{norm}");
        }
    }
}

/// Eigenvalues of W W', greatest first, by power iteration with deflation.
fn squared_singular_values(weights: &Matrix) -> Vec<f64> {
    let n = weights.len();
    let mut gram: Matrix =
        weights.iter().map(|a| weights.iter().map(|b| dot(a, b)).collect()).collect();
    let mut values = Vec::new();
    for round in 0..n {
        let mut vector: Vec<f64> = (0..n).map(|i| 1.0 + ((i * 7 + round) % 5) as f64).collect();
        let mut value = 0.0;
        for _ in 0..3000 {
            let next: Vec<f64> = gram.iter().map(|row| dot(row, &vector)).collect();
            let norm = dot(&next, &next).sqrt();
            if norm < 1e-12 {
                value = 0.0;
                break;
            }
            vector = next.iter().map(|x| x / norm).collect();
            value = norm;
        }
        for i in 0..n {
            for j in 0..n {
                gram[i][j] -= value * vector[i] * vector[j];
            }
        }
        values.push(value);
    }
    values.sort_by(|a, b| b.total_cmp(a));
    values
}
