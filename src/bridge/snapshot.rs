//! Which statement is this? The identity of the active snapshot.
//!
//! What was looked up in a table under one snapshot holds for every call under an equal one. The
//! snapshot's address is no identity: it is reused. Its contents are, together with the
//! transaction and the count of subtransactions that were rolled back (a rollback to a savepoint
//! undoes what a lookup saw, without changing the snapshot's numbers).

use std::cell::Cell;

use pgrx::pg_sys;

// Declared here because pgrx guards every call against errors, which costs more than these do:
// they return a variable each and raise none.
unsafe extern "C" {
    fn GetActiveSnapshot() -> pg_sys::Snapshot;
    fn GetUserId() -> pg_sys::Oid;
    fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
}

thread_local! {
    static ABORTED_SUBTRANSACTIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts rolled back subtransactions from now on; called once, when the library is loaded.
pub fn init() {
    // SAFETY: the callback is a plain function that lives as long as the library.
    unsafe { pg_sys::RegisterSubXactCallback(Some(count_aborts), std::ptr::null_mut()) };
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn count_aborts(
    event: pg_sys::SubXactEvent::Type,
    _subtransaction: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        ABORTED_SUBTRANSACTIONS.set(ABORTED_SUBTRANSACTIONS.get() + 1);
    }
}

/// The contents of a snapshot, the transaction that holds it and the role that looks.
///
/// Also the client's statement: privileges are those of today, even in a transaction that keeps
/// yesterday's snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotKey {
    user: u32,
    statement: pg_sys::TimestampTz,
    transaction: u32,
    aborted: u64,
    xmin: u32,
    xmax: u32,
    command: u32,
    recovery: bool,
    running: Vec<pg_sys::TransactionId>,
    running_sub: Vec<pg_sys::TransactionId>,
}

impl SnapshotKey {
    /// Whether this is the key of the active snapshot; if not, becomes it.
    pub fn is_active(&mut self) -> bool {
        // SAFETY: called while a statement runs, so there is an active snapshot, whose arrays have
        // the lengths that it says; MyProc is set in every backend.
        let (snapshot, user, statement, transaction, running, running_sub) = unsafe {
            let snapshot = &*GetActiveSnapshot();
            (
                snapshot,
                GetUserId().to_u32(),
                GetCurrentStatementStartTimestamp(),
                (*pg_sys::MyProc).lxid,
                slice(snapshot.xip, snapshot.xcnt as usize),
                slice(snapshot.subxip, snapshot.subxcnt.max(0) as usize),
            )
        };
        let aborted = ABORTED_SUBTRANSACTIONS.get();
        let same = self.command == snapshot.curcid
            && self.xmax == u32::from(snapshot.xmax)
            && self.xmin == u32::from(snapshot.xmin)
            && self.transaction == transaction
            && self.user == user
            && self.statement == statement
            && self.aborted == aborted
            && self.recovery == snapshot.takenDuringRecovery
            && self.running == running
            && self.running_sub == running_sub;
        if !same {
            *self = Self {
                user,
                statement,
                transaction,
                aborted,
                xmin: snapshot.xmin.into(),
                xmax: snapshot.xmax.into(),
                command: snapshot.curcid,
                recovery: snapshot.takenDuringRecovery,
                running: running.to_vec(),
                running_sub: running_sub.to_vec(),
            };
        }
        same
    }
}

/// While it lives, reads see what has been committed by now, not when the statement began.
pub struct PushedSnapshot(());

impl PushedSnapshot {
    /// For decisions made after waiting for a lock. In a repeatable read transaction reads see its
    /// snapshot still, and a conflicting write fails.
    pub fn of_transaction() -> Self {
        // SAFETY: called inside a transaction; popped by drop, or by the abort after an error.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        Self(())
    }

    /// Whatever the transaction sees; parallel plans cannot have one.
    pub fn latest() -> Option<Self> {
        // SAFETY: as above.
        unsafe {
            if pg_sys::IsInParallelMode() {
                return None;
            }
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
        }
        Some(Self(()))
    }
}

impl Drop for PushedSnapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: pops what was pushed: SPI pops its own before it returns.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

/// When the running statement began, in microseconds; only differences mean anything.
pub fn statement_start() -> i64 {
    // SAFETY: reads a variable of the backend.
    unsafe { GetCurrentStatementStartTimestamp() }
}

/// # Safety
/// `start` points to `len` transaction ids, or `len` is 0.
unsafe fn slice<'a>(
    start: *const pg_sys::TransactionId,
    len: usize,
) -> &'a [pg_sys::TransactionId] {
    if len == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(start, len) }
}
