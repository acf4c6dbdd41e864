use teller_numeric::{Control, OptionError, Options};
use teller_payload::SharedBytes;

use super::{Algorithm, Size, Takes, refuse_checkpoint};
use crate::fitted::{Numbers, popularity_payload};
use crate::recommender::RECENT;
use crate::{Dataset, Error, FittedRecommender};

/// Ranks items by how many distinct users had them: what every other algorithm must beat, and
/// what it falls back to for unknown users.
#[derive(Clone, Debug)]
pub struct PopularParams {
    /// A user counts half as much for each so many days that the last of all interactions is later
    /// than his; without, all count alike.
    pub half_life: Option<f64>,
}

impl PopularParams {
    /// Reads `half_life`.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let half_life = match options.value("half_life") {
            None => None,
            Some(_) => Some(options.number("half_life", 30.0, 1e-3..=1e6)?),
        };
        Ok(Self { half_life })
    }
}

impl Algorithm for PopularParams {
    fn name(&self) -> &'static str {
        "popular"
    }

    fn takes(&self) -> Takes {
        Takes { times: self.half_life.is_some(), ..Takes::default() }
    }

    fn working_memory(&self, size: &Size) -> u64 {
        if self.half_life.is_some() { size.items.saturating_mul(8) } else { 0 }
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        if self.half_life.is_some() { size.items.saturating_mul(4) } else { 0 }
    }

    fn fit(
        &self,
        data: &Dataset,
        resume: Option<SharedBytes>,
        _control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        refuse_checkpoint(resume)?;
        let mut parts = Vec::new();
        if let Some(half_life) = self.half_life {
            let recent = data.interactions.recent_popularity(half_life).ok_or(Error::Lacks {
                algorithm: "popular with a half_life",
                needs: "times (the column \"time\")",
            })?;
            parts.push((RECENT, popularity_payload(&recent)));
        }
        Ok(FittedRecommender::new(data, Numbers { parts, ..Numbers::default() }))
    }
}
