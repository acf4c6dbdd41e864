//! How a network is trained.

use teller_numeric::{OptionError, Options};

use crate::{Optimizer, Schedule};

/// Checked training parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct CnnParams {
    /// Passes over the training images: `epochs`, 1 to 10,000 (5).
    pub epochs: u32,
    /// Images of one step: `batch_size`, 1 to 65,536 (32).
    pub batch_size: usize,
    /// Full size of a step: `learning_rate`, 1e-9 to 10 (0.002).
    pub learning_rate: f64,
    /// `optimizer`: `adam`, or `sgd` with `momentum`, 0 to 0.999 (0.9).
    pub optimizer: Optimizer,
    /// `schedule` of the learning rate: `cosine` or `constant`.
    pub schedule: Schedule,
    /// `seed` of everything random (42).
    pub seed: u64,
    /// Share of each label's images that is kept apart: `validation_fraction`, 0 to 0.5 (0.1).
    pub validation_fraction: f64,
    /// Epochs without a better result on that part after which training ends: `patience`, 0 for
    /// never (3).
    pub patience: u32,
}

impl Default for CnnParams {
    fn default() -> Self {
        Self {
            epochs: 5,
            batch_size: 32,
            learning_rate: 2e-3,
            optimizer: Optimizer::Adam,
            schedule: Schedule::Cosine,
            seed: 42,
            validation_fraction: 0.1,
            patience: 3,
        }
    }
}

#[derive(Clone, Copy)]
enum Rule {
    Adam,
    Sgd,
}

impl CnnParams {
    /// Reads the parameters among whatever else the caller reads from the same options; the
    /// caller finishes them.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let default = Self::default();
        let rule = options.choice("optimizer", &[("adam", Rule::Adam), ("sgd", Rule::Sgd)])?;
        let momentum = options.number("momentum", 0.9, 0.0..=0.999)?;
        if let (Rule::Adam, Some(given)) = (rule, options.value("momentum")) {
            let expected = "absent unless \"optimizer\" is \"sgd\"".to_owned();
            return Err(options.invalid("momentum", given, expected));
        }
        Ok(Self {
            epochs: options.integer("epochs", default.epochs.into(), 1..=10_000)? as u32,
            batch_size: options.integer("batch_size", default.batch_size as i64, 1..=65_536)?
                as usize,
            learning_rate: options.number("learning_rate", default.learning_rate, 1e-9..=10.0)?,
            optimizer: match rule {
                Rule::Adam => Optimizer::Adam,
                Rule::Sgd => Optimizer::Sgd { momentum },
            },
            schedule: options.choice(
                "schedule",
                &[("cosine", Schedule::Cosine), ("constant", Schedule::Constant)],
            )?,
            seed: options.integer("seed", default.seed as i64, 0..=i64::MAX)? as u64,
            validation_fraction: options.number(
                "validation_fraction",
                default.validation_fraction,
                0.0..=0.5,
            )?,
            patience: options.integer("patience", default.patience.into(), 0..=10_000)? as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(given: Value) -> Result<CnnParams, OptionError> {
        let mut options = Options::new("cnn", &given)?;
        let params = CnnParams::read(&mut options)?;
        options.finish()?;
        Ok(params)
    }

    #[test]
    fn defaults_ranges_and_slips() {
        assert_eq!(read(json!({})).unwrap(), CnnParams::default());
        let sgd = read(json!({"optimizer": "sgd", "momentum": 0.5})).unwrap();
        assert_eq!(sgd.optimizer, Optimizer::Sgd { momentum: 0.5 });
        assert!(read(json!({"momentum": 0.5})).is_err(), "Adam has none");
        for wrong in [
            json!({"epochs": 0}),
            json!({"epochs": 10_001}),
            json!({"batch_size": 0}),
            json!({"learning_rate": 0}),
            json!({"validation_fraction": 0.6}),
            json!({"seed": -1}),
            json!({"schedule": "step"}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
        let Err(OptionError::Unknown { nearest, .. }) = read(json!({"learning_rates": 1})) else {
            panic!("accepted")
        };
        assert_eq!(nearest.as_deref(), Some("learning_rate"));
    }
}
