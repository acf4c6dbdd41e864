//! Softmax and cross-entropy in one, since together they are stable and have a simple gradient.

use teller_numeric::math;

use crate::objective::Wanted;

/// The sum of `-wanted * ln softmax(logits)` over the classes; the logits become its gradient
/// times `scale`.
pub(crate) fn softmax_cross_entropy(logits: &mut [f32], wanted: &Wanted, scale: f32) -> f64 {
    let max = logits.iter().fold(f32::NEG_INFINITY, |max, &x| if max > x { max } else { x });
    // Amounts of 0 are left out, since a logit may be infinite.
    let mut at_wanted = 0.0;
    for (class, amount) in wanted.labels {
        if amount != 0.0 {
            at_wanted += f64::from(amount) * f64::from(logits[class] - max);
        }
    }
    if wanted.each != 0.0 {
        let all: f64 = logits.iter().map(|&x| f64::from(x - max)).sum();
        at_wanted += f64::from(wanted.each) * all;
    }
    let mut sum = 0.0;
    for x in logits.iter_mut() {
        *x = math::exp(*x - max);
        sum += *x;
    }
    for (class, x) in logits.iter_mut().enumerate() {
        let mut here = wanted.each;
        for (at, amount) in wanted.labels {
            here += if at == class { amount } else { 0.0 };
        }
        *x = (*x / sum * wanted.total - here) * scale;
    }
    f64::from(wanted.total) * libm::log(f64::from(sum)) - at_wanted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::objective::{Objective, Target};

    fn plain(label: u32, classes: usize) -> Wanted {
        Objective::plain(classes).wanted(Target::one(label))
    }

    /// The sum over the classes as the definition has it.
    fn naive(logits: &[f32], objective: (f64, &[f64]), target: (usize, usize, f64)) -> f64 {
        let (smoothing, weights) = objective;
        let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        let cross_entropy = |label: usize| {
            let terms = logits.iter().enumerate().map(|(class, &x)| {
                let wanted = if class == label { 1.0 - smoothing } else { 0.0 };
                let wanted = wanted + smoothing / logits.len() as f64;
                -wanted * (f64::from(x) - sum.ln())
            });
            weights[label] * terms.sum::<f64>()
        };
        let (first, second, share) = target;
        share * cross_entropy(first) + (1.0 - share) * cross_entropy(second)
    }

    proptest! {
        #[test]
        fn value_and_gradient_are_those_of_the_definition(
            logits in prop::collection::vec(-5.0f32..5.0, 2..12),
            smoothing in prop_oneof![Just(0.0), 0.0f64..0.5],
            weights in prop::collection::vec(0.0f64..4.0, 12),
            labels in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            share in prop_oneof![Just(1.0), 0.0f64..1.0],
            scale in 0.1f32..2.0,
        ) {
            let (first, second) = (labels.0.index(logits.len()), labels.1.index(logits.len()));
            let narrow = weights[..logits.len()].iter().map(|&weight| weight as f32).collect();
            let target = Target { first: first as u32, second: second as u32, share: share as f32 };
            let wanted = Objective::new(smoothing, narrow).wanted(target);
            let expected =
                |logits: &[f32]| naive(logits, (smoothing, &weights), (first, second, share));
            let mut gradient = logits.clone();
            let loss = softmax_cross_entropy(&mut gradient, &wanted, scale);
            prop_assert!((loss - expected(&logits)).abs() < 1e-4, "{} {}", loss, expected(&logits));
            for i in 0..logits.len() {
                let (mut up, mut down) = (logits.clone(), logits.clone());
                up[i] += 1e-2;
                down[i] -= 1e-2;
                let slope = (expected(&up) - expected(&down)) / 2e-2 * f64::from(scale);
                prop_assert!((slope - f64::from(gradient[i])).abs() < 1e-3);
            }
        }

        /// The plain loss has the bits of its simplest formula, so that weights trained without
        /// any of this stay what they were.
        #[test]
        fn the_plain_loss_keeps_its_bits(
            logits in prop::collection::vec(-80.0f32..80.0, 2..12),
            label in any::<prop::sample::Index>(),
            scale in 0.01f32..1.0,
        ) {
            let label = label.index(logits.len());
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f32> = logits.iter().map(|&x| math::exp(x - max)).collect();
            let sum: f32 = powers.iter().sum();
            let mut gradient = logits.clone();
            let wanted = plain(label as u32, logits.len());
            let loss = softmax_cross_entropy(&mut gradient, &wanted, scale);
            let at_label = f64::from(logits[label] - max);
            prop_assert_eq!(loss.to_bits(), (libm::log(f64::from(sum)) - at_label).to_bits());
            for (class, power) in powers.iter().enumerate() {
                let wanted = if class == label { 1.0 } else { 0.0 };
                prop_assert_eq!(gradient[class].to_bits(), ((power / sum - wanted) * scale).to_bits());
            }
        }
    }

    #[test]
    fn large_logits_are_no_trouble_and_nan_shows() {
        assert_eq!(softmax_cross_entropy(&mut [1e30, 0.0], &plain(0, 2), 1.0), 0.0);
        assert!(softmax_cross_entropy(&mut [0.0, 300.0], &plain(0, 2), 1.0) >= 300.0);
        assert!(softmax_cross_entropy(&mut [f32::NAN, 0.0], &plain(1, 2), 1.0).is_nan());
        let infinite = &mut [f32::NEG_INFINITY, 0.0];
        assert_eq!(softmax_cross_entropy(infinite, &plain(1, 2), 1.0), 0.0);
    }
}
