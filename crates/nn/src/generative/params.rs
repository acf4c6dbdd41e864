//! How generators of table rows are trained.

use teller_numeric::{OptionError, Options};

use crate::{Optimizer, Schedule, TrainingParams, UpdateRule};

/// Checked parameters of a `tabular_vae`.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeParams {
    /// What holds for any network.
    pub training: TrainingParams,
    /// `hidden` units of each of two layers, 8 to 2048 (256).
    pub hidden: usize,
    /// `latent` numbers of a code, 1 to 256 (24).
    pub latent: usize,
    /// Weight of the codes' distance from a normal distribution: `beta`, 0.001 to 100 (0.3).
    pub beta: f64,
    /// Normal distributions of which each label's codes are a mixture, at most: `components`, 1 to
    /// 100 (60).
    pub components: usize,
}

/// Checked parameters of a `tabular_gan`.
#[derive(Clone, Debug, PartialEq)]
pub struct GanParams {
    /// What holds for any network.
    pub training: TrainingParams,
    /// `hidden` units of each of two layers, 8 to 2048 (256).
    pub hidden: usize,
    /// Random numbers that a row is made of: `noise`, 1 to 1024 (64).
    pub noise: usize,
    /// Weight of the critic's `penalty` for slopes other than 1, 0.01 to 1000 (10).
    pub penalty: f64,
    /// Of softened choices in training, the lower the harder: `temperature`, 0.05 to 5 (0.3).
    pub temperature: f64,
}

/// Checked parameters of a generator of table rows.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerationParams {
    /// A variational autoencoder with a fitted mixture of codes.
    Vae(VaeParams),
    /// A generative adversarial network.
    Gan(GanParams),
}

impl Default for VaeParams {
    fn default() -> Self {
        let update =
            UpdateRule { optimizer: Optimizer::AdamW, weight_decay: 0.01, ..UpdateRule::default() };
        let training = TrainingParams {
            epochs: 150,
            batch_size: 256,
            learning_rate: 0.002,
            update,
            ..TrainingParams::default()
        };
        Self { training, hidden: 256, latent: 24, beta: 0.3, components: 60 }
    }
}

impl Default for GanParams {
    fn default() -> Self {
        let update = UpdateRule { betas: [0.0, 0.9], ..UpdateRule::default() };
        let training = TrainingParams {
            epochs: 105,
            batch_size: 128,
            learning_rate: 0.001,
            update,
            schedule: Schedule::Stable { decay: 0.4 },
            ..TrainingParams::default()
        };
        Self { training, hidden: 256, noise: 64, penalty: 10.0, temperature: 0.3 }
    }
}

/// A whole number that is a size.
pub(super) fn size(
    options: &mut Options<'_>,
    name: &'static str,
    default: usize,
    range: std::ops::RangeInclusive<i64>,
) -> Result<usize, OptionError> {
    options.integer(name, default as i64, range).map(|size| size as usize)
}

impl GenerationParams {
    /// Reads the parameters of a `tabular_vae` among whatever else the caller reads from the same
    /// options; the caller finishes them.
    pub fn read_vae(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let usual = VaeParams::default();
        Ok(Self::Vae(VaeParams {
            training: TrainingParams::read_descent(options, usual.training)?,
            hidden: size(options, "hidden", usual.hidden, 8..=2048)?,
            latent: size(options, "latent", usual.latent, 1..=256)?,
            beta: options.number("beta", usual.beta, 0.001..=100.0)?,
            components: size(options, "components", usual.components, 1..=100)?,
        }))
    }

    /// [`Self::read_vae`] of a `tabular_gan`.
    pub fn read_gan(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let usual = GanParams::default();
        Ok(Self::Gan(GanParams {
            training: TrainingParams::read_descent(options, usual.training)?,
            hidden: size(options, "hidden", usual.hidden, 8..=2048)?,
            noise: size(options, "noise", usual.noise, 1..=1024)?,
            penalty: options.number("penalty", usual.penalty, 0.01..=1000.0)?,
            temperature: options.number("temperature", usual.temperature, 0.05..=5.0)?,
        }))
    }

    /// What holds for any network.
    pub fn training(&self) -> &TrainingParams {
        match self {
            Self::Vae(vae) => &vae.training,
            Self::Gan(gan) => &gan.training,
        }
    }

    /// The algorithm's name.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Vae(_) => "tabular_vae",
            Self::Gan(_) => "tabular_gan",
        }
    }
}
