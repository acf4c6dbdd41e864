//! One step of training: a batch through the network and back, and the weights after it.
//!
//! The batch goes through in groups of a few images, side by side on the threads; the gradient to
//! the weights is then cut by rows of the kernels, each row summing over the images in their
//! order. So no sum is ever divided between threads.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Isa, Stream};
use teller_payload::AlignedBytes;

use crate::batch::{Batch, Changes};
use crate::floats::Floats;
use crate::layer::{Ends, Noise, Pass, Results, bias_gradient};
use crate::loss::softmax_cross_entropy;
use crate::network::{Network, Placed};
use crate::objective::Target;
use crate::optimizer::OptimizerState;
use crate::{Error, best};

/// Images that go through the layers together, sharing each read of the weights.
const GROUP: usize = 4;

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
    /// Kernels as the forward pass reads them, where that is another way.
    prepared: Floats,
    /// For each layer behind the first trained one, the kernel as the backward pass reads it.
    reversed: Vec<Floats>,
    /// For each layer, the gradient from which that to its kernel is made, if it is another.
    unfinished: Vec<Floats>,
    /// For the whole batch: the input, then each layer's output.
    values: Vec<Floats>,
    /// What each layer from the first trained one on keeps for the backward pass.
    saved: Vec<Floats>,
    /// The loss's gradient to the output of each of those.
    d_values: Vec<Floats>,
    scratch: Floats,
    /// For each group, rasters on their way to the input; empty where images are not changed.
    rasters: AlignedBytes,
    outcomes: Vec<Outcome>,
}

/// Floats that a trainer holds.
pub(crate) fn floats_needed(network: &Network, batch: usize) -> u64 {
    let first = network.first_trained();
    let layers = network.layers.iter().enumerate().map(|(index, placed)| {
        let layer = &placed.layer;
        let [gradient, saved] = kept(first, index, placed);
        let images = batch as u64 * (layer.output().len() + gradient + saved) as u64;
        let reversed = reversed(first, index, placed);
        images + (reversed + unfinished(placed)) as u64
    });
    let weights = 2 * network.weights as u64 + network.prepared as u64;
    let input = batch as u64 * network.input.len() as u64;
    let scratch = batch.div_ceil(GROUP) as u64 * network.training_scratch() as u64;
    layers.sum::<u64>() + weights + input + scratch
}

/// Floats an image of the gradient to a layer's output, and of what it saves for the backward
/// pass; both are for layers from the first trained one on.
fn kept(first_trained: usize, index: usize, placed: &Placed) -> [usize; 2] {
    if index < first_trained { [0; 2] } else { [placed.layer.output().len(), placed.layer.saved()] }
}

/// Floats of the kernel as the backward pass reads it, which ends at the first trained layer.
fn reversed(first_trained: usize, index: usize, placed: &Placed) -> usize {
    if index <= first_trained { 0 } else { placed.layer.reversed() }
}

/// Floats of the gradient from which that to the layer's kernel is made, 0 if it is the same.
fn unfinished(placed: &Placed) -> usize {
    let len = placed.layer.gradient_rows() * placed.bias.len();
    if placed.frozen || len == placed.kernel.len() { 0 } else { len }
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
        let first = network.first_trained();
        let layers = || network.layers.iter().enumerate();
        let images = |len: usize| Floats::zeros(batch.saturating_mul(len));
        let backward = |which: usize| {
            let buffers = layers().map(|(index, placed)| images(kept(first, index, placed)[which]));
            buffers.collect::<Result<Vec<_>, _>>()
        };
        let scratch = batch.div_ceil(GROUP).saturating_mul(network.training_scratch());
        Ok(Self {
            network,
            isa,
            weights,
            gradient: Floats::zeros(network.weights)?,
            prepared: Floats::zeros(network.prepared)?,
            reversed: layers()
                .map(|(index, placed)| Floats::zeros(reversed(first, index, placed)))
                .collect::<Result<_, _>>()?,
            unfinished: layers()
                .map(|(_, placed)| Floats::zeros(unfinished(placed)))
                .collect::<Result<_, _>>()?,
            values: std::iter::once(images(network.input.len()))
                .chain(layers().map(|(_, placed)| images(placed.layer.output().len())))
                .collect::<Result<_, _>>()?,
            saved: backward(1)?,
            d_values: backward(0)?,
            scratch: Floats::zeros(scratch)?,
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
        self.prepare_kernels(true);
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
        self.prepare_kernels(false);
        self.pass_groups(batch, None, control)?;
        Ok(&self.outcomes[..batch.rows.len()])
    }

    /// Most images of one step.
    pub(crate) fn batch(&self) -> usize {
        self.outcomes.len()
    }

    fn prepare_kernels(&mut self, for_backward: bool) {
        let mut parts = Parts { rest: &mut self.prepared, at: 0 };
        let tasks: Vec<_> = self
            .network
            .layers
            .iter()
            .zip(&mut self.reversed)
            .map(|(placed, reversed)| {
                let reversed = (for_backward && !reversed.is_empty()).then_some(&mut **reversed);
                (placed, parts.take(placed.prepared.clone()), reversed)
            })
            .collect();
        let (isa, weights) = (self.isa, &self.weights);
        tasks.into_par_iter().with_max_len(1).for_each(|(placed, prepared, reversed)| {
            placed.layer.prepare(isa, &weights[placed.kernel.clone()], prepared, reversed);
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
        let lens = std::iter::once(network.input.len()).chain(outputs);
        let values = by_group(&mut self.values, lens, images);
        let first = network.first_trained();
        let layers = network.layers.iter().enumerate();
        let backward = layers.map(|(index, placed)| kept(first, index, placed));
        let d_values = by_group(&mut self.d_values, backward.clone().map(|len| len[0]), images);
        let saved = by_group(&mut self.saved, backward.map(|len| len[1]), images);
        let scratch = self.scratch.chunks_mut(network.training_scratch());
        let outcomes = self.outcomes[..images].chunks_mut(GROUP);
        let mut rasters = self.rasters.chunks_mut(Changes::scratch(network.input.len()));
        let groups: Vec<Group<'_>> = values
            .into_iter()
            .zip(d_values)
            .zip(saved)
            .zip(scratch.zip(outcomes))
            .zip(batch.rows.chunks(GROUP))
            .map(|((((values, d_values), saved), (scratch, outcomes)), rows)| Group {
                values,
                saved,
                d_values,
                scratch,
                rasters: rasters.next().unwrap_or_default(),
                outcomes,
                rows,
            })
            .collect();
        let weights = (&*self.weights, &*self.prepared);
        let reversed = &*self.reversed;
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
        let network = self.network;
        let pass = Pass { isa: self.isa, control, noise: None };
        let mut parts = Parts { rest: &mut self.gradient, at: 0 };
        let mut tasks = Vec::new();
        for ((index, placed), unfinished) in
            network.layers.iter().enumerate().zip(&mut self.unfinished)
        {
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
        let (values, saved, d_values) = (&self.values, &self.saved, &self.d_values);
        let workers = self.scratch.chunks_mut(network.training_scratch());
        let workers: Vec<_> = workers.take(rayon::current_num_threads()).collect();
        workers.into_par_iter().with_max_len(1).try_for_each(|scratch| {
            while let Some(GradientTask { index, rows, gradient, .. }) = next() {
                let layer = &network.layers[index].layer;
                let d_output = &d_values[index][..images * layer.output().len()];
                let Some(rows) = rows else {
                    control.check()?;
                    bias_gradient(pass.isa, d_output, gradient);
                    continue;
                };
                let ends = Ends {
                    input: &values[index][..images * layer.input().len()],
                    output: &values[index + 1][..images * layer.output().len()],
                    saved: &saved[index][..images * layer.saved()],
                };
                layer.kernel_gradient(&pass, rows, ends, d_output, gradient, scratch)?;
            }
            Ok(())
        })?;
        for (placed, unfinished) in network.layers.iter().zip(&self.unfinished) {
            if !unfinished.is_empty() {
                let kernel = &mut self.gradient[placed.kernel.clone()];
                placed.layer.finish_gradient(self.isa, unfinished, kernel);
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

/// A few images on their way through the layers.
struct Group<'g> {
    values: Vec<&'g mut [f32]>,
    saved: Vec<&'g mut [f32]>,
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
        (weights, prepared): (&[f32], &[f32]),
        batch: Batch<'_>,
    ) -> Result<(), Cancelled> {
        let inputs = self.values[0].chunks_exact_mut(network.input.len());
        for ((&row, input), outcome) in self.rows.iter().zip(inputs).zip(&mut *self.outcomes) {
            pass.control.check()?;
            outcome.target = batch.load(row, self.rasters, input);
        }
        let first = network.first_trained();
        for (index, placed) in network.layers.iter().enumerate() {
            let (before, after) = self.values.split_at_mut(index + 1);
            let kernel = &weights[placed.kernel.clone()];
            let weights = placed.weights(kernel, &weights[placed.bias.clone()], prepared);
            let saved = pass.noise.filter(|_| index >= first).map(|_| &mut *self.saved[index]);
            let results = Results { output: &mut *after[0], saved };
            placed.layer.forward(pass, weights, before[index], results, self.scratch)?;
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
        reversed: &[Floats],
    ) -> Result<(), Cancelled> {
        let first = network.first_trained();
        for (index, placed) in network.layers.iter().enumerate().skip(first).rev() {
            let ends = Ends {
                input: self.values[index],
                output: self.values[index + 1],
                saved: self.saved[index],
            };
            let (before, after) = self.d_values.split_at_mut(index);
            // Nobody asks for the gradient to what no training changes.
            let d_input = before.last_mut().filter(|_| index > first).map(|d_input| &mut **d_input);
            placed.layer.backward(pass, &reversed[index], ends, after[0], d_input, self.scratch)?;
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
        for (group, part) in groups.iter_mut().zip(chunks(&mut buffer[..images * len], GROUP * len))
        {
            group.push(part);
        }
    }
    groups
}

/// Chunks of `len`; of an empty slice, as many empty ones as anybody asks for.
fn chunks(mut buffer: &mut [f32], len: usize) -> impl Iterator<Item = &mut [f32]> {
    std::iter::from_fn(move || {
        let rest = std::mem::take(&mut buffer);
        let (chunk, rest) = rest.split_at_mut(len.min(rest.len()));
        buffer = rest;
        Some(chunk)
    })
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
