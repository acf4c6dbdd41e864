//! `confusion_matrix`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde_json::Value;

use crate::catalog::model_table::{ModelTable, Privilege};
use crate::catalog::store::CONFUSION;
use crate::catalog::version::{Version, Wanted};
use crate::error::Error;

#[pg_extern(sql = false)]
fn confusion_matrix(
    model: Option<pg_sys::Oid>,
    version: Option<i32>,
) -> Result<
    TableIterator<
        'static,
        (name!(actual, String), name!(predicted, String), name!(images, Option<i64>)),
    >,
    ErrorReport,
> {
    let model = model.ok_or(Error::NullArgument("confusion_matrix needs a model"))?;
    let table = ModelTable::open(model, Privilege::Run)?;
    let wanted = version.map_or(Wanted::Production, Wanted::Number);
    let version = Version::find(&table, wanted)?;
    let rows = table.part(version.number, CONFUSION, |row| Ok(row.info().map(counts)))?;
    Ok(TableIterator::new(rows.into_iter().flatten().flatten()))
}

/// The counts of one label; a row that its training did not write has none.
fn counts(row: Value) -> Vec<(String, String, Option<i64>)> {
    let actual = row["actual"].as_str().unwrap_or_default();
    let predicted = row["predicted"].as_object();
    let count =
        |(label, count): (&String, &Value)| (actual.to_owned(), label.clone(), count.as_i64());
    predicted.into_iter().flatten().map(count).collect()
}
