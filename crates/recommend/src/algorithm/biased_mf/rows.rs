//! The rows of a side, each solved with what is known of the rows of the other one.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Isa};

use crate::csr::Csr;
use crate::dense::{cholesky, cholesky_inverse};

/// Rows that one task solves.
pub(super) const ROWS: usize = 32;
/// Interactions of one row between two questions whether to stop.
const POLL: usize = 1 << 13;

/// Where the numbers of a row lie: E[z], then the upper triangle of E[zz'] row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Numbers of z.
    pub(super) width: usize,
}

impl Shape {
    pub(super) fn len(self) -> usize {
        self.width + self.width * (self.width + 1) / 2
    }

    /// Where E[z_i z_j] lies, i <= j.
    pub(super) fn square(self, i: usize, j: usize) -> usize {
        self.width + i * self.width - i * (i + 1) / 2 + j
    }
}

/// What the rows of a side are solved with.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) priors: &'a [f64],
    pub(super) noise: f64,
}

/// What a side's rows add up to.
pub(super) struct Sums {
    /// Expected squared errors of all ratings, in all.
    pub(super) error: f64,
    /// E[z^2] in all.
    pub(super) squares: Vec<f64>,
}

impl Sums {
    pub(super) fn none(shape: Shape) -> Self {
        Self { error: 0.0, squares: vec![0f64; shape.width] }
    }
}

/// Solves the rows of one side into `solved`, with what is known of the `other` one.
pub(super) fn solve(
    shape: Shape,
    ratings: &Csr,
    other: &[f32],
    given: Given<'_>,
    solved: &mut [f32],
    control: &dyn Control,
) -> Result<Sums, Cancelled> {
    let len = shape.len();
    let parts = solved
        .par_chunks_mut(ROWS * len)
        .enumerate()
        .map(|(chunk, solved)| {
            control.check()?;
            let mut sums = Sums::none(shape);
            let mut row = Row::new(shape);
            for (i, out) in solved.chunks_exact_mut(len).enumerate() {
                row.gather(ratings.row(chunk * ROWS + i), other, control)?;
                row.solve(given, out, &mut sums);
            }
            Ok(sums)
        })
        .collect::<Result<Vec<_>, Cancelled>>()?;
    let mut all = Sums::none(shape);
    for part in parts {
        all.error += part.error;
        all.squares.iter_mut().zip(part.squares).for_each(|(all, part)| *all += part);
    }
    Ok(all)
}

/// Sums over the ratings of one row.
pub(super) struct Row {
    shape: Shape,
    isa: Isa,
    /// How many.
    count: f64,
    /// Of all that is known of the other side's rows.
    known: Vec<f64>,
    /// Of E[z] times the rating.
    rated: Vec<f64>,
    /// Of the ratings and their squares.
    ratings: [f64; 2],
}

impl Row {
    pub(super) fn new(shape: Shape) -> Self {
        let (known, rated) = (vec![0f64; shape.len()], vec![0f64; shape.width]);
        Self { shape, isa: Isa::detect(), count: 0.0, known, rated, ratings: [0.0; 2] }
    }

    pub(super) fn gather(
        &mut self,
        (columns, ratings): (&[u32], &[f32]),
        other: &[f32],
        control: &dyn Control,
    ) -> Result<(), Cancelled> {
        self.known.fill(0.0);
        self.rated.fill(0.0);
        self.ratings = [0.0; 2];
        self.count = columns.len() as f64;
        let len = self.shape.len();
        for (columns, ratings) in columns.chunks(POLL).zip(ratings.chunks(POLL)) {
            if columns.len() == POLL {
                control.check()?;
            }
            for (&column, &rating) in columns.iter().zip(ratings) {
                let row = &other[column as usize * len..][..len];
                let rating = f64::from(rating);
                self.ratings[0] += rating;
                self.ratings[1] += rating * rating;
                self.isa.vectorize(add, (row, rating, &mut self.known, &mut self.rated));
            }
        }
        Ok(())
    }

    pub(super) fn solve(&self, given: Given<'_>, out: &mut [f32], sums: &mut Sums) {
        let Self { shape, known, rated, .. } = self;
        let n = shape.width;
        // Sum of E[hh'], where h is z with 1 in the place of the bias.
        let hh = |i: usize, j: usize| match (i.min(j), i.max(j)) {
            (0, 0) => self.count,
            (0, j) => known[j],
            (i, j) => known[shape.square(i, j)],
        };
        // Sum of E[h (r - bias)], and of E[(r - bias)^2].
        let targets: Vec<f64> = (0..n)
            .map(|i| match i {
                0 => self.ratings[0] - known[0],
                i => rated[i] - known[shape.square(0, i)],
            })
            .collect();
        let square = self.ratings[1] - 2.0 * rated[0] + known[shape.square(0, 0)];
        let mut matrix = vec![0f64; n * n];
        for i in 0..n {
            for j in 0..n {
                matrix[i * n + j] = hh(i, j) / given.noise;
            }
            matrix[i * n + i] += 1.0 / given.priors[i];
        }
        cholesky(&mut matrix, n);
        let covariance = cholesky_inverse(&matrix, n);
        let mean: Vec<f64> = covariance
            .chunks_exact(n)
            .map(|row| row.iter().zip(&targets).map(|(c, b)| c * b).sum::<f64>() / given.noise)
            .collect();
        let second = |i: usize, j: usize| covariance[i * n + j] + mean[i] * mean[j];
        let mut error = square;
        for i in 0..n {
            out[i] = mean[i] as f32;
            error -= 2.0 * mean[i] * targets[i];
            for j in i..n {
                out[shape.square(i, j)] = second(i, j) as f32;
                let twice = if i == j { 1.0 } else { 2.0 };
                error += twice * second(i, j) * hh(i, j);
            }
            sums.squares[i] += second(i, i);
        }
        sums.error += error.max(0.0);
    }
}

type Adding<'a> = (&'a [f32], f64, &'a mut Vec<f64>, &'a mut Vec<f64>);

#[inline(always)]
fn add((row, rating, known, rated): Adding<'_>) {
    known.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    rated.iter_mut().zip(row).for_each(|(sum, &x)| *sum += rating * f64::from(x));
}
