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

    /// `output (rows x units) = input (rows x inputs) * kernel + bias`, in the caller's thread.
    pub(super) fn forward(
        &self,
        pass: &Pass<'_>,
        weights: &[f32],
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        self.apply(pass, weights, &weights[self.bias.clone()], input, output)
    }

    /// [`Self::forward`] without the bias: what a change of the input changes.
    pub(super) fn forward_change(
        &self,
        pass: &Pass<'_>,
        weights: &[f32],
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        self.apply(pass, weights, &vec![0.0; self.units], input, output)
    }

    fn apply(
        &self,
        pass: &Pass<'_>,
        weights: &[f32],
        bias: &[f32],
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        let kernel = &weights[self.kernel.clone()];
        let weights = Weights { kernel, bias, ..Weights::default() };
        self.dense().forward(pass, weights, input, Results { output, saved: None }, &mut [])
    }

    /// From the gradient to the output to that to the input, by kernels that [`reverse`] has
    /// turned, in the caller's thread.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_>,
        reversed: &[f32],
        d_output: &mut [f32],
        d_input: &mut [f32],
    ) -> Result<(), Cancelled> {
        let reversed = &reversed[self.kernel.clone()];
        let ends = Ends { input: &[], output: &[], saved: &[] };
        self.dense().backward(pass, reversed, ends, d_output, Some(d_input), &mut [])
    }
}

/// Of `all`, laid out as the weights are, the parts of layers one behind another: kernel and bias.
fn parts<'a>(
    layers: &'a [Affine],
    mut all: &'a mut [f32],
) -> Vec<(&'a Affine, &'a mut [f32], &'a mut [f32])> {
    let mut at = 0;
    let part = |layer: &'a Affine| {
        let (own, rest) = std::mem::take(&mut all)[layer.kernel.start - at..]
            .split_at_mut(layer.bias.end - layer.kernel.start);
        (all, at) = (rest, layer.bias.end);
        let (kernel, bias) = own.split_at_mut(layer.kernel.len());
        (layer, kernel, bias)
    };
    layers.iter().map(part).collect()
}

/// Kernels of layers as [`Affine::backward`] reads them, at their places in `reversed`.
pub(super) fn reverse(work: &Work<'_>, layers: &[Affine], weights: &[f32], reversed: &mut [f32]) {
    let mut tasks = Vec::new();
    for (layer, to, _) in parts(layers, reversed) {
        let block = WIDEST * layer.units;
        let from = weights[layer.kernel.clone()].chunks(block);
        tasks.extend(from.zip(to.chunks_mut(block)).map(|(from, to)| (layer, from, to)));
    }
    tasks.into_par_iter().for_each(|(layer, kernel, to)| {
        let weights = Weights { kernel, ..Weights::default() };
        layer.dense().prepare(work.isa, weights, &mut [], Some(to));
    });
}

/// The gradient to the weights of layers that read `inputs`, all rows summed up; that to the biases
/// leaves out the rows before `biased`.
pub(super) fn weight_gradients<const N: usize>(
    work: &Work<'_>,
    layers: &[Affine; N],
    (inputs, d_outputs): ([&[f32]; N], [&[f32]; N]),
    biased: usize,
    gradient: &mut [f32],
) -> Result<(), Cancelled> {
    let mut tasks = Vec::new();
    for (index, (layer, kernel, bias)) in parts(layers, gradient).into_iter().enumerate() {
        let block = layer.dense().task_rows() * layer.units;
        tasks
            .extend(kernel.chunks_mut(block).enumerate().map(|task| (index, Some(task.0), task.1)));
        tasks.push((index, None, bias));
    }
    let pass = work.pass();
    tasks.into_par_iter().try_for_each(|(index, task, gradient)| {
        let (layer, input, d_output) = (&layers[index], inputs[index], d_outputs[index]);
        let Some(task) = task else {
            bias_gradient(work.isa, &d_output[biased * layer.units..], gradient);
            return Ok(());
        };
        let first = task * layer.dense().task_rows();
        let rows = first..first + gradient.len() / layer.units;
        let ends = Ends { input, output: &[], saved: &[] };
        layer.dense().kernel_gradient(&pass, rows, ends, d_output, gradient, &mut [])
    })
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
