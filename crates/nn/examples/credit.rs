//! Trains on nine tenths of the credit default data as six months with static columns, and tells
//! the AUC on the rest: `cargo run --release --example credit -- '{"algorithm": "gru"}'`.

#![allow(clippy::unwrap_used, reason = "an example may end with a panic")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use teller_nn::{SequenceParams, fit_sequences};
use teller_numeric::{Options, Uninterrupted};

fn main() {
    let given = std::env::args().nth(1).unwrap_or("{}".to_owned());
    let given = serde_json::from_str(&given).unwrap();
    let mut options = Options::new("sequences", &given).unwrap();
    let params = SequenceParams::read(&mut options).unwrap();
    options.finish().unwrap();
    let Some([held_out, training]) = common::customers([2_400, usize::MAX]) else { return };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let begun = Instant::now();
    let fitted = pool.install(|| fit_sequences(&params, &training, None, &Uninterrupted)).unwrap();
    println!("trained in {:?}: {:?}", begun.elapsed(), fitted.metrics());
    let classifier = fitted.classifier().unwrap();
    let figures = pool.install(|| classifier.evaluate(&held_out, &Uninterrupted)).unwrap();
    println!("{:?}", &figures[..6]);
}
