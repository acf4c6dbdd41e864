//! Dot products of one vector with many. Each has 16 sums, every sixteenth product in one, added up
//! by halves; products are rounded before they are added: the same bits on every path, and those of
//! the simplest loop over 16 lanes.

use super::prefetch::prefetch;
use super::simd::{Simd, Work};
use super::{Isa, Token};

/// Sums that a dot product has.
const SUMS: usize = 16;
/// Rows from anywhere that are asked for before they are read.
const AHEAD: usize = 12;

/// `out[i] = rows[i] . vector` for rows of the vector's length, one after the other.
pub fn dots(isa: Isa, vector: &[f32], rows: &[f32], out: &mut [f32]) {
    let row = |at: usize| rows.get(at * vector.len()..(at + 1) * vector.len());
    run(isa, vector, row, |_| {}, out);
}

/// `out[i] = rows[indexes[i]] . vector` for rows of the vector's length; 0 for what lies beyond them.
pub fn dots_at(isa: Isa, vector: &[f32], rows: &[f32], indexes: &[u32], out: &mut [f32]) {
    let row = |at: usize| {
        let start = *indexes.get(at)? as usize * vector.len();
        rows.get(start..start + vector.len())
    };
    run(isa, vector, row, |at| row(at + AHEAD).into_iter().for_each(prefetch), out);
}

fn run<'r>(
    isa: Isa,
    vector: &[f32],
    row: impl Fn(usize) -> Option<&'r [f32]>,
    soon: impl Fn(usize),
    out: &mut [f32],
) {
    macro_rules! vectorized {
        ($simd:expr) => {
            $simd.vectorize(Dots { simd: $simd, vector, row, soon, out })
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

struct Dots<'a, S, R, N> {
    simd: S,
    vector: &'a [f32],
    row: R,
    soon: N,
    out: &'a mut [f32],
}

impl<'r, S: Simd, R: Fn(usize) -> Option<&'r [f32]>, N: Fn(usize)> Work for Dots<'_, S, R, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { simd, vector, row, soon, out } = self;
        for (at, out) in out.iter_mut().enumerate() {
            soon(at);
            *out = row(at).map_or(0.0, |row| dot(simd, vector, row));
        }
    }
}

#[inline(always)]
pub(super) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let whole = len - len % SUMS;
    let vectors = SUMS / S::LANES;
    let mut sums = [simd.splat(0.0); 4];
    for first in (0..whole).step_by(SUMS) {
        for (part, sum) in sums[..vectors].iter_mut().enumerate() {
            let at = first + part * S::LANES;
            // SAFETY: the sixteen numbers from `first` on are within both.
            let (a, b) = unsafe { (simd.load(a.as_ptr().add(at)), simd.load(b.as_ptr().add(at))) };
            *sum = simd.add(*sum, simd.mul(a, b));
        }
    }
    let mut at = whole;
    for sum in &mut sums[..vectors] {
        if at < len {
            let mask = simd.mask((len - at).min(S::LANES));
            // SAFETY: the mask ends where they end.
            let (a, b) = unsafe {
                (
                    simd.load_masked(mask, a.as_ptr().add(at)),
                    simd.load_masked(mask, b.as_ptr().add(at)),
                )
            };
            // What is masked adds 0 to a sum that is never -0.
            *sum = simd.add(*sum, simd.mul(a, b));
        }
        at += S::LANES;
    }
    simd.sum16(sums)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the module says it.
    fn plain(a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0f32; SUMS];
        for (at, (a, b)) in a.iter().zip(b).enumerate() {
            sums[at % SUMS] += a * b;
        }
        for half in [8, 4, 2, 1] {
            for at in 0..half {
                sums[at] += sums[at + half];
            }
        }
        sums[0]
    }

    proptest! {
        #[test]
        fn every_path_adds_in_the_same_order(
            width in 0usize..140,
            rows in 0usize..20,
            seed in any::<u64>(),
        ) {
            let mut stream = crate::Stream::new(seed, "dots", 0);
            let mut number = || match stream.below(9) {
                0 => -0.0,
                1 => f32::MIN_POSITIVE / 3.0,
                _ => 2.0 * stream.uniform() - 1.0,
            };
            let vector: Vec<f32> = (0..width).map(|_| number()).collect();
            let matrix: Vec<f32> = (0..width * rows).map(|_| number()).collect();
            let indexes: Vec<u32> = (0..30u32).map(|at| at * 17 % (rows as u32 + 2)).collect();
            for isa in Isa::available() {
                let mut out = vec![f32::NAN; rows];
                dots(isa, &vector, &matrix, &mut out);
                for (row, out) in out.iter().enumerate() {
                    let expected = plain(&vector, &matrix[row * width..(row + 1) * width]);
                    prop_assert_eq!(out.to_bits(), expected.to_bits(), "{}", isa.name());
                }
                let mut out = vec![f32::NAN; indexes.len()];
                dots_at(isa, &vector, &matrix, &indexes, &mut out);
                for (&row, out) in indexes.iter().zip(&out) {
                    let row = row as usize * width..(row as usize + 1) * width;
                    let expected = matrix.get(row).map_or(0.0, |row| plain(&vector, row));
                    prop_assert_eq!(out.to_bits(), expected.to_bits(), "{}", isa.name());
                }
            }
        }
    }
}
