//! A batch of rows on its way to codes and back to rows.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Stream, math};

use super::examples::Examples;
use super::layout::{AutoencoderLayout, Layers};
use super::likelihood::{Likelihood, divergence};
use super::scale::Scale;
use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{TASK, Work, buffers};
use crate::generative::chain::ChainBatch;

/// The memory of a batch.
pub(super) struct Batch {
    /// The way from rows to means and logarithms of the variances of their codes.
    pub(super) encoder: ChainBatch,
    /// The noise that codes are drawn by.
    pub(super) noise: Floats,
    /// The way from codes that were drawn to rows; [`Batch::judge`] writes the gradient to its end.
    pub(super) decoder: ChainBatch,
    /// A loss for each number, to be summed up.
    terms: Floats,
}

/// How well one row was told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Told {
    /// Negative log-likelihood of the row given its code, in nats.
    pub(super) reconstruction: f64,
    /// Of the code from the normal distribution, in nats.
    pub(super) divergence: f64,
    /// Sum over the numbers of the row.
    pub(super) squared_error: f64,
}

impl Told {
    /// The negative evidence lower bound, with a weight for the divergence.
    pub(super) fn loss(&self, beta: f64) -> f64 {
        self.reconstruction + beta * self.divergence
    }
}

/// What the network is asked with.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) layers: &'a Layers,
    pub(super) scale: &'a Scale,
    pub(super) examples: &'a Examples,
}

/// From where the noise of the row at a place of the batch comes.
pub(super) type Noise<'a> = &'a (dyn Fn(usize) -> Stream + Sync);

impl Batch {
    pub(super) fn new(layers: &Layers, rows: usize) -> Result<Self, Error> {
        let (width, latent) = (layers.layout.width, layers.layout.latent);
        let [noise, terms] = buffers(rows, [latent, width])?;
        let (encoder, decoder) = (layers.encoder.batch(rows)?, layers.decoder.batch(rows)?);
        Ok(Self { encoder, noise, decoder, terms })
    }

    /// Floats of a batch of `rows`.
    pub(super) fn floats(layers: &Layers, rows: usize) -> u64 {
        let AutoencoderLayout { width, latent, .. } = layers.layout;
        let own = rows as u64 * (width + latent) as u64;
        own.saturating_add(layers.encoder.floats(rows)).saturating_add(layers.decoder.floats(rows))
    }

    /// Takes rows there and back; without noise their codes are the means.
    pub(super) fn forward(
        &mut self,
        work: &Work<'_>,
        asked: Asked<'_>,
        weights: &[f32],
        rows: &[u32],
        noise: Option<Noise<'_>>,
    ) -> Result<(), Cancelled> {
        let Asked { layers, scale, examples } = asked;
        let (width, latent) = (layers.layout.width, layers.layout.latent);
        let count = rows.len();
        let input = &mut self.encoder.input()[..count * width];
        input.par_chunks_mut(width).zip(rows).for_each(|(to, &row)| {
            examples.load(row, to);
            scale.apply(to);
        });
        let encoding = &weights[layers.encoding.clone()];
        layers.encoder.forward(work, encoding, &mut self.encoder, count)?;
        let code = &self.encoder.output()[..count * 2 * latent];
        let drawn = &mut self.decoder.input()[..count * latent];
        let rows = drawn.par_chunks_mut(latent).zip(self.noise.par_chunks_mut(latent));
        rows.zip(code.par_chunks(2 * latent)).enumerate().for_each(|(row, ((to, kept), code))| {
            let (means, log_variances) = code.split_at(latent);
            to.copy_from_slice(means);
            let Some(noise) = noise else { return };
            let mut stream = noise(row);
            for ((to, kept), s) in to.iter_mut().zip(kept).zip(log_variances) {
                *kept = stream.normal() as f32;
                *to += math::exp(0.5 * s) * *kept;
            }
        });
        let decoding = &weights[layers.decoding.clone()];
        layers.decoder.forward(work, decoding, &mut self.decoder, count)
    }

    /// How well each of the rows was told that went [`Batch::forward`].
    pub(super) fn judge(
        &mut self,
        work: &Work<'_>,
        layers: &Layers,
        variances: &[f32],
        told: &mut [Told],
    ) -> Result<(), Cancelled> {
        let (width, latent) = (layers.layout.width, layers.layout.latent);
        let (isa, control) = (work.isa, work.control);
        let likelihood = layers.layout.likelihood;
        let count = told.len();
        let outputs = self.decoder.output_to_gradient(count * width).par_chunks_mut(TASK * width);
        let tasks = outputs
            .zip(self.terms.par_chunks_mut(TASK * width))
            .zip(self.encoder.kept.values[0].par_chunks(TASK * width))
            .zip(self.encoder.output().par_chunks(TASK * 2 * latent));
        tasks.zip(told.par_chunks_mut(TASK)).try_for_each(|((((o, t), i), c), told)| {
            control.check()?;
            let rows = o.chunks_exact_mut(width).zip(t.chunks_exact_mut(width));
            let rows = rows.zip(i.chunks_exact(width)).zip(c.chunks_exact(2 * latent));
            for ((((output, terms), input), code), told) in rows.zip(told) {
                isa.vectorize(loss, (likelihood, input, variances, &mut *output, &mut *terms));
                let reconstruction = sum(terms);
                isa.vectorize(errors, (likelihood, &*output, variances, &mut *terms));
                let divergence = divergence(code);
                *told = Told { reconstruction, divergence, squared_error: sum(terms) };
            }
            Ok(())
        })
    }
}

type Row<'a> = (Likelihood, &'a [f32], &'a [f32], &'a mut [f32], &'a mut [f32]);

#[inline(always)]
pub(super) fn loss((likelihood, input, variances, output, terms): Row<'_>) {
    likelihood.loss(input, variances, output, terms);
}

type Gradient<'a> = (Likelihood, &'a [f32], &'a [f32], &'a mut [f32]);

#[inline(always)]
fn errors((likelihood, gradient, variances, terms): Gradient<'_>) {
    likelihood.squared_errors(gradient, variances, terms);
}

/// In the order of the row.
pub(super) fn sum(terms: &[f32]) -> f64 {
    terms.iter().map(|&term| f64::from(term)).sum()
}
