//! Two-dimensional convolution, kernel `[kernel, kernel, channels, filters]`, where asked with the
//! pooling by 2 x 2 after it; and its transpose.

mod direct;
mod input_gradient;
mod transposed;
mod winograd;

use std::ops::Range;

use teller_numeric::kernels::Start;
use teller_numeric::{Cancelled, Isa, Stream};
pub(crate) use transposed::ConvTranspose2d;

use super::{Ends, Initialization, Layer, Pass, Results, Weights, relu_gradient};
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
pub(super) struct Side {
    pub(super) input: usize,
    pub(super) output: usize,
    /// Zeros before the image.
    pub(super) before: usize,
    /// Zeros before and after it.
    padding: usize,
}

impl Side {
    pub(super) fn new(
        input: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> Option<Self> {
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

    pub(super) fn padded(self) -> usize {
        self.input + self.padding
    }

    pub(super) fn is_padded(self) -> bool {
        self.padding > 0
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
    /// Computed by Winograd's transforms, whose sums are others and so are their last bits.
    winograd: bool,
    /// The output is the maximum over 2 x 2 pixels, which are not stored; those that no whole
    /// square covers are not computed.
    pool: bool,
}

/// Fewest channels and filters for which the transforms cost less than they save; whether a layer
/// takes them depends on its shape alone.
const WINOGRAD_CHANNELS: usize = 16;

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
        let wide = channels.min(filters) >= WINOGRAD_CHANNELS;
        let winograd = kernel == 3 && stride == 1 && wide;
        Some(Self { rows, columns, channels, filters, kernel, stride, relu, winograd, pool: false })
    }

    /// The same layer followed by a pooling of size and stride 2.
    pub(crate) fn pooled(self) -> Self {
        Self { pool: true, ..self }
    }

    /// The same layer without transforms.
    pub(crate) fn direct(self) -> Self {
        Self { winograd: false, ..self }
    }

    /// Rows and columns of pixels of the convolution itself that somebody needs.
    fn computed(&self) -> (usize, usize) {
        match self.pool {
            true => (self.rows.output / 2 * 2, self.columns.output / 2 * 2),
            false => (self.rows.output, self.columns.output),
        }
    }

    /// The image within zeros, `width` pixels in a row.
    fn frame<'a>(&self, image: &[f32], width: usize, frame: &'a mut [f32]) -> &'a [f32] {
        frame.fill(0.0);
        let row = self.columns.input * self.channels;
        let first = (self.rows.before * width + self.columns.before) * self.channels;
        for (y, from) in image.chunks_exact(row).enumerate() {
            frame[first + y * width * self.channels..][..row].copy_from_slice(from);
        }
        frame
    }
}

impl Layer for Conv2d {
    fn input(&self) -> Shape {
        Shape::Image { height: self.rows.input, width: self.columns.input, channels: self.channels }
    }

    fn output(&self) -> Shape {
        let by = if self.pool { 2 } else { 1 };
        let (height, width) = self.computed();
        Shape::Image { height: height / by, width: width / by, channels: self.filters }
    }

    fn products(&self) -> usize {
        let (height, width) = self.computed();
        height * width * self.kernel * self.kernel * self.channels * self.filters
    }

    fn kernel_shape(&self) -> Option<Vec<usize>> {
        Some(vec![self.kernel, self.kernel, self.channels, self.filters])
    }

    fn scratch(&self) -> usize {
        if self.winograd { self.winograd_scratch() } else { self.direct_scratch() }
    }

    fn training_scratch(&self) -> usize {
        match self.winograd {
            true => self.winograd_scratch(),
            false => self.direct_training_scratch(),
        }
    }

    /// Which of the four pixels is the maximum.
    fn saved(&self) -> usize {
        if self.pool { self.output().len() } else { 0 }
    }

    fn prepared(&self) -> usize {
        if self.winograd { self.transformed_len() } else { 0 }
    }

    fn reversed(&self) -> usize {
        match self.winograd {
            true => self.transformed_len(),
            false => self.kernel * self.kernel * self.channels * self.filters,
        }
    }

    fn prepare(
        &self,
        isa: Isa,
        weights: Weights<'_>,
        prepared: &mut [f32],
        reversed: Option<&mut [f32]>,
    ) {
        match self.winograd {
            true => self.winograd_prepare(isa, weights.kernel, prepared, reversed),
            false => self.direct_prepare(weights.kernel, reversed),
        }
    }

    fn initialize(&self, by: Initialization, stream: &mut Stream, kernel: &mut [f32]) {
        let taps = self.kernel * self.kernel;
        by.draw(stream, taps * self.channels, taps * self.filters, kernel);
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        match self.winograd {
            true => self.winograd_forward(pass, weights, input, results, scratch),
            false => self.direct_forward(pass, weights, input, results, scratch),
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
        match self.winograd {
            true => self.winograd_backward(pass, reversed, ends, d_output, d_input, scratch),
            false => {
                let to = (Start::Zero, d_input);
                self.direct_backward(pass, reversed, ends.saved, d_output, to, scratch)
            }
        }
    }

    fn gradient_rows(&self) -> usize {
        match self.winograd {
            true => self.transformed_len() / self.filters,
            false => self.kernel * self.kernel * self.channels,
        }
    }

    fn task_rows(&self) -> usize {
        if self.winograd { self.gradient_rows() / 4 } else { super::TASK_ROWS }
    }

    fn kernel_gradient(
        &self,
        pass: &Pass<'_>,
        rows: Range<usize>,
        ends: Ends<'_>,
        d_output: &[f32],
        gradient: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        match self.winograd {
            true => self.winograd_gradient(pass, rows, ends, d_output, gradient, scratch),
            false => self.direct_gradient(pass, rows, ends, d_output, gradient, scratch),
        }
    }

    fn finish_gradient(&self, isa: Isa, gradient: &[f32], kernel: &mut [f32]) {
        if self.winograd {
            self.winograd_finish(isa, gradient, kernel);
        }
    }
}
