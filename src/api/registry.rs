//! The functions behind the views `models`, `model_versions` and `training_log`.
//!
//! A manifest may have been written by anybody: what is not of its type reads as NULL, so that one
//! forged row does not hide the others.

use pgrx::JsonB;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde_json::Value;

use crate::catalog::manifest::StartPoint;
use crate::catalog::model_table::Privilege;
use crate::catalog::models::each_model;
use crate::catalog::store::LOG;
use crate::catalog::timestamp;

#[pg_extern(sql = false)]
fn list_versions() -> Result<
    TableIterator<
        'static,
        (
            name!(model, pg_sys::Oid),
            name!(version, Option<i32>),
            name!(status, Option<String>),
            name!(task, Option<String>),
            name!(algorithm, Option<String>),
            name!(metrics, Option<JsonB>),
            name!(rows, Option<i64>),
            name!(trained_at, Option<TimestampWithTimeZone>),
            name!(trained_by, Option<String>),
            name!(seconds, Option<f64>),
            name!(extension_version, Option<String>),
            name!(digest, Option<String>),
            name!(options, Option<JsonB>),
            name!(data, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let rows = each_model(|table| {
        // The query and its options tell of the data: they are for who may read the table.
        let reader = table.permits(Privilege::Read);
        table.manifests(|row| {
            let info = row.info().unwrap_or_default();
            let text = |key: &str| info[key].as_str().map(str::to_owned);
            Ok((
                table.oid(),
                row.version(),
                row.status(),
                text("task"),
                text("algorithm"),
                info.get("metrics").cloned().map(JsonB),
                info["rows"].as_i64(),
                info["trained_at"].as_str().and_then(timestamp::parse),
                text("trained_by"),
                info["seconds"].as_f64(),
                text("extension"),
                text("digest"),
                info.get("options").filter(|_| reader).cloned().map(JsonB),
                text("data").filter(|_| reader),
            ))
        })
    })?;
    Ok(TableIterator::new(rows))
}

#[pg_extern(sql = false)]
fn list_lineage() -> Result<
    TableIterator<
        'static,
        (
            name!(model, pg_sys::Oid),
            name!(version, Option<i32>),
            name!(rows_digest, Option<String>),
            name!(seed, Option<i64>),
            name!(peak_memory, Option<i64>),
        ),
    >,
    ErrorReport,
> {
    let rows = each_model(|table| {
        table.manifests(|row| {
            let info = row.info().unwrap_or_default();
            Ok((
                table.oid(),
                row.version(),
                info["rows_digest"].as_str().map(str::to_owned),
                info["seed"].as_i64(),
                info["peak_memory"].as_i64(),
            ))
        })
    })?;
    Ok(TableIterator::new(rows))
}

#[pg_extern(sql = false)]
fn list_starts() -> Result<
    TableIterator<
        'static,
        (
            name!(model, pg_sys::Oid),
            name!(version, Option<i32>),
            name!(start_model, Option<String>),
            name!(start_version, Option<i32>),
            name!(start_digest, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let rows = each_model(|table| {
        if !table.permits(Privilege::Read) {
            return Ok(Vec::new());
        }
        let starts = table.manifests(|row| {
            let point = row.info().and_then(|mut info| info.get_mut("start_from").map(Value::take));
            let point = point.and_then(|point| serde_json::from_value::<StartPoint>(point).ok());
            Ok(point.map(|point| {
                let model = point.model.unwrap_or_else(|| table.name());
                let (number, digest) = (Some(point.version), Some(point.digest));
                (table.oid(), row.version(), Some(model), number, digest)
            }))
        })?;
        Ok(starts.into_iter().flatten().collect())
    })?;
    Ok(TableIterator::new(rows))
}

#[pg_extern(sql = false)]
fn list_trials() -> Result<
    TableIterator<
        'static,
        (
            name!(model, pg_sys::Oid),
            name!(version, Option<i32>),
            name!(step, i32),
            name!(options, Option<JsonB>),
        ),
    >,
    ErrorReport,
> {
    let rows = each_model(|table| {
        if !table.permits(Privilege::Read) {
            return Ok(Vec::new());
        }
        let trials = table.manifests(|row| {
            let info = row.info().unwrap_or_default();
            // By their places, of which there is one of each step whoever wrote them.
            let trials = info["model"]["trials"].as_array().into_iter().flatten().cloned();
            let rows = (1..).zip(trials).map(|(step, mut trial)| {
                let options = trial.get_mut("options").map(Value::take);
                (table.oid(), row.version(), step, options.map(JsonB))
            });
            Ok(rows.collect::<Vec<_>>())
        })?;
        Ok(trials.into_iter().flatten().collect())
    })?;
    Ok(TableIterator::new(rows))
}

#[pg_extern(sql = false)]
fn list_steps() -> Result<
    TableIterator<
        'static,
        (
            name!(model, pg_sys::Oid),
            name!(version, Option<i32>),
            name!(step, Option<i32>),
            name!(of, Option<i64>),
            name!(loss, Option<f64>),
            name!(metric, Option<String>),
            name!(value, Option<f64>),
            name!(rows, Option<i64>),
            name!(seconds, Option<f64>),
        ),
    >,
    ErrorReport,
> {
    let rows = each_model(|table| {
        table.all_of_part(LOG, |row| {
            let info: Value = row.info().unwrap_or_default();
            Ok((
                table.oid(),
                row.version(),
                row.chunk(),
                info["of"].as_i64(),
                info["loss"].as_f64(),
                info["metric"].as_str().map(str::to_owned),
                info["value"].as_f64(),
                info["rows"].as_i64(),
                info["seconds"].as_f64(),
            ))
        })
    })?;
    Ok(TableIterator::new(rows))
}
