//! Trains an autoencoder on MNIST with the options given as JSON, on the threads given, holding out
//! 5,000 images, and tells nats an image; with a digit, trains on all others and tells how well the
//! anomaly score tells that digit from them (AUROC):
//! `cargo run --release -p teller-nn --example autoencoder -- 2 '{"epochs": 5}' [digit|all]`.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use rayon::prelude::*;
use teller_nn::{
    Autoencoder, AutoencoderParams, Examples, ImageDataset, Likelihood, evaluate_autoencoder,
    fit_autoencoder,
};
use teller_numeric::{Cancelled, Control, Options, Step, Uninterrupted};

struct Printing;

impl Control for Printing {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, step: Step) {
        let rate = step.rows as f64 / step.elapsed.as_secs_f64();
        let validation = step.validation.map_or(f64::NAN, |(_, value)| value);
        println!(
            "epoch {} of {}: loss {:.3}, validation {validation:.3}, {rate:.0} images/s",
            step.step, step.of, step.loss
        );
    }
}

fn examples(data: &ImageDataset, keep: impl Fn(&str) -> bool) -> Examples {
    let mut examples = Examples::pixels(28, 28, 1, u64::MAX);
    for (row, &target) in data.targets().iter().enumerate() {
        if keep(&data.labels()[target as usize]) {
            examples.push_pixels(data.raster(row)).unwrap();
        }
    }
    examples
}

fn scores(model: &Autoencoder, data: &ImageDataset, keep: impl Fn(&str) -> bool) -> Vec<f32> {
    let kept = |row: &usize| keep(&data.labels()[data.targets()[*row] as usize]);
    let rows: Vec<usize> = (0..data.len()).filter(kept).collect();
    let score = |&row: &usize| {
        model.anomaly_score(&Autoencoder::unit(data.raster(row)), &Uninterrupted).unwrap()
    };
    rows.par_iter().map(score).collect()
}

/// How often a number of the first is above one of the second; equal ones count half.
fn auroc(above: &[f32], below: &[f32]) -> f64 {
    let against =
        |a: &f32, b: &f32| (f64::from(u8::from(a > b)) + f64::from(u8::from(a >= b))) / 2.0;
    let wins: f64 = above.iter().flat_map(|a| below.iter().map(move |b| against(a, b))).sum();
    wins / (above.len() * below.len()) as f64
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.first().map_or(1, |threads| threads.parse().unwrap());
    let options = arguments.get(1).map_or("{}", |options| options);
    let options = serde_json::from_str(options).unwrap();
    let mut options = Options::new("vae", &options).unwrap();
    let usual = AutoencoderParams::of(Likelihood::Bernoulli);
    let params = AutoencoderParams::read(&mut options, usual).unwrap();
    options.finish().unwrap();
    let Some([training, held_out]) = common::mnist([55_000, 5_000]) else { return };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let fit = |keep: &dyn Fn(&str) -> bool| {
        let begun = Instant::now();
        let examples = examples(&training, keep);
        let fitted = pool.install(|| fit_autoencoder(&params, &examples, None, &Printing)).unwrap();
        println!("{threads} threads: {:.1?}, {:?}", begun.elapsed(), fitted.metrics());
        fitted.autoencoder().unwrap()
    };
    let digits: Vec<String> = match arguments.get(2).map(String::as_str) {
        None => {
            let model = fit(&|_| true);
            let held_out = examples(&held_out, |_| true);
            let figures = pool.install(|| evaluate_autoencoder(&model, &held_out, &Uninterrupted));
            println!("held out: {:?}", figures.unwrap());
            return;
        }
        Some("all") => (0..10).map(|digit| digit.to_string()).collect(),
        Some(digit) => vec![digit.to_owned()],
    };
    let mut sum = 0.0;
    for digit in &digits {
        let model = fit(&|label| label != digit);
        let [unknown, known] = [true, false].map(|unknown| {
            pool.install(|| scores(&model, &held_out, |label| (label == digit) == unknown))
        });
        let auroc = auroc(&unknown, &known);
        sum += auroc;
        println!("digit {digit}: AUROC {auroc:.4}");
    }
    println!("mean AUROC {:.4}", sum / digits.len() as f64);
}
