//! How near synthetic rows are to the real ones as a whole, which is their use, and to single real
//! ones, which is their danger; the latter of images too.

mod distance;
mod privacy;
mod quality;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use distance::Features;
pub use privacy::Privacy;
pub(super) use privacy::{Copied, Points};
pub use quality::Quality;
use teller_numeric::{Control, Stream};

use super::condition::Condition;
use super::generator::TableGenerator;
use super::table::{Table, TableCell, TableError};
use crate::Error;
use crate::training::Split;

/// Synthetic rows that are looked at, at most; of real ones that are looked up, as many.
pub(super) const MOST_ROWS: usize = 20_000;
/// Rows whose closest ones are looked for.
pub(super) const QUERIES: usize = 2000;

/// What is told with every generator.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Columns and their correlations.
    pub quality: Quality,
    /// Of single rows; absent where none were kept apart to compare with.
    pub privacy: Option<Privacy>,
}

impl Report {
    /// Compares as many synthetic rows as were learned from with those and with the ones kept
    /// `apart` from them.
    pub(super) fn new(
        generator: &TableGenerator,
        table: &Table,
        apart: &Split,
        seed: u64,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let count = apart.training.len().min(MOST_ROWS);
        let seed = Stream::new(seed, "report", 0).next_u64();
        let synthetic = generator.rows(0, count, seed, &Condition::default(), control)?;
        let features = Features::new(&generator.encoding, table, &apart.training);
        let quality = Quality::new(&features, table, &apart.training, &synthetic, control)?;
        let privacy = if apart.validation.is_empty() {
            None
        } else {
            let real = [&*apart.training, &*apart.validation];
            Some(privacy(&features, (table, real), &synthetic, control)?)
        };
        Ok(Self { quality, privacy })
    }

    /// Bytes that it takes: features of real and of synthetic rows, and numbers of the latter.
    pub(super) fn memory(table: &Table) -> u64 {
        let rows = table.rows().min(MOST_ROWS) as u64;
        rows.saturating_mul(table.columns.len() as u64).saturating_mul(4 * 4 + 4 * 8)
    }

    /// All figures by name.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let quality = self.quality.figures().into_iter();
        let privacy = self.privacy.iter().flat_map(Privacy::figures);
        quality.chain(privacy).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn privacy(
    features: &Features,
    (table, [training, held_out]): (&Table, [&[u32]; 2]),
    synthetic: &Table,
    control: &dyn Control,
) -> Result<Privacy, Error> {
    let mut known = HashSet::with_capacity(training.len());
    for rows in training.chunks(QUERIES) {
        control.check()?;
        known.extend(rows.iter().map(|&row| digest(table, row)));
    }
    let made: Vec<u32> = (0..synthetic.rows() as u32).collect();
    let copies = [
        Copied::count(&known, made.iter().map(|&row| digest(synthetic, row))),
        Copied::count(&known, held_out.iter().map(|&row| digest(table, row))),
    ];
    let asked = |table, rows: &[u32]| features.of(table, &some(rows, QUERIES));
    let points = Points {
        known: [features.of(table, &some(training, MOST_ROWS)), features.of(synthetic, &made)],
        asked: [asked(table, training), asked(synthetic, &made), asked(table, held_out)],
    };
    Privacy::new(&points, copies, control)
}

/// Equal for equal rows.
fn digest(table: &Table, row: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    for cell in table.row(row as usize) {
        match cell {
            TableCell::Null => 0u8.hash(&mut hasher),
            TableCell::Number(number) => number.to_bits().hash(&mut hasher),
            TableCell::Text(text) => text.hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// The quality of as many synthetic rows as `table` has, compared with those, which may be others
/// than were learned from. Its columns must be those of the generator.
pub fn evaluate_generator(
    generator: &TableGenerator,
    table: &Table,
    control: &dyn Control,
) -> Result<Vec<(String, f64)>, Error> {
    if !table.names().eq(generator.columns()) {
        return Err(TableError::Columns.into());
    }
    let rows: Vec<u32> = (0..table.rows() as u32).collect();
    let synthetic =
        generator.rows(0, rows.len().min(MOST_ROWS), 0, &Condition::default(), control)?;
    let features = Features::new(&generator.encoding, table, &rows);
    let quality = Quality::new(&features, table, &rows, &synthetic, control)?;
    Ok(quality.figures().map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// `most` of some rows, evenly spread.
fn some(rows: &[u32], most: usize) -> Vec<u32> {
    rows.iter().copied().step_by(rows.len().div_ceil(most).max(1)).collect()
}
