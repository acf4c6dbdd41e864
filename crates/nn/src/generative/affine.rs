//! Fully connected layers over whole batches: rows side by side on the threads, each sum in one
//! order.

use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Isa, Stream};

use crate::Error;
use crate::floats::Floats;
use crate::layer::{
    Dense, Ends, Initialization, Layer, Pass, Results, WIDEST, Weights, bias_gradient,
};

/// Rows of a batch that one task computes.
pub(super) const TASK: usize = 32;

/// What all of a computation needs beside its numbers.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) isa: Isa,
    pub(super) control: &'a dyn Control,
}

impl<'a> Work<'a> {
    pub(super) fn pass(&self) -> Pass<'a> {
        Pass { isa: self.isa, control: self.control, noise: None }
    }
}

/// A layer with the places of its kernel `[inputs, units]` and its bias among all weights.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    pub(super) inputs: usize,
    pub(super) units: usize,
    pub(super) kernel: Range<usize>,
    pub(super) bias: Range<usize>,
}

impl Affine {
    /// Takes the place from `at` on, which it moves behind itself.
    pub(super) fn place(inputs: usize, units: usize, at: &mut usize) -> Self {
        let bias = *at + inputs * units;
        let kernel = *at..bias;
        *at = bias + units;
        Self { inputs, units, kernel, bias: bias..*at }
    }

    fn dense(&self) -> Dense {
        Dense { inputs: self.inputs, units: self.units, relu: false }
    }

    pub(super) fn initialize(&self, by: Initialization, stream: &mut Stream, weights: &mut [f32]) {
        self.dense().initialize(by, stream, &mut weights[self.kernel.clone()]);
    }

    /// `output (rows x units) = input (rows x inputs) * kernel + bias`.
    pub(super) fn forward(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        self.apply(work, weights, &weights[self.bias.clone()], input, output)
    }

    /// [`Self::forward`] without the bias: what a change of the input changes.
    pub(super) fn forward_change(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        self.apply(work, weights, &vec![0.0; self.units], input, output)
    }

    fn apply(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        bias: &[f32],
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        let kernel = &weights[self.kernel.clone()];
        let weights = Weights { kernel, bias, ..Weights::default() };
        let tasks = input.par_chunks(TASK * self.inputs);
        tasks.zip(output.par_chunks_mut(TASK * self.units)).try_for_each(|(input, output)| {
            let results = Results { output, saved: None };
            self.dense().forward(&work.pass(), weights, input, results, &mut [])
        })
    }

    /// The kernel as [`Self::backward`] reads it.
    pub(super) fn reverse(&self, work: &Work<'_>, weights: &[f32], reversed: &mut [f32]) {
        let block = WIDEST * self.units;
        let parts = weights[self.kernel.clone()].par_chunks(block);
        let reversed = reversed[..self.kernel.len()].par_chunks_mut(block);
        parts.zip(reversed).for_each(|(kernel, reversed)| {
            let weights = Weights { kernel, ..Weights::default() };
            self.dense().prepare(work.isa, weights, &mut [], Some(reversed));
        });
    }

    /// From the gradient to the output to that to the input.
    pub(super) fn backward(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        reversed: &mut [f32],
        d_output: &mut [f32],
        d_input: &mut [f32],
    ) -> Result<(), Cancelled> {
        self.reverse(work, weights, reversed);
        let reversed = &reversed[..self.kernel.len()];
        let tasks = d_output.par_chunks_mut(TASK * self.units);
        tasks.zip(d_input.par_chunks_mut(TASK * self.inputs)).try_for_each(|(d_output, d_input)| {
            let ends = Ends { input: &[], output: &[], saved: &[] };
            self.dense().backward(&work.pass(), reversed, ends, d_output, Some(d_input), &mut [])
        })
    }

    /// The gradient to the weights, all rows summed up; that to the bias leaves out the rows
    /// before `biased`.
    pub(super) fn weight_gradient(
        &self,
        work: &Work<'_>,
        input: &[f32],
        d_output: &[f32],
        biased: usize,
        gradient: &mut [f32],
    ) -> Result<(), Cancelled> {
        let dense = self.dense();
        let block = dense.task_rows();
        let kernel = &mut gradient[self.kernel.clone()];
        let tasks = kernel.par_chunks_mut(block * self.units).enumerate();
        tasks.try_for_each(|(number, gradient)| {
            let rows = number * block..number * block + gradient.len() / self.units;
            let ends = Ends { input, output: &[], saved: &[] };
            dense.kernel_gradient(&work.pass(), rows, ends, d_output, gradient, &mut [])
        })?;
        let biased = &d_output[biased * self.units..];
        bias_gradient(work.isa, biased, &mut gradient[self.bias.clone()]);
        Ok(())
    }
}

/// Elementwise work on the rows of a batch, in parallel; the slices are cut alike.
pub(super) fn by_rows<T: Send>(
    parts: impl IndexedParallelIterator<Item = T>,
    work: &Work<'_>,
    each: impl Fn(T) + Sync,
) -> Result<(), Cancelled> {
    parts.try_for_each(|part| {
        work.control.check()?;
        each(part);
        Ok(())
    })
}

/// Buffers of a batch of `rows`, one for each of the widths.
pub(super) fn buffers<const N: usize>(
    rows: usize,
    widths: [usize; N],
) -> Result<[Floats; N], Error> {
    let mut all = Vec::with_capacity(N);
    for width in widths {
        all.push(Floats::zeros(rows.saturating_mul(width))?);
    }
    all.try_into().map_err(|_| Error::OutOfMemory { bytes: 0 })
}

/// Writes the rows of both, one beside the other, into `to`; `right` may have no columns.
pub(super) fn beside(left: (&[f32], usize), right: (&[f32], usize), to: &mut [f32]) {
    let ((left, left_width), (right, right_width)) = (left, right);
    for (row, to) in to.chunks_exact_mut(left_width + right_width).enumerate() {
        to[..left_width].copy_from_slice(&left[row * left_width..][..left_width]);
        to[left_width..].copy_from_slice(&right[row * right_width..][..right_width]);
    }
}

/// Marks each row's label in the last `condition` numbers of its row.
pub(super) fn mark_labels(labels: &[u32], condition: usize, to: &mut [f32]) {
    if condition == 0 || labels.is_empty() {
        return;
    }
    let width = to.len() / labels.len();
    for (to, &label) in to.chunks_exact_mut(width).zip(labels) {
        let mark = &mut to[width - condition..];
        mark.fill(0.0);
        mark[label as usize] = 1.0;
    }
}
