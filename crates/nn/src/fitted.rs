//! A trained network with what is known of its training.

use std::sync::Arc;

use teller_numeric::Control;
use teller_payload::AlignedBytes;

use crate::floats::Floats;
use crate::judging::{self, Judged};
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
    /// Mean loss of the training rows while they were learned from.
    pub loss: f64,
    /// On the part kept apart, if there is one.
    pub validation: Option<Validation>,
}

/// How the network did on the part kept apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Mean cross-entropy, or whatever the network makes smaller.
    pub loss: f64,
    /// Mean of what is told beside it: of a classifier the share of rows whose label was the most
    /// probable.
    pub figure: f64,
    /// Rows.
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

/// Bytes that it takes to judge a network, beyond itself and the data: its weights as they are
/// stored and as they are prepared, logits, and two answers for each of `rows` images.
pub(crate) fn memory_to_judge(network: &Network, rows: u64) -> u64 {
    let held = rows.min(judging::rows_at_once(network.classes) as u64);
    let logits = held.saturating_mul(network.classes as u64);
    let weights = (network.weights + network.prepared) as u64;
    let floats = weights.saturating_add(logits).saturating_mul(4);
    floats.saturating_add(rows.saturating_mul(2 * Predictions::BYTES_PER_ROW))
}

impl FittedCnn {
    /// The weights as stored: `0.conv2d.kernel`, `0.conv2d.bias` and so on, with the running
    /// statistics of batch norms.
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
            metrics.push(("validation_accuracy".to_owned(), validation.figure));
        }
        if let Some(judged) = &self.judged {
            metrics.extend(judged.figures());
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
        let at_once = judging::rows_at_once(self.labels.len());
        self.judge_by(at_once, data, rows, control)
    }

    fn judge_by(
        self,
        at_once: usize,
        data: &ImageDataset,
        rows: &[u32],
        control: &dyn Control,
    ) -> Result<Self, Error> {
        if rows.is_empty() {
            return Ok(self);
        }
        let classifier = self.classifier()?;
        let logits = |rows: &[u32]| classifier.all_logits(data, rows, control);
        let (temperature, judged) =
            judging::judge(&self.labels, data.targets(), rows, at_once, logits, control)?;
        Ok(Self { temperature, judged: Some(judged), ..self })
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

#[cfg(test)]
mod tests {
    use teller_numeric::{Stream, Uninterrupted};

    use super::*;
    use crate::{ImageDatasetBuilder, TrainingParams, fit};

    #[test]
    fn judged_in_pieces_or_at_once_the_answers_are_the_classifiers() {
        let mut builder = ImageDatasetBuilder::new(4, 4, 1);
        for row in 0..300 {
            let mut stream = Stream::new(3, "pictures", row);
            let raster: Vec<u8> =
                (0..16).map(|_| stream.below(200) as u8 + row as u8 % 3).collect();
            builder.push(&raster, &(row % 3).to_string()).unwrap();
        }
        let data = builder.finish().unwrap();
        let layers = serde_json::json!([
            {"type": "flatten"}, {"type": "dense", "units": "classes"}, {"type": "softmax"}]);
        let whole = serde_json::json!({"input": {"height": 4, "width": 4}, "layers": layers});
        let architecture = Architecture::from_json(&whole).unwrap();
        let params =
            TrainingParams { validation_fraction: 0.0, ..TrainingParams::default() }.into();
        let rows: Vec<u32> = (0..300).step_by(2).collect();
        for at_once in [1, 7, 150, 1000] {
            let fitted = fit(&architecture, &params, &data, None, &Uninterrupted).unwrap();
            assert!(fitted.judged.is_none());
            let before = fitted.classifier().unwrap();
            let fitted = fitted.judge_by(at_once, &data, &rows, &Uninterrupted).unwrap();
            let after = fitted.classifier().unwrap();
            let [before, after] = [before, after].map(|classifier| {
                Predictions::new(&classifier, &data, &rows, &Uninterrupted).unwrap()
            });
            let judged = fitted.judged.unwrap();
            assert_ne!(fitted.temperature, 1.0);
            assert_eq!(judged.predictions, after, "{at_once}");
            assert_eq!(judged.error_before, before.calibration_error(), "{at_once}");
        }
    }
}
