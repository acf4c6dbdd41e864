//! From gradients to new weights.

mod adam;
mod clip;
mod decay;
mod schedule;
mod sgd;

use std::ops::Range;

use rayon::prelude::*;
pub(crate) use schedule::Pace;
pub use schedule::Schedule;
use teller_numeric::{Isa, OptionError, Options};

use crate::Error;
use crate::floats::Floats;

/// Weights that one task updates.
const CHUNK: usize = 1 << 14;

/// The rule by which weights follow their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Kingma and Ba 2015, with epsilon 1e-7.
    Adam,
    /// Adam whose weight decay is no part of the gradient (Loshchilov and Hutter 2019).
    AdamW,
    /// Stochastic gradient descent; each step adds `momentum` times the last one.
    Sgd {
        /// At least 0, less than 1.
        momentum: f64,
        /// Whether the gradient's step is taken from where the momentum leads.
        nesterov: bool,
    },
}

/// How weights are updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateRule {
    /// `optimizer`: `adam`, `adamw`, or `sgd` with `momentum`, 0 to 0.999 (0.9), and `nesterov`
    /// (false).
    pub optimizer: Optimizer,
    /// `weight_decay` of the kernels, 0 to 1 (0.01 for `adamw`, else 0): for `adamw` the share of
    /// the learning rate by which they shrink in a step, else a penalty in the loss.
    pub weight_decay: f64,
    /// `clip_norm`: longest gradient, 1e-6 to 1e6; longer ones are shortened. Absent for none.
    pub clip_norm: Option<f64>,
    /// Decay rates of Adam's mean and mean square: `beta1` (0.9) and `beta2` (0.999), 0 to 0.9999.
    pub betas: [f32; 2],
}

impl Default for UpdateRule {
    fn default() -> Self {
        Self { optimizer: Optimizer::Adam, weight_decay: 0.0, clip_norm: None, betas: adam::BETAS }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Adam,
    AdamW,
    Sgd,
}

impl Optimizer {
    fn kind(self) -> Kind {
        match self {
            Self::Adam => Kind::Adam,
            Self::AdamW => Kind::AdamW,
            Self::Sgd { .. } => Kind::Sgd,
        }
    }
}

impl UpdateRule {
    /// What is not given is as in `default`.
    pub(crate) fn read(options: &mut Options<'_>, default: Self) -> Result<Self, OptionError> {
        let usual_kind = default.optimizer.kind();
        let mut choices = [("adam", Kind::Adam), ("adamw", Kind::AdamW), ("sgd", Kind::Sgd)];
        choices.sort_by_key(|(_, kind)| *kind != usual_kind);
        let kind = options.choice("optimizer", &choices)?;
        let momentum = options.number("momentum", 0.9, 0.0..=0.999)?;
        let nesterov = options.boolean("nesterov", false)?;
        for name in ["momentum", "nesterov"] {
            if let (true, Some(given)) = (kind != Kind::Sgd, options.value(name)) {
                let expected = "absent unless \"optimizer\" is \"sgd\"".to_owned();
                return Err(options.invalid(name, given, expected));
            }
        }
        let [usual1, usual2] = default.betas.map(f64::from);
        let betas = [
            options.number("beta1", usual1, 0.0..=0.9999)? as f32,
            options.number("beta2", usual2, 0.0..=0.9999)? as f32,
        ];
        for name in ["beta1", "beta2"] {
            if let (Kind::Sgd, Some(given)) = (kind, options.value(name)) {
                let expected = "absent if \"optimizer\" is \"sgd\"".to_owned();
                return Err(options.invalid(name, given, expected));
            }
        }
        let usual = match kind {
            _ if kind == usual_kind => default.weight_decay,
            Kind::AdamW => 0.01,
            Kind::Adam | Kind::Sgd => 0.0,
        };
        let weight_decay = options.number("weight_decay", usual, 0.0..=1.0)?;
        let clip_norm = match options.value("clip_norm") {
            None => default.clip_norm,
            Some(_) => Some(options.number("clip_norm", 1.0, 1e-6..=1e6)?),
        };
        let optimizer = match kind {
            Kind::Adam => Optimizer::Adam,
            Kind::AdamW => Optimizer::AdamW,
            Kind::Sgd => Optimizer::Sgd { momentum, nesterov },
        };
        Ok(Self { optimizer, weight_decay, clip_norm, betas })
    }

    /// Numbers that it remembers for each weight.
    pub(crate) fn moments(&self) -> usize {
        match self.optimizer {
            Optimizer::Adam | Optimizer::AdamW => 2,
            Optimizer::Sgd { .. } => 1,
        }
    }

    /// For so many weights, of which those in `trained` change and the `kernels` decay.
    pub(crate) fn start(
        self,
        weights: usize,
        trained: Vec<Range<usize>>,
        kernels: Vec<Range<usize>>,
    ) -> Result<OptimizerState, Error> {
        let second = if self.moments() > 1 { weights } else { 0 };
        let (first, second) = (Floats::zeros(weights)?, Floats::zeros(second)?);
        let squares = Vec::with_capacity(weights.div_ceil(CHUNK));
        Ok(OptimizerState { rule: self, trained, kernels, steps: 0, first, second, squares })
    }
}

/// An update rule with what it remembers of earlier steps.
#[derive(Debug)]
pub(crate) struct OptimizerState {
    rule: UpdateRule,
    trained: Vec<Range<usize>>,
    kernels: Vec<Range<usize>>,
    steps: u64,
    first: Floats,
    second: Floats,
    /// Working memory of the clipping.
    squares: Vec<f64>,
}

impl OptimizerState {
    /// What it remembers, as a checkpoint keeps it.
    pub(crate) fn moments(&self) -> [&[f32]; 2] {
        [&self.first, &self.second]
    }

    /// Whether it leaves what is 0 in a gradient as it is.
    pub(crate) fn keeps_zeros(&self) -> bool {
        self.rule.weight_decay == 0.0 || self.rule.optimizer == Optimizer::AdamW
    }

    /// Stands where it stood after so many steps; the moments are as long as its own.
    pub(crate) fn resume(&mut self, steps: u64, first: &[f32], second: &[f32]) {
        self.steps = steps;
        self.first.copy_from_slice(first);
        self.second.copy_from_slice(second);
    }

    /// One step, which may change the gradient; weights are independent of each other, so the
    /// chunks change no bits.
    pub(crate) fn update(
        &mut self,
        isa: Isa,
        rate: f64,
        weights: &mut [f32],
        gradient: &mut [f32],
    ) {
        self.begin_step();
        self.update_part(isa, rate, 0..weights.len(), weights, gradient);
    }

    /// Counts a step that is then taken part by part.
    pub(crate) fn begin_step(&mut self) {
        self.steps += 1;
    }

    /// A step of the weights in `part` alone, whose gradient is clipped by itself. No kernel or
    /// trained range may lie across its ends.
    pub(crate) fn update_part(
        &mut self,
        isa: Isa,
        rate: f64,
        part: Range<usize>,
        weights: &mut [f32],
        gradient: &mut [f32],
    ) {
        let UpdateRule { optimizer, weight_decay, clip_norm, betas } = self.rule;
        let inside = |range: &&Range<usize>| part.start <= range.start && range.end <= part.end;
        if let Some(longest) = clip_norm {
            clip::clip(isa, longest, &mut gradient[part.clone()], &mut self.squares);
        }
        if weight_decay > 0.0 {
            let kernels = self.kernels.iter().filter(inside);
            if optimizer == Optimizer::AdamW {
                decay::shrink(isa, rate, weight_decay, kernels, weights);
            } else {
                decay::penalize(isa, weight_decay, kernels, weights, gradient);
            }
        }
        for range in self.trained.iter().filter(inside) {
            let chunks = weights[range.clone()]
                .par_chunks_mut(CHUNK)
                .zip(gradient[range.clone()].par_chunks(CHUNK))
                .zip(self.first[range.clone()].par_chunks_mut(CHUNK));
            match optimizer {
                Optimizer::Adam | Optimizer::AdamW => {
                    let rates = adam::Rates::new(rate, self.steps, betas);
                    let second = self.second[range.clone()].par_chunks_mut(CHUNK);
                    chunks.zip(second).for_each(|(((weights, gradient), mean), square)| {
                        isa.vectorize(adam::update, (rates, weights, gradient, mean, square));
                    });
                }
                Optimizer::Sgd { momentum, nesterov } => {
                    let rates = sgd::Rates { rate: rate as f32, momentum: momentum as f32 };
                    chunks.for_each(|((weights, gradient), velocity)| {
                        let arguments = (rates, weights, gradient, velocity);
                        if nesterov {
                            isa.vectorize(sgd::update_nesterov, arguments);
                        } else {
                            isa.vectorize(sgd::update, arguments);
                        }
                    });
                }
            }
        }
    }
}

#[inline(always)]
fn scale((factor, numbers): (f32, &mut [f32])) {
    for number in numbers {
        *number *= factor;
    }
}

#[cfg(test)]
mod tests;
