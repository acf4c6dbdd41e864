//! Messages in the middle of work.

use pgrx::pg_sys;

/// Sends an INFO line.
///
/// PostgreSQL looks for interrupts when it has sent a message, and pgrx does not guard that call: a
/// cancel would jump from there over all Rust frames, past threads that still use what they
/// borrowed. So interrupts wait until the message is out.
pub fn info(text: &str) {
    let _held = HeldInterrupts::new();
    pgrx::info!("{text}");
}

/// Writes a line to the server's log, for those who look for it (DEBUG1).
pub fn debug(text: &str) {
    let _held = HeldInterrupts::new();
    pgrx::debug1!("{text}");
}

/// While it lives, interrupts stay pending (`HOLD_INTERRUPTS`).
struct HeldInterrupts(());

impl HeldInterrupts {
    fn new() -> Self {
        // SAFETY: a plain counter of the backend, changed on its own thread.
        unsafe { pg_sys::InterruptHoldoffCount += 1 };
        Self(())
    }
}

impl Drop for HeldInterrupts {
    fn drop(&mut self) {
        // An error has set the counter to 0 already.
        if !std::thread::panicking() {
            // SAFETY: as above; `new` raised it.
            unsafe { pg_sys::InterruptHoldoffCount -= 1 };
        }
    }
}
