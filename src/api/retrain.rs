//! `retrain`, `retrain_check` and what is behind the view `training_runs`.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{JsonB, fcinfo};
use serde_json::Value;

use crate::api::train::read_options;
use crate::bridge::procedure::Procedure;
use crate::catalog::models::each_model;
use crate::catalog::timestamp;
use crate::error::Error;
use crate::training;

/// A procedure: SQL calls it with a context in which it may commit.
#[pg_extern(sql = false)]
fn retrain(call: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    // SAFETY: the procedure's two arguments are of these types.
    let (model, options) =
        unsafe { (fcinfo::pg_getarg::<pg_sys::Oid>(call, 0), fcinfo::pg_getarg_datum(call, 1)) };
    let model = model.ok_or(Error::NullArgument("retrain needs a model"))?;
    let options = read_options(options)?;
    let mut procedure = Procedure::enter(call)?;
    Ok(training::retrain(&mut procedure, model, &options)?)
}

#[pg_extern(sql = false)]
fn retrain_check(
    model: pg_sys::Oid,
    version: i32,
) -> Result<
    TableIterator<
        'static,
        (
            name!(same, bool),
            name!(same_rows, Option<bool>),
            name!(stored_digest, String),
            name!(trained_digest, String),
        ),
    >,
    ErrorReport,
> {
    let found = training::retrain_check(model, version)?;
    Ok(TableIterator::once((found.same, found.same_rows, found.stored, found.trained)))
}

#[pg_extern(sql = false)]
fn list_runs() -> Result<
    TableIterator<
        'static,
        (
            name!(model, pg_sys::Oid),
            name!(version, Option<i32>),
            name!(status, Option<String>),
            name!(progress, Option<JsonB>),
            name!(trained_by, Option<String>),
            name!(started, Option<TimestampWithTimeZone>),
            name!(updated, Option<TimestampWithTimeZone>),
            name!(error, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let rows = each_model(|table| {
        table.manifests(|row| {
            let info = row.info().unwrap_or_default();
            let text = |key: &str| info[key].as_str();
            Ok((
                table.oid(),
                row.version(),
                row.status(),
                progress(&info).map(JsonB),
                text("trained_by").map(str::to_owned),
                text("trained_at").and_then(timestamp::parse),
                text("updated_at").and_then(timestamp::parse),
                text("error").map(str::to_owned),
            ))
        })
    })?;
    Ok(TableIterator::new(rows))
}

/// The progress that a training noted. The view computes with it, so what no training writes is
/// none: one made up by a model's owner would be an error for all who look at the view.
fn progress(info: &Value) -> Option<Value> {
    let progress = info.get("progress")?;
    let number = |key: &str| match &progress[key] {
        Value::Null => Some(0.0),
        value => value.as_f64(),
    };
    let whole = |key: &str| match &progress[key] {
        Value::Null => Some(0),
        value => value.as_i64().filter(|number| (0..1_000_000_000).contains(number)),
    };
    let left = (whole("of")? - whole("step")?) as f64;
    let (rows, seconds) = (number("rows")?, number("seconds")?);
    let possible = (0.0..1e18).contains(&rows)
        && (seconds == 0.0 || (1e-12..1e9).contains(&seconds))
        && (left * seconds).abs() < 1e10
        && number("loss").is_some()
        && number("value").is_some();
    possible.then(|| progress.clone())
}
