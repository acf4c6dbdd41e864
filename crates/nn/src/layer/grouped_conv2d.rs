//! Convolution in groups of channels, or with a dilated kernel: `[kernel, kernel, channels of a
//! group, filters]`, where the filters of a group follow each other and read its channels alone.
//! As many groups as channels and filters make it depthwise.

use std::ops::Range;

use teller_numeric::kernels::{Contraction, Depthwise, Grid, Start};
use teller_numeric::{Cancelled, Isa, Stream};

use super::conv2d::Side;
use super::{
    Ends, Initialization, Layer, PRODUCTS_PER_CHECK, Padding, Pass, Results, Weights, transpose,
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

    fn is_depthwise(&self) -> bool {
        self.group() == (1, 1)
    }

    /// Rows and columns that a kernel covers.
    fn covered(&self) -> usize {
        (self.reach.kernel - 1) * self.reach.dilation + 1
    }

    /// Floats of the image with its zeros around it, 0 if it has none.
    fn padded_len(&self) -> usize {
        match self.rows.is_padded() || self.columns.is_padded() {
            true => self.rows.padded() * self.columns.padded() * self.channels,
            false => 0,
        }
    }

    fn pad<'a>(&self, image: &'a [f32], frame: &'a mut [f32]) -> &'a [f32] {
        if frame.is_empty() {
            return image;
        }
        frame.fill(0.0);
        let (row, padded) = (self.columns.input * self.channels, self.columns.padded());
        let first = (self.rows.before * padded + self.columns.before) * self.channels;
        for (y, from) in image.chunks_exact(row).enumerate() {
            frame[first + y * padded * self.channels..][..row].copy_from_slice(from);
        }
        frame
    }

    /// Rows and columns of the gradient to the output, `stride` apart and with zeros around, from
    /// which a convolution with the turned kernel gives the gradient to every pixel.
    fn spread_extents(&self) -> (usize, usize) {
        (self.rows.input + self.covered() - 1, self.columns.input + self.covered() - 1)
    }

    fn spread_len(&self) -> usize {
        let (height, width) = self.spread_extents();
        height * width * self.filters
    }

    fn spread(&self, d_output: &[f32], frame: &mut [f32]) {
        frame.fill(0.0);
        let (stride, width) = (self.reach.stride, self.spread_extents().1);
        let top = self.covered() - 1 - self.rows.before;
        let left = self.covered() - 1 - self.columns.before;
        for (at, from) in d_output.chunks_exact(self.filters).enumerate() {
            let (y, x) = (at / self.columns.output, at % self.columns.output);
            let to = ((top + y * stride) * width + left + x * stride) * self.filters;
            frame[to..to + self.filters].copy_from_slice(from);
        }
    }

    fn depthwise(&self) -> Depthwise {
        let Reach { kernel, stride, dilation, .. } = self.reach;
        let output = (self.rows.output, self.columns.output);
        let width = self.columns.padded();
        Depthwise { output, channels: self.channels, width, kernel, stride, dilation }
    }

    /// The convolution of the gradient that [`Self::spread`] gives.
    fn turned(&self) -> Walk {
        Walk {
            extents: (self.rows.input, self.columns.input),
            width: self.spread_extents().1,
            kernel: self.reach.kernel,
            stride: 1,
            dilation: self.reach.dilation,
            from: self.filters,
            to: self.channels,
            group: (self.group().1, self.group().0),
        }
    }

    fn walk(&self) -> Walk {
        let Reach { kernel, stride, dilation, .. } = self.reach;
        Walk {
            extents: (self.rows.output, self.columns.output),
            width: self.columns.padded(),
            kernel,
            stride,
            dilation,
            from: self.channels,
            to: self.filters,
            group: self.group(),
        }
    }

    /// Adds what one image gives to some rows of the kernel's gradient.
    fn add_gradient(
        &self,
        isa: Isa,
        rows: Range<usize>,
        image: &[f32],
        d_output: &[f32],
        gradient: &mut [f32],
    ) {
        let Reach { kernel, stride, dilation, .. } = self.reach;
        let ((channels, filters), width) = (self.group(), self.columns.padded());
        let mut row = rows.start;
        while row < rows.end {
            let (tap, channel) = (row / channels, row % channels);
            let count = (channels - channel).min(rows.end - row);
            let sum = Contraction {
                rows: Grid {
                    outer: 1,
                    inner: count,
                    a_inner: 1,
                    c_inner: self.filters,
                    ..Grid::default()
                },
                columns: filters,
                segments: self.rows.output,
                steps: self.columns.output,
                a_segment: stride * width * self.channels,
                a_step: stride * self.channels,
                b_segment: self.columns.output * self.filters,
                b_step: self.filters,
                ..Contraction::default()
            };
            let first = (tap / kernel * width + tap % kernel) * dilation * self.channels;
            for group in 0..self.groups {
                let image = &image[first + group * channels + channel..];
                let to = &mut gradient[(row - rows.start) * self.filters + group * filters..];
                sum.run(isa, image, &d_output[group * filters..], Start::Continue, to);
            }
            row += count;
        }
    }
}

/// A convolution of groups over an image with its zeros around.
struct Walk {
    /// Rows and columns of the result.
    extents: (usize, usize),
    /// Pixels in a row of the image.
    width: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Numbers of a pixel before and after, and those of a group.
    from: usize,
    to: usize,
    group: (usize, usize),
}

impl Walk {
    /// The kernel holds a matrix for each of its numbers, whose rows lie `b_step` floats apart and
    /// those of groups `b_group`.
    fn run(
        &self,
        pass: &Pass<'_>,
        image: &[f32],
        (kernel, b_step, b_group): (&[f32], usize, usize),
        bias: Option<&[f32]>,
        to: &mut [f32],
    ) -> Result<(), Cancelled> {
        let (height, width) = self.extents;
        let (steps, columns) = self.group;
        let row = self.width * self.from;
        let tap = kernel.len() / (self.kernel * self.kernel);
        let products = width * self.kernel * steps * columns;
        let block = (PRODUCTS_PER_CHECK / products.max(1)).max(1);
        for group in 0..self.from / steps {
            for first in (0..height).step_by(block) {
                pass.control.check()?;
                for kernel_row in 0..self.kernel {
                    let sum = Contraction {
                        rows: Grid {
                            outer: block.min(height - first),
                            inner: width,
                            a_outer: self.stride * row,
                            a_inner: self.stride * self.from,
                            c_outer: width * self.to,
                            c_inner: self.to,
                        },
                        columns,
                        segments: self.kernel,
                        steps,
                        a_segment: self.dilation * self.from,
                        a_step: 1,
                        b_segment: tap,
                        b_step,
                        ..Contraction::default()
                    };
                    let row = (first * self.stride + kernel_row * self.dilation) * row;
                    let image = &image[row + group * steps..];
                    let kernel = &kernel[kernel_row * self.kernel * tap + group * b_group..];
                    let start = match (kernel_row, bias) {
                        (0, Some(bias)) => Start::Bias(&bias[group * columns..]),
                        (0, None) => Start::Zero,
                        _ => Start::Continue,
                    };
                    let to = &mut to[first * width * self.to + group * columns..];
                    sum.run(pass.isa, image, kernel, start, to);
                }
            }
        }
        Ok(())
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

    fn initialize(&self, by: Initialization, stream: &mut Stream, kernel: &mut [f32]) {
        let taps = self.reach.kernel * self.reach.kernel;
        let (channels, filters) = self.group();
        by.draw(stream, taps * channels, taps * filters, kernel);
    }

    fn scratch(&self) -> usize {
        self.padded_len()
    }

    fn training_scratch(&self) -> usize {
        self.padded_len().max(self.spread_len())
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let frame = &mut scratch[..self.padded_len()];
        let images = input.chunks_exact(self.input().len());
        for (input, output) in images.zip(results.output.chunks_exact_mut(self.output().len())) {
            pass.control.check()?;
            let (image, bias) = (self.pad(input, frame), Some(weights.bias));
            if self.is_depthwise() {
                self.depthwise().filter(pass.isa, image, weights.kernel, bias, output);
                continue;
            }
            let kernel = (weights.kernel, self.filters, self.group().1);
            self.walk().run(pass, image, kernel, bias, output)?;
        }
        Ok(())
    }

    fn reversed(&self) -> usize {
        self.reach.kernel * self.reach.kernel * self.group().0 * self.filters
    }

    /// Turned by half a circle, each number's matrix transposed to `[filters, channels of a
    /// group]`.
    fn prepare(
        &self,
        _isa: Isa,
        weights: Weights<'_>,
        _prepared: &mut [f32],
        reversed: Option<&mut [f32]>,
    ) {
        let Some(reversed) = reversed else { return };
        let (channels, _) = self.group();
        let tap = channels * self.filters;
        let turned = reversed.chunks_exact_mut(tap).rev();
        for (from, to) in weights.kernel.chunks_exact(tap).zip(turned) {
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
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let Some(d_input) = d_input else { return Ok(()) };
        let frame = &mut scratch[..self.spread_len()];
        let images = d_output.chunks_exact(self.output().len());
        for (d_output, d_input) in images.zip(d_input.chunks_exact_mut(self.input().len())) {
            pass.control.check()?;
            self.spread(d_output, frame);
            if self.is_depthwise() {
                let turned = Depthwise {
                    output: (self.rows.input, self.columns.input),
                    width: self.spread_extents().1,
                    stride: 1,
                    ..self.depthwise()
                };
                turned.filter(pass.isa, frame, reversed, None, d_input);
                continue;
            }
            let (channels, filters) = self.group();
            let kernel = (reversed, channels, filters * channels);
            self.turned().run(pass, frame, kernel, None, d_input)?;
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
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        gradient.fill(0.0);
        let frame = &mut scratch[..self.padded_len()];
        let images = ends.input.chunks_exact(self.input().len());
        for (input, d_output) in images.zip(d_output.chunks_exact(self.output().len())) {
            pass.control.check()?;
            let image = self.pad(input, frame);
            if self.is_depthwise() {
                let depthwise = self.depthwise();
                depthwise.kernel_gradient(pass.isa, rows.clone(), image, d_output, gradient);
                continue;
            }
            self.add_gradient(pass.isa, rows.clone(), image, d_output, gradient);
        }
        Ok(())
    }
}
