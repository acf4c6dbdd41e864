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
    factors: Option<FittedFactors>,
    index: Option<FittedIndex>,
    seen_offsets: Vec<u64>,
    seen_items: Vec<u32>,
    popularity: Vec<f32>,
}

/// Row-major factors of users and items; a score is the dot product of two rows.
#[derive(Clone, Debug)]
pub(crate) struct FittedFactors {
    pub(crate) count: usize,
    pub(crate) users: Vec<f32>,
    pub(crate) items: Vec<f32>,
}

impl FittedRecommender {
    pub(crate) fn new(
        data: &Interactions,
        factors: Option<FittedFactors>,
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
        let index = match &factors {
            Some(factors) => FittedIndex::build(&factors.items, factors.count, control)?,
            None => None,
        };
        Ok(Self {
            metrics,
            users,
            items,
            factors,
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
        if let Some(factors) = &self.factors {
            parts.push(("user_factors", matrix(&factors.users, factors.count)));
            parts.push(("item_factors", matrix(&factors.items, factors.count)));
        }
        parts.extend(self.index.as_ref().map(|index| ("item_index", index.payload())));
        let mut seen = PayloadWriter::new();
        seen.array("offsets", &[self.seen_offsets.len()], &self.seen_offsets);
        seen.array("items", &[self.seen_items.len()], &self.seen_items);
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
