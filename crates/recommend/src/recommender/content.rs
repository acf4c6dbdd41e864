use std::borrow::Cow;

use teller_numeric::Control;
use teller_payload::{Array, Payload};

use super::choice::Choice;
use super::factors::{self, Factors};
use super::fold::{Histories, Joining};
use super::parts::Parts;
use super::reason::Reason;
use super::seen::row;
use super::{History, Scoring};
use crate::algorithm::weighting::Weighting;
use crate::{Error, Interactions, Part, TopK};

/// The name of the part.
pub(super) const PART: &str = "content";

/// Items by what is known of them: factors that are features, reduced.
#[derive(Debug)]
struct Content {
    factors: Factors,
    payload: Payload,
    /// Of each item its features.
    offsets: Array<u64>,
    features: Array<u32>,
    values: Array<f32>,
    /// How long each item's factors were before they got the length 1.
    lengths: Array<f32>,
    /// What each feature adds to the factors: features x factors.
    directions: Array<f32>,
    name_offsets: Array<u64>,
    names: Array<u8>,
    weighting: Weighting,
}

/// Opens the features and the factors.
pub(super) fn load(parts: &Parts<'_>) -> Result<Option<Box<dyn Scoring>>, Error> {
    if !parts.has(PART) {
        return Ok(None);
    }
    let Some(factors) = factors::open(parts)? else {
        return Err(Error::Inconsistent("there are features without factors".to_owned()));
    };
    let payload = parts.payload(PART)?;
    let wrap = |source| Error::Payload { part: PART, source };
    let (features, shape) = payload.array("features").map_err(wrap)?;
    let count: usize = shape.iter().product();
    let (directions, shape) = payload.array::<f32>("directions").map_err(wrap)?;
    let distinct = shape.first().copied().unwrap_or_default();
    if shape != [distinct, factors.count] {
        let what = "features and items are in different directions";
        return Err(Error::Inconsistent(what.to_owned()));
    }
    Ok(Some(Box::new(Content {
        offsets: payload.array_of("offsets", &[parts.items + 1]).map_err(wrap)?,
        values: payload.array_of("values", &[count]).map_err(wrap)?,
        lengths: payload.array_of("lengths", &[parts.items]).map_err(wrap)?,
        name_offsets: payload.array_of("name_offsets", &[distinct + 1]).map_err(wrap)?,
        names: payload.array("names").map_err(wrap)?.0,
        weighting: Weighting::stored(&payload).map_err(wrap)?,
        features,
        directions,
        factors,
        payload,
    })))
}

impl Scoring for Content {
    fn needs_weights(&self) -> bool {
        true
    }

    fn weighting(&self) -> Result<Weighting, Error> {
        Ok(self.weighting)
    }

    fn factors(&self) -> Option<[(&[f32], usize); 2]> {
        self.factors.factors()
    }

    fn scores(&self, history: History<'_>, control: &dyn Control) -> Result<Vec<f32>, Error> {
        self.factors.scores_for(&self.taste(history, control)?, control)
    }

    fn choose<'c>(
        &self,
        history: History<'_>,
        candidates: Option<&[u32]>,
        k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        self.factors.choose_for(&self.taste(history, control)?, candidates, k, choice, control)
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
        self.factors.fold_by(histories, control, |history| self.taste(history, control))
    }

    /// What each feature of the item adds to its cosine with what somebody had.
    fn explain(
        &self,
        history: History<'_>,
        item: u32,
        control: &dyn Control,
    ) -> Result<Vec<Reason>, Error> {
        control.check()?;
        let user = self.taste(history, control)?;
        let length = self.payload.get(self.lengths).get(item as usize).copied().unwrap_or_default();
        if length <= 0.0 {
            return Ok(Vec::new());
        }
        let features = row(&self.payload, self.offsets, self.features, item);
        let values = row(&self.payload, self.offsets, self.values, item);
        let directions = self.payload.get(self.directions);
        let mut top = TopK::new(usize::MAX);
        for (&feature, &value) in features.iter().zip(values) {
            let direction = directions
                .chunks_exact(self.factors.count)
                .nth(feature as usize)
                .unwrap_or_default();
            let along: f64 =
                user.iter().zip(direction).map(|(&u, &d)| f64::from(u) * f64::from(d)).sum();
            let contribution = (f64::from(value) * along / f64::from(length)) as f32;
            if contribution != 0.0 {
                top.offer(feature, contribution);
            }
        }
        let reasons = top.finish().into_iter();
        Ok(reasons.map(|(feature, part)| Reason::text(&self.name(feature), part)).collect())
    }

    fn similar<'c>(
        &self,
        item: u32,
        candidates: Option<&[u32]>,
        k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        self.factors.similar(item, candidates, k, choice, control)
    }
}

impl Content {
    /// The factors of a user, or the weighted mean of those of what somebody has.
    fn taste(&self, history: History<'_>, control: &dyn Control) -> Result<Cow<'_, [f32]>, Error> {
        if history.user.is_some() {
            return self.factors.taste(history, control);
        }
        let mut sums = vec![0f64; self.factors.count];
        let mut total = 0f64;
        for (&item, &weight) in history.items.iter().zip(history.weights) {
            let weight = f64::from(weight);
            total += weight;
            let factors = self.factors.item(item);
            sums.iter_mut().zip(factors).for_each(|(sum, &x)| *sum += weight * f64::from(x));
        }
        let mean = |sum: f64| if total > 0.0 { (sum / total) as f32 } else { 0.0 };
        Ok(Cow::Owned(sums.into_iter().map(mean).collect()))
    }

    fn name(&self, feature: u32) -> String {
        String::from_utf8_lossy(row(&self.payload, self.name_offsets, self.names, feature)).into()
    }
}
