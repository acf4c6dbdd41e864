//! Trainings that start from the weights of others.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use teller_nn::{
    Architecture, Error, FittedCnn, Head, ImageDataset, ImageDatasetBuilder, Optimizer, Schedule,
    StartError, StartFrom, TrainingParams, UpdateRule, evaluate, fine_tune, fit, memory_needed,
};
use teller_numeric::{Cancelled, CheckpointBytes, Control, Moment, Step, Stream, Uninterrupted};
use teller_payload::{AlignedBytes, CheckpointError, SharedBytes};

/// Bright bars: the label says where, in the words of `name`.
fn bars(rows: usize, seed: u64, name: fn(usize, bool) -> String) -> ImageDataset {
    let mut builder = ImageDatasetBuilder::new(8, 8, 1);
    for row in 0..rows {
        let mut stream = Stream::new(seed, "bars", row as u64);
        let (place, upright) = (row % 4 * 2, row / 4 % 2 == 1);
        let mut raster: Vec<u8> = (0..64).map(|_| stream.below(160) as u8).collect();
        for i in 0..8 {
            raster[if upright { i * 8 + place } else { place * 8 + i }] = 255;
        }
        builder.push(&raster, &name(place, upright)).unwrap();
    }
    builder.finish().unwrap()
}

fn where_it_is(place: usize, upright: bool) -> String {
    format!("{place}{}", if upright { "|" } else { "-" })
}

fn other_words(place: usize, upright: bool) -> String {
    format!("{} {place}", if upright { "column" } else { "row" })
}

fn layers(dropout: f64) -> Value {
    json!([
        {"type": "conv2d", "filters": 6, "kernel": 3, "padding": "same", "activation": "relu"},
        {"type": "max_pool2d"},
        {"type": "conv2d", "filters": 9, "kernel": 2, "activation": "relu"},
        {"type": "flatten"},
        {"type": "dropout", "rate": dropout},
        {"type": "dense", "units": 20, "activation": "relu"},
        {"type": "dense", "units": "classes"},
        {"type": "softmax"}
    ])
}

fn network(layers: &Value) -> Architecture {
    let whole = json!({"input": {"height": 8, "width": 8}, "layers": layers});
    Architecture::from_json(&whole).unwrap()
}

const LEARNING: [&str; 4] = ["0.conv2d", "2.conv2d", "5.dense", "6.dense"];

fn params() -> TrainingParams {
    TrainingParams { epochs: 2, batch_size: 16, learning_rate: 0.005, ..TrainingParams::default() }
}

fn source() -> FittedCnn {
    let params = TrainingParams { epochs: 12, ..params() };
    fit(
        &network(&layers(0.2)),
        &params.clone().into(),
        &bars(600, 1, where_it_is),
        None,
        &Uninterrupted,
    )
    .unwrap()
}

fn start_from(source: &FittedCnn, freeze: &[&str], head: Head) -> StartFrom {
    let freeze = freeze.iter().map(|&name| name.to_owned()).collect();
    let weights: SharedBytes = Arc::new(source.payload());
    StartFrom::new(weights, source.labels.clone(), freeze, head).unwrap()
}

/// The bits of each layer.
fn bits(fitted: &FittedCnn) -> BTreeMap<String, Vec<u32>> {
    let classifier = fitted.classifier().unwrap();
    let mut layers: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for array in classifier.weights() {
        let layer = array.name.rsplit_once('.').unwrap().0.to_owned();
        layers.entry(layer).or_default().extend(array.values.iter().map(|x| x.to_bits()));
    }
    layers
}

fn accuracy(fitted: &FittedCnn, data: &ImageDataset) -> f64 {
    let figures = evaluate(&fitted.classifier().unwrap(), data, &Uninterrupted).unwrap();
    figures.iter().find(|(name, _)| name == "accuracy").unwrap().1
}

#[test]
fn frozen_layers_keep_every_bit_whatever_the_rule() {
    let source = source();
    let before = bits(&source);
    let data = bars(200, 2, other_words);
    let sgd = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    for optimizer in [Optimizer::Adam, Optimizer::AdamW, sgd] {
        for frozen in [&LEARNING[..1], &LEARNING[..3], &LEARNING[1..3], &[]] {
            let update = UpdateRule {
                optimizer,
                weight_decay: 0.1,
                clip_norm: Some(0.5),
                ..UpdateRule::default()
            };
            let params = TrainingParams { update, ..params() };
            let start = start_from(&source, frozen, Head::Keep);
            let train = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let network = network(&layers(0.2));
                pool.install(|| {
                    fine_tune(&start, &network, &params.clone().into(), &data, None, &Uninterrupted)
                })
                .unwrap()
            };
            let fitted = train(1);
            let after = bits(&fitted);
            for name in LEARNING {
                let same = before[name] == after[name];
                assert_eq!(same, frozen.contains(&name), "{name} {frozen:?} {optimizer:?}");
            }
            assert_eq!(*fitted.payload(), *train(3).payload());
        }
    }
}

/// What is frozen changes nothing of what the others learn in a step.
#[test]
fn one_step_moves_the_other_layers_as_without_freezing() {
    let source = source();
    let data = bars(48, 3, where_it_is);
    let params = TrainingParams {
        epochs: 1,
        batch_size: 48,
        validation_fraction: 0.0,
        schedule: Schedule::Constant,
        update: UpdateRule {
            optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false },
            ..UpdateRule::default()
        },
        ..params()
    };
    let step = |frozen: &[&str]| {
        let start = start_from(&source, frozen, Head::Keep);
        let network = network(&layers(0.2));
        bits(
            &fine_tune(&start, &network, &params.clone().into(), &data, None, &Uninterrupted)
                .unwrap(),
        )
    };
    let before = bits(&source);
    let free = step(&[]);
    for frozen in [&LEARNING[..1], &LEARNING[..3], &LEARNING[1..], &LEARNING[3..]] {
        let moved = step(frozen);
        for name in LEARNING {
            let expected = if frozen.contains(&name) { &before } else { &free };
            assert!(moved[name] == expected[name], "{name} {frozen:?}");
        }
    }
}

/// Steps so small that the weights tell where they began.
#[test]
fn the_head_is_taken_over_for_the_same_labels_alone() {
    let source = source();
    let params = TrainingParams { epochs: 1, learning_rate: 1e-9, ..params() };
    let begun = |data: &ImageDataset, head| {
        let start = start_from(&source, &[], head);
        let network = network(&layers(0.2));
        fine_tune(&start, &network, &params.clone().into(), data, None, &Uninterrupted).unwrap()
    };
    let near = |fitted: &FittedCnn, name: &str| {
        let (mine, theirs) = (bits(fitted)[name].clone(), bits(&source)[name].clone());
        mine.len() == theirs.len()
            && mine
                .iter()
                .zip(theirs)
                .all(|(&a, b)| (f32::from_bits(a) - f32::from_bits(b)).abs() < 1e-4)
    };
    let same = begun(&bars(64, 4, where_it_is), Head::Keep);
    assert!(LEARNING.iter().all(|name| near(&same, name)));
    let renamed = begun(&bars(64, 4, other_words), Head::Keep);
    let anew = begun(&bars(64, 4, where_it_is), Head::New);
    let fewer = begun(&bars(64, 4, |_, upright| upright.to_string()), Head::Keep);
    for fitted in [&renamed, &anew, &fewer] {
        assert!(LEARNING[..3].iter().all(|name| near(fitted, name)));
        assert!(!near(fitted, LEARNING[3]));
    }
    assert_eq!(fewer.labels, ["false", "true"]);
}

#[test]
fn few_images_and_epochs_suffice_where_the_layers_know_already() {
    let source = source();
    let held_out = bars(400, 5, other_words);
    let data = bars(40, 6, other_words);
    let params = TrainingParams { epochs: 4, batch_size: 8, validation_fraction: 0.0, ..params() };
    let network = network(&layers(0.0));
    let scratch = fit(&network, &params.clone().into(), &data, None, &Uninterrupted).unwrap();
    let scratch = accuracy(&scratch, &held_out);
    for frozen in [&[], &LEARNING[..2], &LEARNING[..3]] {
        let start = start_from(&source, frozen, Head::Keep);
        let tuned =
            fine_tune(&start, &network, &params.clone().into(), &data, None, &Uninterrupted)
                .unwrap();
        let tuned = accuracy(&tuned, &held_out);
        assert!(tuned > 0.9 && tuned > scratch + 0.3, "{frozen:?} {tuned} {scratch}");
    }
}

/// Keeps all checkpoints.
#[derive(Default)]
struct Listener(Mutex<Vec<Vec<u8>>>);

impl Control for Listener {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, _step: Step) {}

    fn checkpoint(&self, _moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        self.0.lock().unwrap().push((*state().unwrap()).as_ref().to_vec());
    }
}

#[test]
fn it_goes_on_from_its_own_checkpoints_alone() {
    let source = source();
    let data = bars(64, 7, other_words);
    let network = network(&layers(0.2));
    let run = |start: &StartFrom, resume: Option<&[u8]>, control: &dyn Control| {
        let resume = resume.map(|bytes| Arc::new(AlignedBytes::from(bytes)) as SharedBytes);
        fine_tune(start, &network, &params().into(), &data, resume, control)
    };
    let start = start_from(&source, &LEARNING[..2], Head::Keep);
    let listener = Listener::default();
    let whole = run(&start, None, &listener).unwrap();
    let checkpoints = listener.0.into_inner().unwrap();
    assert!(checkpoints.len() >= 8);
    for checkpoint in &checkpoints {
        let resumed = run(&start, Some(checkpoint), &Uninterrupted).unwrap();
        assert_eq!(*resumed.payload(), *whole.payload());
        assert_eq!(resumed.epochs, whole.epochs);
    }
    let checkpoint = Some(&*checkpoints[3]);
    let refused = |outcome: Result<FittedCnn, Error>| {
        assert!(matches!(outcome, Err(Error::Checkpoint(CheckpointError::OtherTraining("data")))));
    };
    let less = TrainingParams { epochs: 3, ..params() };
    let other =
        fit(&network, &less.into(), &bars(300, 1, where_it_is), None, &Uninterrupted).unwrap();
    for other in [
        start_from(&other, &LEARNING[..2], Head::Keep),
        start_from(&source, &LEARNING[..1], Head::Keep),
        start_from(&source, &LEARNING[..2], Head::New),
    ] {
        refused(run(&other, checkpoint, &Uninterrupted));
    }
    let resume = Arc::new(AlignedBytes::from(&*checkpoints[3])) as SharedBytes;
    refused(fit(&network, &params().into(), &data, Some(resume), &Uninterrupted));
}

#[test]
fn layers_of_another_architecture_are_taken_where_they_fit() {
    let source = source();
    let mut wider = layers(0.2);
    wider[5]["units"] = json!(24);
    let wider = network(&wider);
    let data = bars(64, 8, where_it_is);
    let start = start_from(&source, &LEARNING[..2], Head::Keep);
    start.check(&wider).unwrap();
    let fitted = fine_tune(&start, &wider, &params().into(), &data, None, &Uninterrupted).unwrap();
    let (before, after) = (bits(&source), bits(&fitted));
    assert!(before["0.conv2d"] == after["0.conv2d"] && before["2.conv2d"] == after["2.conv2d"]);
    assert_eq!(after["5.dense"].len(), 81 * 24 + 24);
}

#[test]
fn what_cannot_be_is_refused_before_the_data_is_read() {
    let source = source();
    let architecture = network(&layers(0.2));
    let refused = |architecture: &Architecture, freeze: &[&str], head| match start_from(
        &source, freeze, head,
    )
    .check(architecture)
    {
        Err(Error::Start(error)) => error,
        other => panic!("{other:?}"),
    };
    let StartError::UnknownLayer { name, nearest, known } =
        refused(&architecture, &["0.conv"], Head::Keep)
    else {
        panic!("accepted")
    };
    assert_eq!(
        (&*name, nearest.as_deref(), &*known),
        ("0.conv", Some("0.conv2d"), &LEARNING.map(str::to_owned)[..])
    );
    assert!(matches!(
        refused(&architecture, &["1.max_pool2d"], Head::Keep),
        StartError::UnknownLayer { .. }
    ));
    assert_eq!(refused(&architecture, &LEARNING, Head::Keep), StartError::AllFrozen);
    let error = refused(&architecture, &["6.dense"], Head::New).to_string();
    assert!(error.ends_with("trained weights, the head is to be new"), "{error}");
    let mut wider = layers(0.2);
    wider[0]["filters"] = json!(7);
    let error = refused(&network(&wider), &["0.conv2d"], Head::Keep).to_string();
    assert!(error.contains("\"0.conv2d\" cannot be frozen"), "{error}");
    let other = network(&json!([
        {"type": "flatten"}, {"type": "dense", "units": "classes"}, {"type": "softmax"}]));
    let error = refused(&other, &[], Head::Keep);
    assert_eq!(error, StartError::NothingFits { layers: vec!["1.dense".to_owned()] });

    // Only with the labels it shows that the head cannot be frozen.
    let start = start_from(&source, &["6.dense"], Head::Keep);
    start.check(&architecture).unwrap();
    let check_with = |labels: &[String]| {
        start.memory_needed(&architecture, &params().into(), 9, labels).map(drop)
    };
    check_with(&source.labels).unwrap();
    let labels = bars(16, 1, other_words).labels().to_vec();
    assert!(matches!(
        check_with(&labels),
        Err(Error::Start(StartError::Untrained { why: "the labels are others", .. }))
    ));
    let damaged: SharedBytes = Arc::new(AlignedBytes::from(&source.payload()[..99]));
    let damaged = StartFrom::new(damaged, source.labels.clone(), Vec::new(), Head::Keep);
    assert!(matches!(damaged, Err(Error::Payload(_))));
}

#[test]
fn memory_is_that_of_the_source_and_less_where_layers_are_frozen() {
    let source = source();
    let architecture = network(&layers(0.2));
    let fresh = memory_needed(&architecture, &params().into(), 1000, 8).unwrap();
    let needed = |freeze: &[&str]| {
        let start = start_from(&source, freeze, Head::Keep);
        start.memory_needed(&architecture, &params().into(), 1000, &source.labels).unwrap()
    };
    assert_eq!(needed(&[]), fresh + source.payload().len() as u64);
    // The gradients to the first convolution's and the pool's values of a batch.
    assert!(needed(&LEARNING[..1]) + 16 * 4 * 4 * 6 * 4 <= needed(&[]));
}
