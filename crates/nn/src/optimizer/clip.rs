//! Clipping by the global norm (Pascanu, Mikolov, Bengio 2013): a gradient that is too long keeps
//! its direction and gets the longest length allowed.

use rayon::prelude::*;
use teller_numeric::Isa;

use super::{CHUNK, scale};

/// Sums that are kept side by side, so that vectors of any width add the same numbers.
const LANES: usize = 16;

/// The length of the whole gradient. Chunk by chunk in order, so that threads change no bit of it;
/// `squares` is working memory.
pub(super) fn norm(isa: Isa, gradient: &[f32], squares: &mut Vec<f64>) -> f64 {
    gradient
        .par_chunks(CHUNK)
        .map(|chunk| isa.vectorize(square_sum, chunk))
        .collect_into_vec(squares);
    libm::sqrt(squares.iter().sum())
}

/// Brings the gradient to a length of at most `longest`. One that is not finite is left as it is:
/// the training then ends as diverged.
pub(super) fn clip(isa: Isa, longest: f64, gradient: &mut [f32], squares: &mut Vec<f64>) {
    let norm = norm(isa, gradient, squares);
    if norm > longest {
        let factor = (longest / norm) as f32;
        gradient.par_chunks_mut(CHUNK).for_each(|chunk| isa.vectorize(scale, (factor, chunk)));
    }
}

#[inline(always)]
fn square_sum(chunk: &[f32]) -> f64 {
    let mut sums = [0.0f64; LANES];
    let (whole, rest) = chunk.as_chunks::<LANES>();
    for numbers in whole {
        for (sum, &number) in sums.iter_mut().zip(numbers) {
            *sum += f64::from(number) * f64::from(number);
        }
    }
    for (sum, &number) in sums.iter_mut().zip(rest) {
        *sum += f64::from(number) * f64::from(number);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of every size, more than one chunk of them if asked for.
    fn gradient(len: usize, seed: u64) -> Vec<f32> {
        let mut stream = teller_numeric::Stream::new(seed, "gradient", 0);
        (0..len).map(|_| (stream.normal() * 10.0) as f32).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_norm_is_the_norm(len in 0usize..40_000, seed in any::<u64>()) {
            let gradient = gradient(len, seed);
            let naive = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let first = norm(Isa::SCALAR, &gradient, &mut Vec::new());
            prop_assert!((first - naive).abs() <= 1e-12 * naive);
            for isa in Isa::available() {
                for threads in 1..=4 {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let other = pool.install(|| norm(isa, &gradient, &mut Vec::new()));
                    prop_assert_eq!(first.to_bits(), other.to_bits());
                }
            }
        }

        #[test]
        fn a_long_gradient_is_shortened_and_a_short_one_left(
            len in 1usize..20_000,
            seed in any::<u64>(),
            share in 0.01f64..2.0,
        ) {
            let before = gradient(len, seed);
            let length = norm(Isa::detect(), &before, &mut Vec::new());
            let longest = length * share;
            let mut after = before.clone();
            clip(Isa::detect(), longest, &mut after, &mut Vec::new());
            if share >= 1.0 {
                prop_assert_eq!(before, after);
            } else {
                let now = norm(Isa::detect(), &after, &mut Vec::new());
                prop_assert!((now - longest).abs() < 1e-6 * longest);
                for (before, after) in before.iter().zip(&after) {
                    prop_assert!((f64::from(before * share as f32) - f64::from(*after)).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let mut gradient = [f32::NAN, 1.0];
        clip(Isa::detect(), 1.0, &mut gradient, &mut Vec::new());
        assert!(gradient[0].is_nan());
        let mut gradient = [f32::INFINITY, 1.0];
        clip(Isa::detect(), 1.0, &mut gradient, &mut Vec::new());
        assert!(!gradient[0].is_finite());
    }
}
