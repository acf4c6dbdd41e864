//! Symmetric positive definite matrices of thousands of rows, inverted in place by the sweep
//! operator (Goodnight, "A Tutorial on the SWEEP Operator", The American Statistician 1979), a block
//! of pivots at a time: one pass of matrix products over the upper triangle a block, all of them
//! alike and free to run side by side.

use rayon::prelude::*;
use teller_numeric::kernels::{Contraction, Grid, Start};
use teller_numeric::{Cancelled, Control, Isa};

/// Rows and columns of a tile: three of them fit the second-level cache.
const SIDE: usize = 128;
const TILE: usize = SIDE * SIDE;
/// Pivots that are swept at once inside a tile.
const PIVOTS: usize = 16;

/// The upper triangle of a symmetric matrix in square tiles, row by row. Rows and columns that fill
/// the last tiles up are those of the identity.
pub(crate) struct Symmetric {
    n: usize,
    /// Tiles side by side.
    across: usize,
    tiles: Vec<f32>,
    isa: Isa,
}

/// Bytes of a [`Symmetric`] of `n` rows and of what [`Symmetric::invert`] works with.
pub(crate) fn symmetric_memory(n: u64) -> u64 {
    let across = n.div_ceil(SIDE as u64);
    let tiles = across.saturating_mul(across.saturating_add(1)) / 2;
    tiles.saturating_add(across.saturating_mul(2)).saturating_mul(4 * TILE as u64)
}

impl Symmetric {
    /// The matrix whose row `i` from column `i` on is added to zeros by `fill(i, row)`; `row` is all
    /// of it, and what is before column `i` does not count. `fill` may run for many rows at once.
    pub(crate) fn new(
        n: usize,
        fill: impl Fn(usize, &mut [f32]) -> Result<(), Cancelled> + Sync,
    ) -> Result<Self, Cancelled> {
        let across = n.div_ceil(SIDE);
        let mut tiles = vec![0f32; across * (across + 1) / 2 * TILE];
        let mut rest = &mut tiles[..];
        let mut rows_of_tiles = Vec::with_capacity(across);
        for i in 0..across {
            let (row, after) = rest.split_at_mut((across - i) * TILE);
            rows_of_tiles.push(row);
            rest = after;
        }
        rows_of_tiles.into_par_iter().enumerate().try_for_each(|(i, tiles)| {
            let mut row = vec![0f32; (across * SIDE).max(n)];
            for at in 0..SIDE {
                let index = i * SIDE + at;
                row.fill(0.0);
                match index < n {
                    true => fill(index, &mut row[..n])?,
                    false => row[index] = 1.0,
                }
                let row = row[i * SIDE..].chunks_exact(SIDE);
                for (tile, row) in tiles.chunks_exact_mut(TILE).zip(row) {
                    tile[at * SIDE..][..SIDE].copy_from_slice(row);
                }
            }
            mirror(&mut tiles[..TILE]);
            Ok(())
        })?;
        Ok(Self { n, across, tiles, isa: Isa::detect() })
    }

    /// Where tile (i, j), i <= j, begins.
    fn start(&self, i: usize, j: usize) -> usize {
        (i * self.across - i * (i + 1) / 2 + j) * TILE
    }

    /// Replaces the matrix by its inverse. No pivot counts for less than `least`, which must not be
    /// more than the least eigenvalue: rounding alone can bring a pivot below that.
    pub(crate) fn invert(&mut self, least: f32, control: &dyn Control) -> Result<(), Cancelled> {
        let places: Vec<(usize, usize)> =
            (0..self.across).flat_map(|i| (i..self.across).map(move |j| (i, j))).collect();
        let mut panel = vec![0f32; self.across * TILE];
        let mut swept = vec![0f32; self.across * TILE];
        for k in 0..self.across {
            control.check()?;
            let mut pivot = self.tiles[self.start(k, k)..][..TILE].to_vec();
            sweep_tile(self.isa, &mut pivot, least);
            let pivot = &pivot;
            // Row k of tiles, also where it is stored as a column, and the pivot's inverse times it,
            // negative as the sweep leaves the pivot.
            panel
                .par_chunks_exact_mut(TILE)
                .zip(swept.par_chunks_exact_mut(TILE))
                .enumerate()
                .for_each(|(j, (row, swept))| {
                    if j < k {
                        transpose(&self.tiles[self.start(j, k)..][..TILE], row);
                    } else {
                        row.copy_from_slice(&self.tiles[self.start(k, j)..][..TILE]);
                    }
                    product(self.isa, pivot, row, Start::Zero, swept);
                });
            let isa = self.isa;
            self.tiles.par_chunks_exact_mut(TILE).zip(&places).try_for_each(
                |(tile, &(i, j))| {
                    control.check()?;
                    match (i == k, j == k) {
                        (true, true) => tile.copy_from_slice(pivot),
                        (true, false) => negate(of(&swept, j), tile),
                        (false, true) => {
                            transpose(of(&swept, i), tile);
                            tile.iter_mut().for_each(|x| *x = -*x);
                        }
                        (false, false) => {
                            let (row, swept) = (of(&panel, i), of(&swept, j));
                            transposed_product(isa, row, swept, tile);
                        }
                    }
                    Ok(())
                },
            )?;
        }
        self.tiles
            .par_chunks_exact_mut(TILE)
            .for_each(|tile| tile.iter_mut().for_each(|x| *x = -*x));
        Ok(())
    }

    /// All of the matrix, row-major.
    pub(crate) fn to_rows(&self) -> Vec<f32> {
        let n = self.n;
        let mut rows = vec![0f32; n * n];
        rows.par_chunks_mut(SIDE * n).enumerate().for_each(|(i, rows)| {
            let mut turned = vec![0f32; TILE];
            for j in 0..self.across {
                let tile = if j < i {
                    transpose(&self.tiles[self.start(j, i)..][..TILE], &mut turned);
                    &turned
                } else {
                    &self.tiles[self.start(i, j)..][..TILE]
                };
                let columns = SIDE.min(n - j * SIDE);
                for (row, from) in rows.chunks_exact_mut(n).zip(tile.chunks_exact(SIDE)) {
                    row[j * SIDE..][..columns].copy_from_slice(&from[..columns]);
                }
            }
        });
        rows
    }
}

/// Replaces a symmetric tile by its negative inverse.
fn sweep_tile(isa: Isa, tile: &mut [f32], least: f32) {
    let mut pivots = [0f64; PIVOTS * PIVOTS];
    let mut rows = [0f32; PIVOTS * SIDE];
    let mut swept = [0f32; PIVOTS * SIDE];
    for k in (0..SIDE).step_by(PIVOTS) {
        rows.copy_from_slice(&tile[k * SIDE..][..PIVOTS * SIDE]);
        for (pivots, row) in pivots.chunks_exact_mut(PIVOTS).zip(rows.chunks_exact(SIDE)) {
            pivots.iter_mut().zip(&row[k..]).for_each(|(pivot, &x)| *pivot = f64::from(x));
        }
        sweep_pivots(&mut pivots, f64::from(least));
        let inverse: [f32; PIVOTS * PIVOTS] = std::array::from_fn(|i| pivots[i] as f32);
        let times = Contraction {
            rows: Grid {
                outer: 1,
                inner: PIVOTS,
                a_inner: PIVOTS,
                c_inner: SIDE,
                ..Grid::default()
            },
            columns: SIDE,
            segments: 1,
            steps: PIVOTS,
            a_step: 1,
            b_step: SIDE,
            ..Contraction::default()
        };
        times.run(isa, &inverse, &rows, Start::Zero, &mut swept);
        let update = Contraction {
            rows: Grid { outer: 1, inner: SIDE, a_inner: 1, c_inner: SIDE, ..Grid::default() },
            a_step: SIDE,
            ..times
        };
        update.run(isa, &rows, &swept, Start::Continue, tile);
        for (i, swept) in swept.chunks_exact(SIDE).enumerate() {
            for (j, &x) in swept.iter().enumerate() {
                tile[(k + i) * SIDE + j] = -x;
                tile[j * SIDE + k + i] = -x;
            }
        }
        for (i, inverse) in inverse.chunks_exact(PIVOTS).enumerate() {
            tile[(k + i) * SIDE + k..][..PIVOTS].copy_from_slice(inverse);
        }
    }
}

/// Replaces a small symmetric matrix by its negative inverse.
fn sweep_pivots(matrix: &mut [f64; PIVOTS * PIVOTS], least: f64) {
    for k in 0..PIVOTS {
        let row: [f64; PIVOTS] = std::array::from_fn(|j| matrix[k * PIVOTS + j]);
        let inverse = 1.0 / row[k].max(least);
        for i in (0..PIVOTS).filter(|&i| i != k) {
            let factor = row[i] * inverse;
            for j in 0..PIVOTS {
                matrix[i * PIVOTS + j] -= factor * row[j];
            }
            matrix[i * PIVOTS + k] = factor;
            matrix[k * PIVOTS + i] = factor;
        }
        matrix[k * PIVOTS + k] = -inverse;
    }
}

const PRODUCT: Contraction = Contraction {
    rows: Grid { outer: 1, inner: SIDE, a_outer: 0, a_inner: SIDE, c_outer: 0, c_inner: SIDE },
    columns: SIDE,
    segments: 1,
    steps: SIDE,
    a_segment: 0,
    a_step: 1,
    b_segment: 0,
    b_step: SIDE,
    relu: false,
    pool: None,
};

/// `c = A B`, added to what `c` starts from.
fn product(isa: Isa, a: &[f32], b: &[f32], start: Start<'_>, c: &mut [f32]) {
    PRODUCT.run(isa, a, b, start, c);
}

/// `c += A' B`.
fn transposed_product(isa: Isa, a: &[f32], b: &[f32], c: &mut [f32]) {
    let rows = Grid { a_inner: 1, ..PRODUCT.rows };
    Contraction { rows, a_step: SIDE, ..PRODUCT }.run(isa, a, b, Start::Continue, c);
}

fn transpose(from: &[f32], to: &mut [f32]) {
    const BLOCK: usize = 16;
    for i in (0..SIDE).step_by(BLOCK) {
        for (j, to) in to.chunks_exact_mut(SIDE).enumerate() {
            for (at, to) in to[i..i + BLOCK].iter_mut().enumerate() {
                *to = from[(i + at) * SIDE + j];
            }
        }
    }
}

fn negate(from: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, &x)| *to = -x);
}

/// Tile `at` of tiles that lie one after the other.
fn of(tiles: &[f32], at: usize) -> &[f32] {
    &tiles[at * TILE..][..TILE]
}

/// Copies what is above the diagonal of a tile below it.
fn mirror(tile: &mut [f32]) {
    for i in 0..SIDE {
        for j in 0..i {
            tile[i * SIDE + j] = tile[j * SIDE + i];
        }
    }
}
