//! The gradient of a whole network: through statistics of the batch, and around residual blocks.

use std::ops::Range;

use serde_json::{Value, json};
use teller_numeric::{Stream, Uninterrupted};

use super::*;
use crate::network::Purpose;
use crate::objective::Objective;
use crate::{
    Architecture, ImageDataset, ImageDatasetBuilder, Normalization, Optimizer, UpdateRule,
};

const ROWS: usize = 10;

fn data() -> ImageDataset {
    let mut builder = ImageDatasetBuilder::new(6, 6, 3);
    for row in 0..ROWS {
        let mut stream = Stream::new(3, "rows", row as u64);
        let raster: Vec<u8> = (0..108).map(|_| stream.below(256) as u8).collect();
        builder.push(&raster, &(row % 3).to_string()).unwrap();
    }
    builder.finish().unwrap()
}

/// A smooth network, so that slopes by differences are what the gradient says.
fn network(layers: Value) -> Network {
    let mut all = layers.as_array().unwrap().clone();
    let end = json!([
        {"type": "global_avg_pool2d"}, {"type": "dense", "units": "classes"}, {"type": "softmax"}]);
    all.extend(end.as_array().unwrap().iter().cloned());
    let whole = json!({"input": {"height": 6, "width": 6, "channels": 3}, "layers": all});
    Network::new(&Architecture::from_json(&whole).unwrap(), 3, Purpose::Training).unwrap()
}

fn networks() -> Vec<Network> {
    let conv = |filters: usize, stride: usize| {
        json!({"type": "conv2d", "filters": filters, "kernel": 3, "stride": stride,
               "padding": "same"})
    };
    let norm = json!({"type": "batch_norm2d"});
    let tanh = json!({"type": "tanh"});
    let identity = json!({"type": "residual", "layers": [conv(4, 1), norm, tanh, conv(4, 1), norm],
        "activation": "gelu"});
    let strided = json!({"type": "residual", "layers": [conv(5, 2), norm, tanh],
        "shortcut": [{"type": "conv2d", "filters": 5, "kernel": 1, "stride": 2}, norm]});
    vec![
        network(json!([conv(4, 1), norm, tanh])),
        network(json!([norm, conv(4, 1), norm, {"type": "gelu"}, conv(3, 1), norm])),
        network(json!([conv(4, 1), norm, tanh, identity])),
        network(json!([conv(4, 1), identity, strided, norm])),
        // The images themselves are the values that both ways read.
        network(json!([strided, {"type": "tanh"}, conv(3, 1)])),
    ]
}

/// The mean loss, with the gradient to all weights.
fn loss(trainer: &mut Trainer<'_>, data: &ImageDataset) -> f64 {
    let pixels = Normalization::unit(3).table(3).unwrap();
    let objective = Objective::plain(3);
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let batch = Batch { data, pixels: &pixels, rows: &rows, objective: &objective, changes: None };
    trainer.kernels.prepare(trainer.network, trainer.isa, &trainer.weights, true);
    let noise = Noise { seed: 1, first_image: 0 };
    trainer.pass_groups(batch, Some(noise), &Uninterrupted).unwrap();
    trainer.weight_gradient(ROWS, &Uninterrupted).unwrap();
    trainer.outcomes.iter().map(|outcome| outcome.loss).sum::<f64>() / ROWS as f64
}

#[test]
fn the_gradient_of_a_batch_is_the_slope_of_its_loss() {
    const STEP: f32 = 1.0 / 256.0;
    let data = data();
    for network in networks() {
        let mut trainer = Trainer::new(&network, Isa::detect(), ROWS, 5, false).unwrap();
        loss(&mut trainer, &data);
        let gradient = trainer.gradient.to_vec();
        let mut largest = 0.0f64;
        for placed in network.layers.iter().filter(|placed| placed.learns()) {
            for range in [&placed.kernel, &placed.bias] {
                for index in range.clone().step_by(1 + range.len() / 12) {
                    let before = trainer.weights[index];
                    trainer.weights[index] = before + STEP;
                    let up = loss(&mut trainer, &data);
                    trainer.weights[index] = before - STEP;
                    let down = loss(&mut trainer, &data);
                    trainer.weights[index] = before;
                    let slope = (up - down) / f64::from(2.0 * STEP);
                    let got = f64::from(gradient[index]);
                    largest = largest.max(got.abs());
                    assert!(
                        (slope - got).abs() < 2e-4 + 0.01 * slope.abs(),
                        "{} {index}: slope {slope}, gradient {got}",
                        placed.name
                    );
                }
            }
            // Running statistics follow no gradient.
            for range in [&placed.mean, &placed.variance] {
                assert!(gradient[range.clone()].iter().all(|&g| g == 0.0));
            }
        }
        assert!(largest > 0.01, "{largest}");
    }
}

#[test]
fn running_statistics_follow_the_batches() {
    let network = network(json!([{"type": "batch_norm2d", "momentum": 0.25}]));
    let data = data();
    let mut trainer = Trainer::new(&network, Isa::detect(), ROWS, 5, false).unwrap();
    loss(&mut trainer, &data);
    let placed = &network.layers[0];
    for channel in 0..3 {
        let values: Vec<f64> = (0..ROWS)
            .flat_map(|row| data.raster(row).iter().skip(channel).step_by(3))
            .map(|&value| f64::from(value) / 255.0)
            .collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let got =
            [&placed.mean, &placed.variance].map(|range| trainer.weights[range.clone()][channel]);
        assert!((f64::from(got[0]) - 0.25 * mean).abs() < 1e-6, "{got:?} {mean}");
        assert!((f64::from(got[1]) - (0.75 + 0.25 * variance)).abs() < 1e-6, "{got:?} {variance}");
    }
}

/// What has no gradient stands still under every rule, and batch norms do not decay.
#[test]
fn kernels_of_convolutions_and_dense_layers_alone_decay() {
    let sgd = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    for network in networks() {
        for optimizer in [Optimizer::Adam, Optimizer::AdamW, sgd] {
            let rule = UpdateRule {
                optimizer,
                weight_decay: 0.5,
                clip_norm: Some(1.0),
                ..UpdateRule::default()
            };
            let mut state =
                rule.start(network.weights, network.trained(), network.decaying()).unwrap();
            let mut trainer = Trainer::new(&network, Isa::detect(), ROWS, 5, false).unwrap();
            let before = trainer.weights.to_vec();
            for _ in 0..3 {
                let mut gradient = vec![0.0; network.weights];
                state.update(trainer.isa, 0.1, &mut trainer.weights, &mut gradient);
            }
            for placed in network.layers.iter().filter(|placed| placed.learns()) {
                let same =
                    |range: &Range<usize>| before[range.clone()] == trainer.weights[range.clone()];
                let norm = placed.layer.batch_norm().is_some();
                assert_eq!(same(&placed.kernel), norm, "{} {optimizer:?}", placed.name);
                assert!([&placed.bias, &placed.mean, &placed.variance].into_iter().all(same));
            }
        }
    }
}

#[test]
fn one_pixel_of_one_image_has_no_variance_and_does_no_harm() {
    let whole = json!({"input": {"height": 1, "width": 1, "channels": 3}, "layers": [
        {"type": "batch_norm2d"}, {"type": "flatten"}, {"type": "dense", "units": "classes"},
        {"type": "softmax"}]});
    let architecture = Architecture::from_json(&whole).unwrap();
    let network = Network::new(&architecture, 2, Purpose::Training).unwrap();
    let mut builder = ImageDatasetBuilder::new(1, 1, 3);
    builder.push(&[9, 90, 200], "a").unwrap();
    builder.push(&[30, 10, 0], "b").unwrap();
    let data = builder.finish().unwrap();
    let pixels = Normalization::unit(3).table(3).unwrap();
    let objective = Objective::plain(2);
    let mut trainer = Trainer::new(&network, Isa::detect(), 1, 5, false).unwrap();
    let batch =
        Batch { data: &data, pixels: &pixels, rows: &[1], objective: &objective, changes: None };
    trainer.kernels.prepare(trainer.network, trainer.isa, &trainer.weights, true);
    let noise = Noise { seed: 1, first_image: 0 };
    trainer.pass_groups(batch, Some(noise), &Uninterrupted).unwrap();
    trainer.weight_gradient(1, &Uninterrupted).unwrap();
    assert!(trainer.outcomes[0].loss.is_finite());
    assert!(trainer.gradient.iter().all(|g| g.is_finite()));
    let placed = &network.layers[0];
    assert!(trainer.weights[placed.mean.clone()].iter().all(|&mean| mean == 0.0));
    assert!(trainer.weights[placed.variance.clone()].iter().all(|&variance| variance == 1.0));
}
