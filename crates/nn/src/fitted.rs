//! A trained network with what is known of its training.

use std::sync::Arc;

use teller_payload::AlignedBytes;

use crate::floats::Floats;
use crate::network::Network;
use crate::{Architecture, Error, ImageClassifier, Normalization, codec};

/// What one epoch of a training came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// 1-based.
    pub epoch: u32,
    /// Mean cross-entropy of the training images while they were learned from.
    pub loss: f64,
    /// On the part kept apart, if there is one.
    pub validation: Option<Validation>,
}

/// How the network did on the part kept apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share of images whose label was the most probable.
    pub accuracy: f64,
    /// Images.
    pub rows: u64,
}

/// What [`crate::fit`] gives.
#[derive(Debug)]
pub struct FittedCnn {
    pub(crate) network: Network,
    pub(crate) weights: Floats,
    /// What was trained.
    pub architecture: Architecture,
    /// The classes, ascending.
    pub labels: Vec<String>,
    /// How pixels become numbers.
    pub normalization: Normalization,
    /// All epochs that were run.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights these are, 1-based.
    pub best_epoch: u32,
    /// Rows learned from.
    pub training_rows: u64,
}

impl FittedCnn {
    /// The weights as stored: `0.conv2d.kernel`, `0.conv2d.bias` and so on.
    pub fn payload(&self) -> AlignedBytes {
        codec::write(&self.network, &self.weights)
    }

    /// Figures of the weights' own epoch, by name.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let mut metrics = vec![
            ("epochs".to_owned(), self.epochs.len() as f64),
            ("best_epoch".to_owned(), f64::from(self.best_epoch)),
            ("training_rows".to_owned(), self.training_rows as f64),
        ];
        let Some(best) = self.epochs.iter().find(|epoch| epoch.epoch == self.best_epoch) else {
            return metrics;
        };
        metrics.push(("training_loss".to_owned(), best.loss));
        if let Some(validation) = best.validation {
            metrics.push(("validation_rows".to_owned(), validation.rows as f64));
            metrics.push(("validation_loss".to_owned(), validation.loss));
            metrics.push(("validation_accuracy".to_owned(), validation.accuracy));
        }
        metrics
    }

    /// The network ready to be asked.
    pub fn classifier(&self) -> Result<ImageClassifier, Error> {
        let bytes = Arc::new(self.payload());
        ImageClassifier::load(&self.architecture, &self.normalization, self.labels.clone(), bytes)
    }
}
