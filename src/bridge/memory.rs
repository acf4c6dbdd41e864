//! How much memory a training takes.

use std::cell::Cell;

thread_local! {
    static HIGHEST: Cell<u64> = const { Cell::new(0) };
}

/// Watches this process's own memory, by looking again and again: at every poll of a training's
/// threads, and at every batch of rows that is read.
pub struct MemoryWatch {
    before: u64,
}

impl MemoryWatch {
    /// Counts from what the process holds now.
    pub fn start() -> Self {
        let before = resident();
        HIGHEST.set(before);
        Self { before }
    }

    /// The most that was held since, in bytes, beyond what was held at the start.
    pub fn peak(&self) -> u64 {
        look();
        HIGHEST.get().saturating_sub(self.before)
    }
}

/// Notes how much the process holds now.
pub fn look() {
    HIGHEST.set(HIGHEST.get().max(resident()));
}

/// Resident bytes that are not shared with files or other processes; 0 where the system does not
/// say.
fn resident() -> u64 {
    // Pages: size, resident, shared.
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split(' ').skip(1).map(|field| field.parse().unwrap_or(0u64));
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    resident.saturating_sub(shared) * u64::try_from(page).unwrap_or(4096)
}
