//! The layers of an autoencoder, and where their weights lie.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use teller_numeric::Stream;

use super::{AutoencoderParams, Likelihood};
use crate::Error;
use crate::generative::affine::Affine;
use crate::generative::perceptron::Perceptron;

/// What an autoencoder is, beside its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderLayout {
    /// Numbers of a row.
    pub width: usize,
    /// Units of a hidden layer.
    pub hidden: usize,
    /// Numbers of a code.
    pub latent: usize,
    /// What the numbers are taken for.
    pub likelihood: Likelihood,
}

/// The most numbers of a row.
pub(super) const MOST_NUMBERS: usize = 1 << 18;

impl AutoencoderLayout {
    /// For rows of `width` numbers.
    pub fn new(params: &AutoencoderParams, width: usize) -> Self {
        let AutoencoderParams { likelihood, hidden, latent, .. } = *params;
        Self { width, hidden, latent, likelihood }
    }

    /// Untrusted, so what no training gives is refused.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (what, needed, limit) in [
            ("numbers of a row", self.width, MOST_NUMBERS),
            ("hidden units", self.hidden, 2048),
            ("numbers of a code", self.latent, 256),
        ] {
            if !(1..=limit).contains(&needed) {
                let (needed, limit) = (needed as u64, limit as u64);
                return Err(Error::TooLarge { what, needed, limit });
            }
        }
        Ok(())
    }
}

/// The layers.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    pub(super) layout: AutoencoderLayout,
    /// From a row to means and logarithms of the variances of its code.
    pub(super) encoder: Perceptron,
    /// From a code to what the likelihood makes of it.
    pub(super) decoder: Perceptron,
    /// Of each number of a row, where it is normal, the logarithm of the variance.
    pub(super) log_variances: Range<usize>,
    /// All.
    pub(super) weights: usize,
}

impl Layers {
    pub(super) fn new(layout: AutoencoderLayout) -> Self {
        let AutoencoderLayout { width, hidden, latent, likelihood } = layout;
        let mut at = 0;
        let encoder = Perceptron::place(width, hidden, 2 * latent, &mut at);
        let decoder = Perceptron::place(latent, hidden, width, &mut at);
        let weights = at + if likelihood == Likelihood::Gaussian { width } else { 0 };
        Self { layout, encoder, decoder, log_variances: at..weights, weights }
    }

    pub(super) fn initialize(&self, seed: u64, weights: &mut [f32]) {
        self.encoder.initialize(&mut Stream::new(seed, "initial encoder", 0), weights);
        self.decoder.initialize(&mut Stream::new(seed, "initial decoder", 0), weights);
    }

    fn layers(&self) -> impl Iterator<Item = &Affine> {
        self.encoder.layers.iter().chain(&self.decoder.layers)
    }

    /// Those that weight decay shrinks.
    pub(super) fn kernels(&self) -> Vec<Range<usize>> {
        self.layers().map(|layer| layer.kernel.clone()).collect()
    }

    /// The largest kernel.
    pub(super) fn widest(&self) -> usize {
        self.layers().map(|layer| layer.kernel.len()).fold(0, usize::max)
    }

    /// Names, shapes and places of all that is trained.
    pub(super) fn arrays(&self) -> Vec<(String, Vec<usize>, Range<usize>)> {
        let mut arrays = Vec::new();
        for (part, perceptron) in [("encoder", &self.encoder), ("decoder", &self.decoder)] {
            for (number, layer) in perceptron.layers.iter().enumerate() {
                let name = |array| format!("{part}.{number}.dense.{array}");
                let shape = vec![layer.inputs, layer.units];
                arrays.push((name("kernel"), shape, layer.kernel.clone()));
                arrays.push((name("bias"), vec![layer.units], layer.bias.clone()));
            }
        }
        if !self.log_variances.is_empty() {
            let shape = vec![self.log_variances.len()];
            arrays.push(("log_variances".to_owned(), shape, self.log_variances.clone()));
        }
        arrays
    }
}
