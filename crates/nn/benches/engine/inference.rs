//! The shipped digit network on prepared input, one thread.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use teller_nn::{Architecture, Arithmetic, ImageClassifier, Normalization};
use teller_numeric::{Stream, Uninterrupted};
use teller_payload::AlignedBytes;

use crate::peers::{self, Peer};
use crate::{in_turns, report};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/digits");
const IMAGES: usize = 64;
const ROUNDS: usize = 300;

fn digits() -> ImageClassifier {
    let manifest = std::fs::read(Path::new(MODEL).join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let model = &manifest["model"];
    let labels = model["labels"].as_array().unwrap().iter();
    let labels = labels.map(|label| label.as_str().unwrap().to_owned()).collect();
    let architecture = Architecture::from_json(&model["architecture"]).unwrap();
    let bytes = std::fs::read(Path::new(MODEL).join("weights.bin")).unwrap();
    let weights = Arc::new(AlignedBytes::from(&*bytes));
    ImageClassifier::load(
        Arithmetic::CURRENT,
        &architecture,
        &Normalization::unit(1),
        labels,
        weights,
    )
    .unwrap()
}

pub(crate) fn run(python: Option<&Path>) {
    let classifier = digits();
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
    let mut peer = python.map(|python| {
        let folder = peers::folder().join("weights");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, values: &[f32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            std::fs::write(folder.join(format!("{name}.f32")), bytes).unwrap();
        };
        for array in classifier.weights() {
            write(&array.name, array.values);
        }
        let images: Vec<f32> = rasters.iter().flatten().map(|&p| f32::from(p) / 255.0).collect();
        write("images", &images);
        let peer = Peer::start(python, "onnxruntime_peer.py", folder.to_str().unwrap());
        let theirs = std::fs::read(folder.join("answers.f32")).unwrap();
        for (ours, theirs) in answers.iter().zip(theirs.chunks_exact(4)) {
            let theirs = f32::from_le_bytes(theirs.try_into().unwrap());
            assert!((ours - theirs).abs() < 1e-4, "{ours} is not {theirs}");
        }
        peer
    });
    let mut ours = || {
        let begun = Instant::now();
        for raster in &rasters {
            classifier.probabilities(raster, &mut workspace, &Uninterrupted).unwrap();
        }
        begun.elapsed().as_secs_f64() / IMAGES as f64
    };
    for (batch, goal) in [(1, 0.65), (32, 0.80)] {
        let theirs = peer.as_mut().map(|peer| || peer.measure(batch));
        let times = in_turns(ROUNDS, &mut ours, theirs);
        report(&format!("one image, batch {batch} (us)"), &times, 1e6, goal);
    }
}
