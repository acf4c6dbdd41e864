//! Embarrassingly shallow autoencoders: weights between items that rebuild the interactions, none of
//! an item to itself, in closed form (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data",
//! WWW 2019). Interactions count as 1, whatever their weight, as in the paper.
//!
//! With X the interactions, P = (X'X + regularization)^-1 and B = -P / diag P off the diagonal, the
//! scores of a user are its row of XB.

mod by_items;
mod by_neighbors;
mod by_users;

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, OptionError, Options};
use teller_payload::SharedBytes;

use super::{Algorithm, Size, refuse_checkpoint};
use crate::csr::Csr;
use crate::symmetric::{Symmetric, symmetric_memory};
use crate::{Dataset, Error, FittedRecommender};

/// Sums between two questions whether to stop.
const POLL: usize = 1 << 20;
/// Neighbors of an item where all weights between items do not fit the memory: of 200, block
/// solves lose 1.6 and 1.8 % of NDCG@10 on MovieLens 100K and Last.FM.
const NEIGHBORS: usize = 200;

/// Parameters of the shallow autoencoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EaseParams {
    /// Weight of the squared weights in the loss; `None` is [`usual_regularization`].
    pub regularization: Option<f32>,
    /// How many similar items an item's weights are solved for; `None` is all items, exactly.
    pub neighbors: Option<usize>,
}

impl EaseParams {
    /// Reads `regularization` and `neighbors`.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        Ok(Self {
            regularization: match options.value("regularization") {
                None => None,
                Some(_) => Some(options.number("regularization", 1.0, 1e-2..=1e9)? as f32),
            },
            neighbors: match options.value("neighbors") {
                None => None,
                Some(_) => Some(options.integer("neighbors", NEIGHBORS as i64, 1..=2000)? as usize),
            },
        })
    }
}

/// Whether the exact weights are kept factored, by users.
fn users_are_fewer(users: u64, items: u64) -> bool {
    users < items
}

impl Algorithm for EaseParams {
    fn name(&self) -> &'static str {
        "ease"
    }

    fn with_less_memory(&self) -> Option<Box<dyn Algorithm>> {
        self.neighbors.is_none().then(|| -> Box<dyn Algorithm> {
            Box::new(Self { neighbors: Some(NEIGHBORS), ..self.clone() })
        })
    }

    fn working_memory(&self, size: &Size) -> u64 {
        let matrices = size.matrix().saturating_mul(2);
        let square =
            |n: u64| symmetric_memory(n).saturating_add(n.saturating_mul(n).saturating_mul(4));
        matrices.saturating_add(match self.neighbors {
            Some(neighbors) => {
                let block = (neighbors as u64 + 1).saturating_mul(8 * (neighbors as u64 + 1));
                let sums =
                    size.items.saturating_mul(8).saturating_add(size.users.saturating_mul(28));
                (size.items.saturating_mul(16 * neighbors as u64))
                    .saturating_add(size.threads.saturating_mul(block.saturating_add(sums)))
            }
            None if users_are_fewer(size.users, size.items) => square(size.users),
            None => square(size.items),
        })
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        let square = |n: u64| n.saturating_mul(n).saturating_mul(4);
        match self.neighbors {
            Some(neighbors) => size.items.saturating_mul(8 * neighbors as u64),
            None if users_are_fewer(size.users, size.items) => {
                square(size.users).saturating_add(size.matrix())
            }
            None => square(size.items),
        }
    }

    fn fit(
        &self,
        dataset: &Dataset,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        refuse_checkpoint(resume)?;
        let data = &dataset.interactions;
        let by_user = data.by_user();
        let by_item = &by_user.transpose(data.items().len(), control)?;
        let regularization =
            self.regularization.unwrap_or_else(|| usual_regularization(by_user, by_item.rows()));
        let mut numbers = match self.neighbors {
            Some(most) => by_neighbors::fit(by_user, by_item, regularization, most, control)?,
            None if users_are_fewer(by_user.rows() as u64, by_item.rows() as u64) => {
                by_users::fit(by_user, by_item, regularization, control)?
            }
            None => by_items::fit(by_user, by_item, regularization, control)?,
        };
        numbers.metrics.push(("regularization", f64::from(regularization)));
        Ok(FittedRecommender::new(dataset, numbers))
    }
}

/// The regularization for data of any density: ten times what the interactions would have as their
/// share of the geometric mean of users and items. On validation parts of Last.FM and MovieLens 100K
/// no other was more than 0.2 % better.
fn usual_regularization(by_user: &Csr, items: usize) -> f32 {
    let (users, items) = (by_user.rows() as f64, items as f64);
    (10.0 * by_user.columns.len() as f64 / (users * items).sqrt()) as f32
}

/// The inverse of the rows' common entries plus `regularization` on the diagonal, times `scale`,
/// row-major. `columns` is the transpose of `rows`.
fn inverse(
    rows: &Csr,
    columns: &Csr,
    regularization: f32,
    scale: f32,
    control: &dyn Control,
) -> Result<Vec<f32>, Cancelled> {
    let mut matrix = Symmetric::new(rows.rows(), |index, sums| {
        count_common(rows, columns, index, sums, control)?;
        sums[index] += regularization;
        Ok(())
    })?;
    matrix.invert(regularization, control)?;
    let mut inverse = matrix.to_rows();
    inverse.par_iter_mut().for_each(|x| *x *= scale);
    Ok(inverse)
}

/// Adds, for each row from `index` on, how many columns it has in common with that one.
fn count_common(
    rows: &Csr,
    columns: &Csr,
    index: usize,
    sums: &mut [f32],
    control: &dyn Control,
) -> Result<(), Cancelled> {
    let mut until_poll = 0;
    for &column in rows.row(index).0 {
        let others = columns.row(column as usize).0;
        let others = &others[others.partition_point(|&other| (other as usize) < index)..];
        if until_poll <= others.len() {
            control.check()?;
            until_poll = POLL;
        }
        until_poll -= others.len().min(until_poll);
        others.iter().for_each(|&other| sums[other as usize] += 1.0);
    }
    Ok(())
}
