//! An activation by itself, value by value; rectifiers are fused into the layer before them where
//! it can compute them.

use teller_numeric::Cancelled;
use teller_numeric::activations::{gelu, gelu_slope, sigmoid};
use teller_numeric::kernels::Work;
use teller_numeric::math::tanh;

use super::{Ends, Layer, Pass, Results, Weights};
use crate::Shape;

/// Values between two looks at the control: a few milliseconds on the slowest path.
const VALUES_PER_CHECK: usize = 1 << 16;

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Curve {
    /// Negative values become 0. What is not a number stays so.
    Relu,
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
        for (input, output) in parts {
            pass.control.check()?;
            pass.isa.run(Forward { curve: self.curve, input, output });
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
        for ((input, output), (d_output, d_input)) in values.zip(gradients) {
            pass.control.check()?;
            pass.isa.run(Backward { curve: self.curve, input, output, d_output, d_input });
        }
        Ok(())
    }
}

/// The activation of some values.
struct Forward<'a> {
    curve: Curve,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Work for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let values = self.output.iter_mut().zip(self.input);
        match self.curve {
            Curve::Relu => {
                for (y, &x) in values {
                    *y = if 0.0 > x { 0.0 } else { x };
                }
            }
            Curve::LeakyRelu(slope) => {
                for (y, &x) in values {
                    *y = if x < 0.0 { x * slope } else { x };
                }
            }
            Curve::Gelu => {
                for (y, &x) in values {
                    *y = gelu(x);
                }
            }
            Curve::Sigmoid => {
                for (y, &x) in values {
                    *y = sigmoid(x);
                }
            }
            Curve::Tanh => {
                for (y, &x) in values {
                    *y = tanh(x);
                }
            }
        }
    }
}

/// The gradient to some values from that to their activations.
struct Backward<'a> {
    curve: Curve,
    input: &'a [f32],
    output: &'a [f32],
    d_output: &'a [f32],
    d_input: &'a mut [f32],
}

impl Work for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let gradients = self.d_input.iter_mut().zip(self.d_output);
        match self.curve {
            Curve::Relu => {
                for ((d_x, &d), &y) in gradients.zip(self.output) {
                    *d_x = if y > 0.0 { d } else { 0.0 };
                }
            }
            Curve::LeakyRelu(slope) => {
                for ((d_x, &d), &x) in gradients.zip(self.input) {
                    *d_x = if x < 0.0 { d * slope } else { d };
                }
            }
            Curve::Gelu => {
                for ((d_x, &d), &x) in gradients.zip(self.input) {
                    *d_x = d * gelu_slope(x);
                }
            }
            Curve::Sigmoid => {
                for ((d_x, &d), &y) in gradients.zip(self.output) {
                    *d_x = d * (y * (1.0 - y));
                }
            }
            Curve::Tanh => {
                for ((d_x, &d), &y) in gradients.zip(self.output) {
                    *d_x = d * (1.0 - y * y);
                }
            }
        }
    }
}
