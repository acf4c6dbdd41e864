//! How well a row was told: what the decoder's outputs mean.

use std::f32::consts::PI;

use serde::{Deserialize, Serialize};
use teller_numeric::{activations, math};

/// The distribution of a row's numbers around what the decoder makes of its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likelihood {
    /// Normal numbers, with a variance for each place that is learned; they are standardized.
    Gaussian,
    /// Numbers from 0 to 1 as probabilities, of which the decoder gives the logits.
    Bernoulli,
}

/// The smallest logarithm of a variance: numbers of few digits would be known without end.
const LEAST_LOG_VARIANCE: f32 = -9.0;

impl Likelihood {
    pub(super) const NAMES: [(&'static str, Self); 2] =
        [("gaussian", Self::Gaussian), ("bernoulli", Self::Bernoulli)];

    /// The variances of a row's places, of which some have none.
    pub(super) fn variances(log_variances: &[f32]) -> Vec<f32> {
        log_variances.iter().map(|s| math::exp(s.max(LEAST_LOG_VARIANCE))).collect()
    }

    /// The row's negative log-likelihood in nats; `output` becomes the gradient of that.
    /// `terms` is as long as a row, to work in.
    #[inline(always)]
    pub(super) fn loss(
        self,
        input: &[f32],
        variances: &[f32],
        output: &mut [f32],
        terms: &mut [f32],
    ) {
        match self {
            Self::Bernoulli => {
                for ((&x, to), term) in input.iter().zip(output).zip(terms) {
                    let logit = *to;
                    *term = logit.max(0.0) - x * logit + math::ln(1.0 + math::exp(-logit.abs()));
                    *to = activations::sigmoid(logit) - x;
                }
            }
            Self::Gaussian => {
                let rows = input.iter().zip(output).zip(variances);
                for (((&x, to), &variance), term) in rows.zip(terms) {
                    let off = *to - x;
                    *to = off / variance;
                    *term = 0.5 * (off * *to + math::ln(2.0 * PI * variance));
                }
            }
        }
    }

    /// How far a number that was told is from the row's, by the gradient that [`Self::loss`] gave.
    #[inline(always)]
    pub(super) fn squared_errors(self, gradient: &[f32], variances: &[f32], terms: &mut [f32]) {
        match self {
            Self::Bernoulli => {
                terms.iter_mut().zip(gradient).for_each(|(to, off)| *to = off * off);
            }
            Self::Gaussian => {
                for ((to, gradient), variance) in terms.iter_mut().zip(gradient).zip(variances) {
                    let off = gradient * variance;
                    *to = off * off;
                }
            }
        }
    }

    /// Adds a batch's gradient to the logarithms of the variances to `sums`; `gradients` are those
    /// of the mean loss to the outputs, of rows whose weight in the mean is `weight`.
    pub(super) fn log_variance_gradient(
        gradients: &[f32],
        variances: &[f32],
        log_variances: &[f32],
        weight: f32,
        sums: &mut [f32],
    ) {
        sums.fill(0.0);
        for row in gradients.chunks_exact(sums.len().max(1)) {
            for ((sum, gradient), variance) in sums.iter_mut().zip(row).zip(variances) {
                *sum += 0.5 * (weight - gradient * gradient * variance / weight);
            }
        }
        // One that is at its end does not go on.
        for (sum, s) in sums.iter_mut().zip(log_variances) {
            if *s <= LEAST_LOG_VARIANCE && *sum > 0.0 {
                *sum = 0.0;
            }
        }
    }

    /// The decoder's outputs as the numbers that they tell.
    #[inline(always)]
    pub(super) fn tell(self, outputs: &mut [f32]) {
        if self == Self::Bernoulli {
            outputs.iter_mut().for_each(|to| *to = activations::sigmoid(*to));
        }
    }
}

/// The divergence of a code from the normal distribution, in nats; `code` has the means, then the
/// logarithms of the variances.
pub(super) fn divergence(code: &[f32]) -> f64 {
    let (means, log_variances) = code.split_at(code.len() / 2);
    let terms = means
        .iter()
        .zip(log_variances)
        .map(|(&mean, &s)| f64::from(0.5 * (mean * mean + math::exp(s) - 1.0 - s)));
    terms.sum()
}
