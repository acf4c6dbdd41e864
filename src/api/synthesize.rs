//! `synthesize`.

use pgrx::JsonB;
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use pgrx::prelude::*;
use serde_json::Value;

use crate::cache;
use crate::error::Error;

/// Rows that are made together.
const BATCH: u64 = 4096;

#[pg_extern(sql = false)]
fn synthesize(
    model: pg_sys::Oid,
    n: i32,
    seed: i64,
) -> Result<SetOfIterator<'static, JsonB>, ErrorReport> {
    let n = u64::try_from(n).map_err(|_| Error::Count(n))?;
    let model = cache::production(model)?;
    model.generator()?;
    // A batch is made when its first row is fetched.
    let batch = move |first: u64| -> Result<Vec<Value>, Error> {
        model.generator()?.rows(first, (n - first).min(BATCH) as usize, seed as u64)
    };
    let batches = (0..n).step_by(BATCH as usize);
    let rows =
        batches.flat_map(move |first| batch(first).map_err(ErrorReport::from).unwrap_or_report());
    Ok(SetOfIterator::new(rows.map(JsonB)))
}
