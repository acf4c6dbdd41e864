//! A recurrent network made ready to compute: where its numbers are, and the way of some sequences
//! through it and back.

use std::ops::Range;

use teller_numeric::{Cancelled, Stream};

use super::packing::Packing;
use super::pooling::{self, Place};
use super::recurrent::{Direction, RecurrentLayer};
use super::spec::SequenceSpec;
use super::values::Values;
use crate::floats::Floats;
use crate::layer::{
    Dense, Ends, Initialization, Layer, Pass, Results, Weights, add_loop, drop_out,
};
use crate::network::LINE;
use crate::{Error, LayerWeights};

/// The layers and their places.
#[derive(Debug)]
pub(crate) struct Network {
    pub(super) spec: SequenceSpec,
    /// Numbers of a step.
    pub(super) inputs: usize,
    /// Numbers of a sequence that join after the pooling.
    pub(super) statics: usize,
    pub(super) classes: usize,
    /// Whether the gradient to the inputs is wanted.
    pub(super) learns_inputs: bool,
    /// All products: two for each direction of each layer, then the dense layers.
    pub(super) products: Vec<Product>,
    pub(super) layers: Vec<RecurrentLayer>,
    /// Rows of `inputs` numbers from which whoever makes the inputs learns them.
    pub(super) table: Range<usize>,
    /// Floats of all weights, each array at the beginning of a cache line.
    pub(crate) weights: usize,
}

/// A product with a kernel, and a bias.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) name: String,
    pub(super) dense: Dense,
    pub(super) kernel: Range<usize>,
    pub(super) bias: Range<usize>,
}

impl Product {
    pub(super) fn weights<'w>(&self, weights: &'w [f32]) -> Weights<'w> {
        Weights {
            kernel: &weights[self.kernel.clone()],
            bias: &weights[self.bias.clone()],
            ..Weights::default()
        }
    }
}

/// What a network of a spec reads and tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extents {
    pub(crate) inputs: usize,
    pub(crate) statics: usize,
    pub(crate) classes: usize,
    /// Rows of the table of inputs that are learned; 0 if they are given.
    pub(crate) table: usize,
}

/// Some sequences on their way, the longest first.
pub(super) struct Group<'g> {
    pub(super) packing: Packing,
    /// Steps of each.
    pub(super) lengths: Vec<usize>,
    pub(super) values: Values<&'g mut [f32]>,
    /// [`Network::scratch`] for each sequence.
    pub(super) scratch: &'g mut [f32],
}

/// What training changes on the way.
pub(super) struct Dropped<'a> {
    pub(super) rate: f32,
    pub(super) seed: u64,
    /// Running number of each sequence, over the whole training.
    pub(super) numbers: &'a [u64],
}

impl Dropped<'_> {
    /// The same values for the same numbers, so that the gradient goes the way of the values.
    fn apply(&self, values: &mut [f32]) {
        if self.rate == 0.0 {
            return;
        }
        let width = values.len() / self.numbers.len().max(1);
        for (&number, values) in self.numbers.iter().zip(values.chunks_exact_mut(width.max(1))) {
            drop_out(&mut Stream::new(self.seed, "dropout", number), self.rate, values);
        }
    }
}

impl Network {
    pub(crate) fn new(spec: &SequenceSpec, extents: Extents) -> Self {
        let Extents { inputs, statics, classes, table } = extents;
        let mut network = Self {
            spec: spec.clone(),
            inputs,
            statics,
            classes,
            learns_inputs: table > 0,
            products: Vec::new(),
            layers: Vec::new(),
            table: 0..table * inputs,
            weights: (table * inputs).next_multiple_of(LINE),
        };
        let gates = spec.units * spec.cell.gates();
        let mut width = inputs;
        for layer in 0..spec.layers {
            let directions = ["forward", "backward"].into_iter().take(spec.directions());
            let directions = directions.map(|name| {
                let input = network.place(format!("{layer}.{name}.input"), width, gates, false);
                let name = format!("{layer}.{name}.recurrent");
                let recurrent = network.place(name, spec.units, gates, false);
                Direction { input, recurrent }
            });
            let directions = directions.collect();
            network.layers.push(RecurrentLayer { cell: spec.cell, units: spec.units, directions });
            width = spec.states();
        }
        width = network.pooled();
        if spec.hidden_units > 0 {
            network.place("hidden".to_owned(), width, spec.hidden_units, true);
            width = spec.hidden_units;
        }
        network.place("output".to_owned(), width, classes, false);
        network
    }

    /// [`Network::new`] of a spec that anyone may have written: its sizes are bounded.
    pub(crate) fn checked(spec: &SequenceSpec, extents: Extents) -> Result<Self, Error> {
        let Extents { inputs, statics, classes, table } = extents;
        let limits = [
            ("units", spec.units, 1..=4096),
            ("layers", spec.layers, 1..=8),
            ("hidden_units", spec.hidden_units, 0..=4096),
            ("poolings", spec.pooling.len(), 1..=3),
            ("inputs", inputs, 1..=4096),
            ("statics", statics, 0..=4096),
            ("labels", classes, 2..=1 << 20),
            ("table", table, 0..=1 << 22),
        ];
        for (what, needed, range) in limits {
            if !range.contains(&needed) {
                let (needed, limit) = (needed as u64, *range.end() as u64);
                return Err(Error::TooLarge { what, needed, limit });
            }
        }
        Ok(Self::new(spec, extents))
    }

    /// The rows of the table among all weights.
    pub(crate) fn table<'w>(&self, weights: &'w [f32]) -> &'w [f32] {
        &weights[self.table.clone()]
    }

    /// All trained numbers by name, `<first>` before each name, the table as `<first>vectors`.
    pub(crate) fn arrays<'w>(&self, first: &str, weights: &'w [f32]) -> Vec<LayerWeights<'w>> {
        let array = |name: &str, shape: Vec<usize>, range: &Range<usize>| LayerWeights {
            name: format!("{first}{name}"),
            shape,
            values: &weights[range.clone()],
        };
        let rows = self.table.len() / self.inputs.max(1);
        let mut arrays = vec![array("vectors", vec![rows, self.inputs], &self.table)];
        arrays.retain(|array| !array.values.is_empty());
        for Product { name, dense, kernel, bias } in &self.products {
            let shape = vec![dense.inputs, dense.units];
            arrays.push(array(&format!("{name}.kernel"), shape, kernel));
            arrays.push(array(&format!("{name}.bias"), vec![dense.units], bias));
        }
        arrays
    }

    /// Places the next product, and tells its index.
    fn place(&mut self, name: String, inputs: usize, units: usize, relu: bool) -> usize {
        let mut next = |len: usize| {
            let range = self.weights..self.weights + len;
            self.weights = range.end.next_multiple_of(LINE);
            range
        };
        let (kernel, bias) = (next(inputs * units), next(units));
        self.products.push(Product { name, dense: Dense { inputs, units, relu }, kernel, bias });
        self.products.len() - 1
    }

    /// What the dense layers read.
    pub(super) fn pooled(&self) -> usize {
        self.spec.pooling.len() * self.spec.states() + self.statics
    }

    /// Floats of working memory for each sequence of a group: state, memory, and another state.
    pub(super) fn scratch(&self) -> usize {
        3 * self.spec.units
    }

    /// Draws all weights but the table: recurrent layers uniform with variance 1 / (3 units), as
    /// is usual, and a forget gate that begins open.
    pub(super) fn initialize(&self, seed: u64, weights: &mut [f32]) {
        let recurrent = 2 * self.spec.directions() * self.spec.layers;
        let bound = 1.0 / (self.spec.units as f32).sqrt();
        for (index, product) in self.products.iter().enumerate() {
            let mut stream = Stream::new(seed, "initial weights", index as u64);
            let kernel = &mut weights[product.kernel.clone()];
            if index < recurrent {
                kernel.iter_mut().for_each(|to| *to = (2.0 * stream.uniform() - 1.0) * bound);
                if self.spec.cell.has_memory() && index % 2 == 0 {
                    let units = self.spec.units;
                    weights[product.bias.clone()][units..2 * units].fill(1.0);
                }
            } else {
                let by = match product.dense.relu {
                    true => Initialization::HeNormal,
                    false => Initialization::GlorotUniform,
                };
                product.dense.initialize(by, &mut stream, kernel);
            }
        }
    }

    /// From the input and the static columns, which are there, to the logits.
    pub(super) fn forward(
        &self,
        pass: &Pass<'_>,
        weights: &[f32],
        group: &mut Group<'_>,
        dropped: Option<&Dropped<'_>>,
    ) -> Result<(), Cancelled> {
        let Group { packing, lengths, values, scratch } = group;
        let mut input = &*values.input;
        for (layer, values) in self.layers.iter().zip(&mut values.layers) {
            layer.forward(pass, &self.products, weights, (packing, input), values, scratch)?;
            input = &*values.output;
        }
        let states = self.spec.states();
        let pooled = values.pooled.chunks_exact_mut(self.pooled());
        let pooled = pooled.zip(values.winners.chunks_exact_mut(states));
        for (sequence, (&steps, (pooled, winners))) in lengths.iter().zip(pooled).enumerate() {
            pass.control.check()?;
            let place = Place { packing, sequence, steps };
            pooling::forward(pass.isa, &self.spec, place, input, pooled, winners);
        }
        let (hidden, output) = self.head();
        let mut before = &mut *values.pooled;
        if let Some(hidden) = hidden {
            let results = Results { output: &mut *values.hidden, saved: None };
            hidden.dense.forward(pass, hidden.weights(weights), before, results, &mut [])?;
            before = &mut *values.hidden;
        }
        if let Some(dropped) = dropped {
            dropped.apply(before);
        }
        let results = Results { output: &mut *values.logits, saved: None };
        output.dense.forward(pass, output.weights(weights), before, results, &mut [])
    }

    /// From the gradient to the logits, which is there, to that to every product, and to the input
    /// if it is wanted. It goes through at most `truncation` steps of time, 0 for all.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_>,
        reversed: &[Floats],
        group: &mut Group<'_>,
        dropped: &Dropped<'_>,
        truncation: usize,
    ) -> Result<(), Cancelled> {
        let Group { packing, lengths, values, scratch } = group;
        let (hidden, output) = self.head();
        let last = self.products.len() - 1;
        let (read, d_read) = match hidden {
            Some(_) => (&*values.hidden, &mut *values.d_hidden),
            None => (&*values.pooled, &mut *values.d_pooled),
        };
        let ends = Ends { input: read, output: &*values.logits, saved: &[] };
        let (d_logits, d_input) = (&mut *values.d_logits, Some(&mut *d_read));
        output.dense.backward(pass, &reversed[last], ends, d_logits, d_input, &mut [])?;
        dropped.apply(d_read);
        if let Some(hidden) = hidden {
            let ends = Ends { input: &*values.pooled, output: &*values.hidden, saved: &[] };
            let (d_hidden, d_input) = (&mut *values.d_hidden, Some(&mut *values.d_pooled));
            hidden.dense.backward(pass, &reversed[last - 1], ends, d_hidden, d_input, &mut [])?;
        }
        let Some(top) = values.layers.last_mut() else { return Ok(()) };
        top.d_output.fill(0.0);
        let states = self.spec.states();
        let d_pooled = values.d_pooled.chunks_exact(self.pooled());
        let d_pooled = d_pooled.zip(values.winners.chunks_exact(states));
        for (sequence, (&steps, (d_pooled, winners))) in lengths.iter().zip(d_pooled).enumerate() {
            pass.control.check()?;
            let place = Place { packing, sequence, steps };
            pooling::backward(&self.spec, place, d_pooled, winners, top.d_output);
        }
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let (below, here) = values.layers.split_at_mut(index);
            let Some(here) = here.first_mut() else { continue };
            let kernels = (&*self.products, reversed);
            layer.backward(pass, kernels, packing, here, scratch, truncation)?;
            let d_below = match below.last_mut() {
                Some(below) => &mut *below.d_output,
                None => &mut *values.d_input,
            };
            if d_below.is_empty() {
                continue;
            }
            for (number, direction) in here.directions.iter().enumerate() {
                if number == 0 {
                    d_below.copy_from_slice(direction.d_input);
                } else {
                    pass.isa.vectorize(add_loop, (&*direction.d_input, &mut *d_below));
                }
            }
        }
        Ok(())
    }

    /// The hidden layer, if there is one, and the last.
    fn head(&self) -> (Option<&Product>, &Product) {
        let last = self.products.len() - 1;
        let hidden = (self.spec.hidden_units > 0).then(|| &self.products[last - 1]);
        (hidden, &self.products[last])
    }

    /// What each product read, and the gradient to what it gave.
    pub(super) fn ends<'v>(
        &self,
        values: &Values<&'v [f32]>,
        product: usize,
    ) -> (&'v [f32], &'v [f32]) {
        let directions = self.spec.directions();
        let (layer, within) = (product / (2 * directions), product % (2 * directions));
        if let Some(here) = values.layers.get(layer) {
            let direction = &here.directions[within / 2];
            return match within % 2 {
                0 if layer == 0 => (values.input, direction.gates),
                0 => (values.layers[layer - 1].output, direction.gates),
                _ => (direction.previous, direction.recurrent),
            };
        }
        let is_last = product + 1 == self.products.len();
        match self.spec.hidden_units > 0 {
            true if is_last => (values.hidden, values.d_logits),
            true => (values.pooled, values.d_hidden),
            false => (values.pooled, values.d_logits),
        }
    }
}
