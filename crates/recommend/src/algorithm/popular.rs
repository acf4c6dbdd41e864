use teller_numeric::Control;
use teller_payload::SharedBytes;

use super::{Algorithm, Size, refuse_checkpoint};
use crate::fitted::Numbers;
use crate::{Dataset, Error, FittedRecommender};

/// Ranks items by how many distinct users had them: what every other algorithm must beat, and
/// what it falls back to for unknown users.
#[derive(Clone, Debug)]
pub struct Popular;

impl Algorithm for Popular {
    fn name(&self) -> &'static str {
        "popular"
    }

    fn working_memory(&self, _size: &Size) -> u64 {
        0
    }

    fn stored_memory(&self, _size: &Size) -> u64 {
        0
    }

    fn fit(
        &self,
        data: &Dataset,
        resume: Option<SharedBytes>,
        _control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        refuse_checkpoint(resume)?;
        Ok(FittedRecommender::new(data, Numbers::default()))
    }
}
