//! The files from which calls of this transaction answered, until it ends.
//!
//! A file that somebody writes into meanwhile gives wrong answers, one that is cut off gives zeros.
//! Both are found when the transaction ends, which then fails: what comes of a transaction that
//! ends well is right. The loss of pages is known at once, so it refuses the next call already.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::cache::shared::fault;
use crate::cache::shared::file::SharedFile;
use crate::error::Error;

thread_local! {
    static USED: RefCell<Vec<Arc<SharedFile>>> = const { RefCell::new(Vec::new()) };
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Remembers that calls of this transaction answer from `file`.
pub fn answer_from(file: &Arc<SharedFile>) {
    USED.with_borrow_mut(|used| {
        if !used.iter().any(|known| Arc::ptr_eq(known, file)) {
            used.push(file.clone());
        }
    });
}

/// Fails if a call of this transaction may have answered from zeros.
pub fn refuse_lost() -> Result<(), Error> {
    if fault::is_lost() { Err(Error::FileLost) } else { Ok(()) }
}

/// Looks at the ends of transactions from now on.
pub(super) fn watch_transactions() {
    if !WATCHED.replace(true) {
        // SAFETY: the callback is a plain function that lives as long as the library.
        unsafe { pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut()) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_end(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::*;
    match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PARALLEL_PRE_COMMIT | XACT_EVENT_PRE_PREPARE => {
            let rewritten = USED.with_borrow(|used| used.iter().any(|file| file.is_rewritten()));
            if rewritten || fault::is_lost() {
                ErrorReport::from(Error::FileLost).report(PgLogLevel::ERROR);
            }
        }
        _ => {
            USED.take();
            fault::forget();
        }
    }
}
