use teller_numeric::Control;
use teller_payload::{Array, Payload};

use super::choice::Choice;
use super::fold::Joining;
use super::parts::Parts;
use super::reason::{Reason, of_items};
use super::seen::row;
use super::{History, STRANGERS, Scoring};
use crate::Error;
use crate::algorithm::weighting::Weighting;

/// Products between two questions whether to stop: well under a millisecond.
const POLL: usize = 1 << 18;

/// Items with those that are similar to them.
#[derive(Debug)]
struct Neighbors {
    payload: Payload,
    offsets: Array<u64>,
    items: Array<u32>,
    similarities: Array<f32>,
    /// How many items there are in all. Neighbors beyond them are left out of every score.
    count: usize,
    /// Versions from before 0.4.0 do not say.
    weighting: Option<Weighting>,
}

/// Opens the nearest items.
pub(super) fn load(parts: &Parts<'_>) -> Result<Option<Box<dyn Scoring>>, Error> {
    if !parts.has("neighbors") {
        return Ok(None);
    }
    let payload = parts.payload("neighbors")?;
    let wrap = |source| Error::Payload { part: "neighbors", source };
    let (items, shape) = payload.array("items").map_err(wrap)?;
    let count: usize = shape.iter().product();
    let weighting = match payload.arrays().any(|(name, ..)| name == "weighting") {
        true => Some(Weighting::stored(&payload).map_err(wrap)?),
        false => None,
    };
    Ok(Some(Box::new(Neighbors {
        offsets: payload.array_of("offsets", &[parts.items + 1]).map_err(wrap)?,
        similarities: payload.array_of("similarities", &[count]).map_err(wrap)?,
        items,
        payload,
        count: parts.items,
        weighting,
    })))
}

impl Scoring for Neighbors {
    fn needs_weights(&self) -> bool {
        true
    }

    fn weighting(&self) -> Result<Weighting, Error> {
        self.weighting.ok_or(Error::Older(STRANGERS))
    }

    fn scores(&self, history: History<'_>, control: &dyn Control) -> Result<Vec<f32>, Error> {
        self.sums(history, |_| {}, control)
    }

    /// Looks at the neighbors of what was had, and at as many others as can be among the best:
    /// those all have the score 0, so the first of them go before the rest.
    fn choose<'c>(
        &self,
        history: History<'_>,
        candidates: Option<&[u32]>,
        k: usize,
        mut choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        if candidates.is_some() {
            return choice.by_scores(&self.scores(history, control)?, candidates, control);
        }
        let mut touched = Vec::new();
        let scores = self.sums(history, |item| touched.push(item), control)?;
        for touched in touched.chunks(POLL) {
            control.check()?;
            for &item in touched {
                choice.offer(item, scores[item as usize]);
            }
        }
        let untouched = (0..).zip(&scores).filter(|&(_, &score)| score == 0.0);
        let most = k.saturating_add(choice.excluded.len());
        untouched.take(most).for_each(|(item, &score)| choice.offer(item, score));
        Ok(choice)
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
        Ok(of_items(history.items.iter().zip(history.weights).map(|(&had, &weight)| {
            let (others, similarities) = self.row(had);
            let same = others.iter().zip(similarities).filter(|&(&other, _)| other == item);
            (had, same.map(|(_, similarity)| weight * similarity).sum())
        })))
    }

    fn similar<'c>(
        &self,
        item: u32,
        candidates: Option<&[u32]>,
        _k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        let mut scores = vec![0f32; self.count];
        let (others, similarities) = self.row(item);
        for (&other, &similarity) in others.iter().zip(similarities) {
            if let Some(score) = scores.get_mut(other as usize)
                && similarity.is_finite()
            {
                *score = similarity;
            }
        }
        choice.by_scores(&scores, candidates, control)
    }
}

impl Neighbors {
    /// The scores of all items; tells of each that is no longer 0, at least once.
    fn sums(
        &self,
        history: History<'_>,
        mut touch: impl FnMut(u32),
        control: &dyn Control,
    ) -> Result<Vec<f32>, Error> {
        let mut scores = vec![0f32; self.count];
        let mut until_poll = 0;
        for (&item, &weight) in history.items.iter().zip(history.weights) {
            let (others, similarities) = self.row(item);
            if until_poll <= others.len() {
                control.check()?;
                until_poll = POLL;
            }
            until_poll = until_poll.saturating_sub(others.len());
            for (&other, &similarity) in others.iter().zip(similarities) {
                if let Some(score) = scores.get_mut(other as usize) {
                    if *score == 0.0 {
                        touch(other);
                    }
                    *score += weight * similarity;
                }
            }
        }
        Ok(scores)
    }

    /// The items that are similar to one, and how similar they are.
    fn row(&self, item: u32) -> (&[u32], &[f32]) {
        let others = row(&self.payload, self.offsets, self.items, item);
        (others, row(&self.payload, self.offsets, self.similarities, item))
    }
}
