//! The evidence lower bound and its gradient.

use rayon::prelude::*;
use teller_numeric::{Control, Isa, Stream, math};

use super::AutoencoderParams;
use super::batch::{Asked, Batch, Told};
use super::likelihood::Likelihood;
use crate::Error;
use crate::fitted::Validation;
use crate::floats::Floats;
use crate::generative::affine::{TASK, Work, by_rows};
use crate::optimizer::OptimizerState;
use crate::training::{Learner, Look, TrainingStep};

/// What the codes of rows that are looked at are drawn by: the same in each epoch.
pub(super) const LOOKING: &str = "noise of looks";

pub(super) struct AutoencoderLearner<'a> {
    asked: Asked<'a>,
    params: &'a AutoencoderParams,
    /// Rows that the whole training goes through.
    extent: u64,
    isa: Isa,
    pub(super) weights: Floats,
    pub(super) gradient: Floats,
    optimizer: OptimizerState,
    batch: Batch,
    told: Vec<Told>,
}

/// Floats that a learner holds.
pub(super) fn floats_needed(layers: &super::layout::Layers, rows: usize) -> u64 {
    let told = rows as u64 * size_of::<Told>() as u64 / 4;
    (2 * layers.weights as u64 + told).saturating_add(Batch::floats(layers, rows))
}

impl<'a> AutoencoderLearner<'a> {
    /// For batches of `rows`, of which `training` are learned from in an epoch.
    pub(super) fn new(
        isa: Isa,
        asked: Asked<'a>,
        params: &'a AutoencoderParams,
        rows: usize,
        training: usize,
    ) -> Result<Self, Error> {
        let layers = asked.layers;
        let mut weights = Floats::zeros(layers.weights)?;
        layers.initialize(params.training.seed, &mut weights);
        let all = std::iter::once(0..layers.weights).collect();
        Ok(Self {
            asked,
            params,
            extent: u64::from(params.training.epochs) * training as u64,
            isa,
            weights,
            gradient: Floats::zeros(layers.weights)?,
            optimizer: params.training.update.start(layers.weights, all, layers.kernels())?,
            batch: Batch::new(layers, rows)?,
            told: vec![Told::default(); rows],
        })
    }

    /// The sum of the rows' losses, and in `gradient` the gradient of their mean. The row number
    /// `first + i` of the training draws its noise.
    pub(super) fn learn(
        &mut self,
        rows: &[u32],
        first: u64,
        beta: f64,
        control: &dyn Control,
    ) -> Result<f64, Error> {
        let Self { asked, isa, weights, gradient, batch, told, .. } = self;
        let layers = asked.layers;
        let (width, latent) = (layers.layout.width, layers.layout.latent);
        let work = Work { isa: *isa, control };
        let (count, seed) = (rows.len(), self.params.training.seed);
        let noise = |row| Stream::new(seed, "noise of codes", first + row as u64);
        batch.forward(&work, *asked, weights, rows, Some(&noise))?;
        let variances = Likelihood::variances(&weights[layers.log_variances.clone()]);
        let told = &mut told[..count];
        batch.judge(&work, layers, &variances, told)?;

        let weight = 1.0 / count as f32;
        let Batch { encoder, noise, decoder, .. } = batch;
        let d_output = &mut decoder.d_output()[..count * width];
        by_rows(d_output.par_chunks_mut(TASK * width), &work, |part| {
            part.iter_mut().for_each(|d| *d *= weight);
        })?;
        Likelihood::log_variance_gradient(
            d_output,
            &variances,
            &weights[layers.log_variances.clone()],
            weight,
            &mut gradient[layers.log_variances.clone()],
        );
        layers.decoder.backward(&work, decoder, count, count)?;
        let d_decoding = &mut gradient[layers.decoding.clone()];
        layers.decoder.gradient(&work, decoder, count, 0, d_decoding)?;

        let pull = beta as f32 * weight;
        let d_drawn = &decoder.kept.d_input[..count * latent];
        let ways = d_drawn.par_chunks(latent).zip(noise.par_chunks(latent));
        let d_code = encoder.output_to_gradient(count * 2 * latent);
        by_rows(d_code.par_chunks_mut(2 * latent).zip(ways), &work, |(code, (d_drawn, noise))| {
            let (means, log_variances) = code.split_at_mut(latent);
            for i in 0..latent {
                let variance = math::exp(log_variances[i]);
                let deviation = math::exp(0.5 * log_variances[i]);
                means[i] = d_drawn[i] + pull * means[i];
                log_variances[i] =
                    0.5 * (d_drawn[i] * noise[i] * deviation + pull * (variance - 1.0));
            }
        })?;
        layers.encoder.backward(&work, encoder, count, 0)?;
        let d_encoding = &mut gradient[layers.encoding.clone()];
        layers.encoder.gradient(&work, encoder, count, 0, d_encoding)?;
        Ok(told.iter().map(|told| told.loss(beta)).sum())
    }
}

impl Learner for AutoencoderLearner<'_> {
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
        let beta = self.params.beta_after(step.first, self.extent);
        let loss = self.learn(step.rows, step.first, beta, control)?;
        self.optimizer.update(self.isa, step.rate, &mut self.weights, &mut self.gradient);
        Ok(loss)
    }

    fn look(&mut self, rows: &[u32], control: &dyn Control) -> Result<Look, Error> {
        let Self { asked, isa, weights, batch, told, .. } = self;
        let work = Work { isa: *isa, control };
        let seed = self.params.training.seed;
        let noise = |row: usize| Stream::new(seed, LOOKING, rows[row].into());
        batch.forward(&work, *asked, weights, rows, Some(&noise))?;
        let variances = Likelihood::variances(&weights[asked.layers.log_variances.clone()]);
        let told = &mut told[..rows.len()];
        batch.judge(&work, asked.layers, &variances, told)?;
        let loss = told.iter().map(|told| told.loss(self.params.beta)).sum();
        Ok(Look { loss, figure: told.iter().map(|told| told.divergence).sum() })
    }

    fn figure(&self, validation: &Validation) -> (&'static str, f64) {
        ("divergence", validation.figure)
    }
}
