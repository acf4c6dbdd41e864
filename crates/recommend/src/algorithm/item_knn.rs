//! Items like those that a user had: a score is the sum, over the user's items, of the item's
//! weight times its similarity, of which every item keeps the greatest
//! (Sarwar et al., "Item-Based Collaborative Filtering Recommendation Algorithms", WWW 2001).

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, OptionError, Options};
use teller_payload::SharedBytes;

use super::weighting::Weighting;
use super::{Algorithm, Size, refuse_checkpoint};
use crate::csr::Csr;
use crate::fitted::Numbers;
use crate::{Dataset, Error, FittedRecommender, TopK};

/// Items that one task compares.
const ITEMS: usize = 16;
/// Products between two questions whether to stop.
const POLL: usize = 1 << 20;

/// How alike two items are, by the users that had them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Similarity {
    /// The cosine of the angle between them.
    Cosine,
    /// The product of their BM25 weights, where a user is a document and its items are the terms:
    /// rare items and users of few items count more (Robertson and Zaragoza, "The Probabilistic
    /// Relevance Framework: BM25 and Beyond", 2009).
    Bm25 {
        /// How soon more of a weight stops to count.
        k1: f32,
        /// How much less the items of a user with many count, 0 to 1.
        b: f32,
    },
}

/// Parameters of the nearest items. The defaults did best, or near it, on validation parts of both
/// Last.FM and MovieLens 100K.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemKnnParams {
    /// How alike two items are.
    pub similarity: Similarity,
    /// Similar items that each item keeps.
    pub neighbors: usize,
    /// What a weight counts for.
    pub weighting: Weighting,
}

#[derive(Clone, Copy)]
enum Name {
    Cosine,
    Bm25,
}

impl ItemKnnParams {
    /// Reads `similarity`, `neighbors`, `weighting`, and for `bm25` also `k1` and `b`.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let names = [("bm25", Name::Bm25), ("cosine", Name::Cosine)];
        let similarity = match options.choice("similarity", &names)? {
            Name::Cosine => Similarity::Cosine,
            Name::Bm25 => Similarity::Bm25 {
                k1: options.number("k1", 1.2, 0.0..=100.0)? as f32,
                b: options.number("b", 0.75, 0.0..=1.0)? as f32,
            },
        };
        Ok(Self {
            similarity,
            neighbors: options.integer("neighbors", 100, 1..=10_000)? as usize,
            weighting: Weighting::read(options)?,
        })
    }
}

impl Algorithm for ItemKnnParams {
    fn name(&self) -> &'static str {
        "item_knn"
    }

    fn working_memory(&self, size: &Size) -> u64 {
        // What the weights count, and both matrices of similarities, the sums of each thread, and
        // the neighbors twice.
        (size.matrix().saturating_mul(3))
            .saturating_add(size.items.saturating_mul(16 * (self.neighbors as u64 + 1)))
            .saturating_add(size.items.saturating_mul(8).saturating_mul(size.threads))
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        size.items.saturating_mul(8 * self.neighbors as u64)
    }

    fn fit(
        &self,
        dataset: &Dataset,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        refuse_checkpoint(resume)?;
        let data = &dataset.interactions;
        let history = self.weighting.apply(data.by_user()).into_owned();
        let items = data.items().len();
        let rows = nearest(self.similarity, &history, items, self.neighbors, control)?;
        let numbers = Numbers::neighbors(rows, history.values, self.weighting);
        Ok(FittedRecommender::new(dataset, numbers))
    }
}

/// For each item the most similar others, by item, at most so many.
pub(super) fn nearest(
    similarity: Similarity,
    history: &Csr,
    items: usize,
    most: usize,
    control: &dyn Control,
) -> Result<Vec<Vec<(u32, f32)>>, Cancelled> {
    let by_user = weighted(similarity, history, items);
    let by_item = by_user.transpose(items, control)?;
    let rows = (0..items.div_ceil(ITEMS))
        .into_par_iter()
        .map_init(
            || (vec![0f32; items], Vec::new()),
            |(sums, touched), chunk| {
                let chunk = chunk * ITEMS..items.min((chunk + 1) * ITEMS);
                let items = chunk.map(|item| {
                    similarities(&by_user, &by_item, item, sums, touched, control)?;
                    Ok(best(sums, touched, most))
                });
                items.collect::<Result<Vec<_>, Cancelled>>()
            },
        )
        .collect::<Result<Vec<_>, Cancelled>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// Adds up an item's products with all others that share a user with it: `touched`.
fn similarities(
    by_user: &Csr,
    by_item: &Csr,
    item: usize,
    sums: &mut [f32],
    touched: &mut Vec<u32>,
    control: &dyn Control,
) -> Result<(), Cancelled> {
    let (users, weights) = by_item.row(item);
    let mut until_poll = 0;
    for (&user, &weight) in users.iter().zip(weights) {
        let (others, values) = by_user.row(user as usize);
        if until_poll <= others.len() {
            control.check()?;
            until_poll = POLL;
        }
        until_poll = until_poll.saturating_sub(others.len());
        for (&other, &value) in others.iter().zip(values) {
            let sum = &mut sums[other as usize];
            if *sum == 0.0 && other as usize != item {
                touched.push(other);
            }
            *sum += weight * value;
        }
    }
    sums[item] = 0.0;
    Ok(())
}

/// The greatest sums, by item, and all sums 0 again.
fn best(sums: &mut [f32], touched: &mut Vec<u32>, most: usize) -> Vec<(u32, f32)> {
    let mut top = TopK::new(most);
    for other in touched.drain(..) {
        let sum = std::mem::take(&mut sums[other as usize]);
        if sum != 0.0 {
            top.offer(other, sum);
        }
    }
    let mut best = top.finish();
    best.sort_unstable_by_key(|&(item, _)| item);
    best
}

/// The interactions so that the product of two items' columns is their similarity.
fn weighted(similarity: Similarity, history: &Csr, items: usize) -> Csr {
    let mut matrix = history.clone();
    let mut columns = vec![0f64; items];
    match similarity {
        Similarity::Cosine => {
            for (&column, &value) in matrix.columns.iter().zip(&matrix.values) {
                columns[column as usize] += f64::from(value) * f64::from(value);
            }
            for (&column, value) in matrix.columns.iter().zip(&mut matrix.values) {
                *value = (f64::from(*value) / columns[column as usize].sqrt()) as f32;
            }
        }
        Similarity::Bm25 { k1, b } => {
            matrix.columns.iter().for_each(|&column| columns[column as usize] += 1.0);
            let users = matrix.rows();
            let rarity = |count: f64| libm::log(users as f64) - libm::log1p(count);
            let (k1, b) = (f64::from(k1), f64::from(b));
            let length = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>();
            let mean = length(&matrix.values) / users.max(1) as f64;
            for user in 0..users {
                let row = matrix.offsets[user] as usize..matrix.offsets[user + 1] as usize;
                let (values, columns_of) = (&mut matrix.values[row.clone()], &matrix.columns[row]);
                let norm = k1 * (1.0 - b + b * length(values) / mean);
                for (value, &column) in values.iter_mut().zip(columns_of) {
                    let weight = f64::from(*value) * (k1 + 1.0) / (norm + f64::from(*value));
                    *value = (weight * rarity(columns[column as usize])) as f32;
                }
            }
        }
    }
    matrix
}
