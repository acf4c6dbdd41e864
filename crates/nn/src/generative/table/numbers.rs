//! Columns of many different numbers: by rank to a normal distribution, and back by quantiles.

use teller_numeric::Stream;

use super::quantile;

/// Steps of a table of quantiles, at most. A frequent value keeps its share to within two steps.
const MOST_STEPS: usize = 10_000;

/// Values of a column at evenly spaced shares, from its least to its greatest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quantiles(Vec<f64>);

impl Quantiles {
    /// Of ascending numbers; of none, all quantiles are 0.
    pub(crate) fn of(ascending: &[f64]) -> Self {
        let (Some(&last), len) = (ascending.last(), ascending.len()) else {
            return Self(vec![0.0; 2]);
        };
        let steps = len.min(MOST_STEPS);
        let at = |step: usize| ascending[(step * len / steps).min(len - 1)];
        Self((0..steps).map(at).chain([last]).collect())
    }

    /// Untrusted values: `None` unless they are at least two finite ones in ascending order.
    pub(crate) fn stored(values: &[f64]) -> Option<Self> {
        let ascends = values.is_sorted() && values.iter().all(|value| value.is_finite());
        (values.len() >= 2 && ascends).then(|| Self(values.to_vec()))
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.0
    }

    /// The value below which lies a `share`, interpolated.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let place = share.clamp(0.0, 1.0) * (self.0.len() - 1) as f64;
        let low = (place as usize).min(self.0.len() - 2);
        let (from, to) = (self.0[low], self.0[low + 1]);
        from + (to - from) * (place - low as f64)
    }

    /// The share below a value, interpolated; of a value that is a range of shares, its middle.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let first = self.0.partition_point(|&quantile| quantile < value);
        let after = self.0.partition_point(|&quantile| quantile <= value);
        let place = if first < after {
            0.5 * (first + after - 1) as f64
        } else if first == 0 {
            0.0
        } else if first == self.0.len() {
            (first - 1) as f64
        } else {
            let (from, to) = (self.0[first - 1], self.0[first]);
            (first - 1) as f64 + (value - from) / (to - from)
        };
        place / (self.0.len() - 1) as f64
    }
}

/// The place of `value` among `ascending` numbers as a normal number; one that stands there
/// several times takes any of its places.
pub(super) fn normal_rank(ascending: &[f64], value: f64, stream: &mut Stream) -> f32 {
    let first = ascending.partition_point(|&other| other < value);
    let after = ascending.partition_point(|&other| other <= value);
    let place = first as f64 + (after - first) as f64 * f64::from(stream.uniform());
    quantile((place + 0.5) / (ascending.len() as f64 + 1.0)) as f32
}

/// The powers of ten that numbers are looked at for.
pub(super) const POWERS: std::ops::RangeInclusive<i32> = -6..=9;

/// Rounds to a multiple of a power of ten.
pub(crate) fn round_to(power: i32, number: f64) -> f64 {
    let scale = libm::pow(10.0, f64::from(power.abs()));
    // A division by a whole number gives the float that is nearest to a decimal fraction.
    if power < 0 { (number * scale).round() / scale } else { (number / scale).round() * scale }
}

/// The greatest power of ten of which all numbers are multiples, if one is.
pub(crate) fn power_of(numbers: &[f64]) -> Option<i32> {
    let mut powers = POWERS.rev();
    powers.find(|&power| numbers.iter().all(|&number| round_to(power, number) == number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_undo_shares(mut numbers in prop::collection::vec(-1e6..1e6f64, 1..3000)) {
            numbers.sort_by(f64::total_cmp);
            let quantiles = Quantiles::of(&numbers);
            prop_assert_eq!(quantiles.at(0.0), numbers[0]);
            prop_assert_eq!(quantiles.at(1.0), numbers[numbers.len() - 1]);
            for share in [0.0, 0.1, 0.33, 0.5, 0.99, 1.0] {
                let value = quantiles.at(share);
                prop_assert!((quantiles.at(quantiles.share(value)) - value).abs() < 1e-6);
                prop_assert!(value >= numbers[0] && value <= numbers[numbers.len() - 1]);
            }
            prop_assert_eq!(Quantiles::stored(quantiles.values()), Some(quantiles.clone()));
        }

        #[test]
        fn ranks_are_normal_and_keep_the_order(seed: u64, values in prop::collection::vec(0..50i32, 2..200)) {
            let mut ascending: Vec<f64> = values.iter().map(|&value| value.into()).collect();
            ascending.sort_by(f64::total_cmp);
            let mut stream = Stream::new(seed, "ties", 0);
            let ranks: Vec<(f64, f32)> =
                ascending.iter().map(|&v| (v, normal_rank(&ascending, v, &mut stream))).collect();
            for pair in ranks.windows(2) {
                prop_assert!(pair[0].0 == pair[1].0 || pair[0].1 < pair[1].1);
            }
            prop_assert!(ranks.iter().all(|(_, rank)| rank.abs() < 4.0));
        }
    }

    #[test]
    fn a_frequent_value_comes_back_exactly() {
        let mut numbers = vec![0.0; 3000];
        numbers.extend((1..=7000).map(f64::from));
        let quantiles = Quantiles::of(&numbers);
        for share in [0.0, 0.1, 0.299] {
            assert_eq!(quantiles.at(share), 0.0);
        }
        assert!((quantiles.at(0.65) - 3500.0).abs() < 10.0);
        assert!((quantiles.share(0.0) - 0.15).abs() < 0.001);
    }

    #[test]
    fn steps_are_the_decimals_that_all_numbers_share() {
        assert_eq!(power_of(&[20_000.0, 90_000.0, 500_000.0]), Some(4));
        assert_eq!(power_of(&[1.0, 2.0, 30.0]), Some(0));
        assert_eq!(power_of(&[0.25, 19.99, -3.1]), Some(-2));
        assert_eq!(power_of(&[1.0 / 3.0, 2.0]), None);
        assert_eq!(round_to(-2, 0.068), 0.07);
        assert_eq!(round_to(4, 123_456.0), 120_000.0);
    }

    #[test]
    fn stored_tables_are_not_trusted() {
        for wrong in [&[][..], &[1.0], &[2.0, 1.0], &[f64::NAN, 1.0], &[0.0, f64::INFINITY]] {
            assert_eq!(Quantiles::stored(wrong), None);
        }
    }
}
