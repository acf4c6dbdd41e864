//! One step of training: a batch of sequences through the network and back, and the weights after
//! it.
//!
//! The longest sequences of a batch go through first, in groups of a few, side by side on the
//! threads. The gradient to the kernels is then cut by their rows, each summing over all steps in
//! their order: no sum is ever divided between threads.

use std::cmp::Reverse;
use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Isa, Stream};

use super::GROUP;
use super::network::{Dropped, Group, Network};
use super::packing::Packing;
use super::source::{Source, Steps};
use super::values::Values;
use crate::embedding::SparseGradient;
use crate::floats::Floats;
use crate::kernels::Parts;
use crate::layer::{Ends, Layer, Noise, Pass, bias_gradient, drop_out};
use crate::loss::softmax_cross_entropy;
use crate::objective::{Objective, Target};
use crate::optimizer::{OptimizerState, UpdateRule};
use crate::training::{Learner, Look, TrainingStep};
use crate::{Error, best};

/// Batches whose sequences are sorted by length together.
const NEAR: usize = 50;

/// What keeps a network from learning its training data by heart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Regularization {
    /// Share of the input's numbers that are dropped.
    pub(crate) input_dropout: f32,
    /// Share of what the last layer reads that is dropped.
    pub(crate) dropout: f32,
    /// Steps of time that a gradient goes through, 0 for all.
    pub(crate) truncation: usize,
}

/// How a recurrent network is trained.
pub(crate) struct Recipe {
    /// Most sequences of a step.
    pub(crate) batch: usize,
    /// Of everything random.
    pub(crate) seed: u64,
    pub(crate) update: UpdateRule,
    pub(crate) regularization: Regularization,
    /// What is asked of the sequences that are learned from.
    pub(crate) objective: Objective,
}

/// A recurrent network in training with all memory that a step needs.
pub(crate) struct SequenceLearner<'a, S> {
    network: &'a Network,
    source: &'a S,
    isa: Isa,
    /// Most sequences of a step.
    batch: usize,
    seed: u64,
    regularization: Regularization,
    weights: Floats,
    gradient: Floats,
    sparse: SparseGradient,
    /// Of each product, its kernel as the backward pass reads it.
    reversed: Vec<Floats>,
    /// Of a whole batch, one for each width.
    values: Vec<Floats>,
    scratch: Floats,
    optimizer: OptimizerState,
    objective: Objective,
    plain: Objective,
}

/// A group of a batch, before it has its memory.
struct Members {
    rows: Vec<u32>,
    /// Running number of each over the whole training.
    numbers: Vec<u64>,
    lengths: Vec<usize>,
    packing: Packing,
}

/// Steps that a batch has at most: those of the longest `batch` of some rows.
pub(crate) fn most_steps<S: Source>(source: &S, rows: Range<u32>, batch: usize) -> usize {
    let mut lengths: Vec<usize> = rows.map(|row| source.steps(row)).collect();
    lengths.sort_unstable_by_key(|&length| Reverse(length));
    lengths.iter().take(batch).fold(0, |sum, &length| sum.saturating_add(length))
}

/// Floats that a learner holds besides weights, for batches of so many steps in all.
pub(crate) fn floats_needed(network: &Network, steps: usize, batch: usize) -> u64 {
    let mut floats = batch.saturating_mul(network.scratch()) as u64;
    Values::build(network, |width| {
        floats = floats.saturating_add(width.floats(steps, batch) as u64);
    });
    // Weights, their gradient, and the kernels reversed.
    floats.saturating_add(3 * network.weights as u64)
}

impl<'a, S: Source> SequenceLearner<'a, S> {
    /// Fresh weights, drawn from `seed`; those of the table are left to the caller.
    pub(crate) fn new(
        isa: Isa,
        network: &'a Network,
        source: &'a S,
        rows: Range<u32>,
        recipe: Recipe,
    ) -> Result<Self, Error> {
        let Recipe { batch, seed, update, regularization, objective } = recipe;
        let steps = most_steps(source, rows, batch);
        let mut weights = Floats::zeros(network.weights)?;
        network.initialize(seed, &mut weights);
        let mut widths = Vec::new();
        Values::build(network, |width| widths.push(width));
        let values = widths.iter().map(|width| Floats::zeros(width.floats(steps, batch)));
        let products = network.products.iter();
        let reversed = products.clone().map(|product| Floats::zeros(product.dense.reversed()));
        let decaying = products.clone().map(|product| product.kernel.clone());
        let decaying = decaying.chain([network.table.clone()]).filter(|range| !range.is_empty());
        let trained = std::iter::once(0..network.weights).collect();
        Ok(Self {
            network,
            source,
            isa,
            batch,
            seed,
            regularization,
            weights,
            gradient: Floats::zeros(network.weights)?,
            sparse: SparseGradient::default(),
            reversed: reversed.collect::<Result<_, _>>()?,
            values: values.collect::<Result<_, _>>()?,
            scratch: Floats::zeros(batch.next_multiple_of(GROUP) * network.scratch())?,
            optimizer: update.start(network.weights, trained, decaying.collect())?,
            objective,
            plain: Objective::plain(network.classes),
        })
    }

    /// The table of what inputs are made of, to be filled before the training.
    pub(crate) fn table(&mut self) -> &mut [f32] {
        &mut self.weights[self.network.table.clone()]
    }

    /// The sequences of a batch in groups, the longest first.
    fn members(&self, rows: &[u32], first: u64) -> Vec<Members> {
        let mut order: Vec<(usize, u64, u32)> = (first..)
            .zip(rows)
            .map(|(number, &row)| (self.source.steps(row), number, row))
            .collect();
        order.sort_unstable_by_key(|&(steps, number, _)| (Reverse(steps), number));
        let groups = order.chunks(GROUP).map(|group| {
            let lengths: Vec<usize> = group.iter().map(|(steps, ..)| *steps).collect();
            Members {
                rows: group.iter().map(|(.., row)| *row).collect(),
                numbers: group.iter().map(|(_, number, _)| *number).collect(),
                packing: Packing::new(&lengths),
                lengths,
            }
        });
        groups.collect()
    }

    /// Forward, and in training also backward.
    fn pass(
        &mut self,
        groups: &[Members],
        trains: bool,
        control: &dyn Control,
    ) -> Result<Look, Cancelled> {
        let rows: usize = groups.iter().map(|group| group.rows.len()).sum();
        let Self { network, isa, seed, regularization, reversed, weights, source, .. } = self;
        let (network, isa, seed, weights, source) = (*network, *isa, *seed, &**weights, *source);
        let regularization = *regularization;
        let objective = if trains { &self.objective } else { &self.plain };
        let mut rest: Vec<&mut [f32]> =
            self.values.iter_mut().map(|floats| &mut **floats).collect();
        let mut scratch = &mut *self.scratch;
        let mut tasks = Vec::with_capacity(groups.len());
        for members in groups {
            let mut fields = rest.iter_mut();
            let values = Values::build(network, |width| match fields.next() {
                Some(rest) => {
                    let len = width.floats(members.packing.rows(), members.rows.len());
                    split_off(rest, len)
                }
                None => &mut [],
            });
            let scratch = split_off(&mut scratch, members.rows.len() * network.scratch());
            let (packing, lengths) = (members.packing.clone(), members.lengths.clone());
            tasks.push((members, Group { packing, lengths, values, scratch }));
        }
        let looks: Vec<Look> = tasks
            .into_par_iter()
            .with_max_len(1)
            .map(|(members, mut group)| {
                let pass = Pass { isa, control, noise: None };
                load(network, source, weights, members, &mut group, (isa, control), {
                    trains.then_some((seed, regularization.input_dropout))
                })?;
                let dropped =
                    Dropped { rate: regularization.dropout, seed, numbers: &members.numbers };
                let while_training = trains.then_some(&dropped);
                network.forward(&pass, weights, &mut group, while_training)?;
                let scale = 1.0 / rows as f32;
                let look = score(source, members, &mut group, objective, scale);
                if trains {
                    let truncation = regularization.truncation;
                    network.backward(&pass, reversed, &mut group, &dropped, truncation)?;
                    if network.learns_inputs {
                        let Group { packing, lengths, values, .. } = &mut group;
                        let d_input = &mut *values.d_input;
                        let rate = regularization.input_dropout;
                        drop_inputs(network, members, packing, lengths, d_input, (seed, rate));
                    }
                }
                Ok(look)
            })
            .collect::<Result<_, Cancelled>>()?;
        Ok(looks.into_iter().sum())
    }

    fn weight_gradient(
        &mut self,
        groups: &[Members],
        control: &dyn Control,
    ) -> Result<(), Cancelled> {
        let network = self.network;
        let rows = groups.iter().map(|group| group.packing.rows()).sum();
        let sequences = groups.iter().map(|group| group.rows.len()).sum();
        let mut fields = self.values.iter();
        let values = Values::build(network, |width| match fields.next() {
            Some(floats) => &floats[..width.floats(rows, sequences)],
            None => &[],
        });
        let (table, products) = self.gradient.split_at_mut(network.table.len());
        let mut parts = Parts { rest: products, at: network.table.len() };
        let mut tasks = Vec::new();
        for (index, product) in network.products.iter().enumerate() {
            let columns = product.dense.units;
            let kernel = parts.take(product.kernel.clone());
            let rows = product.dense.task_rows();
            for (first, gradient) in (0..).step_by(rows).zip(kernel.chunks_mut(rows * columns)) {
                let rows = Some(first..first + gradient.len() / columns);
                tasks.push(Task { index, rows, gradient });
            }
            tasks.push(Task { index, rows: None, gradient: parts.take(product.bias.clone()) });
        }
        let pass = Pass { isa: self.isa, control, noise: None };
        tasks.into_par_iter().with_max_len(1).try_for_each(|Task { index, rows, gradient }| {
            let (input, d_output) = network.ends(&values, index);
            let Some(rows) = rows else {
                control.check()?;
                bias_gradient(pass.isa, d_output, gradient);
                return Ok(());
            };
            let ends = Ends { input, output: &[], saved: &[] };
            let dense = &network.products[index].dense;
            dense.kernel_gradient(&pass, rows, ends, d_output, gradient, &mut [])
        })?;
        if network.learns_inputs {
            if !self.optimizer.keeps_zeros() {
                table.fill(0.0);
            }
            let mut base = 0;
            for members in groups {
                let rows = members.rows.iter().zip(&members.numbers);
                for (sequence, (&row, &number)) in rows.enumerate() {
                    let noise = Noise { seed: self.seed, first_image: number };
                    self.source.features(row, noise, &mut |step, features| {
                        let sum = base + members.packing.row(sequence, step);
                        self.sparse.push(sum, features);
                    });
                }
                base += members.packing.rows();
            }
            self.sparse.write(self.isa, network.inputs, values.d_input, table, control)?;
        }
        Ok(())
    }
}

/// Some rows of a kernel's gradient, or the whole bias where there are none.
struct Task<'g> {
    index: usize,
    rows: Option<Range<usize>>,
    gradient: &'g mut [f32],
}

/// The first `len` floats, which are no longer in `rest`.
fn split_off<'v>(rest: &mut &'v mut [f32], len: usize) -> &'v mut [f32] {
    let (part, behind) = std::mem::take(rest).split_at_mut(len);
    *rest = behind;
    part
}

/// Writes the input of a group, and drops some of it by the rate of `noise`.
fn load<S: Source>(
    network: &Network,
    source: &S,
    weights: &[f32],
    members: &Members,
    group: &mut Group<'_>,
    (isa, control): (Isa, &dyn Control),
    noise: Option<(u64, f32)>,
) -> Result<(), Cancelled> {
    let Group { packing, lengths, values, .. } = group;
    let table = &weights[network.table.clone()];
    let rows = members.rows.iter().zip(&members.numbers);
    for (sequence, (&row, &number)) in rows.enumerate() {
        control.check()?;
        let noise = noise.map(|(seed, _)| Noise { seed, first_image: number });
        let width = network.inputs;
        let steps = Steps { packing, sequence, width, values: values.input };
        source.load(isa, table, row, noise, steps);
        let pooled = &mut values.pooled[sequence * network.pooled()..][..network.pooled()];
        pooled[network.pooled() - network.statics..].copy_from_slice(source.statics(row));
    }
    if let Some(noise) = noise {
        drop_inputs(network, members, packing, lengths, values.input, noise);
    }
    Ok(())
}

/// Drops numbers of steps: of the input, and of the gradient to it the same.
fn drop_inputs(
    network: &Network,
    members: &Members,
    packing: &Packing,
    lengths: &[usize],
    values: &mut [f32],
    (seed, rate): (u64, f32),
) {
    if rate == 0.0 {
        return;
    }
    for (sequence, (&number, &steps)) in members.numbers.iter().zip(lengths).enumerate() {
        let mut stream = Stream::new(seed, "input dropout", number);
        let mut all = Steps { packing, sequence, width: network.inputs, values };
        for step in 0..steps {
            drop_out(&mut stream, rate, all.step(step));
        }
    }
}

/// What became of the group, and the gradient to its logits.
fn score<S: Source>(
    source: &S,
    members: &Members,
    group: &mut Group<'_>,
    objective: &Objective,
    scale: f32,
) -> Look {
    let Values { logits, d_logits, .. } = &mut group.values;
    d_logits.copy_from_slice(logits);
    let classes = logits.len() / members.rows.len().max(1);
    let mut look = Look::default();
    for (&row, logits) in members.rows.iter().zip(d_logits.chunks_exact_mut(classes.max(1))) {
        let target = source.target(row);
        look.figure += f64::from(u8::from(best(logits) == target as usize));
        look.loss += softmax_cross_entropy(logits, &objective.wanted(Target::one(target)), scale);
    }
    look
}

impl<S: Source> Learner for SequenceLearner<'_, S> {
    fn state(&self) -> (&Floats, &OptimizerState) {
        (&self.weights, &self.optimizer)
    }

    fn state_mut(&mut self) -> (&mut Floats, &mut OptimizerState) {
        (&mut self.weights, &mut self.optimizer)
    }

    fn into_weights(self) -> Floats {
        self.weights
    }

    /// Batches of about the same length, in random order: the last one, which may be smaller,
    /// stays the last.
    fn arrange(&self, rows: &mut [u32], before: u64) {
        for near in rows.chunks_mut(NEAR * self.batch) {
            near.sort_by_key(|&row| self.source.steps(row));
        }
        let (whole, rest) = rows.split_at(rows.len() - rows.len() % self.batch);
        let mut batches: Vec<&[u32]> = whole.chunks(self.batch).collect();
        Stream::new(self.seed, "batch order", before).shuffle(&mut batches);
        let arranged = [batches.concat(), rest.to_vec()].concat();
        rows.copy_from_slice(&arranged);
    }

    fn step(&mut self, step: TrainingStep<'_>, control: &dyn Control) -> Result<f64, Error> {
        let groups = self.members(step.rows, step.first);
        let weights = &self.weights;
        let products = self.network.products.par_iter().zip(&mut self.reversed);
        products.with_max_len(1).for_each(|(product, reversed)| {
            product.dense.prepare(self.isa, product.weights(weights), &mut [], Some(reversed));
        });
        let look = self.pass(&groups, true, control)?;
        self.weight_gradient(&groups, control)?;
        self.optimizer.update(self.isa, step.rate, &mut self.weights, &mut self.gradient);
        Ok(look.loss)
    }

    fn look(&mut self, rows: &[u32], control: &dyn Control) -> Result<Look, Error> {
        let groups = self.members(rows, 0);
        Ok(self.pass(&groups, false, control)?)
    }
}

#[cfg(test)]
#[path = "learner_tests.rs"]
mod tests;
