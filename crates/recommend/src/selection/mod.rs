//! What is decided by data kept apart from a training: how good a recommender is.

mod hybrid;
mod search;
mod space;
mod split;
mod stages;
mod validated;
mod weights;

use teller_numeric::{OptionError, Options};

use crate::algorithm::{self, Algorithm, ItemColumns, Read, Takes};
use hybrid::Hybrid;
use search::Search;
use split::Split;
use validated::Validated;

/// Reads `validation` (the share of pairs that is kept apart at first), `tune` (the parameters that
/// are tried), and what [`crate::read_algorithm`] reads; beside its algorithms there are `hybrid`
/// and `auto`.
pub fn read(options: &mut Options<'_>) -> Result<Box<dyn Algorithm>, OptionError> {
    let share = options.number("validation", 0.1, 0.0..=0.5)?;
    if options.given().get("algorithm").is_some_and(|name| name == "auto") {
        options.value("algorithm");
        return Ok(Box::new(Search::automatic(options, share)?));
    }
    if let Some(tune) = options.value("tune") {
        return Ok(Box::new(Search::tune(options, tune, share)?));
    }
    let others: [(&'static str, Read); 2] = [
        ("hybrid", Hybrid::read),
        ("auto", |options| Ok(Box::new(Search::automatic(options, 0.0)?))),
    ];
    let algorithm = algorithm::read_among(options, &others)?;
    if share == 0.0 {
        return Ok(algorithm);
    }
    Ok(Box::new(Validated { split: Split { share }, algorithm }))
}

/// What several algorithms take together.
fn takes(each: impl Iterator<Item = Takes>) -> Takes {
    each.fold(Takes::default(), |all, one| Takes {
        items: match (all.items, one.items) {
            (Some(ItemColumns::Features), _) | (_, Some(ItemColumns::Features)) => {
                Some(ItemColumns::Features)
            }
            (items, None) => items,
            (_, items) => items,
        },
        graph: all.graph || one.graph,
        times: all.times || one.times,
    })
}
