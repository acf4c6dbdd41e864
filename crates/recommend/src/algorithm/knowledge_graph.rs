//! Items by who took them and by what a knowledge graph says of them: every node has numbers, an
//! item's are propagated to it along the edges, and a user likes an item with the probability
//! sigmoid(user x item + bias of the item). Learned by the cross-entropy of what users took
//! against items that they did not, drawn anew in each epoch.
//!
//! Wang et al., "Knowledge Graph Convolutional Networks for Recommender Systems", WWW 2019, with
//! the mean of all neighbors instead of a sample of them weighed by user and relation, and without
//! nonlinearity, as in He et al., "LightGCN", SIGIR 2020: so a score is a dot product, and the sum
//! of what each edge adds to it.

use std::time::Instant;

use rayon::prelude::*;
use teller_numeric::activations::sigmoid;
use teller_numeric::{
    Cancelled, CheckpointBytes, Control, Moment, OptionError, Options, Step, Stream,
};
use teller_payload::{CheckpointError, SharedBytes, TrainingKey};

use super::adam::Learned;
use super::propagation::Propagation;
use super::svd::product;
use super::{Algorithm, ItemColumns, Size, Takes};
use crate::csr::Csr;
use crate::fitted::{FittedFactors, Numbers};
use crate::vectors::{axpy, dot};
use crate::{Dataset, Error, FittedRecommender, Interactions, index};

/// Grows whenever a training's numbers or the checkpoint's arrays change their meaning.
const REVISION: u32 = 1;
/// Rows that one task works on.
const ROWS: usize = 64;

/// Parameters of recommendations by a knowledge graph. With the defaults the area under the curve on
/// Last.FM is 0.83 by the protocol of KGCN.
#[derive(Clone, Debug, PartialEq)]
pub struct KnowledgeGraphParams {
    /// Numbers of a user and of a node, besides the bias.
    pub factors: usize,
    /// Edges from an item to what it learns from.
    pub hops: u32,
    /// Passes over the interactions.
    pub epochs: u32,
    /// Size of a step.
    pub learning_rate: f32,
    /// Weight of the squared numbers in the loss; `None` is [`usual_regularization`].
    pub regularization: Option<f32>,
    /// Items that a user did not take, for each that he took.
    pub negatives: usize,
    /// Of the first numbers and of the items that were not taken.
    pub seed: u64,
}

impl KnowledgeGraphParams {
    /// Reads `factors`, `hops`, `epochs`, `learning_rate`, `regularization`, `negatives` and
    /// `seed`.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        Ok(Self {
            factors: options.integer("factors", 16, 1..=1024)? as usize,
            hops: options.integer("hops", 2, 1..=4)? as u32,
            epochs: options.integer("epochs", 200, 1..=10_000)? as u32,
            learning_rate: options.number("learning_rate", 0.02, 1e-6..=1.0)? as f32,
            regularization: match options.value("regularization") {
                None => None,
                Some(_) => Some(options.number("regularization", 0.0, 0.0..=1e6)? as f32),
            },
            negatives: options.integer("negatives", 1, 1..=100)? as usize,
            seed: options.integer("seed", 42, 0..=i64::MAX)? as u64,
        })
    }

    /// With the bias.
    fn width(&self) -> usize {
        self.factors + 1
    }
}

/// The regularization for data of any density: what did best where a user had 5 items in training.
fn usual_regularization(data: &Interactions) -> f32 {
    (data.len() as f64 / data.users().len() as f64 / 5.0) as f32
}

impl Algorithm for KnowledgeGraphParams {
    fn name(&self) -> &'static str {
        "knowledge_graph"
    }

    fn takes(&self) -> Takes {
        Takes { items: Some(ItemColumns::Ids), graph: true, ..Takes::default() }
    }

    fn step_noun(&self) -> &'static str {
        "epoch"
    }

    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    fn with_fewer_factors(&self, factors: usize) -> Option<Box<dyn Algorithm>> {
        (factors < self.factors)
            .then(|| -> Box<dyn Algorithm> { Box::new(Self { factors, ..self.clone() }) })
    }

    fn working_memory(&self, size: &Size) -> u64 {
        // Numbers, gradients, both means, the propagated numbers, and a checkpoint; what was drawn
        // with its gradients, by user and by item; the edges twice.
        let nodes = size.items.saturating_add(size.graph / 100);
        let rows = size.users.saturating_add(nodes);
        let drawn = size.interactions.saturating_mul(1 + self.negatives as u64);
        (rows.saturating_mul(4 * 10 * self.width() as u64))
            .saturating_add(drawn.saturating_mul(24))
            .saturating_add(size.graph.saturating_mul(2))
            .saturating_add(size.matrix())
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        size.numbers(self.width())
            .saturating_add((size.graph / 100).saturating_mul(4 * self.width() as u64))
            .saturating_add(size.graph)
            .saturating_add(index::bytes_needed(size.items, self.width() as u64))
    }

    fn fit(
        &self,
        dataset: &Dataset,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        let graph = dataset.graph.as_ref().ok_or(Error::Lacks {
            algorithm: "knowledge_graph",
            needs: "triples (the option \"graph\")",
        })?;
        let (data, width) = (&dataset.interactions, self.width());
        let regularization = self.regularization.unwrap_or_else(|| usual_regularization(data));
        let mut digest = data.digest(control)?;
        digest.update(&[graph.nodes() as u64]);
        graph.triples.iter().for_each(|triple| digest.update(triple));
        let key = TrainingKey::new(&format!("knowledge_graph {REVISION} {self:?}"), digest);
        let problem = Problem {
            params: self,
            regularization,
            taken: data.by_user(),
            items: data.items().len(),
            propagation: Propagation::new(graph, self.hops, control)?,
        };
        let [n, nodes] = [data.users().len(), graph.nodes()];
        let mut state = match resume {
            Some(checkpoint) => State::read(&key, checkpoint, self.epochs, [n, nodes], width)?,
            None => State::start(self, [n, nodes], control)?,
        };
        while state.epochs < self.epochs {
            let begun = Instant::now();
            let step = state.epochs + 1;
            let drawn = problem.draw(step, control)?;
            let Gradients { loss, users, nodes } =
                problem.gradients(&state.users.numbers, &state.nodes.numbers, &drawn, control)?;
            if !loss.is_finite() {
                return Err(Error::Diverged { algorithm: "knowledge_graph", step, loss });
            }
            state.users.step(&users, step, self.learning_rate);
            state.nodes.step(&nodes, step, self.learning_rate);
            (state.epochs, state.loss) = (step, loss);
            control.report(Step {
                step,
                of: self.epochs,
                loss,
                validation: None,
                rows: data.len() as u64,
                elapsed: begun.elapsed(),
            });
            control.checkpoint(Moment::EndOfStep, &|| state.checkpoint(&key, width));
        }
        let [inner, mut outer] =
            problem.propagation.forward(&state.nodes.numbers, width, control)?;
        outer.truncate(problem.items * width);
        let users = state.users.numbers;
        if !users.iter().chain(&outer).all(|x| x.is_finite()) {
            let (algorithm, loss) = ("knowledge_graph", f64::INFINITY);
            return Err(Error::Diverged { algorithm, step: self.epochs, loss });
        }
        let metrics = [
            ("loss", state.loss),
            ("regularization", f64::from(regularization)),
            ("triples", graph.triples.len() as f64),
            ("entities", graph.entities.len() as f64),
            ("items_in_graph", graph.linked_items() as f64),
        ];
        let factors = FittedFactors { count: width, users, items: outer };
        let mut numbers = Numbers::factors(factors, metrics, control)?;
        numbers.parts.push(("graph", graph.payload(&inner, width)));
        // Every item that was taken counts as much.
        numbers.weights = Some(vec![1.0; data.len()]);
        Ok(FittedRecommender::new(dataset, numbers))
    }
}

/// What does not change while it is learned.
struct Problem<'a> {
    params: &'a KnowledgeGraphParams,
    regularization: f32,
    taken: &'a Csr,
    items: usize,
    propagation: Propagation,
}

/// The loss and what it changes by with the numbers.
struct Gradients {
    loss: f64,
    users: Vec<f32>,
    nodes: Vec<f32>,
}

impl Problem<'_> {
    /// For each user the items that he took, and as many times `negatives` others, by item; the
    /// value is 1 or 0.
    fn draw(&self, epoch: u32, control: &dyn Control) -> Result<Csr, Cancelled> {
        let users = self.taken.rows();
        let rows: Vec<Vec<Vec<(u32, f32)>>> = (0..users.div_ceil(ROWS))
            .into_par_iter()
            .map(|chunk| {
                control.check()?;
                let row = |user: usize| {
                    let index = u64::from(epoch) << 32 | user as u64;
                    let mut stream = Stream::new(self.params.seed, "knowledge graph", index);
                    let (taken, _) = self.taken.row(user);
                    let mut row: Vec<(u32, f32)> = taken.iter().map(|&item| (item, 1.0)).collect();
                    for _ in 0..taken.len() * self.params.negatives {
                        let item = stream.below(self.items as u32);
                        if taken.binary_search(&item).is_err() {
                            row.push((item, 0.0));
                        }
                    }
                    row.sort_unstable_by_key(|&(item, _)| item);
                    row
                };
                Ok((chunk * ROWS..users.min((chunk + 1) * ROWS)).map(row).collect())
            })
            .collect::<Result<_, Cancelled>>()?;
        let mut drawn = Csr { offsets: vec![0], columns: Vec::new(), values: Vec::new() };
        for row in rows.into_iter().flatten() {
            drawn.columns.extend(row.iter().map(|&(item, _)| item));
            drawn.values.extend(row.iter().map(|&(_, took)| took));
            drawn.offsets.push(drawn.columns.len() as u64);
        }
        Ok(drawn)
    }

    /// Of the cross-entropy of what was drawn, as a mean, and of the squares of all numbers.
    fn gradients(
        &self,
        users: &[f32],
        nodes: &[f32],
        drawn: &Csr,
        control: &dyn Control,
    ) -> Result<Gradients, Cancelled> {
        let width = self.params.width();
        let [_, outer] = self.propagation.forward(nodes, width, control)?;
        let item = |item: u32| &outer[item as usize * width..][..width];
        let mut of_users: Vec<f32> = users.iter().map(|x| self.regularization * x).collect();
        // Per user the loss, and per drawn pair its slope.
        let slopes: Vec<Vec<(f64, Vec<f32>)>> = of_users
            .par_chunks_mut(ROWS * width)
            .enumerate()
            .map(|(chunk, gradients)| {
                control.check()?;
                let rows = gradients.chunks_exact_mut(width).enumerate();
                Ok(rows
                    .map(|(i, gradient)| {
                        let row = chunk * ROWS + i;
                        let user = &users[row * width..][..width];
                        let (items, took) = drawn.row(row);
                        let mut loss = 0f64;
                        let slope = |(&index, &took): (&u32, &f32)| {
                            let score = dot(user, item(index));
                            let slope = sigmoid(score) - took;
                            // -log of the probability of what was seen.
                            let against = f64::from(if took > 0.0 { -score } else { score });
                            loss += against.max(0.0) + libm::log1p(libm::exp(-against.abs()));
                            axpy(slope, item(index), gradient);
                            slope
                        };
                        let slopes = items.iter().zip(took).map(slope).collect();
                        // The factor of the bias is 1.
                        gradient[width - 1] = 0.0;
                        (loss, slopes)
                    })
                    .collect())
            })
            .collect::<Result<_, Cancelled>>()?;
        let mut loss = 0f64;
        let mut by_user = Csr { values: Vec::with_capacity(drawn.columns.len()), ..drawn.clone() };
        by_user.values.clear();
        for (of_user, slopes) in slopes.into_iter().flatten() {
            loss += of_user;
            by_user.values.extend(slopes);
        }
        let by_item = by_user.transpose(self.items, control)?;
        let mut of_items = product(&by_item, users, width, control)?;
        of_items.resize(nodes.len(), 0.0);
        let mut of_nodes = self.propagation.backward(of_items, width, control)?;
        of_nodes.iter_mut().zip(nodes).for_each(|(g, x)| *g += self.regularization * x);
        let loss = loss / drawn.columns.len().max(1) as f64;
        Ok(Gradients { loss, users: of_users, nodes: of_nodes })
    }
}

/// A training on its way.
struct State {
    epochs: u32,
    /// Of the last epoch.
    loss: f64,
    users: Learned,
    nodes: Learned,
}

impl State {
    /// Small random numbers, each row from its own stream; the users' last is 1, and the nodes'
    /// last, the bias, 0.
    fn start(
        params: &KnowledgeGraphParams,
        rows: [usize; 2],
        control: &dyn Control,
    ) -> Result<Self, Cancelled> {
        let width = params.width();
        let random = |purpose: &str, rows: usize, last: f32| {
            let mut numbers = vec![0f32; rows * width];
            numbers.par_chunks_mut(ROWS * width).enumerate().try_for_each(|(chunk, numbers)| {
                control.check()?;
                for (i, row) in numbers.chunks_exact_mut(width).enumerate() {
                    let mut stream = Stream::new(params.seed, purpose, (chunk * ROWS + i) as u64);
                    row.iter_mut().for_each(|x| *x = 0.1 * stream.normal() as f32);
                    row[width - 1] = last;
                }
                Ok(())
            })?;
            Ok(Learned::new(numbers))
        };
        let users = random("knowledge graph users", rows[0], 1.0)?;
        let nodes = random("knowledge graph nodes", rows[1], 0.0)?;
        Ok(Self { epochs: 0, loss: 0.0, users, nodes })
    }

    /// The whole state, or nothing if the memory is not to be had.
    fn checkpoint(&self, key: &TrainingKey, width: usize) -> Option<CheckpointBytes> {
        let position = [u64::from(self.epochs), self.loss.to_bits()];
        let mut writer = key.writer();
        writer.array("position", &[2], &position);
        for (name, learned) in [("users", &self.users), ("nodes", &self.nodes)] {
            let Learned { numbers, mean, square } = learned;
            let parts = [("numbers", numbers), ("mean", mean), ("square", square)];
            for (part, array) in parts {
                writer.array(&format!("{name} {part}"), &[array.len() / width, width], array);
            }
        }
        Some(Box::new(writer.try_finish()?))
    }

    fn read(
        key: &TrainingKey,
        checkpoint: SharedBytes,
        epochs: u32,
        [n, nodes]: [usize; 2],
        width: usize,
    ) -> Result<Self, CheckpointError> {
        let payload = key.read(checkpoint)?;
        let position = payload.get(payload.array_of::<u64>("position", &[2])?);
        let (got, expected) = (position[0], u64::from(epochs));
        if got > expected {
            return Err(CheckpointError::Position { what: "epoch", got, expected });
        }
        let loss = f64::from_bits(position[1]);
        if !loss.is_finite() {
            return Err(CheckpointError::NotFinite("loss"));
        }
        let learned = |name: &str, rows: usize| -> Result<Learned, CheckpointError> {
            let array = |part: &str| -> Result<Vec<f32>, CheckpointError> {
                let array = payload.array_of::<f32>(&format!("{name} {part}"), &[rows, width])?;
                Ok(payload.get(array).to_vec())
            };
            Ok(Learned {
                numbers: array("numbers")?,
                mean: array("mean")?,
                square: array("square")?,
            })
        };
        let (users, nodes) = (learned("users", n)?, learned("nodes", nodes)?);
        Ok(Self { epochs: got as u32, loss, users, nodes })
    }
}

#[cfg(test)]
mod tests {
    use teller_numeric::Uninterrupted;

    use super::*;
    use crate::{DatasetBuilder, GraphBuilder, IdRef, InteractionsBuilder};

    /// The loss that the gradients are of.
    fn loss(problem: &Problem<'_>, users: &[f32], nodes: &[f32], drawn: &Csr) -> f64 {
        let squares = users.iter().chain(nodes).map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        let gradients = problem.gradients(users, nodes, drawn, &Uninterrupted).unwrap();
        let entropy = gradients.loss * drawn.columns.len() as f64;
        entropy + f64::from(problem.regularization) / 2.0 * squares
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut interactions = InteractionsBuilder::new(1 << 20);
        for (user, item) in [(0, 0), (0, 1), (1, 1), (1, 2), (2, 3), (2, 0)] {
            interactions.push(IdRef::Integer(user), IdRef::Integer(item), 1.0).unwrap();
        }
        let mut graph = GraphBuilder::new(1 << 20);
        for (head, relation, tail) in [(0, "a", "x"), (1, "a", "x"), (1, "b", "y"), (2, "b", "x")] {
            graph.push(IdRef::Integer(head), relation, IdRef::Text(tail)).unwrap();
        }
        graph.push(IdRef::Text("y"), "a", IdRef::Text("x")).unwrap();
        graph.push(IdRef::Text("y"), "b", IdRef::Text("x")).unwrap();
        graph.push(IdRef::Integer(3), "c", IdRef::Integer(0)).unwrap();
        let builder = DatasetBuilder { interactions, features: None, graph: Some(graph) };
        let data = builder.finish(&Uninterrupted).unwrap();
        let given = serde_json::json!({"factors": 3, "seed": 3});
        let params =
            KnowledgeGraphParams::read(&mut Options::new("test", &given).unwrap()).unwrap();
        let graph = data.graph.as_ref().unwrap();
        let problem = Problem {
            params: &params,
            regularization: 0.5,
            taken: data.interactions.by_user(),
            items: data.interactions.items().len(),
            propagation: Propagation::new(graph, params.hops, &Uninterrupted).unwrap(),
        };
        let rows = [data.interactions.users().len(), graph.nodes()];
        let state = State::start(&params, rows, &Uninterrupted).unwrap();
        let drawn = problem.draw(1, &Uninterrupted).unwrap();
        let (mut users, mut nodes) = (state.users.numbers, state.nodes.numbers);
        users.iter_mut().chain(&mut nodes).for_each(|x| *x *= 5.0);
        let got = problem.gradients(&users, &nodes, &drawn, &Uninterrupted).unwrap();
        let width = params.width();
        const STEP: f32 = 1e-2;
        let check = |side: usize, at: usize, got: f32| {
            let moved = |by: f32| {
                let (mut users, mut nodes) = (users.clone(), nodes.clone());
                [&mut users, &mut nodes][side][at] += by;
                loss(&problem, &users, &nodes, &drawn)
            };
            let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            assert!((slope - f64::from(got)).abs() < 2e-3, "{side} {at}: {slope} {got}");
        };
        for (at, &gradient) in got.users.iter().enumerate() {
            if at % width == width - 1 {
                assert_eq!(gradient, 0.0, "the factor of the bias stays");
            } else {
                check(0, at, gradient);
            }
        }
        got.nodes.iter().enumerate().for_each(|(at, &gradient)| check(1, at, gradient));
    }
}
