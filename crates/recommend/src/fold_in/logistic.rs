//! The numbers of a user who takes an item with the probability sigmoid(score): those that make
//! likely what he took, and that he left the others, by Newton's method. It is the user's part of
//! the loss that the items' numbers were learned by, with its mean over the items that training
//! draws against those taken.

use teller_numeric::{Cancelled, Control, Isa, Stream};

use super::{POLL, add_square};
use crate::dense::{cholesky, cholesky_solve};

/// Items that stand for all that were not taken.
const SAMPLE: usize = 1024;
/// Newton's steps; a handful is enough.
const STEPS: usize = 30;
/// What a step must promise to be taken, of the loss.
const TOLERANCE: f64 = 1e-9;
/// Weight of the squares where there is none: users who took all or nothing of a kind are far out.
const LEAST_REGULARIZATION: f32 = 1e-3;

/// How a user's numbers x meet the factors of an item. Of one that has the numbers t and the bias b:
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape<T> {
    /// [t, b] is multiplied with [scale x, 1].
    Products(T),
    /// [t, b - |t|^2, 1] is multiplied with [2 x, 1, -|x|^2], which gives b - |x - t|^2; x is drawn
    /// to this center.
    Distances(T),
}

impl<T> Shape<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Shape<U> {
        match self {
            Self::Products(scale) => Shape::Products(change(scale)),
            Self::Distances(center) => Shape::Distances(change(center)),
        }
    }
}

impl Shape<&[f32]> {
    /// Numbers of a user.
    fn len(self) -> usize {
        match self {
            Self::Products(numbers) | Self::Distances(numbers) => numbers.len(),
        }
    }

    /// Factors of an item.
    fn width(self) -> usize {
        match self {
            Self::Products(scale) => scale.len() + 1,
            Self::Distances(center) => center.len() + 2,
        }
    }

    fn factors(self, user: &[f64]) -> Vec<f32> {
        match self {
            Self::Products(scale) => {
                let scaled =
                    user.iter().zip(scale).map(|(x, &scale)| (x * f64::from(scale)) as f32);
                scaled.chain([1.0]).collect()
            }
            Self::Distances(_) => {
                let square: f64 = user.iter().map(|x| x * x).sum();
                let double = user.iter().map(|x| (2.0 * x) as f32);
                double.chain([1.0, -square as f32]).collect()
            }
        }
    }

    /// The score of an item for a user, and its slope along his numbers.
    fn score(self, user: &[f64], item: &[f32], along: &mut [f32]) -> f64 {
        let dot =
            |along: &[f32]| -> f64 { user.iter().zip(along).map(|(x, &y)| x * f64::from(y)).sum() };
        let last = f64::from(item[user.len()]);
        match self {
            Self::Products(scale) => {
                for ((along, x), scale) in along.iter_mut().zip(item).zip(scale) {
                    *along = x * scale;
                }
                dot(along) + last
            }
            Self::Distances(_) => {
                let square: f64 = user.iter().map(|x| x * x).sum();
                let score = 2.0 * dot(&item[..user.len()]) + last - square;
                for ((along, &t), x) in along.iter_mut().zip(item).zip(user) {
                    *along = (2.0 * (f64::from(t) - x)) as f32;
                }
                score
            }
        }
    }
}

/// What is minimized.
pub(super) struct Logistic<'a> {
    pub(super) shape: Shape<&'a [f32]>,
    pub(super) regularization: f32,
    /// Items drawn for each that was taken.
    pub(super) negatives: f32,
}

/// An item with the numbers that it has for the user, whether he took it, and how much it counts.
struct Example<'a> {
    item: &'a [f32],
    took: bool,
    weight: f64,
}

/// The loss at some numbers, with its first and second derivatives.
struct Point {
    loss: f64,
    slopes: Vec<f64>,
    curvature: Vec<f64>,
}

impl Logistic<'_> {
    /// The user's factors.
    pub(super) fn solve(
        &self,
        items: &[f32],
        taken: &[u32],
        control: &dyn Control,
    ) -> Result<Vec<f32>, Cancelled> {
        let d = self.shape.len();
        let examples = self.examples(items, taken);
        let mut user = self.first(&examples);
        let mut point = self.point(&user, &examples, control)?;
        for _ in 0..STEPS {
            let mut step = point.slopes.clone();
            cholesky(&mut point.curvature, d);
            cholesky_solve(&point.curvature, d, &mut step);
            let promised: f64 = step.iter().zip(&point.slopes).map(|(a, b)| a * b).sum();
            // Also where numbers are not finite.
            if promised.partial_cmp(&(TOLERANCE * point.loss)).is_none_or(|order| order.is_le()) {
                break;
            }
            let along = |size: f64| -> Vec<f64> {
                user.iter().zip(&step).map(|(x, step)| x - size * step).collect()
            };
            let mut size = 1.0;
            let mut next = along(size);
            let mut reached = self.point(&next, &examples, control)?;
            while reached.loss > point.loss && size > 1e-3 {
                size /= 2.0;
                next = along(size);
                reached = self.point(&next, &examples, control)?;
            }
            if reached.loss > point.loss {
                break;
            }
            (user, point) = (next, reached);
        }
        Ok(self.shape.factors(&user))
    }

    /// Where to begin: amid what was taken, since farther away the loss of distances has valleys of
    /// its own; that of products has but one.
    fn first(&self, examples: &[Example<'_>]) -> Vec<f64> {
        let mut user = vec![0f64; self.shape.len()];
        if let Shape::Distances(_) = self.shape {
            let taken = examples.iter().filter(|example| example.took);
            let count = taken.clone().count().max(1) as f64;
            for example in taken {
                user.iter_mut().zip(example.item).for_each(|(x, &t)| *x += f64::from(t) / count);
            }
        }
        user
    }

    /// What was taken, and what stands for the rest.
    fn examples<'a>(&self, items: &'a [f32], taken: &[u32]) -> Vec<Example<'a>> {
        let width = self.shape.width();
        let row = |item: u32| items.get(item as usize * width..).and_then(|row| row.get(..width));
        let count = items.len() / width;
        let mut others: Vec<u32> = match count {
            0..=SAMPLE => (0..count as u32).collect(),
            _ => {
                let mut stream = Stream::new(0, "items not taken", 0);
                (0..SAMPLE).map(|_| stream.below(count as u32)).collect()
            }
        };
        let weight = f64::from(self.negatives) * taken.len() as f64 / others.len().max(1) as f64;
        others.retain(|item| taken.binary_search(item).is_err());
        let taken = taken.iter().map(|&item| (item, true, 1.0));
        let others = others.into_iter().map(|item| (item, false, weight));
        let all = taken.chain(others);
        all.filter_map(|(item, took, weight)| Some(Example { item: row(item)?, took, weight }))
            .collect()
    }

    fn point(
        &self,
        user: &[f64],
        examples: &[Example<'_>],
        control: &dyn Control,
    ) -> Result<Point, Cancelled> {
        let d = user.len();
        let isa = Isa::detect();
        let regularization = f64::from(self.regularization.max(LEAST_REGULARIZATION));
        let center = match self.shape {
            Shape::Products(_) => &[],
            Shape::Distances(center) => center,
        };
        let center = center.iter().copied().chain(std::iter::repeat(0.0));
        let off: Vec<f64> = user.iter().zip(center).map(|(x, c)| x - f64::from(c)).collect();
        let mut loss = regularization / 2.0 * off.iter().map(|x| x * x).sum::<f64>();
        let mut slopes: Vec<f64> = off.iter().map(|x| regularization * x).collect();
        let mut curvature = vec![0f64; d * d];
        curvature.iter_mut().step_by(d + 1).for_each(|x| *x = regularization);
        let mut along = vec![0f32; d];
        let between_polls = (POLL / (d * d).max(1)).max(1);
        for (at, Example { item, took, weight }) in examples.iter().enumerate() {
            if at.is_multiple_of(between_polls) {
                control.check()?;
            }
            let score = self.shape.score(user, item, &mut along);
            let chance = 1.0 / (1.0 + libm::exp(-score));
            let against = if *took { -score } else { score };
            loss += weight * (against.max(0.0) + libm::log1p(libm::exp(-against.abs())));
            let slope = weight * (chance - f64::from(u8::from(*took)));
            slopes.iter_mut().zip(&along).for_each(|(sum, &y)| *sum += slope * f64::from(y));
            let bend = weight * chance * (1.0 - chance);
            isa.vectorize(add_square, (&along[..], bend, &mut curvature[..]));
            // A distance's own bend, where it leaves the loss convex.
            if let Shape::Distances(_) = self.shape
                && slope < 0.0
            {
                curvature.iter_mut().step_by(d + 1).for_each(|x| *x -= 2.0 * slope);
            }
        }
        Ok(Point { loss, slopes, curvature })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use teller_numeric::Uninterrupted;

    use super::*;

    /// The loss the long way, by a user's numbers.
    fn loss(logistic: &Logistic<'_>, items: &[f32], taken: &[u32], user: &[f64]) -> f64 {
        let width = logistic.shape.width();
        let count = items.len() / width;
        let weight = f64::from(logistic.negatives) * taken.len() as f64 / count as f64;
        let factors = logistic.shape.factors(user);
        let of_item = |(item, numbers): (u32, &[f32])| {
            let products = factors.iter().zip(numbers).map(|(&x, &y)| f64::from(x) * f64::from(y));
            let score: f64 = products.sum();
            match taken.contains(&item) {
                true => (1.0 + (-score).exp()).ln(),
                false => weight * (1.0 + score.exp()).ln(),
            }
        };
        let center = |at: usize| match logistic.shape {
            Shape::Products(_) => 0.0,
            Shape::Distances(center) => f64::from(center[at]),
        };
        let squares = user.iter().enumerate().map(|(at, x)| (x - center(at)) * (x - center(at)));
        let squares = f64::from(logistic.regularization) / 2.0 * squares.sum::<f64>();
        squares + (0..).zip(items.chunks_exact(width)).map(of_item).sum::<f64>()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_numbers_nearby_are_likelier(
            (given, items) in (1usize..8).prop_flat_map(|d| (
                prop::collection::vec(0.2f32..2.0, d),
                prop::collection::vec(-2f32..2.0, 20 * (d + 2)),
            )),
            taken in prop::collection::btree_set(0u32..20, 1..20),
            regularization in 0.05f32..5.0,
            negatives in 1f32..4.0,
            by_distance: bool,
        ) {
            let taken: Vec<u32> = taken.into_iter().collect();
            let d = given.len();
            let (shape, items) = match by_distance {
                true => {
                    let mut items = items;
                    for item in items.chunks_exact_mut(d + 2) {
                        item[d] -= item[..d].iter().map(|t| t * t).sum::<f32>();
                        item[d + 1] = 1.0;
                    }
                    (Shape::Distances(&given[..]), items)
                }
                false => (Shape::Products(&given[..]), items[..20 * (d + 1)].to_vec()),
            };
            let logistic = Logistic { shape, regularization, negatives };
            let solved = logistic.solve(&items, &taken, &Uninterrupted).unwrap();
            let user: Vec<f64> = match by_distance {
                true => solved[..d].iter().map(|&x| f64::from(x) / 2.0).collect(),
                false => solved.iter().zip(&given).map(|(&x, &s)| f64::from(x / s)).collect(),
            };
            let least = loss(&logistic, &items, &taken, &user);
            for at in 0..d {
                for by in [-1e-2, 1e-2] {
                    let mut other = user.clone();
                    other[at] += by;
                    let other = loss(&logistic, &items, &taken, &other);
                    prop_assert!(least < other + 1e-5 * other, "{} {}", least, other);
                }
            }
        }
    }
}
