//! The network engine beside ONNX Runtime and Keras, which compute the same network:
//! `cargo bench -p teller-nn --bench engine [-- inference|training]`.
//!
//! Machines differ, so that only the ratios of one run tell something: what is compared is
//! measured in turns, a short spell each, and the median and the fastest spell are shown.
#![allow(clippy::unwrap_used, reason = "a bench that cannot measure says so and ends")]

mod inference;
mod peers;
mod training;

fn main() {
    // Cargo adds flags of its own.
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let python = peers::python();
    println!("{:<28} {:>22} {:>22} {:>7}", "", "ours", "theirs", "ratio");
    if wanted("inference") {
        inference::run(python.as_deref());
    }
    if wanted("training") {
        training::run(python.as_deref());
    }
}

/// Times of one thing, in ascending order.
struct Times(Vec<f64>);

impl Times {
    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    fn shown(&self, scale: f64) -> String {
        format!("{:.2} ({:.2})", self.median() * scale, self.0[0] * scale)
    }
}

/// Seconds of ours and of theirs, in turns.
fn in_turns(
    rounds: usize,
    mut ours: impl FnMut() -> f64,
    mut theirs: Option<impl FnMut() -> f64>,
) -> [Option<Times>; 2] {
    let (mut all, mut others) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        all.push(ours());
        others.extend(theirs.as_mut().map(|theirs| theirs()));
    }
    [all, others].map(|mut times| {
        times.sort_by(f64::total_cmp);
        (!times.is_empty()).then_some(Times(times))
    })
}

/// One line: median and fastest of both in `1 / scale` seconds, and ours as a part of theirs.
fn report(what: &str, [ours, theirs]: &[Option<Times>; 2], scale: f64, goal: f64) {
    let Some(ours) = ours else { return };
    let Some(theirs) = theirs else {
        println!("{what:<28} {:>22}", ours.shown(scale));
        return;
    };
    let ratio = ours.median() / theirs.median();
    let fastest = ours.0[0] / theirs.0[0];
    let verdict = if ratio <= goal { "met" } else { "MISSED" };
    println!(
        "{what:<28} {:>22} {:>22} {ratio:>7.3} ({fastest:.3})  at most {goal:.3}: {verdict}",
        ours.shown(scale),
        theirs.shown(scale),
    );
}
