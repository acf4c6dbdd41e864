//! Cancellation of work that runs on the backend's own thread.

use pgrx::pg_sys;
use teller_numeric::{Cancelled, Control, Step};

/// Tells an engine to stop when the statement was cancelled or the connection is to end.
///
/// It only looks: the engine returns [`Cancelled`], its memory is freed in order, and then
/// [`raise_cancel`] lets PostgreSQL report why.
pub struct StatementControl;

impl Control for StatementControl {
    fn check(&self) -> Result<(), Cancelled> {
        if cancel_pending() { Err(Cancelled) } else { Ok(()) }
    }

    fn report(&self, _step: Step) {}
}

/// Whether a signal asked this backend to end its statement or itself.
pub fn cancel_pending() -> bool {
    // SAFETY: plain integers that signal handlers write; a volatile read sees the latest value.
    unsafe {
        (&raw const pg_sys::QueryCancelPending).read_volatile() != 0
            || (&raw const pg_sys::ProcDiePending).read_volatile() != 0
    }
}

/// Ends this session if the postmaster is gone. A training would go on alone, and the server could
/// not be started again until its end.
pub fn notice_end_of_server() {
    // SAFETY: plain numbers that are set when the session starts, and the flags that SIGTERM's
    // handler sets, written on the thread that it runs on.
    unsafe {
        if pg_sys::IsUnderPostmaster && libc::getppid() != pg_sys::PostmasterPid {
            (&raw mut pg_sys::ProcDiePending).write_volatile(1);
            (&raw mut pg_sys::InterruptPending).write_volatile(1);
        }
    }
}

/// Lets PostgreSQL end the statement for the reason that is pending (a cancel, a timeout, the end
/// of the connection). Returns if interrupts are held off.
pub fn raise_cancel() {
    pgrx::check_for_interrupts!();
}
