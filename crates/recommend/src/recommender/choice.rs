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
        mut self,
        scores: &[f32],
        candidates: Option<&[u32]>,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        match candidates {
            Some(candidates) => {
                for candidates in candidates.chunks(POLL) {
                    control.check()?;
                    for &item in candidates {
                        if let Some(&score) = scores.get(item as usize) {
                            self.offer(item, score);
                        }
                    }
                }
            }
            None => {
                let mut item = 0u32;
                for scores in scores.chunks(POLL) {
                    control.check()?;
                    for &score in scores {
                        self.offer(item, score);
                        item += 1;
                    }
                }
            }
        }
        Ok(self)
    }
}
