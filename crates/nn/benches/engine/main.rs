//! The network engine beside ONNX Runtime, Keras and PyTorch, which compute the same network with
//! the same weights: `cargo bench -p teller-nn --bench engine
//! [-- inference|training|texts|generators|layers]`.
#![allow(clippy::unwrap_used, reason = "a bench that cannot measure says so and ends")]

#[path = "../../tests/common/mod.rs"]
mod common;
mod generators;
mod inference;
mod layers;
mod peers;
mod texts;
mod training;

use teller_numeric::Isa;
use teller_numeric::kernels::{Contraction, Grid, Start};

fn main() {
    // Cargo adds flags of its own.
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let peak = peak(Isa::detect());
    println!("{}: {:.0} GFLOP/s at most, one thread", Isa::detect().name(), peak / 1e9);
    if wanted("inference") {
        inference::run(peak);
    }
    if wanted("training") {
        training::run(peak);
    }
    if wanted("texts") {
        texts::run();
    }
    if wanted("generators") {
        generators::run();
    }
    if wanted("layers") {
        layers::run(peak);
    }
}

/// Operations a second of multiply-adds alone, 24 sums in registers over one cache line: what the
/// machine can do.
fn peak(isa: Isa) -> f64 {
    let ones = [1.0f32; 64];
    let sum = Contraction {
        rows: Grid { outer: 1, inner: 6, c_inner: 64, ..Grid::default() },
        columns: 64,
        segments: 1,
        steps: 20_000,
        ..Contraction::default()
    };
    let mut c = [0.0; 384];
    let seconds = (0..200).map(|_| {
        let begun = std::time::Instant::now();
        sum.run(isa, &ones, &ones, Start::Zero, &mut c);
        begun.elapsed().as_secs_f64()
    });
    2.0 * sum.products() as f64 / seconds.fold(f64::INFINITY, f64::min)
}

/// How much of what the machine can do.
fn rate(what: &str, operations: u64, seconds: f64, peak: f64) {
    let rate = operations as f64 / seconds;
    println!("  {what:<28} {:.0} GFLOP/s, {:.0} % of the peak", rate / 1e9, 100.0 * rate / peak);
}
