use teller_numeric::Control;

use crate::{Error, TopK};

/// Scores read between two questions whether to stop.
const POLL: usize = 1 << 20;

/// The best items so far, without those that are not wanted.
pub(super) struct Choice<'a> {
    pub(super) top: TopK,
    /// Ascending.
    pub(super) excluded: &'a [u32],
}

impl Choice<'_> {
    #[inline]
    pub(super) fn offer(&mut self, item: u32, score: f32) {
        // The threshold first: few items pass it, so few are looked up.
        if self.top.admits(score) && self.excluded.binary_search(&item).is_err() {
            self.top.offer(item, score);
        }
    }

    /// Offers the candidates, or all items, each of which has a score.
    pub(super) fn by_scores(
        self,
        scores: &[f32],
        candidates: Option<&[u32]>,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        self.by(scores.len(), candidates, POLL, control, |item| scores[item as usize])
    }

    /// Offers the candidates, or all of `count` items, with what `score` says of each, and asks
    /// after every `between_polls` whether to stop.
    pub(super) fn by(
        mut self,
        count: usize,
        candidates: Option<&[u32]>,
        between_polls: usize,
        control: &dyn Control,
        mut score: impl FnMut(u32) -> f32,
    ) -> Result<Self, Error> {
        match candidates {
            Some(candidates) => {
                for candidates in candidates.chunks(between_polls) {
                    control.check()?;
                    for &item in candidates.iter().filter(|&&item| (item as usize) < count) {
                        self.offer(item, score(item));
                    }
                }
            }
            None => {
                for first in (0..count).step_by(between_polls) {
                    control.check()?;
                    for item in first..count.min(first + between_polls) {
                        self.offer(item as u32, score(item as u32));
                    }
                }
            }
        }
        Ok(self)
    }
}
