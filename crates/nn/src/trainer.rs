//! One step of training: a batch through the network and back, and the weights after it.
//!
//! The batch goes through in groups of a few images, side by side on the threads; where a batch
//! norm looks over the whole batch, all groups wait for each other. The gradient to the weights is
//! then cut by rows of the kernels, each row summing over the images in their order. So no sum is
//! ever divided between threads.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Isa, Stream};
use teller_payload::AlignedBytes;

use crate::Error;
use crate::batch::{Batch, Changes};
use crate::floats::Floats;
use crate::group::{GROUP, Group, Kept, Outcome, chunks};
use crate::layer::{Ends, Noise, Pass, bias_gradient};
use crate::network::{Network, Placed};
use crate::optimizer::OptimizerState;

/// How an optimizer is to move the weights in one step.
pub(crate) struct Learning<'a> {
    pub(crate) optimizer: &'a mut OptimizerState,
    pub(crate) rate: f64,
    pub(crate) noise: Noise,
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
    /// Of the whole batch.
    kept: Kept,
    /// Sums of a batch norm, by group.
    sums: Vec<f64>,
    scratch: Floats,
    /// For each group, rasters on their way to the input; empty where images are not changed.
    rasters: AlignedBytes,
    outcomes: Vec<Outcome>,
}

/// Floats that a trainer holds.
pub(crate) fn floats_needed(network: &Network, batch: usize) -> u64 {
    let first = network.first_trained();
    let layers = network.layers.iter();
    let kernels = layers.map(|placed| (reversed(first, placed) + unfinished(placed)) as u64);
    let weights = 2 * network.weights as u64 + network.prepared as u64;
    // A sum is of two floats' size.
    let group = 2 * sums(network) as u64 + network.training_scratch() as u64;
    let images = batch as u64 * Kept::floats_needed(network) + batch.div_ceil(GROUP) as u64 * group;
    kernels.sum::<u64>() + weights + images
}

/// Numbers that any batch norm of the network sums up.
fn sums(network: &Network) -> usize {
    let norms = network.layers.iter().filter_map(|placed| placed.layer.batch_norm());
    norms.map(|norm| norm.sums()).fold(0, usize::max)
}

/// Floats of the kernel as the backward pass reads it, which ends at the first trained layer.
fn reversed(first_trained: usize, placed: &Placed) -> usize {
    if placed.reads <= first_trained { 0 } else { placed.layer.reversed() }
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
            let kernel = &mut weights[placed.kernel.clone()];
            placed.layer.initialize(placed.initialization, &mut stream, kernel);
            weights[placed.variance.clone()].fill(1.0);
        }
        let first = network.first_trained();
        let layers = || network.layers.iter();
        let sums = batch.div_ceil(GROUP).saturating_mul(sums(network));
        let scratch = batch.div_ceil(GROUP).saturating_mul(network.training_scratch());
        Ok(Self {
            network,
            isa,
            weights,
            gradient: Floats::zeros(network.weights)?,
            prepared: Floats::zeros(network.prepared)?,
            reversed: layers()
                .map(|placed| Floats::zeros(reversed(first, placed)))
                .collect::<Result<_, _>>()?,
            unfinished: layers()
                .map(|placed| Floats::zeros(unfinished(placed)))
                .collect::<Result<_, _>>()?,
            kept: Kept::new(network, batch)?,
            sums: doubles(sums)?,
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
            placed.layer.prepare(isa, placed.stored(weights), prepared, reversed);
        });
    }

    /// Forward, and with `noise` also backward.
    fn pass_groups(
        &mut self,
        batch: Batch<'_>,
        noise: Option<Noise>,
        control: &dyn Control,
    ) -> Result<(), Cancelled> {
        let (network, isa) = (self.network, self.isa);
        let images = batch.rows.len();
        let scratch = self.scratch.chunks_mut(network.training_scratch());
        let outcomes = self.outcomes[..images].chunks_mut(GROUP);
        let mut rasters = self.rasters.chunks_mut(Changes::scratch(network.input.len()));
        let width = sums(network);
        let mut sums = chunks(&mut self.sums, width);
        let groups = self.kept.groups(network, images, noise.is_some()).into_iter();
        let mut groups: Vec<Group<'_>> = groups
            .zip(scratch.zip(outcomes).zip(batch.rows.chunks(GROUP)))
            .map(|(passing, ((scratch, outcomes), rows))| Group {
                passing,
                scratch,
                rasters: rasters.next().unwrap_or_default(),
                sums: sums.next().unwrap_or_default(),
                outcomes,
                rows,
            })
            .collect();
        let norms = if noise.is_some() { network.batch_norms() } else { Vec::new() };
        let end = network.layers.len();

        let mut first = 0;
        for (number, &stage_end) in norms.iter().chain([&end]).enumerate() {
            let (weights, prepared, reversed) = (&*self.weights, &*self.prepared, &*self.reversed);
            each(&mut groups, isa, noise, control, |group, pass| {
                if number == 0 {
                    group.load(network, batch, control)?;
                }
                group.forward(network, pass, first..stage_end, (weights, prepared))?;
                if let Some(placed) = network.layers.get(stage_end) {
                    group.sum_values(placed, isa);
                    return Ok(());
                }
                group.score(batch, network.classes, 1.0 / images as f32);
                if noise.is_some() {
                    group.backward(
                        network,
                        pass,
                        norms.last().map_or(0, |n| n + 1)..end,
                        reversed,
                    )?;
                }
                if let Some(&norm) = norms.last() {
                    group.sum_gradients(&network.layers[norm], norm, isa, prepared);
                }
                Ok(())
            })?;
            if let Some(placed) = network.layers.get(stage_end) {
                settle(placed, &groups, images, &mut self.weights, &mut self.prepared);
            }
            first = stage_end;
        }
        for (number, &norm) in norms.iter().enumerate().rev() {
            let placed = &network.layers[norm];
            settle_gradients(placed, &groups, images, &self.prepared, &mut self.reversed[norm]);
            let before = number.checked_sub(1).map(|before| norms[before]);
            let (prepared, reversed) = (&*self.prepared, &*self.reversed);
            each(&mut groups, isa, noise, control, |group, pass| {
                let stage = before.map_or(0, |before| before + 1)..norm + 1;
                group.backward(network, pass, stage, reversed)?;
                if let Some(before) = before {
                    group.sum_gradients(&network.layers[before], before, isa, prepared);
                }
                Ok(())
            })?;
        }
        Ok(())
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
        let kept = &self.kept;
        let workers = self.scratch.chunks_mut(network.training_scratch());
        let workers: Vec<_> = workers.take(rayon::current_num_threads()).collect();
        workers.into_par_iter().with_max_len(1).try_for_each(|scratch| {
            while let Some(GradientTask { index, rows, gradient, .. }) = next() {
                let Placed { layer, reads, .. } = &network.layers[index];
                let d_output = &kept.d_values[index][..images * layer.output().len()];
                let Some(rows) = rows else {
                    control.check()?;
                    bias_gradient(pass.isa, d_output, gradient);
                    continue;
                };
                let ends = Ends {
                    input: &kept.values[*reads][..images * layer.input().len()],
                    output: &kept.values[index + 1][..images * layer.output().len()],
                    saved: &kept.saved[index][..images * layer.saved()],
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

/// Does something with every group, side by side.
fn each(
    groups: &mut [Group<'_>],
    isa: Isa,
    noise: Option<Noise>,
    control: &dyn Control,
    work: impl Fn(&mut Group<'_>, &Pass<'_>) -> Result<(), Cancelled> + Sync,
) -> Result<(), Cancelled> {
    groups.par_iter_mut().enumerate().try_for_each(|(index, group)| {
        let noise = noise.map(|noise| Noise {
            first_image: noise.first_image + (index * GROUP) as u64,
            ..noise
        });
        work(group, &Pass { isa, control, noise })
    })
}

/// The batch norm takes on the statistics of all groups.
fn settle(
    placed: &Placed,
    groups: &[Group<'_>],
    images: usize,
    weights: &mut [f32],
    prepared: &mut [f32],
) {
    let Some(norm) = placed.layer.batch_norm() else { return };
    let mut parts = Parts { rest: weights, at: 0 };
    let [gamma, beta, mean, variance] =
        [&placed.kernel, &placed.bias, &placed.mean, &placed.variance]
            .map(|range| parts.take(range.clone()));
    let prepared = &mut prepared[placed.prepared.clone()];
    let sums = all_sums(groups, norm.sums());
    norm.settle(images, &sums, (gamma, beta), (mean, variance), prepared);
}

/// The same for the sums of its gradients.
fn settle_gradients(
    placed: &Placed,
    groups: &[Group<'_>],
    images: usize,
    prepared: &[f32],
    reversed: &mut [f32],
) {
    let Some(norm) = placed.layer.batch_norm() else { return };
    // Empty if nobody asks for the gradient to its input.
    if !reversed.is_empty() {
        let sums = all_sums(groups, norm.sums());
        norm.settle_gradients(images, &sums, &prepared[placed.prepared.clone()], reversed);
    }
}

/// The sums of all groups, added in their order.
fn all_sums(groups: &[Group<'_>], len: usize) -> Vec<f64> {
    let mut all = vec![0.0; len];
    for group in groups {
        all.iter_mut().zip(&*group.sums).for_each(|(all, sum)| *all += sum);
    }
    all
}

/// `len` zeros; an error instead of an abort where the memory is not to be had.
fn doubles(len: usize) -> Result<Vec<f64>, Error> {
    let mut doubles = Vec::new();
    let bytes = len.saturating_mul(size_of::<f64>()) as u64;
    doubles.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes })?;
    doubles.resize(len, 0.0);
    Ok(doubles)
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

#[cfg(test)]
#[path = "trainer_tests.rs"]
mod tests;
