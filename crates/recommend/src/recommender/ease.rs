use teller_numeric::Control;
use teller_payload::{Array, Payload, PayloadWriter};

use super::choice::Choice;
use super::fold::{Histories, Joining, part};
use super::parts::{Parts, Stored, get};
use super::reason::{Reason, of_items};
use super::seen::{Seen, row};
use super::{History, Scoring};
use crate::algorithm::weighting::Weighting;
use crate::{Error, Interactions, Part};

/// Numbers read between two questions whether to stop: well under a millisecond.
const POLL: usize = 1 << 18;

/// The part that tells of whom the weights are, where new interactions were folded in since.
const TRAINED: &str = "trained_users";
/// In the place of a user among those whom the training saw, of one who is none of them, or no
/// longer had the same.
const STRANGER: u32 = u32::MAX;

/// Weights between items, factored by the users: see `algorithm::ease::by_users`. The weight from
/// item j to another item i is X_j' M X_i / left_i, with X_i the users of an item.
#[derive(Debug)]
struct Ease {
    payload: Payload,
    /// M times the regularization.
    inverse: Array<f32>,
    regularization: f32,
    left: Array<f32>,
    /// Items of each user whom the training saw.
    trained: Seen,
    /// Of each user which of those he is, or [`STRANGER`]; nothing where they are the same.
    places: Option<Stored<u32>>,
    /// Users of each item whom the training saw.
    item_users: Payload,
    offsets: Array<u64>,
    users: Array<u32>,
    /// How many users the training saw, and how many items there are.
    counts: [usize; 2],
}

/// Opens weights that are factored by the users.
pub(super) fn load(parts: &Parts<'_>) -> Result<Option<Box<dyn Scoring>>, Error> {
    if !parts.has("ease") && !parts.has("item_users") {
        return Ok(None);
    }
    let payload = parts.payload("ease")?;
    let wrap = |source| Error::Payload { part: "ease", source };
    let (inverse, shape) = payload.array("inverse").map_err(wrap)?;
    let (n, m) = (shape.first().copied().unwrap_or_default(), parts.items);
    let (trained, places) = match parts.has(TRAINED) {
        false => (Seen::load(parts, "seen")?, None),
        true => {
            let places = parts.array(TRAINED, "places", &[parts.users])?;
            (Seen::load(&Parts { users: n, ..*parts }, TRAINED)?, Some(places))
        }
    };
    let is_place = |&place: &u32| place == STRANGER || (place as usize) < n;
    let sound = match &places {
        Some(places) => get(places).iter().all(is_place),
        None => n == parts.users,
    };
    if shape != [n, n] || !sound {
        let what = "the weights between items are those of other users";
        return Err(Error::Inconsistent(what.to_owned()));
    }
    let regularization = payload.array_of::<f32>("regularization", &[1]).map_err(wrap)?;
    let regularization = payload.get(regularization)[0];
    let item_users = parts.payload("item_users")?;
    let wrap_users = |source| Error::Payload { part: "item_users", source };
    Ok(Some(Box::new(Ease {
        inverse,
        regularization,
        left: payload.array_of("left", &[m]).map_err(wrap)?,
        offsets: item_users.array_of("offsets", &[m + 1]).map_err(wrap_users)?,
        users: item_users.array("users").map_err(wrap_users)?.0,
        payload,
        item_users,
        trained,
        places,
        counts: [n, m],
    })))
}

impl Scoring for Ease {
    fn weighting(&self) -> Result<Weighting, Error> {
        Ok(Weighting::Binary)
    }

    fn folds_in(&self) -> Result<Joining, Error> {
        Ok(Joining::Sum(self.weighting()?))
    }

    /// The weights stay those of the users whom the training saw; whoever has something new is served
    /// by his items, as a basket is.
    fn fold(
        &self,
        histories: &Histories,
        _data: &Interactions,
        control: &dyn Control,
    ) -> Result<Vec<Part>, Error> {
        control.check()?;
        let place = |old: Option<u32>| old.and_then(|old| self.place(old)).unwrap_or(STRANGER);
        let places: Vec<u32> = histories.unchanged.iter().map(|&old| place(old)).collect();
        let (offsets, items) = self.trained.rows();
        let mut writer = PayloadWriter::new();
        writer.array("places", &[places.len()], &places);
        writer.array("offsets", &[offsets.len()], offsets);
        writer.array("items", &[items.len()], items);
        Ok(vec![part(TRAINED, writer.finish())])
    }

    fn scores(&self, history: History<'_>, control: &dyn Control) -> Result<Vec<f32>, Error> {
        let taste = self.taste(history, control)?;
        let mut scores = self.sums(&taste.by_user, control)?;
        let mut had = history.items.iter().copied().peekable();
        for ((item, score), &left) in (0..).zip(&mut scores).zip(self.payload.get(self.left)) {
            *score = taste.score(had.next_if_eq(&item).is_some(), *score, left);
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
        let Some(candidates) = candidates else {
            return choice.by_scores(&self.scores(history, control)?, None, control);
        };
        let taste = self.taste(history, control)?;
        let mut until_poll = 0;
        for &item in candidates.iter().filter(|&&item| (item as usize) < self.counts[1]) {
            let users = self.users(item);
            if until_poll <= users.len() {
                control.check()?;
                until_poll = POLL;
            }
            until_poll = until_poll.saturating_sub(users.len() + 1);
            let had = history.items.binary_search(&item).is_ok();
            choice.offer(item, taste.score(had, sum(&taste.by_user, users), self.left(item)));
        }
        Ok(choice)
    }

    fn explain(
        &self,
        history: History<'_>,
        item: u32,
        control: &dyn Control,
    ) -> Result<Vec<Reason>, Error> {
        let reach = self.reach(&[item], control)?;
        let left = self.left(item);
        let mut reasons = Vec::with_capacity(history.items.len());
        for &had in history.items.iter().filter(|&&had| had != item) {
            control.check()?;
            reasons.push((had, sum(&reach, self.users(had)) / left));
        }
        Ok(of_items(reasons.into_iter()))
    }

    fn similar<'c>(
        &self,
        item: u32,
        candidates: Option<&[u32]>,
        _k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        let reach = self.reach(&[item], control)?;
        let mut weights = self.sums(&reach, control)?;
        for (weight, &left) in weights.iter_mut().zip(self.payload.get(self.left)) {
            *weight /= left;
            if !weight.is_finite() {
                *weight = 0.0;
            }
        }
        choice.by_scores(&weights, candidates, control)
    }
}

/// What somebody had, told by the users: an item's score is
/// x - (own x + sum of `by_user` over its users) / left, where x is 1 for an item in the history and
/// else 0.
struct Taste<'a> {
    own: f32,
    by_user: std::borrow::Cow<'a, [f32]>,
}

impl Ease {
    /// Which of the users whom the training saw a user is, if he had then what he has now.
    fn place(&self, user: u32) -> Option<u32> {
        match &self.places {
            None => Some(user),
            Some(places) => {
                get(places).get(user as usize).copied().filter(|&place| place != STRANGER)
            }
        }
    }

    /// The users of an item.
    fn users(&self, item: u32) -> &[u32] {
        row(&self.item_users, self.offsets, self.users, item)
    }

    fn left(&self, item: u32) -> f32 {
        self.payload.get(self.left).get(item as usize).copied().unwrap_or(1.0)
    }

    fn row(&self, user: u32) -> &[f32] {
        let n = self.counts[0];
        self.payload.get(self.inverse).get(user as usize * n..).map_or(&[], |rows| &rows[..n])
    }

    /// M times the sum of the items' users.
    fn reach(&self, items: &[u32], control: &dyn Control) -> Result<Vec<f32>, Error> {
        let mut counts = vec![0f32; self.counts[0]];
        for &item in items {
            control.check()?;
            for &user in self.users(item) {
                if let Some(count) = counts.get_mut(user as usize) {
                    *count += 1.0;
                }
            }
        }
        let mut reach = vec![0f32; self.counts[0]];
        for (user, &count) in counts.iter().enumerate().filter(|&(_, &count)| count != 0.0) {
            control.check()?;
            let count = count / self.regularization;
            reach.iter_mut().zip(self.row(user as u32)).for_each(|(reach, m)| *reach += count * m);
        }
        Ok(reach)
    }

    /// The row of XX'M of a user whom the training saw is that of 1 - M times the regularization, so that nothing is to
    /// be multiplied for it.
    fn taste(&self, history: History<'_>, control: &dyn Control) -> Result<Taste<'_>, Error> {
        Ok(match history.user.and_then(|user| self.place(user)) {
            Some(user) => Taste { own: 0.0, by_user: self.row(user).into() },
            None => {
                let mut reach = self.reach(history.items, control)?;
                reach.iter_mut().for_each(|reach| *reach = -*reach);
                Taste { own: 1.0, by_user: reach.into() }
            }
        })
    }

    /// For each item the sum over its users.
    fn sums(&self, by_user: &[f32], control: &dyn Control) -> Result<Vec<f32>, Error> {
        let mut sums = vec![0f32; self.counts[1]];
        let mut until_poll = 0;
        for (user, &number) in (0..).zip(by_user) {
            let items = self.trained.row(user);
            if until_poll <= items.len() {
                control.check()?;
                until_poll = POLL;
            }
            until_poll = until_poll.saturating_sub(items.len() + 1);
            for &item in items {
                if let Some(sum) = sums.get_mut(item as usize) {
                    *sum += number;
                }
            }
        }
        Ok(sums)
    }
}

impl Taste<'_> {
    #[inline]
    fn score(&self, had: bool, sum: f32, left: f32) -> f32 {
        let x = if had { 1.0 } else { 0.0 };
        x - (self.own * x + sum) / left
    }
}

/// The sum over an item's users, in their order as [`Ease::sums`] adds them up.
fn sum(by_user: &[f32], users: &[u32]) -> f32 {
    let of = |&user: &u32| by_user.get(user as usize).copied().unwrap_or_default();
    users.iter().map(of).fold(0.0, |sum, number| sum + number)
}
