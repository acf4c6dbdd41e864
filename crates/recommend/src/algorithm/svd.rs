//! Truncated singular value decomposition of the weights, what is missing counting as 0
//! (PureSVD: Cremonesi, Koren and Turrin, RecSys 2010), by the randomized subspace iteration of
//! Halko, Martinsson and Tropp, "Finding Structure with Randomness", SIAM Review 2011,
//! algorithms 4.4 and 5.1.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, OptionError, Options, Stream};

use super::weighting::Weighting;
use crate::csr::Csr;
use crate::dense::{cholesky, eigen, gram, multiply, upper_inverse};
use crate::fitted::FittedFactors;
use crate::vectors::axpy;
use crate::{Error, FittedRecommender, Interactions};

const ROWS: usize = 64;

/// Parameters of the truncated singular value decomposition.
#[derive(Clone, Debug, PartialEq)]
pub struct SvdParams {
    /// Singular values that are kept; no more than there are users or items.
    pub factors: usize,
    /// Multiplications by the matrix and its transpose that sharpen the subspace.
    pub power_iterations: u32,
    /// Random directions beyond the factors.
    pub oversampling: usize,
    /// What a weight counts for.
    pub weighting: Weighting,
    /// Of the random directions.
    pub seed: u64,
}

impl SvdParams {
    /// Reads `factors`, `power_iterations`, `oversampling`, `weighting` and `seed`.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        Ok(Self {
            factors: options.integer("factors", 16, 1..=1024)? as usize,
            power_iterations: options.integer("power_iterations", 20, 0..=100)? as u32,
            oversampling: options.integer("oversampling", 16, 0..=256)? as usize,
            weighting: Weighting::read(options)?,
            seed: options.integer("seed", 42, 0..=i64::MAX)? as u64,
        })
    }
}

pub(crate) fn fit(
    params: &SvdParams,
    data: &Interactions,
    control: &dyn Control,
) -> Result<FittedRecommender, Error> {
    // Divided by the largest weight, no product overflows; the values are multiplied back.
    let mut by_user = params.weighting.apply(data.by_user()).into_owned();
    let scale = by_user.values.iter().copied().fold(0.0, f32::max);
    by_user.values.iter_mut().for_each(|value| *value /= scale);
    let by_item = by_user.transpose(data.items().len(), control)?;
    let (n, m) = (by_user.rows(), by_item.rows());
    let factors = params.factors.min(n).min(m);
    let width = (factors + params.oversampling).min(n).min(m);

    let mut users = product(&by_user, &random(params, m, width, control)?, width, control)?;
    for _ in 0..params.power_iterations {
        users = orthonormal(users, width, control)?;
        let items = orthonormal(product(&by_item, &users, width, control)?, width, control)?;
        users = product(&by_user, &items, width, control)?;
    }
    // Twice is enough: the second pass removes what rounding left of the first.
    users = orthonormal(orthonormal(users, width, control)?, width, control)?;
    let items = product(&by_item, &users, width, control)?;
    // With Q the users' subspace, A is about Q (A'Q)', and A'Q = W S V' by the eigenvectors of its
    // Gram matrix: the users' factors are Q V S, the items' A'Q V / S = W.
    let (values, vectors) = eigen(gram(&items, width, control)?, width, control)?;
    let singular = |i: usize| values[i].max(0.0).sqrt();
    let turn = |scale_by: &dyn Fn(f64) -> f64| -> Vec<f64> {
        (0..width * factors)
            .map(|at| {
                let (row, column) = (at / factors, at % factors);
                vectors[row * width + column] * scale_by(singular(column))
            })
            .collect()
    };
    let scale = f64::from(scale);
    let users = multiply(&users, width, &turn(&|value| value * scale), factors, control)?;
    let least = singular(0) * 1e-6;
    let inverse = |value: f64| if value > least { 1.0 / value } else { 0.0 };
    let items = multiply(&items, width, &turn(&inverse), factors, control)?;
    if !users.iter().chain(&items).all(|x| x.is_finite()) {
        return Err(Error::Diverged { algorithm: "svd", step: 1, loss: f64::INFINITY });
    }
    // What the kept values leave of the sum of squares: the squared error of the approximation.
    let total: f64 = by_user.values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let kept: f64 = values[..factors].iter().sum();
    let explained = (kept / total).clamp(0.0, 1.0);
    let factors = FittedFactors { count: factors, users, items };
    let metrics = [("loss", 1.0 - explained), ("factors", factors.count as f64)];
    Ok(FittedRecommender::new(data, Some(factors), metrics))
}

/// Standard normal numbers, each row from its own stream.
fn random(
    params: &SvdParams,
    rows: usize,
    width: usize,
    control: &dyn Control,
) -> Result<Vec<f32>, Cancelled> {
    let mut numbers = vec![0f32; rows * width];
    numbers.par_chunks_mut(ROWS * width).enumerate().try_for_each(|(chunk, rows)| {
        control.check()?;
        for (i, row) in rows.chunks_exact_mut(width).enumerate() {
            let mut stream = Stream::new(params.seed, "svd", (chunk * ROWS + i) as u64);
            row.iter_mut().for_each(|x| *x = stream.normal() as f32);
        }
        Ok(())
    })?;
    Ok(numbers)
}

/// A sparse matrix times a tall one.
fn product(
    matrix: &Csr,
    tall: &[f32],
    width: usize,
    control: &dyn Control,
) -> Result<Vec<f32>, Cancelled> {
    const POLL: usize = 1 << 13;
    let mut out = vec![0f32; matrix.rows() * width];
    out.par_chunks_mut(ROWS * width).enumerate().try_for_each(|(chunk, out)| {
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let (columns, values) = matrix.row(chunk * ROWS + i);
            for (columns, values) in columns.chunks(POLL).zip(values.chunks(POLL)) {
                control.check()?;
                for (&column, &value) in columns.iter().zip(values) {
                    axpy(value, &tall[column as usize * width..][..width], out);
                }
            }
        }
        Ok(())
    })?;
    Ok(out)
}

/// An orthonormal basis of the columns' span, by the Cholesky factor of the Gram matrix; columns
/// that depend on others become zero.
fn orthonormal(tall: Vec<f32>, width: usize, control: &dyn Control) -> Result<Vec<f32>, Cancelled> {
    let mut upper = gram(&tall, width, control)?;
    cholesky(&mut upper, width);
    multiply(&tall, width, &upper_inverse(&upper, width), width, control)
}
