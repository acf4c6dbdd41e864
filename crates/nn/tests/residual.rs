//! Small residual networks with batch norms, trained and served as a whole.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use teller_nn::{
    Architecture, CnnParams, Error, FittedCnn, Head, ImageDataset, ImageDatasetBuilder, Method,
    StartFrom, TrainingParams, evaluate, fine_tune, fit_on,
};
use teller_numeric::{
    Cancelled, CheckpointBytes, Control, Isa, Moment, Step, Stream, Uninterrupted,
};
use teller_payload::{AlignedBytes, SharedBytes};

const SIDE: usize = 12;

/// Whether the square of an image is in the lower half.
fn is_low(seed: u64, index: usize) -> bool {
    Stream::new(seed, "squares", index as u64).below(2) == 1
}

/// Colour images with a red, a green or a blue square; each channel has a brightness of its own.
fn squares(count: usize, seed: u64) -> ImageDataset {
    let mut builder = ImageDatasetBuilder::new(SIDE, SIDE, 3);
    for index in 0..count {
        let mut stream = Stream::new(seed, "squares", index as u64);
        let top = if stream.below(2) == 1 { SIDE / 2 } else { 0 };
        let mut raster = Vec::with_capacity(SIDE * SIDE * 3);
        for _ in 0..SIDE * SIDE {
            raster.extend([20, 60, 110].map(|least| least + stream.below(90) as u8));
        }
        let (y, x) = (top + stream.below(3) as usize, stream.below(9) as usize);
        let colour = index % 3;
        for (row, column) in (y..y + 4).flat_map(|row| (x..x + 4).map(move |x| (row, x))) {
            raster[(row * SIDE + column) * 3 + colour] = 230;
        }
        builder.push(&raster, ["red", "green", "blue"][colour]).unwrap();
    }
    builder.finish().unwrap()
}

fn conv(filters: usize, stride: usize) -> Value {
    json!({"type": "conv2d", "filters": filters, "kernel": 3, "stride": stride, "padding": "same"})
}

/// ResNet-8 (He et al. 2016), a quarter as wide.
fn resnet8() -> Architecture {
    let norm = json!({"type": "batch_norm2d"});
    let relu = json!({"type": "relu"});
    let block = |filters, stride| {
        let shortcut = match stride {
            1 => json!([]),
            _ => json!([{"type": "conv2d", "filters": filters, "kernel": 1, "stride": stride,
                "padding": "same"}, norm]),
        };
        json!({"type": "residual", "activation": "relu", "shortcut": shortcut,
            "layers": [conv(filters, stride), norm, relu, conv(filters, 1), norm]})
    };
    let layers = json!([
        conv(8, 1), norm, relu, block(8, 1), block(12, 2), block(16, 2),
        {"type": "global_avg_pool2d"},
        {"type": "dense", "units": "classes"}, {"type": "softmax"}]);
    let input = json!({"height": SIDE, "width": SIDE, "channels": 3});
    Architecture::from_json(&json!({"input": input, "layers": layers})).unwrap()
}

fn params(epochs: u32) -> CnnParams {
    let training = TrainingParams {
        epochs,
        batch_size: 20,
        learning_rate: 0.004,
        ..TrainingParams::default()
    };
    training.into()
}

fn train(
    isa: Isa,
    threads: usize,
    params: &CnnParams,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedCnn, Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| fit_on(isa, &resnet8(), params, &squares(300, 1), resume, control))
}

/// Keeps every checkpoint.
#[derive(Default)]
struct Keeper(Mutex<Vec<Vec<u8>>>);

impl Control for Keeper {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, _step: Step) {}

    fn checkpoint(&self, _moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        self.0.lock().unwrap().push((*state().unwrap()).as_ref().to_vec());
    }
}

fn accuracy(fitted: &FittedCnn, data: &ImageDataset) -> f64 {
    let figures = evaluate(&fitted.classifier().unwrap(), data, &Uninterrupted).unwrap();
    figures.iter().find(|(name, _)| name == "accuracy").unwrap().1
}

#[test]
fn a_resnet_learns_resumes_and_explains() {
    let keeper = Keeper::default();
    let fitted = train(Isa::SCALAR, 1, &params(6), None, &keeper).unwrap();
    let held_out = squares(400, 2);
    let right = accuracy(&fitted, &held_out);
    assert!(right >= 0.9, "{right}");

    // From a checkpoint inside an epoch, on other threads and instructions.
    let checkpoints = keeper.0.into_inner().unwrap();
    for at in [5, checkpoints.len() / 2] {
        let resume: SharedBytes = Arc::new(AlignedBytes::from(&*checkpoints[at]));
        let resumed = train(Isa::detect(), 3, &params(6), Some(resume), &Uninterrupted).unwrap();
        assert_eq!(*fitted.payload(), *resumed.payload());
        assert_eq!(fitted.metrics(), resumed.metrics());
    }

    // The part kept apart was looked at by layers that are not folded: the answers are the same.
    let metrics: std::collections::HashMap<String, f64> = fitted.metrics().into_iter().collect();
    assert!(metrics["validation_accuracy"] > 0.9, "{metrics:?}");

    let classifier = fitted.classifier().unwrap();
    let mut workspace = classifier.workspace().unwrap();
    // The map is of 3 x 3 cells, so it need not be right about every square.
    let mut there = |index: &usize| {
        let (raster, label) = (held_out.raster(*index), held_out.targets()[*index] as usize);
        let heat = classifier.heat(raster, label, Method::GradCam, &mut workspace, &Uninterrupted);
        let heat = heat.unwrap().values;
        let (upper, lower) = heat.split_at(SIDE * SIDE / 2);
        (lower.iter().sum::<f32>() > upper.iter().sum::<f32>()) == is_low(2, *index)
    };
    let found = (0..100).filter(&mut there).count();
    assert!(found > 75, "{found} of 100");
    // What the dense layer reads: the means over what the last block gives.
    let embedding =
        classifier.embedding(held_out.raster(0), &mut workspace, &Uninterrupted).unwrap();
    assert_eq!(embedding.len(), 16);
    assert!(embedding.iter().all(|&x| x >= 0.0) && embedding.iter().any(|&x| x > 0.0));
}

#[test]
fn a_frozen_batch_norm_keeps_its_statistics_too() {
    let source = train(Isa::detect(), 2, &params(2), None, &Uninterrupted).unwrap();
    let frozen = [
        "0.conv2d",
        "1.batch_norm2d",
        "3.residual.0.conv2d",
        "3.residual.1.batch_norm2d",
        "4.residual.shortcut.1.batch_norm2d",
    ];
    let freeze = frozen.map(str::to_owned).to_vec();
    let weights: SharedBytes = Arc::new(source.payload());
    let start = StartFrom::new(weights, source.labels.clone(), freeze, Head::Keep).unwrap();
    let tune = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let data = squares(100, 3);
        pool.install(|| fine_tune(&start, &resnet8(), &params(2), &data, None, &Uninterrupted))
            .unwrap()
    };
    let tuned = tune(1);
    let [before, after] = [&source, &tuned].map(|fitted| fitted.classifier().unwrap());
    for (before, after) in before.weights().zip(after.weights()) {
        let layer = before.name.rsplit_once('.').unwrap().0;
        assert_eq!(before.values == after.values, frozen.contains(&layer), "{}", before.name);
    }
    assert_eq!(*tuned.payload(), *tune(4).payload());
}
