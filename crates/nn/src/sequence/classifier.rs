//! A trained classifier of sequences as it is asked: one sequence in, one probability a class out.

use rayon::prelude::*;
use teller_numeric::{Control, Isa};
use teller_payload::{Array, Payload, PayloadError, SharedBytes};

use super::dataset::{check, last_steps};
use super::network::{Extents, Network};
use super::serving::{Answer, SequenceWorkspace};
use super::source::Steps;
use super::{FittedSequence, SequenceArchitecture, SequenceDataset, scale};
use crate::calibration::sharpness;
use crate::labels::check_stored;
use crate::layer::softmax;
use crate::{Error, LayerWeights, Predictions};

/// A classifier of sequences of numbers.
#[derive(Debug)]
pub struct SequenceClassifier {
    architecture: SequenceArchitecture,
    network: Network,
    features: Array<f32>,
    statics: Array<f32>,
    weights: Array<f32>,
    labels: Vec<String>,
    payload: Payload,
    /// What the logits are multiplied with.
    sharpness: f32,
}

impl SequenceClassifier {
    /// Checks untrusted parts against each other: the payload must hold exactly the arrays of
    /// `architecture` for as many classes as there are `labels`, which ascend.
    pub fn load(
        architecture: &SequenceArchitecture,
        labels: Vec<String>,
        bytes: SharedBytes,
    ) -> Result<Self, Error> {
        let SequenceArchitecture { spec, features, statics, .. } = architecture;
        check_stored(&labels)?;
        let payload = Payload::parse(bytes)?;
        let extents =
            Extents { inputs: *features, statics: *statics, classes: labels.len(), table: 0 };
        let network = Network::checked(spec, extents)?;
        let weights = payload.array_of("recurrent.weights", &[network.weights])?;
        if payload.arrays().count() != 3 {
            let what = "it has arrays that the architecture does not name";
            return Err(PayloadError::Directory(what).into());
        }
        Ok(Self {
            features: payload.array_of("scale.features", &[*features, 2])?,
            statics: payload.array_of("scale.statics", &[*statics, 2])?,
            architecture: architecture.clone(),
            network,
            weights,
            labels,
            payload,
            sharpness: 1.0,
        })
    }

    /// The same with its temperature, 0.05 to 20, as
    /// [`FittedClassifier::temperature`](crate::FittedClassifier) has it.
    pub fn with_temperature(self, temperature: f32) -> Result<Self, Error> {
        Ok(Self { sharpness: sharpness(temperature)?, ..self })
    }

    /// The classes, ascending: index i of the probabilities is label i.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Numbers of a step, and of a whole sequence.
    pub fn widths(&self) -> (usize, usize) {
        (self.architecture.features, self.architecture.statics)
    }

    /// All trained numbers.
    pub fn weights(&self) -> Vec<LayerWeights<'_>> {
        self.network.arrays("", self.payload.get(self.weights))
    }

    /// Steps that count.
    pub fn max_steps(&self) -> usize {
        self.architecture.max_steps
    }

    /// Bytes held, the payload included.
    pub fn memory(&self) -> usize {
        let labels: usize = self.labels.iter().map(|label| label.len() + size_of::<String>()).sum();
        size_of::<Self>() + self.payload.bytes().len() + labels
    }

    /// Bytes of a [`SequenceWorkspace`] for the longest sequence.
    pub fn working_memory(&self) -> usize {
        self.network.working_memory(self.architecture.max_steps)
    }

    /// The probability of each label for a sequence of steps x `features`, with its static numbers.
    pub fn probabilities<'w>(
        &self,
        sequence: &[f32],
        features: usize,
        statics: &[f32],
        workspace: &'w mut SequenceWorkspace,
        control: &dyn Control,
    ) -> Result<&'w [f32], Error> {
        check(sequence, features, statics, self.widths())?;
        let mut probabilities = std::mem::take(&mut workspace.probabilities);
        let answer = self.ask(sequence, statics, workspace, control)?;
        probabilities.clear();
        probabilities.extend(answer.logits.iter().map(|logit| logit * self.sharpness));
        softmax(&mut probabilities, self.labels.len());
        workspace.probabilities = probabilities;
        Ok(&workspace.probabilities)
    }

    /// The figures of `teller.evaluate` over all sequences of `data`: see
    /// [`Predictions::figures`]. On the threads of the ambient rayon pool.
    pub fn evaluate(
        &self,
        data: &SequenceDataset,
        control: &dyn Control,
    ) -> Result<Vec<(String, f64)>, Error> {
        let got = (data.features(), data.static_count());
        if got != self.widths() {
            return Err(Error::SequenceWidth { got, expected: self.widths() });
        }
        let theirs = (data.labels(), data.targets());
        let logits_of = |rows: &[u32]| self.all_logits(data, rows, control);
        let predictions = Predictions::gather(&self.labels, theirs, self.sharpness, logits_of)?;
        Ok(predictions.figures())
    }

    /// The logits of the sequences of `rows`: rows x classes. On the threads of the ambient rayon
    /// pool.
    pub(super) fn all_logits(
        &self,
        data: &SequenceDataset,
        rows: &[u32],
        control: &dyn Control,
    ) -> Result<Vec<f32>, Error> {
        const ROWS: usize = 64;
        let classes = self.labels.len();
        let mut logits = vec![0.0; rows.len() * classes];
        logits.par_chunks_mut(ROWS * classes).zip(rows.par_chunks(ROWS)).try_for_each_init(
            SequenceWorkspace::default,
            |workspace, (logits, rows)| {
                for (logits, &row) in logits.chunks_exact_mut(classes).zip(rows) {
                    control.check()?;
                    let (sequence, statics) =
                        (data.sequence(row as usize), data.statics(row as usize));
                    let answer = self.ask(sequence, statics, workspace, control)?;
                    logits.copy_from_slice(answer.logits);
                }
                Ok::<_, Error>(())
            },
        )?;
        Ok(logits)
    }

    /// A sequence that was checked.
    fn ask<'w>(
        &self,
        sequence: &[f32],
        statics: &[f32],
        workspace: &'w mut SequenceWorkspace,
        control: &dyn Control,
    ) -> Result<Answer<'w>, Error> {
        let SequenceArchitecture { features, max_steps, .. } = self.architecture;
        let sequence = last_steps(sequence, features, max_steps);
        let [of_features, of_statics, weights] =
            [self.features, self.statics, self.weights].map(|array| self.payload.get(array));
        let load = |mut steps: Steps<'_>, to: &mut [f32]| {
            for (step, numbers) in sequence.chunks_exact(features).enumerate() {
                scale::apply(of_features, numbers, steps.step(step));
            }
            scale::apply(of_statics, statics, to);
        };
        let steps = sequence.len() / features;
        self.network.ask(Isa::detect(), weights, steps, workspace, load, control)
    }
}

impl FittedSequence {
    /// The classifier ready to be asked.
    pub fn classifier(&self) -> Result<SequenceClassifier, Error> {
        SequenceClassifier::load(&self.architecture, self.labels.clone(), self.payload())?
            .with_temperature(self.temperature)
    }
}
