//! Layers in a row over whole batches: images side by side in groups on the threads, with the
//! gradient to what goes in.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Isa};

use super::affine::Work;
use crate::floats::Floats;
use crate::group::{GROUP, Kept};
use crate::kernels::Kernels;
use crate::layer::{Pass, Results};
use crate::network::{Network, Purpose};
use crate::{Error, LayerSpec, Shape};

/// Rows that go through dense layers together: the weights are most of what these read.
const VECTORS: usize = 32;

#[derive(Debug)]
pub(super) struct Chain {
    pub(super) network: Network,
}

/// The memory of a batch.
pub(super) struct ChainBatch {
    pub(super) kernels: Kernels,
    pub(super) kept: Kept,
    pub(super) scratch: Floats,
}

impl Chain {
    /// From values of the shape `input` through the `layers`, none of which looks over a whole
    /// batch or is random.
    pub(super) fn new(input: Shape, layers: &[LayerSpec]) -> Result<Self, Error> {
        Ok(Self { network: Network::chain(input, layers, Purpose::Training)? })
    }

    /// The same, whose way back goes on to the gradient to the input.
    pub(super) fn with_input_gradient(mut self) -> Self {
        self.network.input_gradient = true;
        self
    }

    /// Rows that go through the layers together.
    fn together(&self) -> usize {
        let outputs = self.network.layers.iter().map(|placed| placed.layer.output());
        let mut shapes = std::iter::once(self.network.input).chain(outputs);
        if shapes.all(|shape| matches!(shape, Shape::Vector(_))) { VECTORS } else { GROUP }
    }

    /// The memory for batches of at most `rows`.
    pub(super) fn batch(&self, rows: usize) -> Result<ChainBatch, Error> {
        let groups = rows.div_ceil(self.together());
        Ok(ChainBatch {
            kernels: Kernels::new(&self.network)?,
            kept: Kept::new(&self.network, rows)?,
            scratch: Floats::zeros(groups.saturating_mul(self.network.training_scratch()))?,
        })
    }

    /// Floats of a batch of `rows`.
    pub(super) fn floats(&self, rows: usize) -> u64 {
        let scratch =
            rows.div_ceil(self.together()) as u64 * self.network.training_scratch() as u64;
        let kept = (rows as u64).saturating_mul(Kept::floats_needed(&self.network));
        Kernels::floats_needed(&self.network) + scratch.saturating_add(kept)
    }

    /// Of the first `rows`, whose input is there.
    pub(super) fn forward(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        batch: &mut ChainBatch,
        rows: usize,
    ) -> Result<(), Cancelled> {
        batch.kernels.prepare(&self.network, work.isa, weights, true);
        let prepared = &*batch.kernels.prepared;
        let layers = 0..self.network.layers.len();
        let stored = |index: usize| {
            let placed = &self.network.layers[index];
            placed.weights(placed.stored(weights), prepared)
        };
        let groups = batch.kept.groups(&self.network, (rows, self.together()), true);
        each(&self.network, work, groups, &mut batch.scratch, |passing, pass, scratch| {
            passing.forward(&self.network, pass, layers.clone(), stored, scratch)
        })
    }

    /// Back through the layers, the gradient to the output being there; that to the input, where it
    /// is wanted, is made of the first `asked` rows, and of those that share a group with them.
    pub(super) fn backward(
        &self,
        work: &Work<'_>,
        batch: &mut ChainBatch,
        rows: usize,
        asked: usize,
    ) -> Result<(), Cancelled> {
        let layers = 0..self.network.layers.len();
        let mut groups = batch.kept.groups(&self.network, (rows, self.together()), true);
        groups[asked.div_ceil(self.together())..]
            .iter_mut()
            .for_each(|group| group.d_input = &mut []);
        let reversed = &*batch.kernels.reversed;
        each(&self.network, work, groups, &mut batch.scratch, |passing, pass, scratch| {
            passing.backward(&self.network, pass, layers.clone(), reversed, scratch)
        })
    }

    /// Writes the gradient to the weights, after the way back; the first `unbiased` rows do not
    /// move the biases.
    pub(super) fn gradient(
        &self,
        work: &Work<'_>,
        batch: &mut ChainBatch,
        rows: usize,
        unbiased: usize,
        gradient: &mut [f32],
    ) -> Result<(), Cancelled> {
        let ChainBatch { kernels, kept, scratch } = batch;
        let learned = |index| kept.learned(&self.network, index, rows, unbiased);
        kernels.gradient(&self.network, &work.pass(), learned, scratch, gradient)
    }

    /// The kernels as [`Self::apply`] reads them, where that is another way; in the caller's thread.
    pub(super) fn prepared(&self, isa: Isa, weights: &[f32]) -> Result<Floats, Error> {
        let mut prepared = Floats::zeros(self.network.prepared)?;
        for placed in &self.network.layers {
            let own = &mut prepared[placed.prepared.clone()];
            placed.layer.prepare(isa, placed.stored(weights), own, None);
        }
        Ok(prepared)
    }

    /// The outputs of any number of rows, the same bits as [`Self::forward`].
    pub(super) fn apply(
        &self,
        work: &Work<'_>,
        weights: (&[f32], &[f32]),
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        let (reads, gives) = (self.network.input.len(), self.network.output().len());
        let together = self.together();
        let groups =
            input.par_chunks(together * reads).zip(output.par_chunks_mut(together * gives));
        groups.try_for_each(|(input, output)| self.apply_alone(work, weights, input, output))
    }

    /// The same of some rows in the caller's thread alone, by the weights and those that are
    /// [`Self::prepared`].
    pub(super) fn apply_alone(
        &self,
        work: &Work<'_>,
        (weights, prepared): (&[f32], &[f32]),
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        let rows = input.len() / self.network.input.len();
        let outputs = self.network.layers.iter().map(|placed| placed.layer.output().len());
        let widest = outputs.fold(self.network.input.len(), usize::max);
        let (mut now, mut next) = (vec![0.0; rows * widest], vec![0.0; rows * widest]);
        let mut scratch = vec![0.0; self.network.scratch()];
        now[..input.len()].copy_from_slice(input);
        for placed in &self.network.layers {
            let layer = &placed.layer;
            let weights = placed.weights(placed.stored(weights), prepared);
            let read = &now[..rows * layer.input().len()];
            let to = &mut next[..rows * layer.output().len()];
            let results = Results { output: to, saved: None };
            layer.forward(&work.pass(), weights, read, results, &mut scratch)?;
            std::mem::swap(&mut now, &mut next);
        }
        output.copy_from_slice(&now[..output.len()]);
        Ok(())
    }
}

impl ChainBatch {
    /// What goes in, row by row.
    pub(super) fn input(&mut self) -> &mut [f32] {
        &mut self.kept.values[0]
    }

    pub(super) fn output(&self) -> &[f32] {
        self.kept.values.last().map_or(&[], |values| values)
    }

    /// The first `len` numbers of the output where the gradient to them is to be.
    pub(super) fn output_to_gradient(&mut self, len: usize) -> &mut [f32] {
        let Kept { values, d_values, .. } = &mut self.kept;
        let (Some(values), Some(d_values)) = (values.last(), d_values.last_mut()) else {
            return &mut [];
        };
        d_values[..len].copy_from_slice(&values[..len]);
        &mut d_values[..len]
    }

    /// The gradient to the output, to be written before the way back.
    pub(super) fn d_output(&mut self) -> &mut [f32] {
        self.kept.d_values.last_mut().map_or(&mut [], |values| values)
    }
}

/// Does something with every group, side by side.
pub(super) fn each<G: Send>(
    network: &Network,
    work: &Work<'_>,
    groups: Vec<G>,
    scratch: &mut [f32],
    of: impl Fn(&mut G, &Pass<'_>, &mut [f32]) -> Result<(), Cancelled> + Sync,
) -> Result<(), Cancelled> {
    let scratch = scratch.par_chunks_mut(network.training_scratch());
    let pass = work.pass();
    groups
        .into_par_iter()
        .zip(scratch)
        .try_for_each(|(mut passing, scratch)| of(&mut passing, &pass, scratch))
}

#[cfg(test)]
mod tests {
    use teller_numeric::{Stream, Uninterrupted};

    use super::*;
    use crate::Activation;
    use crate::layer::Padding;

    const ROWS: usize = 6;

    fn chain() -> Chain {
        let transposed = |filters, activation| LayerSpec::ConvTranspose2d {
            filters,
            kernel: 4,
            stride: 2,
            padding: Padding::Same,
            activation,
        };
        let layers = [
            LayerSpec::Dense { units: Some(12), activation: Activation::Relu },
            LayerSpec::Reshape { height: 2, width: 3, channels: 2 },
            transposed(3, Activation::LeakyRelu),
            transposed(1, Activation::Sigmoid),
        ];
        Chain::new(Shape::Vector(5), &layers).unwrap().with_input_gradient()
    }

    #[test]
    fn gradients_are_the_slopes_of_what_comes_out() {
        let chain = chain();
        let mut stream = Stream::new(3, "chain", 0);
        let mut weights = vec![0.0f32; chain.network.weights];
        chain.network.initialize(1, "chain", &mut weights);
        let mut input: Vec<f32> = (0..ROWS * 5).map(|_| stream.normal() as f32).collect();
        let pulls: Vec<f32> = (0..ROWS * 96).map(|_| stream.normal() as f32).collect();
        let work = Work { isa: Isa::detect(), control: &Uninterrupted };
        let value = |weights: &[f32], input: &[f32]| {
            let prepared = chain.prepared(work.isa, weights).unwrap();
            let mut output = vec![0.0; ROWS * 96];
            chain.apply(&work, (weights, &prepared), input, &mut output).unwrap();
            output.iter().zip(&pulls).map(|(y, p)| f64::from(*y) * f64::from(*p)).sum::<f64>()
        };
        let mut batch = chain.batch(ROWS).unwrap();
        batch.input().copy_from_slice(&input);
        chain.forward(&work, &weights, &mut batch, ROWS).unwrap();
        batch.d_output().copy_from_slice(&pulls);
        chain.backward(&work, &mut batch, ROWS, ROWS).unwrap();
        let mut gradient = vec![0.0; weights.len()];
        chain.gradient(&work, &mut batch, ROWS, 0, &mut gradient).unwrap();
        let d_input = batch.kept.d_input.to_vec();
        let mut off = 0;
        let mut check = |slope: f64, got: f32| {
            // A few differences step over the corner of a rectifier.
            off += u32::from((slope - f64::from(got)).abs() > 0.01 + 0.01 * slope.abs());
        };
        for at in 0..weights.len() {
            let before = weights[at];
            let mut moved = |by: f32| {
                weights[at] = before + by;
                value(&weights, &input)
            };
            let slope = (moved(2e-3) - moved(-2e-3)) / 4e-3;
            weights[at] = before;
            check(slope, gradient[at]);
        }
        for at in 0..input.len() {
            let before = input[at];
            let mut moved = |by: f32| {
                input[at] = before + by;
                value(&weights, &input)
            };
            let slope = (moved(2e-3) - moved(-2e-3)) / 4e-3;
            input[at] = before;
            check(slope, d_input[at]);
        }
        assert!(off <= 5, "{off}");
        assert!(d_input.iter().all(|d| *d != 0.0));
    }

    #[test]
    fn rows_apart_are_as_in_the_batch() {
        let chain = chain();
        let mut weights = vec![0.0f32; chain.network.weights];
        chain.network.initialize(2, "chain", &mut weights);
        let mut batch = chain.batch(ROWS).unwrap();
        let mut stream = Stream::new(4, "chain", 0);
        batch.input().iter_mut().for_each(|x| *x = stream.normal() as f32);
        let work = Work { isa: Isa::detect(), control: &Uninterrupted };
        chain.forward(&work, &weights, &mut batch, ROWS).unwrap();
        let prepared = chain.prepared(work.isa, &weights).unwrap();
        let (inputs, together) = (batch.kept.values[0].to_vec(), batch.output().to_vec());
        for (input, together) in inputs.chunks(5).zip(together.chunks(96)) {
            let mut alone = vec![0.0; 96];
            chain.apply(&work, (&weights, &prepared), input, &mut alone).unwrap();
            assert_eq!(alone, together);
        }
    }
}
