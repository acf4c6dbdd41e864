use std::borrow::Cow;

use teller_numeric::Control;

use super::choice::Choice;
use super::factors::{Factors, open, row};
use super::fold::{FOLDING, Histories, Joining};
use super::parts::Parts;
use super::reason::Reason;
use super::{History, Scoring};
use crate::algorithm::biased_mf::StoredItems;
use crate::vectors::{cosine, dot, length};
use crate::{Error, Interactions, Part};

/// Items compared between two questions whether to stop.
const POLL: usize = 1 << 14;

/// Factors whose products are ratings. Of a user's the last two are its bias with the mean, and 1;
/// of an item's 1, and its bias.
#[derive(Debug)]
struct Ratings {
    factors: Factors,
    mean: f32,
    /// The least and the greatest rating that there was.
    range: [f32; 2],
    /// Versions from before 0.5.0 have none.
    known: Option<StoredItems>,
}

/// Opens the factors of ratings.
pub(super) fn load(parts: &Parts<'_>) -> Result<Option<Box<dyn Scoring>>, Error> {
    if !parts.has("ratings") {
        return Ok(None);
    }
    let payload = parts.payload("ratings")?;
    let wrap = |source| Error::Payload { part: "ratings", source };
    let mean = payload.get(payload.array_of::<f32>("mean", &[1]).map_err(wrap)?)[0];
    let range = payload.get(payload.array_of::<f32>("range", &[2]).map_err(wrap)?);
    let range = [range[0], range[1]];
    let missing = || Error::Inconsistent("the ratings have no factors".to_owned());
    let factors = open(parts)?.ok_or_else(missing)?;
    let sound = mean.is_finite() && range[0] <= range[1] && factors.count >= 2;
    if !sound {
        return Err(Error::Inconsistent("the ratings have no mean, range or biases".to_owned()));
    }
    let known = StoredItems::load(&payload, parts.items, factors.count).map_err(wrap)?;
    Ok(Some(Box::new(Ratings { factors, mean, range, known })))
}

impl Scoring for Ratings {
    fn needs_weights(&self) -> bool {
        true
    }

    fn folds_in(&self) -> Result<Joining, Error> {
        self.known.as_ref().map(|_| Joining::Mean).ok_or(Error::Older(FOLDING))
    }

    fn fold(
        &self,
        histories: &Histories,
        _data: &Interactions,
        control: &dyn Control,
    ) -> Result<Vec<Part>, Error> {
        let known = self.known.as_ref().ok_or(Error::Older(FOLDING))?;
        self.factors.fold_by(histories, control, |history| {
            Ok(Cow::Owned(known.user((history.items, history.weights), control)?))
        })
    }

    fn scores(&self, history: History<'_>, control: &dyn Control) -> Result<Vec<f32>, Error> {
        self.factors.scores(history, control)
    }

    fn choose<'c>(
        &self,
        history: History<'_>,
        candidates: Option<&[u32]>,
        k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        self.factors.choose(history, candidates, k, choice, control)
    }

    fn explain(
        &self,
        history: History<'_>,
        item: u32,
        control: &dyn Control,
    ) -> Result<Vec<Reason>, Error> {
        control.check()?;
        let [user, item] = [self.user(history.user), self.item(Some(item))];
        let mut reasons = vec![
            Reason::text("mean rating", self.mean),
            Reason::text("the user's ratings", user.bias - self.mean),
            Reason::text("the item's ratings", item.bias),
            Reason::text("the user's taste", dot(user.factors, item.factors)),
        ];
        reasons.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
        Ok(reasons)
    }

    fn similar<'c>(
        &self,
        item: u32,
        candidates: Option<&[u32]>,
        _k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        // Of the taste alone: items rated as high are not alike.
        let like = self.item(Some(item)).factors;
        let like_length = length(like);
        let count = self.factors.items().len() / self.factors.count;
        choice.by(count, candidates, POLL, control, |other| {
            cosine(like, like_length, self.item(Some(other)).factors)
        })
    }

    fn factors(&self) -> Option<[(&[f32], usize); 2]> {
        self.factors.factors()
    }

    fn rating(&self, user: Option<u32>, item: Option<u32>) -> Option<f32> {
        let [user, item] = [self.user(user), self.item(item)];
        let rating = user.bias + item.bias + dot(user.factors, item.factors);
        // Not `clamp`: what is not a number stays so.
        Some(rating.max(self.range[0]).min(self.range[1]))
    }
}

/// One side's part of a rating.
#[derive(Default)]
struct Side<'a> {
    bias: f32,
    factors: &'a [f32],
}

impl Ratings {
    /// An unknown user is the mean one.
    fn user(&self, user: Option<u32>) -> Side<'_> {
        let row = user.map_or(&[][..], |user| row(self.factors.users(), user, self.factors.count));
        match row {
            [factors @ .., bias, _] => Side { bias: *bias, factors },
            _ => Side { bias: self.mean, factors: &[] },
        }
    }

    fn item(&self, item: Option<u32>) -> Side<'_> {
        let row = item.map_or(&[][..], |item| row(self.factors.items(), item, self.factors.count));
        match row {
            [factors @ .., _, bias] => Side { bias: *bias, factors },
            _ => Side::default(),
        }
    }
}
