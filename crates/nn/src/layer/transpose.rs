//! Matrices turned over.

/// Rows and columns that are turned at once, in registers.
const BLOCK: usize = 4;
/// Rows that fill a line of the cache.
const LINE: usize = 16;

/// `to[column, row] = from[row, column]`.
///
/// # Panics
/// If the slices are shorter than the matrix.
pub(super) fn transpose(from: &[f32], to: &mut [f32], rows: usize, columns: usize) {
    let (whole_rows, whole_columns) = (rows / BLOCK * BLOCK, columns / BLOCK * BLOCK);
    // As many rows at a time as make whole lines of `to`, each of which is written at once.
    for first in (0..whole_rows).step_by(LINE) {
        for column in (0..whole_columns).step_by(BLOCK) {
            for row in (first..whole_rows.min(first + LINE)).step_by(BLOCK) {
                let from = &from[row * columns + column..];
                turn(from, &mut to[column * rows + row..], columns, rows);
            }
        }
    }
    for row in 0..rows {
        let first = if row < whole_rows { whole_columns } else { 0 };
        for column in first..columns {
            to[column * rows + row] = from[row * columns + column];
        }
    }
}

/// One block, whose rows lie `from_row` and `to_row` floats apart.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Reads best by index.
fn turn(from: &[f32], to: &mut [f32], from_row: usize, to_row: usize) {
    let mut turned = [[0.0; BLOCK]; BLOCK];
    for row in 0..BLOCK {
        let line = &from[row * from_row..][..BLOCK];
        for column in 0..BLOCK {
            turned[column][row] = line[column];
        }
    }
    for column in 0..BLOCK {
        to[column * to_row..][..BLOCK].copy_from_slice(&turned[column]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_finds_its_place() {
        for (rows, columns) in [(1, 1), (4, 8), (5, 7), (3, 12), (17, 3), (20, 33)] {
            let from: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let mut to = vec![-1.0; from.len()];
            transpose(&from, &mut to, rows, columns);
            for (at, value) in from.iter().enumerate() {
                assert_eq!(to[at % columns * rows + at / columns], *value, "{rows} x {columns}");
            }
        }
    }
}
