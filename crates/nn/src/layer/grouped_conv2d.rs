//! Convolution in groups of channels, or with a dilated kernel: `[kernel, kernel, channels of a
//! group, filters]`, where the filters of a group follow each other and read its channels alone.
//! As many groups as channels and filters make it depthwise.

use std::ops::Range;

use teller_numeric::{Cancelled, Isa, Stream};

use super::conv2d::Side;
use super::{
    Ends, Layer, PRODUCTS_PER_CHECK, Padding, Pass, Results, Weights, he_normal, transpose,
};
use crate::Shape;

/// How a kernel goes over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Rows and columns of the kernel.
    pub(crate) kernel: usize,
    /// Pixels from one place of the kernel to the next.
    pub(crate) stride: usize,
    /// Pixels from one of its numbers to the next.
    pub(crate) dilation: usize,
    pub(crate) padding: Padding,
}

#[derive(Debug)]
pub(crate) struct GroupedConv2d {
    rows: Side,
    columns: Side,
    channels: usize,
    filters: usize,
    groups: usize,
    reach: Reach,
}

impl GroupedConv2d {
    /// `None` if the kernel is larger than the image. `groups` divides both `channels` and
    /// `filters`; nothing is 0.
    pub(crate) fn new(
        (height, width, channels): (usize, usize, usize),
        filters: usize,
        groups: usize,
        reach: Reach,
    ) -> Option<Self> {
        let covered = (reach.kernel - 1) * reach.dilation + 1;
        let side = |input| Side::new(input, covered, reach.stride, reach.padding);
        Some(Self { rows: side(height)?, columns: side(width)?, channels, filters, groups, reach })
    }

    /// Channels and filters of a group.
    fn group(&self) -> (usize, usize) {
        (self.channels / self.groups, self.filters / self.groups)
    }

    /// Where number `tap` of the kernel at an output's pixel reads, unless that is padding.
    #[inline(always)]
    fn under(&self, tap: usize, pixel: usize) -> Option<usize> {
        let Reach { kernel, stride, dilation, .. } = self.reach;
        let (y, x) = (pixel / self.columns.output, pixel % self.columns.output);
        let y = (y * stride + tap / kernel * dilation).checked_sub(self.rows.before)?;
        let x = (x * stride + tap % kernel * dilation).checked_sub(self.columns.before)?;
        let inside = y < self.rows.input && x < self.columns.input;
        inside.then(|| (y * self.columns.input + x) * self.channels)
    }

    /// All output's pixels, a few milliseconds of work at a time.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let all = self.rows.output * self.columns.output;
        let taps = self.reach.kernel * self.reach.kernel;
        let block = (PRODUCTS_PER_CHECK / (taps * self.group().0 * self.filters).max(1)).max(1);
        (0..all).step_by(block).map(move |first| first..(first + block).min(all))
    }

    #[inline(always)]
    fn filter_pixels(
        (layer, pixels, weights, input, output): (
            &Self,
            Range<usize>,
            Weights<'_>,
            &[f32],
            &mut [f32],
        ),
    ) {
        let (channels, filters) = layer.group();
        for pixel in pixels {
            let to = &mut output[pixel * layer.filters..][..layer.filters];
            to.copy_from_slice(weights.bias);
            for tap in 0..layer.reach.kernel * layer.reach.kernel {
                let Some(at) = layer.under(tap, pixel) else { continue };
                let from = &input[at..at + layer.channels];
                let kernel = &weights.kernel[tap * channels * layer.filters..];
                if layer.is_depthwise() {
                    multiply_add(from, kernel, to);
                    continue;
                }
                for group in 0..layer.groups {
                    let to = &mut to[group * filters..][..filters];
                    for (channel, &value) in from[group * channels..][..channels].iter().enumerate()
                    {
                        let row = &kernel[channel * layer.filters + group * filters..];
                        scale_add(value, row, to);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn spread_pixels(
        (layer, pixels, reversed, d_output, d_input): (
            &Self,
            Range<usize>,
            &[f32],
            &[f32],
            &mut [f32],
        ),
    ) {
        let (channels, filters) = layer.group();
        for pixel in pixels {
            let from = &d_output[pixel * layer.filters..][..layer.filters];
            for tap in 0..layer.reach.kernel * layer.reach.kernel {
                let Some(at) = layer.under(tap, pixel) else { continue };
                let to = &mut d_input[at..at + layer.channels];
                let kernel = &reversed[tap * channels * layer.filters..];
                if layer.is_depthwise() {
                    multiply_add(from, kernel, to);
                    continue;
                }
                for (filter, &d) in from.iter().enumerate() {
                    let to = &mut to[filter / filters * channels..][..channels];
                    scale_add(d, &kernel[filter * channels..], to);
                }
            }
        }
    }

    #[inline(always)]
    fn gradient_pixels((layer, pixels, part): (&Self, Range<usize>, KernelPart<'_>)) {
        let KernelPart { rows, input, d_output, gradient } = part;
        let (channels, filters) = layer.group();
        for pixel in pixels {
            let d = &d_output[pixel * layer.filters..][..layer.filters];
            for (row, to) in rows.clone().zip(gradient.chunks_exact_mut(layer.filters)) {
                let Some(at) = layer.under(row / channels, pixel) else { continue };
                let from = &input[at..at + layer.channels];
                if layer.is_depthwise() {
                    multiply_add(from, d, to);
                    continue;
                }
                for group in 0..layer.groups {
                    let value = from[group * channels + row % channels];
                    let part = group * filters..(group + 1) * filters;
                    scale_add(value, &d[part.clone()], &mut to[part]);
                }
            }
        }
    }

    fn is_depthwise(&self) -> bool {
        self.group() == (1, 1)
    }
}

/// Some rows of the kernel's gradient, and one image on both sides of the convolution.
struct KernelPart<'a> {
    rows: Range<usize>,
    input: &'a [f32],
    d_output: &'a [f32],
    gradient: &'a mut [f32],
}

/// `to += a * b`, number by number; the product is rounded, as on every processor.
#[inline(always)]
fn multiply_add(a: &[f32], b: &[f32], to: &mut [f32]) {
    for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
        *to += a * b;
    }
}

/// `to += value * row`.
#[inline(always)]
fn scale_add(value: f32, row: &[f32], to: &mut [f32]) {
    for (to, &weight) in to.iter_mut().zip(row) {
        *to += value * weight;
    }
}

impl Layer for GroupedConv2d {
    fn input(&self) -> Shape {
        Shape::Image { height: self.rows.input, width: self.columns.input, channels: self.channels }
    }

    fn output(&self) -> Shape {
        let (height, width) = (self.rows.output, self.columns.output);
        Shape::Image { height, width, channels: self.filters }
    }

    fn products(&self) -> usize {
        let taps = self.reach.kernel * self.reach.kernel;
        self.output().len() * taps * self.group().0
    }

    fn kernel_shape(&self) -> Option<Vec<usize>> {
        let Reach { kernel, .. } = self.reach;
        Some(vec![kernel, kernel, self.group().0, self.filters])
    }

    fn initialize(&self, stream: &mut Stream, kernel: &mut [f32]) {
        he_normal(stream, self.reach.kernel * self.reach.kernel * self.group().0, kernel);
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let images = input.chunks_exact(self.input().len());
        for (input, output) in images.zip(results.output.chunks_exact_mut(self.output().len())) {
            for pixels in self.blocks() {
                pass.control.check()?;
                let work = (self, pixels, weights, input, &mut *output);
                pass.isa.vectorize(Self::filter_pixels, work);
            }
        }
        Ok(())
    }

    fn reversed(&self) -> usize {
        self.reach.kernel * self.reach.kernel * self.group().0 * self.filters
    }

    /// Each number's matrix transposed to `[filters, channels of a group]`.
    fn prepare(
        &self,
        _isa: Isa,
        kernel: &[f32],
        _prepared: &mut [f32],
        reversed: Option<&mut [f32]>,
    ) {
        let Some(reversed) = reversed else { return };
        let (channels, _) = self.group();
        let tap = channels * self.filters;
        for (from, to) in kernel.chunks_exact(tap).zip(reversed.chunks_exact_mut(tap)) {
            transpose(from, to, channels, self.filters);
        }
    }

    fn backward(
        &self,
        pass: &Pass<'_>,
        reversed: &[f32],
        _ends: Ends<'_>,
        d_output: &mut [f32],
        d_input: Option<&mut [f32]>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let Some(d_input) = d_input else { return Ok(()) };
        d_input.fill(0.0);
        let images = d_output.chunks_exact(self.output().len());
        for (d_output, d_input) in images.zip(d_input.chunks_exact_mut(self.input().len())) {
            for pixels in self.blocks() {
                pass.control.check()?;
                let work = (self, pixels, reversed, d_output, &mut *d_input);
                pass.isa.vectorize(Self::spread_pixels, work);
            }
        }
        Ok(())
    }

    /// A row of the kernel is one number's channel; the sum runs over the output's pixels.
    fn kernel_gradient(
        &self,
        pass: &Pass<'_>,
        rows: Range<usize>,
        ends: Ends<'_>,
        d_output: &[f32],
        gradient: &mut [f32],
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        gradient.fill(0.0);
        let images = ends.input.chunks_exact(self.input().len());
        for (input, d_output) in images.zip(d_output.chunks_exact(self.output().len())) {
            for pixels in self.blocks() {
                pass.control.check()?;
                let part =
                    KernelPart { rows: rows.clone(), input, d_output, gradient: &mut *gradient };
                pass.isa.vectorize(Self::gradient_pixels, (self, pixels, part));
            }
        }
        Ok(())
    }
}
