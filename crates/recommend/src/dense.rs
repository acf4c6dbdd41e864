//! Small dense matrices: Gram matrices, Cholesky, symmetric eigenvectors. All of them are of the
//! size of the factors, and each sum has one order, whatever the threads.

use std::ops::{Div, Mul, Sub};

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control};

use crate::vectors::axpy;

/// Parts into which a Gram matrix is divided: their borders depend on the rows alone.
const GRAM_PARTS: usize = 64;
const GRAM_MIN_ROWS: usize = 128;

/// How many partial Gram matrices exist at once.
pub(crate) fn gram_parts(rows: usize) -> usize {
    rows.div_ceil(gram_rows(rows))
}

fn gram_rows(rows: usize) -> usize {
    rows.div_ceil(GRAM_PARTS).max(GRAM_MIN_ROWS)
}

/// `R'R` of row-major `rows` with `n` columns, n x n.
pub(crate) fn gram(rows: &[f32], n: usize, control: &dyn Control) -> Result<Vec<f64>, Cancelled> {
    let parts = rows
        .par_chunks(gram_rows(rows.len() / n) * n)
        .map(|rows| {
            let mut part = vec![0f32; n * n];
            // Blocks of rows stay in the first-level cache while tiles pass over them.
            for rows in rows.chunks(64 * n) {
                control.check()?;
                add_gram(rows, n, &mut part);
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

/// Adds the upper triangle (and a little more) of `R'R`.
fn add_gram(rows: &[f32], n: usize, sum: &mut [f32]) {
    const HIGH: usize = 4;
    const WIDE: usize = 8;
    let tiled = n / WIDE * WIDE;
    for top in (0..tiled).step_by(HIGH) {
        for left in (top / WIDE * WIDE..tiled).step_by(WIDE) {
            let mut tile = [[0f32; WIDE]; HIGH];
            for row in rows.chunks_exact(n) {
                let (Some(a), Some(b)) =
                    (row[top..].first_chunk::<HIGH>(), row[left..].first_chunk::<WIDE>())
                else {
                    continue;
                };
                for i in 0..HIGH {
                    for j in 0..WIDE {
                        tile[i][j] += a[i] * b[j];
                    }
                }
            }
            for (i, tile) in tile.iter().enumerate() {
                let at = (top + i) * n + left;
                sum[at..at + WIDE].iter_mut().zip(tile).for_each(|(sum, tile)| *sum += tile);
            }
        }
    }
    if tiled < n {
        for row in rows.chunks_exact(n) {
            for i in 0..n {
                axpy(row[i], &row[tiled..], &mut sum[i * n + tiled..(i + 1) * n]);
            }
        }
    }
}

/// `f32` or `f64`.
pub(crate) trait Real:
    Copy + PartialOrd + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
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
        let mut sum = b[k];
        for (&u, &x) in row[1..].iter().zip(&b[k + 1..]) {
            sum = sum - u * x;
        }
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

/// Eigenvalues, greatest first, and eigenvectors as columns (n x n) of a symmetric matrix, by
/// Jacobi's cyclic rotations (Golub and Van Loan, section 8.5).
pub(crate) fn eigen(
    mut matrix: Vec<f64>,
    n: usize,
    control: &dyn Control,
) -> Result<(Vec<f64>, Vec<f64>), Cancelled> {
    // Rows of `vectors` are the eigenvectors while it works: rotations then touch whole rows.
    let mut vectors = identity(n);
    let total: f64 = matrix.iter().map(|x| x * x).sum();
    for _sweep in 0..40 {
        let off: f64 = (0..n * n).filter(|i| i / n != i % n).map(|i| matrix[i] * matrix[i]).sum();
        if off <= total * 1e-28 || off.is_nan() {
            break;
        }
        for p in 0..n {
            control.check()?;
            for q in p + 1..n {
                let apq = matrix[p * n + q];
                if apq == 0.0 {
                    continue;
                }
                let theta = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                rotate(&mut matrix, n, p, q, c, s);
                for row in matrix.chunks_exact_mut(n) {
                    let (x, y) = (row[p], row[q]);
                    row[p] = c * x - s * y;
                    row[q] = s * x + c * y;
                }
                rotate(&mut vectors, n, p, q, c, s);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| matrix[b * n + b].total_cmp(&matrix[a * n + a]));
    let values = order.iter().map(|&i| matrix[i * n + i]).collect();
    let mut columns = vec![0f64; n * n];
    for (to, &from) in order.iter().enumerate() {
        for i in 0..n {
            columns[i * n + to] = vectors[from * n + i];
        }
    }
    Ok((values, columns))
}

fn rotate(matrix: &mut [f64], n: usize, p: usize, q: usize, c: f64, s: f64) {
    let (above, below) = matrix.split_at_mut(q * n);
    for (x, y) in above[p * n..(p + 1) * n].iter_mut().zip(&mut below[..n]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

/// `rows M`, row by row, for an n x columns matrix in double precision.
pub(crate) fn multiply(
    rows: &[f32],
    n: usize,
    matrix: &[f64],
    columns: usize,
    control: &dyn Control,
) -> Result<Vec<f32>, Cancelled> {
    const ROWS: usize = 64;
    let mut out = vec![0f32; rows.len() / n * columns];
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
    )?;
    Ok(out)
}
