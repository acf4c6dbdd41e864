//! Fully connected: `output = activation(input * kernel + bias)`, kernel `[inputs, units]`.

use std::ops::Range;

use teller_numeric::kernels::{Contraction, Grid, Start};
use teller_numeric::{Cancelled, Stream};

use super::{Ends, Layer, PRODUCTS_PER_CHECK, Pass, Weights, he_normal, relu_gradient};
use crate::Shape;

#[derive(Debug)]
pub(crate) struct Dense {
    pub(crate) inputs: usize,
    pub(crate) units: usize,
    pub(crate) relu: bool,
}

impl Dense {
    /// `C (images x columns) = A (images x steps) * B (steps x columns)`, some columns at a time.
    fn product(
        &self,
        pass: &Pass<'_>,
        (steps, columns): (usize, usize),
        relu: bool,
        (a, b, bias): (&[f32], &[f32], Option<&[f32]>),
        c: &mut [f32],
    ) -> Result<(), Cancelled> {
        let images = a.len() / steps;
        // Whole blocks of the kernel's widest tile.
        let block = (PRODUCTS_PER_CHECK / (steps * images).max(1)).next_multiple_of(64);
        for first in (0..columns).step_by(block) {
            pass.control.check()?;
            let product = Contraction {
                rows: Grid {
                    outer: 1,
                    inner: images,
                    a_inner: steps,
                    c_inner: columns,
                    ..Grid::default()
                },
                columns: block.min(columns - first),
                segments: 1,
                steps,
                a_step: 1,
                b_step: columns,
                relu,
                ..Contraction::default()
            };
            let start = bias.map_or(Start::Zero, |bias| Start::Bias(&bias[first..]));
            product.run(pass.isa, a, &b[first..], start, &mut c[first..]);
        }
        Ok(())
    }
}

impl Layer for Dense {
    fn input(&self) -> Shape {
        Shape::Vector(self.inputs)
    }

    fn output(&self) -> Shape {
        Shape::Vector(self.units)
    }

    fn kernel_shape(&self) -> Option<Vec<usize>> {
        Some(vec![self.inputs, self.units])
    }

    fn initialize(&self, stream: &mut Stream, kernel: &mut [f32]) {
        if self.relu {
            return he_normal(stream, self.inputs, kernel);
        }
        // Glorot and Bengio 2010.
        let bound = (6.0 / (self.inputs + self.units) as f64).sqrt() as f32;
        for weight in kernel {
            *weight = (stream.uniform() * 2.0 - 1.0) * bound;
        }
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        output: &mut [f32],
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let sizes = (self.inputs, self.units);
        self.product(pass, sizes, self.relu, (input, weights.kernel, Some(weights.bias)), output)
    }

    /// `[units, inputs]`.
    fn reverse(&self, kernel: &[f32], reversed: &mut [f32]) {
        transpose(kernel, reversed, self.inputs, self.units);
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
        match d_input {
            Some(d_input) => {
                let sizes = (self.units, self.inputs);
                self.product(pass, sizes, false, (d_output, reversed, None), d_input)
            }
            None => Ok(()),
        }
    }

    /// The sum runs over the images, in their order.
    fn kernel_gradient(
        &self,
        pass: &Pass<'_>,
        rows: Range<usize>,
        input: &[f32],
        d_output: &[f32],
        gradient: &mut [f32],
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
            steps: input.len() / self.inputs,
            a_step: self.inputs,
            b_step: self.units,
            ..Contraction::default()
        };
        sum.run(pass.isa, &input[rows.start..], d_output, Start::Continue, gradient);
        Ok(())
    }
}

/// `to[column, row] = from[row, column]`, in blocks that stay in the cache.
pub(super) fn transpose(from: &[f32], to: &mut [f32], rows: usize, columns: usize) {
    const BLOCK: usize = 16;
    for row_block in (0..rows).step_by(BLOCK) {
        for column_block in (0..columns).step_by(BLOCK) {
            for row in row_block..(row_block + BLOCK).min(rows) {
                for column in column_block..(column_block + BLOCK).min(columns) {
                    to[column * rows + row] = from[row * columns + column];
                }
            }
        }
    }
}
