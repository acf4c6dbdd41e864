//! Items like those that a user took, by what is known of the items: their features, reduced to a
//! few directions by a truncated singular value decomposition (of words that is latent semantic
//! analysis: Deerwester et al. 1990). A user is the weighted mean of what he took (Pazzani and
//! Billsus, "Content-Based Recommendation Systems", 2007), so a score is the weighted mean of the
//! item's cosines with that. An item that nobody took is scored like any other.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, OptionError, Options};
use teller_payload::{AlignedBytes, PayloadWriter, SharedBytes};

use super::svd::right_singular_vectors;
use super::weighting::Weighting;
use super::{Algorithm, ItemColumns, Size, Takes, refuse_checkpoint};
use crate::csr::Csr;
use crate::features::Encoded;
use crate::fitted::{FittedFactors, Numbers};
use crate::{Dataset, Error, FittedRecommender, index};

/// Items or users that one task works on.
const ROWS: usize = 256;

/// Parameters of recommendations by features.
#[derive(Clone, Debug, PartialEq)]
pub struct ContentParams {
    /// Directions that the features are reduced to; no more than there are features or items.
    pub factors: usize,
    /// What a weight counts for.
    pub weighting: Weighting,
    /// Of the random directions that the reduction begins with.
    pub seed: u64,
}

impl ContentParams {
    /// Reads `factors`, `weighting` and `seed`.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        Ok(Self {
            factors: options.integer("factors", 16, 1..=1024)? as usize,
            weighting: Weighting::read(options)?,
            seed: options.integer("seed", 42, 0..=i64::MAX)? as u64,
        })
    }
}

impl Algorithm for ContentParams {
    fn name(&self) -> &'static str {
        "content"
    }

    fn takes(&self) -> Takes {
        Takes { items: Some(ItemColumns::Features), ..Takes::default() }
    }

    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    fn with_fewer_factors(&self, factors: usize) -> Option<Box<dyn Algorithm>> {
        (factors < self.factors)
            .then(|| -> Box<dyn Algorithm> { Box::new(Self { factors, ..self.clone() }) })
    }

    fn working_memory(&self, size: &Size) -> u64 {
        // The features encoded, by item and by feature, and three tall matrices of the reduction.
        let tall = size.items.saturating_add(size.vocabulary);
        (size.matrix())
            .saturating_add(size.features.saturating_mul(2))
            .saturating_add(tall.saturating_mul(12 * self.factors as u64))
            .saturating_add(size.numbers(self.factors))
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        size.numbers(self.factors)
            .saturating_add(size.vocabulary.saturating_mul(4 * self.factors as u64))
            .saturating_add(size.features)
            .saturating_add(index::bytes_needed(size.items, self.factors as u64))
    }

    fn fit(
        &self,
        dataset: &Dataset,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        refuse_checkpoint(resume)?;
        let features = dataset.features.as_ref().ok_or(Error::Lacks {
            algorithm: "content",
            needs: "the items' features (the option \"items\")",
        })?;
        let encoded = features.encode(control)?;
        let Encoded { matrix, names, .. } = &encoded;
        let (directions, explained, factors) =
            right_singular_vectors(matrix, names.len(), self.factors, self.seed, control)?;
        let (items, lengths) = reduce(matrix, &directions, factors, control)?;
        let by_user = &*self.weighting.apply(dataset.interactions.by_user());
        let users = means(by_user, &items, factors, control)?;
        let metrics = [
            ("factors", factors as f64),
            ("features", names.len() as f64),
            ("explained", explained),
            ("items_with_features", features.items() as f64),
            ("missing_values", encoded.missing as f64),
            ("dropped_columns", encoded.dropped as f64),
        ];
        let numbers = FittedFactors { count: factors, users, items };
        let mut numbers = Numbers::factors(numbers, metrics, control)?;
        numbers.weights = Some(by_user.values.clone());
        numbers.parts.push(("content", self.payload(&encoded, &directions, factors, &lengths)));
        Ok(FittedRecommender::new(dataset, numbers))
    }
}

/// Each item's features in the directions, with length 1, and how long that was before. Items
/// without features are 0.
fn reduce(
    matrix: &Csr,
    directions: &[f32],
    count: usize,
    control: &dyn Control,
) -> Result<(Vec<f32>, Vec<f32>), Cancelled> {
    let mut items = vec![0f32; matrix.rows() * count];
    let mut lengths = vec![0f32; matrix.rows()];
    items
        .par_chunks_mut(ROWS * count)
        .zip(lengths.par_chunks_mut(ROWS))
        .enumerate()
        .try_for_each_init(
            || vec![0f64; count],
            |sums, (chunk, (items, lengths))| {
                control.check()?;
                for (i, item) in items.chunks_exact_mut(count).enumerate() {
                    let (features, values) = matrix.row(chunk * ROWS + i);
                    sum(sums, features, values, directions);
                    let square: f64 = sums.iter().map(|x| x * x).sum();
                    // Rounding alone is no direction.
                    if square > 1e-12 {
                        let length = square.sqrt();
                        lengths[i] = length as f32;
                        item.iter_mut().zip(&*sums).for_each(|(x, sum)| *x = (sum / length) as f32);
                    }
                }
                Ok(())
            },
        )?;
    Ok((items, lengths))
}

/// The weighted mean of each user's items.
fn means(
    by_user: &Csr,
    items: &[f32],
    count: usize,
    control: &dyn Control,
) -> Result<Vec<f32>, Cancelled> {
    let mut users = vec![0f32; by_user.rows() * count];
    users.par_chunks_mut(ROWS * count).enumerate().try_for_each_init(
        || vec![0f64; count],
        |sums, (chunk, users)| {
            control.check()?;
            for (i, user) in users.chunks_exact_mut(count).enumerate() {
                let (columns, weights) = by_user.row(chunk * ROWS + i);
                mean(sums, columns, weights, items, user);
            }
            Ok(())
        },
    )?;
    Ok(users)
}

/// The weighted mean of some rows of `items`.
fn mean(sums: &mut [f64], columns: &[u32], weights: &[f32], items: &[f32], out: &mut [f32]) {
    sum(sums, columns, weights, items);
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    if total > 0.0 {
        out.iter_mut().zip(sums).for_each(|(x, sum)| *x = (*sum / total) as f32);
    }
}

/// The sum of some rows, each times its value.
fn sum(sums: &mut [f64], columns: &[u32], values: &[f32], rows: &[f32]) {
    sums.fill(0.0);
    for (&column, &value) in columns.iter().zip(values) {
        let row = rows.chunks_exact(sums.len()).nth(column as usize).unwrap_or_default();
        let value = f64::from(value);
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += value * f64::from(x));
    }
}

impl ContentParams {
    /// What explanations need: of each item its features, and what each adds to the item's factors.
    fn payload(
        &self,
        encoded: &Encoded,
        directions: &[f32],
        count: usize,
        lengths: &[f32],
    ) -> AlignedBytes {
        let Csr { offsets, columns, values } = &encoded.matrix;
        let bytes: Vec<u8> = encoded.names.iter().flat_map(|name| name.bytes()).collect();
        let mut ends = vec![0u64];
        ends.extend(encoded.names.iter().scan(0, |end, name| {
            *end += name.len() as u64;
            Some(*end)
        }));
        let mut writer = PayloadWriter::new();
        writer.array("offsets", &[offsets.len()], offsets);
        writer.array("features", &[columns.len()], columns);
        writer.array("values", &[values.len()], values);
        writer.array("lengths", &[lengths.len()], lengths);
        writer.array("directions", &[directions.len() / count, count], directions);
        writer.array("name_offsets", &[ends.len()], &ends);
        writer.array("names", &[bytes.len()], &bytes);
        let weighting = [self.weighting.code()];
        writer.array("weighting", &[1], &weighting);
        writer.finish()
    }
}
