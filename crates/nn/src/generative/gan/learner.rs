//! One step of critic and generator on a batch of real rows.

use rayon::prelude::*;
use teller_numeric::{Control, Isa, Stream};

use super::critic::CriticBatch;
use super::generator::GeneratorBatch;
use super::{GanNet, heads};
use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{Work, mark_labels};
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
        let trained = std::iter::once(0..net.generated.end).collect();
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
            reversed: Floats::zeros(net.widest())?,
        })
    }

    /// The mean loss of the critic and both gradients; the row number `first + i` draws its
    /// noise.
    fn learn(&mut self, rows: &[u32], first: u64, control: &dyn Control) -> Result<f64, Error> {
        let Self { net, encoding, params, data, isa, weights, gradient, .. } = self;
        let Self { critic, generator, made, d_made, reversed, .. } = self;
        let work = Work { isa: *isa, control };
        let (width, condition) = (encoding.width, encoding.condition());
        let (count, inputs) = (rows.len(), net.generator.inputs());
        let (seed, temperature) = (params.training.seed, params.temperature as f32);
        let stream = |purpose, row: usize| Stream::new(seed, purpose, first + row as u64);
        let labels: Vec<u32> = rows.iter().map(|&row| data.labels[row as usize]).collect();

        let input = &mut generator.input[..count * inputs];
        input.par_chunks_mut(inputs).enumerate().for_each(|(row, to)| {
            let mut stream = stream("generator's noise", row);
            to[..inputs - condition].iter_mut().for_each(|to| *to = stream.normal() as f32);
        });
        mark_labels(&labels, condition, input);
        let made = &mut made[..count * width];
        let own = &weights[net.generated.clone()];
        net.generator.forward(&work, own, generator, count, made)?;
        made.par_chunks_mut(width).enumerate().for_each(|(row, to)| {
            heads::forward(encoding, temperature, &mut stream("generator's choices", row), to);
        });

        let wide = width + condition;
        let (between, others) = critic.input[..3 * count * wide].split_at_mut(count * wide);
        let (fakes, reals) = others.split_at_mut(count * wide);
        for (row, &real) in rows.iter().enumerate() {
            let share = stream("between", row).uniform();
            let place = row * wide..row * wide + width;
            let real = &data.values[real as usize * width..][..width];
            let fake = &made[row * width..][..width];
            reals[place.clone()].copy_from_slice(real);
            fakes[place.clone()].copy_from_slice(fake);
            let mixed = real.iter().zip(fake).map(|(real, fake)| fake + share * (real - fake));
            between[place].iter_mut().zip(mixed).for_each(|(to, mixed)| *to = mixed);
        }
        for part in [between, fakes, reals] {
            mark_labels(&labels, condition, part);
        }
        let judge = (&**weights, &mut **gradient);
        let penalty = params.penalty as f32;
        let loss = net.critic.learn(&work, count, penalty, judge, critic, reversed)?;

        // The generator wants what the critic does not.
        let d_made = &mut d_made[..count * width];
        let d_fakes = critic.d_input[count * wide..2 * count * wide].par_chunks(wide);
        let parts = d_made.par_chunks_mut(width).zip(d_fakes).zip(made.par_chunks(width));
        parts.for_each(|((to, d), made)| {
            to.iter_mut().zip(d).for_each(|(to, d)| *to = -d);
            heads::backward(encoding, temperature, made, to);
        });
        let own = (own, &mut gradient[net.generated.clone()]);
        net.generator.backward(&work, own, generator, d_made, reversed)?;
        Ok(loss)
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
        let loss = self.learn(step.rows, step.first, control)?;
        self.optimizer.update(self.isa, step.rate, &mut self.weights, &mut self.gradient);
        let (weights, averages) = self.weights.split_at_mut(self.net.averaged.start);
        let generated = &weights[self.net.generated.clone()];
        self.isa.vectorize(average, (generated, averages));
        Ok(loss * step.rows.len() as f64)
    }

    fn look(&mut self, _rows: &[u32], _control: &dyn Control) -> Result<Look, Error> {
        Ok(Look::default())
    }
}

#[inline(always)]
fn average((generated, averages): (&[f32], &mut [f32])) {
    for (average, weight) in averages.iter_mut().zip(generated) {
        *average += AVERAGED * (weight - *average);
    }
}
