use teller_numeric::{Cancelled, Control};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Dataset, IdRef, Interactions};

/// Users that are asked for, about. More would make the figures no surer, and asking each of
/// millions would take longer than their training.
const MOST_USERS: f64 = 10_000.0;

/// Which pairs of user and item are kept apart from a training: those whose ids have a small hash,
/// whatever else there is and in whatever order.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    /// Of the pairs, more than 0.
    pub(crate) share: f64,
}

/// Data to train on and what is kept apart from it.
pub(crate) struct Parted {
    pub(crate) training: Dataset,
    pub(crate) held_out: Interactions,
}

impl Split {
    /// Parts the data; nothing if either part would be empty.
    pub(crate) fn part(
        &self,
        data: &Dataset,
        control: &dyn Control,
    ) -> Result<Option<Parted>, Cancelled> {
        let all = &data.interactions;
        let asked = Sample { share: MOST_USERS / all.users().len().max(1) as f64, salt: 1 };
        let asked: Vec<bool> =
            (0..all.users().len() as u32).map(|user| asked.has(all, user)).collect();
        let is_held =
            |user: u32, item: u32| asked[user as usize] && below(self.share, pair(all, user, item));
        let training = data.subset(|user, item| !is_held(user, item), control)?;
        let held_out = all.subset(is_held, false, control)?;
        Ok(training.zip(held_out).map(|(training, held_out)| Parted { training, held_out }))
    }
}

/// A share of the users, by a hash of their ids.
pub(crate) struct Sample {
    pub(crate) share: f64,
    pub(crate) salt: u64,
}

impl Sample {
    pub(crate) fn has(&self, data: &Interactions, user: u32) -> bool {
        below(self.share, data.users().get(user).map_or(0, |id| hash(id, self.salt)))
    }
}

fn pair(data: &Interactions, user: u32, item: u32) -> u64 {
    let user = data.users().get(user).map_or(0, |id| hash(id, 0));
    data.items().get(item).map_or(0, |id| hash(id, user))
}

fn hash(id: IdRef<'_>, salt: u64) -> u64 {
    match id {
        IdRef::Integer(id) => xxh3_64_with_seed(&id.to_le_bytes(), salt),
        IdRef::Text(id) => xxh3_64_with_seed(id.as_bytes(), salt),
    }
}

/// Whether a hash is among the lowest `share` of all.
fn below(share: f64, hash: u64) -> bool {
    // 53 bits are exact in a double.
    ((hash >> 11) as f64) < share * (1u64 << 53) as f64
}
