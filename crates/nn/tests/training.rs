//! Training and serving as a whole: the same bits, what is stored, what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};
use teller_nn::{
    Architecture, Arithmetic, EarlyStopping, Error, FittedCnn, ImageClassifier, ImageDataset,
    ImageDatasetBuilder, Normalization, Optimizer, Schedule, TrainingParams, UpdateRule, best,
    evaluate, fit, fit_on, memory_needed,
};
use teller_numeric::{Cancelled, Control, Isa, Step, Stream, Uninterrupted};
use teller_payload::{AlignedBytes, PayloadError};

/// Bright bars: the label says in which row or column, with noise all over.
fn bars(rows: usize, seed: u64) -> ImageDataset {
    let mut builder = ImageDatasetBuilder::new(8, 8, 1);
    for row in 0..rows {
        let mut stream = Stream::new(seed, "bars", row as u64);
        let (place, upright) = (stream.below(4) as usize * 2, stream.below(2) == 1);
        let mut raster: Vec<u8> = (0..64).map(|_| stream.below(120) as u8).collect();
        for i in 0..8 {
            raster[if upright { i * 8 + place } else { place * 8 + i }] = 255;
        }
        builder.push(&raster, &format!("{place}{}", if upright { "|" } else { "-" })).unwrap();
    }
    builder.finish().unwrap()
}

fn architecture() -> Architecture {
    Architecture::from_json(&json!({
        "input": {"height": 8, "width": 8},
        "layers": [
            {"type": "conv2d", "filters": 6, "kernel": 3, "padding": "same"},
            {"type": "relu"},
            {"type": "max_pool2d"},
            {"type": "conv2d", "filters": 9, "kernel": 2, "activation": "relu"},
            {"type": "flatten"},
            {"type": "dropout", "rate": 0.2},
            {"type": "dense", "units": 20, "activation": "relu"},
            {"type": "dense", "units": "classes"},
            {"type": "softmax"}
        ]
    }))
    .unwrap()
}

fn params() -> TrainingParams {
    TrainingParams { epochs: 3, batch_size: 13, learning_rate: 0.005, ..TrainingParams::default() }
}

fn rule(optimizer: Optimizer) -> UpdateRule {
    UpdateRule { optimizer, ..UpdateRule::default() }
}

fn patience(patience: u32) -> EarlyStopping {
    EarlyStopping { patience, ..EarlyStopping::default() }
}

fn fit_bars(isa: Isa, threads: usize, params: &TrainingParams) -> FittedCnn {
    let params = params.clone().into();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| fit_on(isa, &architecture(), &params, &bars(300, 1), None, &Uninterrupted))
        .unwrap()
}

#[test]
fn threads_and_instruction_sets_change_no_bit_of_the_weights() {
    for optimizer in [Optimizer::Adam, Optimizer::Sgd { momentum: 0.9, nesterov: false }] {
        let params = TrainingParams { update: rule(optimizer), ..params() };
        let first = fit_bars(Isa::SCALAR, 1, &params);
        for isa in Isa::available() {
            for threads in 1..=4 {
                let other = fit_bars(isa, threads, &params);
                assert_eq!(*first.payload(), *other.payload(), "{} {threads}", isa.name());
                assert_eq!(first.epochs, other.epochs);
            }
        }
        let other = fit_bars(Isa::detect(), 2, &TrainingParams { seed: 43, ..params });
        assert_ne!(*first.payload(), *other.payload());
    }
}

/// FNV-1a.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[test]
fn the_weights_of_old_options_never_change() {
    let sgd = Optimizer::Sgd { momentum: 0.9, nesterov: false };
    let constant = Schedule::Constant;
    let digests = [params(), TrainingParams { update: rule(sgd), schedule: constant, ..params() }]
        .map(|params| digest(&fit_bars(Isa::detect(), 2, &params).payload()));
    assert_eq!(digests, [18_119_863_401_851_732_829, 8_461_189_855_179_836_875]);
}

#[test]
fn it_learns_and_every_instruction_set_answers_alike() {
    let params = TrainingParams { epochs: 15, ..params() };
    let fitted = fit_bars(Isa::detect(), 2, &params);
    let others = bars(200, 2);
    let figures = evaluate(&fitted.classifier().unwrap(), &others, &Uninterrupted).unwrap();
    assert!(figures[1].1 > 0.97, "{figures:?}");
    let bytes = Arc::new(fitted.payload());
    let answers = |isa| {
        let classifier = ImageClassifier::load_on(
            isa,
            Arithmetic::CURRENT,
            &fitted.architecture,
            &fitted.normalization,
            fitted.labels.clone(),
            bytes.clone(),
        )
        .unwrap();
        let mut workspace = classifier.workspace().unwrap();
        let mut bits = Vec::new();
        for row in 0..20 {
            let raster = others.raster(row);
            let answer = classifier.probabilities(raster, &mut workspace, &Uninterrupted).unwrap();
            assert!((answer.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            bits.extend(answer.iter().map(|p| p.to_bits()));
        }
        bits
    };
    for isa in Isa::available() {
        assert_eq!(answers(isa), answers(Isa::SCALAR), "{}", isa.name());
    }
}

#[test]
fn the_best_epoch_is_given_back_and_patience_ends_it() {
    struct Steps(AtomicU32);
    impl Control for Steps {
        fn check(&self) -> Result<(), Cancelled> {
            Ok(())
        }
        fn report(&self, step: Step) {
            assert_eq!(step.step, self.0.fetch_add(1, Ordering::Relaxed) + 1);
        }
    }
    let params =
        TrainingParams { epochs: 60, stopping: patience(2), learning_rate: 0.01, ..params() };
    let steps = Steps(AtomicU32::new(0));
    let fitted = fit(&architecture(), &params.clone().into(), &bars(300, 1), None, &steps).unwrap();
    assert_eq!(steps.0.into_inner() as usize, fitted.epochs.len());
    assert!(fitted.epochs.len() < 60, "patience did not end it");
    assert_eq!(fitted.epochs.len() as u32, fitted.best_epoch + 2);
    let figure = |epoch: u32| fitted.epochs[epoch as usize - 1].validation.unwrap();
    for epoch in 1..=fitted.epochs.len() as u32 {
        assert!(figure(epoch).figure <= figure(fitted.best_epoch).figure);
    }
    // A training that stops at the best epoch has the same weights.
    let params = TrainingParams { stopping: patience(0), ..params };
    let longer = fit(&architecture(), &params.into(), &bars(300, 1), None, &Uninterrupted).unwrap();
    assert_eq!(longer.epochs[..fitted.epochs.len()], fitted.epochs[..]);
}

#[test]
fn cancelling_stops_a_training() {
    struct After(AtomicU32);
    impl Control for After {
        fn check(&self) -> Result<(), Cancelled> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0..500 => Ok(()),
                _ => Err(Cancelled),
            }
        }
        fn report(&self, _step: Step) {}
    }
    let params = TrainingParams { epochs: 10_000, stopping: patience(0), ..params() };
    let stopped =
        fit(&architecture(), &params.into(), &bars(300, 1), None, &After(AtomicU32::new(0)));
    assert_eq!(stopped.unwrap_err(), Error::Cancelled(Cancelled));
}

#[test]
fn numbers_beyond_floats_are_told_as_divergence() {
    let mut data = bars(300, 1);
    data.normalization = Normalization { mean: vec![0.0], std: vec![1e-30] };
    let sgd = rule(Optimizer::Sgd { momentum: 0.9, nesterov: false });
    let params = TrainingParams { update: sgd, ..params() };
    let diverged = fit(&architecture(), &params.into(), &data, None, &Uninterrupted);
    assert_eq!(diverged.unwrap_err(), Error::Diverged { epoch: 1 });
}

#[test]
fn images_of_another_size_are_refused() {
    let mut builder = ImageDatasetBuilder::new(4, 16, 1);
    builder.push(&[0; 64], "a").unwrap();
    builder.push(&[1; 64], "b").unwrap();
    let data = builder.finish().unwrap();
    let error = fit(&architecture(), &params().into(), &data, None, &Uninterrupted)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "the images are an image of 4 x 16 x 1, the network expects an image of 8 x 8 x 1"
    );
}

#[test]
fn memory_grows_with_rows_and_batch() {
    let needed = |rows, batch_size| {
        let params = TrainingParams { batch_size, ..TrainingParams::default() };
        let reference = Architecture::named("reference").unwrap();
        memory_needed(&reference, &params.into(), rows, 10).unwrap()
    };
    let base = needed(60_000, 32);
    assert!((47_000_000..70_000_000).contains(&base), "{base}");
    assert_eq!(needed(70_000, 32) - base, 10_000 * (784 + 12));
    assert!(needed(60_000, 64) > base);
}

fn load(fitted: &FittedCnn, labels: &[&str], bytes: &[u8]) -> Result<ImageClassifier, Error> {
    let labels = labels.iter().map(|&label| label.to_owned()).collect();
    let bytes = Arc::new(AlignedBytes::from(bytes));
    ImageClassifier::load(
        Arithmetic::CURRENT,
        &fitted.architecture,
        &fitted.normalization,
        labels,
        bytes,
    )
}

const LABELS: [&str; 8] = ["0-", "0|", "2-", "2|", "4-", "4|", "6-", "6|"];

#[test]
fn weights_are_checked_against_the_architecture() {
    let fitted = fit_bars(Isa::detect(), 1, &TrainingParams { epochs: 1, ..params() });
    assert_eq!(fitted.labels, LABELS);
    let bytes = fitted.payload();
    let classifier = load(&fitted, &LABELS, &bytes).unwrap();
    let names: Vec<(String, Vec<usize>)> =
        classifier.weights().map(|array| (array.name, array.shape)).collect();
    let expected = [
        ("0.conv2d.kernel", vec![3, 3, 1, 6]),
        ("0.conv2d.bias", vec![6]),
        ("3.conv2d.kernel", vec![2, 2, 6, 9]),
        ("3.conv2d.bias", vec![9]),
        ("6.dense.kernel", vec![81, 20]),
        ("6.dense.bias", vec![20]),
        ("7.dense.kernel", vec![20, 8]),
        ("7.dense.bias", vec![8]),
    ];
    assert_eq!(names, expected.map(|(name, shape)| (name.to_owned(), shape)));
    assert!(classifier.memory() >= bytes.len());

    let fewer = load(&fitted, &LABELS[..7], &bytes).unwrap_err();
    assert!(matches!(fewer, Error::Payload(PayloadError::Array { .. })), "{fewer}");
    for labels in [&["a"][..], &["b", "a"], &["a", "a"], &[]] {
        assert!(matches!(load(&fitted, labels, &bytes), Err(Error::Labels { .. })));
    }
    let mut wider = fitted.architecture.to_json();
    wider["layers"][0]["filters"] = json!(7);
    let wider = Architecture::from_json(&wider).unwrap();
    let labels = fitted.labels.clone();
    let unit = Normalization::unit(1);
    let refused =
        ImageClassifier::load(Arithmetic::CURRENT, &wider, &unit, labels, Arc::new(bytes))
            .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the payload's array \"0.conv2d.kernel\" is of shape [3, 3, 1, 6], expected shape [3, 3, 1, 7]"
    );
}

#[test]
fn a_workspace_serves_networks_of_any_size() {
    let fitted = fit_bars(Isa::detect(), 1, &TrainingParams { epochs: 1, ..params() });
    let large = fitted.classifier().unwrap();
    let small = Architecture::from_json(&json!({"input": {"height": 1, "width": 2}, "layers": [
        {"type": "flatten"}, {"type": "dense", "units": "classes"}, {"type": "softmax"}]}))
    .unwrap();
    let mut builder = ImageDatasetBuilder::new(1, 2, 1);
    builder.push(&[0, 255], "a").unwrap();
    builder.push(&[255, 0], "b").unwrap();
    let data = builder.finish().unwrap();
    let small =
        fit(&small, &params().into(), &data, None, &Uninterrupted).unwrap().classifier().unwrap();
    let mut workspace = small.workspace().unwrap();
    assert_eq!(small.probabilities(&[0, 255], &mut workspace, &Uninterrupted).unwrap().len(), 2);
    assert_eq!(large.probabilities(&[9; 64], &mut workspace, &Uninterrupted).unwrap().len(), 8);
    let refused = large.probabilities(&[9; 63], &mut workspace, &Uninterrupted);
    assert_eq!(refused.unwrap_err(), Error::Raster { got: 63, expected: 64 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// The checksum catches every change; whatever passes it must still not crash.
    #[test]
    fn changed_payloads_are_refused(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        static FITTED: std::sync::OnceLock<FittedCnn> = std::sync::OnceLock::new();
        let fitted = FITTED
            .get_or_init(|| fit_bars(Isa::detect(), 1, &TrainingParams { epochs: 1, ..params() }));
        let mut bytes = fitted.payload();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(load(fitted, &LABELS, &bytes).is_err());
        prop_assert!(load(fitted, &LABELS, &bytes[..at]).is_err());
    }
}

#[test]
fn answers_of_wild_weights_are_answers() {
    let fitted = fit_bars(Isa::detect(), 1, &TrainingParams { epochs: 1, ..params() });
    let classifier = fitted.classifier().unwrap();
    let mut writer = teller_payload::PayloadWriter::new();
    let wild: Vec<(String, Vec<usize>, Vec<f32>)> = classifier
        .weights()
        .map(|array| {
            let values = array.values.iter().enumerate().map(|(i, _)| match i % 3 {
                0 => f32::NAN,
                1 => f32::INFINITY,
                _ => -3e38,
            });
            (array.name, array.shape, values.collect())
        })
        .collect();
    for (name, shape, values) in &wild {
        writer.array(name, shape, values);
    }
    let classifier = load(&fitted, &LABELS, &writer.finish()).unwrap();
    let mut workspace = classifier.workspace().unwrap();
    let answer = classifier.probabilities(&[9; 64], &mut workspace, &Uninterrupted).unwrap();
    assert!(best(answer) < 8);
}

#[test]
fn the_small_network_is_there_by_name() {
    let value: Value = Architecture::named("small").unwrap().to_json();
    assert_eq!(value["input"], json!({"height": 8, "width": 8, "channels": 1}));
}
