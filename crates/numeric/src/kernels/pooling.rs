//! The gradient of the maximum over 2 x 2 pixels.

use super::Isa;
use super::lanes::{Lanes, Pass, run};
use super::simd::Simd;

/// From the gradient to maxima, row by row, to that to the pixels: all of it goes to the one of
/// four that was the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpool {
    /// Rows of maxima.
    pub height: usize,
    /// Maxima in a row.
    pub width: usize,
    /// Contiguous numbers of a pixel.
    pub channels: usize,
    /// Floats from one row of pixels to the next.
    pub row: usize,
    /// Floats from one pixel to the next.
    pub pixel: usize,
}

impl Unpool {
    /// Writes all four pixels of every maximum; `winners` say which of them, row by row, it is.
    ///
    /// # Panics
    /// If the slices are too short.
    pub fn run(&self, isa: Isa, gradient: &[f32], winners: &[f32], to: &mut [f32]) {
        let Self { height, width, channels, row, pixel } = *self;
        if height == 0 || width == 0 || channels == 0 {
            return;
        }
        let maxima = height.saturating_mul(width).saturating_mul(channels);
        assert!(maxima <= gradient.len().min(winners.len()), "fewer than {maxima} maxima");
        let last_row = (2 * height - 1).saturating_mul(row);
        let last = last_row.saturating_add((2 * width - 1).saturating_mul(pixel));
        let needed = last.saturating_add(channels);
        assert!(needed <= to.len(), "the pixels need {needed} floats, {} are there", to.len());
        let (gradient, winners, to) = (gradient.as_ptr(), winners.as_ptr(), to.as_mut_ptr());
        run(isa, Pixels { shape: *self, gradient, winners, to });
    }
}

struct Pixels {
    shape: Unpool,
    gradient: *const f32,
    winners: *const f32,
    to: *mut f32,
}

impl Pass for Pixels {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let simd = lanes.simd;
        let Unpool { height, width, channels, row, pixel } = self.shape;
        for y in 0..height {
            for x in 0..width {
                let at = (y * width + x) * channels;
                // SAFETY: `run` has found so many maxima.
                let (gradient, winner) = unsafe {
                    (
                        lanes.load(self.gradient.wrapping_add(at)),
                        lanes.load(self.winners.wrapping_add(at)),
                    )
                };
                let corner = self.to.wrapping_add(2 * (y * row + x * pixel));
                for number in 0..4 {
                    let to = corner.wrapping_add(number / 2 * row + number % 2 * pixel);
                    let this = simd.splat(number as f32);
                    let value = simd.if_equal(winner, this, gradient, simd.splat(0.0));
                    // SAFETY: `run` has found room as far as the last pixel.
                    unsafe { lanes.store(to, value) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_winner_takes_all_on_every_path() {
        let shape = Unpool { height: 2, width: 3, channels: 21, row: 6 * 22 + 5, pixel: 22 };
        let winners: Vec<f32> = (0..2 * 3 * 21).map(|i| (i * 7 % 4) as f32).collect();
        let gradient: Vec<f32> = (0..2 * 3 * 21).map(|i| i as f32 - 50.0).collect();
        for isa in Isa::available() {
            let mut to = vec![-0.5; 3 * shape.row + 6 * shape.pixel];
            shape.run(isa, &gradient, &winners, &mut to);
            for at in 0..gradient.len() {
                let (channel, maximum) = (at % 21, at / 21);
                for number in 0..4 {
                    let (y, x) = (2 * (maximum / 3) + number / 2, 2 * (maximum % 3) + number % 2);
                    let wanted = if winners[at] == number as f32 { gradient[at] } else { 0.0 };
                    assert_eq!(to[y * shape.row + x * shape.pixel + channel], wanted);
                }
            }
            assert_eq!(to[21], -0.5, "between the pixels nothing is written");
        }
    }

    #[test]
    #[should_panic(expected = "the pixels need")]
    fn a_short_slice_is_refused() {
        let shape = Unpool { height: 1, width: 1, channels: 4, row: 8, pixel: 4 };
        shape.run(Isa::detect(), &[0.0; 4], &[0.0; 4], &mut [0.0; 15]);
    }
}
