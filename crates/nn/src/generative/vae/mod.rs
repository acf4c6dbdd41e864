//! A variational autoencoder of table rows (Kingma and Welling 2014; of tables, Xu et al. 2019):
//! after training, codes are drawn from a mixture fitted to those of the real rows, label by label.

mod learner;
mod mixture;
mod sampler;

pub(super) use learner::{VaeLearner, floats_of_a_row};
pub(super) use mixture::Mixture;
pub(super) use sampler::VaeSampler;
use teller_numeric::Stream;

use super::params::VaeParams;
use super::perceptron::Perceptron;
use super::table::TableEncoding;

/// The layers, and where their weights lie.
#[derive(Clone, Debug)]
pub(super) struct VaeNet {
    pub(super) latent: usize,
    pub(super) encoder: Perceptron,
    pub(super) decoder: Perceptron,
    /// Of each number of an encoded row, the logarithm of the variance around its mean.
    pub(super) log_variances: std::ops::Range<usize>,
    pub(super) weights: usize,
}

/// The smallest logarithm of a variance: numbers of few digits would be known without end.
const LEAST_LOG_VARIANCE: f32 = -9.0;

impl VaeNet {
    pub(super) fn new(encoding: &TableEncoding, params: &VaeParams) -> Self {
        let VaeParams { hidden, latent, .. } = *params;
        let (width, condition) = (encoding.width, encoding.condition());
        let mut at = 0;
        let encoder = Perceptron::place(width + condition, hidden, 2 * latent, &mut at);
        let decoder = Perceptron::place(latent + condition, hidden, width, &mut at);
        // The decoder and these are what a sampler keeps.
        let log_variances = at..at + encoding.numbers();
        Self { latent, encoder, decoder, weights: log_variances.end, log_variances }
    }

    fn initialize(&self, seed: u64, weights: &mut [f32]) {
        self.encoder.initialize(&mut Stream::new(seed, "initial encoder", 0), weights);
        self.decoder.initialize(&mut Stream::new(seed, "initial decoder", 0), weights);
    }

    /// Those that weight decay shrinks.
    fn kernels(&self) -> Vec<std::ops::Range<usize>> {
        let layers = self.encoder.layers.iter().chain(&self.decoder.layers);
        layers.map(|layer| layer.kernel.clone()).collect()
    }
}
