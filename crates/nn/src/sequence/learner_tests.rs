//! The gradient of whole networks against differences, and their answers against plain loops.

use proptest::prelude::*;
use teller_numeric::Uninterrupted;

use super::super::network::Extents;
use super::super::{Cell, Pooling, SequenceSpec};
use super::*;
use crate::embedding::{Feature, add_rows};
use crate::{Optimizer, UpdateRule};

const INPUTS: usize = 3;
const CLASSES: usize = 3;
const TABLE: usize = 7;

/// Sequences of given lengths: of rows of the table, or of numbers with two static columns.
struct Toy {
    lengths: Vec<usize>,
    learns: bool,
    statics: Vec<f32>,
}

impl Toy {
    fn new(lengths: &[usize], learns: bool) -> Self {
        let mut stream = Stream::new(9, "statics", 0);
        let statics = if learns { 0 } else { 2 * lengths.len() };
        let statics = (0..statics).map(|_| stream.normal() as f32).collect();
        Self { lengths: lengths.to_vec(), learns, statics }
    }

    fn numbers(row: u32, step: usize) -> Vec<f32> {
        let mut stream = Stream::new(row.into(), "numbers", step as u64);
        (0..INPUTS).map(|_| stream.normal() as f32).collect()
    }

    fn of(row: u32, step: usize) -> [Feature; 2] {
        let id = (row as usize * 3 + step) % TABLE;
        [(id, 1.0), ((id * 5 + 1) % TABLE, 0.5)].map(|(id, value)| Feature { id: id as u32, value })
    }

    fn extents(&self) -> Extents {
        let table = if self.learns { TABLE } else { 0 };
        Extents {
            inputs: INPUTS,
            statics: if self.learns { 0 } else { 2 },
            classes: CLASSES,
            table,
        }
    }
}

impl Source for Toy {
    fn steps(&self, row: u32) -> usize {
        self.lengths[row as usize]
    }

    fn target(&self, row: u32) -> u32 {
        row % CLASSES as u32
    }

    fn statics(&self, row: u32) -> &[f32] {
        if self.learns { &[] } else { &self.statics[2 * row as usize..][..2] }
    }

    fn load(&self, isa: Isa, table: &[f32], row: u32, _: Option<Noise>, mut steps: Steps<'_>) {
        for step in 0..self.steps(row) {
            if self.learns {
                steps.step(step).fill(0.0);
                add_rows(isa, table, &Self::of(row, step), steps.step(step));
            } else {
                steps.step(step).copy_from_slice(&Self::numbers(row, step));
            }
        }
    }

    fn features(&self, row: u32, _: Noise, tell: &mut dyn FnMut(usize, &[Feature])) {
        for step in 0..self.steps(row) {
            tell(step, &Self::of(row, step));
        }
    }
}

fn spec(cell: Cell, layers: usize, bidirectional: bool, hidden_units: usize) -> SequenceSpec {
    let pooling = vec![Pooling::Last, Pooling::Max, Pooling::Mean];
    SequenceSpec { cell, units: 5, layers, bidirectional, pooling, hidden_units }
}

fn learner<'a>(
    network: &'a Network,
    source: &'a Toy,
    isa: Isa,
    regularization: Regularization,
) -> SequenceLearner<'a, Toy> {
    let rows = source.lengths.len();
    let update = UpdateRule {
        optimizer: Optimizer::Adam,
        weight_decay: 0.1,
        clip_norm: None,
        ..UpdateRule::default()
    };
    let objective = Objective::new(0.1, vec![1.0, 2.0, 0.5]);
    let recipe = Recipe { batch: rows, seed: 4, update, regularization, objective };
    let all = 0..rows as u32;
    let mut learner = SequenceLearner::new(isa, network, source, all, recipe).unwrap();
    let mut stream = Stream::new(5, "table", 0);
    learner.table().iter_mut().for_each(|x| *x = stream.normal() as f32);
    // Biases that begin at 0 would hide what becomes of them.
    for product in &network.products {
        for bias in &mut learner.weights[product.bias.clone()] {
            *bias += 0.3 * stream.normal() as f32;
        }
    }
    learner
}

const NONE: Regularization = Regularization { input_dropout: 0.0, dropout: 0.0, truncation: 0 };

fn prepare(learner: &mut SequenceLearner<'_, Toy>) {
    for (product, reversed) in learner.network.products.iter().zip(&mut learner.reversed) {
        let weights = product.weights(&learner.weights);
        product.dense.prepare(learner.isa, weights, &mut [], Some(reversed));
    }
}

/// The loss of all rows and its gradient.
fn gradient(learner: &mut SequenceLearner<'_, Toy>) -> (f64, Vec<f32>) {
    let rows: Vec<u32> = (0..learner.source.lengths.len() as u32).collect();
    prepare(learner);
    let groups = learner.members(&rows, 7);
    let look = learner.pass(&groups, true, &Uninterrupted).unwrap();
    learner.weight_gradient(&groups, &Uninterrupted).unwrap();
    (look.loss / rows.len() as f64, learner.gradient.to_vec())
}

#[test]
fn gradients_are_slopes() {
    let cells = [Cell::Rnn, Cell::Gru, Cell::Lstm];
    let shapes =
        [(1, false, 0, true), (1, true, 4, false), (2, true, 0, true), (3, false, 3, false)];
    for (cell, (layers, bidirectional, hidden, learns)) in
        cells.into_iter().flat_map(|cell| shapes.map(|shape| (cell, shape)))
    {
        // More than one group.
        let lengths: Vec<usize> = (0..19).map(|row| 1 + (row * 5) % 7).collect();
        let toy = Toy::new(&lengths, learns);
        let network = Network::new(&spec(cell, layers, bidirectional, hidden), toy.extents());
        let regularization = Regularization { input_dropout: 0.2, dropout: 0.2, truncation: 0 };
        let mut learner = learner(&network, &toy, Isa::detect(), regularization);
        let (_, slopes) = gradient(&mut learner);
        let mut stream = Stream::new(3, "which", layers as u64);
        for _ in 0..60 {
            let at = stream.below(network.weights as u32) as usize;
            let weight = learner.weights[at];
            let loss = |learner: &mut SequenceLearner<'_, Toy>, shift: f32| {
                learner.weights[at] = weight + shift;
                gradient(learner).0
            };
            let step = 5e-4;
            let slope =
                (loss(&mut learner, step) - loss(&mut learner, -step)) / (2.0 * f64::from(step));
            learner.weights[at] = weight;
            let error = (slope - f64::from(slopes[at])).abs();
            assert!(error < 1e-3, "{cell:?} {layers} at {at}: {} for {slope}", slopes[at]);
        }
        assert!(slopes.iter().filter(|slope| **slope != 0.0).count() > network.weights / 2);
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for cell in [Cell::Rnn, Cell::Gru, Cell::Lstm] {
        let lengths: Vec<usize> = (0..50).map(|row| 1 + (row * 5) % 11).collect();
        let toy = Toy::new(&lengths, true);
        let network = Network::new(&spec(cell, 2, true, 4), toy.extents());
        let run = |isa, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let regularization = Regularization { input_dropout: 0.2, dropout: 0.2, truncation: 3 };
            let mut learner = learner(&network, &toy, isa, regularization);
            let rows: Vec<u32> = (0..50).rev().collect();
            pool.install(|| {
                for step in 0..3 {
                    let step =
                        TrainingStep { rows: &rows, before: 0, first: 50 * step, rate: 0.01 };
                    learner.step(step, &Uninterrupted).unwrap();
                }
            });
            learner.weights.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let first = run(Isa::SCALAR, 1);
        for isa in Isa::available() {
            for threads in 1..=4 {
                assert_eq!(run(isa, threads), first, "{cell:?} {} {threads}", isa.name());
            }
        }
    }
}

/// One sequence through one layer and direction, in the plainest way.
fn naive_states(
    cell: Cell,
    inputs: &[Vec<f64>],
    [input, recurrent]: [(&[f32], &[f32]); 2],
    units: usize,
) -> Vec<Vec<f64>> {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let gates = cell.gates() * units;
    let product = |(kernel, bias): (&[f32], &[f32]), x: &[f64]| -> Vec<f64> {
        (0..gates)
            .map(|gate| {
                let terms =
                    x.iter().enumerate().map(|(i, x)| x * f64::from(kernel[i * gates + gate]));
                f64::from(bias[gate]) + terms.sum::<f64>()
            })
            .collect()
    };
    let (mut state, mut memory) = (vec![0.0; units], vec![0.0; units]);
    let mut states = Vec::new();
    for x in inputs {
        let (x, h) = (product(input, x), product(recurrent, &state));
        for u in 0..units {
            let sum = |gate: usize| x[gate * units + u] + h[gate * units + u];
            state[u] = match cell {
                Cell::Rnn => sum(0).tanh(),
                Cell::Gru => {
                    let (r, z) = (sigmoid(sum(0)), sigmoid(sum(1)));
                    let n = (x[2 * units + u] + r * h[2 * units + u]).tanh();
                    (1.0 - z) * n + z * state[u]
                }
                Cell::Lstm => {
                    memory[u] = sigmoid(sum(1)) * memory[u] + sigmoid(sum(0)) * sum(2).tanh();
                    sigmoid(sum(3)) * memory[u].tanh()
                }
            };
        }
        states.push(state.clone());
    }
    states
}

/// Logits of one sequence.
fn naive(network: &Network, weights: &[f32], toy: &Toy, row: u32) -> Vec<f64> {
    let spec = &network.spec;
    let of = |index: usize| {
        let product = &network.products[index];
        (&weights[product.kernel.clone()], &weights[product.bias.clone()])
    };
    let steps = 0..toy.steps(row);
    let mut values: Vec<Vec<f64>> =
        steps.map(|step| Toy::numbers(row, step).iter().map(|&x| f64::from(x)).collect()).collect();
    for layer in 0..spec.layers {
        let first = 2 * layer * spec.directions();
        let mut states = naive_states(spec.cell, &values, [of(first), of(first + 1)], spec.units);
        if spec.bidirectional {
            values.reverse();
            let second = [of(first + 2), of(first + 3)];
            let back = naive_states(spec.cell, &values, second, spec.units);
            for (states, back) in states.iter_mut().zip(back.into_iter().rev()) {
                states.extend(back);
            }
        }
        values = states;
    }
    let all = || values.iter();
    let column = |u: usize| all().map(move |states| states[u]);
    let mut pooled = Vec::new();
    for pooling in &spec.pooling {
        pooled.extend((0..spec.states()).map(|u| match pooling {
            Pooling::Last if u < spec.units => column(u).next_back().unwrap(),
            Pooling::Last => column(u).next().unwrap(),
            Pooling::Max => column(u).fold(f64::NEG_INFINITY, f64::max),
            Pooling::Mean => column(u).sum::<f64>() / values.len() as f64,
        }));
    }
    pooled.extend(toy.statics(row).iter().map(|&x| f64::from(x)));
    let dense = |(kernel, bias): (&[f32], &[f32]), x: &[f64]| -> Vec<f64> {
        let units = bias.len();
        let sum = |unit: usize| {
            let terms = x.iter().enumerate().map(|(i, x)| x * f64::from(kernel[i * units + unit]));
            f64::from(bias[unit]) + terms.sum::<f64>()
        };
        (0..units).map(sum).collect()
    };
    let last = network.products.len() - 1;
    if spec.hidden_units > 0 {
        pooled = dense(of(last - 1), &pooled).into_iter().map(|x| x.max(0.0)).collect();
    }
    dense(of(last), &pooled)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn answers_are_those_of_the_definition(
        lengths in prop::collection::vec(1usize..9, 1..20),
        cell in prop_oneof![Just(Cell::Rnn), Just(Cell::Gru), Just(Cell::Lstm)],
        (layers, bidirectional, hidden) in (1usize..4, any::<bool>(), 0usize..4),
    ) {
        let toy = Toy::new(&lengths, false);
        let network = Network::new(&spec(cell, layers, bidirectional, hidden), toy.extents());
        let mut learner = learner(&network, &toy, Isa::detect(), NONE);
        let rows: Vec<u32> = (0..lengths.len() as u32).collect();
        let groups = learner.members(&rows, 0);
        learner.pass(&groups, false, &Uninterrupted).unwrap();
        let mut fields = learner.values.iter();
        let values = Values::build(&network, |_| fields.next().unwrap());
        let order = groups.iter().flat_map(|group| &group.rows);
        for (&row, logits) in order.zip(values.logits.chunks(CLASSES)) {
            for (got, expected) in logits.iter().zip(naive(&network, &learner.weights, &toy, row)) {
                prop_assert!((f64::from(*got) - expected).abs() < 1e-4, "{} {}", got, expected);
            }
        }
    }
}

/// With one step of time there is nothing to cut; with cuts at every step, the recurrent kernels
/// still learn from the states before.
#[test]
fn a_cut_gradient_is_that_of_its_window() {
    let toy = Toy::new(&[6, 3, 1], false);
    let network = Network::new(&spec(Cell::Gru, 1, false, 0), toy.extents());
    let slopes = |truncation| {
        let regularization = Regularization { truncation, ..NONE };
        gradient(&mut learner(&network, &toy, Isa::detect(), regularization)).1
    };
    assert_eq!(slopes(0), slopes(6));
    let (whole, cut) = (slopes(0), slopes(1));
    assert_ne!(whole, cut);
    let output = network.products.last().unwrap().kernel.clone();
    assert_eq!(whole[output.clone()], cut[output]);
}
