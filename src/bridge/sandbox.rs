//! Running a SELECT that somebody else wrote, so that it only reads.
//!
//! It runs as a chosen role in a security-restricted operation and in a read-only transaction.
//! PostgreSQL lets more through then than reading: NOTIFY, advisory locks, large objects, temporary
//! tables, settings. So while it runs [`hooks`] refuse all that, and it runs in a subtransaction
//! that is rolled back at its end, whatever it did.

mod hooks;
mod session_locks;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use pgrx::pg_sys;

use crate::bridge::identity::{self, ReadOnlyTransaction, RestrictedIdentity};
use crate::bridge::session;
use crate::error::Error;

pub use hooks::install;
use session_locks::SessionLocks;

/// In whose name a query is read, and where it finds the tables that it names.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// Whoever asks reads his own query, in his own session.
    Caller,
    /// The query was stored, and is read in the name of `role` under the settings that were stored
    /// with it. It sees no temporary table: those are the session's, not the role's.
    #[allow(dead_code, reason = "for retraining")]
    Stored {
        /// Who reads.
        role: pg_sys::Oid,
        /// A value of the setting.
        search_path: &'a str,
        /// Values of other settings.
        settings: &'a BTreeMap<String, String>,
    },
}

/// Runs `work`, and undoes what it did in the database. Must not be called in a parallel plan.
pub fn run<T>(reader: Reader, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let locks = SessionLocks::held();
    let subtransaction = Subtransaction::begin();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let (role, may_use_temporary) = match reader {
            Reader::Caller => (identity::current_user(), true),
            Reader::Stored { role, search_path, settings } => {
                session::set(search_path, settings)?;
                (role, false)
            }
        };
        let _restricted = RestrictedIdentity::enter(role);
        let _read_only = ReadOnlyTransaction::enter();
        let _active = Active::enter(may_use_temporary);
        work()
    }));
    subtransaction.roll_back();
    locks.release_others();
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// A subtransaction, begun inside a function.
struct Subtransaction {
    memory: pg_sys::MemoryContext,
    resources: pg_sys::ResourceOwner,
}

impl Subtransaction {
    fn begin() -> Self {
        // SAFETY: called in a transaction. Memory that lives on is allocated where it was before,
        // not in the subtransaction's own context. Without an active snapshot, as after a
        // procedure's COMMIT, what is read would have none.
        unsafe {
            let before = Self {
                memory: pg_sys::CurrentMemoryContext,
                resources: pg_sys::CurrentResourceOwner,
            };
            pg_sys::BeginInternalSubTransaction(std::ptr::null());
            pg_sys::MemoryContextSwitchTo(before.memory);
            if !pg_sys::ActiveSnapshotSet() {
                pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            }
            before
        }
    }

    /// Closes cursors, gives locks back and restores identity, settings and snapshots too.
    fn roll_back(self) {
        // SAFETY: what `begin` began is the innermost subtransaction again: those of functions in
        // between ended with them.
        unsafe {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
            pg_sys::MemoryContextSwitchTo(self.memory);
            pg_sys::CurrentResourceOwner = self.resources;
        }
    }
}

/// A sandbox that is open.
#[derive(Clone, Copy)]
struct Sandbox {
    /// The transaction that it is open in: should it ever be left without [`Active`] being dropped,
    /// the next transaction is free.
    transaction: u32,
    may_use_temporary: bool,
}

thread_local! {
    static OPEN: Cell<Option<Sandbox>> = const { Cell::new(None) };
}

impl Sandbox {
    /// The one in which the running code is.
    fn current() -> Option<Self> {
        OPEN.get().filter(|sandbox| sandbox.transaction == transaction())
    }
}

fn transaction() -> u32 {
    // SAFETY: MyProc is set in every backend that runs a transaction.
    unsafe { pg_sys::MyProc.as_ref().map_or(0, |process| process.lxid) }
}

/// While it lives, the hooks refuse.
struct Active(Option<Sandbox>);

impl Active {
    fn enter(may_use_temporary: bool) -> Self {
        let outer = Sandbox::current();
        // A sandbox within another allows no more than that.
        let may_use_temporary =
            may_use_temporary && outer.is_none_or(|outer| outer.may_use_temporary);
        OPEN.set(Some(Sandbox { transaction: transaction(), may_use_temporary }));
        Self(outer)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        OPEN.set(self.0);
    }
}
