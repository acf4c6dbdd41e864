//! `train`, `fold_in` and `evaluate`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{AnyElement, JsonB};

use crate::bridge::json;
use crate::catalog::version::Wanted;
use crate::error::Error;
use crate::training::{self, Request};

#[pg_extern(sql = false)]
fn train(
    model: Option<&str>,
    task: Option<&str>,
    data: Option<&str>,
    options: Option<AnyElement>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(model, pg_sys::Oid),
            name!(version, i32),
            name!(status, String),
            name!(metrics, JsonB),
        ),
    >,
    ErrorReport,
> {
    let (Some(model), Some(task), Some(data)) = (model, task, data) else {
        return Err(Error::NullArgument("train needs a model, a task and data").into());
    };
    let options = read_options(options.map(|options| options.datum()))?;
    let outcome = training::train(Request { model, task, data, options })?;
    Ok(TableIterator::once((
        outcome.model,
        outcome.version,
        outcome.status.to_owned(),
        JsonB(outcome.metrics),
    )))
}

#[pg_extern(sql = false)]
fn fold_in(
    model: Option<pg_sys::Oid>,
    data: Option<&str>,
    options: Option<AnyElement>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(model, pg_sys::Oid),
            name!(version, i32),
            name!(status, String),
            name!(metrics, JsonB),
        ),
    >,
    ErrorReport,
> {
    let (Some(model), Some(data)) = (model, data) else {
        return Err(Error::NullArgument("fold_in needs a model and data").into());
    };
    let options = read_options(options.map(|options| options.datum()))?;
    let outcome = training::fold_in(model, data, &options)?;
    Ok(TableIterator::once((
        outcome.model,
        outcome.version,
        outcome.status.to_owned(),
        JsonB(outcome.metrics),
    )))
}

/// The options of an argument of type `jsonb`; without it there are none.
pub fn read_options(argument: Option<pg_sys::Datum>) -> Result<serde_json::Value, Error> {
    match argument {
        // SAFETY: the argument's type is jsonb.
        Some(options) => unsafe { json::value(options) }
            .map_err(|error| Error::UnreadableOptions(error.to_string())),
        None => Ok(serde_json::json!({})),
    }
}

#[pg_extern(sql = false)]
fn evaluate(
    model: Option<pg_sys::Oid>,
    data: Option<&str>,
    version: Option<i32>,
) -> Result<TableIterator<'static, (name!(metric, String), name!(value, f64))>, ErrorReport> {
    let (Some(model), Some(data)) = (model, data) else {
        return Err(Error::NullArgument("evaluate needs a model and data").into());
    };
    let wanted = version.map_or(Wanted::Production, Wanted::Number);
    Ok(TableIterator::new(training::evaluate_version(model, data, wanted)?))
}
