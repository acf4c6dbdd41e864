//! `synthesize`.

use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use pgrx::prelude::*;
use pgrx::{AnyElement, JsonB};
use serde_json::Value;

use crate::api::train::read_options;
use crate::cache;
use crate::error::Error;

/// Rows that are made together.
const BATCH: u64 = 4096;

#[pg_extern(sql = false)]
fn synthesize(
    model: pg_sys::Oid,
    n: i32,
    seed: i64,
    options: AnyElement,
) -> Result<SetOfIterator<'static, JsonB>, ErrorReport> {
    let n = u64::try_from(n).map_err(|_| Error::Count(n))?;
    let model = cache::production(model)?;
    let options = read_options(Some(options.datum()))?;
    let condition = model.generator()?.condition(&options)?;
    // A batch is made when its first row is fetched.
    let batch = move |first: u64| -> Result<Vec<Value>, Error> {
        let count = (n - first).min(BATCH) as usize;
        model.generator()?.rows(first, count, seed as u64, &condition)
    };
    let batches = (0..n).step_by(BATCH as usize);
    let rows =
        batches.flat_map(move |first| batch(first).map_err(ErrorReport::from).unwrap_or_report());
    Ok(SetOfIterator::new(rows.map(JsonB)))
}
