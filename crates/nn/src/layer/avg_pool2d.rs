//! The mean over squares of `size`, `stride` apart, or over the whole image at once; rows and
//! columns that no whole square covers are dropped.

use teller_numeric::Cancelled;

use super::{Ends, Layer, Pass, Results, Weights};
use crate::Shape;

#[derive(Debug)]
pub(crate) struct AvgPool2d {
    height: usize,
    width: usize,
    channels: usize,
    /// Rows and columns of what is averaged.
    window: (usize, usize),
    stride: usize,
    output: Shape,
}

impl AvgPool2d {
    /// `None` if the square is larger than the image. `size` and `stride` must not be 0.
    pub(crate) fn new(
        (height, width, channels): (usize, usize, usize),
        size: usize,
        stride: usize,
    ) -> Option<Self> {
        let side = |input: usize| Some(input.checked_sub(size)? / stride + 1);
        let output = Shape::Image { height: side(height)?, width: side(width)?, channels };
        Some(Self { height, width, channels, window: (size, size), stride, output })
    }

    /// One mean a channel, as a vector.
    pub(crate) fn global((height, width, channels): (usize, usize, usize)) -> Self {
        let output = Shape::Vector(channels);
        Self { height, width, channels, window: (height, width), stride: 1, output }
    }

    fn extents(&self) -> (usize, usize) {
        match self.output {
            Shape::Image { height, width, .. } => (height, width),
            Shape::Vector(_) => (1, 1),
        }
    }

    fn share(&self) -> f32 {
        1.0 / (self.window.0 * self.window.1) as f32
    }

    /// Where the pixels under the output's pixel (y, x) begin in the input, row by row.
    #[inline(always)]
    fn pixels(&self, y: usize, x: usize) -> impl Iterator<Item = usize> {
        let (top, left) = (y * self.stride, x * self.stride);
        let (width, channels, (rows, columns)) = (self.width, self.channels, self.window);
        (0..rows).flat_map(move |row| {
            (0..columns).map(move |column| ((top + row) * width + left + column) * channels)
        })
    }

    /// One row of the output: the sum in the order of the pixels, then divided.
    #[inline(always)]
    fn pool_row((layer, y, input, output): (&Self, usize, &[f32], &mut [f32])) {
        let channels = layer.channels;
        let share = layer.share();
        for (x, to) in output.chunks_exact_mut(channels).enumerate() {
            to.fill(0.0);
            for from in layer.pixels(y, x) {
                for (sum, &value) in to.iter_mut().zip(&input[from..from + channels]) {
                    *sum += value;
                }
            }
            for sum in to {
                *sum *= share;
            }
        }
    }

    /// Gives the gradient of one row of the output to all pixels under it alike.
    #[inline(always)]
    fn spread_row((layer, y, d_output, d_input): (&Self, usize, &[f32], &mut [f32])) {
        let channels = layer.channels;
        let share = layer.share();
        for (x, from) in d_output.chunks_exact(channels).enumerate() {
            for at in layer.pixels(y, x) {
                for (d_value, &d) in d_input[at..at + channels].iter_mut().zip(from) {
                    *d_value += d * share;
                }
            }
        }
    }
}

impl Layer for AvgPool2d {
    fn input(&self) -> Shape {
        Shape::Image { height: self.height, width: self.width, channels: self.channels }
    }

    fn output(&self) -> Shape {
        self.output
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        _weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let row = self.extents().1 * self.channels;
        let images = input.chunks_exact(self.input().len());
        for (input, output) in images.zip(results.output.chunks_exact_mut(self.output.len())) {
            for (y, output) in output.chunks_exact_mut(row).enumerate() {
                pass.control.check()?;
                pass.isa.vectorize(Self::pool_row, (self, y, input, output));
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        pass: &Pass<'_>,
        _reversed: &[f32],
        _ends: Ends<'_>,
        d_output: &mut [f32],
        d_input: Option<&mut [f32]>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let Some(d_input) = d_input else { return Ok(()) };
        let row = self.extents().1 * self.channels;
        d_input.fill(0.0);
        let images = d_output.chunks_exact(self.output.len());
        for (d_output, d_input) in images.zip(d_input.chunks_exact_mut(self.input().len())) {
            for (y, d_output) in d_output.chunks_exact(row).enumerate() {
                pass.control.check()?;
                pass.isa.vectorize(Self::spread_row, (self, y, d_output, &mut *d_input));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use teller_numeric::{Isa, Uninterrupted};

    use super::*;

    #[test]
    fn means_are_over_squares_or_the_whole_image() {
        let pass = Pass { isa: Isa::detect(), control: &Uninterrupted, noise: None };
        // Two channels, the second ten times the first.
        let input: Vec<f32> = (0..12).flat_map(|x| [x as f32, 10.0 * x as f32]).collect();
        let mean = |layer: AvgPool2d| {
            let mut output = vec![f32::NAN; layer.output().len()];
            let results = Results { output: &mut output, saved: None };
            layer.forward(&pass, Weights::default(), &input, results, &mut []).unwrap();
            output
        };
        let squares = AvgPool2d::new((3, 4, 2), 2, 2).unwrap();
        assert_eq!(mean(squares), [2.5, 25.0, 4.5, 45.0]);
        let whole = AvgPool2d::global((3, 4, 2));
        assert_eq!(whole.output(), Shape::Vector(2));
        let means = mean(whole);
        assert!((means[0] - 5.5).abs() < 1e-5 && (means[1] - 55.0).abs() < 1e-4, "{means:?}");
        assert!(AvgPool2d::new((3, 4, 2), 4, 1).is_none());
    }
}
