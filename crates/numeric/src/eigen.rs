//! Eigenvalues and eigenvectors of small symmetric matrices.

use crate::{Cancelled, Control};

/// Eigenvalues, greatest first, and eigenvectors as columns (n x n) of a symmetric matrix, by
/// Jacobi's cyclic rotations (Golub and Van Loan, section 8.5).
pub fn eigen(
    mut matrix: Vec<f64>,
    n: usize,
    control: &dyn Control,
) -> Result<(Vec<f64>, Vec<f64>), Cancelled> {
    // Rows of `vectors` are the eigenvectors while it works: rotations then touch whole rows.
    let mut vectors = vec![0f64; n * n];
    vectors.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Uninterrupted;

    fn symmetric() -> impl Strategy<Value = (Vec<f64>, usize)> {
        let matrix = |n: usize| (prop::collection::vec(-1f64..1.0, n * n), Just(n));
        (1usize..24).prop_flat_map(matrix).prop_map(|(mut matrix, n)| {
            for i in 0..n {
                (0..i).for_each(|j| matrix[i * n + j] = matrix[j * n + i]);
            }
            (matrix, n)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn eigenvectors_diagonalize((matrix, n) in symmetric()) {
            let (values, vectors) = eigen(matrix.clone(), n, &Uninterrupted).unwrap();
            prop_assert!(values.is_sorted_by(|a, b| a >= b));
            let scale = values[0].abs().max(values[n - 1].abs()).max(1.0);
            for (k, value) in values.iter().enumerate() {
                for i in 0..n {
                    let product: f64 = (0..n).map(|j| matrix[i * n + j] * vectors[j * n + k]).sum();
                    prop_assert!((product - value * vectors[i * n + k]).abs() < 1e-9 * scale);
                }
            }
            let norms: Vec<f64> =
                (0..n).map(|k| (0..n).map(|i| vectors[i * n + k].powi(2)).sum()).collect();
            prop_assert!(norms.iter().all(|norm| (norm - 1.0).abs() < 1e-9));
        }
    }
}
