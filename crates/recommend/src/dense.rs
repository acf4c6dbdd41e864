//! Small dense matrices: Gram matrices, Cholesky. All of them are of the
//! size of the factors, and each sum has one order, whatever the threads.

use std::ops::{Add, Div, Mul, Sub};

use rayon::prelude::*;
use teller_numeric::kernels::{Contraction, Grid, Start};
use teller_numeric::{Cancelled, Control, Isa};

/// Parts into which a Gram matrix is divided: their borders depend on the rows alone.
const GRAM_PARTS: usize = 64;
const GRAM_MIN_ROWS: usize = 128;

/// Bytes that [`gram`] of so many rows takes, and some matrices of its size.
pub(crate) fn gram_memory(rows: u64, n: usize) -> u64 {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let (parts, n) = (rows.div_ceil(gram_rows(rows)) as u64, n as u64);
    n.saturating_mul(n).saturating_mul(4 * (parts + 16))
}

fn gram_rows(rows: usize) -> usize {
    rows.div_ceil(GRAM_PARTS).max(GRAM_MIN_ROWS)
}

/// `R'R` of row-major `rows` with `n` columns, n x n.
pub(crate) fn gram(rows: &[f32], n: usize, control: &dyn Control) -> Result<Vec<f64>, Cancelled> {
    let isa = Isa::detect();
    let parts = rows
        .par_chunks(gram_rows(rows.len() / n) * n)
        .map(|rows| {
            let mut part = vec![0f32; n * n];
            // Blocks of rows stay in the first-level cache while tiles pass over them.
            for rows in rows.chunks(64 * n) {
                control.check()?;
                add_gram(isa, rows, n, &mut part);
            }
            Ok(part)
        })
        .collect::<Result<Vec<_>, Cancelled>>()?;
    let mut sum = vec![0f64; n * n];
    for part in parts {
        for (sum, part) in sum.iter_mut().zip(part) {
            *sum += f64::from(part);
        }
    }
    for i in 0..n {
        for j in 0..i {
            sum[i * n + j] = sum[j * n + i];
        }
    }
    Ok(sum)
}

/// Adds the upper triangle (and a little more) of `R'R`, one row after the other.
pub(crate) fn add_gram(isa: Isa, rows: &[f32], n: usize, sum: &mut [f32]) {
    const HIGH: usize = 16;
    for top in (0..n).step_by(HIGH) {
        let grid =
            Grid { outer: 1, inner: HIGH.min(n - top), a_inner: 1, c_inner: n, ..Grid::default() };
        let contraction = Contraction {
            rows: grid,
            columns: n - top,
            segments: 1,
            steps: rows.len() / n,
            a_step: n,
            b_step: n,
            ..Contraction::default()
        };
        let rows = rows.get(top..).unwrap_or_default();
        contraction.run(isa, rows, rows, Start::Continue, &mut sum[top * n + top..]);
    }
}

/// `out = x M` for an n x n matrix M.
pub(crate) fn vector_matrix(isa: Isa, x: &[f32], matrix: &[f32], out: &mut [f32]) {
    let contraction = Contraction {
        rows: Grid { outer: 1, inner: 1, ..Grid::default() },
        columns: out.len(),
        segments: 1,
        steps: x.len(),
        a_step: 1,
        b_step: out.len(),
        ..Contraction::default()
    };
    contraction.run(isa, x, matrix, Start::Zero, out);
}

/// `f32` or `f64`.
pub(crate) trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    const ZERO: Self;
    const ONE: Self;
    const EPSILON: Self;
    fn sqrt(self) -> Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const EPSILON: Self = f32::EPSILON;
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const EPSILON: Self = f64::EPSILON;
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
}

/// Overwrites the upper triangle of the symmetric, non-negative `matrix` (n x n) with `U`,
/// `U'U = matrix`. A direction in which the matrix is zero to rounding gets a zero row, and
/// solutions then have no part in it.
pub(crate) fn cholesky<T: Real>(matrix: &mut [T], n: usize) {
    let largest = (0..n).map(|i| matrix[i * n + i]).fold(T::ZERO, |a, b| if b > a { b } else { a });
    let least = largest * T::EPSILON;
    for k in 0..n {
        let (above, below) = matrix.split_at_mut((k + 1) * n);
        let row = &mut above[k * n + k..];
        let pivot = row[0];
        let scale = if pivot > least { T::ONE / pivot.sqrt() } else { T::ZERO };
        if scale == T::ZERO {
            row.fill(T::ZERO);
            continue;
        }
        row.iter_mut().for_each(|x| *x = *x * scale);
        for (i, lower) in below.chunks_exact_mut(n).enumerate() {
            let factor = row[i + 1];
            for (x, &u) in lower[k + 1 + i..].iter_mut().zip(&row[i + 1..]) {
                *x = *x - factor * u;
            }
        }
    }
}

/// Solves `U'U x = b` in place, `U` from [`cholesky`].
pub(crate) fn cholesky_solve<T: Real>(upper: &[T], n: usize, b: &mut [T]) {
    forward(upper, n, b);
    for k in (0..n).rev() {
        let row = &upper[k * n + k..(k + 1) * n];
        // Eight sums side by side: one alone would wait for each of its additions.
        let mut sums = [T::ZERO; 8];
        for (row, x) in row[1..].chunks(8).zip(b[k + 1..].chunks(8)) {
            for ((sum, &u), &x) in sums.iter_mut().zip(row).zip(x) {
                *sum = *sum - u * x;
            }
        }
        let sum = sums.into_iter().fold(b[k], |total, sum| total + sum);
        b[k] = if row[0] > T::ZERO { sum / row[0] } else { T::ZERO };
    }
}

/// Solves `U'x = b` in place.
fn forward<T: Real>(upper: &[T], n: usize, b: &mut [T]) {
    for k in 0..n {
        let row = &upper[k * n + k..(k + 1) * n];
        b[k] = if row[0] > T::ZERO { b[k] / row[0] } else { T::ZERO };
        let x = b[k];
        for (b, &u) in b[k + 1..].iter_mut().zip(&row[1..]) {
            *b = *b - x * u;
        }
    }
}

/// The inverse of `U'U`, n x n, zero in the directions that [`cholesky`] left out.
pub(crate) fn cholesky_inverse(upper: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = identity(n);
    inverse.chunks_exact_mut(n).for_each(|row| cholesky_solve(upper, n, row));
    inverse
}

/// The last column of the inverse of `U'U`.
pub(crate) fn last_column_of_inverse(upper: &[f32], n: usize, column: &mut Vec<f32>) {
    column.clear();
    column.resize(n, 0.0);
    let Some(last) = column.last_mut() else { return };
    // U' x = e is solved by the last row alone; what U x = b does is in `cholesky_solve`.
    *last = 1.0;
    cholesky_solve(upper, n, column);
}

/// `U^-1`, n x n, with zero columns for the directions left out.
pub(crate) fn upper_inverse(upper: &[f64], n: usize) -> Vec<f64> {
    // The solution of U'x = e_i is column i of the inverse of U', so row i of that of U.
    let mut inverse = identity(n);
    inverse.chunks_exact_mut(n).for_each(|row| forward(upper, n, row));
    inverse
}

fn identity(n: usize) -> Vec<f64> {
    let mut matrix = vec![0f64; n * n];
    matrix.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
    matrix
}

/// `rows M`, row by row, for an n x columns matrix in double precision.
pub(crate) fn multiply(
    rows: &[f32],
    n: usize,
    matrix: &[f64],
    columns: usize,
    control: &dyn Control,
) -> Result<Vec<f32>, Cancelled> {
    let mut out = vec![0f32; rows.len() / n * columns];
    multiply_into(rows, n, matrix, columns, &mut out, control)?;
    Ok(out)
}

/// [`multiply`] into `out`.
pub(crate) fn multiply_into(
    rows: &[f32],
    n: usize,
    matrix: &[f64],
    columns: usize,
    out: &mut [f32],
    control: &dyn Control,
) -> Result<(), Cancelled> {
    const ROWS: usize = 64;
    out.par_chunks_mut(ROWS * columns).zip(rows.par_chunks(ROWS * n)).try_for_each_init(
        || vec![0f64; columns],
        |sums, (out, rows)| {
            control.check()?;
            for (out, row) in out.chunks_exact_mut(columns).zip(rows.chunks_exact(n)) {
                sums.fill(0.0);
                for (&x, row) in row.iter().zip(matrix.chunks_exact(columns)) {
                    let x = f64::from(x);
                    sums.iter_mut().zip(row).for_each(|(sum, m)| *sum += x * m);
                }
                out.iter_mut().zip(&*sums).for_each(|(out, &sum)| *out = sum as f32);
            }
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use teller_numeric::Uninterrupted;

    use super::*;

    /// Row-major numbers, rows x n.
    fn tall() -> impl Strategy<Value = (Vec<f32>, usize)> {
        (1usize..40, 1usize..300)
            .prop_flat_map(|(n, rows)| (prop::collection::vec(-1f32..1.0, n * rows), Just(n)))
    }

    fn naive_gram(rows: &[f32], n: usize) -> Vec<f64> {
        let mut sum = vec![0f64; n * n];
        for row in rows.chunks(n) {
            for i in 0..n {
                for j in 0..n {
                    sum[i * n + j] += f64::from(row[i]) * f64::from(row[j]);
                }
            }
        }
        sum
    }

    fn near(a: &[f64], b: &[f64], tolerance: f64) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn gram_equals_the_long_way((rows, n) in tall()) {
            let got = gram(&rows, n, &Uninterrupted).unwrap();
            prop_assert!(near(&got, &naive_gram(&rows, n), 1e-4));
        }

        #[test]
        fn a_vector_times_a_matrix((rows, n) in tall()) {
            let matrix: Vec<f32> = rows.iter().cycle().take(n * n).copied().collect();
            let mut out = vec![f32::NAN; n];
            vector_matrix(Isa::detect(), &rows[..n], &matrix, &mut out);
            for (column, &got) in out.iter().enumerate() {
                let exact: f64 = (0..n)
                    .map(|row| f64::from(rows[row]) * f64::from(matrix[row * n + column]))
                    .sum();
                prop_assert!((f64::from(got) - exact).abs() < 1e-4);
            }
        }

        /// Fewer rows than columns make the matrix singular: the inverse is then one on the rows'
        /// span, which is where it is used.
        #[test]
        fn cholesky_inverts_what_it_spans((rows, n) in tall()) {
            let matrix = naive_gram(&rows, n);
            let mut upper = matrix.clone();
            cholesky(&mut upper, n);
            let x: Vec<f64> = rows[..n].iter().map(|&x| f64::from(x)).collect();
            let times = |matrix: &[f64], x: &[f64]| -> Vec<f64> {
                matrix.chunks(n).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
            };
            let mut solution = times(&matrix, &x);
            cholesky_solve(&upper, n, &mut solution);
            prop_assert!(near(&times(&matrix, &solution), &times(&matrix, &x), 1e-5));
            if rows.len() / n > 2 * n {
                prop_assert!(near(&times(&cholesky_inverse(&upper, n), &times(&matrix, &x)), &x, 1e-5));
                let basis = multiply(&rows, n, &upper_inverse(&upper, n), n, &Uninterrupted).unwrap();
                prop_assert!(near(&naive_gram(&basis, n), &identity(n), 1e-4));
            }
        }
    }

    #[test]
    fn every_vector_unit_gives_the_same_bits() {
        let rows: Vec<f32> = (0..37 * 50).map(|i| ((i * 7919) % 101) as f32 / 37.0 - 1.3).collect();
        let results: Vec<_> = Isa::available()
            .into_iter()
            .map(|isa| {
                let (mut sum, mut out) = (vec![0f32; 37 * 37], vec![0f32; 37]);
                add_gram(isa, &rows, 37, &mut sum);
                vector_matrix(isa, &rows[..37], &rows[..37 * 37], &mut out);
                sum.into_iter().chain(out).map(f32::to_bits).collect::<Vec<_>>()
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
