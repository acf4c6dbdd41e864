//! Noise on each value.

use teller_numeric::Stream;

/// The largest deviation, as a share of the range from black to white.
pub(super) const LARGEST: f64 = 0.5;

/// The deviation of the sum of four even bytes.
const FOUR_BYTES: f64 = 147.800_541_270_326_7;
/// The mean of that sum.
const MEAN: i32 = 510;
const FRACTION: u32 = 16;

/// Adds nearly normal numbers: sums of four even ones (Irwin and Hall 1927), which are whole
/// numbers and end at three and a half deviations.
pub(super) fn add(deviation: f64, stream: &mut Stream, image: &mut [u8]) {
    let one = f64::from(1 << FRACTION);
    let factor = (deviation * 255.0 / FOUR_BYTES * one).round() as i32;
    for value in image {
        let sum: u16 = stream.next_u32().to_le_bytes().into_iter().map(u16::from).sum();
        let noise = ((i32::from(sum) - MEAN) * factor + (1 << (FRACTION - 1))) >> FRACTION;
        *value = (i32::from(*value) + noise).clamp(0, 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_deviation_and_kurtosis() {
        let len = 200_000;
        let mut image = vec![128; len];
        add(0.1, &mut Stream::new(1, "noise", 0), &mut image);
        let moment = |power| {
            image.iter().map(|&v| (f64::from(v) - 128.0).powi(power)).sum::<f64>() / len as f64
        };
        assert!(moment(1).abs() < 0.25, "{}", moment(1));
        assert!((moment(2).sqrt() - 25.5).abs() < 0.25, "{}", moment(2).sqrt());
        // 3 of a normal number, less 1.2 for a sum of one, divided by four.
        let kurtosis = moment(4) / moment(2).powi(2);
        assert!((kurtosis - 2.7).abs() < 0.05, "{kurtosis}");
    }

    #[test]
    fn values_stay_in_their_range() {
        for deviation in [0.0, LARGEST] {
            let mut image = [0, 255].repeat(1000);
            add(deviation, &mut Stream::new(1, "noise", 0), &mut image);
            if deviation == 0.0 {
                assert_eq!(image, [0, 255].repeat(1000));
            } else {
                assert!(image.iter().any(|&value| value != 0 && value != 255));
            }
        }
    }
}
