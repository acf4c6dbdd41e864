//! Gower's distance (1971) between rows: over the columns, the sum of the differences of ranks and
//! of 1 for each name that is another one.

use rayon::prelude::*;
use teller_numeric::{Control, Isa};

use crate::Error;
use crate::generative::table::{Domain, Table, TableCell, TableEncoding, Values, ascending};

/// Stands for NULL, far from every rank.
const NULL: f32 = 4.0;
/// Stands for a name that no row learned from has.
const UNKNOWN: f32 = -4.0;
/// Rows that are compared at once.
const BLOCK: usize = 512;

/// Turns the cells of a column into numbers of which all that are at least 1 apart are different.
enum Feature {
    /// The place among these, as a share.
    Rank(Vec<f64>),
    /// The place among the values.
    Name(Domain),
}

/// Of all columns of a table.
pub(super) struct Features(Vec<Feature>);

impl Features {
    /// As the `rows` of a table are.
    pub(super) fn new(encoding: &TableEncoding, table: &Table, rows: &[u32]) -> Self {
        let columns = encoding.columns.par_iter().zip(&table.columns);
        let feature = columns.map(|(codec, column)| match (&codec.domain, &column.values) {
            (Domain::Many { .. }, Values::Numbers(numbers)) => {
                Feature::Rank(ascending(numbers, rows))
            }
            (domain, _) => Feature::Name(domain.clone()),
        });
        Self(feature.collect())
    }

    /// Whether a column's numbers are ranks.
    pub(super) fn is_rank(&self, column: usize) -> bool {
        matches!(self.0[column], Feature::Rank(_))
    }

    /// Column by column, the features of some rows.
    pub(super) fn of(&self, table: &Table, rows: &[u32]) -> Vec<Vec<f32>> {
        let columns = self.0.par_iter().zip(&table.columns);
        let features = columns.map(|(feature, column)| {
            let number = |&row: &u32| {
                let cell = column.cell(row as usize);
                match (feature, cell) {
                    (_, TableCell::Null) => NULL,
                    (Feature::Rank(known), TableCell::Number(number)) => {
                        let first = known.partition_point(|&other| other < number);
                        let after = known.partition_point(|&other| other <= number);
                        (0.5 * (first + after) as f64 / known.len().max(1) as f64) as f32
                    }
                    (Feature::Name(domain), cell) => {
                        domain.choice(cell).map_or(UNKNOWN, |choice| NULL + 1.0 + choice as f32)
                    }
                    _ => UNKNOWN,
                }
            };
            rows.iter().map(number).collect()
        });
        features.collect()
    }
}

/// Distances from a row to its closest one and to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Closest {
    pub(super) first: f32,
    pub(super) second: f32,
}

/// Of each row of `from` the closest ones of `among`, both given column by column.
pub(super) fn closest(
    isa: Isa,
    from: &[Vec<f32>],
    among: &[Vec<f32>],
    control: &dyn Control,
) -> Result<Vec<Closest>, Error> {
    let rows = from.first().map_or(0, Vec::len);
    let others = among.first().map_or(0, Vec::len);
    let find = |row: usize| {
        control.check()?;
        let mut found = Closest { first: f32::INFINITY, second: f32::INFINITY };
        let mut distances = [0.0f32; BLOCK];
        for first in (0..others).step_by(BLOCK) {
            let distances = &mut distances[..BLOCK.min(others - first)];
            distances.fill(0.0);
            for (from, among) in from.iter().zip(among) {
                isa.vectorize(add, (from[row], &among[first..], &mut *distances));
            }
            for &distance in &*distances {
                if distance < found.first {
                    found = Closest { first: distance, second: found.first };
                } else if distance < found.second {
                    found.second = distance;
                }
            }
        }
        Ok(found)
    };
    (0..rows).into_par_iter().map(find).collect()
}

#[inline(always)]
fn add((from, among, distances): (f32, &[f32], &mut [f32])) {
    for (distance, x) in distances.iter_mut().zip(among) {
        let difference = (from - x).abs();
        *distance += if difference < 1.0 { difference } else { 1.0 };
    }
}

#[cfg(test)]
mod tests {
    use teller_numeric::Uninterrupted;

    use super::*;

    #[test]
    fn the_closest_two_are_found() {
        let from = [vec![0.5, 0.1], vec![5.0, 6.0]];
        let among = [vec![0.4, 0.9, 0.1], vec![5.0, 5.0, 7.0]];
        let found = closest(Isa::detect(), &from, &among, &Uninterrupted).unwrap();
        let near = |got: f32, wanted: f32| assert!((got - wanted).abs() < 1e-6, "{found:?}");
        near(found[0].first, 0.1);
        near(found[0].second, 0.4);
        near(found[1].first, 1.0);
        near(found[1].second, 1.3);
    }
}
