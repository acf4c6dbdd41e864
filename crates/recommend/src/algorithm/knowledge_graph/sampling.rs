//! What a user is shown in an epoch: what he took, and as much that he did not.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Stream};

use super::{KnowledgeGraphParams, ROWS};
use crate::csr::Csr;

/// For each user the items that he took, and as many times `negatives` others, by item; the
/// value is 1 or 0.
pub(super) fn draw_items(
    params: &KnowledgeGraphParams,
    taken: &Csr,
    items: usize,
    epoch: u32,
    control: &dyn Control,
) -> Result<Csr, Cancelled> {
    let users = taken.rows();
    let rows: Vec<Vec<Vec<(u32, f32)>>> = (0..users.div_ceil(ROWS))
        .into_par_iter()
        .map(|chunk| {
            control.check()?;
            let row = |user: usize| {
                let index = u64::from(epoch) << 32 | user as u64;
                let mut stream = Stream::new(params.seed, "knowledge graph", index);
                let (taken, _) = taken.row(user);
                let mut row: Vec<(u32, f32)> = taken.iter().map(|&item| (item, 1.0)).collect();
                for _ in 0..taken.len() * params.negatives {
                    let item = stream.below(items as u32);
                    if taken.binary_search(&item).is_err() {
                        row.push((item, 0.0));
                    }
                }
                row.sort_unstable_by_key(|&(item, _)| item);
                row
            };
            Ok((chunk * ROWS..users.min((chunk + 1) * ROWS)).map(row).collect())
        })
        .collect::<Result<_, Cancelled>>()?;
    let mut drawn = Csr { offsets: vec![0], columns: Vec::new(), values: Vec::new() };
    for row in rows.into_iter().flatten() {
        drawn.columns.extend(row.iter().map(|&(item, _)| item));
        drawn.values.extend(row.iter().map(|&(_, took)| took));
        drawn.offsets.push(drawn.columns.len() as u64);
    }
    Ok(drawn)
}

/// -log of the probability of what was seen, and its slope, where sigmoid(score) is that of having
/// taken.
pub(super) fn cross_entropy(score: f32, took: bool) -> (f64, f32) {
    let against = f64::from(if took { -score } else { score });
    let loss = against.max(0.0) + libm::log1p(libm::exp(-against.abs()));
    (loss, teller_numeric::activations::sigmoid(score) - f32::from(u8::from(took)))
}

/// Small random numbers, each row from its own stream, and `last` at the end of each.
pub(super) fn small_random(
    params: &KnowledgeGraphParams,
    purpose: &str,
    rows: usize,
    last: f32,
    control: &dyn Control,
) -> Result<Vec<f32>, Cancelled> {
    let width = params.width();
    let mut numbers = vec![0f32; rows * width];
    numbers.par_chunks_mut(ROWS * width).enumerate().try_for_each(|(chunk, numbers)| {
        control.check()?;
        for (i, row) in numbers.chunks_exact_mut(width).enumerate() {
            let mut stream = Stream::new(params.seed, purpose, (chunk * ROWS + i) as u64);
            row.iter_mut().for_each(|x| *x = 0.1 * stream.normal() as f32);
            row[width - 1] = last;
        }
        Ok(())
    })?;
    Ok(numbers)
}
