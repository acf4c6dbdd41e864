//! Explanations are faithful: without the pixels that they name, the answer is gone.

#![allow(clippy::unwrap_used, reason = "a failed test says so by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use teller_nn::{Architecture, Arithmetic, ImageClassifier, ImageDataset, Method, Workspace, best};
use teller_numeric::{Stream, Uninterrupted};
use teller_payload::AlignedBytes;

/// The model that comes with the extension.
fn digits() -> ImageClassifier {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/digits"));
    let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let model = &manifest["model"];
    let stored = std::fs::read(folder.join("weights.bin")).unwrap();
    let mut weights = AlignedBytes::zeroed(stored.len());
    weights.copy_from_slice(&stored);
    ImageClassifier::load(
        Arithmetic::CURRENT,
        &Architecture::from_json(&model["architecture"]).unwrap(),
        &serde_json::from_value(model["normalization"].clone()).unwrap(),
        serde_json::from_value(model["labels"].clone()).unwrap(),
        Arc::new(weights),
    )
    .unwrap()
}

/// What the answered label loses when a fifth of the pixels gets the mean grey, on average over
/// the digits: the hottest fifth, and a random one.
fn losses(classifier: &ImageClassifier, digits: &ImageDataset, method: Method) -> (f64, f64) {
    let mut workspace: Workspace = classifier.workspace().unwrap();
    let (mut hot, mut random) = (0.0, 0.0);
    for row in 0..digits.len() {
        let raster = digits.raster(row);
        let answer = classifier.probabilities(raster, &mut workspace, &Uninterrupted).unwrap();
        let label = best(answer);
        let whole = f64::from(answer[label]);
        let heat =
            classifier.heat(raster, label, method, &mut workspace, &Uninterrupted).unwrap().values;
        let mut hottest: Vec<usize> = (0..heat.len()).collect();
        hottest.sort_by(|&a, &b| heat[b].total_cmp(&heat[a]));
        let mut any: Vec<usize> = (0..heat.len()).collect();
        Stream::new(7, "deleted pixels", row as u64).shuffle(&mut any);
        let mut without = |pixels: &[usize]| {
            let mut raster = raster.to_vec();
            let sum: usize = raster.iter().map(|&value| usize::from(value)).sum();
            let mean = (sum / raster.len()) as u8;
            pixels[..heat.len() / 5].iter().for_each(|&pixel| raster[pixel] = mean);
            let left = classifier.probabilities(&raster, &mut workspace, &Uninterrupted).unwrap();
            whole - f64::from(left[label])
        };
        hot += without(&hottest);
        random += without(&any);
    }
    (hot / digits.len() as f64, random / digits.len() as f64)
}

#[test]
fn without_the_hottest_fifth_a_digit_loses_twice_what_a_random_fifth_takes() {
    let Some([scans]) = common::mnist([200]) else { return };
    let classifier = digits();
    for (name, method) in Method::NAMES {
        let (hot, random) = losses(&classifier, &scans, method);
        println!("{name}: hottest {hot:.4}, random {random:.4}");
        assert!(hot >= 2.0 * random && hot > 0.1, "{name}: {hot} against {random}");
    }
}
