//! Matrix factorization of explicit ratings with biases: a rating is the mean, what the user and the
//! item add to it, and the product of their factors. Variational Bayes (Lim and Teh, "Variational
//! Bayesian Approach to Movie Rating Prediction", KDD Cup 2007), here with the biases among the
//! factors: alternating least squares that know how sure they are of each factor, so that the
//! regularization of each follows from the data and need not be given. Where they end depends on where
//! they start, so that several start, and the mean of what they predict counts: on MovieLens 100K the
//! mean of four is nearer by 0.5 % than one.
//!
//! A row of a side has z = [bias, factors]. Known of it are E[z] and E[zz'], from which, for each row
//! of the other side, A = prior + sum E[hh'] / noise and b = sum E[h (r - bias)] / noise with
//! h = [1, factors]; that row then has the covariance A^-1 and the mean A^-1 b.

mod rows;
mod users;

use std::time::Instant;

use rayon::prelude::*;
use teller_numeric::{
    Cancelled, CheckpointBytes, Control, Moment, OptionError, Options, Step, Stream,
};
use teller_payload::{CheckpointError, PayloadWriter, SharedBytes, TrainingKey};

use super::{Algorithm, Size};
use crate::csr::Csr;
use crate::fitted::{FittedFactors, Numbers};
use crate::{Dataset, Error, FittedRecommender, index};
use rows::{Given, ROWS, Shape, solve};
use users::{Items, Place, Scale, Start};

pub(crate) use users::StoredItems;

/// Grows whenever a training's numbers or the checkpoint's arrays change their meaning.
const REVISION: u32 = 1;
/// Variances of the noise and of the priors stay above this part of that of the ratings.
const LEAST_VARIANCE: f64 = 1e-6;

/// The checkpoint's arrays of the starts' items.
const NAMES: [&str; 16] = [
    "items 1", "items 2", "items 3", "items 4", "items 5", "items 6", "items 7", "items 8",
    "items 9", "items 10", "items 11", "items 12", "items 13", "items 14", "items 15", "items 16",
];

/// Parameters of the factorization of ratings.
#[derive(Clone, Debug, PartialEq)]
pub struct BiasedMfParams {
    /// Numbers per user and item, beside the biases.
    pub factors: usize,
    /// Factorizations, each with its own start.
    pub starts: usize,
    /// Sweeps over users and items.
    pub iterations: u32,
    /// Of the starting factors.
    pub seed: u64,
}

impl BiasedMfParams {
    /// Reads `factors`, `starts`, `iterations` and `seed`.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        Ok(Self {
            factors: options.integer("factors", 8, 1..=256)? as usize,
            starts: options.integer("starts", 4, 1..=NAMES.len() as i64)? as usize,
            iterations: options.integer("iterations", 15, 1..=1000)? as u32,
            seed: options.integer("seed", 42, 0..=i64::MAX)? as u64,
        })
    }

    fn shape(&self) -> Shape {
        Shape { width: self.factors + 1 }
    }

    /// Bytes of what all starts know of the items.
    fn known_of_items(&self, size: &Size) -> u64 {
        let each = self.shape().len() as u64;
        size.items.saturating_mul(4 * each).saturating_mul(self.starts as u64)
    }

    /// Numbers of a user or item as they are stored: the factors of all starts, and two for the
    /// biases.
    fn count(&self) -> usize {
        self.starts * self.factors + 2
    }
}

impl Algorithm for BiasedMfParams {
    fn name(&self) -> &'static str {
        "biased_mf"
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
        let each = self.shape().len() as u64;
        // Both matrices of ratings, what is known of users and, of each start and once more in a
        // checkpoint or in what is stored, of items, and the factors with what is stored of them.
        (size.matrix().saturating_mul(2))
            .saturating_add(size.users.saturating_mul(4 * each))
            .saturating_add(self.known_of_items(size))
            .saturating_add(size.numbers(self.count()))
            .saturating_add(self.stored_memory(size))
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        let count = self.count();
        (size.numbers(count).saturating_add(index::bytes_needed(size.items, count as u64)))
            .saturating_add(self.known_of_items(size))
    }

    fn fit(
        &self,
        dataset: &Dataset,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        let data = &dataset.interactions;
        let key =
            TrainingKey::new(&format!("biased_mf {REVISION} {self:?}"), data.digest(control)?);
        let ratings = data.ratings();
        let scale = Scale::of(&ratings.values);
        let mut by_user = (*ratings).clone();
        by_user.values.iter_mut().for_each(|rating| *rating = scale.standard(*rating));
        let by_item = by_user.transpose(data.items().len(), control)?;
        let shape = self.shape();
        let (mut sweeps, mut members) = match resume {
            Some(checkpoint) => read_checkpoint(&key, checkpoint, self, by_item.rows())?,
            None => {
                let start = |member| Member::start(self, member, by_item.rows());
                (0, (0..self.starts).map(start).collect())
            }
        };
        let mut users = vec![0f32; by_user.rows() * shape.len()];
        let loss = |members: &[Member]| {
            let noise: f64 = members.iter().map(|member| member.noise).sum();
            noise / members.len() as f64 * scale.deviation * scale.deviation
        };
        while sweeps < self.iterations {
            let begun = Instant::now();
            for member in &mut members {
                member.sweep(shape, &by_user, &by_item, &mut users, control)?;
            }
            sweeps += 1;
            let (step, loss) = (sweeps, loss(&members));
            if !loss.is_finite() {
                return Err(Error::Diverged { algorithm: "biased_mf", step, loss });
            }
            control.report(Step {
                step,
                of: self.iterations,
                loss,
                validation: None,
                rows: data.len() as u64,
                elapsed: begun.elapsed(),
            });
            control.checkpoint(Moment::EndOfStep, &|| checkpoint(&key, sweeps, &members, shape));
        }
        // Of use only to sweeps.
        drop((users, by_item));
        let count = self.count();
        let mut factors = FittedFactors {
            count,
            users: vec![0f32; by_user.rows() * count],
            items: vec![0f32; data.items().len() * count],
        };
        let start = |member| Start { given: Member::of_users(member), items: &member.items };
        let items = Items { shape, scale, starts: members.iter().map(start).collect() };
        factors.users.par_chunks_mut(ROWS * count).enumerate().try_for_each(|(chunk, users)| {
            control.check()?;
            for (i, user) in users.chunks_exact_mut(count).enumerate() {
                user.copy_from_slice(&items.user(by_user.row(chunk * ROWS + i), control)?);
            }
            Ok::<_, Cancelled>(())
        })?;
        for (at, member) in members.iter().enumerate() {
            let place = Place { member: at, of: self.starts, count };
            scale.put(shape, &member.items, place, count - 1, &mut factors.items);
        }
        factors.items.chunks_exact_mut(count).for_each(|row| row[count - 2] = 1.0);
        let loss = loss(&members);
        if !factors.users.iter().chain(&factors.items).all(|x| x.is_finite()) {
            let step = self.iterations;
            return Err(Error::Diverged { algorithm: "biased_mf", step, loss: f64::INFINITY });
        }
        let mut numbers = Numbers::factors(factors, [("loss", loss)], control)?;
        let range = ratings.values.iter();
        let range = range.fold([f32::INFINITY, 0.0], |[low, high], &x| [low.min(x), high.max(x)]);
        let (mean, variances) = ([scale.mean as f32], items.variances());
        let in_double = [scale.mean, scale.deviation];
        let mut writer = PayloadWriter::new();
        writer.array("mean", &[1], &mean);
        writer.array("range", &[2], &range);
        StoredItems::write(&items, (&variances, &in_double), &mut writer);
        numbers.parts.push(("ratings", writer.finish()));
        numbers.weights = Some(ratings.values.clone());
        numbers.metrics.push(("mean_rating", scale.mean));
        Ok(FittedRecommender::new(dataset, numbers))
    }
}

/// One of the factorizations on its way.
struct Member {
    /// Variance of the noise.
    noise: f64,
    /// Variances of the priors of users and of items.
    priors: [Vec<f64>; 2],
    /// What is known of the items; of the users it follows from that.
    items: Vec<f32>,
}

impl Member {
    fn start(params: &BiasedMfParams, member: usize, items: usize) -> Self {
        /// Of each starting factor.
        const VARIANCE: f32 = 0.01;
        let shape = params.shape();
        let mut known = vec![0f32; items * shape.len()];
        known.par_chunks_exact_mut(shape.len()).enumerate().for_each(|(item, row)| {
            let index = (member as u64) << 32 | item as u64;
            let mut stream = Stream::new(params.seed, "biased_mf", index);
            let factors = &mut row[1..shape.width];
            factors.iter_mut().for_each(|x| *x = stream.normal() as f32 * VARIANCE.sqrt());
            for i in 0..shape.width {
                row[shape.square(i, i)] = VARIANCE;
                for j in i..shape.width {
                    row[shape.square(i, j)] += row[i] * row[j];
                }
            }
        });
        let priors = |bias: f64, factors: f64| {
            std::iter::once(bias).chain(std::iter::repeat_n(factors, params.factors)).collect()
        };
        let priors = [priors(0.2, 1.0), priors(0.3, 1.0 / params.factors as f64)];
        Self { noise: 0.7, priors, items: known }
    }

    fn of_users(&self) -> Given<'_> {
        Given { priors: &self.priors[0], noise: self.noise }
    }

    /// Solves the users, then the items, and how far off they are.
    fn sweep(
        &mut self,
        shape: Shape,
        by_user: &Csr,
        by_item: &Csr,
        users: &mut [f32],
        control: &dyn Control,
    ) -> Result<(), Cancelled> {
        let ratings = by_user.columns.len() as f64;
        let solved = solve(shape, by_user, &self.items, self.of_users(), users, control)?;
        self.noise = (solved.error / ratings).max(LEAST_VARIANCE);
        let of_items = Given { priors: &self.priors[1], noise: self.noise };
        let items = solve(shape, by_item, users, of_items, &mut self.items, control)?;
        self.noise = (items.error / ratings).max(LEAST_VARIANCE);
        let rows = [by_user.rows(), by_item.rows()];
        for ((priors, sums), rows) in self.priors.iter_mut().zip([solved, items]).zip(rows) {
            for (prior, sum) in priors.iter_mut().zip(sums.squares) {
                *prior = (sum / rows as f64).max(LEAST_VARIANCE);
            }
        }
        Ok(())
    }
}

/// The whole state, or nothing if the memory is not to be had.
fn checkpoint(
    key: &TrainingKey,
    sweeps: u32,
    members: &[Member],
    shape: Shape,
) -> Option<CheckpointBytes> {
    let position = [u64::from(sweeps)];
    let of_member = |member: &Member| -> Vec<u64> {
        let variances = member.priors.iter().flatten().chain([&member.noise]);
        variances.map(|variance| variance.to_bits()).collect()
    };
    let variances: Vec<u64> = members.iter().flat_map(of_member).collect();
    let mut writer = key.writer();
    writer.array("position", &[1], &position);
    writer.array("variances", &[members.len(), 2 * shape.width + 1], &variances);
    for (name, member) in NAMES.iter().zip(members) {
        writer.array(name, &[member.items.len() / shape.len(), shape.len()], &member.items);
    }
    Some(Box::new(writer.try_finish()?))
}

/// What a checkpoint's training had done, of so many items.
fn read_checkpoint(
    key: &TrainingKey,
    checkpoint: SharedBytes,
    params: &BiasedMfParams,
    items: usize,
) -> Result<(u32, Vec<Member>), CheckpointError> {
    let shape = params.shape();
    let payload = key.read(checkpoint)?;
    let got = payload.get(payload.array_of::<u64>("position", &[1])?)[0];
    let expected = u64::from(params.iterations);
    if got > expected {
        return Err(CheckpointError::Position { what: "sweep", got, expected });
    }
    let each = 2 * shape.width + 1;
    let variances = payload.get(payload.array_of::<u64>("variances", &[params.starts, each])?);
    let variances: Vec<f64> = variances.iter().map(|&bits| f64::from_bits(bits)).collect();
    if !variances.iter().all(|x| x.is_finite() && *x > 0.0) {
        return Err(CheckpointError::NotFinite("variances"));
    }
    let members = variances.chunks_exact(each).zip(NAMES).map(|(variances, name)| {
        let (users, rest) = variances.split_at(shape.width);
        let (of_items, noise) = rest.split_at(shape.width);
        let items = payload.get(payload.array_of::<f32>(name, &[items, shape.len()])?).to_vec();
        Ok(Member { noise: noise[0], priors: [users.to_vec(), of_items.to_vec()], items })
    });
    Ok((got as u32, members.collect::<Result<_, CheckpointError>>()?))
}
