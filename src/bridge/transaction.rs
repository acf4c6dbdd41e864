//! What the transaction allows.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Raises PostgreSQL's own error (25006) on a standby and in a read-only transaction, so that a
/// function that will write says so before its work and not after it.
pub fn refuse_read_only(function: &CStr) {
    // SAFETY: reads the transaction's state and raises an error; the name is NUL-terminated.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(function.as_ptr());
        pg_sys::PreventCommandDuringRecovery(function.as_ptr());
    }
}

/// Whether all statements of the transaction see the database as it was at its start.
pub fn keeps_its_snapshot() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}
