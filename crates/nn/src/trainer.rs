//! One step of training: a batch through the network and back, and the weights after it.
//!
//! The batch goes through in groups of a few images, side by side on the threads; the gradient to
//! the weights is then cut by rows of the kernels, each row summing over the images in their
//! order. So no sum is ever divided between threads.

use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Isa, Stream};
use teller_payload::AlignedBytes;

use crate::batch::{Batch, Changes};
use crate::floats::Floats;
use crate::layer::{Ends, Noise, Pass, bias_gradient};
use crate::loss::softmax_cross_entropy;
use crate::network::Network;
use crate::objective::Target;
use crate::optimizer::OptimizerState;
use crate::{Error, best};

/// Images that go through the layers together, sharing each read of the weights.
const GROUP: usize = 4;
/// Kernel rows of one gradient task: two of the highest tiles.
const TASK_ROWS: usize = 24;

/// How an optimizer is to move the weights in one step.
pub(crate) struct Learning<'a> {
    pub(crate) optimizer: &'a mut OptimizerState,
    pub(crate) rate: f64,
    pub(crate) noise: Noise,
}

/// What became of one image.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) loss: f64,
    pub(crate) hit: bool,
    target: Target,
}

/// The weights in training with all memory that a step needs.
pub(crate) struct Trainer<'a> {
    network: &'a Network,
    isa: Isa,
    pub(crate) weights: Floats,
    gradient: Floats,
    /// Kernels as the backward pass reads them.
    reversed: Floats,
    /// For the whole batch: the input, then each layer's output.
    values: Vec<Floats>,
    /// The loss's gradient to each layer's output.
    d_values: Vec<Floats>,
    scratch: Floats,
    /// For each group, rasters on their way to the input; empty where images are not changed.
    rasters: AlignedBytes,
    outcomes: Vec<Outcome>,
}

/// Floats that a trainer holds.
pub(crate) fn floats_needed(network: &Network, batch: usize) -> u64 {
    let outputs: u64 = network.layers.iter().map(|placed| placed.layer.output().len() as u64).sum();
    let images = batch as u64 * (network.input.len() as u64 + 2 * outputs);
    3 * network.weights as u64 + images + (batch.div_ceil(GROUP) * network.scratch()) as u64
}

/// Bytes of rasters that a trainer holds where images are changed.
pub(crate) fn rasters_needed(network: &Network, batch: usize) -> usize {
    batch.div_ceil(GROUP).saturating_mul(Changes::scratch(network.input.len()))
}

impl<'a> Trainer<'a> {
    /// Fresh weights, drawn from `seed`.
    pub(crate) fn new(
        network: &'a Network,
        isa: Isa,
        batch: usize,
        seed: u64,
        changes: bool,
    ) -> Result<Self, Error> {
        let rasters = if changes { rasters_needed(network, batch) } else { 0 };
        let rasters = AlignedBytes::try_zeroed(rasters)
            .ok_or(Error::OutOfMemory { bytes: rasters as u64 })?;
        let mut weights = Floats::zeros(network.weights)?;
        for (index, placed) in (0u64..).zip(&network.layers) {
            let mut stream = Stream::new(seed, "initial weights", index);
            placed.layer.initialize(&mut stream, &mut weights[placed.kernel.clone()]);
        }
        let lens = || network.layers.iter().map(|placed| placed.layer.output().len());
        let floats = |len: usize| Floats::zeros(batch.saturating_mul(len));
        Ok(Self {
            network,
            isa,
            weights,
            gradient: Floats::zeros(network.weights)?,
            reversed: Floats::zeros(network.weights)?,
            values: std::iter::once(network.input.len())
                .chain(lens())
                .map(floats)
                .collect::<Result<_, _>>()?,
            d_values: lens().map(floats).collect::<Result<_, _>>()?,
            scratch: Floats::zeros(batch.div_ceil(GROUP).saturating_mul(network.scratch()))?,
            rasters,
            outcomes: vec![Outcome::default(); batch],
        })
    }

    /// Learns from one batch.
    pub(crate) fn step(
        &mut self,
        batch: Batch<'_>,
        learning: Learning<'_>,
        control: &dyn Control,
    ) -> Result<&[Outcome], Cancelled> {
        self.reverse_kernels();
        self.pass_groups(batch, Some(learning.noise), control)?;
        self.weight_gradient(batch.rows.len(), control)?;
        learning.optimizer.update(self.isa, learning.rate, &mut self.weights, &mut self.gradient);
        Ok(&self.outcomes[..batch.rows.len()])
    }

    /// Looks at one batch without learning, as a serving network would.
    pub(crate) fn look(
        &mut self,
        batch: Batch<'_>,
        control: &dyn Control,
    ) -> Result<&[Outcome], Cancelled> {
        self.pass_groups(batch, None, control)?;
        Ok(&self.outcomes[..batch.rows.len()])
    }

    /// Most images of one step.
    pub(crate) fn batch(&self) -> usize {
        self.outcomes.len()
    }

    fn reverse_kernels(&mut self) {
        let mut parts = Parts { rest: &mut self.reversed, at: 0 };
        // Nobody asks for the gradient to the images themselves.
        let tasks: Vec<_> = self.network.layers[1..]
            .iter()
            .map(|placed| (placed, parts.take(placed.kernel.clone())))
            .collect();
        let weights = &self.weights;
        tasks.into_par_iter().for_each(|(placed, reversed)| {
            placed.layer.reverse(&weights[placed.kernel.clone()], reversed);
        });
    }

    /// Forward, and with `noise` also backward.
    fn pass_groups(
        &mut self,
        batch: Batch<'_>,
        noise: Option<Noise>,
        control: &dyn Control,
    ) -> Result<(), Cancelled> {
        let network = self.network;
        let images = batch.rows.len();
        let outputs = network.layers.iter().map(|placed| placed.layer.output().len());
        let lens = std::iter::once(network.input.len()).chain(outputs.clone());
        let values = by_group(&mut self.values, lens, images);
        let d_values = by_group(&mut self.d_values, outputs, images);
        let scratch = self.scratch.chunks_mut(network.scratch());
        let outcomes = self.outcomes[..images].chunks_mut(GROUP);
        let mut rasters = self.rasters.chunks_mut(Changes::scratch(network.input.len()));
        let groups: Vec<Group<'_>> = values
            .into_iter()
            .zip(d_values)
            .zip(scratch.zip(outcomes))
            .zip(batch.rows.chunks(GROUP))
            .map(|(((values, d_values), (scratch, outcomes)), rows)| Group {
                values,
                d_values,
                scratch,
                rasters: rasters.next().unwrap_or_default(),
                outcomes,
                rows,
            })
            .collect();
        let (weights, reversed) = (&*self.weights, &*self.reversed);
        groups.into_par_iter().enumerate().try_for_each(|(index, mut group)| {
            let noise = noise.map(|noise| Noise {
                first_image: noise.first_image + (index * GROUP) as u64,
                ..noise
            });
            let pass = Pass { isa: self.isa, control, noise };
            group.forward(network, &pass, weights, batch)?;
            group.score(batch, network.classes, 1.0 / images as f32);
            if noise.is_some() {
                group.backward(network, &pass, reversed)?;
            }
            Ok(())
        })
    }

    fn weight_gradient(&mut self, images: usize, control: &dyn Control) -> Result<(), Cancelled> {
        let pass = Pass { isa: self.isa, control, noise: None };
        self.gradient.fill(0.0);
        let mut parts = Parts { rest: &mut self.gradient, at: 0 };
        let mut tasks = Vec::new();
        for (index, placed) in self.network.layers.iter().enumerate() {
            let columns = placed.bias.len();
            if columns == 0 {
                continue;
            }
            let kernel = parts.take(placed.kernel.clone()).chunks_mut(TASK_ROWS * columns);
            for (first, gradient) in (0..).step_by(TASK_ROWS).zip(kernel) {
                let rows = first..first + gradient.len() / columns;
                tasks.push(GradientTask { index, rows: Some(rows), gradient });
            }
            let gradient = parts.take(placed.bias.clone());
            tasks.push(GradientTask { index, rows: None, gradient });
        }
        let (values, d_values) = (&self.values, &self.d_values);
        tasks.into_par_iter().try_for_each(|GradientTask { index, rows, gradient }| {
            let layer = &self.network.layers[index].layer;
            let input = &values[index][..images * layer.input().len()];
            let d_output = &d_values[index][..images * layer.output().len()];
            match rows {
                Some(rows) => layer.kernel_gradient(&pass, rows, input, d_output, gradient),
                None => {
                    control.check()?;
                    bias_gradient(self.isa, d_output, gradient);
                    Ok(())
                }
            }
        })
    }
}

/// Some rows of a kernel, or the whole bias where there are none.
struct GradientTask<'g> {
    index: usize,
    rows: Option<Range<usize>>,
    gradient: &'g mut [f32],
}

/// A few images on their way through the layers.
struct Group<'g> {
    values: Vec<&'g mut [f32]>,
    d_values: Vec<&'g mut [f32]>,
    scratch: &'g mut [f32],
    rasters: &'g mut [u8],
    outcomes: &'g mut [Outcome],
    rows: &'g [u32],
}

impl Group<'_> {
    fn forward(
        &mut self,
        network: &Network,
        pass: &Pass<'_>,
        weights: &[f32],
        batch: Batch<'_>,
    ) -> Result<(), Cancelled> {
        let inputs = self.values[0].chunks_exact_mut(network.input.len());
        for ((&row, input), outcome) in self.rows.iter().zip(inputs).zip(&mut *self.outcomes) {
            pass.control.check()?;
            outcome.target = batch.load(row, self.rasters, input);
        }
        for (index, placed) in network.layers.iter().enumerate() {
            let (before, after) = self.values.split_at_mut(index + 1);
            let weights = placed.weights(weights);
            placed.layer.forward(pass, weights, before[index], after[0], self.scratch)?;
        }
        Ok(())
    }

    /// The outcomes, and the gradient to the logits.
    fn score(&mut self, batch: Batch<'_>, classes: usize, scale: f32) {
        let (Some(logits), Some(d_logits)) = (self.values.last(), self.d_values.last_mut()) else {
            return;
        };
        d_logits.copy_from_slice(logits);
        let images = d_logits.chunks_exact_mut(classes).zip(&mut *self.outcomes);
        for (logits, outcome) in images {
            outcome.hit = best(logits) == outcome.target.first as usize;
            let wanted = batch.objective.wanted(outcome.target);
            outcome.loss = softmax_cross_entropy(logits, &wanted, scale);
        }
    }

    fn backward(
        &mut self,
        network: &Network,
        pass: &Pass<'_>,
        reversed: &[f32],
    ) -> Result<(), Cancelled> {
        for (index, placed) in network.layers.iter().enumerate().rev() {
            let ends = Ends { input: self.values[index], output: self.values[index + 1] };
            let (before, after) = self.d_values.split_at_mut(index);
            let d_input = before.last_mut().map(|d_input| &mut **d_input);
            let reversed = &reversed[placed.kernel.clone()];
            placed.layer.backward(pass, reversed, ends, after[0], d_input, self.scratch)?;
        }
        Ok(())
    }
}

/// Cuts the buffer of each layer into groups of images, and gives each group its part of all.
fn by_group(
    buffers: &mut [Floats],
    lens: impl Iterator<Item = usize>,
    images: usize,
) -> Vec<Vec<&mut [f32]>> {
    let mut groups: Vec<Vec<&mut [f32]>> =
        std::iter::repeat_with(Vec::new).take(images.div_ceil(GROUP)).collect();
    for (buffer, len) in buffers.iter_mut().zip(lens) {
        for (group, part) in groups.iter_mut().zip(buffer[..images * len].chunks_mut(GROUP * len)) {
            group.push(part);
        }
    }
    groups
}

/// Hands out ascending parts of one slice.
struct Parts<'g> {
    rest: &'g mut [f32],
    at: usize,
}

impl<'g> Parts<'g> {
    fn take(&mut self, range: Range<usize>) -> &'g mut [f32] {
        let rest = std::mem::take(&mut self.rest);
        let (part, rest) = rest[range.start - self.at..].split_at_mut(range.len());
        (self.rest, self.at) = (rest, range.end);
        part
    }
}
