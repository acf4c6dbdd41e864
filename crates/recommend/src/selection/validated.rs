use teller_numeric::Control;
use teller_payload::{SharedBytes, TrainingKey};

use super::split::{Parted, Split};
use super::stages::{Stage, Stages, Telling};
use crate::algorithm::{Algorithm, Size, Takes};
use crate::recommender::load_fitted;
use crate::{Dataset, Error, FittedRecommender, evaluate};

/// Grows whenever the checkpoint's arrays change their meaning.
const REVISION: u32 = 1;

/// Ranks up to here count.
pub(crate) const K: usize = 10;

/// The figure that tells the most.
pub(crate) const NDCG: &str = "ndcg@10";

/// Trains on a part of the data, measures that on the rest, and then trains on all of it.
#[derive(Debug)]
pub(crate) struct Validated {
    pub(crate) split: Split,
    pub(crate) algorithm: Box<dyn Algorithm>,
}

impl Algorithm for Validated {
    fn name(&self) -> &'static str {
        self.algorithm.name()
    }

    fn takes(&self) -> Takes {
        self.algorithm.takes()
    }

    fn step_noun(&self) -> &'static str {
        self.algorithm.step_noun()
    }

    fn seed(&self) -> Option<u64> {
        self.algorithm.seed()
    }

    fn with_fewer_factors(&self, factors: usize) -> Option<Box<dyn Algorithm>> {
        let algorithm = self.algorithm.with_fewer_factors(factors)?;
        Some(Box::new(Self { split: self.split.clone(), algorithm }))
    }

    fn with_less_memory(&self) -> Option<Box<dyn Algorithm>> {
        let algorithm = self.algorithm.with_less_memory()?;
        Some(Box::new(Self { split: self.split.clone(), algorithm }))
    }

    fn working_memory(&self, size: &Size) -> u64 {
        validation_memory(&*self.algorithm, size)
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        self.algorithm.stored_memory(size)
    }

    fn fit(
        &self,
        data: &Dataset,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        let Some(parted) = self.split.part(data, control)? else {
            let fitted = self.algorithm.fit(data, resume, control)?;
            return Ok(FittedRecommender { validation: nothing(), ..fitted });
        };
        let key = key(&format!("validated {REVISION} {self:?}"), data, Some(&parted), control)?;
        let mut stages = Stages::begin(key, resume, 1, control)?;
        let rows = parted.training.interactions.len() as u64;
        let measured = stages.run(Telling::Steps(2), Some(NDCG), rows, |resume, control| {
            let (_, figures) = measure(&*self.algorithm, &parted, resume, control)?;
            Ok(Stage { figures, parts: Vec::new() })
        })?;
        drop(parted);
        let fitted = stages.finish(|resume, control| self.algorithm.fit(data, resume, control))?;
        Ok(FittedRecommender { validation: measured.figures, ..fitted })
    }
}

/// What is told where there are too few pairs to keep any apart.
pub(crate) fn nothing() -> Vec<(String, f64)> {
    vec![("users".to_owned(), 0.0)]
}

/// Trains on the one part and measures on the other.
pub(crate) fn measure(
    algorithm: &dyn Algorithm,
    parted: &Parted,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<(FittedRecommender, Vec<(String, f64)>), Error> {
    let fitted = algorithm.fit(&parted.training, resume, control)?;
    let figures = evaluate(&load_fitted(&fitted.parts)?, &parted.held_out, K, control)?;
    Ok((fitted, figures))
}

/// Bytes of [`Algorithm::fit`] on a part of the data, with that part, what is kept apart from it,
/// and the measured recommender.
pub(crate) fn validation_memory(algorithm: &dyn Algorithm, size: &Size) -> u64 {
    let data = size.matrix().saturating_add(size.texts);
    let measured = algorithm.stored_memory(size).saturating_add(data).saturating_mul(2);
    let scores = size.items.saturating_mul(16).saturating_mul(size.threads);
    (data.saturating_mul(2))
        .saturating_add(algorithm.working_memory(size).max(measured.saturating_add(scores)))
}

/// Of a training that depends on how the data is parted, which the ids decide.
pub(crate) fn key(
    parameters: &str,
    data: &Dataset,
    parted: Option<&Parted>,
    control: &dyn Control,
) -> Result<TrainingKey, Error> {
    let mut digest = data.interactions.digest(control)?;
    if let Some(Parted { held_out, .. }) = parted {
        digest.update(&held_out.by_user().offsets);
        digest.update(&held_out.by_user().columns);
    }
    Ok(TrainingKey::new(parameters, digest))
}
