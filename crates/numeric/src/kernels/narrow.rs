//! Contractions of few columns, where a vector of them would be mostly empty: if the rows follow
//! each other in `A`, a vector holds rows instead. The sums are the same, in the same order.

#![allow(clippy::needless_range_loop)] // The loops over registers read best by index.

use super::contraction::{Contraction, Job, Start};
use super::simd::{Simd, Work};

/// Columns that share each load of `A`.
const MOST_COLUMNS: usize = 4;
/// Vectors of rows beside each other, and below each other.
const MOST_ACROSS: usize = 2;
const MOST_DOWN: usize = 2;
/// Rows that are turned at once; a divisor of all numbers of lanes.
const TURNED: usize = 4;
/// Lanes of the widest vectors.
const MOST_LANES: usize = 16;

/// Whether vectors of rows are fuller than vectors of columns.
pub(super) fn suits<S: Simd>(shape: &Contraction) -> bool {
    let Contraction { rows, columns, pool, .. } = *shape;
    pool.is_none() && rows.a_inner == 1 && 2 * columns <= S::LANES && 2 * rows.inner > S::LANES
}

/// The job of a shape that [`suits`].
pub(super) fn all_columns<S: Simd>(simd: S, job: &Job<'_>) {
    let columns = job.shape.columns;
    for column in (0..columns).step_by(MOST_COLUMNS) {
        match columns - column {
            4.. => simd.vectorize(Columns::<S, 4> { simd, job, column }),
            3 => simd.vectorize(Columns::<S, 3> { simd, job, column }),
            2 => simd.vectorize(Columns::<S, 2> { simd, job, column }),
            _ => simd.vectorize(Columns::<S, 1> { simd, job, column }),
        }
    }
}

/// All rows of `COLUMNS` columns.
struct Columns<'j, S, const COLUMNS: usize> {
    simd: S,
    job: &'j Job<'j>,
    column: usize,
}

impl<S: Simd, const COLUMNS: usize> Work for Columns<'_, S, COLUMNS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.job.shape.rows;
        let mut y = 0;
        while y < rows.outer {
            let down = (rows.outer - y).min(MOST_DOWN);
            let mut x = 0;
            while x < rows.inner {
                let count = (rows.inner - x).min(MOST_ACROSS * S::LANES);
                let place = (y, x, count);
                // SAFETY: `Contraction::check` has bounded all rows and columns.
                unsafe {
                    match (down, count > S::LANES) {
                        (2.., true) => self.tile::<2, 2>(place),
                        (2.., false) => self.tile::<2, 1>(place),
                        (_, true) => self.tile::<1, 2>(place),
                        (_, false) => self.tile::<1, 1>(place),
                    }
                }
                x += count;
            }
            y += down;
        }
    }
}

impl<S: Simd, const COLUMNS: usize> Columns<'_, S, COLUMNS> {
    /// `count` rows from `x` on, `ACROSS` vectors of them, in each of `DOWN` outer rows.
    ///
    /// # Safety
    /// The job's shape must fit its slices, and the rows and columns must exist.
    #[inline(always)]
    unsafe fn tile<const DOWN: usize, const ACROSS: usize>(
        &self,
        (y, x, count): (usize, usize, usize),
    ) {
        let Self { simd, job, column } = *self;
        let Contraction {
            rows, segments, steps, a_segment, a_step, b_segment, b_step, relu, ..
        } = *job.shape;
        let mask = simd.mask(count - (ACROSS - 1) * S::LANES);
        let c = |down: usize, row: usize| {
            job.c.wrapping_add((y + down) * rows.c_outer + (x + row) * rows.c_inner + column)
        };
        let mut sums = [[[simd.splat(0.0); COLUMNS]; ACROSS]; DOWN];
        match job.start {
            Start::Zero => {}
            Start::Bias(bias) => {
                for number in 0..COLUMNS {
                    let bias = simd.splat(bias[column + number]);
                    for down in 0..DOWN {
                        for across in 0..ACROSS {
                            sums[down][across][number] = bias;
                        }
                    }
                }
            }
            Start::Continue => {
                for down in 0..DOWN {
                    for across in 0..ACROSS {
                        for number in 0..COLUMNS {
                            let mut lanes = [0.0; MOST_LANES];
                            let first = across * S::LANES;
                            for row in first..count.min(first + S::LANES) {
                                // SAFETY: the caller grants the rows and columns.
                                lanes[row - first] = unsafe { *c(down, row).wrapping_add(number) };
                            }
                            // SAFETY: no vector has more lanes.
                            sums[down][across][number] = unsafe { simd.load(lanes.as_ptr()) };
                        }
                    }
                }
            }
        }

        let a = job.a.wrapping_add(y * rows.a_outer + x);
        for segment in 0..segments {
            let mut a = a.wrapping_add(segment * a_segment);
            let mut b = job.b.wrapping_add(segment * b_segment + column);
            for _ in 0..steps {
                let mut weights = [simd.splat(0.0); COLUMNS];
                for number in 0..COLUMNS {
                    // SAFETY: the caller grants the steps and columns.
                    weights[number] = simd.splat(unsafe { *b.wrapping_add(number) });
                }
                for down in 0..DOWN {
                    for across in 0..ACROSS {
                        let from = a.wrapping_add(down * rows.a_outer + across * S::LANES);
                        // SAFETY: the caller grants the rows and steps; the mask leaves out those
                        // that do not exist, which only the last vector has.
                        let values = unsafe {
                            match across + 1 < ACROSS {
                                true => simd.load(from),
                                false => simd.load_masked(mask, from),
                            }
                        };
                        for number in 0..COLUMNS {
                            let sum = sums[down][across][number];
                            sums[down][across][number] = simd.fma(values, weights[number], sum);
                        }
                    }
                }
                a = a.wrapping_add(a_step);
                b = b.wrapping_add(b_step);
            }
        }

        for down in 0..DOWN {
            let mut results = [[0.0f32; MOST_ACROSS * MOST_LANES]; COLUMNS];
            for across in 0..ACROSS {
                for number in 0..COLUMNS {
                    let mut result = sums[down][across][number];
                    if relu {
                        result = simd.max(simd.splat(0.0), result);
                    }
                    let to = results[number].as_mut_ptr().wrapping_add(across * S::LANES);
                    // SAFETY: so many lanes of the widest vectors have room.
                    unsafe { simd.store(to, result) }
                }
            }
            // A few rows at a time, so that they are turned in registers.
            for first in (0..count.min(MOST_ACROSS * MOST_LANES)).step_by(TURNED) {
                let mut turned = [[0.0; COLUMNS]; TURNED];
                for row in 0..TURNED {
                    for number in 0..COLUMNS {
                        turned[row][number] = results[number][first + row];
                    }
                }
                for row in 0..TURNED.min(count - first) {
                    let to = c(down, first + row).cast::<[f32; COLUMNS]>();
                    // SAFETY: the caller grants the rows and columns; arrays of floats need no
                    // more alignment than floats.
                    unsafe { to.write(turned[row]) }
                }
            }
        }
    }
}
