//! A trained generator of table rows, ready to be asked.

use teller_numeric::{Control, Isa, Stream};

use super::affine::Work;
use super::condition::Condition;
use super::sampler::{Draw, Sampler};
use super::table::{Margins, Table, TableEncoding, TableError};
use crate::Error;

/// Rows that are made together.
const BATCH: usize = 1024;
/// Bits of a row's number; the ones above count its tries.
const ROW_BITS: u32 = 32;
/// Rows that are drawn before a condition is held to be met too rarely, and how rarely that is.
const FEWEST_DRAWS: u64 = 20_000;
const RAREST: u64 = 2000;

/// Makes rows like those of the table that it has learned from.
#[derive(Clone, Debug)]
pub struct TableGenerator {
    pub(super) encoding: TableEncoding,
    pub(super) sampler: Sampler,
    pub(super) margins: Margins,
}

impl TableGenerator {
    /// `count` rows from number `first` on that meet the `condition`, labels as often as in the
    /// table unless one is asked for, on the threads of the ambient rayon pool. The same seed gives
    /// the same row at the same number, on any processor.
    ///
    /// Row numbers are below 2^32.
    pub fn rows(
        &self,
        first: u64,
        count: usize,
        seed: u64,
        condition: &Condition,
        control: &dyn Control,
    ) -> Result<Table, Error> {
        let mut all = Table { columns: self.encoding.empty_columns(0), rows: 0 };
        for done in (0..count).step_by(BATCH) {
            let first = first + done as u64;
            let wanted: Vec<u64> = (first..first + (count - done).min(BATCH) as u64).collect();
            all.append(self.batch(&wanted, seed, condition, control)?);
        }
        Ok(all)
    }

    /// The rows of these numbers. Each is drawn until it meets the condition, the first time as if
    /// there were none.
    fn batch(
        &self,
        wanted: &[u64],
        seed: u64,
        condition: &Condition,
        control: &dyn Control,
    ) -> Result<Table, Error> {
        let work = Work { isa: Isa::detect(), control };
        let mut found: Option<Table> = None;
        // The places in `wanted` of those that are found, and of those that are not yet.
        let (mut places, mut left) = (Vec::new(), (0..wanted.len()).collect::<Vec<usize>>());
        let (mut drawn, mut tries) = (0, 0);
        while !left.is_empty() {
            control.check()?;
            // The fewer are left, the more tries of each are made together.
            let together = (BATCH / left.len()) as u64;
            let together = if tries == 0 { 1 } else { together };
            let all = left.iter().flat_map(|&place| {
                (tries..tries + together).map(move |of| wanted[place] | of << ROW_BITS)
            });
            let numbers: Vec<u64> = all.collect();
            let label = |&number: &u64| {
                let mut stream = Stream::new(seed, "label", number);
                condition.draw_label(&self.margins.counts, &mut stream)
            };
            let labels: Vec<u32> = numbers.iter().map(label).collect();
            let draw = Draw { seed, numbers: &numbers, labels: &labels };
            let raw = self.sampler.raw(&work, &self.encoding, draw)?;
            let stream = |row: usize| draw.stream("choices", row);
            let made = self.margins.tell(&self.encoding, &labels, &raw, stream);
            let of_each = (0..numbers.len()).step_by(together as usize);
            let mut taken = Vec::new();
            let mut still = Vec::new();
            for (&place, first) in left.iter().zip(of_each) {
                let mut rows = first..first + together as usize;
                match rows.find(|&row| condition.is_met(&made, row)) {
                    Some(row) => {
                        taken.push(row);
                        places.push(place);
                    }
                    None => still.push(place),
                }
            }
            left = still;
            let made = made.select(&taken);
            match &mut found {
                Some(found) => found.append(made),
                None => found = Some(made),
            }
            drawn += numbers.len() as u64;
            tries += together;
            let met = places.len() as u64;
            if !left.is_empty() && drawn >= FEWEST_DRAWS && met * RAREST < drawn {
                return Err(TableError::Rare { met, drawn, expected: RAREST }.into());
            }
        }
        let found = found.ok_or(Error::NoRows)?;
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_unstable_by_key(|&at| places[at]);
        Ok(found.select(&order))
    }

    /// Bytes that it holds; of its payload it keeps nothing.
    pub fn memory(&self) -> usize {
        let margins = self.margins.labels.iter().map(|label| {
            let tables = label.remaps.iter().flat_map(|remap| [&remap.raw, &remap.real]);
            let tables = tables.map(|table| size_of_val(table.values()));
            size_of_val(&*label.offsets) + tables.sum::<usize>()
        });
        self.sampler.memory() + margins.sum::<usize>()
    }

    /// The names of the columns, in their order.
    pub fn columns(&self) -> impl Iterator<Item = &str> + Clone {
        self.encoding.columns.iter().map(|column| &*column.name)
    }
}
