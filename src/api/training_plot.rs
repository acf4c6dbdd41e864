//! `training_plot`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use teller_plot::Step;

use crate::bridge::interrupts;
use crate::catalog::model_table::{ModelTable, Privilege, Row};
use crate::catalog::store::LOG;
use crate::error::Error;

#[pg_extern(sql = false)]
fn training_plot(model: Option<pg_sys::Oid>, version: Option<i32>) -> Result<String, ErrorReport> {
    let model = model.ok_or(Error::NullArgument("training_plot needs a model"))?;
    Ok(plot(model, version)?)
}

fn plot(model: pg_sys::Oid, version: Option<i32>) -> Result<String, Error> {
    let table = ModelTable::open(model, Privilege::Run)?;
    let number = |row: Row| Ok(row.version());
    // Unlike one that answers, a version that is being trained or has failed has a log to show.
    let found = match version {
        Some(wanted) => table
            .manifest(wanted, number)?
            .ok_or_else(|| Error::NoVersion { model: table.name(), number: wanted })?,
        None => {
            table.production(number)?.ok_or_else(|| Error::NoProduction { model: table.name() })?
        }
    };
    let version =
        found.ok_or_else(|| Error::damaged(&table, None, "its manifest row has no version"))?;
    let steps = table.part(version, LOG, |row| {
        if interrupts::cancel_pending() {
            return Err(Error::Cancelled);
        }
        Ok(step(&row))
    })?;
    let steps: Vec<Step> = steps.into_iter().flatten().collect();
    teller_plot::training(&format!("{}, version {version}", table.name()), &steps)
        .map_err(|error| Error::Internal(error.to_string()))
}

/// A row of the log as the view `training_log` shows it.
fn step(row: &Row) -> Option<Step> {
    let info = row.info().unwrap_or_default();
    let metric = info["metric"].as_str().map(str::to_owned).zip(info["value"].as_f64());
    Some(Step { step: row.chunk()?, loss: info["loss"].as_f64(), metric })
}
