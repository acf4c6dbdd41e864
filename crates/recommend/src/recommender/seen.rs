use teller_payload::{Array, Payload};

use super::parts::Parts;
use crate::Error;

/// What each user has had, and what it counts where that matters.
#[derive(Debug)]
pub(super) struct Seen {
    payload: Payload,
    offsets: Array<u64>,
    items: Array<u32>,
    weights: Option<Array<f32>>,
}

impl Seen {
    /// Reads `part`, which is "seen" unless it tells of other users than the recommender's.
    pub(super) fn load(parts: &Parts<'_>, part: &'static str) -> Result<Self, Error> {
        let (n, m) = (parts.users, parts.items);
        let payload = parts.payload(part)?;
        let wrap = |source| Error::Payload { part, source };
        let offsets = payload.array_of::<u64>("offsets", &[n + 1]).map_err(wrap)?;
        let (items, shape) = payload.array::<u32>("items").map_err(wrap)?;
        let count: usize = shape.iter().product();
        let weights = match payload.arrays().any(|(name, ..)| name == "weights") {
            true => Some(payload.array_of("weights", &[count]).map_err(wrap)?),
            false => None,
        };
        let inconsistent = |what: &str| Error::Inconsistent(format!("the seen items {what}"));
        let bounds = payload.get(offsets);
        if bounds.first() != Some(&0) || bounds.last() != Some(&(count as u64)) {
            return Err(inconsistent("are not covered by their offsets"));
        }
        if !bounds.is_sorted() {
            return Err(inconsistent("have offsets that run backwards"));
        }
        let seen = Self { payload, offsets, items, weights };
        for user in 0..n as u32 {
            let row = seen.row(user);
            if !row.is_sorted_by(|a, b| a < b) {
                return Err(inconsistent("of a user are not sorted or not unique"));
            }
            if row.last().is_some_and(|&item| item as usize >= m) {
                return Err(inconsistent("include one that does not exist"));
            }
        }
        Ok(seen)
    }

    /// Where each user's items begin, and the items.
    pub(super) fn rows(&self) -> (&[u64], &[u32]) {
        (self.payload.get(self.offsets), self.payload.get(self.items))
    }

    /// A user's items, ascending.
    pub(super) fn row(&self, user: u32) -> &[u32] {
        self.part(self.items, user)
    }

    /// Whether it is known what the items count.
    pub(super) fn has_weights(&self) -> bool {
        self.weights.is_some()
    }

    /// What a user's items count, if this is known.
    pub(super) fn weights(&self, user: u32) -> &[f32] {
        self.weights.map_or(&[], |weights| self.part(weights, user))
    }

    fn part<T: teller_payload::Element>(&self, array: Array<T>, user: u32) -> &[T] {
        row(&self.payload, self.offsets, array, user)
    }
}

/// Row `index` of a ragged matrix; nothing beyond its end.
pub(super) fn row<T: teller_payload::Element>(
    payload: &Payload,
    offsets: Array<u64>,
    values: Array<T>,
    index: u32,
) -> &[T] {
    let offsets = payload.get(offsets);
    let index = index as usize;
    match (offsets.get(index), offsets.get(index + 1)) {
        (Some(&start), Some(&end)) => {
            payload.get(values).get(start as usize..end as usize).unwrap_or_default()
        }
        _ => &[],
    }
}
