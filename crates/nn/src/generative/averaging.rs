//! The moving average of a generator's weights, which makes better rows than the last ones.

use rayon::prelude::*;
use teller_numeric::Isa;

/// Weights that one task averages.
const CHUNK: usize = 1 << 14;

/// Moves the averages by a share of the way to the weights.
pub(super) fn follow(isa: Isa, share: f32, weights: &[f32], averages: &mut [f32]) {
    let parts = weights.par_chunks(CHUNK).zip(averages.par_chunks_mut(CHUNK));
    parts.for_each(|(weights, averages)| {
        isa.vectorize(follow_loop, (share, weights, averages));
    });
}

#[inline(always)]
fn follow_loop((share, weights, averages): (f32, &[f32], &mut [f32])) {
    for (average, weight) in averages.iter_mut().zip(weights) {
        *average += share * (weight - *average);
    }
}
