//! `recommend` and `recommend_from`, for integer and for text ids.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use teller_recommend::{IdRef, Request};

use crate::api::ids::{self, Of};
use crate::bridge::interrupts::StatementControl;
use crate::error::Error;

#[pg_extern(sql = false)]
fn recommend_bigint(
    user_id: Option<i64>,
    k: Option<i32>,
    model: Option<pg_sys::Oid>,
    candidates: Option<pgrx::Array<i64>>,
    include_seen: Option<bool>,
) -> Result<
    TableIterator<'static, (name!(rank, i32), name!(item_id, i64), name!(score, f32))>,
    ErrorReport,
> {
    let (Some(user), Some(k)) = (user_id, k) else { return Ok(TableIterator::empty()) };
    let model = ids::served(model)?;
    let recommender = ids::require_integers(&model, Of::Both)?;
    let candidates = candidates.map(|array| ids::items_of_integers(recommender, &array));
    let user = recommender.user_index(IdRef::Integer(user));
    let request = request(user, k, candidates.as_deref(), include_seen)?;
    let best = recommender.recommend(&request, &StatementControl).map_err(Error::from)?;
    Ok(TableIterator::new(ids::ranked_integers(&model, best)?))
}

#[pg_extern(sql = false)]
fn recommend_text(
    user_id: Option<&str>,
    k: Option<i32>,
    model: Option<pg_sys::Oid>,
    candidates: Option<pgrx::Array<&str>>,
    include_seen: Option<bool>,
) -> Result<
    TableIterator<'static, (name!(rank, i32), name!(item_id, String), name!(score, f32))>,
    ErrorReport,
> {
    let (Some(user), Some(k)) = (user_id, k) else { return Ok(TableIterator::empty()) };
    let model = ids::served(model)?;
    let recommender = model.recommender()?;
    let candidates = candidates.map(|array| ids::items_of_texts(recommender, &array));
    let user = ids::user_of_text(recommender, user);
    let request = request(user, k, candidates.as_deref(), include_seen)?;
    let best = recommender.recommend(&request, &StatementControl).map_err(Error::from)?;
    Ok(TableIterator::new(ids::ranked_texts(recommender, best)))
}

#[pg_extern(sql = false)]
fn recommend_from_bigint(
    items: Option<pgrx::Array<i64>>,
    k: Option<i32>,
    model: Option<pg_sys::Oid>,
    candidates: Option<pgrx::Array<i64>>,
    include_seen: Option<bool>,
) -> Result<
    TableIterator<'static, (name!(rank, i32), name!(item_id, i64), name!(score, f32))>,
    ErrorReport,
> {
    let (Some(items), Some(k)) = (items, k) else { return Ok(TableIterator::empty()) };
    let model = ids::served(model)?;
    let recommender = ids::require_integers(&model, Of::Items)?;
    let candidates = candidates.map(|array| ids::items_of_integers(recommender, &array));
    let basket = ids::items_of_integers(recommender, &items);
    let request = request(None, k, candidates.as_deref(), include_seen)?;
    let best = recommender.recommend_from(&basket, &request, &StatementControl);
    Ok(TableIterator::new(ids::ranked_integers(&model, best.map_err(Error::from)?)?))
}

#[pg_extern(sql = false)]
fn recommend_from_text(
    items: Option<pgrx::Array<&str>>,
    k: Option<i32>,
    model: Option<pg_sys::Oid>,
    candidates: Option<pgrx::Array<&str>>,
    include_seen: Option<bool>,
) -> Result<
    TableIterator<'static, (name!(rank, i32), name!(item_id, String), name!(score, f32))>,
    ErrorReport,
> {
    let (Some(items), Some(k)) = (items, k) else { return Ok(TableIterator::empty()) };
    let model = ids::served(model)?;
    let recommender = model.recommender()?;
    let candidates = candidates.map(|array| ids::items_of_texts(recommender, &array));
    let basket = ids::items_of_texts(recommender, &items);
    let request = request(None, k, candidates.as_deref(), include_seen)?;
    let best = recommender.recommend_from(&basket, &request, &StatementControl);
    Ok(TableIterator::new(ids::ranked_texts(recommender, best.map_err(Error::from)?)))
}

fn request(
    user: Option<u32>,
    k: i32,
    candidates: Option<&[u32]>,
    include_seen: Option<bool>,
) -> Result<Request<'_>, Error> {
    let include_seen = include_seen.unwrap_or(false);
    Ok(Request { user, k: ids::wanted(k)?, candidates, include_seen })
}
