//! Half a sweep of alternating least squares: with one side's factors Y fixed, each row x of the
//! other side minimizes sum of c (p - x'y)^2 + regularization |x|^2, so solves
//! (M + sum of d y y') x = b, where M = Y'Y + regularization, d = c - 1, b = sum of c y and the sums
//! run over the row's own interactions (Hu, Koren and Volinsky 2008, equation 4).
//!
//! Where that is worth while the rows are solved in another basis: with M = U'U, u = U x and
//! w = U'^-1 y the equation is (1 + sum of d w w') u = sum of c w. That spares the product with M in
//! each step of conjugate gradients, and these are nearer to the solution after as many; and
//! rows with few interactions are then solved exactly in the space of those.

mod gathered;
mod rows;

use rayon::prelude::*;
use teller_numeric::kernels::{Aligned, Contraction, Grid, Start};
use teller_numeric::{Cancelled, Control, Isa};

use self::gathered::most_together;
use self::rows::{Problem, Scratch};
use super::als::Solver;
use crate::csr::Csr;
use crate::dense::{cholesky, multiply_into, upper_inverse};

/// Rows that one task solves. Rows do not depend on each other, so this changes no bits of them.
const ROWS: usize = 32;
/// Numbers in the matrices of the rows that are solved before the caller is told: some seconds of
/// work at most, and enough for all threads.
const SQUARES: usize = 1 << 27;

/// What is the same for all rows of both sides.
pub(crate) struct Model {
    /// Factors of a row.
    pub(crate) f: usize,
    pub(crate) regularization: f32,
    pub(crate) alpha: f32,
    pub(crate) solver: Solver,
}

/// What is fixed while one side is solved.
pub(crate) struct Side<'a> {
    /// Rows are those of the solved side, columns those of the fixed one.
    pub(crate) interactions: &'a Csr,
    /// Y, row-major.
    pub(crate) fixed: &'a [f32],
    /// Y'Y.
    pub(crate) gram: &'a [f64],
}

/// Rows of a side that are solved, the first ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Solved {
    pub(crate) rows: usize,
    /// Sum over them of x'(2 b - (M + sum of d y y') x): so much less than the sum of all c is what
    /// they minimize, to some ten-millionths of that sum.
    pub(crate) explained: f64,
}

/// Solves the rows of one side, all but the first ones, into `factors`, which holds the last
/// sweep's, and tells now and then how many are done.
pub(crate) fn solve(
    model: &Model,
    side: &Side<'_>,
    mut solved: Solved,
    factors: &mut [f32],
    told: &dyn Fn(Solved, &[f32]),
    control: &dyn Control,
) -> Result<Solved, Cancelled> {
    let f = model.f;
    let rows = side.interactions.rows();
    if solved.rows >= rows {
        return Ok(solved);
    }
    let mut matrix = side.gram.to_vec();
    matrix.iter_mut().step_by(f + 1).for_each(|x| *x += f64::from(model.regularization));
    let few = few_interactions(model);
    let rows_with_few = (0..rows).filter(|&row| side.interactions.degree(row) <= few).count();
    // What rows gain from the other basis, in rows that it costs; as measured with 64 factors.
    let gain = match model.solver {
        Solver::ConjugateGradient => rows / 2,
        Solver::Cholesky => rows_with_few * 2,
    };
    let basis = if gain > side.fixed.len() / f {
        Some(Basis::new(&matrix, side.fixed, f, control)?)
    } else {
        None
    };
    let matrix: Vec<f32> = matrix.into_iter().map(|x| x as f32).collect();
    let problem = Problem {
        isa: Isa::detect(),
        f,
        alpha: model.alpha,
        solver: model.solver,
        fixed: basis.as_ref().map_or(side.fixed, |basis| &basis.fixed),
        matrix: if basis.is_some() { None } else { Some(&matrix) },
        few,
        control,
    };
    let rows_at_once = (SQUARES / (f * f)).clamp(16 * ROWS, 1024 * ROWS);
    while solved.rows < rows {
        let end = rows.min(solved.rows + rows_at_once);
        let tasks = factors[solved.rows * f..end * f].par_chunks_mut(ROWS * f).enumerate();
        let explained = tasks.map_init(
            || (Scratch::default(), Aligned::default()),
            |(scratch, turned), (task, factors)| {
                control.check()?;
                let first = solved.rows + task * ROWS;
                let Some(basis) = &basis else {
                    return problem.solve(side.interactions, first, factors, scratch);
                };
                let turned = turned.sized(factors.len());
                product(problem.isa, factors, f, &basis.into, turned);
                let explained = problem.solve(side.interactions, first, turned, scratch)?;
                product(problem.isa, turned, f, &basis.back, factors);
                Ok(explained)
            },
        );
        for explained in explained.collect::<Result<Vec<f64>, Cancelled>>()? {
            solved.explained += explained;
        }
        solved.rows = end;
        told(solved, factors);
    }
    Ok(solved)
}

/// Up to how many interactions a row is cheaper to solve in their space.
fn few_interactions(model: &Model) -> usize {
    let few = match model.solver {
        Solver::ConjugateGradient => model.f / 8,
        Solver::Cholesky => model.f / 2,
    };
    few.min(most_together(model.f))
}

/// The basis in which M is the identity.
struct Basis {
    /// The fixed side's rows in it: Y U^-1.
    fixed: Aligned,
    /// Rows times this are rows in the basis: U'.
    into: Vec<f32>,
    /// And those times this are the rows again: U'^-1.
    back: Vec<f32>,
}

impl Basis {
    fn new(
        matrix: &[f64],
        fixed: &[f32],
        f: usize,
        control: &dyn Control,
    ) -> Result<Self, Cancelled> {
        let mut upper = matrix.to_vec();
        cholesky(&mut upper, f);
        for row in 1..f {
            upper[row * f..][..row].fill(0.0);
        }
        let inverse = upper_inverse(&upper, f);
        let mut rows = Aligned::zeroed(fixed.len());
        multiply_into(fixed, f, &inverse, f, &mut rows, control)?;
        Ok(Self { fixed: rows, into: transposed(&upper, f), back: transposed(&inverse, f) })
    }
}

fn transposed(matrix: &[f64], n: usize) -> Vec<f32> {
    (0..n * n).map(|at| matrix[at % n * n + at / n] as f32).collect()
}

/// Rows times an f x f matrix.
fn product(isa: Isa, rows: &[f32], f: usize, matrix: &[f32], out: &mut [f32]) {
    let count = rows.len() / f;
    let contraction = Contraction {
        rows: Grid { outer: 1, inner: count, a_inner: f, c_inner: f, ..Grid::default() },
        columns: f,
        segments: 1,
        steps: f,
        a_step: 1,
        b_step: f,
        ..Contraction::default()
    };
    contraction.run(isa, rows, matrix, Start::Zero, out);
}
