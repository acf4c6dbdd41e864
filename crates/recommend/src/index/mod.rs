//! An index of the items for the exact greatest dot products with a user's factors.
//!
//! Items are kept from the longest to the shortest, so that a search may end where no shorter one
//! can reach the best (Teflioudi, Gemulla and Mykytiuk, "LEMP: Fast Retrieval of Large Entries in a
//! Matrix Product", SIGMOD 2015). What comes before is sifted by products of whole numbers, a byte
//! a factor, with a bound on what the rounding to bytes may hide; items that the sieve lets through
//! are scored by their factors. Nothing is approximate: the answer is that of scoring all items.
//!
//! A group of 16 items shares the step of its bytes and the bounds:
//! with x = s c + e for an item and q = t d + r for a user, c and d whole numbers,
//! q x = t s (d c) + (t d) e + r x <= t s (d c) + |t d| |e| + |r| |x|.

mod build;
mod search;
#[cfg(test)]
mod tests;

use teller_numeric::kernels::codes::{Codes, GROUP, group_bytes};
use teller_numeric::{Cancelled, Control};
use teller_payload::{AlignedBytes, Array, Payload, PayloadError, SharedBytes};

pub(crate) use build::FittedIndex;
pub(crate) use search::Best;

/// Fewest items for which an index pays.
pub(crate) const MIN_ITEMS: usize = 1024;
/// Most factors for which the products of whole numbers are exact as `f32`, and their sums fit.
const MAX_FACTORS: usize = 1024;
/// Longer vectors could overflow where they are multiplied.
const LONGEST: f64 = 1e15;

/// An index as it is stored. What it says is believed as far as the order of items goes; it never
/// leads outside of the factors.
#[derive(Debug)]
pub(crate) struct ItemIndex {
    payload: Payload,
    /// Indexes of the items, from the longest to the shortest.
    order: Array<u32>,
    codes: Array<u8>,
    /// Of each group: the step of its codes, the longest error of a vector that the codes stand
    /// for, the greatest length.
    steps: Array<f32>,
    errors: Array<f32>,
    lengths: Array<f32>,
}

impl ItemIndex {
    /// For `items` of `factors` each.
    pub(crate) fn load(
        bytes: SharedBytes,
        items: usize,
        factors: usize,
    ) -> Result<Self, PayloadError> {
        let payload = Payload::parse(bytes)?;
        let groups = items.div_ceil(GROUP);
        Ok(Self {
            order: payload.array_of("order", &[items])?,
            codes: payload.array_of("codes", &[groups, group_bytes(factors)])?,
            steps: payload.array_of("steps", &[groups])?,
            errors: payload.array_of("errors", &[groups])?,
            lengths: payload.array_of("lengths", &[groups])?,
            payload,
        })
    }

    fn codes(&self, factors: usize) -> Option<Codes<'_>> {
        Codes::new(factors, self.payload.get(self.codes))
    }
}

/// The part that finds the best of many items quickly, for row-major factors, `count` an item;
/// `None` where it would not pay. Trainings make it themselves.
pub fn item_index(
    items: &[f32],
    count: usize,
    control: &dyn Control,
) -> Result<Option<AlignedBytes>, Cancelled> {
    let index = FittedIndex::build(items, count, control)?;
    Ok(index.map(|index| index.payload()))
}

/// Bytes of the index of `items` with `factors` each, 0 where there is none.
pub(crate) fn bytes_needed(items: u64, factors: u64) -> u64 {
    if items < MIN_ITEMS as u64 || factors > MAX_FACTORS as u64 {
        return 0;
    }
    items.saturating_mul(factors.saturating_add(8))
}

/// The length of a vector.
fn length(vector: &[f32]) -> f64 {
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

/// The step of whole numbers from -127 to 127 for numbers as far from 0 as `largest`.
fn step(largest: f32) -> f32 {
    largest / 127.0
}

/// The nearest whole number of steps.
fn code(number: f32, step: f32) -> i8 {
    if step > 0.0 { (number / step).round().clamp(-127.0, 127.0) as i8 } else { 0 }
}

/// The greatest distance from 0.
fn largest(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0, |largest, number| largest.max(number.abs()))
}

/// What is left of a vector when its codes are taken away: its length.
fn error(vector: &[f32], step: f32) -> f64 {
    let squares = vector.iter().map(|&x| {
        let left = f64::from(x) - f64::from(step) * f64::from(code(x, step));
        left * left
    });
    squares.sum::<f64>().sqrt()
}
