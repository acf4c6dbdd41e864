//! Half a sweep of alternating least squares: with one side's factors Y fixed, each row x of the
//! other side minimizes sum of c (p - x'y)^2 + regularization |x|^2, so solves
//! (M + sum of d y y') x = sum of c y, where M = Y'Y + regularization, d = c - 1 and the sums run
//! over the row's own interactions (Hu, Koren and Volinsky 2008, equation 4).
//!
//! Rows with few interactions are solved exactly in the space of those (the matrix inversion
//! lemma): with U the rows y, D the diagonal of d, Z = U M^-1 and S = Z U',
//! x = Z' D^1/2 (1 + D^1/2 S D^1/2)^-1 D^-1/2 c. For 4 interactions and 64 factors that is a tenth
//! of the work of three conjugate-gradient steps.

use rayon::prelude::*;
use teller_numeric::kernels::{Work, dots, dots_at, prefetch};
use teller_numeric::{Cancelled, Control, Isa};

use super::als::{Solver, extra_confidence};
use crate::csr::Csr;
use crate::dense::{add_gram, cholesky, cholesky_inverse, cholesky_solve, multiply, vector_matrix};
use crate::vectors::{axpy, dot};

const CONJUGATE_GRADIENT_STEPS: usize = 3;
/// Rows that one task solves. Rows do not depend on each other, so this changes no bits.
const ROWS: usize = 32;
/// Numbers in the matrices of the rows that are solved before the caller is told: some seconds of
/// work at most, and enough for all threads.
const SQUARES: usize = 1 << 27;
/// Interactions of one row that are gathered before they are added to its matrix.
const BLOCK: usize = 64;
/// Numbers that a row's interactions may be copied together into: half a second-level cache.
const GATHERED: usize = 1 << 17;
/// Interactions of one row that are added at once, and columns of them.
const CHOSEN: usize = 64;
const WIDE: usize = 64;
/// Rows that are asked for while the row before is solved: what the nearest caches hold.
const PREFETCHED: usize = 128;
const AHEAD: usize = 12;
/// Interactions of one row between two questions whether to stop.
const POLL: usize = 1 << 13;

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

struct Problem<'a> {
    isa: Isa,
    f: usize,
    alpha: f32,
    fixed: &'a [f32],
    /// M in single precision.
    regularized: &'a [f32],
    control: &'a dyn Control,
}

impl<'a> Problem<'a> {
    fn row(&self, index: u32) -> &'a [f32] {
        &self.fixed[index as usize * self.f..][..self.f]
    }

    /// Calls `each` with factors and extra confidence of all interactions.
    fn for_each(
        &self,
        (columns, weights): (&[u32], &[f32]),
        mut each: impl FnMut(&[f32], f32),
    ) -> Result<(), Cancelled> {
        for (columns, weights) in columns.chunks(POLL).zip(weights.chunks(POLL)) {
            if columns.len() == POLL {
                self.control.check()?;
            }
            for (&column, &weight) in columns.iter().zip(weights) {
                each(self.row(column), extra_confidence(self.alpha, weight));
            }
        }
        Ok(())
    }
}

/// Solves the rows of one side, all but the `first` ones, into `solved`, which holds the last
/// sweep's, and tells now and then how many are done.
pub(crate) fn solve(
    model: &Model,
    side: &Side<'_>,
    first: usize,
    solved: &mut [f32],
    told: &dyn Fn(usize, &[f32]),
    control: &dyn Control,
) -> Result<(), Cancelled> {
    let f = model.f;
    if first * f >= solved.len() {
        return Ok(());
    }
    let mut regularized = side.gram.to_vec();
    regularized.iter_mut().step_by(f + 1).for_each(|x| *x += f64::from(model.regularization));
    let (few, gain) = few_interactions(model);
    let rows = side.interactions.rows();
    let rows_with_few = (0..rows).filter(|&row| side.interactions.degree(row) <= few).count();
    let directly = if rows_with_few as f64 * gain > (side.fixed.len() / f) as f64 {
        let mut upper = regularized.clone();
        cholesky(&mut upper, f);
        Some(multiply(side.fixed, f, &cholesky_inverse(&upper, f), f, control)?)
    } else {
        None
    };
    let regularized: Vec<f32> = regularized.into_iter().map(|x| x as f32).collect();
    let problem = Problem {
        isa: Isa::detect(),
        f,
        alpha: model.alpha,
        fixed: side.fixed,
        regularized: &regularized,
        control,
    };
    let rows_at_once = (SQUARES / (f * f)).clamp(16 * ROWS, 1024 * ROWS);
    let mut done = first;
    while done < rows {
        let end = rows.min(done + rows_at_once);
        let next = &mut solved[done * f..end * f];
        next.par_chunks_mut(ROWS * f).enumerate().try_for_each_init(
            Scratch::default,
            |scratch, (chunk, solved)| {
                control.check()?;
                for (i, x) in solved.chunks_exact_mut(f).enumerate() {
                    let row = side.interactions.row(done + chunk * ROWS + i);
                    if i + 1 < ROWS && done + chunk * ROWS + i + 1 < rows {
                        let soon = side.interactions.row(done + chunk * ROWS + i + 1).0;
                        soon.iter().take(PREFETCHED).for_each(|&c| prefetch(problem.row(c)));
                    }
                    match (&directly, model.solver) {
                        (Some(z), _) if row.0.len() <= few => {
                            solve_few(&problem, z, row, x, scratch);
                        }
                        (_, Solver::ConjugateGradient) => {
                            conjugate_gradient(&problem, row, x, scratch)?;
                        }
                        (_, Solver::Cholesky) => solve_normal(&problem, row, x, scratch)?,
                    }
                }
                Ok(())
            },
        )?;
        done = end;
        told(done, solved);
    }
    Ok(())
}

/// Up to how many interactions a row is cheaper to solve in their space, and for how many rows of
/// Z one such row makes up; both as measured with 64 factors.
fn few_interactions(model: &Model) -> (usize, f64) {
    match model.solver {
        Solver::ConjugateGradient => (model.f / 4, 0.5),
        Solver::Cholesky => (model.f / 2, 2.0),
    }
}

/// Memory of one worker, reused from row to row.
#[derive(Default)]
struct Scratch {
    matrix: Vec<f32>,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

/// Sets a vector's length without caring for what it holds.
fn sized(vector: &mut Vec<f32>, len: usize) -> &mut [f32] {
    vector.resize(len, 0.0);
    vector
}

fn solve_few(
    problem: &Problem<'_>,
    z: &[f32],
    (columns, weights): (&[u32], &[f32]),
    x: &mut [f32],
    scratch: &mut Scratch,
) {
    let (f, n) = (problem.f, columns.len());
    let z_row = |column: u32| &z[column as usize * f..][..f];
    let matrix = sized(&mut scratch.matrix, n * n);
    let roots = sized(&mut scratch.a, n);
    let t = sized(&mut scratch.b, n);
    for ((root, t), &weight) in roots.iter_mut().zip(&mut *t).zip(weights) {
        let extra = extra_confidence(problem.alpha, weight);
        *root = extra.sqrt();
        *t = (1.0 + extra) / *root;
    }
    for i in 0..n {
        let row = &mut matrix[i * n..][i..n];
        dots_at(problem.isa, problem.row(columns[i]), z, &columns[i..], row);
        row.iter_mut().zip(&roots[i..]).for_each(|(x, root)| *x *= roots[i] * root);
        row[0] += 1.0;
    }
    cholesky(matrix, n);
    cholesky_solve(matrix, n, t);
    x.fill(0.0);
    for i in 0..n {
        axpy(t[i] * roots[i], z_row(columns[i]), x);
    }
}

fn conjugate_gradient(
    problem: &Problem<'_>,
    row: (&[u32], &[f32]),
    x: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), Cancelled> {
    let f = problem.f;
    let mut rows = Gathered { problem, row, factors: &mut scratch.matrix, first: None };
    let residual = sized(&mut scratch.a, f);
    let direction = sized(&mut scratch.b, f);
    let product = sized(&mut scratch.c, f);
    vector_matrix(problem.isa, x, problem.regularized, residual);
    residual.iter_mut().for_each(|r| *r = -*r);
    rows.each(|extra| [1.0 + extra, -extra], x, residual)?;
    direction.copy_from_slice(residual);
    let mut square = dot(residual, residual);
    for _ in 0..CONJUGATE_GRADIENT_STEPS {
        if square < 1e-20 {
            break;
        }
        vector_matrix(problem.isa, direction, problem.regularized, product);
        rows.each(|extra| [0.0, extra], direction, product)?;
        let step = square / dot(direction, product);
        axpy(step, direction, x);
        axpy(-step, product, residual);
        let next = dot(residual, residual);
        let ratio = next / square;
        direction.iter_mut().zip(&*residual).for_each(|(p, r)| *p = r + ratio * *p);
        square = next;
    }
    Ok(())
}

/// The fixed side's rows of one row's interactions. Each step of the gradients reads them again:
/// copied together they are still in the cache, unless they are too many.
struct Gathered<'a, 's> {
    problem: &'a Problem<'a>,
    row: (&'a [u32], &'a [f32]),
    /// A block of rows.
    factors: &'s mut Vec<f32>,
    /// The first of the block.
    first: Option<usize>,
}

impl Gathered<'_, '_> {
    /// Adds to `sums` each row y times a + b (y x), where a and b follow from its extra confidence.
    fn each(
        &mut self,
        coefficients: impl Fn(f32) -> [f32; 2],
        x: &[f32],
        sums: &mut [f32],
    ) -> Result<(), Cancelled> {
        let (problem, (columns, weights)) = (self.problem, self.row);
        let block = (GATHERED / problem.f).max(1);
        let blocks = columns.chunks(block).zip(weights.chunks(block));
        for (first, (columns, weights)) in (0..).step_by(block).zip(blocks) {
            if self.first != Some(first) {
                problem.control.check()?;
                self.factors.clear();
                for (at, &column) in columns.iter().enumerate() {
                    if at + AHEAD >= PREFETCHED
                        && let Some(&soon) = columns.get(at + AHEAD)
                    {
                        prefetch(problem.row(soon));
                    }
                    self.factors.extend_from_slice(problem.row(column));
                }
                self.first = Some(first);
            }
            let mut factors = [0f32; CHOSEN];
            let rows = self.factors.chunks(CHOSEN * problem.f);
            for (rows, weights) in rows.zip(weights.chunks(CHOSEN)) {
                dots(problem.isa, x, rows, &mut factors[..weights.len()]);
                for (factor, &weight) in factors.iter_mut().zip(weights) {
                    let [a, b] = coefficients(extra_confidence(problem.alpha, weight));
                    *factor = a + b * *factor;
                }
                let factors = &factors[..weights.len()];
                problem.isa.run(AddRows { rows, factors, sums: &mut *sums });
            }
        }
        Ok(())
    }
}

/// Adds rows times a factor each to sums.
struct AddRows<'a> {
    rows: &'a [f32],
    factors: &'a [f32],
    sums: &'a mut [f32],
}

impl Work for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { rows, factors, sums } = self;
        let width = sums.len();
        // Sums of some columns stay in registers while all rows pass.
        let (wide, rest) = sums.as_chunks_mut::<WIDE>();
        for (first, sums) in (0..).step_by(WIDE).zip(wide) {
            let mut held = *sums;
            for (y, factor) in rows.chunks_exact(width).zip(factors) {
                for (held, y) in held.iter_mut().zip(&y[first..first + WIDE]) {
                    *held += factor * y;
                }
            }
            *sums = held;
        }
        let first = width - rest.len();
        for (y, factor) in rows.chunks_exact(width).zip(factors) {
            axpy(*factor, &y[first..], rest);
        }
    }
}

fn solve_normal(
    problem: &Problem<'_>,
    row: (&[u32], &[f32]),
    x: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), Cancelled> {
    let f = problem.f;
    scratch.matrix.clear();
    scratch.matrix.extend_from_slice(problem.regularized);
    let matrix = &mut scratch.matrix[..];
    x.fill(0.0);
    // Rows times the roots of their weights, gathered block by block.
    let block = &mut scratch.a;
    block.clear();
    problem.for_each(row, |y, extra| {
        axpy(1.0 + extra, y, x);
        let root = extra.sqrt();
        block.extend(y.iter().map(|y| root * y));
        if block.len() == BLOCK * f {
            add_gram(problem.isa, block, f, matrix);
            block.clear();
        }
    })?;
    add_gram(problem.isa, block, f, matrix);
    cholesky(matrix, f);
    cholesky_solve(matrix, f, x);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use teller_numeric::Uninterrupted;

    use super::*;
    use crate::dense::gram;

    type Rows = Vec<Vec<(u32, f32)>>;

    /// Rows of the solved side, and 20 of the fixed side with their number of factors.
    fn sides() -> impl Strategy<Value = (Rows, Vec<f32>, usize)> {
        let row = prop::collection::btree_map(0u32..20, 0.1f32..9.0, 1..16)
            .prop_map(|row| row.into_iter().collect());
        (prop::collection::vec(row, 1..9), 1usize..40).prop_flat_map(|(rows, f)| {
            (Just(rows), prop::collection::vec(-1f32..1.0, 20 * f), Just(f))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The ways agree, so that what a row gets does not hang on what is fastest.
        #[test]
        fn all_ways_solve_the_same_equations((rows, fixed, f) in sides()) {
            let mut regularized = gram(&fixed, f, &Uninterrupted).unwrap();
            regularized.iter_mut().step_by(f + 1).for_each(|x| *x += 1.0);
            let mut upper = regularized.clone();
            cholesky(&mut upper, f);
            let inverse = cholesky_inverse(&upper, f);
            let z = multiply(&fixed, f, &inverse, f, &Uninterrupted).unwrap();
            let regularized: Vec<f32> = regularized.into_iter().map(|x| x as f32).collect();
            let problem = Problem {
                isa: Isa::detect(),
                f,
                alpha: 2.0,
                fixed: &fixed,
                regularized: &regularized,
                control: &Uninterrupted,
            };
            let mut scratch = Scratch::default();
            for row in rows {
                let (columns, weights): (Vec<u32>, Vec<f32>) = row.into_iter().unzip();
                let row = (&columns[..], &weights[..]);
                let mut normal = vec![0f32; f];
                solve_normal(&problem, row, &mut normal, &mut scratch).unwrap();
                let mut few = vec![f32::NAN; f];
                solve_few(&problem, &z, row, &mut few, &mut scratch);
                let mut gradients = vec![0f32; f];
                for _ in 0..200 {
                    conjugate_gradient(&problem, row, &mut gradients, &mut scratch).unwrap();
                }
                for (&normal, (&few, &gradients)) in normal.iter().zip(few.iter().zip(&gradients)) {
                    prop_assert!((normal - few).abs() < 1e-4, "{normal} {few}");
                    prop_assert!((normal - gradients).abs() < 5e-3, "{normal} {gradients}");
                }
            }
        }
    }
}
