use teller_numeric::Control;

use crate::fitted::Numbers;
use crate::{Error, FittedRecommender, Interactions};

/// Ranks items by how many distinct users had them: what every other algorithm must beat, and
/// what it falls back to for unknown users.
pub(crate) fn fit(data: &Interactions, control: &dyn Control) -> Result<FittedRecommender, Error> {
    FittedRecommender::new(data, Numbers::Popularity, [], control)
}
