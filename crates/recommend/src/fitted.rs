use teller_numeric::Control;
use teller_payload::{AlignedBytes, PayloadWriter};

use crate::index::FittedIndex;
use crate::{Error, Ids, Interactions};

/// What a training made: the numbers to store.
#[derive(Clone, Debug)]
pub struct FittedRecommender {
    /// Name and value: counts of the data, and the final loss where there is one.
    pub metrics: Vec<(&'static str, f64)>,
    users: Ids,
    items: Ids,
    numbers: Numbers,
    index: Option<FittedIndex>,
    seen_offsets: Vec<u64>,
    seen_items: Vec<u32>,
    popularity: Vec<f32>,
}

/// What scores follow from, besides the items' popularity.
#[derive(Clone, Debug)]
pub(crate) enum Numbers {
    Popularity,
    Factors(FittedFactors),
    Neighbors(FittedNeighbors),
}

/// Row-major factors of users and items; a score is the dot product of two rows.
#[derive(Clone, Debug)]
pub(crate) struct FittedFactors {
    pub(crate) count: usize,
    pub(crate) users: Vec<f32>,
    pub(crate) items: Vec<f32>,
}

/// Of each item those that are similar to it; a score is the sum, over a user's items, of what they
/// count times their similarity.
#[derive(Clone, Debug)]
pub(crate) struct FittedNeighbors {
    offsets: Vec<u64>,
    items: Vec<u32>,
    similarities: Vec<f32>,
    /// What the users' interactions count, in the order of the seen items.
    weights: Vec<f32>,
}

impl FittedNeighbors {
    /// From each item's neighbors and what the interactions count.
    pub(crate) fn new(rows: Vec<Vec<(u32, f32)>>, weights: Vec<f32>) -> Self {
        let mut offsets = vec![0];
        let lens = rows.iter().map(|row| row.len() as u64);
        offsets.extend(lens.scan(0, |sum, len| {
            *sum += len;
            Some(*sum)
        }));
        let (items, similarities) = rows.into_iter().flatten().unzip();
        Self { offsets, items, similarities, weights }
    }

    /// Pairs that are kept.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

impl FittedRecommender {
    pub(crate) fn new(
        data: &Interactions,
        numbers: Numbers,
        more_metrics: impl IntoIterator<Item = (&'static str, f64)>,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let (users, items) = data.owned_ids();
        let mut metrics = vec![
            ("users", users.view().len() as f64),
            ("items", items.view().len() as f64),
            ("interactions", data.len() as f64),
            ("duplicates", data.duplicates() as f64),
        ];
        metrics.extend(more_metrics);
        let index = match &numbers {
            Numbers::Factors(factors) => {
                FittedIndex::build(&factors.items, factors.count, control)?
            }
            Numbers::Neighbors(_) | Numbers::Popularity => None,
        };
        Ok(Self {
            metrics,
            users,
            items,
            numbers,
            index,
            seen_offsets: data.by_user().offsets.clone(),
            seen_items: data.by_user().columns.clone(),
            popularity: data.popularity(),
        })
    }

    /// The parts to store, each a payload, as [`crate::Recommender::load`] reads them.
    pub fn parts(&self) -> Vec<(&'static str, AlignedBytes)> {
        let mut parts =
            vec![("user_ids", self.users.payload()), ("item_ids", self.items.payload())];
        let mut seen = PayloadWriter::new();
        seen.array("offsets", &[self.seen_offsets.len()], &self.seen_offsets);
        seen.array("items", &[self.seen_items.len()], &self.seen_items);
        match &self.numbers {
            Numbers::Popularity => {}
            Numbers::Factors(factors) => {
                parts.push(("user_factors", matrix(&factors.users, factors.count)));
                parts.push(("item_factors", matrix(&factors.items, factors.count)));
            }
            Numbers::Neighbors(neighbors) => {
                seen.array("weights", &[neighbors.weights.len()], &neighbors.weights);
                let mut writer = PayloadWriter::new();
                let len = [neighbors.len()];
                writer.array("offsets", &[neighbors.offsets.len()], &neighbors.offsets);
                writer.array("items", &len, &neighbors.items);
                writer.array("similarities", &len, &neighbors.similarities);
                parts.push(("neighbors", writer.finish()));
            }
        }
        parts.extend(self.index.as_ref().map(|index| ("item_index", index.payload())));
        parts.push(("seen", seen.finish()));
        let mut popularity = PayloadWriter::new();
        popularity.array("popularity", &[self.popularity.len()], &self.popularity);
        parts.push(("popularity", popularity.finish()));
        parts
    }
}

fn matrix(factors: &[f32], count: usize) -> AlignedBytes {
    let mut writer = PayloadWriter::new();
    writer.array("factors", &[factors.len() / count, count], factors);
    writer.finish()
}
