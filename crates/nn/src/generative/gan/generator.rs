//! The generator: two hidden layers, each beside what went into it, under batch normalization.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Stream};

use super::batch_norm::{self, BatchNorm};
use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{Affine, TASK, Work, beside, buffers, reverse, weight_gradients};
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
        let [first, second, last] = &self.layers;
        let ([joined1, joined2], [sums1, sums2], [norm1, norm2]) = (joined, sums, norms);
        let input = &input[..rows * first.inputs];
        let joined1 = &mut joined1[..rows * second.inputs];
        let joined2 = &mut joined2[..rows * last.inputs];
        let (sums1, sums2) = (&mut sums1[..rows * first.units], &mut sums2[..rows * second.units]);
        let tasks = input.par_chunks(TASK * first.inputs);
        let pass = work.pass();
        tasks
            .zip(sums1.par_chunks_mut(TASK * first.units))
            .try_for_each(|(input, sums)| first.forward(&pass, weights, input, sums))?;
        self.go_on(work, weights, (0, norm1), (sums1, input), (joined1, sums2))?;
        self.go_on(work, weights, (1, norm2), (sums2, joined1), (joined2, output))
    }

    /// The norm number `i` over what its layer made of what it has `read`, and the next layer, which
    /// reads what is `joined`.
    fn go_on(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        (i, kept): (usize, &mut batch_norm::Kept),
        (values, read): (&[f32], &[f32]),
        (joined, to): (&mut [f32], &mut [f32]),
    ) -> Result<(), Cancelled> {
        let (norm, layer, next) = (&self.norms[i], &self.layers[i], &self.layers[i + 1]);
        (kept.means, kept.inverse) = norm.statistics(work.isa, values);
        let statistics = (&*kept.means, &*kept.inverse);
        let tasks = values
            .par_chunks(TASK * layer.units)
            .zip(kept.plain[..values.len()].par_chunks_mut(TASK * layer.units))
            .zip(read.par_chunks(TASK * layer.inputs))
            .zip(joined.par_chunks_mut(TASK * next.inputs))
            .zip(to.par_chunks_mut(TASK * next.units));
        let pass = work.pass();
        tasks.try_for_each(|((((values, plain), read), joined), to)| {
            let both = (read, &mut *joined);
            norm.forward(pass.isa, weights, statistics, (values, plain), both);
            next.forward(&pass, weights, joined, to)
        })
    }

    /// From the gradient to the output to that to the weights; `reversed` has room for all weights.
    pub(super) fn backward(
        &self,
        work: &Work<'_>,
        (weights, gradient): (&[f32], &mut [f32]),
        batch: &mut GeneratorBatch,
        d_output: &mut [f32],
        reversed: &mut [f32],
    ) -> Result<(), Cancelled> {
        let GeneratorBatch { input, joined, d_joined, d_sums, norms, .. } = batch;
        let [first, second, last] = &self.layers;
        let rows = d_output.len() / last.units;
        let ([d_joined1, d_joined2], [d_sums1, d_sums2]) = (d_joined, d_sums);
        let joined1 = &joined[0][..rows * second.inputs];
        let joined2 = &joined[1][..rows * last.inputs];
        let d_joined1 = &mut d_joined1[..rows * second.inputs];
        let d_joined2 = &mut d_joined2[..rows * last.inputs];
        let d_sums1 = &mut d_sums1[..rows * first.units];
        let d_sums2 = &mut d_sums2[..rows * second.units];
        reverse(work, &self.layers[1..], weights, reversed);
        let (pass, reversed) = (work.pass(), &*reversed);

        let tasks = d_output
            .par_chunks_mut(TASK * last.units)
            .zip(joined2.par_chunks(TASK * last.inputs))
            .zip(d_joined2.par_chunks_mut(TASK * last.inputs))
            .zip(d_sums2.par_chunks_mut(TASK * second.units));
        tasks.try_for_each(|(((d, joined), d_joined), to)| {
            last.backward(&pass, reversed, d, d_joined)?;
            self.norms[1].rectified(pass.isa, joined, d_joined, to);
            Ok(())
        })?;
        self.norms[1].backward(work, (weights, gradient), &norms[1], d_sums2)?;

        let tasks = d_sums2
            .par_chunks_mut(TASK * second.units)
            .zip(joined1.par_chunks(TASK * second.inputs))
            .zip(d_joined1.par_chunks_mut(TASK * second.inputs))
            .zip(d_joined2.par_chunks(TASK * last.inputs))
            .zip(d_sums1.par_chunks_mut(TASK * first.units));
        tasks.try_for_each(|((((d, joined), d_joined), d_later), to)| {
            second.backward(&pass, reversed, d, d_joined)?;
            let beside = d_later.chunks_exact(last.inputs).map(|row| &row[second.units..]);
            for (to, from) in d_joined.chunks_exact_mut(second.inputs).zip(beside) {
                pass.isa.vectorize(add_loop, (from, to));
            }
            self.norms[0].rectified(pass.isa, joined, d_joined, to);
            Ok(())
        })?;
        self.norms[0].backward(work, (weights, gradient), &norms[0], d_sums1)?;

        let read = [&input[..rows * first.inputs], joined1, joined2];
        weight_gradients(work, &self.layers, (read, [d_sums1, d_sums2, d_output]), 0, gradient)
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
        for (i, kept) in batch.norms.iter().enumerate() {
            (statistics.means[i], statistics.inverse[i]) =
                (kept.means.clone(), kept.inverse.clone());
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
        let pass = work.pass();
        let tasks = input.par_chunks(TASK * first.inputs);
        tasks.zip(output.par_chunks_mut(TASK * last.units)).try_for_each(|(input, output)| {
            let rows = input.len() / first.inputs;
            let mut read = input.to_vec();
            for (i, layer) in self.layers[..2].iter().enumerate() {
                let mut hidden = vec![0.0; rows * layer.units];
                layer.forward(&pass, weights, &read, &mut hidden)?;
                let known = (&*statistics.means[i], &*statistics.inverse[i]);
                self.norms[i].apply(weights, known, &mut hidden);
                let mut joined = vec![0.0; rows * (layer.units + layer.inputs)];
                beside((&hidden, layer.units), (&read, layer.inputs), &mut joined);
                read = joined;
            }
            last.forward(&pass, weights, &read, output)
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
        let (mut d, mut reversed) = (pulls.clone(), vec![0.0; weights.len()]);
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
