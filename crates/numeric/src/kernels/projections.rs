//! Sums of outer products times a vector, without the outer products.

use super::dots::dot;
use super::simd::{Simd, Work};
use super::{Isa, Token};

/// `sums += sum over i of factors[i] (rows[i] . x) rows[i]`, for rows of the length of `x` and of
/// `sums`, one after the other. The dot products are those of [`super::dots`]; what they make of a
/// row is added by a fused multiply-add, row after row.
pub fn add_projections(isa: Isa, x: &[f32], rows: &[f32], factors: &[f32], sums: &mut [f32]) {
    assert_eq!(x.len(), sums.len(), "rows are as long as the sums");
    macro_rules! vectorized {
        ($simd:expr) => {
            $simd.vectorize(Projections { simd: $simd, x, rows, factors, sums })
        };
    }
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(simd) => vectorized!(simd),
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(simd) => vectorized!(simd),
        #[cfg(target_arch = "aarch64")]
        Token::Neon(simd) => vectorized!(simd),
        Token::Scalar(simd) => vectorized!(simd),
    }
}

struct Projections<'a, S> {
    simd: S,
    x: &'a [f32],
    rows: &'a [f32],
    factors: &'a [f32],
    sums: &'a mut [f32],
}

impl<S: Simd> Work for Projections<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // Three times as many vectors are held in registers.
        match self.x.len() / S::LANES {
            4 if self.x.len() == 4 * S::LANES && S::REGISTERS >= 32 => self.held::<4>(),
            2 if self.x.len() == 2 * S::LANES => self.held::<2>(),
            _ => self.any(),
        }
    }
}

impl<S: Simd> Projections<'_, S> {
    /// For rows of so many vectors.
    #[inline(always)]
    fn held<const VECTORS: usize>(self) {
        let Self { simd, x, rows, factors, sums } = self;
        let width = VECTORS * S::LANES;
        assert!(x.len() == width && sums.len() == width);
        let load = |from: &[f32]| {
            let mut vectors = [simd.splat(0.0); VECTORS];
            for (vector, from) in vectors.iter_mut().zip(from.chunks_exact(S::LANES)) {
                // SAFETY: a chunk has as many numbers as a vector.
                *vector = unsafe { simd.load(from.as_ptr()) };
            }
            vectors
        };
        let (x, mut held) = (load(x), load(sums));
        for (row, &factor) in rows.chunks_exact(width).zip(factors) {
            let row = load(row);
            let mut parts = [simd.splat(0.0); 4];
            for vector in 0..VECTORS {
                let part = &mut parts[vector % (16 / S::LANES)];
                *part = simd.add(*part, simd.mul(x[vector], row[vector]));
            }
            let factor = simd.splat(factor * simd.sum16(parts));
            for vector in 0..VECTORS {
                held[vector] = simd.fma(factor, row[vector], held[vector]);
            }
        }
        for (held, to) in held.into_iter().zip(sums.chunks_exact_mut(S::LANES)) {
            // SAFETY: a chunk has as many numbers as a vector.
            unsafe { simd.store(to.as_mut_ptr(), held) };
        }
    }

    #[inline(always)]
    fn any(self) {
        let Self { simd, x, rows, factors, sums } = self;
        for (row, &factor) in rows.chunks_exact(x.len().max(1)).zip(factors) {
            let factor = simd.splat(factor * dot(simd, x, row));
            let (whole, row_rest) = row.split_at(row.len() - row.len() % S::LANES);
            let (sums, sums_rest) = sums.split_at_mut(whole.len());
            for (sums, row) in sums.chunks_exact_mut(S::LANES).zip(whole.chunks_exact(S::LANES)) {
                // SAFETY: chunks have as many numbers as a vector.
                unsafe {
                    let sum = simd.fma(factor, simd.load(row.as_ptr()), simd.load(sums.as_ptr()));
                    simd.store(sums.as_mut_ptr(), sum);
                }
            }
            let mask = simd.mask(row_rest.len());
            // SAFETY: the mask ends where they end.
            unsafe {
                let row = simd.load_masked(mask, row_rest.as_ptr());
                let sum = simd.fma(factor, row, simd.load_masked(mask, sums_rest.as_ptr()));
                simd.store_masked(mask, sums_rest.as_mut_ptr(), sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::dots;

    proptest! {
        #[test]
        fn every_path_adds_in_the_same_order(
            width in prop_oneof![1usize..140, Just(16), Just(32), Just(64)],
            rows in 0usize..20,
            seed in any::<u64>(),
        ) {
            let mut stream = crate::Stream::new(seed, "projections", 0);
            let mut numbers = |count: usize| -> Vec<f32> {
                (0..count).map(|_| 2.0 * stream.uniform() - 1.0).collect()
            };
            let (x, start, factors) = (numbers(width), numbers(width), numbers(rows));
            let matrix = numbers(width * rows);
            let mut products = vec![0f32; rows];
            dots(Isa::SCALAR, &x, &matrix, &mut products);
            let mut expected = start.clone();
            for ((row, factor), product) in matrix.chunks(width).zip(&factors).zip(&products) {
                for (sum, y) in expected.iter_mut().zip(row) {
                    *sum = (factor * product).mul_add(*y, *sum);
                }
            }
            for isa in Isa::available() {
                let mut sums = start.clone();
                add_projections(isa, &x, &matrix, &factors, &mut sums);
                for (sum, expected) in sums.iter().zip(&expected) {
                    prop_assert_eq!(sum.to_bits(), expected.to_bits(), "{}", isa.name());
                }
            }
        }
    }
}
