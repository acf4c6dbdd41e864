use std::borrow::Cow;

use rayon::prelude::*;
use teller_numeric::kernels::{dots, dots_at};
use teller_numeric::{Control, Isa};

use super::choice::Choice;
use super::fold::{Histories, Joining, part};
use super::parts::{Parts, Stored, get};
use super::reason::{Reason, of_items};
use super::{History, STRANGERS, Scoring, content, graph};
use crate::algorithm::weighting::Weighting;
use crate::fitted::matrix;
use crate::fold_in::FoldIn;
use crate::index::{Best, ItemIndex};
use crate::vectors::{cosine, dot, length};
use crate::{Error, Interactions, Part};

/// Items scored between two looks at the threshold.
const BLOCK: usize = 256;
/// With more than one in so many of the items to choose, a search would look at most of them.
const SEARCHED_SHARE: usize = 32;
/// Numbers read between two questions whether to stop: well under a millisecond.
const POLL_NUMBERS: usize = 1 << 20;

/// What may be missing from the sum of a score's reasons, of the greatest of them or of the numbers
/// that the score adds up, which may nearly cancel: rounding.
const REMAINDER: f64 = 1e-5;

/// Factors of users and items; a score is the dot product of two rows.
#[derive(Debug)]
pub(super) struct Factors {
    pub(super) count: usize,
    users: Stored<f32>,
    items: Stored<f32>,
    /// Versions from before 0.4.0 and small ones have none.
    index: Option<ItemIndex>,
    /// Versions from before 0.4.0 have none.
    fold_in: Option<FoldIn>,
}

/// Opens the factors, where they are all that scores follow from.
pub(super) fn load(parts: &Parts<'_>) -> Result<Option<Box<dyn Scoring>>, Error> {
    if parts.has(content::PART) || parts.has(graph::PART) || parts.has("ratings") {
        return Ok(None);
    }
    Ok(open(parts)?.map(|factors| Box::new(factors) as Box<dyn Scoring>))
}

/// Opens the factors.
pub(super) fn open(parts: &Parts<'_>) -> Result<Option<Factors>, Error> {
    if !parts.has("user_factors") && !parts.has("item_factors") {
        return Ok(None);
    }
    let wrap = |part| move |source| Error::Payload { part, source };
    let payload = parts.payload("item_factors")?;
    let (_, shape) = payload.array::<f32>("factors").map_err(wrap("item_factors"))?;
    let count = shape.last().copied().unwrap_or_default();
    if count == 0 {
        return Err(Error::Inconsistent("items have no factors".to_owned()));
    }
    let items = payload.array_of("factors", &[parts.items, count]).map_err(wrap("item_factors"))?;
    let users = parts.array("user_factors", "factors", &[parts.users, count])?;
    let index = parts.get("item_index").map(|bytes| ItemIndex::load(bytes, parts.items, count));
    let index = index.transpose().map_err(wrap("item_index"))?;
    let fold_in = parts.get("fold_in").map(|bytes| FoldIn::load(bytes, count));
    let fold_in = fold_in.transpose().map_err(wrap("fold_in"))?;
    Ok(Some(Factors { count, users, items: (payload, items), index, fold_in }))
}

impl Scoring for Factors {
    fn needs_weights(&self) -> bool {
        self.fold_in.is_some()
    }

    fn weighting(&self) -> Result<Weighting, Error> {
        self.fold_in.as_ref().map(FoldIn::weighting).ok_or(Error::Older(STRANGERS))
    }

    fn factors(&self) -> Option<[(&[f32], usize); 2]> {
        Some([(get(&self.users), self.count), (get(&self.items), self.count)])
    }

    fn scores(&self, history: History<'_>, control: &dyn Control) -> Result<Vec<f32>, Error> {
        self.scores_for(&self.taste(history, control)?, control)
    }

    fn choose<'c>(
        &self,
        history: History<'_>,
        candidates: Option<&[u32]>,
        k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        self.choose_for(&self.taste(history, control)?, candidates, k, choice, control)
    }

    fn folds_in(&self) -> Result<Joining, Error> {
        Ok(Joining::Sum(self.weighting()?))
    }

    fn fold(
        &self,
        histories: &Histories,
        _data: &Interactions,
        control: &dyn Control,
    ) -> Result<Vec<Part>, Error> {
        self.fold_by(histories, control, |history| self.taste(history, control))
    }

    fn explain(
        &self,
        history: History<'_>,
        item: u32,
        control: &dyn Control,
    ) -> Result<Vec<Reason>, Error> {
        let fold_in = self.fold_in.as_ref().ok_or(Error::Older("say why it recommends an item"))?;
        let items = get(&self.items);
        let had = (history.items, history.weights);
        let contributions = fold_in.contributions(items, had, item, control)?;
        let (taste, row) = (self.taste(history, control)?, row(items, item, self.count));
        let score = dot(&taste, row);
        let sum: f64 = contributions.iter().map(|&contribution| f64::from(contribution)).sum();
        let parts = contributions.iter().map(|&part| f64::from(part).abs());
        let largest = parts.fold(length(&taste) * length(row), f64::max);
        let remainder = f64::from(score) - sum;
        let mut reasons = of_items(history.items.iter().copied().zip(contributions));
        if remainder.abs() > REMAINDER * largest {
            reasons.push(Reason::text("remainder", remainder as f32));
        }
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
        let items = get(&self.items);
        let scale = self.fold_in.as_ref().and_then(FoldIn::scale);
        let compared = self.fold_in.as_ref().map_or(self.count, FoldIn::compared);
        let mut scaled = vec![0f32; self.count];
        let like = &row(items, item, self.count)[..compared];
        let like = match scale {
            None => like.to_vec(),
            Some(scale) => like.iter().zip(scale).map(|(x, scale)| x * scale).collect(),
        };
        let like_length = length(&like);
        let mut cosine = |other: &[f32]| match scale {
            None => cosine(&like, like_length, other),
            Some(scale) => {
                let products = other.iter().zip(scale).map(|(x, scale)| x * scale);
                scaled.iter_mut().zip(products).for_each(|(scaled, product)| *scaled = product);
                cosine(&like, like_length, &scaled)
            }
        };
        let between_polls = (POLL_NUMBERS / self.count).max(1);
        choice.by(items.len() / self.count, candidates, between_polls, control, |other| {
            cosine(&row(items, other, self.count)[..compared])
        })
    }
}

impl Factors {
    /// The scores of all items for somebody with these factors.
    pub(super) fn scores_for(
        &self,
        user: &[f32],
        control: &dyn Control,
    ) -> Result<Vec<f32>, Error> {
        let items = get(&self.items);
        let mut all = vec![0f32; items.len() / self.count];
        let rows = (POLL_NUMBERS / self.count).max(1);
        let isa = Isa::detect();
        for (items, all) in items.chunks(rows * self.count).zip(all.chunks_mut(rows)) {
            control.check()?;
            dots(isa, user, items, all);
        }
        Ok(all)
    }

    /// Offers the candidates, or at least all items that may be among the best `k`, with their
    /// scores for somebody with these factors.
    pub(super) fn choose_for<'c>(
        &self,
        user: &[f32],
        candidates: Option<&[u32]>,
        k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        let items = get(&self.items);
        let mut scored = Scored { choice, user, items };
        match (candidates, &self.index) {
            (Some(candidates), _) => scored.consider_some(candidates, control)?,
            (None, Some(index))
                if k <= items.len() / self.count / SEARCHED_SHARE
                    && index.search(user, &mut scored, control)? => {}
            (None, _) => scored.consider_all(control)?,
        }
        Ok(scored.choice)
    }

    /// Whether it is known how somebody is served whom no training saw.
    pub(super) fn knows_others(&self) -> bool {
        self.fold_in.is_some()
    }

    /// The factors of the users when these are their histories, those of changed ones by `taste`.
    pub(super) fn fold_by<'a>(
        &self,
        histories: &Histories,
        control: &dyn Control,
        taste: impl Fn(History<'_>) -> Result<Cow<'a, [f32]>, Error> + Sync,
    ) -> Result<Vec<Part>, Error> {
        const USERS: usize = 32;
        let before = get(&self.users);
        let mut users = vec![0f32; histories.unchanged.len() * self.count];
        users.par_chunks_mut(USERS * self.count).enumerate().try_for_each(|(chunk, users)| {
            control.check()?;
            for (i, factors) in users.chunks_exact_mut(self.count).enumerate() {
                let user = chunk * USERS + i;
                match histories.unchanged[user] {
                    Some(old) => factors.copy_from_slice(row(before, old, self.count)),
                    None => {
                        let (items, weights) = histories.rows.row(user);
                        let history = History { user: None, items, weights };
                        factors.copy_from_slice(&taste(history)?);
                    }
                }
            }
            Ok::<_, Error>(())
        })?;
        Ok(vec![part("user_factors", matrix(users, self.count))])
    }

    /// The factors of an item; nothing of one that does not exist.
    pub(super) fn item(&self, item: u32) -> &[f32] {
        row(get(&self.items), item, self.count)
    }

    pub(super) fn users(&self) -> &[f32] {
        get(&self.users)
    }

    pub(super) fn items(&self) -> &[f32] {
        get(&self.items)
    }

    /// The factors of somebody.
    pub(super) fn taste(
        &self,
        history: History<'_>,
        control: &dyn Control,
    ) -> Result<Cow<'_, [f32]>, Error> {
        match (history.user, &self.fold_in) {
            (Some(user), _) => Ok(Cow::Borrowed(row(get(&self.users), user, self.count))),
            (None, Some(fold_in)) => {
                let row = (history.items, history.weights);
                Ok(Cow::Owned(fold_in.solve(get(&self.items), row, control)?))
            }
            (None, None) => Err(Error::Older(STRANGERS)),
        }
    }
}

/// Scores items for a user by the factors.
struct Scored<'a, 'c> {
    choice: Choice<'c>,
    user: &'a [f32],
    items: &'a [f32],
}

impl Scored<'_, '_> {
    fn consider_some(&mut self, items: &[u32], control: &dyn Control) -> Result<(), Error> {
        let f = self.user.len().max(1);
        let isa = Isa::detect();
        let mut block_scores = [0f32; BLOCK];
        for items in items.chunks((POLL_NUMBERS / f).next_multiple_of(BLOCK)) {
            control.check()?;
            for block in items.chunks(BLOCK) {
                dots_at(isa, self.user, self.items, block, &mut block_scores[..block.len()]);
                for (&item, &score) in block.iter().zip(&block_scores) {
                    if (item as usize) < self.items.len() / f {
                        self.choice.offer(item, score);
                    }
                }
            }
        }
        Ok(())
    }

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
                dots(isa, self.user, block, block_scores);
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

pub(super) fn row(factors: &[f32], index: u32, count: usize) -> &[f32] {
    let start = index as usize * count;
    factors.get(start..start + count).unwrap_or_default()
}
