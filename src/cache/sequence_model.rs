//! A classifier of sequences in the form in which it answers.

use std::cell::RefCell;

use teller_nn::{SequenceClassifier, SequenceWorkspace};
use teller_payload::SharedBytes;

use crate::bridge::interrupts::StatementControl;
use crate::cache::classifier_info::ClassifierInfo;
use crate::catalog::manifest::Manifest;
use crate::error::Error;

/// A classifier of sequences with its scratch memory.
pub struct SequenceModel {
    classifier: SequenceClassifier,
    workspace: RefCell<SequenceWorkspace>,
}

impl SequenceModel {
    /// Of the manifest's `model` and the part of its numbers, or what is wrong with them.
    pub(super) fn load(manifest: &Manifest, numbers: SharedBytes) -> Result<Self, String> {
        let info = ClassifierInfo::read(manifest)?;
        let classifier = SequenceClassifier::load(&info.architecture, info.labels, numbers)
            .and_then(|classifier| classifier.with_temperature(info.temperature))
            .map_err(|error| error.to_string())?;
        Ok(Self { classifier, workspace: RefCell::default() })
    }

    /// Bytes held once it has answered, the numbers included.
    pub(super) fn memory(&self) -> usize {
        self.classifier.memory().saturating_add(self.classifier.working_memory())
    }

    /// The classifier.
    pub fn classifier(&self) -> &SequenceClassifier {
        &self.classifier
    }

    /// Calls `read` with the probabilities of the labels of a sequence, steps x `features`.
    pub fn probabilities<T>(
        &self,
        (sequence, features): (&[f32], usize),
        statics: &[f32],
        read: impl FnOnce(&[f32]) -> T,
    ) -> Result<T, Error> {
        let workspace = &mut self.workspace.borrow_mut();
        let control = &StatementControl;
        let asked = self.classifier.probabilities(sequence, features, statics, workspace, control);
        Ok(read(asked?))
    }
}
