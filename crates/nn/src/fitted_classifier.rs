//! A trained classifier of texts or sequences with what is known of its training.

use std::sync::Arc;

use teller_payload::AlignedBytes;

use crate::judging::Judged;
use crate::{Confusion, Epoch};

/// What [`PreparedTexts::fit`](crate::PreparedTexts::fit) and
/// [`fit_sequences`](crate::fit_sequences) give; its architecture is an `A`.
#[derive(Debug)]
pub struct FittedClassifier<A> {
    /// As in the options.
    pub algorithm: &'static str,
    /// What was trained.
    pub architecture: A,
    /// The classes, ascending.
    pub labels: Vec<String>,
    /// All epochs that were run, one member after the other.
    pub epochs: Vec<Epoch>,
    /// Of each member, the epoch whose weights it has.
    pub best_epochs: Vec<u32>,
    /// Rows learned from.
    pub training_rows: u64,
    /// What the logarithms of probabilities are divided by, so that probabilities are as often
    /// right as they say; 1 without a part kept apart to find it with.
    pub temperature: f32,
    pub(crate) payload: Arc<AlignedBytes>,
    pub(crate) judged: Option<Judged>,
}

impl<A> FittedClassifier<A> {
    /// All numbers as stored.
    pub fn payload(&self) -> Arc<AlignedBytes> {
        self.payload.clone()
    }

    /// Figures by name; those of the part kept apart are of the whole classifier.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let mut metrics = vec![
            ("epochs".to_owned(), self.epochs.len() as f64),
            ("training_rows".to_owned(), self.training_rows as f64),
        ];
        let last = self.best_epochs.last();
        if let Some(best) = self.epochs.iter().find(|epoch| Some(&epoch.epoch) == last) {
            metrics.push(("best_epoch".to_owned(), f64::from(best.epoch)));
            metrics.push(("training_loss".to_owned(), best.loss));
            if let Some(validation) = best.validation {
                metrics.push(("validation_rows".to_owned(), validation.rows as f64));
            }
        }
        if let Some(judged) = &self.judged {
            let predictions = &judged.predictions;
            metrics.push(("validation_loss".to_owned(), predictions.log_loss()));
            metrics.push(("validation_accuracy".to_owned(), predictions.accuracy()));
            metrics.extend(judged.figures());
            metrics.push(("temperature".to_owned(), f64::from(self.temperature)));
        }
        metrics
    }

    /// How often each label of the part kept apart was taken for each, if there is such a part.
    pub fn confusion(&self) -> Option<Confusion> {
        self.judged.as_ref().map(|judged| judged.predictions.confusion())
    }
}
