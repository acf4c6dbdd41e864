//! The side of the output.

#![allow(clippy::needless_range_loop)] // The loops over registers read best by index.

use std::ops::Range;

use super::{Extent, Side, Tiles};
use crate::kernels::lanes::{Lanes, Pass};
use crate::kernels::simd::Simd;

pub(super) struct OutputTiles {
    pub(super) shape: Tiles,
    pub(super) tiles: Range<usize>,
    pub(super) side: Side,
    pub(super) relu: bool,
    pub(super) from: *const f32,
    pub(super) to: *mut f32,
    pub(super) winners: Option<*mut f32>,
}

/// `A' x`.
#[inline(always)]
fn fold<S: Simd>(simd: S, x: [S::Vector; 4]) -> [S::Vector; 2] {
    [simd.add(simd.add(x[0], x[1]), x[2]), simd.sub(simd.sub(x[1], x[2]), x[3])]
}

impl OutputTiles {
    #[inline(always)]
    fn rectified<S: Simd>(&self, simd: S, x: S::Vector) -> S::Vector {
        if self.relu { simd.max(simd.splat(0.0), x) } else { x }
    }
}

impl Pass for OutputTiles {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let simd = lanes.simd;
        let Tiles { across, channels, position } = self.shape;
        for (number, tile) in self.tiles.clone().enumerate() {
            let from = self.from.wrapping_add(number * channels);
            let mut rows = [[simd.splat(0.0); 4]; 2];
            for column in 0..4 {
                let mut x = [simd.splat(0.0); 4];
                for row in 0..4 {
                    let at = (4 * row + column) * position;
                    // SAFETY: `check_transformed` has found the tiles at each position.
                    x[row] = unsafe { lanes.load(from.wrapping_add(at)) };
                }
                let x = fold(simd, x);
                rows[0][column] = x[0];
                rows[1][column] = x[1];
            }
            let (top, bottom) = (fold(simd, rows[0]), fold(simd, rows[1]));
            let pixels = [top[0], top[1], bottom[0], bottom[1]];
            match self.side {
                Side::Pooled => {
                    let (mut most, mut winner) = (pixels[0], simd.splat(0.0));
                    for rival in 1..4 {
                        let number = simd.splat(rival as f32);
                        winner = simd.if_greater(pixels[rival], most, number, winner);
                        most = simd.max(most, pixels[rival]);
                    }
                    // SAFETY: `check_output` has found a pixel for every tile.
                    unsafe {
                        lanes.store(
                            self.to.wrapping_add(tile * channels),
                            self.rectified(simd, most),
                        );
                        if let Some(winners) = self.winners {
                            lanes.store(winners.wrapping_add(tile * channels), winner);
                        }
                    }
                }
                Side::Pixels(Extent { height, width }) => {
                    let (y, x) = (2 * (tile / across), 2 * (tile % across));
                    for pixel in 0..4 {
                        let (y, x) = (y + pixel / 2, x + pixel % 2);
                        if y < height && x < width {
                            let to = self.to.wrapping_add((y * width + x) * channels);
                            // SAFETY: `check_output` has found all pixels inside the image.
                            unsafe { lanes.store(to, self.rectified(simd, pixels[pixel])) };
                        }
                    }
                }
            }
        }
    }
}

pub(super) struct OutputGradient {
    pub(super) shape: Tiles,
    pub(super) tiles: Range<usize>,
    pub(super) rows: Range<usize>,
    pub(super) side: Side,
    pub(super) gradient: *const f32,
    pub(super) winners: *const f32,
    pub(super) to: *mut f32,
}

impl OutputGradient {
    /// The gradient to the four pixels of a tile.
    ///
    /// # Safety
    /// As for the pass.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const MASKED: bool>(
        &self,
        lanes: &Lanes<S, MASKED>,
        tile: usize,
    ) -> [S::Vector; 4] {
        let simd = lanes.simd;
        let Tiles { across, channels, .. } = self.shape;
        let mut pixels = [simd.splat(0.0); 4];
        match self.side {
            Side::Pooled => {
                // SAFETY: `check_output` has found a pixel for every tile.
                let (gradient, winner) = unsafe {
                    (
                        lanes.load(self.gradient.wrapping_add(tile * channels)),
                        lanes.load(self.winners.wrapping_add(tile * channels)),
                    )
                };
                for pixel in 0..4 {
                    let number = simd.splat(pixel as f32);
                    pixels[pixel] = simd.if_equal(winner, number, gradient, simd.splat(0.0));
                }
            }
            Side::Pixels(Extent { height, width }) => {
                let (y, x) = (2 * (tile / across), 2 * (tile % across));
                for pixel in 0..4 {
                    let (y, x) = (y + pixel / 2, x + pixel % 2);
                    if y < height && x < width {
                        let from = self.gradient.wrapping_add((y * width + x) * channels);
                        // SAFETY: `check_output` has found all pixels inside the image.
                        pixels[pixel] = unsafe { lanes.load(from) };
                    }
                }
            }
        }
        pixels
    }
}

impl Pass for OutputGradient {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    /// `A y A'`, whose rows are `y0, y0 + y1, y0 - y1, -y1`.
    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let simd = lanes.simd;
        let zero = simd.splat(0.0);
        for (number, tile) in self.tiles.clone().enumerate() {
            // SAFETY: the caller grants it.
            let pixels = unsafe { self.pixels(&lanes, tile) };
            let mut to = self.to.wrapping_add(number * self.shape.channels);
            for row in self.rows.clone() {
                let mut x = [zero; 2];
                for column in 0..2 {
                    let (top, bottom) = (pixels[column], pixels[2 + column]);
                    x[column] = match row {
                        0 => top,
                        1 => simd.add(top, bottom),
                        2 => simd.sub(top, bottom),
                        _ => simd.sub(zero, bottom),
                    };
                }
                let [left, right] = x;
                let x = [left, simd.add(left, right), simd.sub(left, right), simd.sub(zero, right)];
                for column in 0..4 {
                    // SAFETY: `check_transformed` has found room for the tiles at each position.
                    unsafe { lanes.store(to, x[column]) };
                    to = to.wrapping_add(self.shape.position);
                }
            }
        }
    }
}
