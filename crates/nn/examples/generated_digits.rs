//! Trains a generator of digits on MNIST with the options given as JSON, on the threads given, and
//! lets the shipped model judge what it makes: how sure it is, how often it sees each digit and the
//! one asked for, and the Fréchet distance of its embeddings, beside that between two halves of
//! real images. A contact sheet goes to the file named last:
//! `cargo run --release -p teller-nn --example generated_digits -- 2 '{"epochs": 5}' [sheet.png]`.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use teller_nn::{
    Architecture, Arithmetic, ImageClassifier, ImageGanParams, best, fit_images, frechet_distance,
};
use teller_numeric::{Cancelled, Control, Options, Step, Uninterrupted};
use teller_payload::AlignedBytes;

/// Images that are judged.
const JUDGED: usize = 5_000;
const SIDE: usize = 28;
/// Images in a row of the sheet.
const ACROSS: usize = 10;

struct Printing;

impl Control for Printing {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, step: Step) {
        let rate = step.rows as f64 / step.elapsed.as_secs_f64();
        println!("epoch {} of {}: loss {:.3}, {rate:.0} images/s", step.step, step.of, step.loss);
    }
}

/// The model that comes with the extension.
fn shipped() -> ImageClassifier {
    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/digits");
    let read = |name: &str| std::fs::read(format!("{MODEL}/{name}")).unwrap();
    let manifest: Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    let model = &manifest["model"];
    let part = |name: &str| model[name].clone();
    ImageClassifier::load(
        serde_json::from_value::<Option<Arithmetic>>(part("arithmetic"))
            .unwrap()
            .unwrap_or_default(),
        &Architecture::from_json(&part("architecture")).unwrap(),
        &serde_json::from_value(part("normalization")).unwrap(),
        serde_json::from_value(part("labels")).unwrap(),
        Arc::new(AlignedBytes::from(&*read("weights.bin"))),
    )
    .unwrap()
    .with_temperature(serde_json::from_value(part("temperature")).unwrap())
    .unwrap()
}

/// What the shipped model makes of images.
struct Judged {
    embeddings: Vec<f32>,
    /// Mean of the highest probabilities.
    sure: f64,
    digits: Vec<usize>,
}

impl Judged {
    fn new<'r>(model: &ImageClassifier, rasters: impl Iterator<Item = &'r [u8]>) -> Self {
        let mut workspace = model.workspace().unwrap();
        let mut judged = Self { embeddings: Vec::new(), sure: 0.0, digits: Vec::new() };
        for raster in rasters {
            let embedding = model.embedding(raster, &mut workspace, &Uninterrupted).unwrap();
            judged.embeddings.extend(embedding);
            let seen = model.probabilities(raster, &mut workspace, &Uninterrupted).unwrap();
            let digit = best(seen);
            judged.sure += f64::from(seen[digit]);
            judged.digits.push(digit);
        }
        judged.sure /= judged.digits.len() as f64;
        judged
    }

    fn distance(&self, other: &Self) -> f64 {
        let width = self.embeddings.len() / self.digits.len();
        frechet_distance(&self.embeddings, &other.embeddings, width, &Uninterrupted).unwrap()
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.first().map_or(1, |threads| threads.parse().unwrap());
    let options = arguments.get(1).map_or("{}", |options| options);
    let options = serde_json::from_str(options).unwrap();
    let mut options = Options::new("gan", &options).unwrap();
    let images = options.integer("images", 50_000, 1_000..=50_000).unwrap() as usize;
    let params = ImageGanParams::read(&mut options).unwrap();
    options.finish().unwrap();
    let Some([training, first, second]) = common::mnist([images, JUDGED, JUDGED]) else { return };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let begun = Instant::now();
    let fitted = pool.install(|| fit_images(&params, &training, None, &Printing)).unwrap();
    println!("{threads} threads: {:.1?}, {:?}", begun.elapsed(), fitted.metrics());

    let generator = fitted.generator().unwrap();
    let pixels = pool.install(|| generator.images(0, JUDGED, None, 1, &Uninterrupted)).unwrap();
    let rasters: Vec<u8> = pixels.iter().map(|x| (x * 255.0).round() as u8).collect();
    let model = shipped();
    let made = Judged::new(&model, rasters.chunks(SIDE * SIDE));
    let real = [&first, &second]
        .map(|data| Judged::new(&model, (0..data.len()).map(|row| data.raster(row))));
    println!("sure {:.4} (real {:.4})", made.sure, real[0].sure);
    let share = |digit| {
        let count = made.digits.iter().filter(|&&seen| seen == digit).count();
        100.0 * count as f64 / JUDGED as f64
    };
    println!("shares {:.1?} %", (0..10).map(share).collect::<Vec<_>>());
    println!(
        "Fréchet distance {:.2} and {:.2}, between the real {:.2}",
        made.distance(&real[0]),
        made.distance(&real[1]),
        real[0].distance(&real[1])
    );
    let mut right = 0;
    let mut sheet = vec![0; 10 * SIDE * ACROSS * SIDE];
    for (place, label) in (0..10).map(|digit| digit.to_string()).enumerate() {
        let asked = generator.label(&label).unwrap();
        let make = || generator.images(0, 500, Some(asked), 2, &Uninterrupted).unwrap();
        let rasters: Vec<u8> =
            pool.install(make).iter().map(|x| (x * 255.0).round() as u8).collect();
        let judged = Judged::new(&model, rasters.chunks(SIDE * SIDE));
        right += judged.digits.iter().filter(|&&digit| digit == place).count();
        for (at, row) in rasters.chunks(SIDE).take(ACROSS * SIDE).enumerate() {
            let (image, y) = (at / SIDE, place * SIDE + at % SIDE);
            sheet[(y * ACROSS + image) * SIDE..][..SIDE].copy_from_slice(row);
        }
    }
    println!("{:.2} % are taken for the digit asked for", f64::from(right as u32) / 50.0);
    if let Some(path) = arguments.get(2) {
        let png = teller_nn::vision::png(&sheet, 10 * SIDE, ACROSS * SIDE, 1).unwrap();
        std::fs::write(path, png).unwrap();
    }
}
