//! Bordes et al., "Translating Embeddings for Modeling Multi-relational Data", NIPS 2013, with the
//! square of the distance.

use super::{Role, Serving, Triple, Triples};

/// score = -|h + r - t|^2.
pub(super) struct TransE;

impl Triples for TransE {
    fn score(&self, triple: Triple<'_>) -> f32 {
        -missing(triple).map(|missing| missing * missing).sum::<f32>()
    }

    fn add_gradient(&self, triple: Triple<'_>, role: Role, slope: f32, gradient: &mut [f32]) {
        let by = match role {
            Role::Head | Role::Relation => -2.0 * slope,
            Role::Tail => 2.0 * slope,
        };
        gradient.iter_mut().zip(missing(triple)).for_each(|(g, missing)| *g += by * missing);
    }

    fn serving(&self, takes: &[f32], users: &[f32], items: &[f32]) -> Serving {
        let way = &takes[..takes.len() - 1];
        Serving::of_distances(way.to_vec(), takes, users, items, |user, gone| {
            gone.iter_mut().zip(user).zip(way).for_each(|((gone, x), way)| *gone = x + way);
        })
    }
}

/// What misses the tail.
fn missing(triple: Triple<'_>) -> impl Iterator<Item = f32> {
    let Triple { head, relation, tail } = triple;
    head.iter().zip(relation).zip(tail).map(|((h, r), t)| h + r - t)
}
