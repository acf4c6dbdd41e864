//! Sun et al., "`RotatE`: Knowledge Graph Embedding by Relational Rotation in Complex Space", ICLR
//! 2019, with the square of the distance.

use super::{Role, Serving, Triple, Triples};

/// score = -|h r - t|^2, of pairs of numbers as complex ones; a relation's have the modulus 1. Of an
/// odd number of them the last is not turned.
pub(super) struct RotatE;

type Pair = [f32; 2];

impl Triples for RotatE {
    fn score(&self, triple: Triple<'_>) -> f32 {
        let (pairs, last) = parts(triple);
        let square = |[x, y]: Pair| x * x + y * y;
        -pairs.map(|(h, r, t)| square(missing(h, r, t))).sum::<f32>() - last * last
    }

    fn add_gradient(&self, triple: Triple<'_>, role: Role, slope: f32, gradient: &mut [f32]) {
        let (pairs, last) = parts(triple);
        let (gradients, rest) = gradient.as_chunks_mut::<2>();
        for (g, (h, r, t)) in gradients.iter_mut().zip(pairs) {
            let missing = missing(h, r, t);
            let [x, y] = match role {
                Role::Head => turned(missing, back(r)),
                Role::Relation => turned(missing, back(h)),
                Role::Tail => missing.map(|x| -x),
            };
            g[0] -= 2.0 * slope * x;
            g[1] -= 2.0 * slope * y;
        }
        let of_last = match role {
            Role::Head => -2.0 * slope * last,
            Role::Relation => 0.0,
            Role::Tail => 2.0 * slope * last,
        };
        rest.iter_mut().for_each(|g| *g += of_last);
    }

    fn constrain(&self, relation: &mut [f32]) {
        for pair in relation.as_chunks_mut::<2>().0 {
            let modulus = (pair[0] * pair[0] + pair[1] * pair[1]).sqrt();
            *pair = match modulus > 0.0 {
                true => pair.map(|x| x / modulus),
                false => [1.0, 0.0],
            };
        }
    }

    fn serving(&self, takes: &[f32], users: &[f32], items: &[f32]) -> Serving {
        let rotation = &takes[..takes.len() - 1];
        let center = vec![0.0; rotation.len()];
        Serving::of_distances(center, takes, users, items, |user, gone| {
            gone.copy_from_slice(user);
            let pairs = gone.as_chunks_mut::<2>().0.iter_mut().zip(rotation.as_chunks::<2>().0);
            pairs.for_each(|(gone, &r)| *gone = turned(*gone, r));
        })
    }
}

/// The pairs of a triple, and by how much the number that has no pair misses.
fn parts<'a>(triple: Triple<'a>) -> (impl Iterator<Item = (Pair, Pair, Pair)> + 'a, f32) {
    let (heads, head) = triple.head.as_chunks::<2>();
    let (tails, tail) = triple.tail.as_chunks::<2>();
    let relations = triple.relation.as_chunks::<2>().0;
    let pairs = heads.iter().zip(relations).zip(tails).map(|((&h, &r), &t)| (h, r, t));
    (pairs, head.iter().zip(tail).map(|(h, t)| h - t).sum())
}

/// The product of two complex numbers.
fn turned([a, b]: Pair, [c, d]: Pair) -> Pair {
    [a * c - b * d, a * d + b * c]
}

/// The conjugate.
fn back([x, y]: Pair) -> Pair {
    [x, -y]
}

/// What misses the tail.
fn missing(h: Pair, r: Pair, [x, y]: Pair) -> Pair {
    let [a, b] = turned(h, r);
    [a - x, b - y]
}
