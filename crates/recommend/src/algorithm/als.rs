//! Alternating least squares for implicit feedback.
//!
//! Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008,
//! with the conjugate-gradient solver of Takacs, Pilaszy and Tikk, "Applications of the
//! Conjugate Gradient Method for Implicit Feedback Collaborative Filtering", RecSys 2011.

use std::time::Instant;

use rayon::prelude::*;
use teller_numeric::{
    Cancelled, CheckpointBytes, Control, Moment, OptionError, Options, Step, Stream,
};
use teller_payload::{CheckpointError, SharedBytes, TrainingKey};

use super::least_squares::{Model, Side, Solved, solve};
use super::weighting::Weighting;
use super::{Algorithm, Size};
use crate::csr::Csr;
use crate::dense::{gram, gram_memory};
use crate::fitted::{FittedFactors, Numbers};
use crate::fold_in::FoldIn;
use crate::{Dataset, Error, FittedRecommender, index};
use teller_numeric::kernels::Aligned;

/// Grows whenever a training's numbers or the checkpoint's arrays change their meaning.
const REVISION: u32 = 2;

/// How the least squares of one user or item are solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solver {
    /// Three steps of conjugate gradients from the last sweep's factors.
    ConjugateGradient,
    /// To the end.
    Cholesky,
}

/// Parameters of alternating least squares. The defaults did best, or near it, on validation parts
/// of both Last.FM and MovieLens 100K.
#[derive(Clone, Debug, PartialEq)]
pub struct AlsParams {
    /// Numbers per user and item.
    pub factors: usize,
    /// Weight of the squared factors in the loss; `None` is [`usual_regularization`].
    pub regularization: Option<f32>,
    /// A weight that counts for `w` has the confidence `1 + alpha w`.
    pub alpha: f32,
    /// What a weight counts for.
    pub weighting: Weighting,
    /// Sweeps over users and items.
    pub iterations: u32,
    /// How each user and item is solved.
    pub solver: Solver,
    /// Of the starting factors.
    pub seed: u64,
}

impl AlsParams {
    /// Reads `factors`, `regularization`, `alpha`, `weighting`, `iterations`, `solver` and `seed`.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let solvers =
            [("conjugate_gradient", Solver::ConjugateGradient), ("cholesky", Solver::Cholesky)];
        Ok(Self {
            factors: options.integer("factors", 64, 1..=1024)? as usize,
            regularization: match options.value("regularization") {
                None => None,
                Some(_) => Some(options.number("regularization", 0.0, 0.0..=1e6)? as f32),
            },
            alpha: options.number("alpha", 10.0, 1e-6..=1e6)? as f32,
            weighting: Weighting::read(options)?,
            iterations: options.integer("iterations", 15, 1..=1000)? as u32,
            solver: options.choice("solver", &solvers)?,
            seed: options.integer("seed", 42, 0..=i64::MAX)? as u64,
        })
    }
}

impl Algorithm for AlsParams {
    fn name(&self) -> &'static str {
        "als"
    }

    fn step_noun(&self) -> &'static str {
        "sweep"
    }

    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    fn with_fewer_factors(&self, factors: usize) -> Option<Box<dyn Algorithm>> {
        (factors < self.factors)
            .then(|| -> Box<dyn Algorithm> { Box::new(Self { factors, ..self.clone() }) })
    }

    fn working_memory(&self, size: &Size) -> u64 {
        // Both matrices with weights as they count, the factors, those of one side times an
        // inverse, and the factors in a checkpoint.
        (size.matrix().saturating_mul(2))
            .saturating_add(size.numbers(self.factors).saturating_mul(3))
            .saturating_add(gram_memory(size.users.max(size.items), self.factors))
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
        let f = self.factors;
        let data = &dataset.interactions;
        let key = TrainingKey::new(&format!("als {REVISION} {self:?}"), data.digest(control)?);
        let by_user = &*self.weighting.apply(data.by_user());
        let by_item = by_user.transpose(data.items().len(), control)?;
        let (n, m) = (by_user.rows(), by_item.rows());
        let regularization =
            self.regularization.unwrap_or_else(|| usual_regularization(by_user, m, self.alpha));
        let confidence = confidence(by_user, self.alpha);
        let model = Model { regularization, alpha: self.alpha, f, solver: self.solver };
        let (mut position, mut users, mut items) = match resume {
            Some(checkpoint) => read_checkpoint(&key, checkpoint, self.iterations, [n, m], f)?,
            None => {
                let users = start(self, "als users", n, control)?;
                (Position::default(), users, start(self, "als items", m, control)?)
            }
        };
        let offer = |moment, position: Position, users: &[f32], items: &[f32]| {
            control.checkpoint(moment, &|| checkpoint(&key, position, users, items, f));
        };
        let mut items_gram = gram(&items, f, control)?;
        for step in position.sweeps + 1..=self.iterations {
            let begun = Instant::now();
            let solved = Solved { rows: position.rows, explained: 0.0 };
            let side = Side { interactions: by_user, fixed: &items, gram: &items_gram };
            let told = |Solved { rows, .. }, users: &[f32]| {
                offer(Moment::InsideStep, Position { rows, ..position }, users, &items);
            };
            solve(&model, &side, solved, &mut users, &told, control)?;
            let users_gram = gram(&users, f, control)?;
            let side = Side { interactions: &by_item, fixed: &users, gram: &users_gram };
            let told = |Solved { rows, explained }, items: &[f32]| {
                let position = Position { rows: n + rows, explained, ..position };
                offer(Moment::InsideStep, position, &users, items);
            };
            let rows = position.rows.saturating_sub(n);
            let solved = Solved { rows, explained: position.explained };
            let solved = solve(&model, &side, solved, &mut items, &told, control)?;
            items_gram = gram(&items, f, control)?;
            // What the items' equations minimize, and the users' part of the regularization.
            let norms: f64 = users_gram.iter().step_by(f + 1).sum();
            let loss = confidence - solved.explained + f64::from(regularization) * norms;
            let loss = loss / (confidence + ((n * m) as f64 - data.len() as f64));
            if !loss.is_finite() {
                return Err(Error::Diverged { algorithm: "als", step, loss });
            }
            control.report(Step {
                step,
                of: self.iterations,
                loss,
                validation: None,
                rows: data.len() as u64,
                elapsed: begun.elapsed(),
            });
            position = Position { sweeps: step, loss, ..Position::default() };
            offer(Moment::EndOfStep, position, &users, &items);
        }
        let (users, items) = (users.into_vec(), items.into_vec());
        let factors = FittedFactors { count: f, users, items };
        let metrics = [("loss", position.loss), ("regularization", f64::from(regularization))];
        let fold_in =
            FoldIn::least_squares(&items_gram, f, regularization, self.alpha, self.weighting);
        let numbers = Numbers::factors(factors, metrics, control)?;
        Ok(FittedRecommender::new(dataset, numbers.folding(fold_in, by_user.values.clone())))
    }
}

/// How far a training has come.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// Sweeps that are done.
    sweeps: u32,
    /// Rows that the sweep after those has solved: users, then items.
    rows: usize,
    /// After the last whole sweep.
    loss: f64,
    /// By those of the rows that are items.
    explained: f64,
}

/// The whole state, or nothing if the memory is not to be had.
fn checkpoint(
    key: &TrainingKey,
    position: Position,
    users: &[f32],
    items: &[f32],
    f: usize,
) -> Option<CheckpointBytes> {
    let Position { sweeps, rows, loss, explained } = position;
    let position = [u64::from(sweeps), rows as u64, loss.to_bits(), explained.to_bits()];
    let mut writer = key.writer();
    writer.array("position", &[4], &position);
    writer.array("users", &[users.len() / f, f], users);
    writer.array("items", &[items.len() / f, f], items);
    Some(Box::new(writer.try_finish()?))
}

/// Where a checkpoint was written, with the factors of users and items.
fn read_checkpoint(
    key: &TrainingKey,
    checkpoint: SharedBytes,
    iterations: u32,
    [n, m]: [usize; 2],
    f: usize,
) -> Result<(Position, Aligned, Aligned), CheckpointError> {
    let payload = key.read(checkpoint)?;
    let position = payload.get(payload.array_of::<u64>("position", &[4])?);
    let (sweeps, rows) = (position[0], position[1]);
    let [loss, explained] = [2, 3].map(|at| f64::from_bits(position[at]));
    for (what, got, expected) in
        [("sweep", sweeps, u64::from(iterations)), ("row", rows, (n + m) as u64)]
    {
        if got > expected {
            return Err(CheckpointError::Position { what, got, expected });
        }
    }
    if !(loss.is_finite() && explained.is_finite()) {
        return Err(CheckpointError::NotFinite("loss"));
    }
    let factors = |name, rows| -> Result<Aligned, CheckpointError> {
        let stored = payload.get(payload.array_of::<f32>(name, &[rows, f])?);
        let mut factors = Aligned::zeroed(stored.len());
        factors.copy_from_slice(stored);
        Ok(factors)
    };
    let position = Position { sweeps: sweeps as u32, rows: rows as usize, loss, explained };
    Ok((position, factors("users", n)?, factors("items", m)?))
}

/// The regularization for weights of any scale and data of any density: an eighth of the
/// confidence that a user's interactions have on average. It stays below a third of
/// sum / sqrt(users x items), as from about the whole of it on all factors shrink to nothing.
pub(crate) fn usual_regularization(by_user: &Csr, items: usize, alpha: f32) -> f32 {
    let sum = confidence(by_user, alpha);
    let (users, items) = (by_user.rows() as f64, items as f64);
    (sum / users / 8.0).min(sum / (users * items).sqrt() / 3.0) as f32
}

/// That of all interactions.
fn confidence(by_user: &Csr, alpha: f32) -> f64 {
    by_user.values.iter().map(|&weight| 1.0 + f64::from(extra_confidence(alpha, weight))).sum()
}

/// Small random factors, each row from its own stream.
fn start(
    params: &AlsParams,
    purpose: &str,
    rows: usize,
    control: &dyn Control,
) -> Result<Aligned, Cancelled> {
    const ROWS: usize = 256;
    let f = params.factors;
    let scale = 0.1 / (f as f32).sqrt();
    let mut factors = Aligned::zeroed(rows * f);
    factors.par_chunks_mut(ROWS * f).enumerate().try_for_each(|(chunk, rows)| {
        control.check()?;
        for (i, row) in rows.chunks_exact_mut(f).enumerate() {
            let mut stream = Stream::new(params.seed, purpose, (chunk * ROWS + i) as u64);
            row.iter_mut().for_each(|x| *x = (2.0 * stream.uniform() - 1.0) * scale);
        }
        Ok(())
    })?;
    Ok(factors)
}

/// The confidence of an interaction beyond that of none, kept in a range in which products of
/// single precision stay finite.
#[inline]
pub(crate) fn extra_confidence(alpha: f32, weight: f32) -> f32 {
    (alpha * weight).clamp(1e-12, 1e12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_are_checked() {
        let given = json!({"solver": "cholesky", "factors": 8});
        let mut options = Options::new("als", &given).unwrap();
        let params = AlsParams::read(&mut options).unwrap();
        options.finish().unwrap();
        assert_eq!((params.factors, params.solver), (8, Solver::Cholesky));
        assert_eq!(params.regularization, None);
        for given in [json!({"factors": 0}), json!({"alpha": 0}), json!({"solver": "lu"})] {
            assert!(AlsParams::read(&mut Options::new("als", &given).unwrap()).is_err());
        }
    }
}
