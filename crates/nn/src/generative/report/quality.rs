//! Whether synthetic rows are as the real ones, column by column and in pairs of columns.

use rayon::prelude::*;
use teller_numeric::Control;

use super::MOST_ROWS;
use super::distance::Features;
use super::some;
use crate::Error;
use crate::generative::table::{Table, Values};

/// Parts of equal shares into which many different numbers are sorted.
const BINS: f32 = 20.0;

/// Figures of columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Mean over the columns of the total variation: half the sum of the differences between the
    /// shares of each value, or of each twentieth of many different numbers.
    pub column_variation: f64,
    /// Mean over the pairs of columns of numbers of the absolute difference of their correlations.
    pub correlation_difference: f64,
}

impl Quality {
    pub(super) fn new(
        features: &Features,
        table: &Table,
        training: &[u32],
        synthetic: &Table,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let real = some(training, MOST_ROWS);
        let made: Vec<u32> = (0..synthetic.rows() as u32).collect();
        let columns = (features.of(table, &real), features.of(synthetic, &made));
        let columns = columns.0.par_iter().zip(&columns.1).enumerate();
        let variations: Vec<f64> = columns
            .map(|(column, (real, made))| variation(features.is_rank(column), real, made))
            .collect();
        control.check()?;
        let correlations = [correlations(table, &real), correlations(synthetic, &made)];
        let pairs = correlations[0].iter().zip(&correlations[1]);
        let differences: Vec<f64> =
            pairs.filter_map(|(real, made)| Some(((*real)? - made.unwrap_or(0.0)).abs())).collect();
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len().max(1) as f64;
        Ok(Self { column_variation: mean(&variations), correlation_difference: mean(&differences) })
    }

    pub(super) fn figures(&self) -> [(&'static str, f64); 2] {
        [
            ("column_variation", self.column_variation),
            ("correlation_difference", self.correlation_difference),
        ]
    }
}

fn variation(is_rank: bool, real: &[f32], made: &[f32]) -> f64 {
    let bin = |x: f32| {
        if is_rank && x <= 1.0 { (x * BINS).min(BINS - 1.0) as i32 } else { x as i32 + 100 }
    };
    let mut differences = std::collections::BTreeMap::<i32, f64>::new();
    for (values, sign) in [(real, 1.0), (made, -1.0)] {
        for &value in values {
            *differences.entry(bin(value)).or_default() += sign / values.len() as f64;
        }
    }
    0.5 * differences.values().map(|difference| difference.abs()).sum::<f64>()
}

/// Of each pair of columns of numbers, `None` where one of them is always the same.
fn correlations(table: &Table, rows: &[u32]) -> Vec<Option<f64>> {
    let numbers = table.columns.par_iter().filter_map(|column| match &column.values {
        Values::Numbers(numbers) => Some(standardized(numbers, rows)),
        Values::Categories { .. } => None,
    });
    let numbers: Vec<Option<Vec<f64>>> = numbers.collect();
    let pairs: Vec<(usize, usize)> =
        (0..numbers.len()).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
    let correlation = |(i, j): (usize, usize)| {
        let products = numbers[i].as_ref()?.iter().zip(numbers[j].as_ref()?);
        Some(products.map(|(a, b)| a * b).sum::<f64>() / rows.len() as f64)
    };
    pairs.into_par_iter().map(correlation).collect()
}

/// With mean 0 and variance 1, NULL being the mean; `None` if all are the same.
fn standardized(numbers: &[f64], rows: &[u32]) -> Option<Vec<f64>> {
    let known = || rows.iter().map(|&row| numbers[row as usize]).filter(|x| !x.is_nan());
    let count = known().count().max(1) as f64;
    let mean = known().sum::<f64>() / count;
    let variance = known().map(|x| (x - mean) * (x - mean)).sum::<f64>() / rows.len() as f64;
    let scale = 1.0 / variance.sqrt();
    let standard = |&row: &u32| {
        let number = numbers[row as usize];
        if number.is_nan() { 0.0 } else { (number - mean) * scale }
    };
    (variance > 0.0).then(|| rows.iter().map(standard).collect())
}
