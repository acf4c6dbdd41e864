//! Numbers by which triples of a head, a relation and a tail are told from false ones. That a user
//! takes an item is a triple of one more relation, so users, items and entities are learned together
//! (as by Ai et al., "Learning Heterogeneous Knowledge Base Embeddings for Explainable
//! Recommendation", 2018, with `TransE`). Every row has a bias at its end; a triple is true with the
//! probability sigmoid(score of its numbers + bias of the relation + bias of the tail).

mod dist_mult;
pub(super) mod learning;
mod rotat_e;
mod trans_e;
mod triples;

use crate::fitted::FittedFactors;
use crate::fold_in::Shape;
use crate::vectors::dot;

/// How the numbers of a triple are told to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TripleModel {
    /// A relation is a way from its heads to its tails.
    TransE,
    /// A relation is a weight of each number.
    DistMult,
    /// A relation is a rotation of each pair of numbers.
    RotatE,
}

impl TripleModel {
    const ALL: [Self; 3] = [Self::TransE, Self::DistMult, Self::RotatE];

    pub(crate) fn triples(self) -> &'static dyn Triples {
        match self {
            Self::TransE => &trans_e::TransE,
            Self::DistMult => &dist_mult::DistMult,
            Self::RotatE => &rotat_e::RotatE,
        }
    }

    /// As a payload holds it.
    pub(crate) fn code(self) -> u32 {
        self as u32
    }

    /// What a payload's code says.
    pub(crate) fn of_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.code() == code)
    }
}

/// The numbers of a head, a relation and a tail, equally many of each, without biases.
#[derive(Clone, Copy)]
pub(crate) struct Triple<'a> {
    pub(crate) head: &'a [f32],
    pub(crate) relation: &'a [f32],
    pub(crate) tail: &'a [f32],
}

/// A part of a triple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Head,
    Relation,
    Tail,
}

/// A score of triples, greater for those that fit better.
pub(crate) trait Triples: Sync {
    /// The score, without biases.
    fn score(&self, triple: Triple<'_>) -> f32;

    /// Adds `slope` times the gradient of the score by the numbers of one part to `gradient`.
    fn add_gradient(&self, triple: Triple<'_>, role: Role, slope: f32, gradient: &mut [f32]);

    /// Makes small random numbers those that a relation begins with.
    fn begin(&self, relation: &mut [f32]) {
        self.constrain(relation);
    }

    /// Brings the numbers of a relation back to where they may be.
    fn constrain(&self, _relation: &mut [f32]) {}

    /// Factors whose dot products are the scores of the triples "user takes item", from rows with
    /// biases.
    fn serving(&self, takes: &[f32], users: &[f32], items: &[f32]) -> Serving;
}

/// Factors of users and items, and what those of others follow from.
pub(crate) struct Serving {
    pub(crate) factors: FittedFactors,
    /// As [`crate::fold_in::FoldIn::logistic`] takes it.
    pub(crate) shape: Shape<Vec<f32>>,
}

impl Serving {
    /// Of scores that are products of the items' numbers with the users', weighed by `weights`.
    fn of_products(weights: &[f32], takes: &[f32], users: &[f32], items: &[f32]) -> Self {
        let width = takes.len();
        let bias = takes[width - 1];
        let users = users
            .chunks_exact(width)
            .flat_map(|user| user.iter().zip(weights).map(|(x, weight)| x * weight).chain([1.0]));
        let items = items.chunks_exact(width).flat_map(|item| {
            let numbers = item[..width - 1].iter().copied();
            numbers.chain([item[width - 1] + bias])
        });
        let factors =
            FittedFactors { count: width, users: users.collect(), items: items.collect() };
        Self { factors, shape: Shape::Products(weights.to_vec()) }
    }

    /// Of scores that are squares of distances, negative, between the items' numbers and those of
    /// users after `go` took them through the relation: |v - t|^2 = |v|^2 + |t|^2 - 2 v t.
    fn of_distances(
        center: Vec<f32>,
        takes: &[f32],
        users: &[f32],
        items: &[f32],
        go: impl Fn(&[f32], &mut [f32]),
    ) -> Self {
        let width = takes.len();
        let (d, bias) = (width - 1, takes[width - 1]);
        let mut gone = vec![0f32; d];
        let users = users.chunks_exact(width).flat_map(|user| {
            go(&user[..d], &mut gone);
            distance_factors(&gone)
        });
        let users = users.collect();
        let items = items.chunks_exact(width).flat_map(|item| {
            let numbers = &item[..d];
            let last = [item[d] + bias - dot(numbers, numbers), 1.0];
            numbers.iter().copied().chain(last)
        });
        let factors = FittedFactors { count: width + 1, users, items: items.collect() };
        Self { factors, shape: Shape::Distances(center) }
    }
}

/// The factors of somebody at `place`, which meet those of items `[t, bias - |t|^2, 1]`.
fn distance_factors(place: &[f32]) -> Vec<f32> {
    let double = place.iter().map(|x| 2.0 * x);
    double.chain([1.0, -dot(place, place)]).collect()
}
