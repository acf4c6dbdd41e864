//! `predict_rating`, for integer and for text ids.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use teller_recommend::IdRef;

use crate::api::ids::{self, Of};
use crate::error::Error;

#[pg_extern(sql = false)]
fn predict_rating_bigint(
    user_id: Option<i64>,
    item_id: Option<i64>,
    model: Option<pg_sys::Oid>,
) -> Result<Option<f32>, ErrorReport> {
    let (Some(user), Some(item)) = (user_id, item_id) else { return Ok(None) };
    let model = ids::served(model)?;
    let recommender = ids::require_integers(&model, Of::Both)?;
    let user = recommender.user_index(IdRef::Integer(user));
    let item = recommender.item_index(IdRef::Integer(item));
    Ok(Some(recommender.predict_rating(user, item).map_err(Error::from)?))
}

#[pg_extern(sql = false)]
fn predict_rating_text(
    user_id: Option<&str>,
    item_id: Option<&str>,
    model: Option<pg_sys::Oid>,
) -> Result<Option<f32>, ErrorReport> {
    let (Some(user), Some(item)) = (user_id, item_id) else { return Ok(None) };
    let model = ids::served(model)?;
    let recommender = model.recommender()?;
    let user = ids::user_of_text(recommender, user);
    let item = ids::item_of_text(recommender, item);
    Ok(Some(recommender.predict_rating(user, item).map_err(Error::from)?))
}
