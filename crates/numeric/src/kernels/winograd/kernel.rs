//! Kernels and their gradient.

#![allow(clippy::needless_range_loop)] // The loops over registers read best by index.

use crate::kernels::lanes::{Lanes, Pass};
use crate::kernels::simd::Simd;

pub(super) struct Kernel {
    pub(super) from: *const f32,
    pub(super) to: *mut f32,
    pub(super) len: usize,
}

/// `G x`: `x0, (x0 + x1 + x2) / 2, (x0 - x1 + x2) / 2, x2`.
#[inline(always)]
fn spread<S: Simd>(simd: S, x: [S::Vector; 3]) -> [S::Vector; 4] {
    let half = simd.splat(0.5);
    let outer = simd.fma(half, simd.add(x[0], x[2]), simd.splat(0.0));
    [x[0], simd.fma(half, x[1], outer), simd.fma(simd.splat(-0.5), x[1], outer), x[2]]
}

impl Pass for Kernel {
    fn channels(&self) -> usize {
        self.len
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let simd = lanes.simd;
        let mut rows = [[simd.splat(0.0); 3]; 4];
        for column in 0..3 {
            let mut x = [simd.splat(0.0); 3];
            for row in 0..3 {
                // SAFETY: there are 9 times `len` floats.
                x[row] =
                    unsafe { lanes.load(self.from.wrapping_add((3 * row + column) * self.len)) };
            }
            let x = spread(simd, x);
            for row in 0..4 {
                rows[row][column] = x[row];
            }
        }
        for row in 0..4 {
            let x = spread(simd, rows[row]);
            for column in 0..4 {
                let to = self.to.wrapping_add((4 * row + column) * self.len);
                // SAFETY: there are 16 times `len` floats.
                unsafe { lanes.store(to, x[column]) };
            }
        }
    }
}

pub(super) struct KernelGradient {
    pub(super) from: *const f32,
    pub(super) to: *mut f32,
    pub(super) len: usize,
}

/// The transpose of [`spread`].
#[inline(always)]
fn gather<S: Simd>(simd: S, x: [S::Vector; 4]) -> [S::Vector; 3] {
    let half = simd.splat(0.5);
    let sum = simd.add(x[1], x[2]);
    let middle = simd.fma(half, simd.sub(x[1], x[2]), simd.splat(0.0));
    [simd.fma(half, sum, x[0]), middle, simd.fma(half, sum, x[3])]
}

impl Pass for KernelGradient {
    fn channels(&self) -> usize {
        self.len
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let simd = lanes.simd;
        let mut rows = [[simd.splat(0.0); 4]; 3];
        for column in 0..4 {
            let mut x = [simd.splat(0.0); 4];
            for row in 0..4 {
                // SAFETY: there are 16 times `len` floats.
                x[row] =
                    unsafe { lanes.load(self.from.wrapping_add((4 * row + column) * self.len)) };
            }
            let x = gather(simd, x);
            for row in 0..3 {
                rows[row][column] = x[row];
            }
        }
        for row in 0..3 {
            let x = gather(simd, rows[row]);
            for column in 0..3 {
                let to = self.to.wrapping_add((3 * row + column) * self.len);
                // SAFETY: there are 9 times `len` floats.
                unsafe { lanes.store(to, x[column]) };
            }
        }
    }
}
