//! With no fewer users than items, all weights between items are stored.

use rayon::prelude::*;
use teller_numeric::Control;
use teller_payload::PayloadWriter;

use super::inverse;
use crate::Error;
use crate::csr::Csr;
use crate::fitted::Numbers;

pub(super) fn fit(
    by_user: &Csr,
    by_item: &Csr,
    regularization: f32,
    control: &dyn Control,
) -> Result<Numbers, Error> {
    let m = by_item.rows();
    let mut weights = inverse(by_item, by_user, regularization, 1.0, control)?;
    let diagonal: Vec<f32> = weights.iter().step_by(m + 1).copied().collect();
    weights.par_chunks_exact_mut(m).enumerate().for_each(|(item, row)| {
        row.iter_mut().zip(&diagonal).for_each(|(weight, diagonal)| *weight /= -diagonal);
        row[item] = 0.0;
    });
    let mut writer = PayloadWriter::new();
    writer.array("weights", &[m, m], &weights);
    let parts = vec![("item_weights", writer.finish())];
    let ones = vec![1.0; by_user.columns.len()];
    Ok(Numbers { parts, weights: Some(ones), ..Numbers::default() })
}
