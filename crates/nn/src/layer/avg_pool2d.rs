//! The mean over squares of `size`, `stride` apart, or over the whole image at once; rows and
//! columns that no whole square covers are dropped.

use teller_numeric::Cancelled;
use teller_numeric::kernels::Windows;

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

    fn windows(&self) -> Windows {
        Windows {
            width: self.width,
            channels: self.channels,
            size: self.window,
            stride: self.stride,
            count: self.extents().1,
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
        let (windows, share) = (self.windows(), self.share());
        let images = input.chunks_exact(self.input().len());
        for (input, output) in images.zip(results.output.chunks_exact_mut(self.output.len())) {
            let output = output.chunks_exact_mut(windows.count * self.channels);
            for (y, output) in output.enumerate() {
                pass.control.check()?;
                let input = &input[y * self.stride * self.width * self.channels..];
                windows.mean(pass.isa, share, input, output);
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
        let (windows, share) = (self.windows(), self.share());
        d_input.fill(0.0);
        let images = d_output.chunks_exact(self.output.len());
        for (d_output, d_input) in images.zip(d_input.chunks_exact_mut(self.input().len())) {
            let d_output = d_output.chunks_exact(windows.count * self.channels);
            for (y, d_output) in d_output.enumerate() {
                pass.control.check()?;
                let d_input = &mut d_input[y * self.stride * self.width * self.channels..];
                windows.mean_gradient(pass.isa, share, d_output, d_input);
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
