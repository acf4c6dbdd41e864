//! How an autoencoder is trained.

use teller_numeric::{OptionError, Options};

use super::Likelihood;
use crate::{EarlyStopping, Monitor, TrainingParams};

/// Checked parameters of a variational autoencoder.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoencoderParams {
    /// What holds for any network; labels there are none.
    pub training: TrainingParams,
    /// `likelihood`: what the numbers are taken for, `gaussian` (the default for features) or
    /// `bernoulli` (for images).
    pub likelihood: Likelihood,
    /// `hidden` units of each of the encoder's and the decoder's two dense layers, of which a
    /// convolutional one has one, 8 to 2048 (512).
    pub hidden: usize,
    /// Of a `network` that is `convolutional` and not `dense` (the default), the channels next to
    /// the image, of which each halving of its sides makes twice as many: `filters`, 4 to 256 (32).
    pub filters: Option<usize>,
    /// `latent` numbers of a code, 1 to 256 (20).
    pub latent: usize,
    /// Weight of the codes' divergence from a normal distribution: `beta`, 0.001 to 100 (1).
    pub beta: f64,
    /// Share of the training in which that weight grows from 0: `beta_warmup`, 0 to 1 (0.1).
    pub beta_warmup: f64,
}

impl AutoencoderParams {
    /// The defaults for data that are by default taken for this.
    pub fn of(likelihood: Likelihood) -> Self {
        let stopping = EarlyStopping { patience: 10, monitor: Monitor::Loss, min_delta: 0.0 };
        let training = TrainingParams {
            epochs: 40,
            batch_size: 128,
            learning_rate: 0.001,
            stopping,
            ..TrainingParams::default()
        };
        Self {
            training,
            likelihood,
            hidden: 512,
            filters: None,
            latent: 20,
            beta: 1.0,
            beta_warmup: 0.1,
        }
    }

    /// Reads the parameters among whatever else the caller reads from the same options; the
    /// caller finishes them. What is not given is as in `default`.
    pub fn read(options: &mut Options<'_>, default: Self) -> Result<Self, OptionError> {
        let mut training = TrainingParams::read_descent(options, default.training)?;
        let patience = training.stopping.patience.into();
        training.stopping.patience = options.integer("patience", patience, 0..=10_000)? as u32;
        let mut choices = Likelihood::NAMES;
        choices.sort_by_key(|(_, likelihood)| *likelihood != default.likelihood);
        let hidden = options.integer("hidden", default.hidden as i64, 8..=2048)?;
        let convolutional =
            options.choice("network", &[("dense", false), ("convolutional", true)])?;
        let filters = match convolutional {
            true => Some(options.integer("filters", 32, 4..=256)? as usize),
            false => None,
        };
        let latent = options.integer("latent", default.latent as i64, 1..=256)?;
        Ok(Self {
            training,
            likelihood: options.choice("likelihood", &choices)?,
            hidden: hidden as usize,
            filters,
            latent: latent as usize,
            beta: options.number("beta", default.beta, 0.001..=100.0)?,
            beta_warmup: options.number("beta_warmup", default.beta_warmup, 0.0..=1.0)?,
        })
    }

    /// The weight of the divergence after so many of all `rows` that the training goes through.
    pub(super) fn beta_after(&self, seen: u64, rows: u64) -> f64 {
        let warm = self.beta_warmup * rows as f64;
        if (seen as f64) < warm { self.beta * seen as f64 / warm } else { self.beta }
    }
}
