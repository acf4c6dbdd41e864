//! The maximum over squares of `size`, `stride` apart; rows and columns that no whole square
//! covers are dropped.

use std::ops::Range;

use teller_numeric::Cancelled;
use teller_numeric::kernels::Windows;

use super::{Ends, Layer, Pass, Results, Weights};
use crate::Shape;

#[derive(Debug)]
pub(crate) struct MaxPool2d {
    height: usize,
    width: usize,
    channels: usize,
    size: usize,
    stride: usize,
}

impl MaxPool2d {
    /// `None` if the square is larger than the image. `size` and `stride` must not be 0.
    pub(crate) fn new(
        (height, width, channels): (usize, usize, usize),
        size: usize,
        stride: usize,
    ) -> Option<Self> {
        (size <= height && size <= width).then_some(Self { height, width, channels, size, stride })
    }

    fn extents(&self) -> (usize, usize) {
        let side = |input: usize| (input - self.size) / self.stride + 1;
        (side(self.height), side(self.width))
    }

    fn windows(&self) -> Windows {
        Windows {
            width: self.width,
            channels: self.channels,
            size: (self.size, self.size),
            stride: self.stride,
            count: self.extents().1,
        }
    }

    /// Where the windows of a row of the output begin in the input, and what they give in it.
    fn row(&self, y: usize) -> (usize, Range<usize>) {
        let width = self.extents().1 * self.channels;
        (y * self.stride * self.width * self.channels, y * width..(y + 1) * width)
    }
}

impl Layer for MaxPool2d {
    fn input(&self) -> Shape {
        Shape::Image { height: self.height, width: self.width, channels: self.channels }
    }

    fn output(&self) -> Shape {
        let (height, width) = self.extents();
        Shape::Image { height, width, channels: self.channels }
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        _weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let (windows, (height, _)) = (self.windows(), self.extents());
        let images = input.chunks_exact(self.input().len());
        for (input, output) in images.zip(results.output.chunks_exact_mut(self.output().len())) {
            for y in 0..height {
                pass.control.check()?;
                let (first, row) = self.row(y);
                windows.maximum(pass.isa, &input[first..], &mut output[row]);
            }
        }
        Ok(())
    }

    /// The gradient goes to the first pixel that has the maximum.
    fn backward(
        &self,
        pass: &Pass<'_>,
        _reversed: &[f32],
        ends: Ends<'_>,
        d_output: &mut [f32],
        d_input: Option<&mut [f32]>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let Some(d_input) = d_input else { return Ok(()) };
        let (windows, (height, _)) = (self.windows(), self.extents());
        let (input_len, output_len) = (self.input().len(), self.output().len());
        d_input.fill(0.0);
        let inputs = ends.input.chunks_exact(input_len).zip(d_input.chunks_exact_mut(input_len));
        let outputs = ends.output.chunks_exact(output_len).zip(d_output.chunks_exact(output_len));
        for ((input, d_input), (output, d_output)) in inputs.zip(outputs) {
            for y in 0..height {
                pass.control.check()?;
                let (first, row) = self.row(y);
                windows.maximum_gradient(
                    pass.isa,
                    &input[first..],
                    &output[row.clone()],
                    &d_output[row],
                    &mut d_input[first..],
                );
            }
        }
        Ok(())
    }
}
