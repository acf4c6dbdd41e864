//! `train` and `evaluate`.

use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::version::Wanted;
use crate::training::{self, Request};

#[pg_extern(sql = false)]
fn train(
    model: Option<&str>,
    task: Option<&str>,
    data: Option<&str>,
    options: Option<JsonB>,
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
        return Err(
            crate::error::Error::NullArgument("train needs a model, a task and data").into()
        );
    };
    let options = options.map_or_else(|| serde_json::json!({}), |options| options.0);
    let outcome = training::train(Request { model, task, data, options })?;
    Ok(TableIterator::once((
        outcome.model,
        outcome.version,
        outcome.status.to_owned(),
        JsonB(outcome.metrics),
    )))
}

#[pg_extern(sql = false)]
fn evaluate(
    model: Option<pg_sys::Oid>,
    data: Option<&str>,
    version: Option<i32>,
) -> Result<TableIterator<'static, (name!(metric, String), name!(value, f64))>, ErrorReport> {
    let (Some(model), Some(data)) = (model, data) else {
        return Err(crate::error::Error::NullArgument("evaluate needs a model and data").into());
    };
    let wanted = version.map_or(Wanted::Production, Wanted::Number);
    Ok(TableIterator::new(training::evaluate_version(model, data, wanted)?))
}
