//! The shipped digit network on prepared input, one thread.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use teller_bench::{Folder, compared, in_turns, title};
use teller_nn::{Architecture, Arithmetic, ImageClassifier, Normalization};
use teller_numeric::{Isa, Stream, Uninterrupted};
use teller_payload::AlignedBytes;

use crate::{peers, rate};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/digits");
const IMAGES: usize = 64;
const ROUNDS: usize = 300;

fn digits() -> (Architecture, ImageClassifier) {
    let manifest = std::fs::read(Path::new(MODEL).join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let model = &manifest["model"];
    let labels = model["labels"].as_array().unwrap().iter();
    let labels = labels.map(|label| label.as_str().unwrap().to_owned()).collect();
    let architecture = Architecture::from_json(&model["architecture"]).unwrap();
    let bytes = std::fs::read(Path::new(MODEL).join("weights.bin")).unwrap();
    let weights = Arc::new(AlignedBytes::from(&*bytes));
    let unit = Normalization::unit(1);
    let arithmetic = Arithmetic::CURRENT;
    let classifier =
        ImageClassifier::load(arithmetic, &architecture, &unit, labels, weights).unwrap();
    (architecture, classifier)
}

pub(crate) fn run(peak: f64) {
    let (architecture, classifier) = digits();
    let mut workspace = classifier.workspace().unwrap();
    let mut stream = Stream::new(1, "bench", 0);
    let rasters: Vec<Vec<u8>> =
        (0..IMAGES).map(|_| (0..784).map(|_| stream.below(256) as u8).collect()).collect();
    let mut answers = Vec::new();
    for raster in &rasters {
        answers.extend_from_slice(
            classifier.probabilities(raster, &mut workspace, &Uninterrupted).unwrap(),
        );
    }
    let mut ours = || {
        let begun = Instant::now();
        for raster in &rasters {
            classifier.probabilities(raster, &mut workspace, &Uninterrupted).unwrap();
        }
        begun.elapsed().as_secs_f64() / IMAGES as f64
    };

    title("One image, one thread");
    let folder = Folder::new("inference");
    peers::write_weights(&folder, &classifier);
    let images: Vec<f32> = rasters.iter().flatten().map(|&p| f32::from(p) / 255.0).collect();
    folder.write("images", &images);
    let taken = match peers::start("onnxruntime_peer.py", 1, &folder) {
        Some(mut peer) => {
            peers::compare_answers(&folder, &answers);
            [(1, 0.65), (32, 0.80)]
                .map(|(batch, goal)| {
                    let mut theirs = || peer.ask(&format!("rate {batch}"));
                    let [ours, theirs] = in_turns(ROUNDS, [&mut ours, &mut theirs]);
                    let what = format!("theirs in a batch of {batch}");
                    compared(&what, &ours, "ONNX Runtime", &theirs, goal);
                    ours.fastest()
                })
                .into_iter()
                .fold(f64::INFINITY, f64::min)
        }
        None => {
            let [ours] = in_turns(ROUNDS, [&mut ours]);
            println!("  ours alone: {:.2} us", ours.fastest() * 1e6);
            ours.fastest()
        }
    };
    let layers = architecture.profile(Isa::detect(), 10, &Uninterrupted).unwrap();
    let products: u64 = layers.iter().map(|layer| layer.products).sum();
    rate("which is", 2 * products, taken, peak);
}
