//! A trained generator of table rows, ready to be asked.

use teller_numeric::{Control, Isa, Stream};

use super::affine::Work;
use super::sampler::{Draw, Sampler};
use super::table::{Margins, Table, TableEncoding};
use crate::Error;

/// Rows that are made together.
const BATCH: usize = 1024;

/// Makes rows like those of the table that it has learned from.
#[derive(Clone, Debug)]
pub struct TableGenerator {
    pub(super) encoding: TableEncoding,
    pub(super) sampler: Sampler,
    pub(super) margins: Margins,
}

impl TableGenerator {
    /// `count` rows from number `first` on, labels as often as in the table, on the threads of the
    /// ambient rayon pool. The same seed gives the same row at the same number, on any processor.
    pub fn rows(
        &self,
        first: u64,
        count: usize,
        seed: u64,
        control: &dyn Control,
    ) -> Result<Table, Error> {
        let work = Work { isa: Isa::detect(), control };
        let mut all: Option<Table> = None;
        for done in (0..count.max(1)).step_by(BATCH) {
            control.check()?;
            let first = first + done as u64;
            let rows = first..first + (count - done).min(BATCH) as u64;
            let label = |row| self.margins.draw_label(&mut Stream::new(seed, "label", row));
            let labels: Vec<u32> = rows.map(label).collect();
            let draw = Draw { seed, first, labels: &labels };
            let raw = self.sampler.raw(&work, &self.encoding, draw)?;
            let stream = |row: u64| Stream::new(seed, "choices", first + row);
            let table = self.margins.tell(&self.encoding, &labels, &raw, stream);
            match &mut all {
                Some(all) => all.append(table),
                None => all = Some(table),
            }
        }
        all.ok_or(Error::NoRows)
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
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.encoding.columns.iter().map(|column| &*column.name)
    }
}
