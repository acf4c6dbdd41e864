//! Yang et al., "Embedding Entities and Relations for Learning and Inference in Knowledge Bases",
//! ICLR 2015.

use super::{Role, Serving, Triple, Triples};

/// score = sum of h r t.
pub(super) struct DistMult;

impl Triples for DistMult {
    fn score(&self, Triple { head, relation, tail }: Triple<'_>) -> f32 {
        head.iter().zip(relation).zip(tail).map(|((h, r), t)| h * r * t).sum()
    }

    fn add_gradient(&self, triple: Triple<'_>, role: Role, slope: f32, gradient: &mut [f32]) {
        let Triple { head, relation, tail } = triple;
        let (a, b) = match role {
            Role::Head => (relation, tail),
            Role::Relation => (head, tail),
            Role::Tail => (head, relation),
        };
        gradient.iter_mut().zip(a).zip(b).for_each(|((g, a), b)| *g += slope * a * b);
    }

    /// Around 1, where a score is the product of head and tail.
    fn begin(&self, relation: &mut [f32]) {
        relation.iter_mut().for_each(|x| *x += 1.0);
    }

    fn serving(&self, takes: &[f32], users: &[f32], items: &[f32]) -> Serving {
        Serving::of_products(&takes[..takes.len() - 1], takes, users, items)
    }
}
