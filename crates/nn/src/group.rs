//! Some images on their way through all layers and back, with what the way back needs kept.

use std::ops::Range;

use teller_numeric::{Cancelled, Control, Isa};

use crate::batch::Batch;
use crate::floats::Floats;
use crate::kernels::Learned;
use crate::layer::{Ends, Pass, Results, Weights, add_loop};
use crate::loss::softmax_cross_entropy;
use crate::network::{Added, Gradient, Network, Placed};
use crate::objective::Target;
use crate::{Error, best};

/// Images that go through the layers together, sharing each read of the weights.
pub(crate) const GROUP: usize = 4;

/// What became of one image.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) loss: f64,
    pub(crate) hit: bool,
    target: Target,
}

/// The memory of the values of a batch.
pub(crate) struct Kept {
    /// The input, then each layer's output.
    pub(crate) values: Vec<Floats>,
    /// What each layer from the first trained one on keeps for the backward pass.
    pub(crate) saved: Vec<Floats>,
    /// The loss's gradient to the output of each of those.
    pub(crate) d_values: Vec<Floats>,
    /// Of each layer whose gradient to its input is kept apart, that.
    aside: Vec<Floats>,
    /// The gradient to the input, where somebody asks for it.
    pub(crate) d_input: Floats,
}

/// The floats of an image in each of the four.
fn lens(network: &Network) -> [Vec<usize>; 4] {
    let first = network.first_trained();
    let layers = || network.layers.iter();
    let outputs = layers().map(|placed| placed.layer.output().len());
    let values = std::iter::once(network.input.len()).chain(outputs).collect();
    let backward = |len: fn(&Placed) -> usize| {
        let layers = layers().enumerate();
        layers.map(|(index, placed)| if index < first { 0 } else { len(placed) }).collect()
    };
    let aside = layers().map(|placed| match placed.gradient {
        Gradient::Aside if placed.reads > first => placed.layer.input().len(),
        _ => 0,
    });
    let saved = backward(|placed| placed.layer.saved());
    [values, saved, backward(|placed| placed.layer.output().len()), aside.collect()]
}

/// The floats of an image in the gradient to the input.
fn d_input_len(network: &Network) -> usize {
    if network.input_gradient { network.input.len() } else { 0 }
}

impl Kept {
    pub(crate) fn new(network: &Network, images: usize) -> Result<Self, Error> {
        let floats = |lens: Vec<usize>| {
            let all = lens.into_iter().map(|len| Floats::zeros(images.saturating_mul(len)));
            all.collect::<Result<_, _>>()
        };
        let [values, saved, d_values, aside] = lens(network);
        Ok(Self {
            values: floats(values)?,
            saved: floats(saved)?,
            d_values: floats(d_values)?,
            aside: floats(aside)?,
            d_input: Floats::zeros(images.saturating_mul(d_input_len(network)))?,
        })
    }

    /// Floats for one image.
    pub(crate) fn floats_needed(network: &Network) -> u64 {
        let kept = lens(network).iter().flatten().map(|&len| len as u64).sum::<u64>();
        kept + d_input_len(network) as u64
    }

    /// The parts of the first `images`, so many `together`; whether there is a way back.
    pub(crate) fn groups(
        &mut self,
        network: &Network,
        (images, together): (usize, usize),
        keeps: bool,
    ) -> Vec<Passing<'_>> {
        let [values, saved, d_values, aside] = lens(network);
        let by_group = |buffers, lens: &[usize]| by_group(buffers, lens, images, together);
        let values = by_group(&mut self.values, &values).into_iter();
        let saved = by_group(&mut self.saved, &saved);
        let d_values = by_group(&mut self.d_values, &d_values);
        let aside = by_group(&mut self.aside, &aside);
        let d_input = chunks(&mut self.d_input, together * d_input_len(network));
        values
            .zip(saved)
            .zip(d_values.into_iter().zip(aside))
            .zip(d_input)
            .map(|(((values, saved), (d_values, aside)), d_input)| Passing {
                values,
                saved,
                d_values,
                aside,
                d_input,
                keeps,
            })
            .collect()
    }

    /// What the gradient to the numbers of a layer is a sum of, after the way back of the first
    /// `images`; the first `unbiased` of them do not move the bias.
    pub(crate) fn learned(
        &self,
        network: &Network,
        index: usize,
        images: usize,
        unbiased: usize,
    ) -> Learned<'_> {
        let Placed { layer, reads, .. } = &network.layers[index];
        let output = layer.output().len();
        let d_output = &self.d_values[index][..images * output];
        let ends = Ends {
            input: &self.values[*reads][..images * layer.input().len()],
            output: &self.values[index + 1][..images * output],
            saved: &self.saved[index][..images * layer.saved()],
        };
        Learned { ends, d_output, of_bias: &d_output[unbiased * output..] }
    }
}

/// The values of a few images.
pub(crate) struct Passing<'g> {
    pub(crate) values: Vec<&'g mut [f32]>,
    saved: Vec<&'g mut [f32]>,
    pub(crate) d_values: Vec<&'g mut [f32]>,
    aside: Vec<&'g mut [f32]>,
    /// Empty if nobody asks for it.
    pub(crate) d_input: &'g mut [f32],
    /// Whether what the way back needs is saved.
    keeps: bool,
}

impl Passing<'_> {
    /// Through some layers, the values before them being there; `weights` are those of a layer.
    pub(crate) fn forward<'w>(
        &mut self,
        network: &Network,
        pass: &Pass<'_>,
        layers: Range<usize>,
        weights: impl Fn(usize) -> Weights<'w>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let first = network.first_trained();
        for index in layers {
            let placed = &network.layers[index];
            let (before, after) = self.values.split_at_mut(index + 1);
            if let Some(Added::Fork(value) | Added::Shortcut(value)) = placed.adds {
                after[0].copy_from_slice(before[value]);
            }
            let keeps = self.keeps && index >= first;
            let saved = keeps.then_some(&mut *self.saved[index]);
            let results = Results { output: &mut *after[0], saved };
            placed.layer.forward(pass, weights(index), before[placed.reads], results, scratch)?;
        }
        Ok(())
    }

    /// Back through some layers, the gradient to what the last one gives being there. What comes
    /// before the first trained one is left out.
    pub(crate) fn backward(
        &mut self,
        network: &Network,
        pass: &Pass<'_>,
        layers: Range<usize>,
        reversed: &[Floats],
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let first = network.first_trained();
        for index in (layers.start.max(first)..layers.end).rev() {
            let placed = &network.layers[index];
            let (before, after) = self.d_values.split_at_mut(index);
            let Some((d_output, rest)) = after.split_first_mut() else { continue };
            let ends = Ends {
                input: self.values[placed.reads],
                output: self.values[index + 1],
                saved: self.saved[index],
            };
            // Nobody asks for the gradient to what no training changes.
            let source = placed.reads.checked_sub(1).filter(|&source| source >= first);
            let d_input = match source {
                Some(layer) => Some(match placed.gradient {
                    Gradient::Aside => &mut *self.aside[index],
                    Gradient::Own | Gradient::Joined(_) => &mut *before[layer],
                }),
                None if placed.reads == 0 && !self.d_input.is_empty() => Some(&mut *self.d_input),
                None => None,
            };
            placed.layer.backward(pass, &reversed[index], ends, d_output, d_input, scratch)?;
            if let (Gradient::Joined(other), Some(layer)) = (placed.gradient, source) {
                let other = match network.layers[other].adds {
                    Some(_) => &*rest[other - index - 1],
                    None => &*self.aside[other],
                };
                pass.isa.vectorize(add_loop, (other, &mut *before[layer]));
            }
            match placed.adds {
                Some(Added::Shortcut(value)) if value > first => {
                    before[value - 1].copy_from_slice(d_output);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A few images of a batch.
pub(crate) struct Group<'g> {
    pub(crate) passing: Passing<'g>,
    pub(crate) scratch: &'g mut [f32],
    pub(crate) rasters: &'g mut [u8],
    /// Of the batch norm that all groups wait at.
    pub(crate) sums: &'g mut [f64],
    pub(crate) outcomes: &'g mut [Outcome],
    pub(crate) rows: &'g [u32],
}

impl Group<'_> {
    /// The images and their targets.
    pub(crate) fn load(
        &mut self,
        network: &Network,
        batch: Batch<'_>,
        control: &dyn Control,
    ) -> Result<(), Cancelled> {
        let inputs = self.passing.values[0].chunks_exact_mut(network.input.len());
        for ((&row, input), outcome) in self.rows.iter().zip(inputs).zip(&mut *self.outcomes) {
            control.check()?;
            outcome.target = batch.load(row, self.rasters, input);
        }
        Ok(())
    }

    pub(crate) fn forward(
        &mut self,
        network: &Network,
        pass: &Pass<'_>,
        layers: Range<usize>,
        (weights, prepared): (&[f32], &[f32]),
    ) -> Result<(), Cancelled> {
        let weights = |index: usize| {
            let placed = &network.layers[index];
            placed.weights(placed.stored(weights), prepared)
        };
        self.passing.forward(network, pass, layers, weights, self.scratch)
    }

    pub(crate) fn backward(
        &mut self,
        network: &Network,
        pass: &Pass<'_>,
        layers: Range<usize>,
        reversed: &[Floats],
    ) -> Result<(), Cancelled> {
        self.passing.backward(network, pass, layers, reversed, self.scratch)
    }

    /// What a batch norm must know of the values that it is to read.
    pub(crate) fn sum_values(&mut self, placed: &Placed, isa: Isa) {
        if let Some(norm) = placed.layer.batch_norm() {
            norm.sum_values(isa, self.passing.values[placed.reads], &mut self.sums[..norm.sums()]);
        }
    }

    /// What it must know of the gradient to what it gave, as layer `index`.
    pub(crate) fn sum_gradients(
        &mut self,
        placed: &Placed,
        index: usize,
        isa: Isa,
        prepared: &[f32],
    ) {
        let Some(norm) = placed.layer.batch_norm() else { return };
        let Passing { values, saved, d_values, .. } = &mut self.passing;
        let ends =
            Ends { input: values[placed.reads], output: values[index + 1], saved: saved[index] };
        let (prepared, sums) = (&prepared[placed.prepared.clone()], &mut self.sums[..norm.sums()]);
        norm.sum_gradients(isa, prepared, ends, d_values[index], sums);
    }

    /// The outcomes, and the gradient to the logits.
    pub(crate) fn score(&mut self, batch: Batch<'_>, classes: usize, scale: f32) {
        let Passing { values, d_values, .. } = &mut self.passing;
        let (Some(logits), Some(d_logits)) = (values.last(), d_values.last_mut()) else {
            return;
        };
        d_logits.copy_from_slice(logits);
        let images = d_logits.chunks_exact_mut(classes).zip(&mut *self.outcomes);
        for (logits, outcome) in images {
            outcome.hit = best(logits) == outcome.target.first as usize;
            let wanted = batch.objective.wanted(outcome.target);
            outcome.loss = softmax_cross_entropy(logits, &wanted, scale);
        }
    }
}

/// Cuts the buffer of each layer into groups of images, and gives each group its part of all.
fn by_group<'b>(
    buffers: &'b mut [Floats],
    lens: &[usize],
    images: usize,
    together: usize,
) -> Vec<Vec<&'b mut [f32]>> {
    let mut groups: Vec<Vec<&mut [f32]>> =
        std::iter::repeat_with(Vec::new).take(images.div_ceil(together)).collect();
    for (buffer, len) in buffers.iter_mut().zip(lens) {
        let parts = chunks(&mut buffer[..images * len], together * len);
        groups.iter_mut().zip(parts).for_each(|(group, part)| group.push(part));
    }
    groups
}

/// Chunks of `len`; of an empty slice, as many empty ones as anybody asks for.
pub(crate) fn chunks<T>(mut buffer: &mut [T], len: usize) -> impl Iterator<Item = &mut [T]> {
    std::iter::from_fn(move || {
        let rest = std::mem::take(&mut buffer);
        let (chunk, rest) = rest.split_at_mut(len.min(rest.len()));
        buffer = rest;
        Some(chunk)
    })
}
