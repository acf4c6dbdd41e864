//! The critic: convolutions of stride 2 with leaky rectifiers, and a mark for the image beside one
//! for the image under its label. Its weights follow the difference of its marks for made and real
//! images, and the distance from 1 of its gradient's length at images between them.
//!
//! All its layers are linear where they are, so that last part has the gradient that
//! [`crate::generative::gan`] derives: after the way back the slope of the penalty to the gradient
//! goes through the layers without their biases, under the masks of the rectifiers, and what comes
//! of it takes the place of the values between them.

use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::Cancelled;

use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::Work;
use crate::generative::chain::{Chain, ChainBatch, each};
use crate::generative::penalty::penalize;
use crate::group::{GROUP, Passing};
use crate::layer::{Ends, Pass, Results, Weights};

/// Slope of the negative side of a hidden unit.
pub(super) const LEAK: f64 = 0.2;

#[derive(Debug)]
pub(super) struct Critic {
    pub(super) chain: Chain,
}

/// The memory of a batch of three parts: images between, made ones and real ones.
pub(super) struct CriticBatch {
    pub(super) chain: ChainBatch,
    /// Of each group of images between, what two layers make of a change.
    changes: Floats,
}

impl Critic {
    pub(super) fn new(chain: Chain) -> Self {
        Self { chain }
    }

    /// Floats of a change on its way, of one image.
    fn widest(&self) -> usize {
        let network = &self.chain.network;
        let outputs = network.layers.iter().map(|placed| placed.layer.output().len());
        outputs.fold(network.input.len(), usize::max)
    }

    /// The memory for `rows` of each part.
    pub(super) fn batch(&self, rows: usize) -> Result<CriticBatch, Error> {
        let changes = rows.next_multiple_of(GROUP).saturating_mul(2 * self.widest());
        Ok(CriticBatch { chain: self.chain.batch(3 * rows)?, changes: Floats::zeros(changes)? })
    }

    /// Floats of a batch of `rows` of each part.
    pub(super) fn floats(&self, rows: usize) -> u64 {
        let changes = rows.next_multiple_of(GROUP) as u64 * 2 * self.widest() as u64;
        self.chain.floats(3 * rows).saturating_add(changes)
    }

    /// The loss of a batch of as many images of each part as there are `labels`, and its gradient
    /// to the weights; the images are there. The gradient to the input is that of the loss to the
    /// made images.
    pub(super) fn learn(
        &self,
        work: &Work<'_>,
        labels: &[u32],
        penalty: f64,
        (weights, gradient): (&[f32], &mut [f32]),
        batch: &mut CriticBatch,
    ) -> Result<f64, Cancelled> {
        let rows = labels.len();
        let all = 3 * rows;
        let image = self.chain.network.input.len();
        let marks = self.chain.network.output().len();
        self.chain.forward(work, weights, &mut batch.chain, all)?;
        let output = &batch.chain.output()[..all * marks];
        let mark = |row: usize| {
            let own =
                if marks > 1 { output[row * marks + 1 + labels[row % rows] as usize] } else { 0.0 };
            f64::from(output[row * marks]) + f64::from(own)
        };
        let mean = |of: Range<usize>| of.map(mark).sum::<f64>() / rows as f64;
        let difference = mean(rows..2 * rows) - mean(2 * rows..all);

        let share = 1.0 / rows as f32;
        let d_output = batch.chain.d_output()[..all * marks].chunks_exact_mut(marks);
        for (row, d_marks) in d_output.enumerate() {
            d_marks.fill(0.0);
            d_marks[0] = [1.0, share, -share][row / rows];
            if marks > 1 {
                d_marks[1 + labels[row % rows] as usize] = d_marks[0];
            }
        }
        self.chain.backward(work, &mut batch.chain, all, 2 * rows)?;
        let between = batch.chain.kept.d_input[..rows * image].par_chunks_mut(image);
        let penalties: Vec<f64> =
            between.map(|gradient| penalize(penalty, rows, gradient)).collect();
        self.change(work, weights, batch, rows)?;
        self.chain.gradient(work, &mut batch.chain, all, rows, gradient)?;
        Ok(difference + penalties.iter().sum::<f64>() / rows as f64)
    }

    /// Takes a change of the first `rows` images, which stands where the gradient to them was,
    /// through the layers; each layer's input gives way to its change.
    fn change(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        batch: &mut CriticBatch,
        rows: usize,
    ) -> Result<(), Cancelled> {
        let network = &self.chain.network;
        let ChainBatch { kernels, kept, scratch } = &mut batch.chain;
        let no_bias = vec![0.0; self.widest()];
        let layer = |passing: &Passing<'_>,
                     index: usize,
                     pass: &Pass<'_>,
                     (now, next): (&mut [f32], &mut [f32]),
                     scratch: &mut [f32]| {
            let placed = &network.layers[index];
            if placed.learns() {
                let stored = placed.stored(weights);
                let bias = &no_bias[..stored.bias.len()];
                let weights = Weights { bias, ..placed.weights(stored, &kernels.prepared) };
                let results = Results { output: next, saved: None };
                return placed.layer.forward(pass, weights, now, results, scratch);
            }
            let (input, output) = (&*passing.values[index], &*passing.values[index + 1]);
            let ends = Ends { input, output, saved: &[] };
            placed.layer.backward(pass, &[], ends, now, Some(next), scratch)
        };
        let groups = kept.groups(network, (rows, GROUP), true);
        let changes = batch.changes.par_chunks_mut(GROUP * 2 * self.widest());
        let groups = groups.into_iter().zip(changes.collect::<Vec<_>>());
        each(network, work, groups.collect(), scratch, |(passing, changes), pass, scratch| {
            let (mut now, mut next) = changes.split_at_mut(GROUP * self.widest());
            now[..passing.d_input.len()].copy_from_slice(passing.d_input);
            for index in 0..network.layers.len() {
                let read = passing.values[index].len();
                let gives = passing.values[index + 1].len();
                // Nobody asks what the marks change by.
                if index + 1 < network.layers.len() {
                    let ways = (&mut now[..read], &mut next[..gives]);
                    layer(passing, index, pass, ways, scratch)?;
                }
                passing.values[index].copy_from_slice(&now[..read]);
                std::mem::swap(&mut now, &mut next);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use teller_numeric::{Isa, Stream, Uninterrupted};

    use super::*;
    use crate::generative::scans::layout::{ImageGanLayout, ImageGanNet};

    const ROWS: usize = 5;
    const PENALTY: f64 = 10.0;

    fn net(labels: usize) -> ImageGanNet {
        ImageGanNet::new(ImageGanLayout {
            height: 12,
            width: 8,
            channels: 1,
            filters: 4,
            noise: 3,
            labels: (0..labels).map(|label| label.to_string()).collect(),
            rows: vec![1; labels],
        })
        .unwrap()
    }

    struct Trial {
        net: ImageGanNet,
        weights: Vec<f32>,
        input: Vec<f32>,
        labels: Vec<u32>,
    }

    impl Trial {
        fn new(labels: usize) -> Self {
            let net = net(labels);
            let mut stream = Stream::new(7, "critic", 0);
            let mut weights = vec![0.0; net.weights()];
            net.initialize(3, &mut weights);
            weights.truncate(net.criticized.end);
            weights.iter_mut().for_each(|w| *w += 0.05 * stream.normal() as f32);
            let input = (0..3 * ROWS * 96).map(|_| stream.normal() as f32).collect();
            let labels = (0..ROWS as u32).map(|row| row % labels as u32).collect();
            Self { net, weights, input, labels }
        }

        /// The loss, its gradient to the weights, and that to the made images.
        fn learn(&self, isa: Isa) -> (f64, Vec<f32>, Vec<f32>) {
            let critic = &self.net.critic;
            let mut batch = critic.batch(ROWS).unwrap();
            batch.chain.input().copy_from_slice(&self.input);
            let mut gradient = vec![0.0; self.weights.len()];
            let work = Work { isa, control: &Uninterrupted };
            let ways = (&*self.weights, &mut *gradient);
            let loss = critic.learn(&work, &self.labels, PENALTY, ways, &mut batch).unwrap();
            let made = batch.chain.kept.d_input[ROWS * 96..2 * ROWS * 96].to_vec();
            (loss, gradient, made)
        }

        /// The mark of a row, and the gradient to it, from forward passes alone.
        fn mark(&self, row: usize, change: Option<(usize, f32)>) -> f64 {
            let chain = &self.net.critic.chain;
            let mut image = self.input[row * 96..][..96].to_vec();
            if let Some((pixel, by)) = change {
                image[pixel] += by;
            }
            let work = Work { isa: Isa::detect(), control: &Uninterrupted };
            let prepared = chain.prepared(work.isa, &self.weights).unwrap();
            let mut marks = vec![0.0; chain.network.output().len()];
            chain.apply(&work, (&self.weights, &prepared), &image, &mut marks).unwrap();
            let label = self.labels[row % ROWS] as usize;
            let own = if marks.len() > 1 { marks[1 + label] } else { 0.0 };
            f64::from(marks[0]) + f64::from(own)
        }
    }

    #[test]
    fn the_loss_is_that_of_the_definition() {
        for labels in [1, 3] {
            let trial = Trial::new(labels);
            let mean = |first: usize| {
                (first..first + ROWS).map(|row| trial.mark(row, None)).sum::<f64>() / ROWS as f64
            };
            let penalty = |row: usize| {
                let slope = |pixel: usize| {
                    let at = |by: f32| trial.mark(row, Some((pixel, by)));
                    (at(1e-3) - at(-1e-3)) / 2e-3
                };
                let square: f64 = (0..96).map(|pixel| slope(pixel) * slope(pixel)).sum();
                PENALTY * (square.sqrt() - 1.0) * (square.sqrt() - 1.0)
            };
            let penalties = (0..ROWS).map(penalty).sum::<f64>() / ROWS as f64;
            let expected = mean(ROWS) - mean(2 * ROWS) + penalties;
            let (loss, ..) = trial.learn(Isa::detect());
            assert!((loss - expected).abs() < 0.01 * (1.0 + expected.abs()), "{loss} {expected}");
        }
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        const STEP: f32 = 1.0 / 256.0;
        for labels in [1, 3] {
            let mut trial = Trial::new(labels);
            let (_, gradient, made) = trial.learn(Isa::detect());
            let mut off = 0;
            let mut check = |slope: f64, got: f32| {
                // A few differences step over the corner of a rectifier.
                off += u32::from((slope - f64::from(got)).abs() > 0.02 + 0.02 * slope.abs());
            };
            let mut tried = 0;
            for at in (0..gradient.len()).step_by(7) {
                let before = trial.weights[at];
                let mut loss = |by: f32| {
                    trial.weights[at] = before + by;
                    trial.learn(Isa::detect()).0
                };
                let slope = (loss(STEP) - loss(-STEP)) / f64::from(2.0 * STEP);
                trial.weights[at] = before;
                check(slope, gradient[at]);
                tried += 1;
            }
            for at in (0..made.len()).step_by(5) {
                let before = trial.input[ROWS * 96 + at];
                let mut loss = |by: f32| {
                    trial.input[ROWS * 96 + at] = before + by;
                    trial.learn(Isa::detect()).0
                };
                let slope = (loss(STEP) - loss(-STEP)) / f64::from(2.0 * STEP);
                trial.input[ROWS * 96 + at] = before;
                check(slope, made[at]);
                tried += 1;
            }
            assert!(off * 20 <= tried, "{off} of {tried}");
            assert!(gradient.iter().filter(|g| g.abs() > 1e-3).count() > gradient.len() / 2);
        }
    }

    #[test]
    fn every_instruction_set_and_number_of_threads_gives_the_same_bits() {
        let trial = Trial::new(3);
        let learn = |isa: Isa, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| trial.learn(isa))
        };
        let first = learn(Isa::SCALAR, 1);
        for isa in Isa::available() {
            assert!(learn(isa, 3) == first, "{}", isa.name());
        }
    }
}
