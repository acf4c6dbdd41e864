//! Two-dimensional convolution, kernel `[kernel, kernel, channels, filters]`, computed in place:
//! for one kernel row, the pixels below it times their channels are contiguous in the image, so
//! the contraction walks them without copying patches apart.

use std::ops::Range;

use teller_numeric::kernels::{Contraction, Grid, Start};
use teller_numeric::{Cancelled, Stream};

use super::dense::transpose;
use super::{Ends, Layer, PRODUCTS_PER_CHECK, Pass, Weights, he_normal, relu_gradient};
use crate::Shape;

/// What surrounds the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Nothing: the kernel stays inside, the output is smaller.
    Valid,
    /// Zeros, so that the output has the input's size divided by the stride, rounded up; an odd
    /// one goes below and to the right.
    Same,
}

/// Sizes along one direction.
#[derive(Clone, Copy, Debug)]
struct Side {
    input: usize,
    output: usize,
    /// Zeros before the image.
    before: usize,
    /// Zeros before and after it.
    padding: usize,
}

impl Side {
    fn new(input: usize, kernel: usize, stride: usize, padding: Padding) -> Option<Self> {
        match padding {
            Padding::Valid => {
                let output = input.checked_sub(kernel)? / stride + 1;
                Some(Self { input, output, before: 0, padding: 0 })
            }
            Padding::Same => {
                let output = input.div_ceil(stride);
                let padding = ((output - 1) * stride + kernel).saturating_sub(input);
                Some(Self { input, output, before: padding / 2, padding })
            }
        }
    }

    fn padded(self) -> usize {
        self.input + self.padding
    }
}

#[derive(Debug)]
pub(crate) struct Conv2d {
    rows: Side,
    columns: Side,
    channels: usize,
    filters: usize,
    kernel: usize,
    stride: usize,
    relu: bool,
    /// Serving only: the maximum over 2 x 2 of the output, without storing that first.
    pool: bool,
}

impl Conv2d {
    /// `None` if the kernel is larger than the image. `filters`, `kernel`, `stride` must not be 0.
    pub(crate) fn new(
        (height, width, channels): (usize, usize, usize),
        filters: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
        relu: bool,
    ) -> Option<Self> {
        let rows = Side::new(height, kernel, stride, padding)?;
        let columns = Side::new(width, kernel, stride, padding)?;
        Some(Self { rows, columns, channels, filters, kernel, stride, relu, pool: false })
    }

    /// The same layer followed by a pooling of size and stride 2.
    pub(crate) fn pooled(self) -> Self {
        Self { pool: true, ..self }
    }

    fn is_padded(&self) -> bool {
        self.rows.padding + self.columns.padding > 0
    }

    fn padded_len(&self) -> usize {
        if !self.is_padded() {
            return 0;
        }
        self.rows.padded() * self.columns.padded() * self.channels
    }

    /// The image with its zeros around it.
    fn pad<'a>(&self, image: &'a [f32], scratch: &'a mut [f32]) -> &'a [f32] {
        if !self.is_padded() {
            return image;
        }
        let scratch = &mut scratch[..self.padded_len()];
        scratch.fill(0.0);
        let row = self.columns.input * self.channels;
        let padded_row = self.columns.padded() * self.channels;
        let first = self.rows.before * padded_row + self.columns.before * self.channels;
        for (y, from) in image.chunks_exact(row).enumerate() {
            scratch[first + y * padded_row..][..row].copy_from_slice(from);
        }
        scratch
    }

    /// Rows of pixels that `backward` surrounds the output's gradient with.
    fn spread_len(&self) -> usize {
        let rows = self.rows.input + self.kernel - 1;
        rows * (self.columns.input + self.kernel - 1) * self.filters
    }

    /// The output's gradient, `stride` apart and with zeros around, such that a convolution with
    /// the turned kernel gives the gradient to every pixel of the input.
    fn spread<'a>(&self, d_output: &[f32], scratch: &'a mut [f32]) -> &'a [f32] {
        let scratch = &mut scratch[..self.spread_len()];
        scratch.fill(0.0);
        let row = (self.columns.input + self.kernel - 1) * self.filters;
        let top = self.kernel - 1 - self.rows.before;
        let left = self.kernel - 1 - self.columns.before;
        let pixels = d_output.chunks_exact(self.columns.output * self.filters);
        for (y, from) in pixels.enumerate() {
            let to = &mut scratch[(top + y * self.stride) * row + left * self.filters..];
            if self.stride == 1 {
                to[..from.len()].copy_from_slice(from);
                continue;
            }
            for (x, from) in from.chunks_exact(self.filters).enumerate() {
                to[x * self.stride * self.filters..][..self.filters].copy_from_slice(from);
            }
        }
        scratch
    }
}

impl Layer for Conv2d {
    fn input(&self) -> Shape {
        Shape::Image { height: self.rows.input, width: self.columns.input, channels: self.channels }
    }

    fn output(&self) -> Shape {
        let by = if self.pool { 2 } else { 1 };
        let (height, width) = (self.rows.output / by, self.columns.output / by);
        Shape::Image { height, width, channels: self.filters }
    }

    fn kernel_shape(&self) -> Option<Vec<usize>> {
        Some(vec![self.kernel, self.kernel, self.channels, self.filters])
    }

    fn scratch(&self) -> usize {
        if self.pool { self.padded_len() } else { self.padded_len().max(self.spread_len()) }
    }

    fn initialize(&self, stream: &mut Stream, kernel: &mut [f32]) {
        he_normal(stream, self.kernel * self.kernel * self.channels, kernel);
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        output: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let Shape::Image { height, width, .. } = self.output() else { return Ok(()) };
        let by = if self.pool { 2 * self.stride } else { self.stride };
        let pixel = self.stride * self.channels;
        let row = self.columns.padded() * self.channels;
        let steps = self.kernel * self.channels;
        let products = self.kernel * steps * self.filters * width * if self.pool { 4 } else { 1 };
        let block = (PRODUCTS_PER_CHECK / products).max(1);
        let images = input.chunks_exact(self.input().len());
        for (input, output) in images.zip(output.chunks_exact_mut(height * width * self.filters)) {
            let input = self.pad(input, scratch);
            for first in (0..height).step_by(block) {
                pass.control.check()?;
                let sum = Contraction {
                    rows: Grid {
                        outer: block.min(height - first),
                        inner: width,
                        a_outer: by * row,
                        a_inner: by * self.channels,
                        c_outer: width * self.filters,
                        c_inner: self.filters,
                    },
                    columns: self.filters,
                    segments: self.kernel,
                    steps,
                    a_segment: row,
                    a_step: 1,
                    b_segment: steps * self.filters,
                    b_step: self.filters,
                    relu: self.relu,
                    pool: self.pool.then_some([
                        0,
                        pixel,
                        self.stride * row,
                        self.stride * row + pixel,
                    ]),
                };
                let to = &mut output[first * width * self.filters..];
                let from = &input[first * by * row..];
                sum.run(pass.isa, from, weights.kernel, Start::Bias(weights.bias), to);
            }
        }
        Ok(())
    }

    /// Turned by half a circle, each pixel's matrix transposed to `[filters, channels]`.
    fn reverse(&self, kernel: &[f32], reversed: &mut [f32]) {
        let pixel = self.channels * self.filters;
        let turned = reversed.chunks_exact_mut(pixel).rev();
        for (from, to) in kernel.chunks_exact(pixel).zip(turned) {
            transpose(from, to, self.channels, self.filters);
        }
    }

    fn backward(
        &self,
        pass: &Pass<'_>,
        reversed: &[f32],
        ends: Ends<'_>,
        d_output: &mut [f32],
        d_input: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        if self.relu {
            relu_gradient(pass.isa, ends.output, d_output);
        }
        let Some(d_input) = d_input else { return Ok(()) };
        let row = (self.columns.input + self.kernel - 1) * self.filters;
        let steps = self.kernel * self.filters;
        let sum = Contraction {
            rows: Grid {
                outer: self.rows.input,
                inner: self.columns.input,
                a_outer: row,
                a_inner: self.filters,
                c_outer: self.columns.input * self.channels,
                c_inner: self.channels,
            },
            columns: self.channels,
            segments: self.kernel,
            steps,
            a_segment: row,
            a_step: 1,
            b_segment: steps * self.channels,
            b_step: self.channels,
            ..Contraction::default()
        };
        let images = d_output.chunks_exact(self.output().len());
        for (d_output, d_input) in images.zip(d_input.chunks_exact_mut(self.input().len())) {
            pass.control.check()?;
            let spread = self.spread(d_output, scratch);
            sum.run(pass.isa, spread, reversed, Start::Zero, d_input);
        }
        Ok(())
    }

    /// A row of the kernel is one kernel pixel's channel; the sum runs over the output's pixels.
    fn kernel_gradient(
        &self,
        pass: &Pass<'_>,
        rows: Range<usize>,
        input: &[f32],
        d_output: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), Cancelled> {
        let mut scratch = vec![0.0; self.padded_len()];
        let row = self.columns.padded() * self.channels;
        let per_kernel_row = self.kernel * self.channels;
        let images = input.chunks_exact(self.input().len());
        for (input, d_output) in images.zip(d_output.chunks_exact(self.output().len())) {
            pass.control.check()?;
            let input = self.pad(input, &mut scratch);
            let mut done = 0;
            while done < rows.len() {
                let at = rows.start + done;
                let (kernel_row, within) = (at / per_kernel_row, at % per_kernel_row);
                let left = rows.end - at;
                // As many whole kernel rows as there are, else a part of one.
                let (outer, inner) = match left / per_kernel_row {
                    whole @ 1.. if within == 0 => (whole, per_kernel_row),
                    _ => (1, left.min(per_kernel_row - within)),
                };
                let sum = Contraction {
                    rows: Grid {
                        outer,
                        inner,
                        a_outer: row,
                        a_inner: 1,
                        c_outer: per_kernel_row * self.filters,
                        c_inner: self.filters,
                    },
                    columns: self.filters,
                    segments: self.rows.output,
                    steps: self.columns.output,
                    a_segment: self.stride * row,
                    a_step: self.stride * self.channels,
                    b_segment: self.columns.output * self.filters,
                    b_step: self.filters,
                    ..Contraction::default()
                };
                let from = &input[kernel_row * row + within..];
                let to = &mut gradient[done * self.filters..];
                sum.run(pass.isa, from, d_output, Start::Continue, to);
                done += outer * inner;
            }
        }
        Ok(())
    }
}
