//! Raw rows from a trained generator.

use rayon::prelude::*;
use teller_numeric::{Control, Isa, Stream};

use super::generator::{Generator, Statistics};
use super::{GanNet, heads};
use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{Work, buffers, mark_labels};
use crate::generative::params::GanParams;
use crate::generative::sampler::Draw;
use crate::generative::table::{Encoded, TableEncoding};

/// Rows from which the statistics of the norms are taken.
const SETTLING: usize = 8192;

#[derive(Clone, Debug)]
pub(in crate::generative) struct GanSampler {
    pub(in crate::generative) generator: Generator,
    pub(in crate::generative) weights: Floats,
    pub(in crate::generative) statistics: Statistics,
}

impl GanSampler {
    /// The moving average of a trained generator, with the statistics that its norms have under
    /// the labels of the real rows.
    pub(in crate::generative) fn new(
        isa: Isa,
        net: &GanNet,
        weights: &[f32],
        encoding: &TableEncoding,
        params: &GanParams,
        data: &Encoded,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let mut own = Floats::zeros(net.averaged.len())?;
        own.copy_from_slice(&weights[net.averaged.clone()]);
        let generator = net.generator.clone();
        let labels: Vec<u32> = data.labels.iter().copied().cycle().take(SETTLING).collect();
        let mut batch = generator.batch(labels.len())?;
        let noise = generator.inputs() - encoding.condition();
        let seed = params.training.seed;
        let stream = |row| Stream::new(seed, "settling noise", row);
        fill(&mut batch.input, generator.inputs(), noise, stream);
        mark_labels(&labels, encoding.condition(), &mut batch.input);
        let work = Work { isa, control };
        let statistics = generator.settle(&work, &own, &mut batch, labels.len())?;
        Ok(Self { generator, weights: own, statistics })
    }

    pub(in crate::generative) fn raw(
        &self,
        work: &Work<'_>,
        encoding: &TableEncoding,
        draw: Draw<'_>,
        to: &mut [f32],
    ) -> Result<(), Error> {
        let (generator, inputs) = (&self.generator, self.generator.inputs());
        let [mut input] = buffers(draw.labels.len(), [inputs])?;
        let noise = inputs - encoding.condition();
        fill(&mut input, inputs, noise, |row| draw.stream("noise", row as usize));
        mark_labels(draw.labels, encoding.condition(), &mut input);
        generator.apply(work, &self.weights, &self.statistics, &input, to)?;
        for row in to.chunks_exact_mut(encoding.width) {
            let numbers = encoding.places.iter().filter_map(|place| place.number);
            numbers.for_each(|number| row[number] = heads::bounded(row[number]));
        }
        Ok(())
    }
}

/// Noise at the beginning of each row.
fn fill(rows: &mut [f32], width: usize, noise: usize, stream: impl Fn(u64) -> Stream + Sync) {
    rows.par_chunks_mut(width).enumerate().for_each(|(row, to)| {
        let mut stream = stream(row as u64);
        to[..noise].iter_mut().for_each(|to| *to = stream.normal() as f32);
    });
}
