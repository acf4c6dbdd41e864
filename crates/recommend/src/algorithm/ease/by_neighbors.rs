//! Where all weights between items do not fit the memory, an item's weights are solved for the items
//! that are most similar to it alone: the closed form of a small block for each item (after the
//! sparse approximation of Steck, "Markov Random Fields for Collaborative Filtering", NeurIPS 2019).

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control};

use super::POLL;
use crate::Error;
use crate::algorithm::item_knn::{Similarity, nearest};
use crate::algorithm::weighting::Weighting;
use crate::csr::Csr;
use crate::dense::{cholesky, last_column_of_inverse};
use crate::fitted::Numbers;

pub(super) fn fit(
    by_user: &Csr,
    by_item: &Csr,
    regularization: f32,
    most: usize,
    control: &dyn Control,
) -> Result<Numbers, Error> {
    let items = by_item.rows();
    let history = Weighting::Binary.apply(by_user);
    let near = nearest(Similarity::Cosine, &history, items, most, control)?;
    let columns = near
        .into_par_iter()
        .enumerate()
        .map_init(
            || Scratch { of_user: vec![Vec::new(); by_user.rows()], ..Scratch::default() },
            |scratch, (item, near)| {
                let block: Vec<u32> =
                    near.iter().map(|&(other, _)| other).chain([item as u32]).collect();
                scratch.solve(by_item, &block, regularization, control)?;
                Ok(block.into_iter().zip(scratch.weights.iter().copied()).collect())
            },
        )
        .collect::<Result<Vec<Vec<(u32, f32)>>, Cancelled>>()?;
    // What was solved for an item are the weights towards it; what is stored goes out from one.
    let mut rows = vec![Vec::new(); items];
    for (item, column) in columns.into_iter().enumerate() {
        // The last is the item itself.
        for &(other, weight) in &column[..column.len() - 1] {
            rows[other as usize].push((item as u32, weight));
        }
    }
    let ones = vec![1.0; by_user.columns.len()];
    Ok(Numbers::neighbors(rows, ones, Weighting::Binary))
}

/// Memory of one worker, reused from item to item.
#[derive(Default)]
struct Scratch {
    /// Of each user the places in the block of what it had; all empty between items.
    of_user: Vec<Vec<u16>>,
    matrix: Vec<f32>,
    weights: Vec<f32>,
}

impl Scratch {
    /// Leaves the `weights` from each item of the block to its last one.
    fn solve(
        &mut self,
        by_item: &Csr,
        block: &[u32],
        regularization: f32,
        control: &dyn Control,
    ) -> Result<(), Cancelled> {
        let n = block.len();
        self.matrix.clear();
        self.matrix.resize(n * n, 0.0);
        let mut touched = Vec::new();
        for (place, &item) in block.iter().enumerate() {
            for &user in by_item.row(item as usize).0 {
                let had = &mut self.of_user[user as usize];
                if had.is_empty() {
                    touched.push(user);
                }
                had.push(place as u16);
            }
        }
        let mut until_poll = 0;
        for user in touched {
            let mut had = std::mem::take(&mut self.of_user[user as usize]);
            if until_poll <= had.len() * had.len() {
                // A cancelled training ends, so what other users' places hold matters to nobody.
                control.check()?;
                until_poll = POLL;
            }
            until_poll = until_poll.saturating_sub(had.len() * had.len());
            for (at, &i) in had.iter().enumerate() {
                let row = &mut self.matrix[i as usize * n..][..n];
                had[at..].iter().for_each(|&j| row[j as usize] += 1.0);
            }
            had.clear();
            self.of_user[user as usize] = had;
        }
        self.matrix.iter_mut().step_by(n + 1).for_each(|x| *x += regularization);
        cholesky(&mut self.matrix, n);
        last_column_of_inverse(&self.matrix, n, &mut self.weights);
        let own = self.weights.last().copied().unwrap_or(1.0);
        self.weights.iter_mut().for_each(|weight| *weight /= -own);
        Ok(())
    }
}
