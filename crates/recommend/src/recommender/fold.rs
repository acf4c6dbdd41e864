//! New interactions in a trained recommender, without training it again: the items' numbers stay,
//! and whoever has new interactions is solved anew.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use teller_numeric::Control;
use teller_payload::AlignedBytes;

use super::{Recommender, Scoring, reason};
use crate::algorithm::weighting::Weighting;
use crate::csr::{Csr, POLL};
use crate::fitted::{FittedRecommender, Part, popularity_payload, seen_payload};
use crate::ids::IdsBuilder;
use crate::{Error, IdRef, IdsView, Interactions};

/// What foldings ask of an algorithm.
pub(super) const FOLDING: &str = "take in new interactions";

/// How what is new of a user joins what he had.
#[derive(Clone, Copy, Debug)]
pub(super) enum Joining {
    /// Amounts of an item add up, and the sum counts so.
    Sum(Weighting),
    /// Of ratings of an item the mean counts.
    Mean,
}

/// What all users had, those whom the model knew and new ones.
pub(super) struct Histories {
    /// What each user's items count.
    pub(super) rows: Csr,
    /// Of each user the index by which the model knew him, where nothing is new of him.
    pub(super) unchanged: Vec<Option<u32>>,
}

/// What a folding met.
#[derive(Default)]
struct Counts {
    new_users: u64,
    changed_users: u64,
    unknown_items: u64,
    unknown_interactions: u64,
}

impl Recommender {
    /// The recommender that also knows these interactions: of users whom it knew, which are added to
    /// what they had, and of new ones. Items stay as they are, and interactions with items that it
    /// does not know are only counted, in the metrics. A user gets the numbers that a training with
    /// these items would give him for all that he has now, those of [`Self::recommend_from`] where
    /// baskets are served; those without anything new keep theirs. Runs on the ambient rayon pool.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the items' numbers hang on the users, [`Error::Older`] where the
    /// stored numbers do not tell how new users are served; [`Error::OtherIds`] where ids are integers
    /// there and texts here; [`Error::NoRows`] where no item of the interactions is known.
    pub fn fold_in(
        &self,
        data: &Interactions,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        let (scoring, joining) = self.folds_in()?;
        same_kind("user", data.users(), self.users())?;
        same_kind("item", data.items(), self.items())?;
        let (ids, histories, counts) = self.histories(data, joining, control)?;
        if counts.new_users + counts.changed_users == 0 {
            return Err(Error::NoRows("interactions with items that the model knows"));
        }
        let mut made = scoring.fold(&histories, data, control)?;
        let Histories { rows: Csr { offsets, columns, values }, .. } = histories;
        let mut popularity = vec![0u32; self.items().len()];
        columns.iter().for_each(|&item| popularity[item as usize] += 1);
        let popularity: Vec<f32> = popularity.into_iter().map(|count| count as f32).collect();
        let metrics = vec![
            ("users", (offsets.len() - 1) as f64),
            ("items", popularity.len() as f64),
            ("interactions", columns.len() as f64),
            ("duplicates", data.duplicates() as f64),
            ("new_users", counts.new_users as f64),
            ("changed_users", counts.changed_users as f64),
            ("unknown_items", counts.unknown_items as f64),
            ("unknown_interactions", counts.unknown_interactions as f64),
        ];
        let weights = scoring.needs_weights().then_some(&values[..]);
        made.extend([
            part("user_ids", ids),
            part("seen", seen_payload(&offsets, &columns, weights)),
            part("popularity", popularity_payload(&popularity)),
        ]);
        for (name, stored) in self.parts() {
            control.check()?;
            if made.iter().all(|(other, _)| other != name) {
                let copy = AlignedBytes::from(stored);
                made.push((Cow::Owned(name.to_owned()), Arc::new(copy)));
            }
        }
        Ok(FittedRecommender::of_parts(metrics, made))
    }

    /// What takes new interactions in, and how those join what there was.
    pub(super) fn folds_in(&self) -> Result<(&dyn Scoring, Joining), Error> {
        match &self.scoring {
            Some(scoring) => Ok((&**scoring, scoring.folds_in()?)),
            None => reason::unsupported(FOLDING),
        }
    }

    /// Bytes that [`Self::fold_in`] takes, its result included.
    pub fn fold_in_memory(&self, data: &Interactions) -> u64 {
        let stored: usize = self.parts().map(|(_, part)| part.len()).sum();
        let added = (data.len() * 8 + data.users().len() * 24) as u64;
        let numbers = self.scoring.as_ref().map_or(0, |scoring| scoring.fold_memory(data));
        2 * (stored as u64 + added + numbers) + data.users().text_bytes()
    }

    fn histories(
        &self,
        data: &Interactions,
        joining: Joining,
        control: &dyn Control,
    ) -> Result<(AlignedBytes, Histories, Counts), Error> {
        let mut counts = Counts::default();
        let given = match joining {
            Joining::Sum(_) => Cow::Borrowed(data.by_user()),
            Joining::Mean => data.ratings(),
        };
        let items: Vec<Option<u32>> = (0..data.items().len() as u32)
            .map(|item| data.items().get(item).and_then(|id| self.item_index(id)))
            .collect();
        counts.unknown_items = items.iter().filter(|item| item.is_none()).count() as u64;
        let mut ids = IdsBuilder::like(self.users());
        let mut rows = Csr { offsets: vec![0], columns: Vec::new(), values: Vec::new() };
        let mut unchanged = Vec::with_capacity(self.users().len());
        let (mut old, mut new) = (0u32, 0u32);
        let mut until_poll = 0;
        loop {
            let (before, after) = (self.user_id(old), data.users().get(new));
            let order = match (before, after) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(after)) => compare(before, after),
            };
            let known = order.is_le().then_some(old);
            let (had, weights) =
                known.map_or((&[][..], &[][..]), |user| (self.seen(user), self.seen.weights(user)));
            let added = if order.is_ge() { given.row(new as usize) } else { (&[][..], &[][..]) };
            old += u32::from(order.is_le());
            new += u32::from(order.is_ge());
            if until_poll <= had.len() + added.0.len() {
                control.check()?;
                until_poll = POLL;
            }
            until_poll = until_poll.saturating_sub(had.len() + added.0.len() + 1);
            // Both sides' ids are sorted, so known items ascend as the data's indexes do.
            let mut added = added.0.iter().zip(added.1).filter_map(|(&item, &weight)| {
                let item = items.get(item as usize).copied().flatten();
                counts.unknown_interactions += u64::from(item.is_none());
                Some((item?, weight))
            });
            let first = added.next();
            match (known, first) {
                (None, None) => continue,
                (None, Some(_)) => counts.new_users += 1,
                (Some(_), Some(_)) => counts.changed_users += 1,
                (Some(_), None) => {}
            }
            unchanged.push(known.filter(|_| first.is_none()));
            ids.push(if known.is_some() { before } else { after })?;
            // Without weights everything counts as 1.
            let weights = weights.iter().copied().chain(std::iter::repeat(1.0));
            let had = had.iter().copied().zip(weights);
            let added = first.into_iter().chain(added);
            merge(&mut rows, had, added, joining);
        }
        Ok((ids.finish().payload(), Histories { rows, unchanged }, counts))
    }
}

impl Joining {
    /// What an item counts of which there was so much, as it counted, and is so much more, as it was
    /// given.
    fn join(self, counted: Option<f32>, added: f32) -> f32 {
        match (self, counted) {
            (Self::Sum(weighting), None) => weighting.count(added),
            (Self::Sum(weighting), Some(counted)) => {
                let sum = f64::from(weighting.uncount(counted)) + f64::from(added);
                weighting.count((sum as f32).min(f32::MAX))
            }
            (Self::Mean, None) => added,
            (Self::Mean, Some(rating)) => ((f64::from(rating) + f64::from(added)) / 2.0) as f32,
        }
    }
}

/// A part of a name.
pub(super) fn part(name: &'static str, bytes: AlignedBytes) -> Part {
    (Cow::Borrowed(name), Arc::new(bytes))
}

/// Adds a row of what was had, as it counts, and what is added to it, as it was given.
fn merge(
    rows: &mut Csr,
    had: impl Iterator<Item = (u32, f32)>,
    added: impl Iterator<Item = (u32, f32)>,
    joining: Joining,
) {
    let (mut had, mut added) = (had.peekable(), added.peekable());
    loop {
        let (item, counted) = match (had.peek().copied(), added.peek().copied()) {
            (None, None) => break,
            (Some((item, counted)), other) if other.is_none_or(|(other, _)| item < other) => {
                had.next();
                (item, counted)
            }
            (before, Some((item, weight))) => {
                added.next();
                let counted = before.filter(|&(same, _)| same == item).map(|(_, counted)| counted);
                if counted.is_some() {
                    had.next();
                }
                (item, joining.join(counted, weight))
            }
            // What was had is less than nothing that is added: it was taken above.
            (Some(_), None) => break,
        };
        rows.columns.push(item);
        rows.values.push(counted);
    }
    rows.offsets.push(rows.columns.len() as u64);
}

fn compare(a: IdRef<'_>, b: IdRef<'_>) -> Ordering {
    match (a, b) {
        (IdRef::Integer(a), IdRef::Integer(b)) => a.cmp(&b),
        (IdRef::Text(a), IdRef::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (IdRef::Integer(_), IdRef::Text(_)) => Ordering::Less,
        (IdRef::Text(_), IdRef::Integer(_)) => Ordering::Greater,
    }
}

fn same_kind(column: &'static str, got: IdsView<'_>, expected: IdsView<'_>) -> Result<(), Error> {
    let kind = |ids: IdsView<'_>| if ids.are_integers() { "integers" } else { "texts" };
    if got.are_integers() == expected.are_integers() {
        return Ok(());
    }
    Err(Error::OtherIds { column, got: kind(got), expected: kind(expected) })
}
