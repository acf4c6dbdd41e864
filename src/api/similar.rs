//! `similar_items` and `explain_recommendation`, for integer and for text ids.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use teller_recommend::{Because, IdRef, Place, Recommender};

use crate::api::ids::{self, Of};
use crate::bridge::interrupts::StatementControl;
use crate::error::Error;

#[pg_extern(sql = false)]
fn similar_items_bigint(
    item_id: Option<i64>,
    k: Option<i32>,
    model: Option<pg_sys::Oid>,
    candidates: Option<pgrx::Array<i64>>,
) -> Result<
    TableIterator<'static, (name!(rank, i32), name!(item_id, i64), name!(similarity, f32))>,
    ErrorReport,
> {
    let (Some(item), Some(k)) = (item_id, k) else { return Ok(TableIterator::empty()) };
    let model = ids::served(model)?;
    let recommender = ids::require_integers(&model, Of::Items)?;
    let candidates = candidates.map(|array| ids::items_of_integers(recommender, &array));
    let item = recommender.item_index(IdRef::Integer(item));
    let best = similar(recommender, item, k, candidates.as_deref())?;
    Ok(TableIterator::new(ids::ranked_integers(&model, best)?))
}

#[pg_extern(sql = false)]
fn similar_items_text(
    item_id: Option<&str>,
    k: Option<i32>,
    model: Option<pg_sys::Oid>,
    candidates: Option<pgrx::Array<&str>>,
) -> Result<
    TableIterator<'static, (name!(rank, i32), name!(item_id, String), name!(similarity, f32))>,
    ErrorReport,
> {
    let (Some(item), Some(k)) = (item_id, k) else { return Ok(TableIterator::empty()) };
    let model = ids::served(model)?;
    let recommender = model.recommender()?;
    let candidates = candidates.map(|array| ids::items_of_texts(recommender, &array));
    let item = ids::item_of_text(recommender, item);
    let best = similar(recommender, item, k, candidates.as_deref())?;
    Ok(TableIterator::new(ids::ranked_texts(recommender, best)))
}

#[pg_extern(sql = false)]
fn explain_recommendation_bigint(
    user_id: Option<i64>,
    item_id: Option<i64>,
    model: Option<pg_sys::Oid>,
) -> Result<TableIterator<'static, (name!(because, String), name!(contribution, f32))>, ErrorReport>
{
    let (Some(user), Some(item)) = (user_id, item_id) else { return Ok(TableIterator::empty()) };
    let model = ids::served(model)?;
    let recommender = ids::require_integers(&model, Of::Both)?;
    let user = recommender.user_index(IdRef::Integer(user));
    let item = recommender.item_index(IdRef::Integer(item));
    Ok(TableIterator::new(reasons(recommender, user, item)?))
}

#[pg_extern(sql = false)]
fn explain_recommendation_text(
    user_id: Option<&str>,
    item_id: Option<&str>,
    model: Option<pg_sys::Oid>,
) -> Result<TableIterator<'static, (name!(because, String), name!(contribution, f32))>, ErrorReport>
{
    let (Some(user), Some(item)) = (user_id, item_id) else { return Ok(TableIterator::empty()) };
    let model = ids::served(model)?;
    let recommender = model.recommender()?;
    let user = ids::user_of_text(recommender, user);
    let item = ids::item_of_text(recommender, item);
    Ok(TableIterator::new(reasons(recommender, user, item)?))
}

/// Nothing is similar to an item that the model does not know, but a model that knows no
/// similarities says so.
fn similar(
    recommender: &Recommender,
    item: Option<u32>,
    k: i32,
    candidates: Option<&[u32]>,
) -> Result<Vec<(u32, f32)>, Error> {
    let (item, k) = (item.unwrap_or(u32::MAX), ids::wanted(k)?);
    Ok(recommender.similar_items(item, k, candidates, &StatementControl)?)
}

fn reasons(
    recommender: &Recommender,
    user: Option<u32>,
    item: Option<u32>,
) -> Result<Vec<(String, f32)>, Error> {
    let Some(item) = item else { return Ok(Vec::new()) };
    let reasons = recommender.explain(user, item, &StatementControl)?;
    let rows = reasons.into_iter().filter_map(|reason| {
        let because = match reason.because {
            Because::Item(item) => recommender.item_id(item)?.to_string(),
            Because::Path(path) => {
                let places = path.into_iter().map(|place| match place {
                    Place::Item(item) => Some(recommender.item_id(item)?.to_string()),
                    Place::Name(name) => Some(name),
                });
                places.collect::<Option<Vec<_>>>()?.join(" > ")
            }
            Because::Text(text) => text,
        };
        Some((because, reason.contribution))
    });
    Ok(rows.collect())
}
