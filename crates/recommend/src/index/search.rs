use teller_numeric::kernels::codes::{CodeQuery, GROUP};
use teller_numeric::{Cancelled, Control, Isa};

use super::{ItemIndex, LONGEST, MAX_FACTORS, code, error, largest, length, step};

/// Groups that are sifted between two looks at the best scores; the first few set the mark.
const FIRST_GROUPS: usize = 2;
const MOST_GROUPS: usize = 64;

/// Whoever gathers the best.
pub(crate) trait Best {
    /// Scores below it cannot be among the best.
    fn floor(&self) -> f32;

    /// Scores an item and takes it if it is among the best.
    fn consider(&mut self, item: u32);
}

impl ItemIndex {
    /// Lets `best` consider every item that may be among the best for `user`, and few others.
    /// `false`, and nothing considered, where the numbers are such that all items must be.
    pub(crate) fn search(
        &self,
        user: &[f32],
        best: &mut impl Best,
        control: &dyn Control,
    ) -> Result<bool, Cancelled> {
        let user_length = length(user);
        let user_step = step(largest(user));
        let Some(codes) = self.codes(user.len()) else { return Ok(false) };
        if !(user_length <= LONGEST && user_step > 0.0) || user.len() > MAX_FACTORS {
            return Ok(false);
        }
        let isa = Isa::detect();
        let query = CodeQuery::new(user.iter().map(|&x| code(x, user_step)));
        let user_error = error(user, user_step);
        // A score is a sum in f32 of as many products as there are factors, in 16 lanes, and the
        // bound itself is rounded: what that may amount to, by the lengths (Higham, "Accuracy and
        // Stability of Numerical Algorithms", 2002, section 3.1), and something for numbers that
        // are too small for relative errors.
        let rounding = (user.len() as f64 / 16.0 + 32.0) * f64::from(f32::EPSILON);
        let coded_length = (user_length + user_error) * (1.0 + rounding);
        let uncoded_length = user_error + 2.0 * rounding * (user_length + user_error);
        let least = 1e-35;
        let [steps, errors, lengths] =
            [self.steps, self.errors, self.lengths].map(|array| self.payload.get(array));
        let order = self.payload.get(self.order);
        let mut thresholds = [0i32; MOST_GROUPS];
        let mut masks = [0u16; MOST_GROUPS];
        let (mut first, mut count) = (0, FIRST_GROUPS);
        while first < steps.len() {
            control.check()?;
            let floor = f64::from(best.floor());
            if user_length * (1.0 + rounding) * f64::from(lengths[first]) + least < floor {
                break;
            }
            count = count.min(steps.len() - first);
            for (group, threshold) in (first..).zip(&mut thresholds[..count]) {
                let hidden = coded_length * f64::from(errors[group])
                    + uncoded_length * f64::from(lengths[group])
                    + least;
                let product = (floor - hidden) / (f64::from(user_step) * f64::from(steps[group]));
                // A cast keeps what is beyond the whole numbers at their ends.
                *threshold = product.floor() as i32;
            }
            let masks = &mut masks[..count];
            codes.reach(isa, &query, first, &thresholds[..count], masks);
            for (group, mask) in (first..).zip(masks) {
                while *mask != 0 {
                    let lane = mask.trailing_zeros() as usize;
                    *mask &= *mask - 1;
                    if let Some(&item) = order.get(group * GROUP + lane) {
                        best.consider(item);
                    }
                }
            }
            first += count;
            count = (2 * count).min(MOST_GROUPS);
        }
        Ok(true)
    }
}
