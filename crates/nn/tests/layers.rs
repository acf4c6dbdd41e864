//! Networks of every kind of layer, trained and served as a whole.

#![allow(clippy::unwrap_used, reason = "a failed test says so by panicking")]

mod common;

use serde_json::{Value, json};
use teller_nn::{
    Architecture, FittedCnn, ImageDataset, ImageDatasetBuilder, TrainingParams, fit, fit_on,
};
use teller_numeric::{Isa, Stream, Uninterrupted};

/// Bright rows: the label says which.
fn rows(count: usize, seed: u64) -> ImageDataset {
    let mut builder = ImageDatasetBuilder::new(8, 8, 1);
    for index in 0..count {
        let mut stream = Stream::new(seed, "rows", index as u64);
        let row = stream.below(4) as usize;
        let mut raster: Vec<u8> = (0..64).map(|_| stream.below(120) as u8).collect();
        raster[row * 16..row * 16 + 8].fill(255);
        builder.push(&raster, &row.to_string()).unwrap();
    }
    builder.finish().unwrap()
}

fn architecture(layers: Value) -> Architecture {
    Architecture::from_json(&json!({"input": {"height": 8, "width": 8}, "layers": layers})).unwrap()
}

/// A network that uses `activation` inside of layers, and `own` as a layer.
fn network(activation: &str, own: Value) -> Architecture {
    architecture(json!([
        {"type": "conv2d", "filters": 6, "kernel": 3, "padding": "same", "activation": activation},
        {"type": "avg_pool2d"},
        {"type": "conv2d", "filters": 8, "kernel": 3},
        own,
        {"type": "max_pool2d"},
        {"type": "flatten"},
        {"type": "dense", "units": 16, "activation": activation},
        {"type": "dense", "units": "classes"},
        {"type": "softmax"}
    ]))
}

fn train(isa: Isa, threads: usize, architecture: &Architecture, epochs: u32) -> FittedCnn {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let params = TrainingParams { epochs, learning_rate: 0.005, ..TrainingParams::default() };
    pool.install(|| fit_on(isa, architecture, &params.into(), &rows(400, 1), None, &Uninterrupted))
        .unwrap()
}

fn accuracy(fitted: &FittedCnn, data: &ImageDataset) -> f64 {
    assert_eq!(fitted.labels, data.labels());
    let classifier = fitted.classifier().unwrap();
    let mut workspace = classifier.workspace().unwrap();
    let hits = (0..data.len()).filter(|&row| {
        let raster = data.raster(row);
        let answer = classifier.probabilities(raster, &mut workspace, &Uninterrupted).unwrap();
        teller_nn::best(answer) == data.targets()[row] as usize
    });
    hits.count() as f64 / data.len() as f64
}

#[test]
fn every_activation_learns_and_its_bits_are_fixed() {
    // Sigmoids in every layer learn slowly: that they do at all is what counts.
    for (activation, own, least) in [
        ("leaky_relu", json!({"type": "leaky_relu", "slope": 0.2}), 0.95),
        ("gelu", json!({"type": "gelu"}), 0.95),
        ("sigmoid", json!({"type": "tanh"}), 0.4),
        ("tanh", json!({"type": "sigmoid"}), 0.4),
    ] {
        let network = network(activation, own);
        let first = train(Isa::SCALAR, 1, &network, 8);
        for isa in Isa::available() {
            let other = train(isa, 3, &network, 8);
            assert_eq!(*first.payload(), *other.payload(), "{activation} {}", isa.name());
        }
        let right = accuracy(&first, &rows(200, 2));
        assert!(right > least, "{activation}: {right}");
    }
}

#[test]
fn the_mean_of_the_whole_image_is_a_vector() {
    let network = architecture(json!([
        {"type": "conv2d", "filters": 8, "kernel": 8, "padding": "same", "activation": "relu"},
        {"type": "global_avg_pool2d"},
        {"type": "dense", "units": "classes"},
        {"type": "softmax"}
    ]));
    let fitted = train(Isa::detect(), 2, &network, 1);
    let last = &fitted.architecture.describe(4).unwrap()[1];
    assert_eq!(last.output, teller_nn::Shape::Vector(8));
    assert_eq!(fitted.classifier().unwrap().labels().len(), 4);
}

#[test]
fn a_depthwise_and_dilated_network_learns() {
    let network = architecture(json!([
        {"type": "conv2d", "filters": 8, "kernel": 3, "padding": "same", "activation": "relu"},
        {"type": "conv2d", "filters": 8, "kernel": 3, "groups": 8, "activation": "relu"},
        {"type": "conv2d", "filters": 12, "kernel": 1, "activation": "relu"},
        {"type": "conv2d", "filters": 12, "kernel": 3, "dilation": 2, "activation": "gelu"},
        {"type": "flatten"},
        {"type": "dense", "units": "classes"},
        {"type": "softmax"}
    ]));
    let first = train(Isa::SCALAR, 1, &network, 6);
    let other = train(Isa::detect(), 3, &network, 6);
    assert_eq!(*first.payload(), *other.payload());
    let right = accuracy(&first, &rows(200, 2));
    assert!(right > 0.95, "{right}");
}

#[test]
fn a_network_that_enlarges_learns() {
    let network = architecture(json!([
        {"type": "conv2d", "filters": 6, "kernel": 4, "stride": 4, "activation": "leaky_relu"},
        {"type": "flatten"},
        {"type": "reshape", "height": 2, "width": 2, "channels": 6},
        {"type": "conv_transpose2d", "filters": 5, "kernel": 4, "stride": 2, "padding": "same"},
        {"type": "batch_norm2d"},
        {"type": "leaky_relu"},
        {"type": "conv_transpose2d", "filters": 3, "kernel": 3, "stride": 2,
            "activation": "tanh"},
        {"type": "flatten"},
        {"type": "dense", "units": "classes"},
        {"type": "softmax"}
    ]));
    let first = train(Isa::SCALAR, 1, &network, 12);
    for isa in Isa::available() {
        assert_eq!(*first.payload(), *train(isa, 3, &network, 12).payload(), "{}", isa.name());
    }
    let right = accuracy(&first, &rows(200, 2));
    assert!(right > 0.95, "{right}");
}

#[test]
fn lenet5_reads_digits() {
    let Some([learned, held_out]) = common::mnist([4000, 1000]) else { return };
    let lenet = Architecture::named("lenet5").unwrap();
    let params = TrainingParams { epochs: 4, ..TrainingParams::default() };
    let fitted = fit(&lenet, &params.into(), &learned, None, &Uninterrupted).unwrap();
    let right = accuracy(&fitted, &held_out);
    println!("LeNet-5: {right} of {} digits after 4 epochs of {}", held_out.len(), learned.len());
    assert!(right > 0.92, "{right}");
}
