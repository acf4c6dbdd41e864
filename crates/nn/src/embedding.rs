//! Sums of rows of a table, each with its own factor: vectors of tokens, and linear models of
//! sparse features.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Isa};

/// Entries between two looks at the control.
const POLL: usize = 1 << 16;

/// A feature: a row of the table, and what that is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Feature {
    pub(crate) id: u32,
    pub(crate) value: f32,
}

/// Adds the features' rows to `sum`, one after the other. What lies beyond the table adds nothing.
pub(crate) fn add_rows(isa: Isa, table: &[f32], features: &[Feature], sum: &mut [f32]) {
    isa.vectorize(add_rows_loop, (table, features, sum));
}

#[inline(always)]
fn add_rows_loop((table, features, sum): (&[f32], &[Feature], &mut [f32])) {
    let width = sum.len();
    for feature in features {
        let start = (feature.id as usize).saturating_mul(width);
        let Some(row) = table.get(start..).and_then(|rest| rest.get(..width)) else { continue };
        sum.iter_mut().zip(row).for_each(|(sum, &number)| *sum += feature.value * number);
    }
}

/// The gradient to a table of which a step reads few rows.
#[derive(Debug, Default)]
pub(crate) struct SparseGradient {
    entries: Vec<Entry>,
    /// Rows that are not zero.
    touched: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    feature: Feature,
    /// The sum that read it.
    sum: u32,
}

impl SparseGradient {
    /// The features of a sum; sums are numbered in ascending order.
    pub(crate) fn push(&mut self, sum: usize, features: &[Feature]) {
        let sum = sum as u32;
        self.entries.extend(features.iter().map(|&feature| Entry { feature, sum }));
    }

    /// Writes the gradient of all sums that were pushed since the last time, from that to each of
    /// them (sums x width). The rows of the time before are set to zero. Every row adds its sums
    /// in their order.
    pub(crate) fn write(
        &mut self,
        isa: Isa,
        width: usize,
        d_sums: &[f32],
        gradient: &mut [f32],
        control: &dyn Control,
    ) -> Result<(), Cancelled> {
        for id in self.touched.drain(..) {
            gradient[id as usize * width..][..width].fill(0.0);
        }
        // Stable: sums stay in their order.
        self.entries.par_sort_by_key(|entry| entry.feature.id);
        let mut rest = gradient;
        let mut at = 0;
        let mut tasks = Vec::new();
        for entries in self.entries.chunk_by(|a, b| a.feature.id == b.feature.id) {
            let id = entries[0].feature.id;
            self.touched.push(id);
            let (row, behind) = rest[(id as usize - at) * width..].split_at_mut(width);
            (rest, at) = (behind, id as usize + 1);
            tasks.push((entries, row));
        }
        tasks.into_par_iter().with_min_len(32).try_for_each(|(entries, row)| {
            for entries in entries.chunks(POLL) {
                control.check()?;
                isa.vectorize(add_sums_loop, (d_sums, entries, &mut *row));
            }
            Ok(())
        })?;
        self.entries.clear();
        Ok(())
    }
}

#[inline(always)]
fn add_sums_loop((d_sums, entries, row): (&[f32], &[Entry], &mut [f32])) {
    let width = row.len();
    for Entry { feature, sum } in entries {
        let d_sum = &d_sums[*sum as usize * width..][..width];
        row.iter_mut().zip(d_sum).for_each(|(to, &d)| *to += feature.value * d);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use teller_numeric::{Stream, Uninterrupted};

    use super::*;

    fn numbers(len: usize, index: u64) -> Vec<f32> {
        let mut stream = Stream::new(1, "numbers", index);
        (0..len).map(|_| stream.normal() as f32).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn gradients_are_those_of_the_sums(
            sums in prop::collection::vec(
                prop::collection::vec((0u32..50, -2.0f32..2.0), 0..9), 1..30),
            width in 1usize..20,
        ) {
            let sums: Vec<Vec<Feature>> = sums
                .iter()
                .map(|sum| sum.iter().map(|&(id, value)| Feature { id, value }).collect())
                .collect();
            let d_sums = numbers(sums.len() * width, 2);
            let mut expected = vec![0.0f64; 50 * width];
            for (sum, d_sum) in sums.iter().zip(d_sums.chunks(width)) {
                for feature in sum {
                    for (to, &d) in expected[feature.id as usize * width..].iter_mut().zip(d_sum) {
                        *to += f64::from(feature.value) * f64::from(d);
                    }
                }
            }
            let mut first: Option<Vec<f32>> = None;
            for isa in Isa::available() {
                for threads in 1..=3 {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut sparse = SparseGradient::default();
                    let mut gradient = vec![0.0; 50 * width];
                    // Something else before, which must leave nothing behind.
                    sparse.push(0, &[Feature { id: 49, value: 1.0 }, Feature { id: 3, value: 2.0 }]);
                    let d_other = numbers(width, 3);
                    sparse.write(isa, width, &d_other, &mut gradient, &Uninterrupted).unwrap();
                    for (at, sum) in sums.iter().enumerate() {
                        sparse.push(at, sum);
                    }
                    pool.install(|| {
                        sparse.write(isa, width, &d_sums, &mut gradient, &Uninterrupted)
                    }).unwrap();
                    for (got, expected) in gradient.iter().zip(&expected) {
                        prop_assert!((f64::from(*got) - expected).abs() < 1e-4);
                    }
                    let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    let first = first.get_or_insert_with(|| gradient.clone());
                    prop_assert_eq!(bits(first), bits(&gradient));
                }
            }
        }
    }

    #[test]
    fn sums_add_rows_and_nothing_from_beyond() {
        let table = [1.0, 2.0, 10.0, 20.0];
        let mut sum = [0.5, 0.5];
        let features = [(1, 2.0), (0, -1.0), (2, 9.0), (u32::MAX, 9.0)];
        let features = features.map(|(id, value)| Feature { id, value });
        add_rows(Isa::detect(), &table, &features, &mut sum);
        assert_eq!(sum, [19.5, 38.5]);
    }
}
