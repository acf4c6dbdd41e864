//! Convolution of every channel by itself: vectors hold channels, several pixels beside each other
//! share each number of the kernel. Sums add their products by fused multiply-add in the order of
//! the kernel's numbers, or of the pixels.

#![allow(clippy::needless_range_loop)] // The loops over registers read best by index.

use std::ops::Range;

use super::Isa;
use super::lanes::{Lanes, Pass, run};
use super::simd::Simd;

/// Numbers of the kernel whose gradients are.
const TAPS: usize = 4;

/// A kernel over an image, whose zeros around are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depthwise {
    /// Rows and columns of the output.
    pub output: (usize, usize),
    /// Contiguous numbers of a pixel, on both sides.
    pub channels: usize,
    /// Pixels in a row of the image.
    pub width: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Pixels from one place of the kernel to the next.
    pub stride: usize,
    /// Pixels from one of its numbers to the next.
    pub dilation: usize,
}

impl Depthwise {
    /// `output = bias + image * kernel`, the kernel as `[kernel][kernel][channels]`; without a
    /// bias from 0.
    ///
    /// # Panics
    /// If the slices are too short.
    pub fn filter(
        &self,
        isa: Isa,
        image: &[f32],
        kernel: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
    ) {
        let taps = self.kernel * self.kernel;
        self.check(image.len(), output.len());
        assert!(taps * self.channels <= kernel.len(), "the kernel is too short");
        assert!(bias.is_none_or(|bias| bias.len() >= self.channels), "the bias is too short");
        let (image, kernel, output) = (image.as_ptr(), kernel.as_ptr(), output.as_mut_ptr());
        run(isa, Filter { shape: *self, image, kernel, bias: bias.map(<[f32]>::as_ptr), output });
    }

    /// Adds to the gradients of some of the kernel's numbers, `[taps.len()][channels]`, the sum
    /// over all pixels.
    ///
    /// # Panics
    /// If the slices are too short or the kernel has not so many numbers.
    pub fn kernel_gradient(
        &self,
        isa: Isa,
        taps: Range<usize>,
        image: &[f32],
        d_output: &[f32],
        gradient: &mut [f32],
    ) {
        self.check(image.len(), d_output.len());
        assert!(taps.end <= self.kernel * self.kernel, "the kernel has no numbers {taps:?}");
        assert!(taps.len() * self.channels <= gradient.len(), "the gradient is too short");
        let (image, d_output, gradient) =
            (image.as_ptr(), d_output.as_ptr(), gradient.as_mut_ptr());
        run(isa, KernelGradient { shape: *self, taps, image, d_output, gradient });
    }

    /// The pointers stay inside the slices because of this.
    fn check(&self, image: usize, output: usize) {
        let Self { output: (height, width), channels, kernel, stride, dilation, .. } = *self;
        let covered = |pixels: usize| {
            let last = pixels.saturating_sub(1).saturating_mul(stride);
            last.saturating_add(kernel.saturating_sub(1).saturating_mul(dilation)) + 1
        };
        let (down, across) = (covered(height), covered(width));
        assert!(across <= self.width, "the kernel covers {across} pixels of {}", self.width);
        let needed = (down - 1).saturating_mul(self.width).saturating_add(across);
        let needed = needed.saturating_mul(channels);
        assert!(needed <= image, "the kernel covers {needed} floats, {image} are there");
        let needed = height.saturating_mul(width).saturating_mul(channels);
        assert!(needed <= output, "the output has {needed} floats, {output} are there");
    }

    /// Where a number of the kernel lies in the image, from its first one.
    #[inline(always)]
    fn offset(&self, tap: usize) -> usize {
        let (row, column) = (tap / self.kernel, tap % self.kernel);
        (row * self.width + column) * self.dilation * self.channels
    }

    /// Where the kernel begins at a pixel of the output.
    #[inline(always)]
    fn corner(&self, y: usize, x: usize) -> usize {
        (y * self.width + x) * self.stride * self.channels
    }
}

struct Filter {
    shape: Depthwise,
    image: *const f32,
    kernel: *const f32,
    bias: Option<*const f32>,
    output: *mut f32,
}

impl Pass for Filter {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let (height, width) = self.shape.output;
        for y in 0..height {
            let mut x = 0;
            while x < width {
                // SAFETY: `Depthwise::check` has bounded all pixels.
                unsafe {
                    x += match width - x {
                        8.. => self.pixels::<S, MASKED, 8>(lanes, y, x),
                        4.. => self.pixels::<S, MASKED, 4>(lanes, y, x),
                        2.. => self.pixels::<S, MASKED, 2>(lanes, y, x),
                        _ => self.pixels::<S, MASKED, 1>(lanes, y, x),
                    };
                }
            }
        }
    }
}

impl Filter {
    /// Computes pixels beside each other, so that no sum waits for itself, and says how many.
    ///
    /// # Safety
    /// So many pixels of the output must exist from (y, x) on, and the channels of `lanes`.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const MASKED: bool, const COUNT: usize>(
        &self,
        lanes: Lanes<S, MASKED>,
        y: usize,
        x: usize,
    ) -> usize {
        let simd = lanes.simd;
        let Depthwise { output: (_, width), channels, kernel, stride, .. } = self.shape;
        let image = self.image.wrapping_add(self.shape.corner(y, x));
        let bias = match self.bias {
            // SAFETY: `filter` has found the bias of all channels.
            Some(bias) => unsafe { lanes.load(bias) },
            None => simd.splat(0.0),
        };
        let mut sums = [bias; COUNT];
        for tap in 0..kernel * kernel {
            // SAFETY: `filter` has found the whole kernel.
            let weight = unsafe { lanes.load(self.kernel.wrapping_add(tap * channels)) };
            let from = image.wrapping_add(self.shape.offset(tap));
            for pixel in 0..COUNT {
                let from = from.wrapping_add(pixel * stride * channels);
                // SAFETY: `Depthwise::check` has bounded what the kernel covers.
                let value = unsafe { lanes.load(from) };
                sums[pixel] = simd.fma(value, weight, sums[pixel]);
            }
        }
        for pixel in 0..COUNT {
            let to = self.output.wrapping_add((y * width + x + pixel) * channels);
            // SAFETY: the caller grants the pixels.
            unsafe { lanes.store(to, sums[pixel]) }
        }
        COUNT
    }
}

struct KernelGradient {
    shape: Depthwise,
    taps: Range<usize>,
    image: *const f32,
    d_output: *const f32,
    gradient: *mut f32,
}

impl Pass for KernelGradient {
    fn channels(&self) -> usize {
        self.shape.channels
    }

    #[inline(always)]
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>) {
        let mut tap = self.taps.start;
        while tap < self.taps.end {
            // SAFETY: `kernel_gradient` has found so many numbers of the kernel.
            unsafe {
                if self.taps.end - tap >= TAPS {
                    self.numbers::<S, MASKED, TAPS>(lanes, tap);
                    tap += TAPS;
                } else {
                    self.numbers::<S, MASKED, 1>(lanes, tap);
                    tap += 1;
                }
            }
        }
    }
}

impl KernelGradient {
    /// # Safety
    /// So many numbers of the kernel must be there from `first` on, and the channels of `lanes`.
    #[inline(always)]
    unsafe fn numbers<S: Simd, const MASKED: bool, const COUNT: usize>(
        &self,
        lanes: Lanes<S, MASKED>,
        first: usize,
    ) {
        let simd = lanes.simd;
        let Depthwise { output: (height, width), channels, .. } = self.shape;
        let mut sums = [simd.splat(0.0); COUNT];
        let mut offsets = [0; COUNT];
        let gradient = self.gradient.wrapping_add((first - self.taps.start) * channels);
        for number in 0..COUNT {
            offsets[number] = self.shape.offset(first + number);
            // SAFETY: the caller grants the numbers.
            sums[number] = unsafe { lanes.load(gradient.wrapping_add(number * channels)) };
        }
        for y in 0..height {
            for x in 0..width {
                let at = (y * width + x) * channels;
                let corner = self.image.wrapping_add(self.shape.corner(y, x));
                // SAFETY: `Depthwise::check` has bounded all pixels.
                let d = unsafe { lanes.load(self.d_output.wrapping_add(at)) };
                for number in 0..COUNT {
                    // SAFETY: `Depthwise::check` has bounded what the kernel covers.
                    let value = unsafe { lanes.load(corner.wrapping_add(offsets[number])) };
                    sums[number] = simd.fma(value, d, sums[number]);
                }
            }
        }
        for number in 0..COUNT {
            // SAFETY: the caller grants the numbers.
            unsafe { lanes.store(gradient.wrapping_add(number * channels), sums[number]) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    const SHAPE: Depthwise =
        Depthwise { output: (3, 15), channels: 21, width: 33, kernel: 3, stride: 2, dilation: 2 };

    fn floats(count: usize, seed: u64) -> Vec<f32> {
        let mut stream = Stream::new(seed, "depthwise", 0);
        (0..count).map(|_| stream.uniform() * 2.0 - 1.0).collect()
    }

    /// Where the image is read for a number of the kernel at a pixel of the output.
    fn at(tap: usize, pixel: usize, channel: usize) -> usize {
        let (y, x) = (2 * (pixel / 15) + tap / 3 * 2, 2 * (pixel % 15) + tap % 3 * 2);
        (y * 33 + x) * 21 + channel
    }

    #[test]
    fn the_sums_are_those_of_the_definition_on_every_path() {
        let (image, kernel, bias) = (floats(9 * 33 * 21, 1), floats(9 * 21, 2), floats(21, 3));
        let d_output = floats(3 * 15 * 21, 4);
        let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let mut wanted = vec![0.0; 3 * 15 * 21];
        for (index, sum) in wanted.iter_mut().enumerate() {
            let (pixel, channel) = (index / 21, index % 21);
            *sum = (0..9).fold(bias[channel], |sum, tap| {
                image[at(tap, pixel, channel)].mul_add(kernel[tap * 21 + channel], sum)
            });
        }
        let mut wanted_gradient = vec![0.5; 7 * 21];
        for (index, sum) in wanted_gradient.iter_mut().enumerate() {
            let (tap, channel) = (2 + index / 21, index % 21);
            *sum = (0..45).fold(*sum, |sum, pixel| {
                image[at(tap, pixel, channel)].mul_add(d_output[pixel * 21 + channel], sum)
            });
        }
        for isa in Isa::available() {
            let mut output = vec![f32::NAN; 3 * 15 * 21];
            SHAPE.filter(isa, &image, &kernel, Some(&bias), &mut output);
            assert_eq!(bits(&output), bits(&wanted), "{}", isa.name());
            let mut gradient = vec![0.5; 7 * 21];
            SHAPE.kernel_gradient(isa, 2..9, &image, &d_output, &mut gradient);
            assert_eq!(bits(&gradient), bits(&wanted_gradient), "{}", isa.name());
        }
    }

    #[test]
    #[should_panic(expected = "the kernel covers")]
    fn a_short_image_is_refused() {
        let (image, kernel) = (vec![0.0; 9 * 33 * 21 - 1], [0.0; 9 * 21]);
        SHAPE.filter(Isa::detect(), &image, &kernel, None, &mut [0.0; 3 * 15 * 21]);
    }
}
