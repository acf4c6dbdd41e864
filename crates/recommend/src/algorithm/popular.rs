use crate::{FittedRecommender, Interactions};

/// Ranks items by how many distinct users had them: what every other algorithm must beat, and
/// what it falls back to for unknown users.
pub(crate) fn fit(data: &Interactions) -> FittedRecommender {
    FittedRecommender::new(data, None, [])
}
