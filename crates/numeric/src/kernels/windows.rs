//! Poolings of any size and stride, and their gradients: one row of windows at a time.

use super::Isa;
use super::lanes::{Lanes, Pass, run};
use super::simd::Simd;

/// A row of windows over pixels of an image. Slices of pixels begin at the first row that the
/// windows cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Pixels in a row of the image.
    pub width: usize,
    /// Contiguous numbers of a pixel.
    pub channels: usize,
    /// Rows and columns of a window.
    pub size: (usize, usize),
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Windows in the row.
    pub count: usize,
}

impl Windows {
    /// The mean of each window: the sum in the order of the pixels, then times `share`.
    ///
    /// # Panics
    /// If the slices are too short.
    pub fn mean(&self, isa: Isa, share: f32, pixels: &[f32], means: &mut [f32]) {
        self.check(pixels.len(), means.len());
        let (pixels, means) = (pixels.as_ptr(), means.as_mut_ptr());
        run(isa, Mean { shape: *self, share, pixels, means });
    }

    /// Adds `share` of each mean's gradient to every pixel of its window; to zeros, unless a
    /// pixel is in several windows.
    ///
    /// # Panics
    /// If the slices are too short.
    pub fn mean_gradient(&self, isa: Isa, share: f32, d_means: &[f32], d_pixels: &mut [f32]) {
        self.check(d_pixels.len(), d_means.len());
        let (means, pixels) = (d_means.as_ptr(), d_pixels.as_mut_ptr());
        run(isa, MeanGradient { shape: *self, share, means, pixels });
    }

    /// The maximum of each window; a later pixel counts unless an earlier one is greater.
    ///
    /// # Panics
    /// If the slices are too short.
    pub fn maximum(&self, isa: Isa, pixels: &[f32], maxima: &mut [f32]) {
        self.check(pixels.len(), maxima.len());
        let (pixels, maxima) = (pixels.as_ptr(), maxima.as_mut_ptr());
        run(isa, Maximum { shape: *self, pixels, maxima });
    }

    /// Adds each maximum's gradient to the first pixel of its window that has the maximum, 0 to
    /// the others; to zeros, unless a pixel is in several windows.
    ///
    /// # Panics
    /// If the slices are too short.
    pub fn maximum_gradient(
        &self,
        isa: Isa,
        pixels: &[f32],
        maxima: &[f32],
        d_maxima: &[f32],
        d_pixels: &mut [f32],
    ) {
        self.check(pixels.len().min(d_pixels.len()), maxima.len().min(d_maxima.len()));
        let (pixels, maxima) = (pixels.as_ptr(), maxima.as_ptr());
        let (gradient, to) = (d_maxima.as_ptr(), d_pixels.as_mut_ptr());
        run(isa, MaximumGradient { shape: *self, pixels, maxima, gradient, to });
    }

    /// The pointers stay inside the slices because of this.
    fn check(&self, pixels: usize, windows: usize) {
        let Self { width, channels, size: (rows, columns), stride, count } = *self;
        if count == 0 || channels == 0 {
            return;
        }
        assert!(rows > 0 && columns > 0, "a window without pixels");
        let across = (count - 1).saturating_mul(stride).saturating_add(columns);
        assert!(across <= width, "the windows take {across} pixels of a row of {width}");
        let needed = (rows - 1).saturating_mul(width).saturating_add(across);
        let needed = needed.saturating_mul(channels);
        assert!(needed <= pixels, "the windows cover {needed} floats, {pixels} are there");
        let needed = count.saturating_mul(channels);
        assert!(needed <= windows, "the windows give {needed} floats, {windows} are there");
    }

    /// Whether a pixel may be in several windows, so that its gradient is a sum.
    #[inline(always)]
    fn overlap(&self) -> bool {
        self.stride < self.size.0.max(self.size.1)
    }

    /// Where a pixel of a window is.
    #[inline(always)]
    fn at(&self, window: usize, (row, column): (usize, usize)) -> usize {
        (row * self.width + window * self.stride + column) * self.channels
    }

    /// The pixels of a window in their order.
    #[inline(always)]
    fn pixels(&self) -> impl Iterator<Item = (usize, usize)> {
        let (rows, columns) = self.size;
        (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
    }
}

struct Mean {
    shape: Windows,
    share: f32,
    pixels: *const f32,
    means: *mut f32,
}

impl Pass for Mean {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let simd = lanes.simd;
        let share = simd.splat(self.share);
        for window in 0..self.shape.count {
            let mut sum = simd.splat(0.0);
            for pixel in self.shape.pixels() {
                let at = self.shape.at(window, pixel);
                // SAFETY: `check` has found so many pixels.
                sum = simd.add(sum, unsafe { lanes.load(self.pixels.wrapping_add(at)) });
            }
            let to = self.means.wrapping_add(window * self.shape.channels);
            // SAFETY: `check` has found so many windows.
            unsafe { lanes.store(to, times(simd, sum, share)) }
        }
    }
}

struct MeanGradient {
    shape: Windows,
    share: f32,
    means: *const f32,
    pixels: *mut f32,
}

impl Pass for MeanGradient {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let simd = lanes.simd;
        let (share, zero) = (simd.splat(self.share), simd.splat(0.0));
        let overlap = self.shape.overlap();
        for window in 0..self.shape.count {
            // SAFETY: `check` has found so many windows.
            let d = unsafe { lanes.load(self.means.wrapping_add(window * self.shape.channels)) };
            let d = times(simd, d, share);
            for pixel in self.shape.pixels() {
                let at = self.shape.at(window, pixel);
                let to = self.pixels.wrapping_add(at);
                // SAFETY: `check` has found so many pixels.
                unsafe {
                    // Reading what was just written costs more than the sum.
                    let sum = if overlap { lanes.load(to) } else { zero };
                    lanes.store(to, simd.add(sum, d));
                }
            }
        }
    }
}

struct Maximum {
    shape: Windows,
    pixels: *const f32,
    maxima: *mut f32,
}

impl Pass for Maximum {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        for window in 0..self.shape.count {
            let mut max = None;
            for pixel in self.shape.pixels() {
                let at = self.shape.at(window, pixel);
                // SAFETY: `check` has found so many pixels.
                let value = unsafe { lanes.load(self.pixels.wrapping_add(at)) };
                max = Some(max.map_or(value, |max| lanes.simd.max(max, value)));
            }
            let to = self.maxima.wrapping_add(window * self.shape.channels);
            // SAFETY: `check` has found so many windows.
            unsafe { lanes.store(to, max.unwrap_or(lanes.simd.splat(0.0))) }
        }
    }
}

struct MaximumGradient {
    shape: Windows,
    pixels: *const f32,
    maxima: *const f32,
    gradient: *const f32,
    to: *mut f32,
}

impl Pass for MaximumGradient {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let simd = lanes.simd;
        let zero = simd.splat(0.0);
        let overlap = self.shape.overlap();
        for window in 0..self.shape.count {
            let first = window * self.shape.channels;
            // What of the gradient has not found its pixel yet.
            // SAFETY: `check` has found so many windows.
            let (max, mut rest) = unsafe {
                let max = lanes.load(self.maxima.wrapping_add(first));
                (max, lanes.load(self.gradient.wrapping_add(first)))
            };
            for pixel in self.shape.pixels() {
                let at = self.shape.at(window, pixel);
                let to = self.to.wrapping_add(at);
                // SAFETY: `check` has found so many pixels on both sides.
                unsafe {
                    let value = lanes.load(self.pixels.wrapping_add(at));
                    let found = simd.if_equal(value, max, rest, zero);
                    rest = simd.if_equal(value, max, zero, rest);
                    let sum = if overlap { lanes.load(to) } else { zero };
                    lanes.store(to, simd.add(sum, found));
                }
            }
        }
    }
}

/// `a * b`, rounded once; adding negative zero leaves every product as it is.
#[inline(always)]
fn times<S: Simd>(simd: S, a: S::Vector, b: S::Vector) -> S::Vector {
    simd.fma(a, b, simd.splat(-0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Windows = Windows { width: 9, channels: 21, size: (2, 3), stride: 2, count: 4 };

    /// Whole numbers with many equal ones, and the pixels of each window.
    fn image() -> (Vec<f32>, Vec<Vec<usize>>) {
        let pixels = (0..2 * 9 * 21).map(|i| (i * 37 % 11) as f32 - 5.0).collect();
        let under = |at: usize| {
            let pixel =
                move |number: usize| (number / 3 * 9 + at / 21 * 2 + number % 3) * 21 + at % 21;
            (0..6).map(pixel).collect()
        };
        (pixels, (0..4 * 21).map(under).collect())
    }

    #[test]
    fn means_and_maxima_are_those_of_the_windows_on_every_path() {
        let (pixels, under) = image();
        for isa in Isa::available() {
            let mut found = vec![f32::NAN; 4 * 21];
            SHAPE.mean(isa, 0.25, &pixels, &mut found);
            for (found, under) in found.iter().zip(&under) {
                assert_eq!(*found, under.iter().map(|&at| pixels[at]).sum::<f32>() * 0.25);
            }
            SHAPE.maximum(isa, &pixels, &mut found);
            for (found, under) in found.iter().zip(&under) {
                assert_eq!(*found, under.iter().map(|&at| pixels[at]).fold(-9.0, f32::max));
            }
        }
    }

    #[test]
    fn gradients_go_to_all_pixels_or_to_the_first_maximum() {
        let (pixels, under) = image();
        let gradient: Vec<f32> = (0..4 * 21).map(|i| i as f32 - 40.0).collect();
        for isa in Isa::available() {
            let (mut spread, mut wanted) = (vec![0.0; pixels.len()], vec![0.0; pixels.len()]);
            SHAPE.mean_gradient(isa, 0.5, &gradient, &mut spread);
            for (d, under) in gradient.iter().zip(&under) {
                under.iter().for_each(|&at| wanted[at] += d * 0.5);
            }
            assert_eq!(spread, wanted);
            let mut maxima = vec![0.0; 4 * 21];
            SHAPE.maximum(isa, &pixels, &mut maxima);
            let (mut routed, mut wanted) = (vec![0.0; pixels.len()], vec![0.0; pixels.len()]);
            SHAPE.maximum_gradient(isa, &pixels, &maxima, &gradient, &mut routed);
            for ((d, max), under) in gradient.iter().zip(&maxima).zip(&under) {
                let first = under.iter().find(|&&at| pixels[at] == *max).unwrap();
                wanted[*first] += d;
            }
            assert_eq!(routed, wanted);
        }
    }

    #[test]
    #[should_panic(expected = "the windows cover")]
    fn a_short_slice_is_refused() {
        SHAPE.mean(Isa::detect(), 1.0, &[0.0; 2 * 9 * 21 - 22], &mut [0.0; 4 * 21]);
    }
}
