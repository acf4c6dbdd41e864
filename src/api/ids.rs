//! Ids of users and items between SQL and a recommender: integers as such, of models whose ids are
//! integers, or texts, of every model.

use std::rc::Rc;

use teller_recommend::{IdRef, Recommender};

use crate::cache::{self, Model};
use crate::error::Error;
use crate::settings::DefaultModel;

/// The recommender that answers a call with this `model` argument.
pub fn served(model: Option<pgrx::pg_sys::Oid>) -> Result<Rc<Model>, Error> {
    cache::served(model, DefaultModel::Recommender)
}

/// Whose ids a call by integers gives or gets.
pub enum Of {
    /// Users and items.
    Both,
    /// Items alone.
    Items,
}

/// Refuses a call by integers of a model whose ids are texts.
pub fn require_integers(model: &Model, of: Of) -> Result<&Recommender, Error> {
    let recommender = model.recommender()?;
    let users = matches!(of, Of::Items) || recommender.users().are_integers();
    if users && recommender.items().are_integers() {
        return Ok(recommender);
    }
    Err(Error::TextItems { model: model.name.clone() })
}

/// The user of a text.
pub fn user_of_text(recommender: &Recommender, text: &str) -> Option<u32> {
    recommender.user_index(parse(text, recommender.users().are_integers())?)
}

/// The item of a text.
pub fn item_of_text(recommender: &Recommender, text: &str) -> Option<u32> {
    recommender.item_index(parse(text, recommender.items().are_integers())?)
}

/// The item of an id of either kind.
pub fn item_of_either(recommender: &Recommender, id: IdRef<'_>) -> Option<u32> {
    match (id, recommender.items().are_integers()) {
        (IdRef::Text(text), _) => item_of_text(recommender, text),
        (IdRef::Integer(_), true) => recommender.item_index(id),
        (IdRef::Integer(id), false) => item_of_text(recommender, &id.to_string()),
    }
}

/// The id that a text stands for: no integer has more than one spelling.
fn parse(text: &str, integers: bool) -> Option<IdRef<'_>> {
    if integers { text.parse().ok().map(IdRef::Integer) } else { Some(IdRef::Text(text)) }
}

/// Indexes of the items of an array of integers; NULLs and items that the model does not know are
/// none.
pub fn items_of_integers(recommender: &Recommender, ids: &pgrx::Array<i64>) -> Vec<u32> {
    let known = |id| recommender.item_index(IdRef::Integer(id));
    ids.iter().flatten().filter_map(known).collect()
}

/// The same of an array of texts.
pub fn items_of_texts(recommender: &Recommender, ids: &pgrx::Array<&str>) -> Vec<u32> {
    ids.iter().flatten().filter_map(|id| item_of_text(recommender, id)).collect()
}

/// How many items are wanted.
pub fn wanted(k: i32) -> Result<usize, Error> {
    if k < 1 { Err(Error::K(k)) } else { Ok(k as usize) }
}

/// Items and scores with their ranks, by integers.
pub fn ranked_integers(
    model: &Model,
    best: Vec<(u32, f32)>,
) -> Result<Vec<(i32, i64, f32)>, Error> {
    let rows = ranked(model.recommender()?, best).map(|(rank, id, score)| match id {
        IdRef::Integer(item) => Ok((rank, item, score)),
        IdRef::Text(_) => Err(Error::TextItems { model: model.name.clone() }),
    });
    rows.collect()
}

/// The same by texts.
pub fn ranked_texts(recommender: &Recommender, best: Vec<(u32, f32)>) -> Vec<(i32, String, f32)> {
    ranked(recommender, best).map(|(rank, id, score)| (rank, id.to_string(), score)).collect()
}

fn ranked(
    recommender: &Recommender,
    best: Vec<(u32, f32)>,
) -> impl Iterator<Item = (i32, IdRef<'_>, f32)> {
    (1..)
        .zip(best)
        .filter_map(|(rank, (item, score))| Some((rank, recommender.item_id(item)?, score)))
}
