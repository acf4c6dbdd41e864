//! The side of the input.

#![allow(clippy::needless_range_loop)] // The loops over registers read best by index.

use std::ops::Range;

use super::{Extent, Tiles};
use crate::kernels::lanes::{Lanes, Pass};
use crate::kernels::simd::Simd;

pub(super) struct Input {
    pub(super) shape: Tiles,
    pub(super) tiles: Range<usize>,
    pub(super) rows: Range<usize>,
    pub(super) extent: Extent,
    pub(super) image: *const f32,
    pub(super) to: *mut f32,
}

impl Pass for Input {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    /// `B' d B`, where each row of `B'` is the sum or the difference of two of the four.
    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let simd = lanes.simd;
        let Tiles { across, channels, position } = self.shape;
        let row_len = self.extent.width * channels;
        for (number, tile) in self.tiles.clone().enumerate() {
            let corner = 2 * (tile / across) * row_len + 2 * (tile % across) * channels;
            let mut to = self.to.wrapping_add(number * channels);
            for row in self.rows.clone() {
                let (one, other) = [(0, 2), (1, 2), (2, 1), (1, 3)][row];
                let mut x = [simd.splat(0.0); 4];
                for column in 0..4 {
                    let at = corner + column * channels;
                    // SAFETY: `check_input` has found the 4 x 4 pixels inside the image.
                    let (a, b) = unsafe {
                        (
                            lanes.load(self.image.wrapping_add(at + one * row_len)),
                            lanes.load(self.image.wrapping_add(at + other * row_len)),
                        )
                    };
                    x[column] = if row == 1 { simd.add(a, b) } else { simd.sub(a, b) };
                }
                let x = [
                    simd.sub(x[0], x[2]),
                    simd.add(x[1], x[2]),
                    simd.sub(x[2], x[1]),
                    simd.sub(x[1], x[3]),
                ];
                for column in 0..4 {
                    // SAFETY: `check_transformed` has found room for the tiles at each position.
                    unsafe { lanes.store(to, x[column]) };
                    to = to.wrapping_add(position);
                }
            }
        }
    }
}

pub(super) struct InputGradient {
    pub(super) shape: Tiles,
    pub(super) tiles: Range<usize>,
    pub(super) extent: Extent,
    pub(super) from: *const f32,
    pub(super) image: *mut f32,
}

/// `B x`.
#[inline(always)]
fn unfold<S: Simd>(simd: S, x: [S::Vector; 4]) -> [S::Vector; 4] {
    [
        x[0],
        simd.add(simd.sub(x[1], x[2]), x[3]),
        simd.sub(simd.add(x[1], x[2]), x[0]),
        simd.sub(simd.splat(0.0), x[3]),
    ]
}

impl Pass for InputGradient {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let simd = lanes.simd;
        let Tiles { across, channels, position } = self.shape;
        let row_len = self.extent.width * channels;
        for (number, tile) in self.tiles.clone().enumerate() {
            let corner = 2 * (tile / across) * row_len + 2 * (tile % across) * channels;
            let from = self.from.wrapping_add(number * channels);
            let mut rows = [[simd.splat(0.0); 4]; 4];
            for column in 0..4 {
                let mut x = [simd.splat(0.0); 4];
                for row in 0..4 {
                    let at = (4 * row + column) * position;
                    // SAFETY: `check_transformed` has found the tiles at each position.
                    x[row] = unsafe { lanes.load(from.wrapping_add(at)) };
                }
                let x = unfold(simd, x);
                for row in 0..4 {
                    rows[row][column] = x[row];
                }
            }
            for row in 0..4 {
                let x = unfold(simd, rows[row]);
                for column in 0..4 {
                    let at = corner + row * row_len + column * channels;
                    let pixel = self.image.wrapping_add(at);
                    // SAFETY: `check_input` has found the 4 x 4 pixels inside the image.
                    unsafe { lanes.store(pixel, simd.add(lanes.load(pixel), x[column])) };
                }
            }
        }
    }
}
