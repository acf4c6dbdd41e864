//! The model that comes with the extension; called by the installation script alone.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{JsonB, PgSqlErrorCode};

use crate::cache::WEIGHTS;

const MANIFEST: &str = include_str!("../../models/digits/manifest.json");
const WEIGHTS_PAYLOAD: &[u8] = include_bytes!("../../models/digits/weights.bin");

#[pg_extern(sql = false)]
fn shipped_digits() -> Result<
    TableIterator<
        'static,
        (
            name!(version, i32),
            name!(part, &'static str),
            name!(chunk, i32),
            name!(status, Option<&'static str>),
            name!(info, Option<JsonB>),
            name!(payload, Option<&'static [u8]>),
        ),
    >,
    ErrorReport,
> {
    let info = serde_json::from_str(MANIFEST).map_err(|error| {
        ErrorReport::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, error.to_string(), "pg_teller")
    })?;
    // The manifest comes last: it finishes the version.
    Ok(TableIterator::new([
        (1, WEIGHTS, 0, None, None, Some(WEIGHTS_PAYLOAD)),
        (1, "", 0, Some("production"), Some(JsonB(info)), None),
    ]))
}
