//! Items by who took them and by what a knowledge graph says of them: every user and every node has
//! numbers, and a user takes an item with the probability sigmoid(score). Learned by the
//! cross-entropy of what users took against items that they did not, drawn anew in each epoch.

pub(crate) mod embedding;
mod propagated;
mod propagation;
mod sampling;
mod training;

use teller_numeric::{Control, OptionError, Options};
use teller_payload::{SharedBytes, TrainingKey};

use super::{Algorithm, ItemColumns, Size, Takes};
use crate::fitted::{FittedFactors, Numbers};
use crate::fold_in::{FoldIn, Shape};
use crate::graph::Graph;
use crate::{Dataset, Error, FittedRecommender, Interactions, index};
use embedding::TripleModel;
use embedding::learning::Embedded;
use propagated::Propagated;
use propagation::Propagation;
use training::learn;

/// Grows whenever a training's numbers or the checkpoint's arrays change their meaning.
const REVISION: u32 = 2;
/// Rows that one task works on.
const ROWS: usize = 64;

/// Parameters of recommendations by a knowledge graph.
#[derive(Clone, Debug, PartialEq)]
pub struct KnowledgeGraphParams {
    /// How a node's numbers follow from the graph.
    pub embedding: GraphEmbedding,
    /// Numbers of a user and of a node, besides the bias.
    pub factors: usize,
    /// Passes over the interactions.
    pub epochs: u32,
    /// Size of a step.
    pub learning_rate: f32,
    /// Weight of the squared numbers in the loss.
    pub regularization: f32,
    /// Items that a user did not take, for each that he took; with triples also false ones, for
    /// each that is true.
    pub negatives: usize,
    /// Of the first numbers and of what is drawn.
    pub seed: u64,
}

/// What the numbers of users and nodes are learned to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphEmbedding {
    /// The graph alone says where numbers go: they are propagated along its edges.
    Propagation {
        /// Edges from an item to what it learns from.
        hops: u32,
    },
    /// Which triples are true, with "a user takes an item" as one more relation.
    Triples(TripleModel),
}

impl KnowledgeGraphParams {
    /// Reads `embedding`, `factors`, `epochs`, `learning_rate`, `regularization`, `negatives`,
    /// `seed`, and for propagation also `hops`.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let triples = [
            ("transe", Some(TripleModel::TransE)),
            ("distmult", Some(TripleModel::DistMult)),
            ("rotate", Some(TripleModel::RotatE)),
            ("propagation", None),
        ];
        let embedding = match options.choice("embedding", &triples)? {
            Some(model) => GraphEmbedding::Triples(model),
            None => GraphEmbedding::Propagation { hops: options.integer("hops", 2, 1..=4)? as u32 },
        };
        // What did best on pairs of Last.FM that were kept apart.
        let (factors, regularization) = match embedding {
            GraphEmbedding::Propagation { .. } => (16, 1.0),
            GraphEmbedding::Triples(TripleModel::TransE) => (64, 0.5),
            GraphEmbedding::Triples(TripleModel::DistMult) => (64, 5.0),
            GraphEmbedding::Triples(TripleModel::RotatE) => (64, 1.0),
        };
        Ok(Self {
            embedding,
            factors: options.integer("factors", factors, 1..=1024)? as usize,
            epochs: options.integer("epochs", 200, 1..=10_000)? as u32,
            learning_rate: options.number("learning_rate", 0.02, 1e-6..=1.0)? as f32,
            regularization: options.number("regularization", regularization, 0.0..=1e6)? as f32,
            negatives: options.integer("negatives", 1, 1..=100)? as usize,
            seed: options.integer("seed", 42, 0..=i64::MAX)? as u64,
        })
    }

    /// With the bias.
    fn width(&self) -> usize {
        self.factors + 1
    }
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
        // Numbers, both means, and either gradients and propagated numbers or a checkpoint.
        let rows = size.users.saturating_add(size.items).saturating_add(size.entities);
        let numbers = rows.saturating_mul(4 * 9 * self.width() as u64);
        // What is drawn with its slopes, by user and by item, and the edges both ways; or all of it
        // as triples, by what is in them.
        let shown = 1 + self.negatives as u64;
        let (of_pair, of_triple) = match self.embedding {
            GraphEmbedding::Propagation { .. } => (30 * shown, 64),
            GraphEmbedding::Triples(_) => (48 * shown, 48 * shown),
        };
        numbers
            .saturating_add(size.interactions.saturating_mul(of_pair))
            .saturating_add(size.triples.saturating_mul(of_triple))
            .saturating_add(size.matrix())
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        // Distances have a factor more.
        let width = self.width() + 1;
        let nodes = size.items.saturating_add(size.entities);
        size.numbers(width)
            .saturating_add(nodes.saturating_mul(4 * width as u64))
            .saturating_add(size.graph)
            .saturating_add(index::bytes_needed(size.items, width as u64))
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
        let data = &dataset.interactions;
        let mut digest = data.digest(control)?;
        digest.update(&[graph.nodes() as u64]);
        graph.triples.iter().for_each(|triple| digest.update(triple));
        let key = TrainingKey::new(&format!("knowledge_graph {REVISION} {self:?}"), digest);
        let (fitted, loss) = match self.embedding {
            GraphEmbedding::Propagation { hops } => {
                self.propagate(hops, data, graph, &key, resume, control)?
            }
            GraphEmbedding::Triples(model) => {
                self.embed(model, data, graph, &key, resume, control)?
            }
        };
        let Fitted { factors, graph: part, fold_in } = fitted;
        if !factors.users.iter().chain(&factors.items).all(|x| x.is_finite()) {
            let (algorithm, loss) = ("knowledge_graph", f64::INFINITY);
            return Err(Error::Diverged { algorithm, step: self.epochs, loss });
        }
        let metrics = [
            ("loss", loss),
            ("triples", graph.triples.len() as f64),
            ("entities", graph.entities.len() as f64),
            ("items_in_graph", graph.linked_items() as f64),
        ];
        let mut numbers = Numbers::factors(factors, metrics, control)?;
        numbers.parts.extend([("graph", part), ("fold_in", fold_in)]);
        Ok(FittedRecommender::new(dataset, numbers))
    }
}

/// Factors, and the parts that explain them and find those of others.
struct Fitted {
    factors: FittedFactors,
    graph: teller_payload::AlignedBytes,
    fold_in: teller_payload::AlignedBytes,
}

impl KnowledgeGraphParams {
    fn propagate(
        &self,
        hops: u32,
        data: &Interactions,
        graph: &Graph,
        key: &TrainingKey,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<(Fitted, f64), Error> {
        let width = self.width();
        let problem = Propagated {
            params: self,
            taken: data.by_user(),
            items: data.items().len(),
            nodes: graph.nodes(),
            propagation: Propagation::new(graph, hops, control)?,
        };
        let (mut learned, loss) = learn(self, &problem, key, data.len() as u64, resume, control)?;
        let (nodes, users) = (learned.pop(), learned.pop());
        let (nodes, users) = (nodes.unwrap_or_default(), users.unwrap_or_default());
        let [inner, mut items] = problem.propagation.forward(&nodes, width, control)?;
        items.truncate(problem.items * width);
        let factors = FittedFactors { count: width, users, items };
        let scale = vec![1.0; self.factors];
        let scale = Shape::Products(&scale[..]);
        let fold_in = FoldIn::logistic(scale, self.regularization, self.negatives as f32);
        Ok((Fitted { factors, graph: graph.payload(&inner, width, None), fold_in }, loss))
    }

    fn embed(
        &self,
        model: TripleModel,
        data: &Interactions,
        graph: &Graph,
        key: &TrainingKey,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<(Fitted, f64), Error> {
        let width = self.width();
        let problem = Embedded {
            params: self,
            model: model.triples(),
            taken: data.by_user(),
            items: data.items().len(),
            nodes: graph.nodes(),
            graph,
        };
        let (mut learned, loss) = learn(self, &problem, key, data.len() as u64, resume, control)?;
        let (relations, rows) = (learned.pop(), learned.pop());
        let (relations, rows) = (relations.unwrap_or_default(), rows.unwrap_or_default());
        let takes = relations.chunks_exact(width).next_back().unwrap_or_default();
        let (users, nodes) = rows.split_at(data.users().len() * width);
        let items = &nodes[..data.items().len() * width];
        let serving = model.triples().serving(takes, users, items);
        let shape = match &serving.shape {
            Shape::Products(scale) => Shape::Products(&scale[..]),
            Shape::Distances(center) => Shape::Distances(&center[..]),
        };
        let fold_in = FoldIn::logistic(shape, self.regularization, self.negatives as f32);
        let graph = graph.payload(nodes, width, Some((model, &relations)));
        Ok((Fitted { factors: serving.factors, graph, fold_in }, loss))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use teller_numeric::Uninterrupted;

    use super::training::Problem;
    use super::*;
    use crate::{DatasetBuilder, GraphBuilder, IdRef, InteractionsBuilder};

    fn params(given: serde_json::Value) -> KnowledgeGraphParams {
        KnowledgeGraphParams::read(&mut Options::new("test", &given).unwrap()).unwrap()
    }

    fn data() -> Dataset {
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
        builder.finish(&Uninterrupted).unwrap()
    }

    const REGULARIZATION: f32 = 0.5;

    /// Of the cross-entropy and of the squares of the numbers of users and nodes.
    fn check_gradients(problem: &dyn Problem, width: usize) {
        const STEP: f32 = 1e-2;
        let mut numbers = problem.start(&Uninterrupted).unwrap();
        numbers.iter_mut().flatten().for_each(|x| *x *= 5.0);
        let gradients = |numbers: &[Vec<f32>]| {
            let numbers: Vec<&[f32]> = numbers.iter().map(|numbers| &numbers[..]).collect();
            problem.gradients(1, &numbers, &Uninterrupted).unwrap()
        };
        let names: Vec<&str> = problem.matrices().into_iter().map(|(name, _)| name).collect();
        let loss = |numbers: &[Vec<f32>]| {
            let nodes = numbers.iter().zip(&names).filter(|(_, name)| **name != "relations");
            let squares = nodes.flat_map(|(numbers, _)| numbers);
            let squares: f64 = squares.map(|&x| f64::from(x) * f64::from(x)).sum();
            gradients(numbers).loss + f64::from(REGULARIZATION) / 2.0 * squares
        };
        for (matrix, got) in gradients(&numbers).by.iter().enumerate() {
            for (at, &got) in got.iter().enumerate() {
                if names[matrix] == "users" && at % width == width - 1 {
                    assert_eq!(got, 0.0, "the factor of the bias stays");
                    continue;
                }
                let moved = |by: f32| {
                    let mut numbers = numbers.clone();
                    numbers[matrix][at] += by;
                    loss(&numbers)
                };
                let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                let off = (slope - f64::from(got)).abs();
                assert!(off < 2e-3 * (1.0 + slope.abs()), "{matrix} {at}: {slope} {got}");
            }
        }
    }

    #[test]
    fn gradients_of_propagation_are_those_of_finite_differences() {
        let (data, params) =
            (data(), params(json!({"factors": 3, "regularization": REGULARIZATION})));
        let graph = data.graph.as_ref().unwrap();
        let problem = Propagated {
            params: &params,
            taken: data.interactions.by_user(),
            items: data.interactions.items().len(),
            nodes: graph.nodes(),
            propagation: Propagation::new(graph, 2, &Uninterrupted).unwrap(),
        };
        check_gradients(&problem, params.width());
    }

    #[test]
    fn gradients_of_triples_are_those_of_finite_differences() {
        let data = data();
        let graph = data.graph.as_ref().unwrap();
        for (model, factors) in
            [(TripleModel::TransE, 3), (TripleModel::DistMult, 3), (TripleModel::RotatE, 4)]
        {
            let params = params(json!({"factors": factors, "negatives": 3,
                                       "regularization": REGULARIZATION}));
            let problem = Embedded {
                params: &params,
                model: model.triples(),
                taken: data.interactions.by_user(),
                items: data.interactions.items().len(),
                nodes: graph.nodes(),
                graph,
            };
            check_gradients(&problem, params.width());
        }
    }
}
