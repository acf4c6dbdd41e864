//! The ways to solve one row.

use teller_numeric::kernels::{Aligned, dots};
use teller_numeric::{Cancelled, Control, Isa};

use super::gathered::{AddRows, Gathered, ask, most_together};
use crate::algorithm::als::{Solver, extra_confidence};
use crate::csr::Csr;
use crate::dense::{add_gram, cholesky, cholesky_solve, vector_matrix};
use crate::fold_in::Row;
use crate::vectors::{axpy, dot};

const CONJUGATE_GRADIENT_STEPS: usize = 3;
/// Up to so many factors the normal equations of many interactions cost less than to gather these
/// for each step.
const FEW_FACTORS: usize = 128;

/// What is the same for all rows of a side.
pub(super) struct Problem<'a> {
    pub(super) isa: Isa,
    pub(super) f: usize,
    pub(super) alpha: f32,
    pub(super) solver: Solver,
    /// The fixed side's rows.
    pub(super) fixed: &'a [f32],
    /// M, unless it is the identity.
    pub(super) matrix: Option<&'a [f32]>,
    /// So many interactions are few, where M is the identity.
    pub(super) few: usize,
    pub(super) control: &'a dyn Control,
}

/// Memory of one worker, reused from row to row.
#[derive(Default)]
pub(super) struct Scratch {
    gathered: Aligned,
    right: Aligned,
    matrix: Aligned,
    a: Aligned,
    b: Aligned,
    c: Aligned,
}

impl Problem<'_> {
    /// Solves the rows from the `first` on into `solved`, which holds the last sweep's, one after
    /// the other; the sum of what they explain, see [`super::Solved`].
    pub(super) fn solve(
        &self,
        interactions: &Csr,
        first: usize,
        solved: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<f64, Cancelled> {
        let mut explained = 0.0;
        for (at, x) in (first..).zip(solved.chunks_exact_mut(self.f)) {
            if at + 1 < interactions.rows() {
                ask(self.fixed, self.f, interactions.row(at + 1).0);
            }
            explained += self.solve_row(interactions.row(at), x, scratch)?;
        }
        Ok(explained)
    }

    fn solve_row(
        &self,
        row: Row<'_>,
        x: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<f64, Cancelled> {
        let Scratch { gathered, right, matrix, a, b, c } = scratch;
        let mut rows = Gathered {
            isa: self.isa,
            f: self.f,
            alpha: self.alpha,
            fixed: self.fixed,
            row,
            control: self.control,
            block: gathered,
            first: None,
        };
        let right = right.sized(self.f);
        right.fill(0.0);
        rows.add_right(right)?;
        if self.matrix.is_none() && row.0.len() <= self.few {
            self.solve_few(rows.together()?, row.1, x, matrix, [a, b]);
        } else {
            let many = self.f <= FEW_FACTORS && row.0.len() > most_together(self.f);
            match self.solver {
                Solver::ConjugateGradient if !many => {
                    return self.conjugate_gradient(&mut rows, right, x, [a, b, c]);
                }
                _ => {
                    x.copy_from_slice(right);
                    self.solve_normal(&mut rows, x, matrix, a)?;
                }
            }
        }
        Ok(f64::from(dot(x, right)))
    }

    /// M times a row.
    fn product(&self, x: &[f32], out: &mut [f32]) {
        match self.matrix {
            Some(matrix) => vector_matrix(self.isa, x, matrix, out),
            None => out.copy_from_slice(x),
        }
    }

    /// Where M is the identity, in the space of the interactions (the matrix inversion lemma): with
    /// W the rows w, D the diagonal of d and S = W W',
    /// u = W' D^1/2 (1 + D^1/2 S D^1/2)^-1 D^-1/2 c.
    fn solve_few(
        &self,
        rows: &[f32],
        weights: &[f32],
        x: &mut [f32],
        matrix: &mut Aligned,
        [roots, t]: [&mut Aligned; 2],
    ) {
        let (f, n) = (self.f, weights.len());
        let (matrix, roots, t) = (matrix.sized(n * n), roots.sized(n), t.sized(n));
        for ((root, t), &weight) in roots.iter_mut().zip(&mut *t).zip(weights) {
            let extra = extra_confidence(self.alpha, weight);
            *root = extra.sqrt();
            *t = (1.0 + extra) / *root;
        }
        for i in 0..n {
            let to = &mut matrix[i * n..][i..n];
            dots(self.isa, &rows[i * f..][..f], &rows[i * f..], to);
            to.iter_mut().zip(&roots[i..]).for_each(|(x, root)| *x *= roots[i] * root);
            to[0] += 1.0;
        }
        cholesky(matrix, n);
        cholesky_solve(matrix, n, t);
        t.iter_mut().zip(&*roots).for_each(|(t, root)| *t *= root);
        x.fill(0.0);
        self.isa.run(AddRows { rows, factors: t, sums: x });
    }

    /// Three steps from `x`; what it explains.
    fn conjugate_gradient(
        &self,
        rows: &mut Gathered<'_, '_>,
        right: &[f32],
        x: &mut [f32],
        [residual, direction, product]: [&mut Aligned; 3],
    ) -> Result<f64, Cancelled> {
        let f = self.f;
        let (residual, direction, product) =
            (residual.sized(f), direction.sized(f), product.sized(f));
        self.product(x, product);
        rows.add_product(x, product)?;
        residual.iter_mut().zip(right).zip(&*product).for_each(|((r, b), ax)| *r = b - ax);
        direction.copy_from_slice(residual);
        let mut square = dot(residual, residual);
        for _ in 0..CONJUGATE_GRADIENT_STEPS {
            if square < 1e-20 {
                break;
            }
            self.product(direction, product);
            rows.add_product(direction, product)?;
            let vectors = (&mut *x, &mut *residual, &mut *direction, &*product);
            square = self.isa.vectorize(step, (vectors, square));
        }
        Ok(f64::from(dot(x, right)) + f64::from(dot(x, residual)))
    }

    /// Solves to the end from the right side in `x`.
    fn solve_normal(
        &self,
        rows: &mut Gathered<'_, '_>,
        x: &mut [f32],
        matrix: &mut Aligned,
        block: &mut Aligned,
    ) -> Result<(), Cancelled> {
        let f = self.f;
        let matrix = matrix.sized(f * f);
        match self.matrix {
            Some(from) => matrix.copy_from_slice(from),
            None => {
                matrix.fill(0.0);
                matrix.iter_mut().step_by(f + 1).for_each(|x| *x = 1.0);
            }
        }
        rows.each(|rows, weights| {
            // Rows times the roots of their weights.
            let block = block.sized(rows.len());
            let pairs = block.chunks_exact_mut(f).zip(rows.chunks_exact(f));
            for ((to, y), &weight) in pairs.zip(weights) {
                let root = extra_confidence(self.alpha, weight).sqrt();
                to.iter_mut().zip(y).for_each(|(to, y)| *to = root * y);
            }
            add_gram(self.isa, block, f, matrix);
        })?;
        self.isa.vectorize(solve_factored, (matrix, f, x));
        Ok(())
    }
}

/// One step of conjugate gradients, given the matrix times the direction: x, residual and direction
/// go on, and the square of the residual is the answer.
#[inline(always)]
#[allow(clippy::type_complexity, reason = "what an instruction set is to run has one argument")]
fn step(
    ((x, residual, direction, product), square): (
        (&mut [f32], &mut [f32], &mut [f32], &[f32]),
        f32,
    ),
) -> f32 {
    let step = square / dot(direction, product);
    axpy(step, direction, x);
    axpy(-step, product, residual);
    let next = dot(residual, residual);
    let ratio = next / square;
    direction.iter_mut().zip(&*residual).for_each(|(p, r)| *p = r + ratio * *p);
    next
}

#[inline(always)]
fn solve_factored((matrix, f, x): (&mut [f32], usize, &mut [f32])) {
    cholesky(matrix, f);
    cholesky_solve(matrix, f, x);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use teller_numeric::Uninterrupted;

    use super::super::{Model, Side, Solved, solve};
    use super::*;
    use crate::dense::gram;

    /// A row of the solved side, and some of the fixed side with their number of factors.
    fn sides(rows: usize) -> impl Strategy<Value = (Csr, Vec<f32>, usize)> {
        let row = prop::collection::btree_map(0..rows as u32, 0.1f32..9.0, 1..rows);
        (row, 1usize..40).prop_flat_map(move |(row, f)| {
            let (columns, values): (Vec<u32>, Vec<f32>) = row.into_iter().unzip();
            let offsets = vec![0, columns.len() as u64];
            let fixed = prop::collection::vec(-1f32..1.0, rows * f);
            (Just(Csr { offsets, columns, values }), fixed, Just(f))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The ways agree, so that what a row gets does not hang on what is fastest.
        #[test]
        fn all_ways_solve_the_same_equations((interactions, fixed, f) in sides(20)) {
            let mut matrix = gram(&fixed, f, &Uninterrupted).unwrap();
            matrix.iter_mut().step_by(f + 1).for_each(|x| *x += 1.0);
            let basis = super::super::Basis::new(&matrix, &fixed, f, &Uninterrupted).unwrap();
            let matrix: Vec<f32> = matrix.into_iter().map(|x| x as f32).collect();
            let solved = |solver, in_basis: bool, few, sweeps| {
                let problem = Problem {
                    isa: Isa::detect(),
                    f,
                    alpha: 2.0,
                    solver,
                    fixed: if in_basis { &basis.fixed } else { &fixed },
                    matrix: (!in_basis).then_some(&matrix),
                    few,
                    control: &Uninterrupted,
                };
                let mut x = vec![0f32; f];
                let mut explained = 0.0;
                for _ in 0..sweeps {
                    let scratch = &mut Scratch::default();
                    explained = problem.solve(&interactions, 0, &mut x, scratch).unwrap();
                }
                if in_basis {
                    let turned = std::mem::replace(&mut x, vec![0f32; f]);
                    super::super::product(problem.isa, &turned, f, &basis.back, &mut x);
                }
                (x, explained)
            };
            let (normal, explained) = solved(Solver::Cholesky, false, 0, 1);
            for (solver, in_basis, few, sweeps, tolerance) in [
                (Solver::Cholesky, true, 0, 1, 1e-4),
                (Solver::Cholesky, true, 20, 1, 1e-4),
                (Solver::ConjugateGradient, false, 0, 200, 5e-3),
                (Solver::ConjugateGradient, true, 0, 200, 5e-3),
            ] {
                let (x, explained_so) = solved(solver, in_basis, few, sweeps);
                for (x, normal) in x.iter().zip(&normal) {
                    prop_assert!((x - normal).abs() < tolerance, "{x} {normal} {in_basis} {few}");
                }
                prop_assert!((explained_so - explained).abs() < 1e-4 * explained.abs().max(1.0));
            }
        }
    }

    /// More interactions than are gathered at once, with factors few enough for normal equations
    /// and too many.
    #[test]
    fn many_interactions_are_solved_like_few() {
        for f in [2, FEW_FACTORS + 2] {
            let rows = most_together(f) + 70;
            let mut stream = teller_numeric::Stream::new(1, "fixed", f as u64);
            let fixed: Vec<f32> = (0..rows * f).map(|_| 2.0 * stream.uniform() - 1.0).collect();
            let gram = gram(&fixed, f, &Uninterrupted).unwrap();
            let columns: Vec<u32> = (0..rows as u32).collect();
            let interactions =
                Csr { offsets: vec![0, rows as u64], columns, values: vec![1.0; rows] };
            let side = Side { interactions: &interactions, fixed: &fixed, gram: &gram };
            let solved = |solver, sweeps| {
                let model = Model { f, regularization: 30.0, alpha: 2.0, solver };
                let mut x = vec![0f32; f];
                for _ in 0..sweeps {
                    let start = Solved::default();
                    solve(&model, &side, start, &mut x, &|_, _| {}, &Uninterrupted).unwrap();
                }
                x
            };
            let (normal, gradients) =
                (solved(Solver::Cholesky, 1), solved(Solver::ConjugateGradient, 30));
            for (normal, gradients) in normal.iter().zip(&gradients) {
                assert!((normal - gradients).abs() < 1e-4, "{normal} {gradients}");
            }
        }
    }
}
