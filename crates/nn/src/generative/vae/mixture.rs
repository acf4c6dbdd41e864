//! A mixture of normal distributions with full covariances, fitted by expectation and
//! maximization (Dempster et al. 1977).

use rayon::prelude::*;
use teller_numeric::kernels::Work;
use teller_numeric::{Control, Isa, Stream};

use crate::Error;

/// Rounds of the fit.
const ROUNDS: usize = 40;
/// Rows from which a mixture is fitted, at most: some of all.
const MOST_ROWS: usize = 8192;
/// Rows for each dimension that a component is to have, at least.
const ROWS_PER_DIMENSION: usize = 4;
/// Weight of the standard normal distribution in each covariance, in rows: no component stands on
/// a single row.
const PRIOR_ROWS: f64 = 1.0;
/// Of a row in a component: less is nothing.
const LEAST_SHARE: f64 = 1e-12;

/// Components of some dimensions.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::generative) struct Mixture {
    pub(in crate::generative) dimensions: usize,
    /// Share of each component.
    pub(in crate::generative) shares: Vec<f64>,
    /// `[components, dimensions]`.
    pub(in crate::generative) means: Vec<f64>,
    /// Lower triangular roots of the covariances, `[components, dimensions, dimensions]`.
    pub(in crate::generative) roots: Vec<f64>,
}

impl Mixture {
    /// Of rows of `dimensions` numbers; the standard normal distribution of none.
    pub(in crate::generative) fn fit(
        isa: Isa,
        rows: &[f32],
        dimensions: usize,
        components: usize,
        stream: &mut Stream,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let d = dimensions;
        let mut order: Vec<usize> = (0..rows.len() / d).collect();
        stream.shuffle(&mut order);
        order.truncate(MOST_ROWS);
        let rows: Vec<f64> =
            order.iter().flat_map(|&row| &rows[row * d..][..d]).map(|&x| x.into()).collect();
        let count = order.len();
        let components = components.min(count / (ROWS_PER_DIMENSION * d)).max(1);
        // The first rows, which are in random order, as means.
        let mut means = vec![0.0; components * d];
        if count >= components && components > 1 {
            means.copy_from_slice(&rows[..components * d]);
        }
        let mut mixture = Self {
            dimensions,
            shares: vec![1.0 / components as f64; components],
            means,
            roots: (0..components).flat_map(|_| unit(d)).collect(),
        };
        for _ in 0..ROUNDS {
            if count == 0 {
                break;
            }
            let shares = mixture.expect(isa, &rows, control)?;
            mixture.maximize(isa, &rows, &shares, control)?;
        }
        Ok(mixture)
    }

    /// Bytes that it holds.
    pub(in crate::generative) fn memory(&self) -> usize {
        [&self.shares, &self.means, &self.roots].map(|of| size_of_val(&**of)).iter().sum()
    }

    fn components(&self) -> usize {
        self.shares.len()
    }

    /// Each component's share of each row, `[components][rows]`.
    fn expect(
        &self,
        isa: Isa,
        rows: &[f64],
        control: &dyn Control,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let d = self.dimensions;
        let components = (0..self.components()).into_par_iter();
        let mut densities: Vec<Vec<f64>> = components
            .map(|component| {
                control.check()?;
                let root = &self.roots[component * d * d..][..d * d];
                let mean = &self.means[component * d..][..d];
                let inverse = inverse_columns(root, d);
                let diagonal: f64 = (0..d).map(|i| libm::log(root[i * d + i])).sum();
                let offset = libm::log(self.shares[component].max(1e-300)) - diagonal;
                let mut densities = vec![offset; rows.len() / d];
                isa.run(Densities { rows, mean, inverse: &inverse, densities: &mut densities });
                Ok(densities)
            })
            .collect::<Result<_, Error>>()?;
        for row in 0..rows.len() / d {
            let column = densities.iter().map(|of| of[row]);
            let greatest = column.fold(f64::NEG_INFINITY, f64::max);
            let mut sum = 0.0;
            for of in &mut densities {
                of[row] = libm::exp(of[row] - greatest);
                sum += of[row];
            }
            densities.iter_mut().for_each(|of| of[row] /= sum);
        }
        Ok(densities)
    }

    /// The components that suit these shares best.
    fn maximize(
        &mut self,
        isa: Isa,
        rows: &[f64],
        shares: &[Vec<f64>],
        control: &dyn Control,
    ) -> Result<(), Error> {
        let d = self.dimensions;
        let count = rows.len() as f64 / d as f64;
        let means = self.means.par_chunks_mut(d);
        let components = means.zip(self.roots.par_chunks_mut(d * d)).zip(&mut self.shares);
        components.zip(shares).try_for_each(|(((mean, root), share), shares)| {
            control.check()?;
            let weight: f64 = shares.iter().sum();
            *share = weight / count;
            if weight < 1e-9 {
                // A component that no row wants stays where it is.
                return Ok(());
            }
            mean.fill(0.0);
            for (row, share) in rows.chunks_exact(d).zip(shares) {
                mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += share * x);
            }
            mean.iter_mut().for_each(|sum| *sum /= weight);
            let mut covariance = vec![0.0; d * d];
            isa.run(Covariances { rows, shares, mean, covariance: &mut covariance });
            for i in 0..d {
                covariance[i * d + i] += PRIOR_ROWS;
            }
            covariance.iter_mut().for_each(|sum| *sum /= weight + PRIOR_ROWS);
            cholesky(&covariance, d, root);
            Ok(())
        })
    }

    /// Draws a row.
    pub(in crate::generative) fn draw(&self, stream: &mut Stream, to: &mut [f32]) {
        let d = self.dimensions;
        let mut left = f64::from(stream.uniform());
        let mut component = 0;
        for (number, share) in self.shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            component = number;
            if left < *share {
                break;
            }
            left -= share;
        }
        let noise: Vec<f64> = (0..d).map(|_| stream.normal()).collect();
        let (mean, root) = (&self.means[component * d..], &self.roots[component * d * d..]);
        for (i, to) in to.iter_mut().enumerate() {
            let row = root[i * d..][..=i].iter().zip(&noise);
            *to = (mean[i] + row.map(|(root, noise)| root * noise).sum::<f64>()) as f32;
        }
    }
}

/// Takes half the squared distance of each row from a mean, in terms of the inverse root of a
/// covariance, from its density.
struct Densities<'a> {
    rows: &'a [f64],
    mean: &'a [f64],
    /// As [`inverse_columns`] gives it.
    inverse: &'a [f64],
    densities: &'a mut [f64],
}

impl Work for Densities<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let d = self.mean.len();
        let mut solved = vec![0.0; d];
        for (row, density) in self.rows.chunks_exact(d).zip(self.densities) {
            solved.fill(0.0);
            // The whole columns, zeros above the diagonal too: vectors take them at once.
            let columns = self.inverse.chunks_exact(d);
            for ((x, mean), column) in row.iter().zip(self.mean).zip(columns) {
                let off = x - mean;
                for (to, w) in solved.iter_mut().zip(column) {
                    *to += w * off;
                }
            }
            let mut square = 0.0;
            for x in &solved {
                square += x * x;
            }
            *density -= 0.5 * square;
        }
    }
}

/// Adds the products of the differences from a mean, the rows weighted by their shares.
struct Covariances<'a> {
    rows: &'a [f64],
    shares: &'a [f64],
    mean: &'a [f64],
    covariance: &'a mut [f64],
}

impl Work for Covariances<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let d = self.mean.len();
        let mut off = vec![0.0; d];
        for (row, &share) in self.rows.chunks_exact(d).zip(self.shares) {
            // What hardly belongs to the component changes nothing.
            if share <= LEAST_SHARE {
                continue;
            }
            for (to, (x, mean)) in off.iter_mut().zip(row.iter().zip(self.mean)) {
                *to = x - mean;
            }
            for (i, to) in self.covariance.chunks_exact_mut(d).enumerate() {
                let factor = share * off[i];
                for (sum, x) in to.iter_mut().zip(&off) {
                    *sum += factor * x;
                }
            }
        }
    }
}

fn unit(d: usize) -> Vec<f64> {
    let mut unit = vec![0.0; d * d];
    (0..d).for_each(|i| unit[i * d + i] = 1.0);
    unit
}

/// The lower triangular root of a positive matrix, of which the lower half is read.
fn cholesky(matrix: &[f64], d: usize, root: &mut [f64]) {
    root.fill(0.0);
    for i in 0..d {
        for j in 0..=i {
            let product = |k: usize| root[i * d + k] * root[j * d + k];
            let rest = matrix[i * d + j] - (0..j).map(product).sum::<f64>();
            root[i * d + j] =
                if i == j { libm::sqrt(rest.max(1e-12)) } else { rest / root[j * d + j] };
        }
    }
}

/// The columns, one after another, of the inverse of a lower triangular matrix.
fn inverse_columns(root: &[f64], d: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; d * d];
    for (column, to) in inverse.chunks_exact_mut(d).enumerate() {
        for i in column..d {
            let known = (column..i).map(|k| root[i * d + k] * to[k]).sum::<f64>();
            to[i] = (f64::from(i == column) - known) / root[i * d + i];
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use teller_numeric::Uninterrupted;

    use super::*;

    fn fit(rows: &[f32], components: usize) -> Mixture {
        let mut stream = Stream::new(1, "mixture", 0);
        Mixture::fit(Isa::detect(), rows, 2, components, &mut stream, &Uninterrupted).unwrap()
    }

    #[test]
    fn roots_and_inverses_are_what_they_say() {
        let matrix = [4.0, 0.0, 0.0, 2.0, 5.0, 0.0, -1.0, 0.5, 3.0];
        let mut root = [0.0; 9];
        cholesky(&matrix, 3, &mut root);
        let columns = inverse_columns(&root, 3);
        for i in 0..3 {
            for j in 0..3 {
                let square: f64 = (0..3).map(|k| root[i * 3 + k] * root[j * 3 + k]).sum();
                assert!(j > i || (square - matrix[i * 3 + j]).abs() < 1e-12);
                let one: f64 = (0..3).map(|k| root[i * 3 + k] * columns[j * 3 + k]).sum();
                assert!((one - f64::from(i == j)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn two_clouds_are_found_and_drawn_again() {
        let mut stream = Stream::new(3, "clouds", 0);
        let mut rows = Vec::new();
        for row in 0..4000 {
            let (x, y) = (stream.normal() as f32, stream.normal() as f32);
            // Three quarters around (5, 0), correlated; a quarter around (-5, 1), narrow.
            rows.extend(if row % 4 < 3 {
                [5.0 + x, x + 0.3 * y]
            } else {
                [-5.0 + 0.1 * x, 1.0 + y]
            });
        }
        let mixture = fit(&rows, 2);
        let right = if mixture.means[0] > 0.0 { 0 } else { 1 };
        assert!((mixture.shares[right] - 0.75).abs() < 0.01, "{mixture:?}");
        assert!((mixture.means[right * 2] - 5.0).abs() < 0.1, "{mixture:?}");
        let mut drawn = vec![0.0; 8000];
        drawn.chunks_exact_mut(2).for_each(|row| mixture.draw(&mut stream, row));
        let moments = |rows: &[f32]| {
            let right: Vec<&[f32]> = rows.chunks_exact(2).filter(|row| row[0] > 0.0).collect();
            let mean = |f: &dyn Fn(&[f32]) -> f32| {
                right.iter().map(|row| f(row)).sum::<f32>() / right.len() as f32
            };
            [right.len() as f32 / 2000.0, mean(&|r| r[0]), mean(&|r| r[1]), mean(&|r| r[0] * r[1])]
        };
        for (got, wanted) in moments(&drawn).iter().zip(moments(&rows)) {
            assert!((got - wanted).abs() < 0.15, "{:?}", moments(&drawn));
        }
    }

    #[test]
    fn few_rows_or_none_do_not_stand_alone() {
        assert_eq!(fit(&[], 20).roots, [1.0, 0.0, 0.0, 1.0]);
        let mut stream = Stream::new(1, "draws", 0);
        let mixture = fit(&[3.0, 4.0], 20);
        let mut drawn = [0.0; 2];
        mixture.draw(&mut stream, &mut drawn);
        assert!(drawn != [3.0, 4.0] && mixture.roots.iter().all(|x| x.is_finite()));
        assert_eq!(mixture.shares.len(), 1);
    }
}
