use teller_numeric::{Control, Isa};
use teller_payload::{Payload, SharedBytes};

use super::choice::Choice;
use super::{Stored, array_of, get};
use crate::Error;
use crate::index::{Best, ItemIndex};
use crate::vectors::{dot, scores};

/// Items scored between two looks at the threshold.
const BLOCK: usize = 256;
/// With more than one in so many of the items to choose, a search would look at most of them.
const SEARCHED_SHARE: usize = 32;
/// Numbers read between two questions whether to stop: well under a millisecond.
const POLL_NUMBERS: usize = 1 << 20;

/// Factors of users and items; a score is the dot product of two rows.
#[derive(Debug)]
pub(super) struct Factors {
    count: usize,
    users: Stored<f32>,
    items: Stored<f32>,
    /// Versions from before 0.4.0 and small ones have none.
    index: Option<ItemIndex>,
}

impl Factors {
    /// Of `n` users and `m` items.
    pub(super) fn load(
        users: SharedBytes,
        items: SharedBytes,
        index: Option<SharedBytes>,
        [n, m]: [usize; 2],
    ) -> Result<Self, Error> {
        let wrap = |part| move |source| Error::Payload { part, source };
        let payload = Payload::parse(items).map_err(wrap("item_factors"))?;
        let (_, shape) = payload.array::<f32>("factors").map_err(wrap("item_factors"))?;
        let count = shape.last().copied().unwrap_or_default();
        if count == 0 {
            return Err(Error::Inconsistent("items have no factors".to_owned()));
        }
        let items = payload.array_of("factors", &[m, count]).map_err(wrap("item_factors"))?;
        let users = array_of("user_factors", users, "factors", &[n, count])?;
        let index = index.map(|bytes| ItemIndex::load(bytes, m, count)).transpose();
        let index = index.map_err(wrap("item_index"))?;
        Ok(Self { count, users, items: (payload, items), index })
    }

    /// Factors of all users, row-major, and how many a user has.
    pub(super) fn users(&self) -> (&[f32], usize) {
        (get(&self.users), self.count)
    }

    /// Factors of all items, row-major, and how many an item has.
    pub(super) fn items(&self) -> (&[f32], usize) {
        (get(&self.items), self.count)
    }

    /// Offers the candidates, or at least all items that may be among the best `k`.
    pub(super) fn choose<'c>(
        &self,
        user: u32,
        candidates: Option<&[u32]>,
        k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        let items = get(&self.items);
        let user = row(get(&self.users), user, self.count);
        let mut scored = Scored { choice, user, items };
        match (candidates, &self.index) {
            (Some(candidates), _) => {
                for candidates in candidates.chunks((POLL_NUMBERS / self.count).max(1)) {
                    control.check()?;
                    candidates.iter().for_each(|&item| scored.consider(item));
                }
            }
            (None, Some(index))
                if k <= items.len() / self.count / SEARCHED_SHARE
                    && index.search(user, &mut scored, control)? => {}
            (None, _) => scored.consider_all(control)?,
        }
        Ok(scored.choice)
    }
}

/// Scores items for a user by the factors.
struct Scored<'a, 'c> {
    choice: Choice<'c>,
    user: &'a [f32],
    items: &'a [f32],
}

impl Scored<'_, '_> {
    fn consider_all(&mut self, control: &dyn Control) -> Result<(), Error> {
        let f = self.user.len().max(1);
        let between_polls = (POLL_NUMBERS / f).next_multiple_of(BLOCK);
        let isa = Isa::detect();
        let mut block_scores = [0f32; BLOCK];
        let mut item = 0u32;
        for items in self.items.chunks(between_polls * f) {
            control.check()?;
            for block in items.chunks(BLOCK * f) {
                let block_scores = &mut block_scores[..block.len() / f];
                scores(isa, self.user, block, block_scores);
                for &score in &*block_scores {
                    self.choice.offer(item, score);
                    item += 1;
                }
            }
        }
        Ok(())
    }
}

impl Best for Scored<'_, '_> {
    fn floor(&self) -> f32 {
        self.choice.top.floor()
    }

    fn consider(&mut self, item: u32) {
        let row = row(self.items, item, self.user.len());
        if !row.is_empty() {
            self.choice.offer(item, dot(self.user, row));
        }
    }
}

fn row(factors: &[f32], index: u32, count: usize) -> &[f32] {
    let start = index as usize * count;
    factors.get(start..start + count).unwrap_or_default()
}
