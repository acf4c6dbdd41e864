//! A training that goes on from a checkpoint ends like one that was never interrupted.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use teller_nn::{
    Architecture, Augmentation, ClassWeights, CnnParams, EarlyStopping, Error, FittedCnn,
    ImageDataset, ImageDatasetBuilder, Monitor, Normalization, Optimizer, Schedule, TrainingParams,
    UpdateRule, fit, memory_needed,
};
use teller_numeric::{Cancelled, CheckpointBytes, Control, Moment, Step, Stream};
use teller_payload::{AlignedBytes, CheckpointError, Payload, PayloadWriter, SharedBytes};

/// Keeps what a training tells, and ends it after so many checkpoints.
struct Listener {
    most: usize,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    checkpoints: Vec<(Moment, Vec<u8>)>,
    steps: Vec<Step>,
}

impl Listener {
    fn new(most: usize) -> Self {
        Self { most, heard: Mutex::default() }
    }

    fn heard(self) -> Heard {
        self.heard.into_inner().unwrap()
    }
}

impl Control for Listener {
    fn check(&self) -> Result<(), Cancelled> {
        if self.heard.lock().unwrap().checkpoints.len() < self.most {
            Ok(())
        } else {
            Err(Cancelled)
        }
    }

    fn report(&self, step: Step) {
        self.heard.lock().unwrap().steps.push(Step { elapsed: Duration::ZERO, ..step });
    }

    fn checkpoint(&self, moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        let bytes = (*state().unwrap()).as_ref().to_vec();
        self.heard.lock().unwrap().checkpoints.push((moment, bytes));
    }
}

/// A training small enough to be run from each of its checkpoints.
#[derive(Clone, Debug)]
struct Case {
    architecture: Architecture,
    params: CnnParams,
    rows: usize,
    threads: usize,
}

impl Case {
    fn data(&self) -> ImageDataset {
        let mut builder = ImageDatasetBuilder::new(4, 4, 1);
        for row in 0..self.rows {
            let mut stream = Stream::new(7, "pictures", row as u64);
            let label = row % 3;
            let raster: Vec<u8> = (0..16)
                .map(|i| stream.below(160) as u8 + if i / 5 == label { 90 } else { 0 })
                .collect();
            builder.push(&raster, &label.to_string()).unwrap();
        }
        builder.finish().unwrap()
    }

    fn run(
        &self,
        threads: usize,
        resume: Option<&[u8]>,
        control: &dyn Control,
    ) -> Result<FittedCnn, Error> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let resume = resume.map(shared);
        pool.install(|| fit(&self.architecture, &self.params, &self.data(), resume, control))
    }
}

fn shared(bytes: &[u8]) -> SharedBytes {
    Arc::new(AlignedBytes::from(bytes))
}

/// What comes before the dense layer.
#[derive(Clone, Copy, Debug)]
enum Front {
    Nothing,
    Convolution,
    /// With running statistics, which are a part of the state.
    Residual,
}

fn architecture(front: Front, dropout: bool) -> Architecture {
    let mut layers = Vec::new();
    match front {
        Front::Nothing => {}
        Front::Convolution => {
            layers.push(json!({"type": "conv2d", "filters": 3, "kernel": 3, "activation": "relu"}));
        }
        Front::Residual => {
            let conv = json!({"type": "conv2d", "filters": 3, "kernel": 3, "padding": "same"});
            let norm = json!({"type": "batch_norm2d"});
            layers.push(json!({"type": "residual", "layers": [conv, norm], "shortcut": [conv],
                "activation": "relu"}));
            layers.push(norm);
        }
    }
    layers.push(json!({"type": "flatten"}));
    if dropout {
        layers.push(json!({"type": "dropout", "rate": 0.3}));
    }
    layers.push(json!({"type": "dense", "units": "classes"}));
    layers.push(json!({"type": "softmax"}));
    let whole = json!({"input": {"height": 4, "width": 4}, "layers": layers});
    Architecture::from_json(&whole).unwrap()
}

fn updates() -> impl Strategy<Value = UpdateRule> {
    let sgd = |momentum, nesterov| Optimizer::Sgd { momentum, nesterov };
    let optimizer = prop_oneof![
        Just(Optimizer::Adam),
        Just(Optimizer::AdamW),
        Just(sgd(0.0, false)),
        Just(sgd(0.9, false)),
        Just(sgd(0.9, true))
    ];
    let weight_decay = prop_oneof![Just(0.0), 0.0..0.1];
    let clip_norm = prop_oneof![Just(None), (0.1..2.0).prop_map(Some)];
    (optimizer, weight_decay, clip_norm).prop_map(|(optimizer, weight_decay, clip_norm)| {
        UpdateRule { optimizer, weight_decay, clip_norm, ..UpdateRule::default() }
    })
}

fn objectives() -> impl Strategy<Value = (f64, ClassWeights, Option<Augmentation>)> {
    let given = || ClassWeights::Given([("1".to_owned(), 2.5)].into());
    let class_weights = prop_oneof![
        Just(ClassWeights::Equal),
        Just(ClassWeights::Balanced),
        Just(ClassWeights::Equal).prop_map(move |_| given())
    ];
    let smoothing = prop_oneof![Just(0.0), 0.0..0.4];
    let augmentation = prop_oneof![
        Just(None),
        (0.0..0.3, 0.0..0.2, prop_oneof![Just(0.0), 0.1..2.0]).prop_map(|(shift, noise, mixup)| {
            Some(Augmentation { shift, noise, mixup, ..Augmentation::default() })
        })
    ];
    (smoothing, class_weights, augmentation)
}

fn cases() -> impl Strategy<Value = Case> {
    let schedule = prop_oneof![
        Just(Schedule::Cosine),
        Just(Schedule::Constant),
        Just(Schedule::Step { epochs: 2, factor: 0.5 })
    ];
    let pace = (schedule, prop_oneof![Just(0.0), 0.0..0.5]);
    let monitor = prop_oneof![Just(Monitor::Accuracy), Just(Monitor::Loss)];
    let stopping = (0u32..3, monitor, prop_oneof![Just(0.0), 0.0..0.1])
        .prop_map(|(patience, monitor, min_delta)| EarlyStopping { patience, monitor, min_delta });
    let validation = prop_oneof![Just(0.0), 0.1..0.5];
    let front = prop_oneof![Just(Front::Nothing), Just(Front::Convolution), Just(Front::Residual)];
    let shape = (front, any::<bool>(), 6usize..40, 1usize..4);
    let sizes = (1u32..6, 1usize..20, any::<u64>(), validation);
    (shape, sizes, updates(), pace, stopping, objectives()).prop_map(
        |((front, dropout, rows, threads), sizes, update, pace, stopping, objective)| {
            let (epochs, batch_size, seed, validation_fraction) = sizes;
            let (schedule, warmup_fraction) = pace;
            let (label_smoothing, class_weights, augmentation) = objective;
            Case {
                architecture: architecture(front, dropout),
                params: CnnParams {
                    training: TrainingParams {
                        epochs,
                        batch_size,
                        learning_rate: 0.02,
                        update,
                        schedule,
                        warmup_fraction,
                        label_smoothing,
                        class_weights,
                        seed,
                        validation_fraction,
                        stopping,
                    },
                    augmentation,
                },
                rows,
                threads,
            }
        },
    )
}

fn assert_same(one: &FittedCnn, other: &FittedCnn) {
    assert_eq!(*one.payload(), *other.payload());
    assert_eq!(one.metrics(), other.metrics());
    assert_eq!(one.epochs, other.epochs);
    assert_eq!(one.best_epoch, other.best_epoch);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_checkpoint_leads_to_the_same_end(case in cases()) {
        let listener = Listener::new(usize::MAX);
        let whole = case.run(1, None, &listener).unwrap();
        let heard = listener.heard();
        let ends = heard.checkpoints.iter().filter(|(moment, _)| *moment == Moment::EndOfStep);
        prop_assert_eq!(ends.count(), whole.epochs.len());
        let mut done = 0;
        for (at, (moment, checkpoint)) in heard.checkpoints.iter().enumerate() {
            done += usize::from(*moment == Moment::EndOfStep);
            let listener = Listener::new(usize::MAX);
            let resumed = case.run(case.threads, Some(checkpoint), &listener).unwrap();
            assert_same(&whole, &resumed);
            let rest = listener.heard();
            prop_assert_eq!(&rest.steps[..], &heard.steps[done..]);
            prop_assert_eq!(&rest.checkpoints[..], &heard.checkpoints[at + 1..]);
        }
    }

    /// Stopped again and again, each time by a cancel, and each time gone on from the last
    /// checkpoint.
    #[test]
    fn a_resumed_training_can_be_resumed(case in cases(), most in 1usize..9) {
        let whole = case.run(2, None, &Listener::new(usize::MAX)).unwrap();
        let mut last: Option<Vec<u8>> = None;
        let (mut epochs, mut runs) = (0, 0);
        let resumed = loop {
            runs += 1;
            prop_assert!(runs < 1000, "it does not get on");
            let listener = Listener::new(most);
            let result = case.run(case.threads, last.as_deref(), &listener);
            let mut heard = listener.heard();
            for step in &heard.steps {
                epochs += 1;
                prop_assert_eq!(step.step, epochs);
            }
            match result {
                Ok(fitted) => break fitted,
                Err(error) => prop_assert_eq!(error, Error::Cancelled(Cancelled)),
            }
            last = heard.checkpoints.pop().map(|(_, checkpoint)| checkpoint);
        };
        assert_same(&whole, &resumed);
    }
}

fn case() -> Case {
    let training = TrainingParams {
        epochs: 3,
        batch_size: 8,
        validation_fraction: 0.3,
        stopping: EarlyStopping { patience: 2, ..EarlyStopping::default() },
        ..TrainingParams::default()
    };
    let params = training.into();
    Case { architecture: architecture(Front::Convolution, true), params, rows: 30, threads: 1 }
}

/// All checkpoints of a training.
fn checkpoints(case: &Case) -> Vec<Vec<u8>> {
    let listener = Listener::new(usize::MAX);
    case.run(1, None, &listener).unwrap();
    listener.heard().checkpoints.into_iter().map(|(_, checkpoint)| checkpoint).collect()
}

fn refusal(case: &Case, checkpoint: &[u8]) -> CheckpointError {
    match case.run(1, Some(checkpoint), &Listener::new(usize::MAX)) {
        Err(Error::Checkpoint(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn another_training_refuses_the_checkpoint() {
    let case = case();
    let checkpoint = checkpoints(&case).pop().unwrap();
    let with = |change: &dyn Fn(&mut Case)| {
        let mut other = case.clone();
        change(&mut other);
        refusal(&other, &checkpoint)
    };
    let parameters = CheckpointError::OtherTraining("parameters");
    assert_eq!(with(&|case| case.params.training.seed += 1), parameters);
    assert_eq!(with(&|case| case.params.training.epochs += 1), parameters);
    assert_eq!(with(&|case| case.params.training.learning_rate += 1e-15), parameters);
    assert_eq!(with(&|case| case.params.training.update.optimizer = Optimizer::AdamW), parameters);
    assert_eq!(with(&|case| case.params.training.update.weight_decay = 1e-9), parameters);
    assert_eq!(with(&|case| case.params.training.update.clip_norm = Some(1e6)), parameters);
    assert_eq!(with(&|case| case.params.training.schedule = Schedule::Constant), parameters);
    assert_eq!(with(&|case| case.params.training.warmup_fraction = 0.1), parameters);
    assert_eq!(with(&|case| case.params.training.label_smoothing = 1e-9), parameters);
    assert_eq!(
        with(&|case| case.params.training.class_weights = ClassWeights::Balanced),
        parameters
    );
    let none = Augmentation::default;
    assert_eq!(with(&|case| case.params.augmentation = Some(none())), parameters);
    assert_eq!(with(&|case| case.params.training.stopping.min_delta = 1e-9), parameters);
    assert_eq!(
        with(&|case| case.architecture = architecture(Front::Convolution, false)),
        parameters
    );
    assert_eq!(with(&|case| case.rows += 1), CheckpointError::OtherTraining("data"));
    let mut data = case.data();
    data.normalization = Normalization { mean: vec![0.5], std: vec![1.0] };
    let resume = Some(shared(&checkpoint));
    let refused = fit(&case.architecture, &case.params, &data, resume, &Listener::new(usize::MAX));
    assert_eq!(refused.unwrap_err(), CheckpointError::OtherTraining("data").into());
}

/// Labels count by number only, but weights that are given by label go by their names.
#[test]
fn weights_of_other_labels_are_another_training() {
    let mut case = case();
    case.params.training.class_weights = ClassWeights::Given([("1".to_owned(), 2.0)].into());
    let checkpoint = checkpoints(&case).pop().unwrap();
    let run = |first: usize| {
        let mut builder = ImageDatasetBuilder::new(4, 4, 1);
        let data = case.data();
        for (row, &target) in data.targets().iter().enumerate() {
            builder.push(data.raster(row), &(target as usize + first).to_string()).unwrap();
        }
        let data = builder.finish().unwrap();
        let resume = Some(shared(&checkpoint));
        fit(&case.architecture, &case.params, &data, resume, &Listener::new(usize::MAX))
    };
    run(0).unwrap();
    assert_eq!(run(1).unwrap_err(), CheckpointError::OtherTraining("parameters").into());
    assert!(matches!(run(2), Err(Error::Option(_))), "no label is called 1");
}

/// The arrays of a checkpoint, written anew with the right checksum after `change`.
fn forged(checkpoint: &[u8], change: impl FnOnce(&mut [u64], &mut Vec<u64>)) -> AlignedBytes {
    let payload = Payload::parse(shared(checkpoint)).unwrap();
    let numbers = |name| payload.get(payload.array::<u64>(name).unwrap().0).to_vec();
    let floats = |name| payload.get(payload.array::<f32>(name).unwrap().0);
    let (key, mut position, mut epochs) =
        (numbers("training"), numbers("position"), numbers("epochs"));
    change(&mut position, &mut epochs);
    let mut writer = PayloadWriter::new();
    writer.array("training", &[2], &key);
    writer.array("position", &[position.len()], &position);
    writer.array("epochs", &[epochs.len() / 3, 3], &epochs);
    for name in ["weights", "first moments", "second moments", "best weights"] {
        writer.array(name, &[floats(name).len()], floats(name));
    }
    writer.finish()
}

#[test]
fn a_forged_position_is_refused() {
    let case = case();
    let checkpoints = checkpoints(&case);
    let last = checkpoints.last().unwrap();
    assert_eq!(*forged(last, |_, _| {}), **last, "the forger writes what the training does");
    let far = |what| move |error| matches!(error, CheckpointError::Position { what: at, .. } if at == what);
    let refuse = |change: &dyn Fn(&mut [u64], &mut Vec<u64>)| {
        refusal(&case, &forged(last, |position, epochs| change(position, epochs)))
    };
    assert!(far("epoch")(refuse(&|position, _| position[0] = 4)));
    assert!(far("epoch")(refuse(&|position, _| position[0] = u64::MAX)));
    assert!(far("batch")(refuse(&|position, _| position[1] = 4)));
    assert!(far("validation batch")(refuse(&|position, _| position[3] = 1)));
    assert!(far("validation batch")(refuse(&|position, _| (position[1], position[3]) = (3, 9))));
    let nan = f64::NAN.to_bits();
    let not_finite = CheckpointError::NotFinite("loss");
    assert_eq!(refuse(&|position, _| position[2] = nan), not_finite);
    assert_eq!(refuse(&|_, epochs| epochs[3] = nan), not_finite);
    let missing = refuse(&|position, _| position[0] -= 1);
    assert!(matches!(missing, CheckpointError::Payload(_)), "{missing}");
    let without_best = refuse(&|position, epochs| {
        position[0] = 0;
        epochs.clear();
    });
    assert!(matches!(without_best, CheckpointError::Payload(_)), "{without_best}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damage_is_refused(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        static WHOLE: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
        let case = case();
        let mut bytes = at.get(WHOLE.get_or_init(|| checkpoints(&case))).clone();
        let at = at.index(bytes.len());
        refusal(&case, &bytes[..at]);
        bytes[at] ^= flip;
        refusal(&case, &bytes);
    }

    /// Whatever a forger writes into the position, a training goes on or refuses.
    #[test]
    fn no_position_breaks_it(
        position in prop::array::uniform6(prop_oneof![0u64..9, any::<u64>()]),
        figures in prop::collection::vec(any::<u64>(), 0..5),
    ) {
        let case = case();
        let bytes = forged(checkpoints(&case).last().unwrap(), |to, epochs| {
            to.copy_from_slice(&position);
            *epochs = figures.iter().flat_map(|&figure| [figure; 3]).collect();
        });
        let _ = case.run(1, Some(&bytes), &Listener::new(usize::MAX));
    }
}

/// Running variances below 0, which no training gives, in a checkpoint with the right checksum.
#[test]
fn forged_statistics_end_the_training_or_its_loading() {
    let case = Case { architecture: architecture(Front::Residual, false), ..case() };
    for checkpoint in checkpoints(&case) {
        let payload = Payload::parse(shared(&checkpoint)).unwrap();
        let mut writer = PayloadWriter::new();
        for name in ["training", "position", "epochs"] {
            let (array, shape) = payload.array::<u64>(name).unwrap();
            writer.array(name, &shape, payload.get(array));
        }
        let floats = |name| payload.get(payload.array::<f32>(name).unwrap().0);
        let all: Vec<(&str, Vec<f32>)> =
            ["weights", "first moments", "second moments", "best weights"]
                .into_iter()
                .map(|name| (name, floats(name).iter().map(|x| -x.abs() - 0.5).collect()))
                .collect();
        for (name, values) in &all {
            writer.array(name, &[values.len()], values);
        }
        let forged = writer.finish();
        let run = case.run(1, Some(&forged), &Listener::new(usize::MAX));
        assert!(run.is_err(), "a model came of it");
    }
}

#[test]
fn memory_for_a_checkpoint_is_counted() {
    let layers = json!([
        {"type": "flatten"}, {"type": "dense", "units": 500}, {"type": "relu"},
        {"type": "dense", "units": "classes"}, {"type": "softmax"}
    ]);
    let whole = json!({"input": {"height": 4, "width": 4}, "layers": layers});
    let case = Case { architecture: Architecture::from_json(&whole).unwrap(), ..case() };
    let needed = memory_needed(&case.architecture, &case.params, case.rows as u64, 3).unwrap();
    let checkpoint = checkpoints(&case).pop().unwrap();
    // Weights, gradient, two moments and the best weights; the checkpoint has four of them.
    let held = 5 * 4 * (16 * 500 + 500 + 500 * 3 + 3);
    assert!(checkpoint.len() > held * 4 / 5);
    assert!(needed > (held + checkpoint.len()) as u64, "{needed} {held} {}", checkpoint.len());
}
