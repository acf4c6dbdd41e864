//! `recommend_among` and `recommend_from_among`: the candidates are what a query of the caller
//! returns.
//!
//! They are functions of their own, because a query that somebody wrote is read in a subtransaction,
//! which PostgreSQL refuses in parallel plans: `recommend` stays safe for those.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use teller_recommend::{IdRef, Recommender, Request};

use crate::api::ids::{self, Of};
use crate::bridge::interrupts::StatementControl;
use crate::bridge::sandbox::Reader;
use crate::catalog::data::{self, Query};
use crate::error::Error;

#[pg_extern(sql = false)]
fn recommend_among_bigint(
    user_id: Option<i64>,
    candidates_query: Option<&str>,
    k: Option<i32>,
    model: Option<pg_sys::Oid>,
    include_seen: Option<bool>,
) -> Result<
    TableIterator<'static, (name!(rank, i32), name!(item_id, i64), name!(score, f32))>,
    ErrorReport,
> {
    let (Some(user), Some(query), Some(k)) = (user_id, candidates_query, k) else {
        return Ok(TableIterator::empty());
    };
    let model = ids::served(model)?;
    let recommender = ids::require_integers(&model, Of::Both)?;
    let user = recommender.user_index(IdRef::Integer(user));
    let best = among(recommender, query, k, include_seen, |request| {
        recommender.recommend(&Request { user, ..*request }, &StatementControl)
    })?;
    Ok(TableIterator::new(ids::ranked_integers(&model, best)?))
}

#[pg_extern(sql = false)]
fn recommend_among_text(
    user_id: Option<&str>,
    candidates_query: Option<&str>,
    k: Option<i32>,
    model: Option<pg_sys::Oid>,
    include_seen: Option<bool>,
) -> Result<
    TableIterator<'static, (name!(rank, i32), name!(item_id, String), name!(score, f32))>,
    ErrorReport,
> {
    let (Some(user), Some(query), Some(k)) = (user_id, candidates_query, k) else {
        return Ok(TableIterator::empty());
    };
    let model = ids::served(model)?;
    let recommender = model.recommender()?;
    let user = ids::user_of_text(recommender, user);
    let best = among(recommender, query, k, include_seen, |request| {
        recommender.recommend(&Request { user, ..*request }, &StatementControl)
    })?;
    Ok(TableIterator::new(ids::ranked_texts(recommender, best)))
}

#[pg_extern(sql = false)]
fn recommend_from_among_bigint(
    items: Option<pgrx::Array<i64>>,
    candidates_query: Option<&str>,
    k: Option<i32>,
    model: Option<pg_sys::Oid>,
    include_seen: Option<bool>,
) -> Result<
    TableIterator<'static, (name!(rank, i32), name!(item_id, i64), name!(score, f32))>,
    ErrorReport,
> {
    let (Some(items), Some(query), Some(k)) = (items, candidates_query, k) else {
        return Ok(TableIterator::empty());
    };
    let model = ids::served(model)?;
    let recommender = ids::require_integers(&model, Of::Items)?;
    let basket = ids::items_of_integers(recommender, &items);
    let best = among(recommender, query, k, include_seen, |request| {
        recommender.recommend_from(&basket, request, &StatementControl)
    })?;
    Ok(TableIterator::new(ids::ranked_integers(&model, best)?))
}

#[pg_extern(sql = false)]
fn recommend_from_among_text(
    items: Option<pgrx::Array<&str>>,
    candidates_query: Option<&str>,
    k: Option<i32>,
    model: Option<pg_sys::Oid>,
    include_seen: Option<bool>,
) -> Result<
    TableIterator<'static, (name!(rank, i32), name!(item_id, String), name!(score, f32))>,
    ErrorReport,
> {
    let (Some(items), Some(query), Some(k)) = (items, candidates_query, k) else {
        return Ok(TableIterator::empty());
    };
    let model = ids::served(model)?;
    let recommender = model.recommender()?;
    let basket = ids::items_of_texts(recommender, &items);
    let best = among(recommender, query, k, include_seen, |request| {
        recommender.recommend_from(&basket, request, &StatementControl)
    })?;
    Ok(TableIterator::new(ids::ranked_texts(recommender, best)))
}

/// What `answer` says to a request for the `k` best of what the query returns to the caller.
fn among(
    recommender: &Recommender,
    query: &str,
    k: i32,
    include_seen: Option<bool>,
    answer: impl FnOnce(&Request<'_>) -> Result<Vec<(u32, f32)>, teller_recommend::Error>,
) -> Result<Vec<(u32, f32)>, Error> {
    let k = ids::wanted(k)?;
    let mut candidates = Vec::new();
    data::read_ids(Query { text: query, reader: Reader::Caller }, |id| {
        candidates.extend(ids::item_of_either(recommender, id));
    })?;
    let include_seen = include_seen.unwrap_or(false);
    let candidates = Some(&candidates[..]);
    Ok(answer(&Request { user: None, k, candidates, include_seen })?)
}
