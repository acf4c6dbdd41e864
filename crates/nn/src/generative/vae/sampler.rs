//! Raw rows from a trained autoencoder.

use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::{Control, Isa, Stream, math};

use super::{LEAST_LOG_VARIANCE, Mixture, VaeNet};
use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{Work, buffers, mark_labels};
use crate::generative::params::VaeParams;
use crate::generative::perceptron::{Kept, Perceptron};
use crate::generative::sampler::Draw;
use crate::generative::table::{Encoded, TableEncoding};

/// Rows that are encoded together.
const BATCH: usize = 1024;

/// A decoder with, for each label, where its codes lie.
#[derive(Clone, Debug)]
pub(in crate::generative) struct VaeSampler {
    pub(in crate::generative) latent: usize,
    pub(in crate::generative) decoder: Perceptron,
    /// Of each number of an encoded row, where the logarithm of its variance lies.
    pub(in crate::generative) log_variances: Range<usize>,
    pub(in crate::generative) weights: Floats,
    pub(in crate::generative) mixtures: Vec<Mixture>,
}

impl VaeSampler {
    /// The decoder of codes of so many numbers, and what else it needs, without weights.
    pub(in crate::generative) fn place(
        encoding: &TableEncoding,
        latent: usize,
        hidden: usize,
    ) -> (Perceptron, Range<usize>) {
        let mut at = 0;
        let inputs = latent + encoding.condition();
        let decoder = Perceptron::place(inputs, hidden, encoding.width, &mut at);
        (decoder, at..at + encoding.numbers())
    }

    /// Fits the mixtures to the codes of the real rows.
    pub(in crate::generative) fn new(
        isa: Isa,
        net: &VaeNet,
        weights: &[f32],
        encoding: &TableEncoding,
        params: &VaeParams,
        data: &Encoded,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let (width, condition) = (encoding.width, encoding.condition());
        let latent = net.latent;
        let seed = params.training.seed;
        let rows = data.labels.len().min(BATCH);
        let mut kept = Kept::new(&net.encoder, rows)?;
        let [mut input, mut code] = buffers(rows, [width + condition, 2 * latent])?;
        let mut codes = vec![Vec::new(); encoding.labels()];
        let batches = data.values.chunks(BATCH * width).zip(data.labels.chunks(BATCH));
        for (number, (values, labels)) in batches.enumerate() {
            let input = &mut input[..labels.len() * (width + condition)];
            let code = &mut code[..labels.len() * 2 * latent];
            for (to, from) in input.chunks_exact_mut(width + condition).zip(values.chunks(width)) {
                to[..width].copy_from_slice(from);
            }
            mark_labels(labels, condition, input);
            net.encoder.forward(&Work { isa, control }, weights, input, &mut kept, code)?;
            for (row, (code, &label)) in code.chunks_exact(2 * latent).zip(labels).enumerate() {
                let index = (number * BATCH + row) as u64;
                let mut stream = Stream::new(seed, "codes of the mixture", index);
                let (mean, log_variance) = code.split_at(latent);
                codes[label as usize].extend(
                    mean.iter()
                        .zip(log_variance)
                        .map(|(mean, s)| mean + math::exp(0.5 * s) * stream.normal() as f32),
                );
            }
        }
        let mut mixtures = Vec::with_capacity(codes.len());
        for (label, codes) in (0u64..).zip(&codes) {
            let mut stream = Stream::new(seed, "mixture", label);
            let components = params.components;
            mixtures.push(Mixture::fit(isa, codes, latent, components, &mut stream, control)?);
        }
        let (decoder, log_variances) = Self::place(encoding, latent, params.hidden);
        let mut own = Floats::zeros(log_variances.end)?;
        own.copy_from_slice(&weights[net.decoder.layers[0].kernel.start..]);
        Ok(Self { latent, decoder, log_variances, weights: own, mixtures })
    }

    pub(in crate::generative) fn raw(
        &self,
        work: &Work<'_>,
        encoding: &TableEncoding,
        draw: Draw<'_>,
        to: &mut [f32],
    ) -> Result<(), Error> {
        let condition = encoding.condition();
        let latent = self.latent + condition;
        let mut kept = Kept::new(&self.decoder, draw.labels.len())?;
        let [mut codes] = buffers(draw.labels.len(), [latent])?;
        let rows = codes.par_chunks_mut(latent).zip(draw.labels).enumerate();
        rows.for_each(|(row, (to, &label))| {
            let to = &mut to[..self.latent];
            self.mixtures[label as usize].draw(&mut draw.stream("code", row), to);
        });
        mark_labels(draw.labels, condition, &mut codes);
        self.decoder.forward(work, &self.weights, &codes, &mut kept, to)?;
        let log_variances = &self.weights[self.log_variances.clone()];
        let deviations: Vec<f32> =
            log_variances.iter().map(|s| math::exp(0.5 * s.max(LEAST_LOG_VARIANCE))).collect();
        to.par_chunks_mut(encoding.width).enumerate().for_each(|(row, to)| {
            let mut stream = draw.stream("number", row);
            let numbers = encoding.places.iter().filter_map(|place| place.number);
            for (number, deviation) in numbers.zip(&deviations) {
                to[number] += deviation * stream.normal() as f32;
            }
        });
        Ok(())
    }
}
