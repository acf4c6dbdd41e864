use rayon::prelude::*;
use teller_numeric::kernels::codes::{GROUP, empty_group, encode, group_bytes};
use teller_numeric::{Cancelled, Control};
use teller_payload::{AlignedBytes, PayloadWriter};

use super::{LONGEST, MAX_FACTORS, MIN_ITEMS, code, error, largest, length, step};

const GROUPS_PER_TASK: usize = 256;

/// An index as it was built.
#[derive(Clone, Debug)]
pub(crate) struct FittedIndex {
    order: Vec<u32>,
    codes: Vec<u8>,
    steps: Vec<f32>,
    errors: Vec<f32>,
    lengths: Vec<f32>,
}

impl FittedIndex {
    /// Of row-major factors, `count` an item; `None` where an index would not pay.
    pub(crate) fn build(
        items: &[f32],
        count: usize,
        control: &dyn Control,
    ) -> Result<Option<Self>, Cancelled> {
        let len = items.len() / count.max(1);
        if !(MIN_ITEMS..=u32::MAX as usize).contains(&len) || count > MAX_FACTORS {
            return Ok(None);
        }
        let row = |item: u32| &items[item as usize * count..][..count];
        let lengths: Vec<f64> = items.par_chunks_exact(count).map(length).collect();
        if !lengths.iter().all(|&length| length <= LONGEST) {
            return Ok(None);
        }
        control.check()?;
        let mut order: Vec<u32> = (0..len as u32).collect();
        order.par_sort_unstable_by(|&a, &b| {
            lengths[b as usize].total_cmp(&lengths[a as usize]).then(a.cmp(&b))
        });
        let groups = len.div_ceil(GROUP);
        let bytes = group_bytes(count);
        let mut index = Self {
            codes: empty_group(count).repeat(groups),
            steps: vec![0.0; groups],
            errors: vec![0.0; groups],
            lengths: vec![0.0; groups],
            order,
        };
        let Self { order, codes, steps, errors, lengths: longest } = &mut index;
        order
            .par_chunks(GROUP)
            .zip(codes.par_chunks_mut(bytes))
            .zip(steps.par_iter_mut().zip(errors).zip(longest))
            .with_min_len(GROUPS_PER_TASK)
            .try_for_each(|((items, codes), ((group_step, group_error), longest))| {
                control.check()?;
                *group_step =
                    step(items.iter().fold(0.0, |all, &item| largest(row(item)).max(all)));
                let (mut worst, mut length) = (0f64, 0f64);
                for (lane, &item) in items.iter().enumerate() {
                    let vector = row(item);
                    encode(codes, lane, vector.iter().map(|&x| code(x, *group_step)));
                    worst = worst.max(error(vector, *group_step));
                    length = length.max(lengths[item as usize]);
                }
                *group_error = (worst as f32).next_up();
                *longest = (length as f32).next_up();
                Ok(())
            })?;
        Ok(Some(index))
    }

    /// As [`super::ItemIndex`] reads it.
    pub(crate) fn payload(&self) -> AlignedBytes {
        let groups = self.steps.len();
        let mut writer = PayloadWriter::new();
        writer.array("order", &[self.order.len()], &self.order);
        writer.array("codes", &[groups, self.codes.len() / groups.max(1)], &self.codes);
        writer.array("steps", &[groups], &self.steps);
        writer.array("errors", &[groups], &self.errors);
        writer.array("lengths", &[groups], &self.lengths);
        writer.finish()
    }
}
