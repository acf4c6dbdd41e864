//! A generative adversarial network of table rows: a Wasserstein critic with a penalty on its
//! gradient (Gulrajani et al. 2017), and a generator whose choices are softened by Gumbel noise
//! (Jang et al. 2017), both told the label (Xu et al. 2019). They learn in turns, and what is kept is
//! a moving average of the generator.

mod batch_norm;
mod critic;
mod generator;
mod heads;
mod learner;
mod sampler;

use std::ops::Range;

use critic::Critic;
pub(super) use generator::{Generator, Statistics};
pub(super) use learner::{GanLearner, floats_of_a_row};
pub(super) use sampler::GanSampler;

use super::params::GanParams;
use super::table::TableEncoding;

/// The networks, and where their weights lie.
#[derive(Clone, Debug)]
pub(super) struct GanNet {
    critic: Critic,
    pub(super) generator: Generator,
    /// Of the generator, and of its moving average, which no gradient moves.
    generated: Range<usize>,
    averaged: Range<usize>,
}

impl GanNet {
    pub(super) fn new(encoding: &TableEncoding, params: &GanParams) -> Self {
        let GanParams { hidden, noise, .. } = *params;
        let condition = encoding.condition();
        let mut critics = 0;
        let critic = Critic::place(encoding.width, condition, hidden, &mut critics);
        let generator = Generator::new(noise, condition, hidden, encoding.width);
        let generated = critics..critics + generator.weights;
        let averaged = generated.end..generated.end + generator.weights;
        Self { critic, generator, generated, averaged }
    }

    /// All weights.
    pub(super) fn weights(&self) -> usize {
        self.averaged.end
    }
}
