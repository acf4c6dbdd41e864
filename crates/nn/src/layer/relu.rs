//! `max(0, x)` by itself; after a convolution or dense layer it is fused into that layer.

use teller_numeric::Cancelled;

use super::{Ends, Layer, Pass, Results, Weights, relu_gradient};
use crate::Shape;

#[derive(Debug)]
pub(crate) struct Relu {
    pub(crate) shape: Shape,
}

impl Layer for Relu {
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
        pass.control.check()?;
        pass.isa.vectorize(relu_loop, (input, results.output));
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
        pass.control.check()?;
        relu_gradient(pass.isa, ends.output, d_output);
        if let Some(d_input) = d_input {
            d_input.copy_from_slice(d_output);
        }
        Ok(())
    }
}

#[inline(always)]
fn relu_loop((input, output): (&[f32], &mut [f32])) {
    for (y, &x) in output.iter_mut().zip(input) {
        // The comparison of the fused one: what is not a number stays so.
        *y = if 0.0 > x { 0.0 } else { x };
    }
}
