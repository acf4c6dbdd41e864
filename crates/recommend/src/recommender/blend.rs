use std::borrow::Cow;
use std::collections::BTreeMap;

use teller_numeric::Control;
use teller_payload::{AlignedBytes, PayloadWriter, SharedBytes};

use super::choice::Choice;
use super::fold::{Histories, Joining};
use super::parts::Parts;
use super::{Because, History, Reason, Recommender, SIMILAR, Scoring, reason};
use crate::algorithm::weighting::Weighting;
use crate::fitted::seen_payload;
use crate::{Error, Interactions, Part};

/// The part with the members' weights.
const PART: &str = "hybrid";
/// Parts that all members have in common.
const COMMON: [&str; 3] = ["user_ids", "item_ids", "popularity"];
const SEEN: &str = "seen";

/// Several recommenders; a score is the weighted sum of theirs, each brought to mean 0 and variance
/// 1 over all items of a user.
#[derive(Debug)]
pub(crate) struct Blend {
    members: Vec<(f64, Recommender)>,
}

/// The name of a member's part.
fn member_part(member: usize, part: &str) -> String {
    format!("member_{member}_{part}")
}

/// Opens a hybrid.
pub(super) fn load(parts: &Parts<'_>) -> Result<Option<Box<dyn Scoring>>, Error> {
    let inconsistent = |what: &str| Error::Inconsistent(format!("the hybrid {what}"));
    if !parts.has(PART) {
        let orphan = parts.parts.keys().any(|name| name.starts_with("member_"));
        return if orphan { Err(inconsistent("has members without weights")) } else { Ok(None) };
    }
    let payload = parts.payload(PART)?;
    let (weights, shape) =
        payload.array::<f32>("weights").map_err(|source| Error::Payload { part: PART, source })?;
    if shape.len() != 1 || payload.get(weights).iter().any(|weight| !weight.is_finite()) {
        return Err(inconsistent("has weights that are none"));
    }
    let count = shape[0];
    let has_own = payload
        .array_of::<u32>("own", &[count])
        .map_err(|source| Error::Payload { part: PART, source })?;
    let has_own = payload.get(has_own);
    let mut members = Vec::new();
    for (member, &weight) in payload.get(weights).iter().enumerate() {
        let prefix = member_part(member, "");
        let mut own: BTreeMap<String, SharedBytes> = parts
            .parts
            .range(prefix.clone()..)
            .map_while(|(name, bytes)| Some((name.strip_prefix(&prefix)?, bytes)))
            .map(|(name, bytes)| (name.to_owned(), bytes.clone()))
            .collect();
        if own.is_empty() == (has_own[member] == 1) {
            return Err(inconsistent("lacks the numbers of a member"));
        }
        if own.contains_key(PART) {
            return Err(inconsistent("has a hybrid for a member"));
        }
        for part in COMMON {
            own.insert(part.to_owned(), parts.required(part)?);
        }
        if !own.contains_key(SEEN) {
            own.insert(SEEN.to_owned(), parts.required(SEEN)?);
        }
        members.push((f64::from(weight), Recommender::load(&own)?));
    }
    if members.is_empty() {
        return Err(inconsistent("has no members"));
    }
    Ok(Some(Box::new(Blend { members })))
}

impl Blend {
    /// The members that count, with their weights.
    fn counting(&self) -> impl Iterator<Item = &(f64, Recommender)> {
        self.members.iter().filter(|(weight, _)| *weight != 0.0)
    }

    /// What a hybrid stores of its members' weights and of which of them have numbers of their own.
    pub(crate) fn payload(weights: &[f32], members: &[Vec<Part>]) -> AlignedBytes {
        let own = |member: &Vec<Part>| u32::from(own_parts(member, None).next().is_some());
        let own: Vec<u32> = members.iter().map(own).collect();
        let mut writer = PayloadWriter::new();
        writer.array("weights", &[weights.len()], weights);
        writer.array("own", &[own.len()], &own);
        writer.finish()
    }

    /// The members' parts under names of a hybrid that has `seen`.
    pub(crate) fn parts(members: &[Vec<Part>], seen: Option<&AlignedBytes>) -> Vec<Part> {
        let named = |(member, parts): (usize, &Vec<Part>)| {
            let name = |(part, bytes): &Part| (member_part(member, part).into(), bytes.clone());
            own_parts(parts, seen).map(name).collect::<Vec<Part>>()
        };
        members.iter().enumerate().flat_map(named).collect()
    }

    /// A recommender's scores of all items for one of its users, as a hybrid adds them up.
    pub(crate) fn standardized(
        recommender: &Recommender,
        user: u32,
        control: &dyn Control,
    ) -> Result<Vec<f32>, Error> {
        match recommender.history(user) {
            Some(history) => {
                let mut scores = scores(recommender, history, control)?;
                let (mean, deviation) = moments(scores.iter().copied());
                scores
                    .iter_mut()
                    .for_each(|score| *score = standard(*score, mean, deviation) as f32);
                Ok(scores)
            }
            None => Ok(vec![0.0; recommender.items().len()]),
        }
    }
}

/// A member's parts that are not those of the hybrid.
fn own_parts<'f>(
    member: &'f [Part],
    seen: Option<&'f AlignedBytes>,
) -> impl Iterator<Item = &'f Part> {
    member.iter().filter(move |(name, bytes)| {
        !COMMON.contains(&&**name) && (name != SEEN || seen.is_some_and(|seen| **seen != ***bytes))
    })
}

/// What a history counts for a member: as it stored it, or by its own weighting.
fn weights_of<'h>(member: &'h Recommender, history: History<'_>) -> Result<Cow<'h, [f32]>, Error> {
    Ok(match (history.user, &member.scoring) {
        (Some(user), _) => Cow::Borrowed(member.seen.weights(user)),
        (None, Some(scoring)) => {
            let weighting = scoring.weighting()?;
            history.weights.iter().map(|&amount| weighting.count(amount)).collect()
        }
        (None, None) => Cow::Borrowed(&[]),
    })
}

/// A member's scores of all items; the popular items' are how many users had them.
fn scores(
    member: &Recommender,
    history: History<'_>,
    control: &dyn Control,
) -> Result<Vec<f32>, Error> {
    match &member.scoring {
        Some(scoring) => scoring.scores(history, control),
        None => Ok(member.ranking().to_vec()),
    }
}

/// Mean and standard deviation.
fn moments(scores: impl ExactSizeIterator<Item = f32> + Clone) -> (f64, f64) {
    let count = scores.len().max(1) as f64;
    let mean = scores.clone().map(f64::from).sum::<f64>() / count;
    let square = |score: f32| (f64::from(score) - mean) * (f64::from(score) - mean);
    (mean, (scores.map(square).sum::<f64>() / count).sqrt())
}

fn standard(score: f32, mean: f64, deviation: f64) -> f64 {
    if deviation > 0.0 { (f64::from(score) - mean) / deviation } else { 0.0 }
}

impl Scoring for Blend {
    /// The amounts as they are: each member has them count in its own way.
    fn weighting(&self) -> Result<Weighting, Error> {
        for scoring in self.members.iter().filter_map(|(_, member)| member.scoring.as_ref()) {
            scoring.weighting()?;
        }
        Ok(Weighting::Linear)
    }

    fn folds_in(&self) -> Result<Joining, Error> {
        self.members.iter().try_for_each(|(_, member)| member.folds_in().map(|_| ()))?;
        Ok(Joining::Sum(Weighting::Linear))
    }

    /// Folds it in each member, by what that knows of how the items that were had count for it.
    fn fold(
        &self,
        histories: &Histories,
        data: &Interactions,
        control: &dyn Control,
    ) -> Result<Vec<Part>, Error> {
        let fold = |(_, member): &(f64, Recommender)| Ok(member.fold_in(data, control)?.parts);
        let members = self.members.iter().map(fold).collect::<Result<Vec<_>, Error>>()?;
        let seen = seen_payload(&histories.rows.offsets, &histories.rows.columns, None);
        Ok(Self::parts(&members, Some(&seen)))
    }

    fn fold_memory(&self, data: &Interactions) -> u64 {
        self.members.iter().map(|(_, member)| member.fold_in_memory(data)).sum()
    }

    fn scores(&self, history: History<'_>, control: &dyn Control) -> Result<Vec<f32>, Error> {
        let mut sums: Vec<f64> = Vec::new();
        for (weight, member) in self.counting() {
            control.check()?;
            let weights = weights_of(member, history)?;
            let scores = scores(member, History { weights: &weights, ..history }, control)?;
            let (mean, deviation) = moments(scores.iter().copied());
            sums.resize(scores.len().max(sums.len()), 0.0);
            for (sum, &score) in sums.iter_mut().zip(&scores) {
                *sum += weight * standard(score, mean, deviation);
            }
        }
        Ok(sums.into_iter().map(|sum| sum as f32).collect())
    }

    /// As scores are: the weighted sum of what the members that know of similarity say, each brought
    /// to mean 0 and variance 1 over all other items.
    fn similar<'c>(
        &self,
        item: u32,
        candidates: Option<&[u32]>,
        _k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        let mut sums: Vec<f64> = Vec::new();
        for (weight, member) in self.counting() {
            let similar = match member.similar_items(item, usize::MAX, None, control) {
                Err(Error::Unsupported(_)) => continue,
                similar => similar?,
            };
            let (mean, deviation) = moments(similar.iter().map(|&(_, score)| score));
            sums.resize(member.items().len(), 0.0);
            for (other, score) in similar {
                sums[other as usize] += weight * standard(score, mean, deviation);
            }
        }
        if sums.is_empty() {
            return reason::unsupported(SIMILAR);
        }
        let sums: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
        choice.by_scores(&sums, candidates, control)
    }

    /// Each member's reasons by its weight, and what its mean takes away.
    fn explain(
        &self,
        history: History<'_>,
        item: u32,
        control: &dyn Control,
    ) -> Result<Vec<Reason>, Error> {
        let mut reasons = Vec::new();
        for (weight, member) in self.counting() {
            let weights = weights_of(member, history)?;
            let history = History { weights: &weights, ..history };
            let (mean, deviation) = moments(scores(member, history, control)?.iter().copied());
            if deviation == 0.0 {
                continue;
            }
            let own = match &member.scoring {
                Some(scoring) => scoring.explain(history, item, control)?,
                None => {
                    let popularity = member.ranking().get(item as usize).copied();
                    vec![Reason::text("popularity", popularity.unwrap_or_default())]
                }
            };
            let share = |value: f64| (weight * value / deviation) as f32;
            reasons.extend(own.into_iter().map(|reason| {
                let contribution = share(f64::from(reason.contribution));
                Reason { contribution, ..reason }
            }));
            reasons.push(Reason::text("the mean of all items", share(-mean)));
        }
        Ok(merged(reasons))
    }
}

/// One reason of those with the same cause, the greatest first, ties by cause.
fn merged(reasons: Vec<Reason>) -> Vec<Reason> {
    let mut sums: BTreeMap<(Option<u32>, String), f64> = BTreeMap::new();
    let mut paths = Vec::new();
    for Reason { because, contribution } in reasons {
        let cause = match because {
            Because::Item(item) => (Some(item), String::new()),
            Because::Text(text) => (None, text),
            Because::Path(_) => {
                paths.push(Reason { because, contribution });
                continue;
            }
        };
        *sums.entry(cause).or_default() += f64::from(contribution);
    }
    let mut reasons: Vec<Reason> = sums
        .into_iter()
        .map(|((item, text), sum)| match item {
            Some(item) => Reason::item(item, sum as f32),
            None => Reason::text(&text, sum as f32),
        })
        .collect();
    reasons.extend(paths);
    reasons.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
    reasons
}
