use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};
use teller_numeric::{Cancelled, Control};
use teller_payload::{AlignedBytes, PayloadWriter};

use crate::Dataset;
use crate::algorithm::weighting::Weighting;
use crate::index::FittedIndex;

/// A payload and its name among the parts of a recommender.
pub type Part = (Cow<'static, str>, Arc<AlignedBytes>);

/// What a training made: the numbers to store.
#[derive(Clone, Debug)]
pub struct FittedRecommender {
    /// Name and value: counts of the data, and the final loss where there is one.
    pub metrics: Vec<(&'static str, f64)>,
    /// As [`crate::Recommender::load`] reads them.
    pub parts: Vec<Part>,
    /// Figures on a part of the data that was kept apart, where one was.
    pub validation: Vec<(String, f64)>,
    /// The name of the algorithm, where it was chosen among several.
    pub algorithm: Option<&'static str>,
    /// What the training decided, as JSON: an object.
    pub model: Value,
}

/// What an algorithm's scores follow from, besides the items' popularity.
#[derive(Default)]
pub(crate) struct Numbers {
    pub(crate) parts: Vec<(&'static str, AlignedBytes)>,
    /// What the users' interactions count, in their order, where scores need to know it.
    pub(crate) weights: Option<Vec<f32>>,
    pub(crate) metrics: Vec<(&'static str, f64)>,
}

/// Row-major factors of users and items; a score is the dot product of two rows.
#[derive(Clone, Debug)]
pub(crate) struct FittedFactors {
    pub(crate) count: usize,
    pub(crate) users: Vec<f32>,
    pub(crate) items: Vec<f32>,
}

impl Numbers {
    /// Factors whose users can be found by solving, as `fold_in` says, with what their interactions
    /// count.
    pub(crate) fn folding(self, fold_in: AlignedBytes, weights: Vec<f32>) -> Self {
        let mut parts = self.parts;
        parts.push(("fold_in", fold_in));
        Self { parts, weights: Some(weights), ..self }
    }

    /// Factors, and the index of the items where one pays.
    pub(crate) fn factors(
        factors: FittedFactors,
        metrics: impl Into<Vec<(&'static str, f64)>>,
        control: &dyn Control,
    ) -> Result<Self, Cancelled> {
        let FittedFactors { count, users, items } = factors;
        let index = FittedIndex::build(&items, count, control)?;
        let mut parts =
            vec![("user_factors", matrix(users, count)), ("item_factors", matrix(items, count))];
        parts.extend(index.map(|index| ("item_index", index.payload())));
        Ok(Self { parts, metrics: metrics.into(), ..Self::default() })
    }

    /// Of each item those that are similar to it, and how much; a score is the sum, over a user's
    /// items, of what they count (`weights`) times their similarity.
    pub(crate) fn neighbors(
        rows: Vec<Vec<(u32, f32)>>,
        weights: Vec<f32>,
        weighting: Weighting,
    ) -> Self {
        let mut offsets = vec![0u64];
        let lens = rows.iter().map(|row| row.len() as u64);
        offsets.extend(lens.scan(0, |sum, len| {
            *sum += len;
            Some(*sum)
        }));
        let metrics = vec![("neighbors", rows.iter().flatten().count() as f64 / rows.len() as f64)];
        let (items, similarities): (Vec<u32>, Vec<f32>) = rows.into_iter().flatten().unzip();
        let code = [weighting.code()];
        let mut writer = PayloadWriter::new();
        writer.array("offsets", &[offsets.len()], &offsets);
        writer.array("items", &[items.len()], &items);
        writer.array("similarities", &[items.len()], &similarities);
        writer.array("weighting", &[1], &code);
        Self { parts: vec![("neighbors", writer.finish())], weights: Some(weights), metrics }
    }
}

impl FittedRecommender {
    /// One about which nothing else is known.
    pub(crate) fn of_parts(metrics: Vec<(&'static str, f64)>, parts: Vec<Part>) -> Self {
        Self { metrics, parts, validation: Vec::new(), algorithm: None, model: json!({}) }
    }

    pub(crate) fn new(data: &Dataset, numbers: Numbers) -> Self {
        let Numbers { mut parts, weights, metrics: more } = numbers;
        let data = &data.interactions;
        let mut metrics = vec![
            ("users", data.users().len() as f64),
            ("items", data.items().len() as f64),
            ("interactions", data.len() as f64),
            ("duplicates", data.duplicates() as f64),
        ];
        metrics.extend(more);
        let (users, items) = data.ids_payloads();
        let history = data.by_user();
        let seen = seen_payload(&history.offsets, &history.columns, weights.as_deref());
        parts.extend([
            ("user_ids", users),
            ("item_ids", items),
            ("seen", seen),
            ("popularity", popularity_payload(&data.popularity())),
        ]);
        let share = |(name, part)| (Cow::Borrowed(name), Arc::new(part));
        Self::of_parts(metrics, parts.into_iter().map(share).collect())
    }
}

/// What users had: the users' rows, by where each begins, of items and of what those count.
pub(crate) fn seen_payload(
    offsets: &[u64],
    items: &[u32],
    weights: Option<&[f32]>,
) -> AlignedBytes {
    let mut writer = PayloadWriter::new();
    writer.array("offsets", &[offsets.len()], offsets);
    writer.array("items", &[items.len()], items);
    if let Some(weights) = weights {
        writer.array("weights", &[weights.len()], weights);
    }
    writer.finish()
}

/// How many users had each item, or what they count for.
pub(crate) fn popularity_payload(counts: &[f32]) -> AlignedBytes {
    let mut writer = PayloadWriter::new();
    writer.array("popularity", &[counts.len()], counts);
    writer.finish()
}

/// Row-major factors, `count` a row.
pub(crate) fn matrix(factors: Vec<f32>, count: usize) -> AlignedBytes {
    let mut writer = PayloadWriter::new();
    writer.array("factors", &[factors.len() / count, count], &factors);
    writer.finish()
}
