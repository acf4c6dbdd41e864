//! The maximum over squares of `size`, `stride` apart; rows and columns that no whole square
//! covers are dropped.

use teller_numeric::Cancelled;

use super::{Ends, Layer, Pass, Weights};
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
    fn square(&self, y: usize, x: usize) -> impl Iterator<Item = usize> {
        let (top, left) = (y * self.stride, x * self.stride);
        let (width, channels, size) = (self.width, self.channels, self.size);
        (0..size * size).map(move |i| ((top + i / size) * width + left + i % size) * channels)
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

    fn scratch(&self) -> usize {
        self.channels
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        _weights: Weights<'_>,
        input: &[f32],
        output: &mut [f32],
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let (height, width) = self.extents();
        let images = input.chunks_exact(self.input().len());
        for (input, output) in images.zip(output.chunks_exact_mut(self.output().len())) {
            for y in 0..height {
                pass.control.check()?;
                pass.isa.vectorize(|| {
                    for x in 0..width {
                        let at = (y * width + x) * self.channels;
                        let to = &mut output[at..at + self.channels];
                        let mut pixels = self.square(y, x);
                        if let Some(first) = pixels.next() {
                            to.copy_from_slice(&input[first..first + self.channels]);
                        }
                        for from in pixels {
                            let from = &input[from..from + self.channels];
                            for (max, &value) in to.iter_mut().zip(from) {
                                // The comparison of the pooling that convolutions fuse.
                                *max = if *max > value { *max } else { value };
                            }
                        }
                    }
                });
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
        let (height, width) = self.extents();
        let (input_len, output_len) = (self.input().len(), self.output().len());
        let rest = &mut scratch[..self.channels];
        d_input.fill(0.0);
        let inputs = ends.input.chunks_exact(input_len).zip(d_input.chunks_exact_mut(input_len));
        let outputs = ends.output.chunks_exact(output_len).zip(d_output.chunks_exact(output_len));
        for ((input, d_input), (output, d_output)) in inputs.zip(outputs) {
            for y in 0..height {
                pass.control.check()?;
                pass.isa.vectorize(|| {
                    for x in 0..width {
                        let at = (y * width + x) * self.channels;
                        let max = &output[at..at + self.channels];
                        rest.copy_from_slice(&d_output[at..at + self.channels]);
                        for from in self.square(y, x) {
                            let value = &input[from..from + self.channels];
                            let d_value = &mut d_input[from..from + self.channels];
                            let ends = value.iter().zip(max);
                            for ((d, rest), (x, max)) in
                                d_value.iter_mut().zip(rest.iter_mut()).zip(ends)
                            {
                                let hit = x == max;
                                *d += if hit { *rest } else { 0.0 };
                                *rest = if hit { 0.0 } else { *rest };
                            }
                        }
                    }
                });
            }
        }
        Ok(())
    }
}
