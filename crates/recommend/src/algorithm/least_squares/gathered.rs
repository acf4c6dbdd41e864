use teller_numeric::kernels::{Aligned, Work, add_projections, prefetch};
use teller_numeric::{Cancelled, Control, Isa};

use crate::algorithm::als::extra_confidence;
use crate::fold_in::Row;
use crate::vectors::axpy;

/// Numbers that a row's interactions may be copied together into: half a second-level cache.
const GATHERED: usize = 1 << 17;
/// Interactions of one row that are added at once, and columns of them.
const CHOSEN: usize = 64;
const WIDE: usize = 64;
/// Rows that are asked for while the row before is solved: what the nearest caches hold.
const PREFETCHED: usize = 128;
/// Rows that are asked for before they are read.
const AHEAD: usize = 12;

/// Asks for the first of the rows that will be gathered for the next row.
pub(super) fn ask(fixed: &[f32], f: usize, columns: &[u32]) {
    columns.iter().take(PREFETCHED).for_each(|&column| prefetch(row(fixed, f, column)));
}

#[inline(always)]
fn row(fixed: &[f32], f: usize, column: u32) -> &[f32] {
    &fixed[column as usize * f..][..f]
}

/// The fixed side's rows of one row's interactions. Each step of the gradients reads them again:
/// copied together they are still in the cache, unless they are too many.
pub(super) struct Gathered<'a, 's> {
    pub(super) isa: Isa,
    /// Factors of a row.
    pub(super) f: usize,
    pub(super) alpha: f32,
    pub(super) fixed: &'a [f32],
    pub(super) row: Row<'a>,
    pub(super) control: &'a dyn Control,
    /// A block of rows.
    pub(super) block: &'s mut Aligned,
    /// The first of the block.
    pub(super) first: Option<usize>,
}

/// Rows of a block.
pub(super) fn most_together(f: usize) -> usize {
    (GATHERED / f).max(1)
}

impl Gathered<'_, '_> {
    /// Adds b, the sum of c y.
    pub(super) fn add_right(&mut self, sums: &mut [f32]) -> Result<(), Cancelled> {
        let (isa, alpha) = (self.isa, self.alpha);
        self.each(|rows, weights| {
            let mut factors = [0f32; CHOSEN];
            for (factor, &weight) in factors.iter_mut().zip(weights) {
                *factor = 1.0 + extra_confidence(alpha, weight);
            }
            isa.run(AddRows { rows, factors: &factors[..weights.len()], sums: &mut *sums });
        })
    }

    /// Adds the sum of d (y'x) y.
    pub(super) fn add_product(&mut self, x: &[f32], sums: &mut [f32]) -> Result<(), Cancelled> {
        let (isa, alpha) = (self.isa, self.alpha);
        self.each(|rows, weights| {
            let mut factors = [0f32; CHOSEN];
            for (factor, &weight) in factors.iter_mut().zip(weights) {
                *factor = extra_confidence(alpha, weight);
            }
            add_projections(isa, x, rows, &factors[..weights.len()], sums);
        })
    }

    /// Calls `each` with rows, up to [`CHOSEN`] at once, and their weights.
    pub(super) fn each(&mut self, mut each: impl FnMut(&[f32], &[f32])) -> Result<(), Cancelled> {
        let (f, (columns, weights)) = (self.f, self.row);
        let most = most_together(f);
        for (first, weights) in (0..).step_by(most).zip(weights.chunks(most)) {
            self.gather(first, &columns[first..first + weights.len()])?;
            let blocks = self.block.chunks(CHOSEN * f).zip(weights.chunks(CHOSEN));
            blocks.for_each(|(rows, weights)| each(rows, weights));
        }
        Ok(())
    }

    /// All rows, which must not be more than [`most_together`].
    pub(super) fn together(&mut self) -> Result<&[f32], Cancelled> {
        self.gather(0, self.row.0)?;
        Ok(self.block)
    }

    /// Makes the interactions from the `first` on the block.
    fn gather(&mut self, first: usize, columns: &[u32]) -> Result<(), Cancelled> {
        if self.first == Some(first) {
            return Ok(());
        }
        self.control.check()?;
        let (fixed, f) = (self.fixed, self.f);
        let block = self.block.sized(columns.len() * f);
        for (at, (&column, to)) in columns.iter().zip(block.chunks_exact_mut(f)).enumerate() {
            if at + AHEAD >= PREFETCHED
                && let Some(&soon) = columns.get(at + AHEAD)
            {
                prefetch(row(fixed, f, soon));
            }
            to.copy_from_slice(row(fixed, f, column));
        }
        self.first = Some(first);
        Ok(())
    }
}

/// Adds rows times a factor each to sums.
pub(super) struct AddRows<'a> {
    pub(super) rows: &'a [f32],
    pub(super) factors: &'a [f32],
    pub(super) sums: &'a mut [f32],
}

impl Work for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { rows, factors, sums } = self;
        let width = sums.len();
        // Sums of some columns stay in registers while all rows pass.
        let (wide, rest) = sums.as_chunks_mut::<WIDE>();
        for (first, sums) in (0..).step_by(WIDE).zip(wide) {
            let mut held = *sums;
            for (y, factor) in rows.chunks_exact(width).zip(factors) {
                for (held, y) in held.iter_mut().zip(&y[first..first + WIDE]) {
                    *held += factor * y;
                }
            }
            *sums = held;
        }
        let first = width - rest.len();
        for (y, factor) in rows.chunks_exact(width).zip(factors) {
            axpy(*factor, &y[first..], rest);
        }
    }
}
