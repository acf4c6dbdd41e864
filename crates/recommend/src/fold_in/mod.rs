//! The factors of somebody whom no training saw, from what he had, with the items' factors fixed:
//! what solving his row alone would give.

mod logistic;

use teller_numeric::{Cancelled, Control, Isa};
use teller_payload::{AlignedBytes, Array, Payload, PayloadError, PayloadWriter, SharedBytes};

use crate::algorithm::als::extra_confidence;
use crate::algorithm::weighting::Weighting;
use crate::dense::{cholesky, cholesky_solve};
use logistic::Logistic;

pub(crate) use logistic::Shape;

/// Products between two questions whether to stop: well under a millisecond.
const POLL: usize = 1 << 20;

/// How factors follow from a history, read in place from a part.
#[derive(Debug)]
pub(crate) struct FoldIn {
    payload: Payload,
    f: usize,
    weighting: Weighting,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    /// Hu, Koren and Volinsky 2008, equation 4: the x that solves (M + sum of d y y') x = sum of
    /// c y, where c = 1 + d is the confidence of an item with the factors y.
    LeastSquares {
        /// M = Y'Y + regularization, f x f.
        matrix: Array<f32>,
        /// A weight that counts for `w` has the confidence `1 + alpha w`.
        alpha: f32,
    },
    /// Cremonesi, Koren and Turrin 2010, equation 5: x = sum of w y, since the items' factors are
    /// orthonormal.
    Projection {
        /// The singular values, divided by the greatest.
        singular: Array<f32>,
    },
    /// A score is the logarithm of the odds that somebody takes an item: see [`Logistic`].
    Logistic { shape: Shape<Array<f32>>, regularization: f32, negatives: f32 },
}

/// What somebody had, and what each of it counts.
pub(crate) type Row<'a> = (&'a [u32], &'a [f32]);

impl FoldIn {
    /// The part for factors of alternating least squares; `gram` is Y'Y of the items' factors.
    pub(crate) fn least_squares(
        gram: &[f64],
        f: usize,
        regularization: f32,
        alpha: f32,
        weighting: Weighting,
    ) -> AlignedBytes {
        let mut matrix = gram.to_vec();
        matrix.iter_mut().step_by(f + 1).for_each(|x| *x += f64::from(regularization));
        let matrix: Vec<f32> = matrix.into_iter().map(|x| x as f32).collect();
        let (code, alpha) = ([weighting.code()], [alpha]);
        let mut writer = PayloadWriter::new();
        writer.array("weighting", &[1], &code);
        writer.array("alpha", &[1], &alpha);
        writer.array("matrix", &[f, f], &matrix);
        writer.finish()
    }

    /// The part for factors of a singular value decomposition.
    pub(crate) fn projection(singular: &[f32], weighting: Weighting) -> AlignedBytes {
        let code = [weighting.code()];
        let mut writer = PayloadWriter::new();
        writer.array("weighting", &[1], &code);
        writer.array("singular", &[singular.len()], singular);
        writer.finish()
    }

    /// The part for factors by which somebody takes an item with the probability sigmoid(score).
    pub(crate) fn logistic(
        shape: Shape<&[f32]>,
        regularization: f32,
        negatives: f32,
    ) -> AlignedBytes {
        let code = [Weighting::Binary.code()];
        let loss = [regularization, negatives];
        let (name, numbers) = match shape {
            Shape::Products(scale) => ("scale", scale),
            Shape::Distances(center) => ("center", center),
        };
        let mut writer = PayloadWriter::new();
        writer.array("weighting", &[1], &code);
        writer.array(name, &[numbers.len()], numbers);
        writer.array("loss", &[2], &loss);
        writer.finish()
    }

    /// For `f` factors.
    pub(crate) fn load(bytes: SharedBytes, f: usize) -> Result<Self, PayloadError> {
        let payload = Payload::parse(bytes)?;
        let weighting = Weighting::stored(&payload)?;
        let has = |array: &str| payload.arrays().any(|(name, ..)| name == array);
        let rule = if has("matrix") {
            Rule::LeastSquares {
                matrix: payload.array_of("matrix", &[f, f])?,
                alpha: payload.get(payload.array_of::<f32>("alpha", &[1])?)[0],
            }
        } else if has("loss") {
            let loss = payload.get(payload.array_of::<f32>("loss", &[2])?);
            let (regularization, negatives) = (loss[0], loss[1]);
            let shape = match has("center") {
                true => Shape::Distances(payload.array_of("center", &[f.saturating_sub(2)])?),
                false => Shape::Products(payload.array_of("scale", &[f.saturating_sub(1)])?),
            };
            Rule::Logistic { shape, regularization, negatives }
        } else {
            Rule::Projection { singular: payload.array_of("singular", &[f])? }
        };
        Ok(Self { payload, f, weighting, rule })
    }

    /// What an amount of an item counts for.
    pub(crate) fn weighting(&self) -> Weighting {
        self.weighting
    }

    /// The metric in which items' factors are compared, where it is not the usual one: what each
    /// factor is multiplied by.
    pub(crate) fn scale(&self) -> Option<&[f32]> {
        match self.rule {
            Rule::LeastSquares { .. } | Rule::Logistic { .. } => None,
            Rule::Projection { singular } => Some(self.payload.get(singular)),
        }
    }

    /// How many of the factors tell how similar items are.
    pub(crate) fn compared(&self) -> usize {
        match self.rule {
            // Not the last two, which only make a distance of a product.
            Rule::Logistic { shape: Shape::Distances(_), .. } => self.f - 2,
            _ => self.f,
        }
    }

    /// The factors of whoever had the items of `row`, all of which are among `items`.
    pub(crate) fn solve(
        &self,
        items: &[f32],
        row: Row<'_>,
        control: &dyn Control,
    ) -> Result<Vec<f32>, Cancelled> {
        if let Rule::Logistic { shape, regularization, negatives } = self.rule {
            let shape = shape.map(|numbers| self.payload.get(numbers));
            return Logistic { shape, regularization, negatives }.solve(items, row.0, control);
        }
        let mut sum = vec![0f64; self.f];
        for ((&item, &weight), polls) in row.0.iter().zip(row.1).zip(self.polls()) {
            if polls {
                control.check()?;
            }
            let amount = self.amount(weight);
            let factors = self.factors(items, item);
            sum.iter_mut().zip(factors).for_each(|(sum, &y)| *sum += amount * f64::from(y));
        }
        if let Some(upper) = self.normal_matrix(items, row, control)? {
            cholesky_solve(&upper, self.f, &mut sum);
        }
        Ok(sum.into_iter().map(|x| x as f32).collect())
    }

    /// What each item of `row` adds to the score of `item` for whoever had them and has the factors
    /// that [`Self::solve`] gives: the score is y' W^-1 sum of c_j y_j, so item j's part is
    /// c_j y' W^-1 y_j (Hu, Koren and Volinsky 2008, section 5).
    pub(crate) fn contributions(
        &self,
        items: &[f32],
        row: Row<'_>,
        item: u32,
        control: &dyn Control,
    ) -> Result<Vec<f32>, Cancelled> {
        let mut toward: Vec<f64> =
            self.factors(items, item).iter().map(|&y| f64::from(y)).collect();
        if let Some(upper) = self.normal_matrix(items, row, control)? {
            cholesky_solve(&upper, self.f, &mut toward);
        }
        let parts = row.0.iter().zip(row.1).zip(self.polls()).map(|((&had, &weight), polls)| {
            if polls {
                control.check()?;
            }
            let products = self.factors(items, had).iter().zip(&toward);
            let product: f64 = products.map(|(&y, toward)| f64::from(y) * toward).sum();
            Ok((self.amount(weight) * product) as f32)
        });
        parts.collect()
    }

    /// What a weight multiplies an item's factors by.
    fn amount(&self, weight: f32) -> f64 {
        match self.rule {
            Rule::LeastSquares { alpha, .. } => 1.0 + f64::from(extra_confidence(alpha, weight)),
            Rule::Projection { .. } | Rule::Logistic { .. } => f64::from(weight),
        }
    }

    /// The Cholesky factor of W = M + sum of d y y', where there is such a matrix.
    fn normal_matrix(
        &self,
        items: &[f32],
        row: Row<'_>,
        control: &dyn Control,
    ) -> Result<Option<Vec<f64>>, Cancelled> {
        let Rule::LeastSquares { matrix, alpha } = self.rule else { return Ok(None) };
        let f = self.f;
        let isa = Isa::detect();
        let mut sum: Vec<f64> = self.payload.get(matrix).iter().map(|&x| f64::from(x)).collect();
        let between_polls = (POLL / (f * f)).max(1);
        for (at, (&item, &weight)) in row.0.iter().zip(row.1).enumerate() {
            if at.is_multiple_of(between_polls) {
                control.check()?;
            }
            let extra = f64::from(extra_confidence(alpha, weight));
            isa.vectorize(add_square, (self.factors(items, item), extra, &mut sum[..]));
        }
        cholesky(&mut sum, f);
        Ok(Some(sum))
    }

    fn factors<'a>(&self, items: &'a [f32], item: u32) -> &'a [f32] {
        let start = item as usize * self.f;
        items.get(start..start + self.f).unwrap_or_default()
    }

    /// At which items to ask whether to stop.
    fn polls(&self) -> impl Iterator<Item = bool> + use<> {
        let between = (POLL / self.f).max(1);
        (0usize..).map(move |at| at.is_multiple_of(between))
    }
}

/// Adds the upper triangle of `extra y y'`.
#[inline(always)]
fn add_square((y, extra, sum): (&[f32], f64, &mut [f64])) {
    for (i, row) in sum.chunks_exact_mut(y.len().max(1)).enumerate() {
        let times = extra * f64::from(y[i]);
        row[i..].iter_mut().zip(&y[i..]).for_each(|(sum, &y)| *sum += times * f64::from(y));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use teller_numeric::Uninterrupted;

    use super::*;
    use crate::Csr;
    use crate::algorithm::als::Solver;
    use crate::algorithm::least_squares::{Model, Side, Solved, solve};
    use crate::dense::gram;

    const ITEMS: u32 = 20;

    /// Items that somebody had, with weights, and the factors of all, and how many.
    fn rows() -> impl Strategy<Value = (Vec<(u32, f32)>, Vec<f32>, usize)> {
        let row = prop::collection::btree_map(0..ITEMS, 0.1f32..9.0, 1..16)
            .prop_map(|row| row.into_iter().collect());
        (row, 1usize..40).prop_flat_map(|(row, f)| {
            let factors = prop::collection::vec(-1f32..1.0, ITEMS as usize * f);
            (Just(row), factors, Just(f))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn equals_the_exact_solver_with_items_fixed((row, items, f) in rows()) {
            let (columns, values): (Vec<u32>, Vec<f32>) = row.into_iter().unzip();
            let gram = gram(&items, f, &Uninterrupted).unwrap();
            let (regularization, alpha) = (0.7, 2.0);
            let model = Model { f, regularization, alpha, solver: Solver::Cholesky };
            let offsets = vec![0, columns.len() as u64];
            let interactions = Csr { offsets, columns, values };
            let side = Side { interactions: &interactions, fixed: &items, gram: &gram };
            let mut solved = vec![0f32; f];
            let start = Solved::default();
            solve(&model, &side, start, &mut solved, &|_, _| {}, &Uninterrupted).unwrap();

            let part = FoldIn::least_squares(&gram, f, regularization, alpha, Weighting::Linear);
            let fold_in = FoldIn::load(Arc::new(part), f).unwrap();
            let row = interactions.row(0);
            let folded = fold_in.solve(&items, row, &Uninterrupted).unwrap();
            for (folded, solved) in folded.iter().zip(&solved) {
                prop_assert!((folded - solved).abs() < 1e-4, "{} {}", folded, solved);
            }
            for item in 0..ITEMS {
                let parts = fold_in.contributions(&items, row, item, &Uninterrupted).unwrap();
                let sum: f64 = parts.iter().map(|&part| f64::from(part)).sum();
                let score = crate::vectors::dot(&folded, &items[item as usize * f..][..f]);
                prop_assert!((sum - f64::from(score)).abs() < 1e-5, "{} {}", sum, score);
            }
        }
    }
}
