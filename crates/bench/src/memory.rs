//! What a process holds at its peak.

use std::process::Command;

/// Resident bytes of this process; 0 where the system tells none.
pub struct Memory(u64);

impl Memory {
    /// What is held now.
    pub fn now() -> Self {
        Self(Self::status("VmRSS:"))
    }

    /// Counts the peak from here on; `false` where the system cannot.
    pub fn count_anew() -> bool {
        std::fs::write("/proc/self/clear_refs", "5").is_ok()
    }

    /// By how much the peak is above this.
    pub fn peak_above(&self) -> u64 {
        Self::status("VmHWM:").saturating_sub(self.0)
    }

    fn status(field: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.split_whitespace().next().and_then(|kb| kb.parse().ok()).unwrap_or(0u64) * 1024
    }
}

/// Says to a process which case is its own.
const CASE: &str = "TELLER_MEMORY_CASE";

/// Measures each of so many cases in a process of its own, since what was freed before one would
/// hide what it takes. Called by the only test of a file.
pub fn each_in_a_process(cases: usize, measure: impl Fn(usize)) {
    if let Ok(case) = std::env::var(CASE) {
        return measure(case.parse().unwrap());
    }
    for case in 0..cases {
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.env(CASE, case.to_string()).arg("--nocapture");
        // Or glibc keeps large blocks that were freed, ever larger ones, and counts them as held.
        process.env("MALLOC_MMAP_THRESHOLD_", "131072");
        assert!(process.status().unwrap().success(), "case {case}");
    }
}
