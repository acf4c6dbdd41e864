//! Measuring: time beside others, and memory.
//!
//! Machines differ, so that only the ratios of one run tell something: what is compared is
//! measured in turns, a short spell each. Of the spells the fastest counts, since whatever else
//! the machine does only makes them slower; the median is shown beside it.
#![allow(clippy::unwrap_used, reason = "a bench that cannot measure says so and ends")]

mod memory;
mod peers;

pub use memory::{Memory, each_in_a_process};
pub use peers::{Folder, Peer};

/// Seconds that one thing took, in ascending order.
pub struct Times(Vec<f64>);

impl Times {
    /// Of so many seconds each.
    pub fn new(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    /// The least.
    pub fn fastest(&self) -> f64 {
        self.0[0]
    }

    /// The middle.
    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    fn shown(&self) -> String {
        let (scale, unit) = match self.fastest() {
            seconds if seconds >= 1.0 => (1.0, "s"),
            seconds if seconds >= 0.01 => (1e3, "ms"),
            _ => (1e6, "us"),
        };
        format!("{:.2} ({:.2}) {unit}", self.fastest() * scale, self.median() * scale)
    }
}

/// What each takes, a spell of one after a spell of the other.
pub fn in_turns<const N: usize>(
    rounds: usize,
    mut spells: [&mut dyn FnMut() -> f64; N],
) -> [Times; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..rounds {
        for (spell, times) in spells.iter_mut().zip(&mut times) {
            times.push(spell());
        }
    }
    times.map(Times::new)
}

/// Begins a table of [`compared`] lines.
pub fn title(what: &str) {
    println!("\n{what:<36} {:>22} {:>14} {:>22}", "ours (median)", "of theirs", "theirs (median)");
}

/// Ours as a part of theirs, and whether that is little enough.
pub fn compared(what: &str, ours: &Times, name: &str, theirs: &Times, goal: f64) {
    let ratio = ours.fastest() / theirs.fastest();
    let verdict = if ratio <= goal { "met" } else { "MISSED" };
    println!(
        "  {what:<34} {:>22} {:>14} {:>22}  {name}; at most {goal:.3}: {verdict}",
        ours.shown(),
        format!("{ratio:.3} ({:.3})", ours.median() / theirs.median()),
        theirs.shown(),
    );
}
