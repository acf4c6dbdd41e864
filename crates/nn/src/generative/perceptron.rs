//! Two hidden layers of sigmoid linear units (Elfwing et al. 2018) and a linear one after them.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Isa, Stream, activations};

use super::affine::{Affine, TASK, Work, buffers, by_rows};
use crate::Error;
use crate::floats::Floats;
use crate::layer::Initialization;

#[derive(Clone, Debug)]
pub(super) struct Perceptron {
    pub(super) layers: [Affine; 3],
}

/// What the way back needs of a batch, and where it works.
pub(super) struct Kept {
    /// Of each hidden layer, before its activation and behind it.
    before: [Floats; 2],
    after: [Floats; 2],
    d_after: [Floats; 2],
}

impl Kept {
    pub(super) fn new(net: &Perceptron, rows: usize) -> Result<Self, Error> {
        let widths = [net.layers[0].units, net.layers[1].units];
        Ok(Self {
            before: buffers(rows, widths)?,
            after: buffers(rows, widths)?,
            d_after: buffers(rows, widths)?,
        })
    }

    /// Floats of a row.
    pub(super) fn floats(hidden: usize) -> usize {
        6 * hidden
    }
}

impl Perceptron {
    /// Takes its place among the weights from `at` on, which it moves behind itself.
    pub(super) fn place(inputs: usize, hidden: usize, outputs: usize, at: &mut usize) -> Self {
        let layers = [(inputs, hidden), (hidden, hidden), (hidden, outputs)];
        Self { layers: layers.map(|(inputs, units)| Affine::place(inputs, units, at)) }
    }

    pub(super) fn initialize(&self, stream: &mut Stream, weights: &mut [f32]) {
        let [first, second, last] = &self.layers;
        first.initialize(Initialization::HeNormal, stream, weights);
        second.initialize(Initialization::HeNormal, stream, weights);
        last.initialize(Initialization::GlorotUniform, stream, weights);
    }

    pub(super) fn forward(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        input: &[f32],
        kept: &mut Kept,
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        let [first, second, last] = &self.layers;
        let rows = input.len() / first.inputs;
        let [h1, h2] = [rows * first.units, rows * second.units];
        let Kept { before, after, .. } = kept;
        first.forward(work, weights, input, &mut before[0][..h1])?;
        silu(work, &before[0][..h1], &mut after[0][..h1])?;
        second.forward(work, weights, &after[0][..h1], &mut before[1][..h2])?;
        silu(work, &before[1][..h2], &mut after[1][..h2])?;
        last.forward(work, weights, &after[1][..h2], output)
    }

    /// From the gradient to the output to that to the weights and, unless nobody wants that, to
    /// the input. `reversed` has room for the largest kernel.
    pub(super) fn backward(
        &self,
        work: &Work<'_>,
        (weights, gradient): (&[f32], &mut [f32]),
        (input, d_input): (&[f32], Option<&mut [f32]>),
        kept: &mut Kept,
        d_output: &mut [f32],
        reversed: &mut [f32],
    ) -> Result<(), Cancelled> {
        let [first, second, last] = &self.layers;
        let rows = input.len() / first.inputs;
        let [h1, h2] = [rows * first.units, rows * second.units];
        let Kept { before, after, d_after } = kept;
        let [d_first, d_second] = d_after;
        let (d_first, d_second) = (&mut d_first[..h1], &mut d_second[..h2]);
        last.weight_gradient(work, &after[1][..h2], d_output, 0, gradient)?;
        last.backward(work, weights, reversed, d_output, d_second)?;
        silu_gradient(work, &before[1][..h2], d_second)?;
        second.weight_gradient(work, &after[0][..h1], d_second, 0, gradient)?;
        second.backward(work, weights, reversed, d_second, d_first)?;
        silu_gradient(work, &before[0][..h1], d_first)?;
        first.weight_gradient(work, input, d_first, 0, gradient)?;
        match d_input {
            Some(d_input) => first.backward(work, weights, reversed, d_first, d_input),
            None => Ok(()),
        }
    }
}

/// Numbers that one task works on.
const CHUNK: usize = TASK * 256;

fn silu(work: &Work<'_>, before: &[f32], after: &mut [f32]) -> Result<(), Cancelled> {
    let parts = before.par_chunks(CHUNK).zip(after.par_chunks_mut(CHUNK));
    let isa: Isa = work.isa;
    by_rows(parts, work, |arguments| isa.vectorize(silu_loop, arguments))
}

#[inline(always)]
fn silu_loop((before, after): (&[f32], &mut [f32])) {
    for (to, &x) in after.iter_mut().zip(before) {
        *to = x * activations::sigmoid(x);
    }
}

fn silu_gradient(work: &Work<'_>, before: &[f32], d: &mut [f32]) -> Result<(), Cancelled> {
    let parts = before.par_chunks(CHUNK).zip(d.par_chunks_mut(CHUNK));
    let isa: Isa = work.isa;
    by_rows(parts, work, |arguments| isa.vectorize(silu_gradient_loop, arguments))
}

#[inline(always)]
fn silu_gradient_loop((before, d): (&[f32], &mut [f32])) {
    for (d, &x) in d.iter_mut().zip(before) {
        let share = activations::sigmoid(x);
        *d *= share * (1.0 + x * (1.0 - share));
    }
}
