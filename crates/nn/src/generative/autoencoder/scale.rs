//! The scale on which an autoencoder sees its numbers.

use teller_numeric::Control;

use super::{Examples, Likelihood};
use crate::Error;

/// Mean and deviation of each place of a row; 0 and 1 where numbers are taken as they are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) mean: Vec<f32>,
    pub(super) deviation: Vec<f32>,
}

impl Scale {
    /// Of the `rows` that are learned from.
    pub(super) fn of(
        likelihood: Likelihood,
        examples: &Examples,
        rows: &[u32],
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let width = examples.width();
        if likelihood == Likelihood::Bernoulli {
            return Ok(Self { mean: vec![0.0; width], deviation: vec![1.0; width] });
        }
        let mut row_values = vec![0.0f32; width];
        let count = rows.len() as f64;
        let mut means = vec![0.0f64; width];
        for &row in rows {
            control.check()?;
            examples.load(row, &mut row_values);
            means.iter_mut().zip(&row_values).for_each(|(sum, &x)| *sum += f64::from(x) / count);
        }
        let mut squares = vec![0.0f64; width];
        for &row in rows {
            control.check()?;
            examples.load(row, &mut row_values);
            for ((sum, &x), mean) in squares.iter_mut().zip(&row_values).zip(&means) {
                let off = f64::from(x) - mean;
                *sum += off * off / count;
            }
        }
        // A place that never changes has what rounding leaves.
        let deviation = |(square, mean): (&f64, &f64)| {
            let deviation = square.sqrt();
            if deviation > 1e-6 * mean.abs() { deviation as f32 } else { 1.0 }
        };
        Ok(Self {
            mean: means.iter().map(|&mean| mean as f32).collect(),
            deviation: squares.iter().zip(&means).map(deviation).collect(),
        })
    }

    /// From plain numbers to those that the network sees.
    pub(super) fn apply(&self, row: &mut [f32]) {
        for ((x, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
            *x = (*x - mean) / deviation;
        }
    }

    /// And back.
    pub(super) fn undo(&self, row: &mut [f32]) {
        for ((x, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
            *x = *x * deviation + mean;
        }
    }
}
