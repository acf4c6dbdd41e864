use teller_numeric::Control;

use super::choice::Choice;
use super::fold::Joining;
use super::parts::{Parts, Stored, get};
use super::reason::{Reason, of_items};
use super::{History, Scoring};
use crate::Error;
use crate::algorithm::weighting::Weighting;
use crate::vectors::axpy;

/// Weights between all items; a score is the sum of the weights from the items that somebody had.
#[derive(Debug)]
struct ItemWeights {
    /// Row-major, a row the weights from an item.
    weights: Stored<f32>,
    count: usize,
}

/// Opens weights between all items.
pub(super) fn load(parts: &Parts<'_>) -> Result<Option<Box<dyn Scoring>>, Error> {
    if !parts.has("item_weights") {
        return Ok(None);
    }
    let count = parts.items;
    let weights = parts.array("item_weights", "weights", &[count, count])?;
    Ok(Some(Box::new(ItemWeights { weights, count })))
}

impl Scoring for ItemWeights {
    fn needs_weights(&self) -> bool {
        true
    }

    fn weighting(&self) -> Result<Weighting, Error> {
        Ok(Weighting::Binary)
    }

    fn scores(&self, history: History<'_>, control: &dyn Control) -> Result<Vec<f32>, Error> {
        let mut scores = vec![0f32; self.count];
        for (&had, &count) in history.items.iter().zip(history.weights) {
            control.check()?;
            axpy(count, self.row(had), &mut scores);
        }
        Ok(scores)
    }

    fn choose<'c>(
        &self,
        history: History<'_>,
        candidates: Option<&[u32]>,
        _k: usize,
        mut choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        match candidates {
            Some(candidates) if candidates.len() < self.count / 16 => {
                for &item in candidates.iter().filter(|&&item| (item as usize) < self.count) {
                    control.check()?;
                    // In the order of `scores`, so with its bits.
                    let score = self.weights_to(item, history).fold(0.0, |sum, (_, x)| sum + x);
                    choice.offer(item, score);
                }
                Ok(choice)
            }
            _ => choice.by_scores(&self.scores(history, control)?, candidates, control),
        }
    }

    fn folds_in(&self) -> Result<Joining, Error> {
        Ok(Joining::Sum(self.weighting()?))
    }

    fn explain(
        &self,
        history: History<'_>,
        item: u32,
        control: &dyn Control,
    ) -> Result<Vec<Reason>, Error> {
        control.check()?;
        Ok(of_items(self.weights_to(item, history)))
    }

    fn similar<'c>(
        &self,
        item: u32,
        candidates: Option<&[u32]>,
        _k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        let finite = |&weight: &f32| if weight.is_finite() { weight } else { 0.0 };
        let weights: Vec<f32> = self.row(item).iter().map(finite).collect();
        choice.by_scores(&weights, candidates, control)
    }
}

impl ItemWeights {
    fn row(&self, item: u32) -> &[f32] {
        let start = item as usize * self.count;
        get(&self.weights).get(start..start + self.count).unwrap_or_default()
    }

    /// What each item of a history adds to the score of another.
    fn weights_to(&self, item: u32, history: History<'_>) -> impl Iterator<Item = (u32, f32)> {
        history.items.iter().zip(history.weights).map(move |(&had, &count)| {
            let weight = self.row(had).get(item as usize).copied().unwrap_or_default();
            (had, count * weight)
        })
    }
}
