//! Classifiers of sequences of numbers: what they learn, the same bits everywhere, hostile bytes.

#![allow(clippy::unwrap_used, reason = "a failed test says so by panicking")]

mod common;

use std::sync::{Arc, Mutex};

use serde_json::json;
use teller_nn::{
    Error, FittedSequence, SequenceArchitecture, SequenceClassifier, SequenceDataset,
    SequenceDatasetBuilder, SequenceParams, SequenceWorkspace, fit_sequences_on,
    sequence_memory_needed,
};
use teller_numeric::{
    Cancelled, CheckpointBytes, Control, Isa, Moment, Options, Step, Stream, Uninterrupted,
};
use teller_payload::{AlignedBytes, SharedBytes};

/// Two features of which the first rises or falls, from a level that a static number tells.
fn walks(rows: u64, seed: u64) -> SequenceDataset {
    let mut builder = SequenceDatasetBuilder::new(12);
    for row in 0..rows {
        let mut stream = Stream::new(seed, "walks", row);
        let rises = stream.below(2) == 1;
        let level = 5.0 * stream.uniform();
        let steps = 3 + stream.below(12);
        let slope = if rises { 1.0 } else { -1.0 };
        let numbers: Vec<f32> = (0..steps)
            .flat_map(|step| {
                let noise = stream.normal() as f32;
                [level + slope * step as f32 + 0.2 * noise, stream.normal() as f32]
            })
            .collect();
        builder.push(&numbers, 2, &[level], if rises { "up" } else { "down" }).unwrap();
    }
    builder.finish().unwrap()
}

fn params(algorithm: &str, epochs: u32) -> SequenceParams {
    let given = json!({"algorithm": algorithm, "epochs": epochs, "batch_size": 32, "units": 8,
        "hidden_units": 8, "learning_rate": 0.01, "dropout": 0.1});
    let mut options = Options::new("sequences", &given).unwrap();
    let params = SequenceParams::read(&mut options).unwrap();
    options.finish().unwrap();
    params
}

fn fit(
    (isa, threads): (Isa, usize),
    params: &SequenceParams,
    data: &SequenceDataset,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedSequence, Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| fit_sequences_on(isa, params, data, resume, control))
}

/// A sixth of the credit default data. It was 0.777 when this was written.
#[test]
fn customers_who_will_not_pay_are_ranked_first() {
    let Some([training, others]) = common::customers([4_000, 4_000]) else { return };
    let options = json!({"epochs": 6});
    let params = SequenceParams::read(&mut Options::new("gru", &options).unwrap()).unwrap();
    let fitted = fit((Isa::detect(), 2), &params, &training, None, &Uninterrupted).unwrap();
    let figures = fitted.classifier().unwrap().evaluate(&others, &Uninterrupted).unwrap();
    let auc = figures.iter().find(|(name, _)| name == "auc").unwrap().1;
    println!("AUC {auc}");
    assert!(auc >= 0.75, "AUC {auc}");
}

#[test]
fn every_cell_learns_and_the_auc_tells() {
    let (data, others) = (walks(600, 1), walks(300, 2));
    for algorithm in ["gru", "lstm", "rnn"] {
        let params = params(algorithm, 25);
        let fitted = fit((Isa::detect(), 2), &params, &data, None, &Uninterrupted).unwrap();
        assert_eq!(fitted.algorithm, algorithm);
        let figures = fitted.classifier().unwrap().evaluate(&others, &Uninterrupted).unwrap();
        let figure = |name: &str| figures.iter().find(|(other, _)| other == name).unwrap().1;
        assert!(figure("accuracy") > 0.85, "{algorithm}: {figures:?}");
        assert!(figure("auc") > 0.93, "{algorithm}: {figures:?}");
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let data = walks(120, 1);
    for algorithm in ["gru", "lstm", "rnn"] {
        let params = params(algorithm, 2);
        let first = fit((Isa::SCALAR, 1), &params, &data, None, &Uninterrupted).unwrap();
        for isa in Isa::available() {
            for threads in [1, 3] {
                let other = fit((isa, threads), &params, &data, None, &Uninterrupted).unwrap();
                assert_eq!(**first.payload(), **other.payload(), "{algorithm} {}", isa.name());
                assert_eq!(first.metrics(), other.metrics());
            }
        }
    }
}

#[derive(Default)]
struct Keeper(Mutex<Vec<Vec<u8>>>);

impl Control for Keeper {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, _: Step) {}

    fn checkpoint(&self, _: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        self.0.lock().unwrap().push((*state().unwrap()).as_ref().to_vec());
    }
}

fn shared(bytes: &[u8]) -> SharedBytes {
    Arc::new(AlignedBytes::from(bytes))
}

#[test]
fn every_checkpoint_leads_to_the_same_end() {
    let (data, params) = (walks(100, 1), params("lstm", 2));
    let keeper = Keeper::default();
    let whole = fit((Isa::detect(), 1), &params, &data, None, &keeper).unwrap();
    let needed = sequence_memory_needed(&params, &data).unwrap();
    let checkpoints = keeper.0.into_inner().unwrap();
    assert!(checkpoints.len() >= 8 && needed > 2 * checkpoints[0].len() as u64);
    for checkpoint in &checkpoints {
        let resume = Some(shared(checkpoint));
        let resumed = fit((Isa::detect(), 2), &params, &data, resume, &Uninterrupted).unwrap();
        assert_eq!(**whole.payload(), **resumed.payload());
        assert_eq!((&whole.epochs, whole.metrics()), (&resumed.epochs, resumed.metrics()));
    }
    let other = fit(
        (Isa::detect(), 1),
        &params,
        &walks(100, 2),
        Some(shared(&checkpoints[0])),
        &Uninterrupted,
    );
    assert!(matches!(other.unwrap_err(), Error::Checkpoint(_)));
}

#[test]
fn sequences_of_another_kind_are_refused() {
    let mut builder = SequenceDatasetBuilder::new(4);
    builder.push(&[1.0, 2.0], 2, &[], "a").unwrap();
    let width = builder.push(&[1.0, 2.0, 3.0], 3, &[], "a");
    assert_eq!(width, Err(Error::SequenceWidth { got: (3, 0), expected: (2, 0) }));
    let statics = builder.push(&[1.0, 2.0], 2, &[1.0], "a");
    assert_eq!(statics, Err(Error::SequenceWidth { got: (2, 1), expected: (2, 0) }));
    assert_eq!(builder.push(&[], 2, &[], "a"), Err(Error::EmptySequence));
    assert_eq!(builder.push(&[1.0], 2, &[], "a"), Err(Error::EmptySequence));
    assert_eq!(builder.push(&[1.0], 0, &[], "a"), Err(Error::EmptySequence));
    assert_eq!(builder.push(&[1.0, f32::NAN], 2, &[], "a"), Err(Error::NotFinite));
    // Of a longer one the last steps count.
    let long: Vec<f32> = (0..20).map(|x| x as f32).collect();
    builder.push(&long, 2, &[], "b").unwrap();
    assert_eq!(builder.finish().unwrap().sequence(1), &long[12..]);
}

#[test]
fn answers_are_those_of_the_last_steps_and_of_any_order() {
    let (data, params) = (walks(60, 1), params("gru", 1));
    let fitted = fit((Isa::detect(), 1), &params, &data, None, &Uninterrupted).unwrap();
    let classifier = fitted.classifier().unwrap();
    let ask = |sequence: &[f32], workspace: &mut SequenceWorkspace| {
        let statics = data.statics(0);
        classifier
            .probabilities(sequence, 2, statics, workspace, &Uninterrupted)
            .map(<[f32]>::to_vec)
    };
    let mut workspace = SequenceWorkspace::default();
    let short = ask(&[1.0, 2.0], &mut workspace).unwrap();
    let sequence = data.sequence(0);
    let whole = ask(sequence, &mut workspace).unwrap();
    assert_eq!(ask(&[1.0, 2.0], &mut workspace).unwrap(), short);
    assert_eq!(ask(sequence, &mut SequenceWorkspace::default()).unwrap(), whole);
    assert!((whole.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    assert_eq!(ask(&[1.0], &mut workspace), Err(Error::EmptySequence));
}

#[test]
fn other_architectures_and_damage_are_refused() {
    let fitted =
        fit((Isa::detect(), 1), &params("gru", 1), &walks(60, 1), None, &Uninterrupted).unwrap();
    let whole = fitted.payload();
    for at in (0..whole.len()).step_by(97) {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1;
        let (architecture, labels) = (&fitted.architecture, fitted.labels.clone());
        let refused = SequenceClassifier::load(architecture, labels, shared(&bytes)).unwrap_err();
        assert!(matches!(refused, Error::Payload(_)), "{refused}");
    }
    let load = |change: &dyn Fn(&mut SequenceArchitecture, &mut Vec<String>)| {
        let (mut architecture, mut labels) = (fitted.architecture.clone(), fitted.labels.clone());
        change(&mut architecture, &mut labels);
        SequenceClassifier::load(&architecture, labels, fitted.payload())
    };
    assert!(load(&|_, _| {}).is_ok());
    assert!(load(&|other, _| other.features += 1).is_err());
    assert!(load(&|other, _| other.features = usize::MAX).is_err());
    assert!(load(&|other, _| other.statics = 0).is_err());
    assert!(load(&|other, _| other.spec.units = 1 << 50).is_err());
    assert!(load(&|_, labels| labels.reverse()).is_err());
}
