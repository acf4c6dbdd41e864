//! Kernels as the layers read them on the way there and back, and the gradient to them.
//!
//! The gradient is cut by rows of the kernels, each row summing over the images in their order. So
//! no sum is ever divided between threads.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;
use teller_numeric::{Cancelled, Isa};

use crate::Error;
use crate::floats::Floats;
use crate::layer::{Ends, Pass, bias_gradient};
use crate::network::{Network, Placed};

pub(crate) struct Kernels {
    /// As the forward pass reads them, where that is another way.
    pub(crate) prepared: Floats,
    /// For each layer behind the first trained one, the kernel as the backward pass reads it.
    pub(crate) reversed: Vec<Floats>,
    /// For each layer, the gradient from which that to its kernel is made, if it is another.
    unfinished: Vec<Floats>,
}

/// What the gradient to a layer's numbers is a sum of.
pub(crate) struct Learned<'k> {
    pub(crate) ends: Ends<'k>,
    pub(crate) d_output: &'k [f32],
    /// Of those the images that move the bias.
    pub(crate) of_bias: &'k [f32],
}

/// Floats of the kernel as the backward pass reads it, which ends at the first trained layer.
fn reversed(network: &Network, placed: &Placed) -> usize {
    if network.asks_gradient(placed) { placed.layer.reversed() } else { 0 }
}

/// Floats of the gradient from which that to the layer's kernel is made, 0 if it is the same.
fn unfinished(placed: &Placed) -> usize {
    let len = placed.layer.gradient_rows() * placed.bias.len();
    if placed.frozen || len == placed.kernel.len() { 0 } else { len }
}

impl Kernels {
    pub(crate) fn new(network: &Network) -> Result<Self, Error> {
        let layers = || network.layers.iter();
        let reversed = layers().map(|placed| Floats::zeros(reversed(network, placed)));
        let unfinished = layers().map(|placed| Floats::zeros(unfinished(placed)));
        Ok(Self {
            prepared: Floats::zeros(network.prepared)?,
            reversed: reversed.collect::<Result<_, _>>()?,
            unfinished: unfinished.collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn floats_needed(network: &Network) -> u64 {
        let layers = network.layers.iter();
        let kernels = layers.map(|placed| (reversed(network, placed) + unfinished(placed)) as u64);
        kernels.sum::<u64>() + network.prepared as u64
    }

    pub(crate) fn prepare(
        &mut self,
        network: &Network,
        isa: Isa,
        weights: &[f32],
        for_backward: bool,
    ) {
        let mut parts = Parts { rest: &mut self.prepared, at: 0 };
        let layers = network.layers.iter().zip(&mut self.reversed);
        let tasks: Vec<_> = layers
            .map(|(placed, reversed)| {
                let reversed = (for_backward && !reversed.is_empty()).then_some(&mut **reversed);
                (placed, parts.take(placed.prepared.clone()), reversed)
            })
            .collect();
        tasks.into_par_iter().with_max_len(1).for_each(|(placed, prepared, reversed)| {
            placed.layer.prepare(isa, placed.stored(weights), prepared, reversed);
        });
    }

    /// Writes the gradient to all weights that training changes; `learned` tells of a layer.
    pub(crate) fn gradient<'k>(
        &mut self,
        network: &Network,
        pass: &Pass<'_>,
        learned: impl Fn(usize) -> Learned<'k> + Sync,
        scratch: &mut [f32],
        gradient: &mut [f32],
    ) -> Result<(), Cancelled> {
        let mut parts = Parts { rest: &mut *gradient, at: 0 };
        let mut tasks = Vec::new();
        let layers = network.layers.iter().enumerate();
        for ((index, placed), unfinished) in layers.zip(&mut self.unfinished) {
            let columns = placed.bias.len();
            if columns == 0 || placed.frozen {
                continue;
            }
            let kernel = parts.take(placed.kernel.clone());
            let kernel = if unfinished.is_empty() { kernel } else { &mut **unfinished };
            let rows = placed.layer.task_rows();
            let pixels = placed.layer.output().len() / columns;
            for (first, gradient) in (0..).step_by(rows).zip(kernel.chunks_mut(rows * columns)) {
                let cost = gradient.len() * pixels;
                let rows = Some(first..first + gradient.len() / columns);
                tasks.push(GradientTask { index, rows, gradient, cost });
            }
            let gradient = parts.take(placed.bias.clone());
            let cost = columns * pixels;
            tasks.push(GradientTask { index, rows: None, gradient, cost });
        }
        // The long ones first, so that the threads end at about the same time.
        tasks.sort_by_key(|task| Reverse(task.cost));
        let tasks = Mutex::new(tasks.into_iter());
        let next = || tasks.lock().ok().and_then(|mut tasks| tasks.next());
        let workers = scratch.chunks_mut(network.training_scratch());
        let workers: Vec<_> = workers.take(rayon::current_num_threads()).collect();
        workers.into_par_iter().with_max_len(1).try_for_each(|scratch| {
            while let Some(GradientTask { index, rows, gradient, .. }) = next() {
                let Learned { ends, d_output, of_bias } = learned(index);
                let Some(rows) = rows else {
                    pass.control.check()?;
                    bias_gradient(pass.isa, of_bias, gradient);
                    continue;
                };
                let layer = &network.layers[index].layer;
                layer.kernel_gradient(pass, rows, ends, d_output, gradient, scratch)?;
            }
            Ok(())
        })?;
        for (placed, unfinished) in network.layers.iter().zip(&self.unfinished) {
            if !unfinished.is_empty() {
                let kernel = &mut gradient[placed.kernel.clone()];
                placed.layer.finish_gradient(pass.isa, unfinished, kernel);
            }
        }
        Ok(())
    }
}

/// Some rows of a kernel, or the whole bias where there are none.
struct GradientTask<'g> {
    index: usize,
    rows: Option<Range<usize>>,
    gradient: &'g mut [f32],
    cost: usize,
}

/// Hands out ascending parts of one slice.
pub(crate) struct Parts<'g> {
    pub(crate) rest: &'g mut [f32],
    pub(crate) at: usize,
}

impl<'g> Parts<'g> {
    pub(crate) fn take(&mut self, range: Range<usize>) -> &'g mut [f32] {
        let rest = std::mem::take(&mut self.rest);
        let (part, rest) = rest[range.start - self.at..].split_at_mut(range.len());
        (self.rest, self.at) = (rest, range.end);
        part
    }
}
