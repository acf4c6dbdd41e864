//! Fully connected: `output = activation(input * kernel + bias)`, kernel `[inputs, units]`.

use std::ops::Range;

use teller_numeric::kernels::{Contraction, Grid, Start};
use teller_numeric::{Cancelled, Isa, Stream};

use super::{
    Ends, Initialization, Layer, PRODUCTS_PER_CHECK, Pass, Results, Weights, relu_gradient,
    transpose,
};
use crate::Shape;

#[derive(Debug)]
pub(crate) struct Dense {
    pub(crate) inputs: usize,
    pub(crate) units: usize,
    pub(crate) relu: bool,
}

/// Columns of the kernel's widest tile.
pub(crate) const WIDEST: usize = 64;

impl Dense {
    /// Columns between two looks at the control, whole tiles.
    fn columns_per_check(steps: usize, images: usize) -> usize {
        (PRODUCTS_PER_CHECK / (steps * images).max(1)).next_multiple_of(WIDEST)
    }

    /// `C (images x columns) = A (images x steps) * B (steps x columns)`.
    fn product(images: usize, steps: usize, columns: usize) -> Contraction {
        Contraction {
            rows: Grid {
                outer: 1,
                inner: images,
                a_inner: steps,
                c_inner: columns,
                ..Grid::default()
            },
            columns,
            segments: 1,
            steps,
            a_step: 1,
            b_step: columns,
            ..Contraction::default()
        }
    }
}

impl Layer for Dense {
    fn input(&self) -> Shape {
        Shape::Vector(self.inputs)
    }

    fn output(&self) -> Shape {
        Shape::Vector(self.units)
    }

    fn products(&self) -> usize {
        self.inputs * self.units
    }

    fn kernel_shape(&self) -> Option<Vec<usize>> {
        Some(vec![self.inputs, self.units])
    }

    fn initialize(&self, by: Initialization, stream: &mut Stream, kernel: &mut [f32]) {
        by.draw(stream, self.inputs, self.units, kernel);
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let images = input.len() / self.inputs;
        let product = Self::product(images, self.inputs, self.units);
        let block = Self::columns_per_check(self.inputs, images);
        for first in (0..self.units).step_by(block) {
            pass.control.check()?;
            let columns = block.min(self.units - first);
            let product = Contraction { columns, relu: self.relu, ..product };
            let (kernel, bias) = (&weights.kernel[first..], &weights.bias[first..]);
            let output = &mut results.output[first..];
            product.run(pass.isa, input, kernel, Start::Bias(bias), output);
        }
        Ok(())
    }

    fn reversed(&self) -> usize {
        self.inputs * self.units
    }

    /// `[units, inputs]`, by blocks of `WIDEST` inputs.
    fn prepare(
        &self,
        _isa: Isa,
        weights: Weights<'_>,
        _prepared: &mut [f32],
        reversed: Option<&mut [f32]>,
    ) {
        let Some(reversed) = reversed else { return };
        let block = WIDEST * self.units;
        for (from, to) in weights.kernel.chunks(block).zip(reversed.chunks_mut(block)) {
            transpose(from, to, from.len() / self.units, self.units);
        }
    }

    fn backward(
        &self,
        pass: &Pass<'_>,
        reversed: &[f32],
        ends: Ends<'_>,
        d_output: &mut [f32],
        d_input: Option<&mut [f32]>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        if self.relu {
            relu_gradient(pass.isa, ends.output, d_output);
        }
        let Some(d_input) = d_input else { return Ok(()) };
        let images = d_output.len() / self.units;
        let product = Self::product(images, self.units, self.inputs);
        let blocks_per_check = Self::columns_per_check(self.units, images) / WIDEST;
        for (number, kernel) in reversed.chunks(WIDEST * self.units).enumerate() {
            if number % blocks_per_check == 0 {
                pass.control.check()?;
            }
            let columns = kernel.len() / self.units;
            let product = Contraction { columns, b_step: columns, ..product };
            let d_input = &mut d_input[number * WIDEST..];
            product.run(pass.isa, d_output, kernel, Start::Zero, d_input);
        }
        Ok(())
    }

    /// The sum runs over the images, in their order.
    fn kernel_gradient(
        &self,
        pass: &Pass<'_>,
        rows: Range<usize>,
        ends: Ends<'_>,
        d_output: &[f32],
        gradient: &mut [f32],
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        pass.control.check()?;
        let sum = Contraction {
            rows: Grid {
                outer: 1,
                inner: rows.len(),
                a_inner: 1,
                c_inner: self.units,
                ..Grid::default()
            },
            columns: self.units,
            segments: 1,
            steps: ends.input.len() / self.inputs,
            a_step: self.inputs,
            b_step: self.units,
            ..Contraction::default()
        };
        sum.run(pass.isa, &ends.input[rows.start..], d_output, Start::Zero, gradient);
        Ok(())
    }
}
