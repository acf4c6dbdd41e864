//! Training on real scans reaches what the networks are known for.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

mod common;

use std::path::Path;

use serde_json::{Value, json};
use teller_nn::{Architecture, CnnParams, EarlyStopping, TrainingParams, evaluate, fit};
use teller_numeric::{Options, Uninterrupted};

#[test]
fn three_epochs_on_20_000_digits_reach_0_98() {
    let Some([training, others]) = common::mnist([20_000, 5_000]) else { return };
    // The default rate was chosen on rows that are in neither part.
    let options = json!({"epochs": 3, "validation_fraction": 0});
    let params = CnnParams::read(&mut Options::new("cnn", &options).unwrap()).unwrap();
    let architecture = Architecture::named("reference").unwrap();
    let fitted = fit(&architecture, &params, &training, None, &Uninterrupted).unwrap();
    let figures = evaluate(&fitted.classifier().unwrap(), &others, &Uninterrupted).unwrap();
    println!("{figures:?}");
    assert_eq!(figures[1].0, "accuracy");
    assert!(figures[1].1 >= 0.98, "{figures:?}");
}

#[test]
fn the_small_network_reads_the_scans_of_the_demo() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/digits.tsv.gz"));
    let [training, others] = common::scans(path, 8, [1_300, 497]);
    let params = TrainingParams {
        epochs: 20,
        stopping: EarlyStopping { patience: 0, ..EarlyStopping::default() },
        ..TrainingParams::default()
    };
    let architecture = Architecture::named("small").unwrap();
    let fitted = fit(&architecture, &params.into(), &training, None, &Uninterrupted).unwrap();
    let figures = evaluate(&fitted.classifier().unwrap(), &others, &Uninterrupted).unwrap();
    println!("{figures:?}");
    assert!(figures[1].1 >= 0.97, "{figures:?}");
}

#[test]
fn changed_images_teach_more_than_the_few_there_are() {
    let Some([training, others]) = common::mnist([1_000, 2_000]) else { return };
    let architecture = Architecture::named("reference").unwrap();
    let errors = |augmentation: Value| {
        let options = json!({"epochs": 12, "validation_fraction": 0, "augmentation": augmentation});
        let params = CnnParams::read(&mut Options::new("cnn", &options).unwrap()).unwrap();
        let fitted = fit(&architecture, &params, &training, None, &Uninterrupted).unwrap();
        let figures = evaluate(&fitted.classifier().unwrap(), &others, &Uninterrupted).unwrap();
        println!("{figures:?}");
        1.0 - figures[1].1
    };
    let plain = errors(Value::Null);
    let changed = errors(json!({"shift": 0.07, "rotation": 10, "scale": 0.1, "shear": 8}));
    assert!(changed < 0.8 * plain, "{changed} {plain}");
}
