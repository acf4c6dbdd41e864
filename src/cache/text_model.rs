//! A classifier of texts in the form in which it answers.

use std::cell::RefCell;

use teller_nn::{TextClassifier, TextWorkspace};
use teller_payload::SharedBytes;

use crate::bridge::interrupts::StatementControl;
use crate::cache::classifier_info::ClassifierInfo;
use crate::catalog::manifest::Manifest;
use crate::error::Error;

/// A classifier of texts with its scratch memory.
pub struct TextModel {
    classifier: TextClassifier,
    workspace: RefCell<TextWorkspace>,
}

impl TextModel {
    /// Of the manifest's `model` and the part of its numbers, or what is wrong with them.
    pub(super) fn load(manifest: &Manifest, numbers: SharedBytes) -> Result<Self, String> {
        let info = ClassifierInfo::read(manifest)?;
        let classifier = TextClassifier::load(&info.architecture, info.labels, numbers)
            .and_then(|classifier| classifier.with_temperature(info.temperature))
            .map_err(|error| error.to_string())?;
        Ok(Self { classifier, workspace: RefCell::default() })
    }

    /// Bytes held once it has answered, the numbers included.
    pub(super) fn memory(&self) -> usize {
        self.classifier.memory().saturating_add(self.classifier.working_memory())
    }

    /// The classifier.
    pub fn classifier(&self) -> &TextClassifier {
        &self.classifier
    }

    /// Calls `read` with the probabilities of the text's labels.
    pub fn probabilities<T>(&self, text: &str, read: impl FnOnce(&[f32]) -> T) -> Result<T, Error> {
        let workspace = &mut self.workspace.borrow_mut();
        Ok(read(self.classifier.probabilities(text, workspace, &StatementControl)?))
    }

    /// What the network knows of the text before it decides.
    pub fn embedding(&self, text: &str) -> Result<Vec<f32>, Error> {
        let workspace = &mut self.workspace.borrow_mut();
        Ok(self.classifier.embedding(text, workspace, &StatementControl)?.to_vec())
    }

    /// What each word speaks for.
    pub fn explain(&self, text: &str) -> Result<Vec<(String, f32)>, Error> {
        let workspace = &mut self.workspace.borrow_mut();
        Ok(self.classifier.explain(text, workspace, &StatementControl)?)
    }
}
