//! The matrix kernel beside the `gemm` crate, one thread, on the shapes of the networks in
//! `models/`: `cargo bench -p teller-numeric --bench kernels`.
//!
//! Both are measured in turns, a short spell each; of the spells the fastest is shown, since
//! whatever else the machine does only makes them slower.
#![allow(clippy::unwrap_used, reason = "a bench that cannot measure says so and ends")]

use std::time::Instant;

use teller_numeric::kernels::{Contraction, Grid, Start};
use teller_numeric::{Isa, Stream};

const ROUNDS: usize = 200;
/// Least part of the other's rate.
const GOAL: f64 = 0.95;
const SPELL_PRODUCTS: usize = 1 << 21;

/// `C (rows x columns) = A (rows x steps) * B (steps x columns)`; with `turned`, `A` lies as
/// `steps x rows`.
struct Shape {
    what: &'static str,
    rows: usize,
    steps: usize,
    columns: usize,
    turned: bool,
}

const fn shape(
    what: &'static str,
    rows: usize,
    steps: usize,
    columns: usize,
    turned: bool,
) -> Shape {
    Shape { what, rows, steps, columns, turned }
}

const SHAPES: [Shape; 27] = [
    shape("reference conv 2, one position", 25, 32, 64, false),
    shape("its gradient to the input", 25, 64, 32, false),
    shape("its gradient to the kernel", 32, 25, 64, true),
    shape("reference dense 1, one image", 1, 1600, 64, false),
    shape("reference dense 1, 4 images", 4, 1600, 64, false),
    shape("its gradient to the input", 4, 64, 64, false),
    shape("its gradient to the kernel", 24, 32, 64, true),
    shape("reference dense 2, 4 images", 4, 64, 10, false),
    shape("reference conv 1 in place", 676, 9, 32, false),
    shape("reference conv 2 in place", 100, 288, 64, false),
    shape("small conv 1 in place", 64, 9, 16, false),
    shape("small conv 2, one position", 16, 16, 32, false),
    shape("small dense 1, one image", 1, 512, 64, false),
    shape("lenet5 conv 1 in place", 784, 25, 6, false),
    shape("lenet5 conv 2 in place", 100, 150, 16, false),
    shape("lenet5 dense 1, 4 images", 4, 400, 120, false),
    shape("lenet5 dense 2, 4 images", 4, 120, 84, false),
    shape("resnet conv 1 in place", 1024, 27, 16, false),
    shape("resnet 16 to 16, one position", 32, 16, 16, false),
    shape("resnet 32 to 32, one position", 32, 32, 32, false),
    shape("resnet 64 to 64, one position", 16, 64, 64, false),
    shape("its gradient to the kernel", 64, 16, 64, true),
    shape("resnet 16 to 32, strided", 256, 144, 32, false),
    shape("resnet shortcut 32 to 64", 64, 32, 64, false),
    shape("forms conv 1 in place", 12544, 25, 16, false),
    shape("forms 96 to 96, one position", 25, 96, 96, false),
    shape("forms 128 to 128, one position", 16, 128, 128, false),
];

fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, "bench", 0);
    (0..count).map(|_| stream.uniform() * 2.0 - 1.0).collect()
}

fn seconds(times: usize, mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    (0..times).for_each(|_| work());
    begun.elapsed().as_secs_f64() / times as f64
}

/// Multiply-adds alone: what the machine can do.
fn peak(isa: Isa) -> f64 {
    let ones = [1.0f32; 16 * 24];
    let product = Contraction {
        rows: Grid { outer: 1, inner: 6, c_inner: 64, ..Grid::default() },
        columns: 64,
        segments: 1,
        steps: 100_000,
        ..Contraction::default()
    };
    let mut c = [0.0; 384];
    let products = product.products() as f64;
    (0..20)
        .map(|_| {
            2.0 * products / seconds(1, || product.run(isa, &ones, &ones, Start::Zero, &mut c))
        })
        .fold(0.0, f64::max)
}

/// Convolutions in place, 14 x 14 pixels of 64 filters: no shape may fall off a cliff.
fn convolutions(isa: Isa) {
    const SIDE: usize = 14;
    const FILTERS: usize = 64;
    println!("\n{:<34} {:>7} {:>8} {:>8}", "convolution in place", "stride", "channels", "GFLOP/s");
    for kernel in [1, 3, 5, 7] {
        for stride in [1, 2] {
            for channels in [1, 3, 16, 64, 256] {
                let row = (stride * (SIDE - 1) + kernel) * channels;
                let steps = kernel * channels;
                let a = floats(row * (stride * (SIDE - 1) + kernel), 1);
                let b = floats(kernel * steps * FILTERS, 2);
                let mut c = vec![0.0; SIDE * SIDE * FILTERS];
                let sum = Contraction {
                    rows: Grid {
                        outer: SIDE,
                        inner: SIDE,
                        a_outer: stride * row,
                        a_inner: stride * channels,
                        c_outer: SIDE * FILTERS,
                        c_inner: FILTERS,
                    },
                    columns: FILTERS,
                    segments: kernel,
                    steps,
                    a_segment: row,
                    a_step: 1,
                    b_segment: steps * FILTERS,
                    b_step: FILTERS,
                    ..Contraction::default()
                };
                let times = SPELL_PRODUCTS / sum.products() as usize + 1;
                let fastest = (0..ROUNDS / 5)
                    .map(|_| seconds(times, || sum.run(isa, &a, &b, Start::Zero, &mut c)))
                    .fold(f64::INFINITY, f64::min);
                let rate = 2.0 * sum.products() as f64 / fastest / 1e9;
                let what = format!("{kernel} x {kernel}");
                println!("{what:<34} {stride:>7} {channels:>8} {rate:>8.1}");
            }
        }
    }
}

fn main() {
    let isa = Isa::detect();
    println!("{}: {:.0} GFLOP/s at most", isa.name(), peak(isa) / 1e9);
    products(isa);
    convolutions(isa);
}

fn products(isa: Isa) {
    println!("{:<34} {:>14} {:>8} {:>8} {:>7}", "", "shape", "GFLOP/s", "gemm", "ratio");
    let mut missed = 0;
    for Shape { what, rows, steps, columns, turned } in SHAPES {
        let (a, b) = (floats(rows * steps, 1), floats(steps * columns, 2));
        let (mut ours, mut theirs) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
        let (a_inner, a_step) = if turned { (1, rows) } else { (steps, 1) };
        let product = Contraction {
            rows: Grid { outer: 1, inner: rows, a_inner, c_inner: columns, ..Grid::default() },
            columns,
            segments: 1,
            steps,
            a_step,
            b_step: columns,
            ..Contraction::default()
        };
        let times = SPELL_PRODUCTS / (rows * steps * columns) + 1;
        let (mut fastest, mut others) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            fastest =
                fastest.min(seconds(times, || product.run(isa, &a, &b, Start::Zero, &mut ours)));
            others = others.min(seconds(times, || {
                // SAFETY: the pointers and strides are those of the vectors above.
                #[allow(unsafe_code)]
                unsafe {
                    gemm::gemm(
                        rows,
                        columns,
                        steps,
                        theirs.as_mut_ptr(),
                        1,
                        columns as isize,
                        false,
                        a.as_ptr(),
                        a_step as isize,
                        a_inner as isize,
                        b.as_ptr(),
                        1,
                        columns as isize,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
            }));
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!((ours - theirs).abs() < 1e-3, "{what}: {ours} is not {theirs}");
        }
        let flops = 2.0 * (rows * steps * columns) as f64;
        let ratio = others / fastest;
        missed += usize::from(ratio < GOAL);
        println!(
            "{what:<34} {:>14} {:>8.1} {:>8.1} {ratio:>7.2} {}",
            format!("{rows}x{steps}x{columns}"),
            flops / fastest / 1e9,
            flops / others / 1e9,
            if ratio < GOAL { "MISSED" } else { "" },
        );
    }
    println!("at least {GOAL} of gemm's rate: missed by {missed} of {}", SHAPES.len());
}
