//! Trains on nine tenths of Banking77 and tells how the classifier does on the rest:
//! `cargo run --release --example texts -- '{"algorithm": "ensemble"}' 2`; or on all of it and tells
//! how it does on the set's own test part, where that is given as a TSV file like the other.

#![allow(clippy::unwrap_used, reason = "an example may end with a panic")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use teller_nn::{PreparedTexts, TextParams};
use teller_numeric::{Cancelled, Control, Options, Step};

struct Printing;

impl Control for Printing {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, step: Step) {
        let Step { step, of, loss, validation, rows, elapsed } = step;
        let speed = rows as f64 / elapsed.as_secs_f64();
        println!("{step}/{of} loss {loss:.4} {validation:?} {speed:.0} texts/s");
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let given = serde_json::from_str(&arguments.next().unwrap_or("{}".to_owned())).unwrap();
    let threads = arguments.next().map_or(2, |threads| threads.parse().unwrap());
    let mut options = Options::new("texts", &given).unwrap();
    let params = TextParams::read(&mut options).unwrap();
    options.finish().unwrap();
    let parts = match arguments.next() {
        Some(file) => common::questions([usize::MAX]).map(|[training]| {
            let text = std::fs::read_to_string(file).unwrap();
            [common::labelled(text.lines().skip(1)), training]
        }),
        None => common::questions([1_000, usize::MAX]),
    };
    let Some([held_out, training]) = parts else { return };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let begun = Instant::now();
    let prepared = PreparedTexts::new(&params, &training, &Printing).unwrap();
    println!("prepared in {:?}, {} MB", begun.elapsed(), prepared.memory_needed() >> 20);
    let fitted = pool.install(|| prepared.fit(None, &Printing)).unwrap();
    println!("trained in {:?}, {} MB", begun.elapsed(), fitted.payload().len() >> 20);
    println!("{:?}", fitted.metrics());
    let classifier = fitted.classifier().unwrap();
    let begun = Instant::now();
    let figures = pool.install(|| classifier.evaluate(&held_out, &Printing)).unwrap();
    let each = begun.elapsed() / held_out.len() as u32;
    println!("{:?}, {each:?} a text", &figures[..5]);
}
