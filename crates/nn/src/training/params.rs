//! How any network is trained.

use teller_numeric::{OptionError, Options};

use super::EarlyStopping;
use crate::{ClassWeights, Schedule, UpdateRule};

/// Checked training parameters. The defaults are those of images; see each network for its own.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingParams {
    /// Passes over the training rows: `epochs`, 1 to 10,000 (5).
    pub epochs: u32,
    /// Rows of one step: `batch_size`, 1 to 65,536 (32).
    pub batch_size: usize,
    /// Full size of a step: `learning_rate`, 1e-9 to 10 (0.002).
    pub learning_rate: f64,
    /// How weights follow their gradients.
    pub update: UpdateRule,
    /// `schedule` of the learning rate: `cosine`, `constant`, `stable` or `step`.
    pub schedule: Schedule,
    /// Share of all steps in which the learning rate first grows to its full size:
    /// `warmup_fraction`, 0 to 0.5 (0).
    pub warmup_fraction: f64,
    /// Share of each target that is spread over all labels: `label_smoothing`, 0 to 0.5 (0).
    pub label_smoothing: f64,
    /// `class_weights`: how much the rows of each label count.
    pub class_weights: ClassWeights,
    /// `seed` of everything random (42).
    pub seed: u64,
    /// Share of each label's rows that is kept apart: `validation_fraction`, 0 to 0.5 (0.1).
    pub validation_fraction: f64,
    /// When training ends before its last epoch.
    pub stopping: EarlyStopping,
}

impl Default for TrainingParams {
    fn default() -> Self {
        Self {
            epochs: 5,
            batch_size: 32,
            learning_rate: 2e-3,
            update: UpdateRule::default(),
            schedule: Schedule::Cosine,
            warmup_fraction: 0.0,
            label_smoothing: 0.0,
            class_weights: ClassWeights::Equal,
            seed: 42,
            validation_fraction: 0.1,
            stopping: EarlyStopping::default(),
        }
    }
}

impl TrainingParams {
    /// Reads the parameters among whatever else the caller reads from the same options; the
    /// caller finishes them. What is not given is as in `default`.
    pub fn read(options: &mut Options<'_>, default: Self) -> Result<Self, OptionError> {
        let stopping = default.stopping;
        let smoothing = default.label_smoothing;
        Ok(Self {
            label_smoothing: options.number("label_smoothing", smoothing, 0.0..=0.5)?,
            class_weights: ClassWeights::read(options)?,
            stopping: EarlyStopping::read(options, stopping)?,
            ..Self::read_descent(options, default)?
        })
    }

    /// [`Self::read`] of what holds also where no label is learned.
    pub(crate) fn read_descent(
        options: &mut Options<'_>,
        default: Self,
    ) -> Result<Self, OptionError> {
        let epochs = options.integer("epochs", default.epochs.into(), 1..=10_000)? as u32;
        let batch_size = options.integer("batch_size", default.batch_size as i64, 1..=65_536)?;
        let mut fraction = |name, default| options.number(name, default, 0.0..=0.5);
        let warmup_fraction = fraction("warmup_fraction", default.warmup_fraction)?;
        let validation_fraction = fraction("validation_fraction", default.validation_fraction)?;
        Ok(Self {
            epochs,
            batch_size: batch_size as usize,
            learning_rate: options.number("learning_rate", default.learning_rate, 1e-9..=10.0)?,
            update: UpdateRule::read(options, default.update)?,
            schedule: Schedule::read(options, default.schedule, epochs)?,
            warmup_fraction,
            seed: options.integer("seed", default.seed as i64, 0..=i64::MAX)? as u64,
            validation_fraction,
            ..default
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Monitor, Optimizer};

    fn read(given: Value) -> Result<TrainingParams, OptionError> {
        let mut options = Options::new("cnn", &given)?;
        let params = TrainingParams::read(&mut options, TrainingParams::default())?;
        options.finish()?;
        Ok(params)
    }

    #[test]
    fn defaults_ranges_and_slips() {
        assert_eq!(read(json!({})).unwrap(), TrainingParams::default());
        let given = json!({
            "optimizer": "sgd", "momentum": 0.5, "schedule": "step", "epochs": 9,
            "warmup_fraction": 0.1, "label_smoothing": 0.2, "class_weights": "balanced",
            "patience": 1, "monitor": "loss", "min_delta": 0.01
        });
        let expected = TrainingParams {
            epochs: 9,
            update: UpdateRule {
                optimizer: Optimizer::Sgd { momentum: 0.5, nesterov: false },
                ..UpdateRule::default()
            },
            schedule: Schedule::Step { epochs: 3, factor: 0.1 },
            warmup_fraction: 0.1,
            label_smoothing: 0.2,
            class_weights: ClassWeights::Balanced,
            stopping: EarlyStopping { patience: 1, monitor: Monitor::Loss, min_delta: 0.01 },
            ..TrainingParams::default()
        };
        assert_eq!(read(given).unwrap(), expected);
        for wrong in [
            json!({"epochs": 0}),
            json!({"epochs": 10_001}),
            json!({"batch_size": 0}),
            json!({"learning_rate": 0}),
            json!({"validation_fraction": 0.6}),
            json!({"seed": -1}),
            json!({"schedule": "steps"}),
            json!({"warmup_fraction": 0.6}),
            json!({"label_smoothing": 1}),
            json!({"class_weights": "equal"}),
            json!({"monitor": "f1"}),
            json!({"min_delta": -1}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
        let none = json!({});
        let own = TrainingParams { epochs: 15, learning_rate: 0.1, ..TrainingParams::default() };
        let mut options = Options::new("gru", &none).unwrap();
        assert_eq!(TrainingParams::read(&mut options, own.clone()), Ok(own));
        let Err(OptionError::Unknown { nearest, .. }) = read(json!({"learning_rates": 1})) else {
            panic!("accepted")
        };
        assert_eq!(nearest.as_deref(), Some("learning_rate"));
    }
}
