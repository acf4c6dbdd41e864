//! The recommenders beside implicit, SciPy and NumPy:
//! `cargo bench -p teller-recommend --bench recommend [-- quality|fitting|top_k]`.
#![allow(clippy::unwrap_used, reason = "a bench that cannot measure says so and ends")]

mod fitting;
mod peer;
mod quality;
#[path = "../../tests/support/mod.rs"]
mod support;
mod top_k;

fn main() {
    // Cargo adds flags of its own.
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, run) in
        [("quality", quality::run as fn()), ("fitting", fitting::run), ("top_k", top_k::run)]
    {
        if only.is_empty() || only.iter().any(|only| only == name) {
            run();
        }
    }
}
