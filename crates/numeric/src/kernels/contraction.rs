//! The one kernel under every layer: rows of `C` are sums of rows of `B`, weighted by `A`.
//!
//! With activations as height x width x channels and weights as kernel row x kernel column x
//! input channel x output channel, the same loop computes convolutions (without copying patches
//! apart), dense layers, and their gradients to the input and to the weights: see the layers for
//! how each chooses its strides. The product of one step is added to every output by one fused
//! multiply-add, steps in ascending order, so tiles, vectors, threads and batches leave the bits
//! as they are.

#![allow(clippy::needless_range_loop)] // The loops over registers read best by index.

use super::simd::{Simd, Work};
use super::{Isa, Token, narrow};

/// Where the rows of `C` lie, and where in `A` each begins: a grid of `outer` x `inner` rows,
/// in floats from the start of the slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// Rows of the grid.
    pub outer: usize,
    /// Columns of the grid.
    pub inner: usize,
    /// From one outer row to the next in `A`.
    pub a_outer: usize,
    /// From one inner row to the next in `A`.
    pub a_inner: usize,
    /// From one outer row to the next in `C`.
    pub c_outer: usize,
    /// From one inner row to the next in `C`.
    pub c_inner: usize,
}

/// `C[row, column] = start + sum over segment, step of
/// A[row + segment * a_segment + step * a_step] * B[segment * b_segment + step * b_step + column]`,
/// all distances in floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contraction {
    /// The rows.
    pub rows: Grid,
    /// Contiguous columns of `B` and `C`.
    pub columns: usize,
    /// Outer count of the sum.
    pub segments: usize,
    /// Inner count of the sum.
    pub steps: usize,
    /// From one segment to the next in `A`.
    pub a_segment: usize,
    /// From one step to the next in `A`; 0 reads the same number again.
    pub a_step: usize,
    /// From one segment to the next in `B`.
    pub b_segment: usize,
    /// From one step to the next in `B`.
    pub b_step: usize,
    /// Negative results become 0. What is not a number stays so.
    pub relu: bool,
    /// A row of `C` is the maximum of four sums, whose rows of `A` begin at these distances from
    /// the grid's. A later sum counts unless an earlier one is greater.
    pub pool: Option<[usize; 4]>,
}

/// What a sum starts from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// From 0.
    Zero,
    /// From one number a column.
    Bias(&'a [f32]),
    /// From what `C` holds: the sum goes on. Not with [`Contraction::pool`].
    Continue,
}

impl Contraction {
    /// Computes all rows of `c`.
    ///
    /// # Panics
    /// If a stride leads outside a slice, the bias is shorter than the columns, or a pooled sum
    /// is to be continued: programming errors of the caller, who has checked the shapes.
    pub fn run(&self, isa: Isa, a: &[f32], b: &[f32], start: Start<'_>, c: &mut [f32]) {
        self.run_noting(isa, a, b, start, c, None);
    }

    /// [`Contraction::run`], which with `winners` also notes which of the four pooled sums is the
    /// maximum, the first of equal ones, as 0.0 to 3.0 laid out as in `C`.
    ///
    /// # Panics
    /// As `run`, or if `winners` is shorter than `c` or there is no pooling.
    pub fn run_noting(
        &self,
        isa: Isa,
        a: &[f32],
        b: &[f32],
        start: Start<'_>,
        c: &mut [f32],
        winners: Option<&mut [f32]>,
    ) {
        if self.rows.outer == 0 || self.rows.inner == 0 || self.columns == 0 {
            return;
        }
        self.check(a.len(), b.len(), start, c.len());
        let winners = winners.map(|winners| {
            assert!(self.pool.is_some() && winners.len() >= c.len(), "no room for the winners");
            winners.as_mut_ptr()
        });
        let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
        let job = Job { shape: self, a, b, start, c, winners };
        match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(simd) => all_columns(simd, &job),
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(simd) => all_columns(simd, &job),
            #[cfg(target_arch = "aarch64")]
            Token::Neon(simd) => all_columns(simd, &job),
            Token::Scalar(simd) => all_columns(simd, &job),
        }
    }

    /// Products that a run adds.
    pub fn products(&self) -> u64 {
        let pooled = if self.pool.is_some() { 4 } else { 1 };
        [self.rows.outer, self.rows.inner, self.columns, self.segments, self.steps]
            .iter()
            .fold(pooled, |product, &extent| product.saturating_mul(extent as u64))
    }

    /// The pointers of the tiles stay inside the slices because of this.
    fn check(&self, a: usize, b: usize, start: Start<'_>, c: usize) {
        let Grid { outer, inner, a_outer, a_inner, c_outer, c_inner } = self.rows;
        let farthest_tap = self.pool.map_or(0, |taps| taps.into_iter().max().unwrap_or(0));
        let last_c = last(&[(outer, c_outer), (inner, c_inner)], self.columns - 1);
        assert!(last_c < c, "C has {c} floats, the contraction writes number {last_c}");
        match start {
            Start::Bias(bias) => assert!(bias.len() >= self.columns, "the bias is too short"),
            Start::Continue => assert!(self.pool.is_none(), "a maximum cannot be continued"),
            Start::Zero => {}
        }
        if self.segments == 0 || self.steps == 0 {
            return;
        }
        let sums = [(self.segments, self.a_segment), (self.steps, self.a_step)];
        let last_a = last(&[(outer, a_outer), (inner, a_inner), sums[0], sums[1]], farthest_tap);
        assert!(last_a < a, "A has {a} floats, the contraction reads number {last_a}");
        let sums = [(self.segments, self.b_segment), (self.steps, self.b_step)];
        let last_b = last(&sums, self.columns - 1);
        assert!(last_b < b, "B has {b} floats, the contraction reads number {last_b}");
    }
}

/// The farthest number that counts and strides lead to; saturates, so that no slice reaches it.
fn last(extents: &[(usize, usize)], first: usize) -> usize {
    extents
        .iter()
        .fold(first, |sum, &(count, stride)| sum.saturating_add((count - 1).saturating_mul(stride)))
}

/// A contraction with its numbers, which it fits.
pub(super) struct Job<'a> {
    pub(super) shape: &'a Contraction,
    pub(super) a: *const f32,
    pub(super) b: *const f32,
    pub(super) start: Start<'a>,
    pub(super) c: *mut f32,
    winners: Option<*mut f32>,
}

/// Products of a sum that is long.
const LONG: usize = 192;

/// Cuts the columns into blocks of 4, 2 or 1 vectors.
fn all_columns<S: Simd>(simd: S, job: &Job<'_>) {
    if narrow::suits::<S>(job.shape) {
        return narrow::all_columns(simd, job);
    }
    let Contraction { rows, columns, segments, steps, pool, .. } = job.shape;
    // Wide tiles load less for each product, and few rows need them to hide the latency of the sums.
    // In long sums the columns of high tiles stay in the nearest cache.
    let short = segments * steps < LONG;
    let few = rows.outer * rows.inner <= 3;
    let wide = pool.is_none() && (few || S::REGISTERS >= 32 && short);
    let mut column = 0;
    while column < *columns {
        let left = columns - column;
        let vectors = match left.div_ceil(S::LANES) {
            4.. if wide => 4,
            2.. => 2,
            _ => 1,
        };
        let lanes = left - (vectors - 1) * S::LANES;
        let masked = lanes < S::LANES;
        let mask = simd.mask(lanes.min(S::LANES));
        macro_rules! block {
            ($vectors:literal, $masked:literal, $pooled:literal) => {
                simd.vectorize(Block::<S, $vectors, $masked, $pooled> { simd, job, column, mask })
            };
        }
        match (vectors, masked, pool.is_some()) {
            (4, false, _) => block!(4, false, false),
            (4, true, _) => block!(4, true, false),
            (2, false, false) => block!(2, false, false),
            (2, true, false) => block!(2, true, false),
            (_, false, false) => block!(1, false, false),
            (_, true, false) => block!(1, true, false),
            (2, false, true) => block!(2, false, true),
            (2, true, true) => block!(2, true, true),
            (_, false, true) => block!(1, false, true),
            (_, true, true) => block!(1, true, true),
        }
        column += vectors * S::LANES;
    }
}

/// All rows of `VECTORS` vectors of columns; with `MASKED`, `mask` chooses the lanes of the last
/// one that exist.
struct Block<'j, S: Simd, const VECTORS: usize, const MASKED: bool, const POOLED: bool> {
    simd: S,
    job: &'j Job<'j>,
    column: usize,
    mask: S::Mask,
}

impl<S: Simd, const VECTORS: usize, const MASKED: bool, const POOLED: bool> Work
    for Block<'_, S, VECTORS, MASKED, POOLED>
{
    type Output = ();

    /// Cuts the rows into tiles as high as the registers allow, and about equally high, since a
    /// low one at the end would wait for its own sums.
    #[inline(always)]
    fn run(self) {
        let most = (if S::REGISTERS >= 32 { 24 } else { 12 } / VECTORS).min(12);
        let Grid { outer, inner, .. } = self.job.shape.rows;
        let mut place = Place { y: 0, x: 0 };
        let mut left = outer * inner;
        macro_rules! tile {
            ($rows:literal) => {{
                // SAFETY: `Contraction::check` has bounded all rows and columns, `all_columns`
                // has chosen the mask, and so many rows are left.
                unsafe { self.tile::<$rows>(&mut place) }
                left -= if POOLED { $rows / 4 } else { $rows };
            }};
        }
        while left > 0 {
            if POOLED {
                match left {
                    3.. if most >= 12 => tile!(12),
                    _ => tile!(4),
                }
                continue;
            }
            match left.div_ceil(left.div_ceil(most)) {
                12.. if most >= 12 => tile!(12),
                10.. if most >= 10 => tile!(10),
                9.. if most >= 9 => tile!(9),
                8.. if most >= 8 => tile!(8),
                6.. if most >= 6 => tile!(6),
                5.. if most >= 5 => tile!(5),
                4.. if most >= 4 => tile!(4),
                3.. => tile!(3),
                2.. => tile!(2),
                _ => tile!(1),
            }
        }
    }
}

/// A position in the grid of rows.
struct Place {
    y: usize,
    x: usize,
}

impl<S: Simd, const VECTORS: usize, const MASKED: bool, const POOLED: bool>
    Block<'_, S, VECTORS, MASKED, POOLED>
{
    /// `ROWS` sums of `VECTORS` vectors each, held in registers from the first to the last
    /// product. Every index into them must be constant once the loops are unrolled, or the
    /// compiler keeps them in memory.
    ///
    /// # Safety
    /// The job's shape must fit its slices, `mask` the columns that are left, and `ROWS` sums must
    /// be left in the grid from `place` on.
    #[inline(always)]
    unsafe fn tile<const ROWS: usize>(&self, place: &mut Place) {
        let Self { simd, job, column, .. } = *self;
        let Contraction { rows, segments, steps, a_segment, a_step, b_segment, b_step, .. } =
            *job.shape;
        let sums = if POOLED { 4 } else { 1 };
        let taps = job.shape.pool.unwrap_or([0; 4]);
        let mut a = [job.a; ROWS];
        let mut c = [job.c; ROWS];
        let mut from = place.y * rows.a_outer + place.x * rows.a_inner;
        let mut to = place.y * rows.c_outer + place.x * rows.c_inner + column;
        for row in 0..ROWS / sums {
            for sum in 0..sums {
                a[row * sums + sum] = job.a.wrapping_add(from + taps[sum]);
            }
            c[row] = job.c.wrapping_add(to);
            from += rows.a_inner;
            to += rows.c_inner;
            place.x += 1;
            if place.x == rows.inner {
                *place = Place { y: place.y + 1, x: 0 };
                from = place.y * rows.a_outer;
                to = place.y * rows.c_outer + column;
            }
        }

        let mut sum = [[simd.splat(0.0); VECTORS]; ROWS];
        match job.start {
            Start::Zero => {}
            Start::Bias(bias) => {
                // SAFETY: the caller grants the columns.
                let bias = unsafe { self.load(bias.as_ptr().wrapping_add(column)) };
                sum = [bias; ROWS];
            }
            Start::Continue => {
                for row in 0..ROWS {
                    // SAFETY: the caller grants the rows and columns.
                    sum[row] = unsafe { self.load(c[row]) };
                }
            }
        }

        for segment in 0..segments {
            let mut offset = segment * a_segment;
            let mut b = job.b.wrapping_add(segment * b_segment + column);
            for _ in 0..steps {
                // SAFETY: the caller grants the steps and columns.
                let b_vectors = unsafe { self.load(b) };
                for row in 0..ROWS {
                    // SAFETY: the caller grants the rows and steps.
                    let weight = simd.splat(unsafe { *a[row].wrapping_add(offset) });
                    for vector in 0..VECTORS {
                        sum[row][vector] = simd.fma(weight, b_vectors[vector], sum[row][vector]);
                    }
                }
                offset += a_step;
                b = b.wrapping_add(b_step);
            }
        }

        for row in 0..ROWS / sums {
            let mut result = sum[row * sums];
            if POOLED && let Some(winners) = job.winners {
                let mut winner = [simd.splat(0.0); VECTORS];
                for other in 1..sums {
                    let number = simd.splat(other as f32);
                    for vector in 0..VECTORS {
                        let rival = sum[row * sums + other][vector];
                        winner[vector] =
                            simd.if_greater(rival, result[vector], number, winner[vector]);
                        result[vector] = simd.max(result[vector], rival);
                    }
                }
                let at = (c[row] as usize - job.c as usize) / size_of::<f32>();
                // SAFETY: the winners are laid out as `c`.
                unsafe { self.store(winners.wrapping_add(at), winner) }
            } else {
                for other in 1..sums {
                    for vector in 0..VECTORS {
                        result[vector] = simd.max(result[vector], sum[row * sums + other][vector]);
                    }
                }
            }
            if job.shape.relu {
                for vector in 0..VECTORS {
                    result[vector] = simd.max(simd.splat(0.0), result[vector]);
                }
            }
            // SAFETY: the caller grants the rows and columns.
            unsafe { self.store(c[row], result) }
        }
    }

    /// # Safety
    /// The block's columns must be readable at `from`.
    #[inline(always)]
    unsafe fn load(&self, from: *const f32) -> [S::Vector; VECTORS] {
        let mut vectors = [self.simd.splat(0.0); VECTORS];
        for vector in 0..VECTORS {
            let from = from.wrapping_add(vector * S::LANES);
            vectors[vector] = if MASKED && vector == VECTORS - 1 {
                // SAFETY: the caller grants the masked lanes of the last vector.
                unsafe { self.simd.load_masked(self.mask, from) }
            } else {
                // SAFETY: the caller grants the vectors before it.
                unsafe { self.simd.load(from) }
            };
        }
        vectors
    }

    /// # Safety
    /// The block's columns must be writable at `to`.
    #[inline(always)]
    unsafe fn store(&self, to: *mut f32, vectors: [S::Vector; VECTORS]) {
        for vector in 0..VECTORS {
            let to = to.wrapping_add(vector * S::LANES);
            if MASKED && vector == VECTORS - 1 {
                // SAFETY: the caller grants the masked lanes of the last vector.
                unsafe { self.simd.store_masked(self.mask, to, vectors[vector]) }
            } else {
                // SAFETY: the caller grants the vectors before it.
                unsafe { self.simd.store(to, vectors[vector]) }
            }
        }
    }
}

#[cfg(test)]
#[path = "contraction_tests.rs"]
mod tests;
