//! Two hidden layers of sigmoid linear units (Elfwing et al. 2018) and a linear one after them.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Stream, activations};

use super::affine::{Affine, TASK, Work, buffers, reverse, weight_gradients};
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
        let Kept { before: [before1, before2], after: [after1, after2], .. } = kept;
        let (h1, h2) = (TASK * first.units, TASK * second.units);
        let tasks = input
            .par_chunks(TASK * first.inputs)
            .zip(before1.par_chunks_mut(h1).zip(after1.par_chunks_mut(h1)))
            .zip(before2.par_chunks_mut(h2).zip(after2.par_chunks_mut(h2)))
            .zip(output.par_chunks_mut(TASK * last.units));
        let (isa, pass) = (work.isa, work.pass());
        tasks.try_for_each(|(((input, (before1, after1)), (before2, after2)), output)| {
            let rows = input.len() / first.inputs;
            let (before1, after1) =
                (&mut before1[..rows * first.units], &mut after1[..rows * first.units]);
            let (before2, after2) =
                (&mut before2[..rows * second.units], &mut after2[..rows * second.units]);
            first.forward(&pass, weights, input, before1)?;
            isa.vectorize(silu_loop, (&*before1, &mut *after1));
            second.forward(&pass, weights, after1, before2)?;
            isa.vectorize(silu_loop, (&*before2, &mut *after2));
            last.forward(&pass, weights, after2, output)
        })
    }

    /// From the gradient to the output to that to the weights and, unless nobody wants that, to
    /// the input. `reversed` has room for all weights.
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
        let Kept { before, after, d_after: [d_first, d_second] } = kept;
        let (d_first, d_second) = (&mut d_first[..h1], &mut d_second[..h2]);
        let unread = usize::from(d_input.is_none());
        reverse(work, &self.layers[unread..], weights, reversed);
        let mut d_input = d_input.into_iter().flat_map(|d| d.chunks_mut(TASK * first.inputs));
        let tasks: Vec<_> = d_output
            .chunks_mut(TASK * last.units)
            .zip(d_first.chunks_mut(TASK * first.units).zip(before[0].chunks(TASK * first.units)))
            .zip(
                d_second.chunks_mut(TASK * second.units).zip(before[1].chunks(TASK * second.units)),
            )
            .map(|parts| (parts, d_input.next()))
            .collect();
        let (isa, pass, reversed) = (work.isa, work.pass(), &*reversed);
        tasks.into_par_iter().try_for_each(
            |(((d_output, (d_first, before1)), (d_second, before2)), d_input)| {
                last.backward(&pass, reversed, d_output, d_second)?;
                isa.vectorize(silu_gradient_loop, (before2, &mut *d_second));
                second.backward(&pass, reversed, d_second, d_first)?;
                isa.vectorize(silu_gradient_loop, (before1, &mut *d_first));
                match d_input {
                    Some(d_input) => first.backward(&pass, reversed, d_first, d_input),
                    None => Ok(()),
                }
            },
        )?;
        let read = [input, &after[0][..h1], &after[1][..h2]];
        weight_gradients(work, &self.layers, (read, [d_first, d_second, d_output]), 0, gradient)
    }
}

#[inline(always)]
fn silu_loop((before, after): (&[f32], &mut [f32])) {
    for (to, &x) in after.iter_mut().zip(before) {
        *to = x * activations::sigmoid(x);
    }
}

#[inline(always)]
fn silu_gradient_loop((before, d): (&[f32], &mut [f32])) {
    for (d, &x) in d.iter_mut().zip(before) {
        let share = activations::sigmoid(x);
        *d *= share * (1.0 + x * (1.0 - share));
    }
}
