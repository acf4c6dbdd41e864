//! One step of the critic on a batch of real rows and as many made ones, and then one of the
//! generator by what the critic has learned.

use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::{Control, Isa, Stream};

use super::critic::CriticBatch;
use super::generator::GeneratorBatch;
use super::{GanNet, heads};
use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{Work, mark_labels};
use crate::generative::averaging;
use crate::generative::params::GanParams;
use crate::generative::table::{Encoded, TableEncoding};
use crate::optimizer::OptimizerState;
use crate::training::{Learner, Look, TrainingStep};

/// Share of the generator that its moving average takes on in a step.
const AVERAGED: f32 = 0.005;

pub(in crate::generative) struct GanLearner<'a> {
    net: &'a GanNet,
    encoding: &'a TableEncoding,
    params: &'a GanParams,
    data: &'a Encoded,
    isa: Isa,
    weights: Floats,
    gradient: Floats,
    optimizer: OptimizerState,
    critic: CriticBatch,
    generator: GeneratorBatch,
    /// What the generator makes, and the gradient to it.
    made: Floats,
    d_made: Floats,
    reversed: Floats,
}

/// Floats of a row of a batch.
pub(in crate::generative) fn floats_of_a_row(net: &GanNet, encoding: &TableEncoding) -> usize {
    net.critic.floats() + net.generator.floats() + 2 * encoding.width
}

impl<'a> GanLearner<'a> {
    pub(in crate::generative) fn new(
        isa: Isa,
        net: &'a GanNet,
        encoding: &'a TableEncoding,
        params: &'a GanParams,
        data: &'a Encoded,
    ) -> Result<Self, Error> {
        let rows = params.training.batch_size.min(data.labels.len());
        let seed = params.training.seed;
        let mut weights = Floats::zeros(net.weights())?;
        net.critic.initialize(&mut Stream::new(seed, "initial critic", 0), &mut weights);
        let generator = &mut weights[net.generated.clone()];
        net.generator.initialize(&mut Stream::new(seed, "initial generator", 0), generator);
        weights.copy_within(net.generated.clone(), net.averaged.start);
        let trained = vec![0..net.generated.start, net.generated.clone()];
        let critic = net.critic.layers.iter().map(|layer| layer.kernel.clone());
        let start = net.generated.start;
        let generator = net.generator.layers.iter().map(|layer| &layer.kernel);
        let generator = generator.map(|kernel| kernel.start + start..kernel.end + start);
        let kernels = critic.chain(generator).collect();
        Ok(Self {
            net,
            encoding,
            params,
            data,
            isa,
            weights,
            gradient: Floats::zeros(net.weights())?,
            optimizer: params.training.update.start(net.weights(), trained, kernels)?,
            critic: net.critic.batch(rows)?,
            generator: net.generator.batch(rows)?,
            made: Floats::zeros(rows * encoding.width)?,
            d_made: Floats::zeros(rows * encoding.width)?,
            reversed: Floats::zeros(net.averaged.start)?,
        })
    }

    /// Makes as many rows as there are, row number `first + i` by its own noise; they and the real
    /// ones become a batch of the critic.
    fn make(&mut self, rows: &[u32], first: u64, work: &Work<'_>) -> Result<(), Error> {
        let Self { net, encoding, params, data, weights, critic, generator, made, .. } = self;
        let (width, condition) = (encoding.width, encoding.condition());
        let (count, inputs) = (rows.len(), net.generator.inputs());
        let (seed, temperature) = (params.training.seed, params.temperature as f32);
        let stream = |purpose, row: usize| Stream::new(seed, purpose, first + row as u64);
        let labels: Vec<u32> = rows.iter().map(|&row| data.labels[row as usize]).collect();

        let input = &mut generator.input[..count * inputs];
        input.par_chunks_mut(inputs).enumerate().for_each(|(row, to)| {
            let mut stream = stream("generator's noise", row);
            stream.normals(work.isa, &mut to[..inputs - condition]);
        });
        mark_labels(&labels, condition, input);
        let made = &mut made[..count * width];
        net.generator.forward(work, &weights[net.generated.clone()], generator, count, made)?;

        let wide = width + condition;
        let (between, others) = critic.input[..3 * count * wide].split_at_mut(count * wide);
        let (fakes, reals) = others.split_at_mut(count * wide);
        let parts = between.par_chunks_mut(wide).zip(fakes.par_chunks_mut(wide));
        let parts = parts.zip(reals.par_chunks_mut(wide)).zip(made.par_chunks_mut(width));
        parts.zip(rows).enumerate().for_each(|(row, ((((between, fake), real), made), &from))| {
            let mut choices = stream("generator's choices", row);
            heads::forward(work.isa, encoding, temperature, &mut choices, made);
            let share = stream("between", row).uniform();
            fake[..width].copy_from_slice(made);
            real[..width].copy_from_slice(&data.values[from as usize * width..][..width]);
            let both = real[..width].iter().zip(&*made);
            let mixed = both.map(|(real, fake)| fake + share * (real - fake));
            between.iter_mut().zip(mixed).for_each(|(to, mixed)| *to = mixed);
        });
        for part in [between, fakes, reals] {
            mark_labels(&labels, condition, part);
        }
        Ok(())
    }

    /// The mean loss of the critic over the batch that was made last, and its gradient.
    fn learn_to_judge(&mut self, count: usize, work: &Work<'_>) -> Result<f64, Error> {
        let Self { net, params, weights, gradient, critic, reversed, .. } = self;
        let own = (&**weights, &mut **gradient);
        Ok(net.critic.learn(work, count, params.penalty, own, critic, reversed)?)
    }

    /// The gradient of the generator, which wants what it made to be taken for real.
    fn learn_to_make(&mut self, count: usize, work: &Work<'_>) -> Result<(), Error> {
        let Self { net, encoding, params, weights, gradient, critic, generator, .. } = self;
        let Self { made, d_made, reversed, .. } = self;
        let (width, wide) = (encoding.width, encoding.width + encoding.condition());
        let temperature = params.temperature as f32;
        let d_fakes = net.critic.judge(work, count, weights, critic, reversed)?;
        let d_made = &mut d_made[..count * width];
        let parts = d_made.par_chunks_mut(width).zip(d_fakes.par_chunks(wide));
        parts.zip(made.par_chunks(width)).for_each(|((to, d), made)| {
            to.copy_from_slice(&d[..width]);
            heads::backward(encoding, temperature, made, to);
        });
        let own = (&weights[net.generated.clone()], &mut gradient[net.generated.clone()]);
        net.generator.backward(work, own, generator, d_made, reversed)?;
        Ok(())
    }

    fn update(&mut self, part: Range<usize>, rate: f64) {
        let Self { isa, optimizer, weights, gradient, .. } = self;
        optimizer.update_part(*isa, rate, part, weights, gradient);
    }
}

impl Learner for GanLearner<'_> {
    fn state(&self) -> (&Floats, &OptimizerState) {
        (&self.weights, &self.optimizer)
    }

    fn state_mut(&mut self) -> (&mut Floats, &mut OptimizerState) {
        (&mut self.weights, &mut self.optimizer)
    }

    fn into_weights(self) -> Floats {
        self.weights
    }

    fn step(&mut self, step: TrainingStep<'_>, control: &dyn Control) -> Result<f64, Error> {
        let TrainingStep { rows, first, rate, .. } = step;
        let (net, count) = (self.net, rows.len());
        let work = Work { isa: self.isa, control };
        self.make(rows, first, &work)?;
        self.optimizer.begin_step();
        let loss = self.learn_to_judge(count, &work)?;
        self.update(0..net.generated.start, rate);
        self.learn_to_make(count, &work)?;
        self.update(net.generated.clone(), rate);
        let (weights, averages) = self.weights.split_at_mut(net.averaged.start);
        averaging::follow(self.isa, AVERAGED, &weights[net.generated.clone()], averages);
        Ok(loss * count as f64)
    }

    fn look(&mut self, _rows: &[u32], _control: &dyn Control) -> Result<Look, Error> {
        Ok(Look::default())
    }
}
