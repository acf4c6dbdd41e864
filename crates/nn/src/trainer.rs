//! One step of training: a batch through the network and back, and the weights after it.
//!
//! The batch goes through in groups of a few images, side by side on the threads; where a batch
//! norm looks over the whole batch, all groups wait for each other.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Isa};
use teller_payload::AlignedBytes;

use crate::Error;
use crate::batch::{Batch, Changes};
use crate::floats::Floats;
use crate::group::{GROUP, Group, Kept, Outcome, chunks};
use crate::kernels::{Kernels, Parts};
use crate::layer::{Noise, Pass};
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
    kernels: Kernels,
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
    let weights = 2 * network.weights as u64;
    // A sum is of two floats' size.
    let group = 2 * sums(network) as u64 + network.training_scratch() as u64;
    let images = batch as u64 * Kept::floats_needed(network) + batch.div_ceil(GROUP) as u64 * group;
    Kernels::floats_needed(network) + weights + images
}

/// Numbers that any batch norm of the network sums up.
fn sums(network: &Network) -> usize {
    let norms = network.layers.iter().filter_map(|placed| placed.layer.batch_norm());
    norms.map(|norm| norm.sums()).fold(0, usize::max)
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
        network.initialize(seed, "initial weights", &mut weights);
        let sums = batch.div_ceil(GROUP).saturating_mul(sums(network));
        let scratch = batch.div_ceil(GROUP).saturating_mul(network.training_scratch());
        Ok(Self {
            network,
            isa,
            weights,
            gradient: Floats::zeros(network.weights)?,
            kernels: Kernels::new(network)?,
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
        self.kernels.prepare(self.network, self.isa, &self.weights, true);
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
        self.kernels.prepare(self.network, self.isa, &self.weights, false);
        self.pass_groups(batch, None, control)?;
        Ok(&self.outcomes[..batch.rows.len()])
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
        let groups = self.kept.groups(network, (images, GROUP), noise.is_some()).into_iter();
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
            let weights = &*self.weights;
            let Kernels { prepared, reversed, .. } = &self.kernels;
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
                settle(placed, &groups, images, &mut self.weights, &mut self.kernels.prepared);
            }
            first = stage_end;
        }
        for (number, &norm) in norms.iter().enumerate().rev() {
            let placed = &network.layers[norm];
            let Kernels { prepared, reversed, .. } = &mut self.kernels;
            settle_gradients(placed, &groups, images, prepared, &mut reversed[norm]);
            let before = number.checked_sub(1).map(|before| norms[before]);
            let Kernels { prepared, reversed, .. } = &self.kernels;
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
        let (network, kept) = (self.network, &self.kept);
        let pass = Pass { isa: self.isa, control, noise: None };
        let learned = |index| kept.learned(network, index, images, 0);
        self.kernels.gradient(network, &pass, learned, &mut self.scratch, &mut self.gradient)
    }
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

#[cfg(test)]
#[path = "trainer_tests.rs"]
mod tests;
