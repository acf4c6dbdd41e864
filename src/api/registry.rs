//! The functions behind the views `models`, `model_versions` and `training_log`.

use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::model_table::{ModelTable, Privilege, Row, all_models};
use crate::catalog::store::LOG;
use crate::error::Error;

/// Keys of a manifest that only who may read the model's table sees: they tell of the data.
const READERS_ONLY: [&str; 4] = ["data", "search_path", "options", "model"];

#[pg_extern(sql = false)]
fn list_versions() -> Result<
    TableIterator<
        'static,
        (
            name!(model, pg_sys::Oid),
            name!(version, Option<i32>),
            name!(status, Option<String>),
            name!(info, Option<JsonB>),
        ),
    >,
    ErrorReport,
> {
    let rows = each_model(|table| {
        let reader = table.permits(Privilege::Read);
        table.manifests(|row| {
            let mut info = row.info();
            if let Some(serde_json::Value::Object(info)) = info.as_mut().filter(|_| !reader) {
                READERS_ONLY.iter().for_each(|key| drop(info.remove(*key)));
            }
            Ok((table.oid(), row.version(), row.status(), info.map(JsonB)))
        })
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
            name!(info, Option<JsonB>),
        ),
    >,
    ErrorReport,
> {
    let rows = each_model(|table| {
        let read = |row: Row| Ok((table.oid(), row.version(), row.chunk(), row.info().map(JsonB)));
        table.all_of_part(LOG, read)
    })?;
    Ok(TableIterator::new(rows))
}

/// Gathers rows of all models that the caller may run; damaged tables are left out, so that one
/// of them does not hide the others.
fn each_model<T>(
    mut rows: impl FnMut(&ModelTable) -> Result<Vec<T>, Error>,
) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    for oid in all_models()? {
        match ModelTable::open(oid, Privilege::Run) {
            Ok(table) => all.extend(rows(&table)?),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(_) => {}
        }
    }
    Ok(all)
}
