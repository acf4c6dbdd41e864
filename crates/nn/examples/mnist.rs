//! Trains on MNIST with the options given as JSON, on the threads given, holding out 5,000
//! images, and measures training, accuracy on those, and answers one at a time:
//! `cargo run --release -p teller-nn --example mnist -- 2 '{"epochs": 5}' [architecture]`.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use teller_nn::{Architecture, Arithmetic, CnnParams, ImageClassifier, evaluate, fit_on};
use teller_numeric::{Cancelled, Control, Isa, Options, Step, Uninterrupted};

struct Printing;

impl Control for Printing {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, step: Step) {
        let rate = step.rows as f64 / step.elapsed.as_secs_f64();
        let validation = step.validation.map_or(f64::NAN, |(_, value)| value);
        println!(
            "epoch {} of {}: loss {:.5}, validation {validation:.4}, {rate:.0} images/s",
            step.step, step.of, step.loss
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.first().map_or(1, |threads| threads.parse().unwrap());
    let options = arguments.get(1).map_or("{}", |options| options);
    let options = serde_json::from_str(options).unwrap();
    let mut options = Options::new("cnn", &options).unwrap();
    let params = CnnParams::read(&mut options).unwrap();
    options.finish().unwrap();
    let name = arguments.get(2).map_or("reference", |name| name);
    let architecture = match std::fs::read_to_string(name) {
        Ok(json) => Architecture::from_json(&serde_json::from_str(&json).unwrap()).unwrap(),
        Err(_) => Architecture::named(name).unwrap(),
    };
    let Some([training, held_out]) = common::mnist([55_000, 5_000]) else { return };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    for isa in Isa::available() {
        let chosen = std::env::var("TELLER_ISA").unwrap_or(Isa::detect().name().to_owned());
        if isa.name() != chosen {
            continue;
        }
        let begun = Instant::now();
        let fitted = pool
            .install(|| fit_on(isa, &architecture, &params, &training, None, &Printing))
            .unwrap();
        println!("{}, {threads} threads: {:.1?}", isa.name(), begun.elapsed());
        let payload = std::sync::Arc::new(fitted.payload());
        let labels = fitted.labels.clone();
        let classifier = ImageClassifier::load_on(
            isa,
            Arithmetic::CURRENT,
            &architecture,
            &fitted.normalization,
            labels,
            payload.clone(),
        )
        .unwrap();
        println!("{} bytes, {:?}", payload.len(), fitted.metrics());
        println!("held out: {:?}", evaluate(&classifier, &held_out, &Uninterrupted).unwrap());
        let mut workspace = classifier.workspace().unwrap();
        // Short spells, since the least of many is free of whatever else the machine does.
        let mut times: Vec<f64> = (0..2_000)
            .map(|spell| {
                let begun = Instant::now();
                for row in 0..20 {
                    let raster = held_out.raster((spell * 20 + row) % held_out.len());
                    classifier.probabilities(raster, &mut workspace, &Uninterrupted).unwrap();
                }
                begun.elapsed().as_secs_f64() * 1e6 / 20.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("one image: median {:.2} us, least {:.2} us", times[1_000], times[0]);
    }
}
