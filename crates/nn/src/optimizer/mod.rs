//! From gradients to new weights.

mod adam;
mod schedule;
mod sgd;

use rayon::prelude::*;
pub use schedule::Schedule;
use teller_numeric::Isa;

use crate::Error;
use crate::floats::Floats;

/// Weights that one task updates.
const CHUNK: usize = 1 << 14;

/// The rule by which weights follow their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Kingma and Ba 2015, with decay rates 0.9 and 0.999 and epsilon 1e-7.
    Adam,
    /// Stochastic gradient descent; each step adds `momentum` times the last one.
    Sgd {
        /// At least 0, less than 1.
        momentum: f64,
    },
}

/// An optimizer with what it remembers of earlier steps.
#[derive(Debug)]
pub(crate) struct OptimizerState {
    optimizer: Optimizer,
    steps: u64,
    first: Floats,
    second: Floats,
}

impl Optimizer {
    /// Numbers that it remembers for each weight.
    pub(crate) fn moments(self) -> usize {
        match self {
            Optimizer::Adam => 2,
            Optimizer::Sgd { .. } => 1,
        }
    }

    pub(crate) fn start(self, weights: usize) -> Result<OptimizerState, Error> {
        let second = if self.moments() > 1 { weights } else { 0 };
        let (first, second) = (Floats::zeros(weights)?, Floats::zeros(second)?);
        Ok(OptimizerState { optimizer: self, steps: 0, first, second })
    }
}

impl OptimizerState {
    /// What it remembers, as a checkpoint keeps it.
    pub(crate) fn moments(&self) -> [&[f32]; 2] {
        [&self.first, &self.second]
    }

    /// Stands where it stood after so many steps; the moments are as long as its own.
    pub(crate) fn resume(&mut self, steps: u64, first: &[f32], second: &[f32]) {
        self.steps = steps;
        self.first.copy_from_slice(first);
        self.second.copy_from_slice(second);
    }

    /// One step; weights are independent of each other, so the chunks change no bits.
    pub(crate) fn update(&mut self, isa: Isa, rate: f64, weights: &mut [f32], gradient: &[f32]) {
        self.steps += 1;
        let chunks = weights
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(self.first.par_chunks_mut(CHUNK));
        match self.optimizer {
            Optimizer::Adam => {
                let rates = adam::Rates::new(rate, self.steps);
                chunks.zip(self.second.par_chunks_mut(CHUNK)).for_each(
                    |(((weights, gradient), mean), square)| {
                        isa.vectorize(adam::update, (rates, weights, gradient, mean, square));
                    },
                );
            }
            Optimizer::Sgd { momentum } => {
                let (rate, momentum) = (rate as f32, momentum as f32);
                chunks.for_each(|((weights, gradient), velocity)| {
                    isa.vectorize(sgd::update, (rate, momentum, weights, gradient, velocity));
                });
            }
        }
    }
}
