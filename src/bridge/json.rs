//! Reading `jsonb`.
//!
//! Not everything that PostgreSQL stores can be read: 1e400 is no number of Rust's, and deep nesting
//! is refused. pgrx panics then; this returns an error.

use std::ffi::CStr;

use pgrx::pg_sys;
use serde_json::Value;

/// The value of a `jsonb`.
///
/// # Safety
/// `datum` is a `jsonb` and not NULL.
pub unsafe fn value(datum: pg_sys::Datum) -> Result<Value, serde_json::Error> {
    // SAFETY: promised by the caller; the output is NUL-terminated, and freed here.
    unsafe {
        let printed = pg_sys::OidOutputFunctionCall(pg_sys::F_JSONB_OUT.into(), datum);
        let value = serde_json::from_slice(CStr::from_ptr(printed).to_bytes());
        pg_sys::pfree(printed.cast());
        value
    }
}
