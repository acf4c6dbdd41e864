//! Weight decay, as a penalty on the squared weights or decoupled from the gradient. Only kernels
//! decay: a bias has no scale that could grow.

use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::Isa;

use super::{CHUNK, scale};

/// Adds the gradient of `decay / 2 * |weights|^2`.
pub(super) fn penalize<'k>(
    isa: Isa,
    decay: f64,
    kernels: impl Iterator<Item = &'k Range<usize>>,
    weights: &[f32],
    gradient: &mut [f32],
) {
    for kernel in kernels {
        let weights = weights[kernel.clone()].par_chunks(CHUNK);
        gradient[kernel.clone()].par_chunks_mut(CHUNK).zip(weights).for_each(
            |(gradient, weights)| isa.vectorize(add_scaled, (decay as f32, weights, gradient)),
        );
    }
}

/// Shrinks the weights by the share `rate * decay` (Loshchilov and Hutter 2019).
pub(super) fn shrink<'k>(
    isa: Isa,
    rate: f64,
    decay: f64,
    kernels: impl Iterator<Item = &'k Range<usize>>,
    weights: &mut [f32],
) {
    let kept = (1.0 - rate * decay) as f32;
    for kernel in kernels {
        weights[kernel.clone()]
            .par_chunks_mut(CHUNK)
            .for_each(|weights| isa.vectorize(scale, (kept, weights)));
    }
}

#[inline(always)]
fn add_scaled((factor, from, to): (f32, &[f32], &mut [f32])) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_decay_and_nothing_else() {
        let mut weights = [1.0f32, -2.0, 3.0, 4.0];
        let mut gradient = [0.5f32; 4];
        penalize(Isa::detect(), 0.1, [0..2, 3..4].iter(), &weights, &mut gradient);
        assert_eq!(gradient, [0.6, 0.3, 0.5, 0.9]);
        shrink(Isa::detect(), 0.5, 0.5, [0..1, 2..4].iter(), &mut weights);
        assert_eq!(weights, [0.75, -2.0, 2.25, 3.0]);
    }
}
