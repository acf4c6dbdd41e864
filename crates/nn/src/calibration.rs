//! Probabilities that mean what they say.
//!
//! Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017: the
//! logits of a trained network, divided by one number, give probabilities that are as often right
//! as they say. The most probable label stays the same.
//!
//! Of n rows that are all answered right, it does not follow that the next one will be: each counts
//! as its label by all but 1 / (n + 2) only (Platt, "Probabilistic Outputs for Support Vector
//! Machines", 1999), the rest as the most probable of the others, which is what mistakes mostly turn
//! out to be. Else a network that makes no mistake in a few rows would be sure of everything.

use std::ops::RangeInclusive;

use crate::Error;

/// Temperatures that are looked for, and accepted of a stored model.
const TEMPERATURES: RangeInclusive<f32> = 0.05..=20.0;
/// Halvings of the range in which the best one lies; 40 leave less than a float's precision.
const STEPS: u32 = 40;

/// The temperature that lowers the mean cross-entropy of `logits` (rows x classes) most.
///
/// The entropy has one minimum in 1 / T, where its slope changes sign; it is found by bisection, in
/// a fixed order of sums.
pub(crate) fn temperature(logits: &[f32], classes: usize, targets: &[u32]) -> f32 {
    let (mut low, mut high) =
        (1.0 / f64::from(*TEMPERATURES.end()), 1.0 / f64::from(*TEMPERATURES.start()));
    for _ in 0..STEPS {
        // The middle by ratio: temperatures are scales.
        let middle = libm::sqrt(low * high);
        if slope(logits, classes, targets, middle) < 0.0 { low = middle } else { high = middle }
    }
    let temperature = (1.0 / libm::sqrt(low * high)) as f32;
    temperature.clamp(*TEMPERATURES.start(), *TEMPERATURES.end())
}

/// What the logits of a stored model are multiplied with.
pub(crate) fn sharpness(temperature: f32) -> Result<f32, Error> {
    match TEMPERATURES.contains(&temperature) {
        true => Ok(1.0 / temperature),
        false => Err(Error::Temperature(temperature)),
    }
}

/// The derivative by `inverse` = 1 / T of the sum of cross-entropies: for each row the logit
/// expected under the probabilities, less that expected under what the row counts as.
fn slope(logits: &[f32], classes: usize, targets: &[u32], inverse: f64) -> f64 {
    let doubt = 1.0 / (targets.len() as f64 + 2.0);
    logits
        .chunks_exact(classes)
        .zip(targets)
        .map(|(row, &target)| {
            let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let (mut sum, mut weighted, mut other) = (0.0, 0.0, f64::NEG_INFINITY);
            for (label, &logit) in row.iter().enumerate() {
                let weight = libm::exp((f64::from(logit) - largest) * inverse);
                sum += weight;
                weighted += weight * f64::from(logit);
                if label != target as usize {
                    other = other.max(f64::from(logit));
                }
            }
            let own = f64::from(row[target as usize]);
            weighted / sum - (1.0 - doubt) * own - doubt * other
        })
        .sum()
}

/// Expected calibration error (Naeini, Cooper and Hauskrecht, AAAI 2015) over 15 ranges of
/// confidence: how far the share of right answers is from the confidence, weighted by rows.
pub(crate) fn calibration_error(answers: impl Iterator<Item = (f32, bool)>) -> f64 {
    const RANGES: usize = 15;
    let mut ranges = [(0u64, 0u64, 0.0f64); RANGES];
    let mut rows = 0u64;
    for (confidence, hit) in answers {
        let range = ((f64::from(confidence) * RANGES as f64) as usize).min(RANGES - 1);
        let (count, hits, sum) = &mut ranges[range];
        *count += 1;
        *hits += u64::from(hit);
        *sum += f64::from(confidence);
        rows += 1;
    }
    let gaps = ranges.iter().map(|(_, hits, sum)| (*hits as f64 - sum).abs());
    gaps.sum::<f64>() / rows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use teller_numeric::Stream;

    use super::*;

    /// Labels drawn by the softmax of logits; the logits are then too large by a factor.
    fn overconfident(factor: f32) -> (Vec<f32>, Vec<u32>) {
        let mut stream = Stream::new(1, "calibration", 0);
        let (mut logits, mut targets) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            let row: Vec<f64> = (0..4).map(|_| 2.0 * stream.normal()).collect();
            let weights: Vec<f64> = row.iter().map(|logit| logit.exp()).collect();
            let mut drawn = f64::from(stream.uniform()) * weights.iter().sum::<f64>();
            let target = weights.iter().position(|weight| {
                drawn -= weight;
                drawn < 0.0
            });
            targets.push(target.unwrap_or(3) as u32);
            logits.extend(row.iter().map(|logit| *logit as f32 * factor));
        }
        (logits, targets)
    }

    #[test]
    fn the_factor_is_found() {
        for factor in [0.5, 1.0, 3.0] {
            let (logits, targets) = overconfident(factor);
            let found = temperature(&logits, 4, &targets);
            assert!((found / factor - 1.0).abs() < 0.03, "{factor}: {found}");
        }
    }

    #[test]
    fn of_two_right_answers_the_next_may_be_wrong_and_hopeless_ones_are_not_believed() {
        let [perfect, hopeless] =
            [[0, 1], [1, 0]].map(|targets| temperature(&[9.0, 0.0, 0.0, 9.0], 2, &targets));
        // Three of four by Platt's count.
        assert!((9.0 / perfect - 3f32.ln()).abs() < 1e-5, "{perfect}");
        assert_eq!(hopeless, 20.0);
    }

    #[test]
    fn errors_of_known_answers() {
        assert_eq!(calibration_error([(1.0, true), (1.0, true)].into_iter()), 0.0);
        let half = [(0.75, true), (0.75, false)].into_iter();
        assert!((calibration_error(half) - 0.25).abs() < 1e-12);
        assert_eq!(calibration_error(std::iter::empty()), 0.0);
    }
}
