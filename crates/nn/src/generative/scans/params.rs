//! How generators of images are trained.

use teller_numeric::{OptionError, Options};

use crate::generative::params::size;
use crate::{Schedule, TrainingParams, UpdateRule};

/// Checked parameters of a `gan`.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageGanParams {
    /// What holds for any network.
    pub training: TrainingParams,
    /// Channels next to the image, twice as many with each halving of its sides: `filters`, 4 to
    /// 256 (16).
    pub filters: usize,
    /// Random numbers that an image is made of: `noise`, 1 to 1024 (64).
    pub noise: usize,
    /// Weight of the critic's `penalty` for slopes other than 1, 0.01 to 1000 (10).
    pub penalty: f64,
}

impl Default for ImageGanParams {
    fn default() -> Self {
        let update = UpdateRule { betas: [0.0, 0.9], ..UpdateRule::default() };
        let training = TrainingParams {
            epochs: 20,
            batch_size: 32,
            learning_rate: 0.001,
            update,
            schedule: Schedule::Stable { decay: 0.4 },
            ..TrainingParams::default()
        };
        Self { training, filters: 16, noise: 64, penalty: 10.0 }
    }
}

impl ImageGanParams {
    /// Reads the parameters among whatever else the caller reads from the same options; the
    /// caller finishes them.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let usual = Self::default();
        Ok(Self {
            training: TrainingParams::read_descent(options, usual.training)?,
            filters: size(options, "filters", usual.filters, 4..=256)?,
            noise: size(options, "noise", usual.noise, 1..=1024)?,
            penalty: options.number("penalty", usual.penalty, 0.01..=1000.0)?,
        })
    }
}
