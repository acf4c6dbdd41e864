//! A recurrent layer over packed sequences. What the inputs give to the gates is one product over
//! all steps; what the states give is one a step, over all sequences that have it.

use teller_numeric::Cancelled;

use super::cell::{Cell, CellStep};
use super::network::Product;
use super::packing::Packing;
use super::values::LayerValues;
use crate::floats::Floats;
use crate::layer::{Ends, Layer, Pass, Results, add_loop};

#[derive(Debug)]
pub(super) struct RecurrentLayer {
    pub(super) cell: Cell,
    pub(super) units: usize,
    /// From the first step on, then from the last one.
    pub(super) directions: Vec<Direction>,
}

/// The indexes of its products.
#[derive(Debug)]
pub(super) struct Direction {
    pub(super) input: usize,
    pub(super) recurrent: usize,
}

impl RecurrentLayer {
    pub(super) fn forward(
        &self,
        pass: &Pass<'_>,
        products: &[Product],
        weights: &[f32],
        (packing, input): (&Packing, &[f32]),
        values: &mut LayerValues<&mut [f32]>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let units = self.units;
        let states = units * self.directions.len();
        let directions = self.directions.iter().zip(&mut values.directions);
        for (number, (direction, values_of)) in directions.enumerate() {
            let [product, recurrent] =
                [direction.input, direction.recurrent].map(|index| &products[index]);
            let results = Results { output: &mut *values_of.gates, saved: None };
            product.dense.forward(pass, product.weights(weights), input, results, &mut [])?;
            let (state, memory, _) = cut(scratch, self.cell);
            state.fill(0.0);
            memory.fill(0.0);
            for step in 0..packing.steps() {
                let step = if number == 0 { step } else { packing.steps() - 1 - step };
                let (first, count) = packing.step(step);
                let rows = |width: usize| first * width..(first + count) * width;
                let state = &mut state[..count * units];
                values_of.previous[rows(units)].copy_from_slice(state);
                let gates = rows(units * self.cell.gates());
                let results =
                    Results { output: &mut values_of.recurrent[gates.clone()], saved: None };
                let weights = recurrent.weights(weights);
                recurrent.dense.forward(pass, weights, state, results, &mut [])?;
                self.cell.forward(CellStep {
                    isa: pass.isa,
                    units,
                    gates: &mut values_of.gates[gates.clone()],
                    recurrent: &mut values_of.recurrent[gates],
                    state,
                    memory: &mut memory[..count * self.memory()],
                    previous: &[],
                    kept: &mut values_of.kept[rows(2 * self.memory())],
                });
                let outputs = values.output[rows(states)].chunks_exact_mut(states);
                for (output, state) in outputs.zip(state.chunks_exact(units)) {
                    output[number * units..][..units].copy_from_slice(state);
                }
            }
        }
        Ok(())
    }

    /// From the gradient to the output, by direction to that to all gates and, where that is
    /// wanted, to the input.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_>,
        (products, reversed): (&[Product], &[Floats]),
        packing: &Packing,
        values: &mut LayerValues<&mut [f32]>,
        scratch: &mut [f32],
        truncation: usize,
    ) -> Result<(), Cancelled> {
        let units = self.units;
        let states = units * self.directions.len();
        let directions = self.directions.iter().zip(&mut values.directions);
        for (number, (direction, values_of)) in directions.enumerate() {
            let [product, recurrent] =
                [direction.input, direction.recurrent].map(|index| &products[index]);
            let (state, memory, before) = cut(scratch, self.cell);
            state.fill(0.0);
            memory.fill(0.0);
            for gone in 0..packing.steps() {
                let step = if number == 0 { packing.steps() - 1 - gone } else { gone };
                let (first, count) = packing.step(step);
                let rows = |width: usize| first * width..(first + count) * width;
                let state = &mut state[..count * units];
                let d_outputs = values.d_output[rows(states)].chunks_exact(states);
                for (d_output, state) in d_outputs.zip(state.chunks_exact_mut(units)) {
                    let d_output = &d_output[number * units..][..units];
                    pass.isa.vectorize(add_loop, (d_output, state));
                }
                let gates = rows(units * self.cell.gates());
                self.cell.backward(CellStep {
                    isa: pass.isa,
                    units,
                    gates: &mut values_of.gates[gates.clone()],
                    recurrent: &mut values_of.recurrent[gates.clone()],
                    state,
                    memory: &mut memory[..count * self.memory()],
                    previous: &values_of.previous[rows(units)],
                    kept: &mut values_of.kept[rows(2 * self.memory())],
                });
                if truncation > 0 && step % truncation == 0 {
                    state.fill(0.0);
                    memory.fill(0.0);
                    continue;
                }
                let before = &mut before[..count * units];
                let kernel = &reversed[direction.recurrent];
                let d_gates = &mut values_of.recurrent[gates];
                let (d_gates, d_input) = (d_gates, Some(&mut *before));
                recurrent.dense.backward(pass, kernel, NO_ENDS, d_gates, d_input, &mut [])?;
                pass.isa.vectorize(add_loop, (&*before, state));
            }
            if !values_of.d_input.is_empty() {
                let kernel = &reversed[direction.input];
                let (d_gates, d_input) = (&mut *values_of.gates, Some(&mut *values_of.d_input));
                product.dense.backward(pass, kernel, NO_ENDS, d_gates, d_input, &mut [])?;
            }
        }
        Ok(())
    }

    /// Numbers of a memory cell.
    fn memory(&self) -> usize {
        if self.cell.has_memory() { self.units } else { 0 }
    }
}

/// Of layers without an activation of their own nobody reads them.
const NO_ENDS: Ends<'_> = Ends { input: &[], output: &[], saved: &[] };

/// State, memory and another state of all sequences.
fn cut(scratch: &mut [f32], cell: Cell) -> (&mut [f32], &mut [f32], &mut [f32]) {
    let (state, rest) = scratch.split_at_mut(scratch.len() / 3);
    let (memory, before) = rest.split_at_mut(state.len());
    let memory = if cell.has_memory() { memory } else { &mut [] };
    (state, memory, before)
}
