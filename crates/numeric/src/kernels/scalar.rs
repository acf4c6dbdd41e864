//! The portable implementation: the one that all others must equal bit by bit.

use super::simd::{Simd, Work};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scalar;

/// Lanes are only a loop here; four of them amortize the loop's own cost.
const LANES: usize = 4;

impl Simd for Scalar {
    type Vector = [f32; LANES];
    type Mask = usize;

    const LANES: usize = LANES;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }

    #[inline(always)]
    fn fma(self, a: Self::Vector, b: Self::Vector, sum: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| a[i].mul_add(b[i], sum[i]))
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn sum16(self, [a, b, c, d]: [Self::Vector; 4]) -> f32 {
        let four = self.add(self.add(a, c), self.add(b, d));
        (four[0] + four[2]) + (four[1] + four[3])
    }

    #[inline(always)]
    fn if_greater(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector {
        std::array::from_fn(|i| if a[i] > b[i] { yes[i] } else { no[i] })
    }

    #[inline(always)]
    fn if_equal(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector {
        std::array::from_fn(|i| if a[i] == b[i] { yes[i] } else { no[i] })
    }

    #[inline(always)]
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn mask(self, lanes: usize) -> usize {
        lanes
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::Vector {
        // SAFETY: the caller grants LANES floats; arrays of floats need no more alignment.
        unsafe { from.cast::<[f32; LANES]>().read() }
    }

    #[inline(always)]
    unsafe fn load_masked(self, lanes: usize, from: *const f32) -> Self::Vector {
        // SAFETY: the caller grants the first `lanes` floats.
        std::array::from_fn(|i| if i < lanes { unsafe { *from.add(i) } } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: Self::Vector) {
        // SAFETY: the caller grants LANES floats.
        unsafe { to.cast::<[f32; LANES]>().write(vector) }
    }

    #[inline(always)]
    unsafe fn store_masked(self, lanes: usize, to: *mut f32, vector: Self::Vector) {
        for (i, value) in vector.into_iter().enumerate().take(lanes) {
            // SAFETY: the caller grants the first `lanes` floats.
            unsafe { *to.add(i) = value }
        }
    }

    #[inline(always)]
    fn vectorize<W: Work>(self, work: W) -> W::Output {
        work.run()
    }
}
