//! A trained network with what is known of its training.

use std::sync::Arc;

use teller_numeric::Control;
use teller_payload::AlignedBytes;

use crate::calibration::temperature;
use crate::floats::Floats;
use crate::network::Network;
use crate::{
    Architecture, Arithmetic, Confusion, Error, ImageClassifier, ImageDataset, Normalization,
    Predictions, codec,
};

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
    /// What the logits are divided by, so that probabilities are as often right as they say; 1
    /// without a part kept apart to find it with.
    pub temperature: f32,
    pub(crate) judged: Option<Judged>,
}

/// How the finished network does on the part kept apart.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Its answers under the temperature.
    pub(crate) predictions: Predictions,
    /// The calibration error that it would have without.
    pub(crate) error_before: f64,
}

/// Logits from which the temperature is found, at most.
const LOGITS: usize = 1 << 22;

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
        if let Some(Judged { predictions, error_before }) = &self.judged {
            let figure = |name: &str, value| (format!("validation_{name}"), value);
            metrics.push(figure("macro_f1", predictions.macro_f1()));
            metrics.push(figure("calibration_error", predictions.calibration_error()));
            metrics.push(figure("calibration_error_before", *error_before));
            metrics.push(("temperature".to_owned(), f64::from(self.temperature)));
        }
        metrics
    }

    /// How often each label of the part kept apart was taken for each, if there is such a part.
    pub fn confusion(&self) -> Option<Confusion> {
        self.judged.as_ref().map(|judged| judged.predictions.confusion())
    }

    /// Finds the temperature on the images of `rows`, and looks at how the network does on them.
    pub(crate) fn judge(
        self,
        data: &ImageDataset,
        rows: &[u32],
        control: &dyn Control,
    ) -> Result<Self, Error> {
        if rows.is_empty() {
            return Ok(self);
        }
        let classes = self.labels.len();
        let classifier = self.classifier()?;
        // Evenly spread over the labels: the rows ascend.
        let step = (rows.len() * classes).div_ceil(LOGITS);
        let some: Vec<u32> = rows.iter().copied().step_by(step).collect();
        let logits = classifier.all_logits(data, &some, control)?;
        let targets: Vec<u32> = some.iter().map(|&row| data.targets()[row as usize]).collect();
        let temperature = temperature(&logits, classes, &targets);
        let error_before = Predictions::new(&classifier, data, rows, control)?.calibration_error();
        let classifier = classifier.with_temperature(temperature)?;
        let predictions = Predictions::new(&classifier, data, rows, control)?;
        Ok(Self { temperature, judged: Some(Judged { predictions, error_before }), ..self })
    }

    /// The network ready to be asked.
    pub fn classifier(&self) -> Result<ImageClassifier, Error> {
        let bytes = Arc::new(self.payload());
        let labels = self.labels.clone();
        ImageClassifier::load(
            Arithmetic::CURRENT,
            &self.architecture,
            &self.normalization,
            labels,
            bytes,
        )?
        .with_temperature(self.temperature)
    }
}
