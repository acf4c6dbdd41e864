//! From the states of all steps to one vector a sequence, and back.

use teller_numeric::Isa;

use super::packing::Packing;
use super::spec::{Pooling, SequenceSpec};
use crate::layer::add_loop;

/// `output` is rows x states, `pooled` begins with poolings x states; `winners` notes the steps
/// of the largest states. One sequence of `steps` steps.
pub(super) fn forward(
    isa: Isa,
    spec: &SequenceSpec,
    place: Place<'_>,
    output: &[f32],
    pooled: &mut [f32],
    winners: &mut [f32],
) {
    let states = spec.states();
    let at = |step: usize| &output[place.row(step) * states..][..states];
    for (pooling, pooled) in spec.pooling.iter().zip(pooled.chunks_exact_mut(states)) {
        pooled.copy_from_slice(at(0));
        match pooling {
            // The second direction ends at the first step.
            Pooling::Last => {
                pooled[..spec.units].copy_from_slice(&at(place.steps - 1)[..spec.units]);
            }
            Pooling::Max => {
                winners.fill(0.0);
                for step in 1..place.steps {
                    let largest = (&mut *pooled, &mut *winners);
                    isa.vectorize(larger_loop, (at(step), step as f32, largest));
                }
            }
            Pooling::Mean => {
                for step in 1..place.steps {
                    isa.vectorize(add_loop, (at(step), &mut *pooled));
                }
                let share = 1.0 / place.steps as f32;
                pooled.iter_mut().for_each(|sum| *sum *= share);
            }
        }
    }
}

type Largest<'a> = (&'a mut [f32], &'a mut [f32]);

/// The largest states so far, and the steps of them, with those of one more step.
#[inline(always)]
fn larger_loop((states, step, (largest, winners)): (&[f32], f32, Largest<'_>)) {
    for ((largest, winner), &state) in largest.iter_mut().zip(winners).zip(states) {
        let wins = state > *largest;
        *largest = if wins { state } else { *largest };
        *winner = if wins { step } else { *winner };
    }
}

/// Adds the gradient to the states of one sequence.
pub(super) fn backward(
    spec: &SequenceSpec,
    place: Place<'_>,
    d_pooled: &[f32],
    winners: &[f32],
    d_output: &mut [f32],
) {
    let (units, states) = (spec.units, spec.states());
    let start = |step: usize| place.row(step) * states;
    for (pooling, d_pooled) in spec.pooling.iter().zip(d_pooled.chunks_exact(states)) {
        match pooling {
            Pooling::Last => {
                let (first, second) = d_pooled.split_at(units);
                add(first, &mut d_output[start(place.steps - 1)..]);
                add(second, &mut d_output[start(0) + units..]);
            }
            Pooling::Max => {
                for (unit, (&d, &winner)) in d_pooled.iter().zip(winners).enumerate() {
                    d_output[start(winner as usize) + unit] += d;
                }
            }
            Pooling::Mean => {
                let share = 1.0 / place.steps as f32;
                for step in 0..place.steps {
                    let d_states = d_output[start(step)..].iter_mut().zip(d_pooled);
                    d_states.for_each(|(to, d)| *to += d * share);
                }
            }
        }
    }
}

fn add(from: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// A sequence among those that are packed.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) packing: &'p Packing,
    pub(super) sequence: usize,
    pub(super) steps: usize,
}

impl Place<'_> {
    fn row(&self, step: usize) -> usize {
        self.packing.row(self.sequence, step)
    }
}
