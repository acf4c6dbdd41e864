//! Truncated singular value decomposition of the weights, what is missing counting as 0
//! (PureSVD: Cremonesi, Koren and Turrin, RecSys 2010), by the randomized subspace iteration of
//! Halko, Martinsson and Tropp, "Finding Structure with Randomness", SIAM Review 2011,
//! algorithms 4.4 and 5.1.

use std::time::Instant;

use rayon::prelude::*;
use teller_numeric::{
    Cancelled, CheckpointBytes, Control, Moment, OptionError, Options, Step, Stream, eigen,
};
use teller_payload::{CheckpointError, SharedBytes, TrainingKey};

use super::weighting::Weighting;
use super::{Algorithm, Size};
use crate::csr::Csr;
use crate::dense::{cholesky, gram, gram_memory, multiply, upper_inverse};
use crate::fitted::{FittedFactors, Numbers};
use crate::fold_in::FoldIn;
use crate::vectors::axpy;
use crate::{Dataset, Error, FittedRecommender, index};

/// Grows whenever a training's numbers or the checkpoint's arrays change their meaning.
const REVISION: u32 = 1;
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

impl Algorithm for SvdParams {
    fn name(&self) -> &'static str {
        "svd"
    }

    fn step_noun(&self) -> &'static str {
        "iteration"
    }

    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    fn with_fewer_factors(&self, factors: usize) -> Option<Box<dyn Algorithm>> {
        (factors < self.factors)
            .then(|| -> Box<dyn Algorithm> { Box::new(Self { factors, ..self.clone() }) })
    }

    fn working_memory(&self, size: &Size) -> u64 {
        // Two tall matrices a side while one is turned into the next, and one in a checkpoint.
        let width = self.factors + self.oversampling;
        let longer = size.users.max(size.items);
        (size.matrix().saturating_mul(2))
            .saturating_add(size.numbers(width).saturating_mul(2))
            .saturating_add(longer.saturating_mul(4 * width as u64))
            .saturating_add(gram_memory(longer, width))
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        size.numbers(self.factors)
            .saturating_add(index::bytes_needed(size.items, self.factors as u64))
    }

    fn fit(
        &self,
        dataset: &Dataset,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        let data = &dataset.interactions;
        let key = TrainingKey::new(&format!("svd {REVISION} {self:?}"), data.digest(control)?);
        // Divided by the largest weight, no product overflows; the values are multiplied back.
        let mut by_user = self.weighting.apply(data.by_user()).into_owned();
        let scale = by_user.values.iter().copied().fold(0.0, f32::max);
        by_user.values.iter_mut().for_each(|value| *value /= scale);
        let total: f64 = by_user.values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let by_item = by_user.transpose(data.items().len(), control)?;
        let (n, m) = (by_user.rows(), by_item.rows());
        let factors = self.factors.min(n).min(m);
        let width = (factors + self.oversampling).min(n).min(m);

        let offer = |moment, subspace: &Subspace| {
            control.checkpoint(moment, &|| subspace.checkpoint(&key, width));
        };
        let mut subspace = match resume {
            Some(checkpoint) => {
                Subspace::read(&key, checkpoint, self.power_iterations, [n, m], width)?
            }
            None => {
                let start = random(self.seed, m, width, control)?;
                let tall = product(&by_user, &start, width, control)?;
                let start = Subspace { halves: 0, loss: 0.0, tall };
                offer(Moment::InsideStep, &start);
                start
            }
        };
        while subspace.halves < 2 * self.power_iterations {
            let begun = Instant::now();
            if subspace.is_of_users() {
                let users = orthonormal(std::mem::take(&mut subspace.tall), width, control)?;
                let items = product(&by_item, &users, width, control)?;
                drop(users);
                let squares = gram(&items, width, control)?;
                // The users' basis is orthonormal, so this is what its span explains.
                let explained = squares.iter().step_by(width + 1).sum::<f64>() / total;
                subspace.loss = (1.0 - explained).max(0.0);
                subspace.tall = orthonormal_by(squares, &items, width, control)?;
                subspace.halves += 1;
                offer(Moment::InsideStep, &subspace);
            }
            subspace.tall = product(&by_user, &subspace.tall, width, control)?;
            subspace.halves += 1;
            control.report(Step {
                step: subspace.halves / 2,
                of: self.power_iterations,
                loss: subspace.loss,
                validation: None,
                rows: data.len() as u64,
                elapsed: begun.elapsed(),
            });
            offer(Moment::EndOfStep, &subspace);
        }
        // Twice is enough: the second pass removes what rounding left of the first.
        let users = orthonormal(orthonormal(subspace.tall, width, control)?, width, control)?;
        let items = product(&by_item, &users, width, control)?;
        // With Q the users' subspace, A is about Q (A'Q)', and A'Q = W S V' by the eigenvectors of
        // its Gram matrix: the users' factors are Q V S, the items' A'Q V / S = W.
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
        let kept: f64 = values[..factors].iter().sum();
        let explained = (kept / total).clamp(0.0, 1.0);
        let factors = FittedFactors { count: factors, users, items };
        let metrics = [("loss", 1.0 - explained), ("factors", factors.count as f64)];
        let largest = singular(0).max(f64::MIN_POSITIVE);
        let relative: Vec<f32> =
            (0..factors.count).map(|i| (singular(i) / largest) as f32).collect();
        let fold_in = FoldIn::projection(&relative, self.weighting);
        let weights = self.weighting.apply(data.by_user()).values.clone();
        let numbers = Numbers::factors(factors, metrics, control)?;
        Ok(FittedRecommender::new(dataset, numbers.folding(fold_in, weights)))
    }
}

/// A training on its way.
struct Subspace {
    /// Products since the first, two an iteration: with the transpose, then with the matrix.
    halves: u32,
    /// Share of the squares that the users' last subspace left, 0 before the first.
    loss: f64,
    /// What the last product gave, of the users or of the items; that of the items orthonormal.
    tall: Vec<f32>,
}

impl Subspace {
    fn is_of_users(&self) -> bool {
        self.halves.is_multiple_of(2)
    }

    /// The whole state, or nothing if the memory is not to be had.
    fn checkpoint(&self, key: &TrainingKey, width: usize) -> Option<CheckpointBytes> {
        let position = [u64::from(self.halves), self.loss.to_bits()];
        let mut writer = key.writer();
        writer.array("position", &[2], &position);
        writer.array("subspace", &[self.tall.len() / width, width], &self.tall);
        Some(Box::new(writer.try_finish()?))
    }

    /// A checkpoint's, for a matrix of `n` users and `m` items.
    fn read(
        key: &TrainingKey,
        checkpoint: SharedBytes,
        iterations: u32,
        [n, m]: [usize; 2],
        width: usize,
    ) -> Result<Self, CheckpointError> {
        let payload = key.read(checkpoint)?;
        let position = payload.get(payload.array_of::<u64>("position", &[2])?);
        let (got, expected) = (position[0], 2 * u64::from(iterations));
        if got > expected {
            let what = "half iteration";
            return Err(CheckpointError::Position { what, got, expected });
        }
        let loss = f64::from_bits(position[1]);
        if !loss.is_finite() {
            return Err(CheckpointError::NotFinite("loss"));
        }
        let mut subspace = Self { halves: got as u32, loss, tall: Vec::new() };
        let rows = if subspace.is_of_users() { n } else { m };
        let tall = payload.array_of::<f32>("subspace", &[rows, width])?;
        subspace.tall.extend_from_slice(payload.get(tall));
        Ok(subspace)
    }
}

/// Standard normal numbers, each row from its own stream.
fn random(
    seed: u64,
    rows: usize,
    width: usize,
    control: &dyn Control,
) -> Result<Vec<f32>, Cancelled> {
    let mut numbers = vec![0f32; rows * width];
    numbers.par_chunks_mut(ROWS * width).enumerate().try_for_each(|(chunk, rows)| {
        control.check()?;
        for (i, row) in rows.chunks_exact_mut(width).enumerate() {
            let mut stream = Stream::new(seed, "svd", (chunk * ROWS + i) as u64);
            row.iter_mut().for_each(|x| *x = stream.normal() as f32);
        }
        Ok(())
    })?;
    Ok(numbers)
}

/// A sparse matrix times a tall one.
pub(crate) fn product(
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
    orthonormal_by(gram(&tall, width, control)?, &tall, width, control)
}

/// [`orthonormal`] of columns whose Gram matrix is known.
fn orthonormal_by(
    mut gram: Vec<f64>,
    tall: &[f32],
    width: usize,
    control: &dyn Control,
) -> Result<Vec<f32>, Cancelled> {
    cholesky(&mut gram, width);
    multiply(tall, width, &upper_inverse(&gram, width), width, control)
}

/// The first right singular vectors of a sparse matrix with so many columns, as columns of a
/// matrix, with the share of the matrix's squares that they explain, and how many they are: no more
/// than the matrix has rows or columns.
pub(crate) fn right_singular_vectors(
    matrix: &Csr,
    columns: usize,
    factors: usize,
    seed: u64,
    control: &dyn Control,
) -> Result<(Vec<f32>, f64, usize), Cancelled> {
    const OVERSAMPLING: usize = 16;
    const POWER_ITERATIONS: u32 = 8;
    let by_column = matrix.transpose(columns, control)?;
    let most = columns.min(matrix.rows());
    let (factors, width) = (factors.min(most), (factors + OVERSAMPLING).min(most));
    let mut basis = random(seed, columns, width, control)?;
    for _ in 0..=POWER_ITERATIONS {
        let tall = product(matrix, &basis, width, control)?;
        let tall = orthonormal(tall, width, control)?;
        basis = orthonormal(product(&by_column, &tall, width, control)?, width, control)?;
    }
    // Twice is enough: the second pass removes what rounding left of the first.
    basis = orthonormal(basis, width, control)?;
    let tall = product(matrix, &basis, width, control)?;
    let (values, vectors) = eigen(gram(&tall, width, control)?, width, control)?;
    let kept: Vec<f64> =
        vectors.chunks_exact(width).flat_map(|row| row[..factors].to_vec()).collect();
    let total: f64 = matrix.values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let explained = (values[..factors].iter().sum::<f64>() / total).clamp(0.0, 1.0);
    Ok((multiply(&basis, width, &kept, factors, control)?, explained, factors))
}
