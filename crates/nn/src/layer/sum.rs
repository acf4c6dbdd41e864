//! The end of a residual block: `activation(input + what the output holds before)`.

use teller_numeric::Cancelled;

use super::{Ends, Layer, Pass, Results, Weights, relu_gradient};
use crate::Shape;

#[derive(Debug)]
pub(crate) struct Sum {
    pub(crate) shape: Shape,
    pub(crate) relu: bool,
}

impl Layer for Sum {
    fn input(&self) -> Shape {
        self.shape
    }

    fn output(&self) -> Shape {
        self.shape
    }

    fn adds(&self) -> bool {
        true
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
        match self.relu {
            true => pass.isa.vectorize(add_rectified_loop, (input, results.output)),
            false => pass.isa.vectorize(add_loop, (input, results.output)),
        }
        Ok(())
    }

    /// The gradient to both ways is that to the sum before its activation.
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
        if self.relu {
            relu_gradient(pass.isa, ends.output, d_output);
        }
        if let Some(d_input) = d_input {
            d_input.copy_from_slice(d_output);
        }
        Ok(())
    }
}

/// `to += from`.
#[inline(always)]
pub(crate) fn add_loop((from, to): (&[f32], &mut [f32])) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

#[inline(always)]
fn add_rectified_loop((from, to): (&[f32], &mut [f32])) {
    for (to, &from) in to.iter_mut().zip(from) {
        let sum = *to + from;
        *to = if 0.0 > sum { 0.0 } else { sum };
    }
}
