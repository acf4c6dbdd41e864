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

use std::time::Instant;

use rayon::prelude::*;
use teller_numeric::{
    Cancelled, CheckpointBytes, Control, Isa, Moment, OptionError, Options, Step, Stream,
};
use teller_payload::{CheckpointError, PayloadWriter, SharedBytes, TrainingKey};

use super::{Algorithm, Size};
use crate::csr::Csr;
use crate::dense::{cholesky, cholesky_inverse};
use crate::fitted::{FittedFactors, Numbers};
use crate::{Dataset, Error, FittedRecommender, index};

/// Grows whenever a training's numbers or the checkpoint's arrays change their meaning.
const REVISION: u32 = 1;
/// Rows that one task solves.
const ROWS: usize = 32;
/// Interactions of one row between two questions whether to stop.
const POLL: usize = 1 << 13;
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

    /// Numbers of a user or item as they are stored: the factors of all starts, and two for the
    /// biases.
    fn count(&self) -> usize {
        self.starts * self.factors + 2
    }
}

/// Where the numbers of a row lie: E[z], then the upper triangle of E[zz'] row by row.
#[derive(Clone, Copy)]
struct Shape {
    /// Numbers of z.
    width: usize,
}

impl Shape {
    fn len(self) -> usize {
        self.width + self.width * (self.width + 1) / 2
    }

    /// Where E[z_i z_j] lies, i <= j.
    fn square(self, i: usize, j: usize) -> usize {
        self.width + i * self.width - i * (i + 1) / 2 + j
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
        let of_items = size.items.saturating_mul(4 * each).saturating_mul(self.starts as u64);
        // Both matrices of ratings, what is known of users and, of each start and once more in a
        // checkpoint, of items, and the factors.
        (size.matrix().saturating_mul(2))
            .saturating_add(size.users.saturating_mul(4 * each))
            .saturating_add(of_items.saturating_mul(2))
            .saturating_add(size.numbers(self.count()))
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        let count = self.count();
        size.numbers(count).saturating_add(index::bytes_needed(size.items, count as u64))
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
        let count = self.count();
        let mut factors = FittedFactors {
            count,
            users: vec![0f32; by_user.rows() * count],
            items: vec![0f32; by_item.rows() * count],
        };
        for (at, member) in members.iter().enumerate() {
            solve(shape, &by_user, &member.items, member.of_users(), &mut users, control)?;
            let place = Place { member: at, of: self.starts, count };
            scale.put(shape, &users, place, count - 2, &mut factors.users);
            scale.put(shape, &member.items, place, count - 1, &mut factors.items);
        }
        for row in factors.users.chunks_exact_mut(count) {
            row[count - 2] = (scale.mean + f64::from(row[count - 2])) as f32;
            row[count - 1] = 1.0;
        }
        factors.items.chunks_exact_mut(count).for_each(|row| row[count - 2] = 1.0);
        let loss = loss(&members);
        if !factors.users.iter().chain(&factors.items).all(|x| x.is_finite()) {
            let step = self.iterations;
            return Err(Error::Diverged { algorithm: "biased_mf", step, loss: f64::INFINITY });
        }
        let mut numbers = Numbers::factors(factors, [("loss", loss)], control)?;
        let (mean, range) = ([scale.mean as f32], scale.range);
        let mut writer = PayloadWriter::new();
        writer.array("mean", &[1], &mean);
        writer.array("range", &[2], &range);
        numbers.parts.push(("ratings", writer.finish()));
        numbers.weights = Some(ratings.values.clone());
        numbers.metrics.push(("mean_rating", scale.mean));
        Ok(FittedRecommender::new(dataset, numbers))
    }
}

/// What turns ratings into numbers of mean 0 and variance 1.
struct Scale {
    mean: f64,
    deviation: f64,
    /// The least and the greatest rating.
    range: [f32; 2],
}

impl Scale {
    fn of(ratings: &[f32]) -> Self {
        let count = ratings.len().max(1) as f64;
        let mean = ratings.iter().map(|&rating| f64::from(rating)).sum::<f64>() / count;
        let squares = ratings.iter().map(|&rating| (f64::from(rating) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        let range =
            ratings.iter().fold([f32::INFINITY, 0.0], |[low, high], &x| [low.min(x), high.max(x)]);
        Self { mean, deviation: if deviation > 0.0 { deviation } else { 1.0 }, range }
    }

    fn standard(&self, rating: f32) -> f32 {
        ((f64::from(rating) - self.mean) / self.deviation) as f32
    }

    /// Puts a start's factors in their place, and adds its part of the bias, so that the products
    /// of all add up to the mean.
    fn put(&self, shape: Shape, rows: &[f32], place: Place, bias: usize, out: &mut [f32]) {
        let width = shape.width - 1;
        let part = self.deviation / place.of as f64;
        let rows = rows.chunks_exact(shape.len());
        for (row, out) in rows.zip(out.chunks_exact_mut(place.count)) {
            out[bias] += (f64::from(row[0]) * part) as f32;
            let factors = &mut out[place.member * width..][..width];
            for (out, &x) in factors.iter_mut().zip(&row[1..shape.width]) {
                *out = (f64::from(x) * part.sqrt()) as f32;
            }
        }
    }
}

/// Where a start's factors go.
#[derive(Clone, Copy)]
struct Place {
    member: usize,
    of: usize,
    /// Numbers of a row of all.
    count: usize,
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

/// What the rows of a side are solved with.
#[derive(Clone, Copy)]
struct Given<'a> {
    priors: &'a [f64],
    noise: f64,
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

/// What a side's rows add up to.
struct Sums {
    /// Expected squared errors of all ratings, in all.
    error: f64,
    /// E[z^2] in all.
    squares: Vec<f64>,
}

/// Solves the rows of one side into `solved`, with what is known of the `other` one.
fn solve(
    shape: Shape,
    ratings: &Csr,
    other: &[f32],
    given: Given<'_>,
    solved: &mut [f32],
    control: &dyn Control,
) -> Result<Sums, Cancelled> {
    let len = shape.len();
    let parts = solved
        .par_chunks_mut(ROWS * len)
        .enumerate()
        .map(|(chunk, solved)| {
            control.check()?;
            let mut sums = Sums { error: 0.0, squares: vec![0f64; shape.width] };
            let mut row = Row::new(shape);
            for (i, out) in solved.chunks_exact_mut(len).enumerate() {
                row.gather(ratings.row(chunk * ROWS + i), other, control)?;
                row.solve(given, out, &mut sums);
            }
            Ok(sums)
        })
        .collect::<Result<Vec<_>, Cancelled>>()?;
    let mut all = Sums { error: 0.0, squares: vec![0f64; shape.width] };
    for part in parts {
        all.error += part.error;
        all.squares.iter_mut().zip(part.squares).for_each(|(all, part)| *all += part);
    }
    Ok(all)
}

/// Sums over the ratings of one row.
struct Row {
    shape: Shape,
    isa: Isa,
    /// How many.
    count: f64,
    /// Of all that is known of the other side's rows.
    known: Vec<f64>,
    /// Of E[z] times the rating.
    rated: Vec<f64>,
    /// Of the ratings and their squares.
    ratings: [f64; 2],
}

impl Row {
    fn new(shape: Shape) -> Self {
        let (known, rated) = (vec![0f64; shape.len()], vec![0f64; shape.width]);
        Self { shape, isa: Isa::detect(), count: 0.0, known, rated, ratings: [0.0; 2] }
    }

    fn gather(
        &mut self,
        (columns, ratings): (&[u32], &[f32]),
        other: &[f32],
        control: &dyn Control,
    ) -> Result<(), Cancelled> {
        self.known.fill(0.0);
        self.rated.fill(0.0);
        self.ratings = [0.0; 2];
        self.count = columns.len() as f64;
        let len = self.shape.len();
        for (columns, ratings) in columns.chunks(POLL).zip(ratings.chunks(POLL)) {
            if columns.len() == POLL {
                control.check()?;
            }
            for (&column, &rating) in columns.iter().zip(ratings) {
                let row = &other[column as usize * len..][..len];
                let rating = f64::from(rating);
                self.ratings[0] += rating;
                self.ratings[1] += rating * rating;
                self.isa.vectorize(add, (row, rating, &mut self.known, &mut self.rated));
            }
        }
        Ok(())
    }

    fn solve(&self, given: Given<'_>, out: &mut [f32], sums: &mut Sums) {
        let Self { shape, known, rated, .. } = self;
        let n = shape.width;
        // Sum of E[hh'], where h is z with 1 in the place of the bias.
        let hh = |i: usize, j: usize| match (i.min(j), i.max(j)) {
            (0, 0) => self.count,
            (0, j) => known[j],
            (i, j) => known[shape.square(i, j)],
        };
        // Sum of E[h (r - bias)], and of E[(r - bias)^2].
        let targets: Vec<f64> = (0..n)
            .map(|i| match i {
                0 => self.ratings[0] - known[0],
                i => rated[i] - known[shape.square(0, i)],
            })
            .collect();
        let square = self.ratings[1] - 2.0 * rated[0] + known[shape.square(0, 0)];
        let mut matrix = vec![0f64; n * n];
        for i in 0..n {
            for j in 0..n {
                matrix[i * n + j] = hh(i, j) / given.noise;
            }
            matrix[i * n + i] += 1.0 / given.priors[i];
        }
        cholesky(&mut matrix, n);
        let covariance = cholesky_inverse(&matrix, n);
        let mean: Vec<f64> = covariance
            .chunks_exact(n)
            .map(|row| row.iter().zip(&targets).map(|(c, b)| c * b).sum::<f64>() / given.noise)
            .collect();
        let second = |i: usize, j: usize| covariance[i * n + j] + mean[i] * mean[j];
        let mut error = square;
        for i in 0..n {
            out[i] = mean[i] as f32;
            error -= 2.0 * mean[i] * targets[i];
            for j in i..n {
                out[shape.square(i, j)] = second(i, j) as f32;
                let twice = if i == j { 1.0 } else { 2.0 };
                error += twice * second(i, j) * hh(i, j);
            }
            sums.squares[i] += second(i, i);
        }
        sums.error += error.max(0.0);
    }
}

type Adding<'a> = (&'a [f32], f64, &'a mut Vec<f64>, &'a mut Vec<f64>);

#[inline(always)]
fn add((row, rating, known, rated): Adding<'_>) {
    known.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    rated.iter_mut().zip(row).for_each(|(sum, &x)| *sum += rating * f64::from(x));
}
