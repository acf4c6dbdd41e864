//! The maximum over squares of `size`, `stride` apart; rows and columns that no whole square
//! covers are dropped.

use teller_numeric::Cancelled;

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

    /// Where the pixels of the output's pixel (y, x) begin in the input, row by row.
    #[inline(always)]
    fn square(&self, y: usize, x: usize) -> impl Iterator<Item = usize> {
        let (top, left) = (y * self.stride, x * self.stride);
        let (width, channels, size) = (self.width, self.channels, self.size);
        (0..size).flat_map(move |row| {
            (0..size).map(move |column| ((top + row) * width + left + column) * channels)
        })
    }

    /// One row of the output.
    #[inline(always)]
    fn pool_row((layer, y, input, output): (&Self, usize, &[f32], &mut [f32])) {
        let channels = layer.channels;
        let (_, width) = layer.extents();
        for (x, to) in output.chunks_exact_mut(channels).skip(y * width).take(width).enumerate() {
            let mut pixels = layer.square(y, x);
            if let Some(first) = pixels.next() {
                to.copy_from_slice(&input[first..first + channels]);
            }
            for from in pixels {
                for (max, &value) in to.iter_mut().zip(&input[from..from + channels]) {
                    // The comparison of the pooling that convolutions fuse.
                    *max = if *max > value { *max } else { value };
                }
            }
        }
    }

    /// Gives the gradient of one row of the output to the first pixels that have the maximum.
    /// `rest` is what of the gradient has not found its pixel yet.
    #[inline(always)]
    fn route_row((layer, y, routes, rest): (&Self, usize, Routes<'_>, &mut [f32])) {
        let channels = layer.channels;
        let (_, width) = layer.extents();
        for x in 0..width {
            let at = (y * width + x) * channels;
            let max = &routes.output[at..at + channels];
            rest.copy_from_slice(&routes.d_output[at..at + channels]);
            for from in layer.square(y, x) {
                let values = routes.input[from..from + channels].iter().zip(max);
                let gradients = routes.d_input[from..from + channels].iter_mut().zip(&mut *rest);
                for ((value, max), (d_value, rest)) in values.zip(gradients) {
                    // By masks, since branches would keep the loop from being vectorized.
                    let hit = u32::from(value == max).wrapping_neg();
                    *d_value += f32::from_bits(rest.to_bits() & hit);
                    *rest = f32::from_bits(rest.to_bits() & !hit);
                }
            }
        }
    }
}

/// One image on both sides of the pooling.
struct Routes<'a> {
    input: &'a [f32],
    output: &'a [f32],
    d_output: &'a [f32],
    d_input: &'a mut [f32],
}

impl Layer for MaxPool2d {
    fn input(&self) -> Shape {
        Shape::Image { height: self.height, width: self.width, channels: self.channels }
    }

    fn output(&self) -> Shape {
        let (height, width) = self.extents();
        Shape::Image { height, width, channels: self.channels }
    }

    fn training_scratch(&self) -> usize {
        self.channels
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        _weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let (height, _) = self.extents();
        let images = input.chunks_exact(self.input().len());
        for (input, output) in images.zip(results.output.chunks_exact_mut(self.output().len())) {
            for y in 0..height {
                pass.control.check()?;
                pass.isa.vectorize(Self::pool_row, (self, y, input, &mut *output));
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
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let Some(d_input) = d_input else { return Ok(()) };
        let (height, _) = self.extents();
        let (input_len, output_len) = (self.input().len(), self.output().len());
        let rest = &mut scratch[..self.channels];
        d_input.fill(0.0);
        let inputs = ends.input.chunks_exact(input_len).zip(d_input.chunks_exact_mut(input_len));
        let outputs = ends.output.chunks_exact(output_len).zip(d_output.chunks_exact(output_len));
        for ((input, d_input), (output, d_output)) in inputs.zip(outputs) {
            for y in 0..height {
                pass.control.check()?;
                let row = Routes { input, output, d_output, d_input: &mut *d_input };
                pass.isa.vectorize(Self::route_row, (self, y, row, &mut *rest));
            }
        }
        Ok(())
    }
}
