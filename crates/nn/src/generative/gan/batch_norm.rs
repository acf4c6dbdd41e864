//! Batch normalization of plain vectors, rectified (Ioffe and Szegedy 2015).

use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::kernels;
use teller_numeric::{Cancelled, Isa};

use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{TASK, Work, buffers, by_rows};

const EPSILON: f64 = 1e-5;
/// Units whose sums one task takes: waking a thread for fewer costs more.
const BLOCK: usize = 256;

/// Where scale and shift of each unit lie among the weights.
#[derive(Clone, Debug)]
pub(super) struct BatchNorm {
    pub(super) units: usize,
    pub(super) scale: Range<usize>,
    pub(super) shift: Range<usize>,
}

/// What is known of a batch.
pub(super) struct Kept {
    /// The values with mean 0 and variance 1.
    pub(super) plain: Floats,
    /// Mean and one over the deviation of each unit.
    pub(super) means: Vec<f32>,
    pub(super) inverse: Vec<f32>,
}

impl BatchNorm {
    pub(super) fn place(units: usize, at: &mut usize) -> Self {
        let (scale, shift) = (*at..*at + units, *at + units..*at + 2 * units);
        *at = shift.end;
        Self { units, scale, shift }
    }

    pub(super) fn initialize(&self, weights: &mut [f32]) {
        weights[self.scale.clone()].fill(1.0);
    }

    pub(super) fn kept(&self, rows: usize) -> Result<Kept, Error> {
        let [plain] = buffers(rows, [self.units])?;
        Ok(Kept { plain, means: vec![], inverse: vec![] })
    }

    /// Mean and one over the deviation of each unit over all rows of `values`.
    pub(super) fn statistics(&self, isa: Isa, values: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut means, mut inverse) = (vec![0.0f32; self.units], vec![0.0f32; self.units]);
        let units = means.par_chunks_mut(BLOCK).zip(inverse.par_chunks_mut(BLOCK)).enumerate();
        units.for_each(|(block, (means, inverse))| {
            let from = values.get(block * BLOCK..).unwrap_or_default();
            isa.run(Moments { values: from, units: self.units, means, inverse });
        });
        (means, inverse)
    }

    /// Of some rows of a batch whose statistics are known; `plain` keeps what has mean 0 and
    /// variance 1. What comes of each row stands first in its row of `joined`, and after that what
    /// the layer has `read`.
    pub(super) fn forward(
        &self,
        isa: Isa,
        weights: &[f32],
        (means, inverse): (&[f32], &[f32]),
        (values, plain): (&[f32], &mut [f32]),
        (read, joined): (&[f32], &mut [f32]),
    ) {
        let units = self.units;
        let inputs = read.len() * units / values.len();
        let (scale, shift) = (&weights[self.scale.clone()], &weights[self.shift.clone()]);
        let rows = values.chunks_exact(units).zip(plain.chunks_exact_mut(units));
        let rows = rows.zip(read.chunks_exact(inputs)).zip(joined.chunks_exact_mut(units + inputs));
        for (((values, plain), read), joined) in rows {
            let (output, beside) = joined.split_at_mut(units);
            isa.vectorize(normalize, (values, means, inverse, &mut *plain));
            isa.vectorize(rectify, (&*plain, scale, shift, output));
            beside.copy_from_slice(read);
        }
    }

    /// Of rows apart, by statistics that are known.
    pub(super) fn apply(
        &self,
        weights: &[f32],
        (means, inverse): (&[f32], &[f32]),
        values: &mut [f32],
    ) {
        let (scale, shift) = (&weights[self.scale.clone()], &weights[self.shift.clone()]);
        let mut plain = vec![0.0; self.units];
        for row in values.chunks_exact_mut(self.units) {
            normalize((&*row, means, inverse, &mut plain));
            rectify((&plain, scale, shift, row));
        }
    }

    /// From the gradient to what [`Self::forward`] has `joined` to that to what is rectified, `d`.
    pub(super) fn rectified(&self, isa: Isa, joined: &[f32], d_joined: &[f32], d: &mut [f32]) {
        let units = self.units;
        let stride = joined.len() * units / d.len();
        let rows = joined.chunks_exact(stride).zip(d_joined.chunks_exact(stride));
        for (d, (y, d_y)) in d.chunks_exact_mut(units).zip(rows) {
            isa.vectorize(rectified, (&y[..units], &d_y[..units], d));
        }
    }

    /// Of a whole batch: what [`Self::rectified`] gave becomes the gradient to the values.
    pub(super) fn backward(
        &self,
        work: &Work<'_>,
        (weights, gradient): (&[f32], &mut [f32]),
        kept: &Kept,
        d: &mut [f32],
    ) -> Result<(), Cancelled> {
        let units = self.units;
        let plain = &kept.plain[..d.len()];
        let isa: Isa = work.isa;
        let (mut products, mut sums) = (vec![0.0f32; units], vec![0.0f32; units]);
        let blocks = products.par_chunks_mut(BLOCK).zip(sums.par_chunks_mut(BLOCK)).enumerate();
        blocks.for_each(|(block, (products, sums))| {
            let first = block * BLOCK;
            isa.run(Sums { d: &d[first..], plain: &plain[first..], units, products, sums });
        });
        gradient[self.scale.clone()].copy_from_slice(&products);
        gradient[self.shift.clone()].copy_from_slice(&sums);
        let share = 1.0 / (d.len() / units) as f32;
        products.iter_mut().chain(&mut sums).for_each(|sum| *sum *= share);
        let scale = &weights[self.scale.clone()];
        let factors: Vec<f32> = scale.iter().zip(&kept.inverse).map(|(s, i)| s * i).collect();
        let parts = d.par_chunks_mut(TASK * units).zip(plain.par_chunks(TASK * units));
        by_rows(parts, work, |(d, plain)| {
            for (d, plain) in d.chunks_exact_mut(units).zip(plain.chunks_exact(units)) {
                isa.vectorize(center, (&factors, &sums, &products, plain, d));
            }
        })
    }
}

/// Mean and one over the deviation of some units, whose first value is the first of `values`.
struct Moments<'a> {
    values: &'a [f32],
    units: usize,
    means: &'a mut [f32],
    inverse: &'a mut [f32],
}

impl kernels::Work for Moments<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { values, units, means, inverse } = self;
        let count = means.len();
        let rows = values.len().div_ceil(units) as f64;
        let (mut mean, mut square) = ([0.0f64; BLOCK], [0.0f64; BLOCK]);
        for row in values.chunks(units) {
            mean.iter_mut().zip(&row[..count]).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        mean.iter_mut().for_each(|sum| *sum /= rows);
        for row in values.chunks(units) {
            for ((sum, &x), mean) in square.iter_mut().zip(&row[..count]).zip(&mean) {
                let off = f64::from(x) - mean;
                *sum += off * off;
            }
        }
        for (to, mean) in means.iter_mut().zip(&mean) {
            *to = *mean as f32;
        }
        for (to, sum) in inverse.iter_mut().zip(&square) {
            *to = (1.0 / (sum / rows + EPSILON).sqrt()) as f32;
        }
    }
}

/// The sums over the rows of `d` and of its products with the `plain` values, of some units.
struct Sums<'a> {
    d: &'a [f32],
    plain: &'a [f32],
    units: usize,
    products: &'a mut [f32],
    sums: &'a mut [f32],
}

impl kernels::Work for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { d, plain, units, products, sums } = self;
        let count = sums.len();
        let (mut product, mut sum) = ([0.0f64; BLOCK], [0.0f64; BLOCK]);
        for (d, plain) in d.chunks(units).zip(plain.chunks(units)) {
            let to = product.iter_mut().zip(&mut sum);
            for ((product, sum), (&d, &plain)) in to.zip(d[..count].iter().zip(&plain[..count])) {
                *sum += f64::from(d);
                *product += f64::from(d) * f64::from(plain);
            }
        }
        products.iter_mut().zip(&product).for_each(|(to, &sum)| *to = sum as f32);
        sums.iter_mut().zip(&sum).for_each(|(to, &sum)| *to = sum as f32);
    }
}

#[inline(always)]
fn rectified((y, d_y, d): (&[f32], &[f32], &mut [f32])) {
    for ((to, &d), &y) in d.iter_mut().zip(d_y).zip(y) {
        *to = if y > 0.0 { d } else { 0.0 };
    }
}

#[inline(always)]
fn normalize((values, means, inverse, plain): (&[f32], &[f32], &[f32], &mut [f32])) {
    for (((to, x), mean), inverse) in plain.iter_mut().zip(values).zip(means).zip(inverse) {
        *to = (x - mean) * inverse;
    }
}

#[inline(always)]
fn rectify((plain, scale, shift, output): (&[f32], &[f32], &[f32], &mut [f32])) {
    for (((to, x), scale), shift) in output.iter_mut().zip(plain).zip(scale).zip(shift) {
        let y = x * scale + shift;
        *to = if y < 0.0 { 0.0 } else { y };
    }
}

type Centered<'a> = (&'a [f32], &'a [f32], &'a [f32], &'a [f32], &'a mut [f32]);

#[inline(always)]
fn center((factors, sums, products, plain, d): Centered<'_>) {
    let means = sums.iter().zip(products);
    for (((d, x), factor), (sum, product)) in d.iter_mut().zip(plain).zip(factors).zip(means) {
        *d = factor * (*d - sum - x * product);
    }
}
