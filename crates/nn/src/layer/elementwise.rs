//! An activation by itself, value by value; rectifiers are fused into the layer before them
//! instead, see [`super::Relu`].

use teller_numeric::Cancelled;
use teller_numeric::activations::{gelu, gelu_slope, sigmoid, tanh};

use super::{Ends, Layer, Pass, Results, Weights};
use crate::Shape;

/// Values between two looks at the control: a few milliseconds on the slowest path.
const VALUES_PER_CHECK: usize = 1 << 16;

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Curve {
    /// Negative values times this slope, 0 to 1 (Maas et al. 2013).
    LeakyRelu(f32),
    Gelu,
    Sigmoid,
    Tanh,
}

#[derive(Debug)]
pub(crate) struct Elementwise {
    pub(crate) shape: Shape,
    pub(crate) curve: Curve,
}

impl Layer for Elementwise {
    fn input(&self) -> Shape {
        self.shape
    }

    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        _weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let parts = input.chunks(VALUES_PER_CHECK).zip(results.output.chunks_mut(VALUES_PER_CHECK));
        for part in parts {
            pass.control.check()?;
            pass.isa.vectorize(curve_loop, (self.curve, part));
        }
        Ok(())
    }

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
        let values = ends.input.chunks(VALUES_PER_CHECK).zip(ends.output.chunks(VALUES_PER_CHECK));
        let gradients = d_output.chunks(VALUES_PER_CHECK).zip(d_input.chunks_mut(VALUES_PER_CHECK));
        for (values, gradients) in values.zip(gradients) {
            pass.control.check()?;
            pass.isa.vectorize(slope_loop, (self.curve, (values, gradients)));
        }
        Ok(())
    }
}

#[inline(always)]
fn curve_loop((curve, (input, output)): (Curve, (&[f32], &mut [f32]))) {
    let values = output.iter_mut().zip(input);
    match curve {
        Curve::LeakyRelu(slope) => {
            values.for_each(|(y, &x)| *y = if x < 0.0 { x * slope } else { x });
        }
        Curve::Gelu => values.for_each(|(y, &x)| *y = gelu(x)),
        Curve::Sigmoid => values.for_each(|(y, &x)| *y = sigmoid(x)),
        Curve::Tanh => values.for_each(|(y, &x)| *y = tanh(x)),
    }
}

/// Values on both sides of the activation, and the gradient to the output and to the input.
type Slopes<'a> = ((&'a [f32], &'a [f32]), (&'a [f32], &'a mut [f32]));

#[inline(always)]
fn slope_loop((curve, ((input, output), (d_output, d_input))): (Curve, Slopes<'_>)) {
    let gradients = d_input.iter_mut().zip(d_output);
    match curve {
        Curve::LeakyRelu(slope) => gradients
            .zip(input)
            .for_each(|((d_x, &d), &x)| *d_x = if x < 0.0 { d * slope } else { d }),
        Curve::Gelu => gradients.zip(input).for_each(|((d_x, &d), &x)| *d_x = d * gelu_slope(x)),
        Curve::Sigmoid => {
            gradients.zip(output).for_each(|((d_x, &d), &y)| *d_x = d * (y * (1.0 - y)));
        }
        Curve::Tanh => {
            gradients.zip(output).for_each(|((d_x, &d), &y)| *d_x = d * (1.0 - y * y));
        }
    }
}
