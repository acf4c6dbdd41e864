//! The generator: two hidden layers, each beside what went into it, under batch normalization.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Stream};

use super::batch_norm::{self, BatchNorm};
use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{Affine, TASK, Work, beside, buffers, by_rows};
use crate::layer::{Initialization, add_loop};

#[derive(Clone, Debug)]
pub(in crate::generative) struct Generator {
    pub(super) layers: [Affine; 3],
    norms: [BatchNorm; 2],
    /// All of its own.
    pub(in crate::generative) weights: usize,
}

/// The memory of a batch.
pub(super) struct GeneratorBatch {
    /// Noise beside the label.
    pub(super) input: Floats,
    /// What layers 2 and 3 read.
    joined: [Floats; 2],
    d_joined: [Floats; 2],
    /// Of each hidden layer the sums, which norm and rectifier make into what is read.
    sums: [Floats; 2],
    d_sums: [Floats; 2],
    norms: [batch_norm::Kept; 2],
}

/// Mean and one over the deviation of each unit of the two norms.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::generative) struct Statistics {
    pub(in crate::generative) means: [Vec<f32>; 2],
    pub(in crate::generative) inverse: [Vec<f32>; 2],
}

impl Generator {
    pub(in crate::generative) fn new(
        noise: usize,
        condition: usize,
        hidden: usize,
        outputs: usize,
    ) -> Self {
        let mut at = 0;
        let inputs = noise + condition;
        let layers = [(inputs, hidden), (inputs + hidden, hidden), (inputs + 2 * hidden, outputs)];
        let layers = layers.map(|(inputs, units)| Affine::place(inputs, units, &mut at));
        let norms = [hidden; 2].map(|units| BatchNorm::place(units, &mut at));
        Self { layers, norms, weights: at }
    }

    pub(super) fn initialize(&self, stream: &mut Stream, weights: &mut [f32]) {
        let [first, second, last] = &self.layers;
        first.initialize(Initialization::HeNormal, stream, weights);
        second.initialize(Initialization::HeNormal, stream, weights);
        last.initialize(Initialization::GlorotUniform, stream, weights);
        self.norms.iter().for_each(|norm| norm.initialize(weights));
    }

    /// Numbers that go in: noise and label.
    pub(in crate::generative) fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Units of a hidden layer.
    pub(in crate::generative) fn hidden(&self) -> usize {
        self.layers[0].units
    }

    pub(super) fn batch(&self, rows: usize) -> Result<GeneratorBatch, Error> {
        let [first, second, last] = &self.layers;
        let hidden = [first.units, second.units];
        let joined = [second.inputs, last.inputs];
        let [input] = buffers(rows, [first.inputs])?;
        Ok(GeneratorBatch {
            input,
            joined: buffers(rows, joined)?,
            d_joined: buffers(rows, joined)?,
            sums: buffers(rows, hidden)?,
            d_sums: buffers(rows, hidden)?,
            norms: [self.norms[0].kept(rows)?, self.norms[1].kept(rows)?],
        })
    }

    /// Floats of a row of a batch.
    pub(super) fn floats(&self) -> usize {
        let [first, second, last] = &self.layers;
        first.inputs + 2 * (second.inputs + last.inputs) + 3 * (first.units + second.units)
    }

    /// Of a batch whose input is there.
    pub(super) fn forward(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        batch: &mut GeneratorBatch,
        rows: usize,
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        let GeneratorBatch { input, joined, sums, norms, .. } = batch;
        for i in 0..2 {
            let layer = &self.layers[i];
            let (earlier, later) = joined.split_at_mut(i);
            let read = if i == 0 { &*input } else { &earlier[0] };
            let read = &read[..rows * layer.inputs];
            let sums = &mut sums[i][..rows * layer.units];
            layer.forward(work, weights, read, sums)?;
            let to = &mut later[0][..rows * (layer.units + layer.inputs)];
            self.norms[i].forward(work, weights, sums, &mut norms[i], (read, to))?;
        }
        let last = &self.layers[2];
        last.forward(work, weights, &joined[1][..rows * last.inputs], output)
    }

    /// From the gradient to the output to that to the weights.
    pub(super) fn backward(
        &self,
        work: &Work<'_>,
        (weights, gradient): (&[f32], &mut [f32]),
        batch: &mut GeneratorBatch,
        d_output: &mut [f32],
        reversed: &mut [f32],
    ) -> Result<(), Cancelled> {
        let GeneratorBatch { input, joined, d_joined, d_sums, norms, .. } = batch;
        let last = &self.layers[2];
        let rows = d_output.len() / last.units;
        last.weight_gradient(work, &joined[1][..rows * last.inputs], d_output, 0, gradient)?;
        let d_read = &mut d_joined[1][..rows * last.inputs];
        last.backward(work, weights, reversed, d_output, d_read)?;
        for i in (0..2).rev() {
            let layer = &self.layers[i];
            let (units, inputs) = (layer.units, layer.inputs);
            let (earlier, later) = d_joined.split_at_mut(i);
            let both = rows * (units + inputs);
            let (joined_here, d_joined) = (&joined[i][..both], &later[0][..both]);
            let d = &mut d_sums[i][..rows * units];
            self.norms[i].backward(
                work,
                weights,
                gradient,
                &norms[i],
                (joined_here, d_joined),
                d,
            )?;
            let read = if i == 0 { &*input } else { &joined[i - 1] };
            layer.weight_gradient(work, &read[..rows * inputs], d, 0, gradient)?;
            if let Some(d_read) = earlier.last_mut() {
                let d_read = &mut d_read[..rows * inputs];
                layer.backward(work, weights, reversed, d, d_read)?;
                let rows = d_read.par_chunks_mut(TASK * inputs);
                let rows = rows.zip(d_joined.par_chunks(TASK * (units + inputs)));
                by_rows(rows, work, |(to, from)| {
                    let from = from.chunks_exact(units + inputs);
                    for (to, from) in to.chunks_exact_mut(inputs).zip(from) {
                        work.isa.vectorize(add_loop, (&from[units..], to));
                    }
                })?;
            }
        }
        Ok(())
    }

    /// The statistics that the norms have over a large batch, whose input is there.
    pub(super) fn settle(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        batch: &mut GeneratorBatch,
        rows: usize,
    ) -> Result<Statistics, Error> {
        let mut output = vec![0.0; rows * self.layers[2].units];
        self.forward(work, weights, batch, rows, &mut output)?;
        let mut statistics = Statistics::default();
        for (i, norm) in self.norms.iter().enumerate() {
            let sums = &batch.sums[i][..rows * norm.units];
            (statistics.means[i], statistics.inverse[i]) = norm.statistics(work.isa, sums);
        }
        Ok(statistics)
    }

    /// The outputs of rows apart, by the norms' settled statistics.
    pub(super) fn apply(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        statistics: &Statistics,
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        let [first, _, last] = &self.layers;
        let tasks = input.par_chunks(TASK * first.inputs);
        tasks.zip(output.par_chunks_mut(TASK * last.units)).try_for_each(|(input, output)| {
            let rows = input.len() / first.inputs;
            let mut read = input.to_vec();
            for (i, layer) in self.layers[..2].iter().enumerate() {
                let mut hidden = vec![0.0; rows * layer.units];
                layer.forward(work, weights, &read, &mut hidden)?;
                let known = (&*statistics.means[i], &*statistics.inverse[i]);
                self.norms[i].apply(weights, known, &mut hidden);
                let mut joined = vec![0.0; rows * (layer.units + layer.inputs)];
                beside((&hidden, layer.units), (&read, layer.inputs), &mut joined);
                read = joined;
            }
            last.forward(work, weights, &read, output)
        })
    }
}

#[cfg(test)]
mod tests {
    use teller_numeric::{Isa, Uninterrupted};

    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_outputs() {
        const ROWS: usize = 12;
        let generator = Generator::new(4, 2, 7, 5);
        let mut stream = Stream::new(3, "generator", 0);
        let mut weights = vec![0.0f32; generator.weights];
        generator.initialize(&mut stream, &mut weights);
        weights.iter_mut().for_each(|w| *w += 0.2 * stream.normal() as f32);
        let mut batch = generator.batch(ROWS).unwrap();
        batch.input.iter_mut().for_each(|x| *x = stream.normal() as f32);
        let pulls: Vec<f32> = (0..ROWS * 5).map(|_| stream.normal() as f32).collect();
        let work = Work { isa: Isa::detect(), control: &Uninterrupted };
        let mut output = vec![0.0; ROWS * 5];
        let mut value = |batch: &mut GeneratorBatch, weights: &[f32]| {
            generator.forward(&work, weights, batch, ROWS, &mut output).unwrap();
            output.iter().zip(&pulls).map(|(y, p)| f64::from(*y) * f64::from(*p)).sum::<f64>()
        };
        value(&mut batch, &weights);
        let mut gradient = vec![0.0; generator.weights];
        let (mut d, mut reversed) = (pulls.clone(), vec![0.0; 13 * 20]);
        generator
            .backward(&work, (&weights, &mut gradient), &mut batch, &mut d, &mut reversed)
            .unwrap();
        let mut off = 0;
        for index in 0..generator.weights {
            let before = weights[index];
            let mut at = |by: f32| {
                weights[index] = before + by;
                value(&mut batch, &weights)
            };
            let slope = (at(2e-3) - at(-2e-3)) / 4e-3;
            weights[index] = before;
            let got = f64::from(gradient[index]);
            // A few differences step over the corner of a rectifier.
            off += u32::from((got - slope).abs() > 0.02 + 0.02 * slope.abs());
        }
        assert!(off <= 3, "{off} of {}", generator.weights);
        assert!(gradient.iter().filter(|g| g.abs() > 1e-3).count() > generator.weights / 2);
    }

    #[test]
    fn with_settled_statistics_rows_apart_are_as_in_the_batch() {
        const ROWS: usize = 70;
        let generator = Generator::new(4, 0, 7, 5);
        let mut stream = Stream::new(3, "generator", 0);
        let mut weights = vec![0.0f32; generator.weights];
        generator.initialize(&mut stream, &mut weights);
        let mut batch = generator.batch(ROWS).unwrap();
        batch.input.iter_mut().for_each(|x| *x = stream.normal() as f32);
        let work = Work { isa: Isa::detect(), control: &Uninterrupted };
        let statistics = generator.settle(&work, &weights, &mut batch, ROWS).unwrap();
        let (mut together, mut apart) = (vec![0.0; ROWS * 5], vec![0.0; ROWS * 5]);
        generator.forward(&work, &weights, &mut batch, ROWS, &mut together).unwrap();
        for (input, to) in batch.input.chunks(4).zip(apart.chunks_mut(5)) {
            generator.apply(&work, &weights, &statistics, input, to).unwrap();
        }
        assert_eq!(together, apart);
    }
}
