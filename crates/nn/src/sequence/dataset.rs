//! Labelled sequences of numbers as they are kept for training.

use teller_numeric::{Cancelled, Control};
use teller_payload::DataDigest;

use crate::Error;
use crate::labels::{Labelled, LabelsBuilder, at_least_two};

/// Sequences of steps of the same number of features, each with its label.
#[derive(Clone, Debug, Default)]
pub struct SequenceDataset {
    features: usize,
    statics: usize,
    /// Steps x features of all sequences, and the step after each sequence's last.
    values: Vec<f32>,
    ends: Vec<usize>,
    static_values: Vec<f32>,
    targets: Vec<u32>,
    labels: Vec<String>,
}

/// Gathers a [`SequenceDataset`] row by row.
///
/// ```
/// let mut builder = teller_nn::SequenceDatasetBuilder::new(512);
/// builder.push(&[1.0, 2.0, 3.0, 4.0], 2, &[], "a").unwrap();
/// builder.push(&[5.0, 6.0], 2, &[], "b").unwrap();
/// assert_eq!(builder.finish().unwrap().sequence(1), [5.0, 6.0]);
/// ```
#[derive(Clone, Debug)]
pub struct SequenceDatasetBuilder {
    /// Without targets and labels.
    dataset: SequenceDataset,
    labels: LabelsBuilder,
    max_steps: usize,
}

/// Bytes of a sequence's end, its target and its row numbers in a training.
const BYTES_PER_ROW: u64 = 20;

impl SequenceDatasetBuilder {
    /// Of each sequence, the last `max_steps` steps count.
    pub fn new(max_steps: usize) -> Self {
        let (dataset, labels) = (SequenceDataset::default(), LabelsBuilder::default());
        Self { dataset, labels, max_steps }
    }

    /// Adds a sequence, steps x `features`, at least one step, with its static numbers. All
    /// sequences have as many features and static numbers; all are finite.
    pub fn push(
        &mut self,
        sequence: &[f32],
        features: usize,
        statics: &[f32],
        label: &str,
    ) -> Result<(), Error> {
        self.labels.check()?;
        let data = &mut self.dataset;
        if self.labels.rows() == 0 {
            (data.features, data.statics) = (features, statics.len());
        }
        check(sequence, features, statics, (data.features, data.statics))?;
        let sequence = last_steps(sequence, features, self.max_steps);
        let reserved = data.values.try_reserve(sequence.len());
        let bytes = 4 * (data.values.len() + sequence.len()) as u64;
        reserved.map_err(|_| Error::OutOfMemory { bytes })?;
        data.values.extend_from_slice(sequence);
        data.ends.push(data.values.len() / data.features);
        data.static_values.extend_from_slice(statics);
        self.labels.push(label);
        Ok(())
    }

    /// Bytes that a training on the sequences so far holds of them.
    pub fn memory(&self) -> u64 {
        let numbers = self.dataset.values.len() + self.dataset.static_values.len();
        4 * numbers as u64 + BYTES_PER_ROW * self.labels.rows() as u64
    }

    /// The dataset to train on: at least one row, at least two labels.
    pub fn finish(self) -> Result<SequenceDataset, Error> {
        let dataset = self.finish_for_evaluation()?;
        at_least_two(&dataset.labels)?;
        Ok(dataset)
    }

    /// The dataset to evaluate on, where one label may be all there is.
    pub fn finish_for_evaluation(self) -> Result<SequenceDataset, Error> {
        let Labelled { targets, labels } = self.labels.finish()?;
        Ok(SequenceDataset { targets, labels, ..self.dataset })
    }
}

/// Whether a sequence has the `expected` numbers of features and statics, and finite ones.
pub(super) fn check(
    sequence: &[f32],
    features: usize,
    statics: &[f32],
    expected: (usize, usize),
) -> Result<(), Error> {
    let whole = features > 0 && !sequence.is_empty() && sequence.len().is_multiple_of(features);
    if !whole {
        return Err(Error::EmptySequence);
    }
    if (features, statics.len()) != expected {
        let got = (features, statics.len());
        return Err(Error::SequenceWidth { got, expected });
    }
    match sequence.iter().chain(statics).all(|number| number.is_finite()) {
        true => Ok(()),
        false => Err(Error::NotFinite),
    }
}

/// The last `most` steps.
pub(super) fn last_steps(sequence: &[f32], features: usize, most: usize) -> &[f32] {
    &sequence[sequence.len().saturating_sub(most.saturating_mul(features))..]
}

impl SequenceDataset {
    /// Sequences.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Never: a dataset has rows.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Numbers of a step.
    pub fn features(&self) -> usize {
        self.features
    }

    /// All labels, ascending.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// For each sequence, the index of its label.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// One sequence, steps x features.
    pub fn sequence(&self, row: usize) -> &[f32] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.values[start * self.features..self.ends[row] * self.features]
    }

    /// Its static numbers.
    pub fn statics(&self, row: usize) -> &[f32] {
        &self.static_values[row * self.statics..][..self.statics]
    }

    /// How many those are.
    pub(super) fn static_count(&self) -> usize {
        self.statics
    }

    /// A digest of all that a training reads; of the labels only their number counts.
    pub(super) fn digest(&self, control: &dyn Control) -> Result<DataDigest, Cancelled> {
        const POLL: usize = 1 << 22;
        let mut digest = DataDigest::new();
        digest.update(&[self.features, self.statics, self.labels.len()].map(|n| n as u64));
        digest.update(&self.targets);
        digest.update(&self.static_values);
        let ends: Vec<u64> = self.ends.iter().map(|&end| end as u64).collect();
        digest.update(&ends);
        for values in self.values.chunks(POLL) {
            control.check()?;
            digest.update(values);
        }
        Ok(digest)
    }
}
