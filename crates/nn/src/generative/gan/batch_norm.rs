//! Batch normalization of plain vectors, rectified (Ioffe and Szegedy 2015).

use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::{Cancelled, Isa};

use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{TASK, Work, buffers, by_rows};

const EPSILON: f64 = 1e-5;

/// Where scale and shift of each unit lie among the weights.
#[derive(Clone, Debug)]
pub(super) struct BatchNorm {
    pub(super) units: usize,
    pub(super) scale: Range<usize>,
    pub(super) shift: Range<usize>,
}

/// What the way back needs.
pub(super) struct Kept {
    /// The values with mean 0 and variance 1.
    plain: Floats,
    /// One over the deviation of each unit.
    inverse: Vec<f32>,
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
        Ok(Kept { plain, inverse: vec![0.0; self.units] })
    }

    /// Mean and one over the deviation of each unit over all rows of `values`.
    pub(super) fn statistics(&self, values: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let rows = (values.len() / self.units) as f64;
        let mut means = vec![0.0f64; self.units];
        for row in values.chunks_exact(self.units) {
            means.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        means.iter_mut().for_each(|sum| *sum /= rows);
        let mut squares = vec![0.0f64; self.units];
        for row in values.chunks_exact(self.units) {
            for ((sum, &x), mean) in squares.iter_mut().zip(row).zip(&means) {
                let off = f64::from(x) - mean;
                *sum += off * off;
            }
        }
        let inverse = squares.iter().map(|sum| (1.0 / (sum / rows + EPSILON).sqrt()) as f32);
        (means.iter().map(|&mean| mean as f32).collect(), inverse.collect())
    }

    /// Of a batch, by its own statistics.
    pub(super) fn forward(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        values: &[f32],
        kept: &mut Kept,
        output: &mut [f32],
    ) -> Result<(), Cancelled> {
        let (means, inverse) = self.statistics(values);
        kept.inverse = inverse;
        let isa: Isa = work.isa;
        let (scale, shift) = (&weights[self.scale.clone()], &weights[self.shift.clone()]);
        let rows = values.par_chunks(TASK * self.units);
        let plain = kept.plain[..values.len()].par_chunks_mut(TASK * self.units);
        let parts = rows.zip(plain).zip(output.par_chunks_mut(TASK * self.units));
        by_rows(parts, work, |((values, plain), output)| {
            for ((values, plain), output) in values
                .chunks_exact(self.units)
                .zip(plain.chunks_exact_mut(self.units))
                .zip(output.chunks_exact_mut(self.units))
            {
                isa.vectorize(normalize, (values, &means, &kept.inverse, plain));
                isa.vectorize(rectify, (&*plain, scale, shift, output));
            }
        })
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

    /// From the gradient to the `output` to that to the values, in its place.
    pub(super) fn backward(
        &self,
        work: &Work<'_>,
        weights: &[f32],
        gradient: &mut [f32],
        kept: &Kept,
        output: &[f32],
        d: &mut [f32],
    ) -> Result<(), Cancelled> {
        let units = self.units;
        let rows = d.len() / units;
        let plain = &kept.plain[..d.len()];
        let (mut sums, mut products) = (vec![0.0f64; units], vec![0.0f64; units]);
        for ((d, y), plain) in
            d.chunks_exact_mut(units).zip(output.chunks_exact(units)).zip(plain.chunks_exact(units))
        {
            for i in 0..units {
                d[i] = if y[i] > 0.0 { d[i] } else { 0.0 };
                sums[i] += f64::from(d[i]);
                products[i] += f64::from(d[i]) * f64::from(plain[i]);
            }
        }
        let floats = |of: &[f64]| -> Vec<f32> { of.iter().map(|&x| x as f32).collect() };
        gradient[self.scale.clone()].copy_from_slice(&floats(&products));
        gradient[self.shift.clone()].copy_from_slice(&floats(&sums));
        let mean =
            |of: &[f64]| -> Vec<f32> { of.iter().map(|&x| (x / rows as f64) as f32).collect() };
        let (sums, products) = (mean(&sums), mean(&products));
        let scale = &weights[self.scale.clone()];
        let factors: Vec<f32> = scale.iter().zip(&kept.inverse).map(|(s, i)| s * i).collect();
        let isa: Isa = work.isa;
        let parts = d.par_chunks_mut(TASK * units).zip(plain.par_chunks(TASK * units));
        by_rows(parts, work, |(d, plain)| {
            for (d, plain) in d.chunks_exact_mut(units).zip(plain.chunks_exact(units)) {
                isa.vectorize(center, (&factors, &sums, &products, plain, d));
            }
        })
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
