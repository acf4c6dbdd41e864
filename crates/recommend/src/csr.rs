use teller_numeric::{Cancelled, Control};

/// Entries between two questions whether to stop.
pub(crate) const POLL: usize = 1 << 16;

/// A sparse matrix by rows; columns ascend within a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    /// Row `r` has the entries `offsets[r]..offsets[r + 1]`.
    pub offsets: Vec<u64>,
    /// Column of each entry.
    pub columns: Vec<u32>,
    /// Value of each entry.
    pub values: Vec<f32>,
}

impl Csr {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Columns and values of `row`.
    #[inline]
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        (&self.columns[range.clone()], &self.values[range])
    }

    /// Number of entries of `row`.
    #[inline]
    pub fn degree(&self, row: usize) -> usize {
        (self.offsets[row + 1] - self.offsets[row]) as usize
    }

    /// The matrix by columns, of which there are `columns`.
    pub fn transpose(&self, columns: usize, control: &dyn Control) -> Result<Csr, Cancelled> {
        let mut offsets = vec![0u64; columns + 1];
        for chunk in self.columns.chunks(POLL) {
            control.check()?;
            chunk.iter().for_each(|&column| offsets[column as usize + 1] += 1);
        }
        accumulate(&mut offsets);
        let mut next = offsets.clone();
        let mut transposed = (vec![0u32; self.columns.len()], vec![0f32; self.values.len()]);
        let mut until_poll = POLL;
        for row in 0..self.rows() {
            let (columns, values) = self.row(row);
            if until_poll <= columns.len() {
                control.check()?;
                until_poll = POLL;
            }
            until_poll = until_poll.saturating_sub(columns.len() + 1);
            for (&column, &value) in columns.iter().zip(values) {
                let at = next[column as usize] as usize;
                next[column as usize] += 1;
                transposed.0[at] = row as u32;
                transposed.1[at] = value;
            }
        }
        Ok(Csr { offsets, columns: transposed.0, values: transposed.1 })
    }
}

/// Turns counts, the one of row `r` at `r + 1`, into offsets.
pub(crate) fn accumulate(offsets: &mut [u64]) {
    let mut sum = 0;
    for offset in offsets {
        sum += *offset;
        *offset = sum;
    }
}
