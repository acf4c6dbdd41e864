//! `recommend`, for integer and for text ids.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use teller_recommend::{IdRef, Recommender, Request};

use crate::bridge::interrupts::StatementControl;
use crate::cache;
use crate::error::Error;
use crate::settings::DefaultModel;

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
    let model = cache::served(model, DefaultModel::Recommender)?;
    let recommender = model.recommender()?;
    let text_items = || Error::TextItems { model: model.name.clone() };
    if !recommender.users().are_integers() || !recommender.items().are_integers() {
        return Err(text_items().into());
    }
    let candidates = candidates.map(|ids| {
        ids.iter().flatten().filter_map(|id| recommender.item_index(IdRef::Integer(id))).collect()
    });
    let user = recommender.user_index(IdRef::Integer(user));
    let best = best(recommender, user, k, candidates, include_seen)?;
    let rows = best.into_iter().map(|(rank, id, score)| match id {
        IdRef::Integer(item) => Ok((rank, item, score)),
        IdRef::Text(_) => Err(text_items()),
    });
    Ok(TableIterator::new(rows.collect::<Result<Vec<_>, Error>>()?))
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
    let model = cache::served(model, DefaultModel::Recommender)?;
    let recommender = model.recommender()?;
    let candidates = candidates.map(|ids| {
        let indexes = ids.iter().flatten().filter_map(|id| {
            recommender.item_index(parse(id, recommender.items().are_integers())?)
        });
        indexes.collect()
    });
    let user =
        parse(user, recommender.users().are_integers()).and_then(|id| recommender.user_index(id));
    let best = best(recommender, user, k, candidates, include_seen)?;
    let rows: Vec<_> =
        best.into_iter().map(|(rank, id, score)| (rank, id.to_string(), score)).collect();
    Ok(TableIterator::new(rows))
}

/// The id that a text stands for: no integer has more than one spelling.
fn parse(text: &str, integers: bool) -> Option<IdRef<'_>> {
    if integers { text.parse().ok().map(IdRef::Integer) } else { Some(IdRef::Text(text)) }
}

fn best(
    recommender: &Recommender,
    user: Option<u32>,
    k: i32,
    candidates: Option<Vec<u32>>,
    include_seen: Option<bool>,
) -> Result<Vec<(i32, IdRef<'_>, f32)>, Error> {
    if k < 1 {
        return Err(Error::K(k));
    }
    let request = Request {
        user,
        k: k as usize,
        candidates: candidates.as_deref(),
        include_seen: include_seen.unwrap_or(false),
    };
    let best = recommender.recommend(&request, &StatementControl)?;
    let rows = (1..)
        .zip(best)
        .filter_map(|(rank, (item, score))| Some((rank, recommender.item_id(item)?, score)));
    Ok(rows.collect())
}
