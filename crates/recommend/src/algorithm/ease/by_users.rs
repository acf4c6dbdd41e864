//! With fewer users than items, the weights are kept factored by the Woodbury identity:
//! P = (1 - X'MX) / regularization with M = (XX' + regularization)^-1, which is users x users. No
//! matrix of items x items is ever made.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control};
use teller_payload::PayloadWriter;

use super::{POLL, inverse};
use crate::Error;
use crate::csr::Csr;
use crate::fitted::Numbers;

pub(super) fn fit(
    by_user: &Csr,
    by_item: &Csr,
    regularization: f32,
    control: &dyn Control,
) -> Result<Numbers, Error> {
    let n = by_user.rows();
    let scaled = inverse(by_user, by_item, regularization, regularization, control)?;
    let left = (0..by_item.rows())
        .into_par_iter()
        .map(|item| left(&scaled, n, by_item.row(item).0, regularization, control))
        .collect::<Result<Vec<f32>, Cancelled>>()?;
    let weight = [regularization];
    let mut writer = PayloadWriter::new();
    writer.array("regularization", &[1], &weight);
    writer.array("inverse", &[n, n], &scaled);
    writer.array("left", &[left.len()], &left);
    let ease = writer.finish();
    let mut writer = PayloadWriter::new();
    writer.array("offsets", &[by_item.offsets.len()], &by_item.offsets);
    writer.array("users", &[by_item.columns.len()], &by_item.columns);
    let parts = vec![("ease", ease), ("item_users", writer.finish())];
    Ok(Numbers { parts, ..Numbers::default() })
}

/// What is left of an item's entry of 1 - X'MX on the diagonal, with M times the regularization
/// given.
fn left(
    scaled: &[f32],
    n: usize,
    users: &[u32],
    regularization: f32,
    control: &dyn Control,
) -> Result<f32, Cancelled> {
    let mut sum = 0f64;
    for chunk in users.chunks((POLL / users.len().max(1)).max(1)) {
        control.check()?;
        for &user in chunk {
            let row = &scaled[user as usize * n..][..n];
            // Four sums side by side: one alone would wait for each of its additions.
            let mut sums = [0f64; 4];
            for users in users.chunks(4) {
                for (sum, &other) in sums.iter_mut().zip(users) {
                    *sum += f64::from(row[other as usize]);
                }
            }
            sum += (sums[0] + sums[2]) + (sums[1] + sums[3]);
        }
    }
    let regularization = f64::from(regularization);
    // Never less than if no other item had anything in common with it.
    let least = regularization / (regularization + users.len() as f64);
    Ok((1.0 - sum / regularization).clamp(least, 1.0) as f32)
}
