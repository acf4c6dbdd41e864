use teller_numeric::{Cancelled, Control};
use teller_payload::{Array, Payload, PayloadError, SharedBytes};

use super::seen::row;

/// Products between two questions whether to stop: well under a millisecond.
const POLL: usize = 1 << 18;

/// Items with those that are similar to them, as [`crate::FittedRecommender`] stores them.
#[derive(Debug)]
pub(super) struct Neighbors {
    payload: Payload,
    offsets: Array<u64>,
    items: Array<u32>,
    similarities: Array<f32>,
}

impl Neighbors {
    /// Of `m` items. What lies beyond them is left out of every score.
    pub(super) fn load(bytes: SharedBytes, m: usize) -> Result<Self, PayloadError> {
        let payload = Payload::parse(bytes)?;
        let (items, shape) = payload.array("items")?;
        let count: usize = shape.iter().product();
        Ok(Self {
            offsets: payload.array_of("offsets", &[m + 1])?,
            similarities: payload.array_of("similarities", &[count])?,
            items,
            payload,
        })
    }

    /// Scores of all `m` items for somebody who had `items`, which count `weights`.
    pub(super) fn scores(
        &self,
        items: &[u32],
        weights: &[f32],
        m: usize,
        control: &dyn Control,
    ) -> Result<Vec<f32>, Cancelled> {
        let mut scores = vec![0f32; m];
        let mut until_poll = 0;
        for (&item, &weight) in items.iter().zip(weights) {
            let others = row(&self.payload, self.offsets, self.items, item);
            let similarities = row(&self.payload, self.offsets, self.similarities, item);
            if until_poll <= others.len() {
                control.check()?;
                until_poll = POLL;
            }
            until_poll = until_poll.saturating_sub(others.len());
            for (&other, &similarity) in others.iter().zip(similarities) {
                if let Some(score) = scores.get_mut(other as usize) {
                    *score += weight * similarity;
                }
            }
        }
        Ok(scores)
    }
}
