//! One step of critic and generator on a batch of real images.

use rayon::prelude::*;
use teller_numeric::{Control, Isa, Stream};

use super::ImageGanParams;
use super::critic::CriticBatch;
use super::layout::ImageGanNet;
use crate::floats::Floats;
use crate::generative::affine::{Work, mark_labels};
use crate::generative::autoencoder::unit;
use crate::generative::averaging;
use crate::generative::chain::ChainBatch;
use crate::optimizer::OptimizerState;
use crate::training::{Learner, Look, TrainingStep};
use crate::{Error, ImageDataset};

/// Share of the generator that its moving average takes on in a step.
const AVERAGED: f64 = 0.002;

/// The same after so many steps: as long as there are few, the first ones must be forgotten soon.
fn averaged(steps: f64) -> f32 {
    AVERAGED.max(9.0 / (10.0 + steps)) as f32
}

pub(super) struct ImageGanLearner<'a> {
    net: &'a ImageGanNet,
    params: &'a ImageGanParams,
    data: &'a ImageDataset,
    isa: Isa,
    weights: Floats,
    gradient: Floats,
    optimizer: OptimizerState,
    critic: CriticBatch,
    generator: ChainBatch,
}

/// Floats that a learner holds for batches of `rows`.
pub(super) fn floats_needed(net: &ImageGanNet, rows: usize) -> u64 {
    let networks = net.critic.floats(rows).saturating_add(net.generator.floats(rows));
    networks.saturating_add(2 * net.weights() as u64)
}

impl<'a> ImageGanLearner<'a> {
    /// For batches of at most `rows`.
    pub(super) fn new(
        isa: Isa,
        net: &'a ImageGanNet,
        params: &'a ImageGanParams,
        data: &'a ImageDataset,
        rows: usize,
    ) -> Result<Self, Error> {
        let mut weights = Floats::zeros(net.weights())?;
        net.initialize(params.training.seed, &mut weights);
        let trained = std::iter::once(0..net.generated.end).collect();
        Ok(Self {
            net,
            params,
            data,
            isa,
            weights,
            gradient: Floats::zeros(net.weights())?,
            optimizer: params.training.update.start(net.weights(), trained, net.kernels())?,
            critic: net.critic.batch(rows)?,
            generator: net.generator.batch(rows)?,
        })
    }

    /// The mean loss of the critic and both gradients; the image number `first + i` draws its
    /// noise.
    fn learn(&mut self, rows: &[u32], first: u64, control: &dyn Control) -> Result<f64, Error> {
        let Self { net, params, data, isa, weights, gradient, critic, generator, .. } = self;
        let work = Work { isa: *isa, control };
        let (count, image) = (rows.len(), net.layout.image().len());
        let seed = params.training.seed;
        let stream = |purpose, row: usize| Stream::new(seed, purpose, first + row as u64);
        let labels: Vec<u32> = rows.iter().map(|&row| data.targets()[row as usize]).collect();

        let (inputs, noise) = (net.generator.network.input.len(), net.layout.noise);
        let input = &mut generator.input()[..count * inputs];
        input.par_chunks_mut(inputs).enumerate().for_each(|(row, to)| {
            let mut stream = stream("generator's noise", row);
            to[..noise].iter_mut().for_each(|to| *to = stream.normal() as f32);
        });
        mark_labels(&labels, net.layout.condition(), input);
        let own = &weights[net.generated.clone()];
        net.generator.forward(&work, own, generator, count)?;

        let (between, others) =
            critic.chain.input()[..3 * count * image].split_at_mut(count * image);
        let (fakes, reals) = others.split_at_mut(count * image);
        fakes.copy_from_slice(&generator.output()[..count * image]);
        let parts = between.par_chunks_mut(image).zip(fakes.par_chunks(image));
        let parts = parts.zip(reals.par_chunks_mut(image)).enumerate();
        parts.for_each(|(row, ((between, fake), real))| {
            unit(data.raster(rows[row] as usize), real);
            let share = stream("between", row).uniform();
            let pixels = between.iter_mut().zip(fake).zip(&*real);
            pixels.for_each(|((to, fake), real)| *to = fake + share * (real - fake));
        });
        let judge = (&weights[net.criticized.clone()], &mut gradient[net.criticized.clone()]);
        let loss = net.critic.learn(&work, &labels, params.penalty, judge, critic)?;

        // The generator wants what the critic does not.
        let d_made = &critic.chain.kept.d_input[count * image..2 * count * image];
        let d_output = &mut generator.d_output()[..count * image];
        d_output.iter_mut().zip(d_made).for_each(|(to, d)| *to = -d);
        net.generator.backward(&work, generator, count, 0)?;
        let own = &mut gradient[net.generated.clone()];
        net.generator.gradient(&work, generator, count, 0, own)?;
        Ok(loss)
    }
}

impl Learner for ImageGanLearner<'_> {
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
        let steps = step.first as f64 / self.params.training.batch_size as f64;
        averaging::follow(self.isa, averaged(steps), generated, averages);
        Ok(loss * step.rows.len() as f64)
    }

    fn look(&mut self, _rows: &[u32], _control: &dyn Control) -> Result<Look, Error> {
        Ok(Look::default())
    }
}
