//! The training of classifiers of sequences.

use std::sync::Arc;

use teller_numeric::{Control, Isa};
use teller_payload::{PayloadWriter, SharedBytes, TrainingKey};

use super::learner::{Recipe, SequenceLearner, floats_needed, most_steps};
use super::network::{Extents, Network};
use super::source::{Source, Steps};
use super::{FittedSequence, SequenceArchitecture, SequenceDataset, SequenceParams, scale};
use crate::judging;
use crate::layer::Noise;
use crate::objective::Objective;
use crate::training::{Course, REVISION, Trained, memory_of_state, stratified};
use crate::{Error, Predictions};

/// Sequences of a dataset, scaled.
struct Scaled<'a> {
    data: &'a SequenceDataset,
    features: Vec<f32>,
    /// Of all rows.
    statics: Vec<f32>,
}

impl Source for Scaled<'_> {
    fn steps(&self, row: u32) -> usize {
        self.data.sequence(row as usize).len() / self.data.features()
    }

    fn target(&self, row: u32) -> u32 {
        self.data.targets()[row as usize]
    }

    fn statics(&self, row: u32) -> &[f32] {
        let count = self.data.static_count();
        &self.statics[row as usize * count..][..count]
    }

    fn load(&self, _: Isa, _: &[f32], row: u32, _: Option<Noise>, mut steps: Steps<'_>) {
        let sequence = self.data.sequence(row as usize);
        for (step, numbers) in sequence.chunks_exact(self.data.features()).enumerate() {
            scale::apply(&self.features, numbers, steps.step(step));
        }
    }
}

fn network(params: &SequenceParams, data: &SequenceDataset) -> Result<Network, Error> {
    let (inputs, statics) = (data.features(), data.static_count());
    let extents = Extents { inputs, statics, classes: data.labels().len(), table: 0 };
    Network::checked(&params.spec, extents)
}

/// Bytes that [`fit_sequences`], one checkpoint of it and the data hold at most.
pub fn sequence_memory_needed(
    params: &SequenceParams,
    data: &SequenceDataset,
) -> Result<u64, Error> {
    let network = network(params, data)?;
    let source = Scaled { data, features: Vec::new(), statics: Vec::new() };
    let batch = params.training.batch_size.min(data.len());
    let steps = most_steps(&source, 0..data.len() as u32, batch);
    let floats = floats_needed(&network, steps, batch).saturating_mul(4);
    let state = memory_of_state(&params.training, network.weights);
    let apart = (data.len() as f64 * params.training.validation_fraction) as u64;
    let rows = data.len() as u64;
    let all: u64 = (0..data.len())
        .map(|row| 4 * (data.sequence(row).len() + 2 * data.statics(row).len()) as u64)
        .sum();
    let judging = apart.saturating_mul(2 * Predictions::BYTES_PER_ROW);
    Ok(floats.saturating_add(state).saturating_add(all + 20 * rows).saturating_add(judging))
}

/// Trains a classifier on the threads of the ambient rayon pool, reporting a step for every epoch;
/// the best one counts, as with [`crate::fit`].
///
/// The same sequences, in the same order, and the same parameters give the same numbers, bit by
/// bit, also when a training goes on from a checkpoint (`resume`) that an earlier call with the
/// same arguments offered to its control.
pub fn fit_sequences(
    params: &SequenceParams,
    data: &SequenceDataset,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedSequence, Error> {
    fit_sequences_on(Isa::detect(), params, data, resume, control)
}

/// [`fit_sequences`] on a chosen instruction set.
pub fn fit_sequences_on(
    isa: Isa,
    params: &SequenceParams,
    data: &SequenceDataset,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedSequence, Error> {
    control.check()?;
    let training = &params.training;
    let classes = data.labels().len();
    let network = network(params, data)?;
    let split = stratified(data.targets(), classes, training.validation_fraction, training.seed);
    let learned = || split.training.iter().map(|&row| row as usize);
    let steps = learned().flat_map(|row| data.sequence(row).chunks_exact(data.features()));
    let features = scale::fit(data.features(), steps);
    let of_statics = scale::fit(data.static_count(), learned().map(|row| data.statics(row)));
    let mut statics = vec![0.0; data.len() * data.static_count()];
    for (row, to) in statics.chunks_exact_mut(data.static_count().max(1)).enumerate() {
        scale::apply(&of_statics, data.statics(row), to);
    }
    let source = Scaled { data, features, statics };
    let targets = learned().map(|row| data.targets()[row]);
    let weights = training.class_weights.resolve(data.labels(), targets)?;
    let asked = format!("sequence {REVISION} {params:?} {weights:?}");
    let key = TrainingKey::new(&asked, data.digest(control)?);
    let recipe = Recipe {
        batch: split.batch(training),
        seed: training.seed,
        update: training.update,
        regularization: params.regularization(),
        objective: Objective::new(training.label_smoothing, weights),
    };
    let rows = 0..data.len() as u32;
    let learner = SequenceLearner::new(isa, &network, &source, rows, recipe)?;
    let course = Course { params: training, split: &split, key };
    let Trained { weights, best_epoch, epochs } = course.run(learner, resume, control)?;

    let mut writer = PayloadWriter::new();
    writer.array("scale.features", &[data.features(), 2], &source.features);
    writer.array("scale.statics", &[data.static_count(), 2], &of_statics);
    writer.array("recurrent.weights", &[weights.len()], &weights);
    let bytes = 4 * weights.len() as u64;
    let payload = writer.try_finish().ok_or(Error::OutOfMemory { bytes })?;
    let mut fitted = FittedSequence {
        algorithm: params.algorithm(),
        architecture: SequenceArchitecture {
            spec: params.spec.clone(),
            features: data.features(),
            statics: data.static_count(),
            max_steps: params.max_steps,
        },
        labels: data.labels().to_vec(),
        epochs,
        best_epochs: vec![best_epoch],
        training_rows: split.training.len() as u64,
        temperature: 1.0,
        payload: Arc::new(payload),
        judged: None,
    };
    let rows = &split.validation;
    if !rows.is_empty() {
        let classifier = fitted.classifier()?;
        let logits = |rows: &[u32]| classifier.all_logits(data, rows, control);
        let (labels, at_once) = (&fitted.labels, judging::rows_at_once(classes));
        let (temperature, judged) =
            judging::judge(labels, data.targets(), rows, at_once, logits, control)?;
        (fitted.temperature, fitted.judged) = (temperature, Some(judged));
    }
    Ok(fitted)
}
