//! Softmax and cross-entropy in one, since together they are stable and have a simple gradient.

use teller_numeric::math;

/// `-ln softmax(logits)[target]`; the logits become its gradient times `scale`.
pub(crate) fn softmax_cross_entropy(logits: &mut [f32], target: usize, scale: f32) -> f64 {
    let max = logits.iter().fold(f32::NEG_INFINITY, |max, &x| if max > x { max } else { x });
    let at_target = f64::from(logits[target] - max);
    let mut sum = 0.0;
    for x in logits.iter_mut() {
        *x = math::exp(*x - max);
        sum += *x;
    }
    for (class, x) in logits.iter_mut().enumerate() {
        let wanted = if class == target { 1.0 } else { 0.0 };
        *x = (*x / sum - wanted) * scale;
    }
    libm::log(f64::from(sum)) - at_target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let logits = [0.3f32, -1.2, 2.0, 0.0];
        let loss = |logits: [f32; 4]| softmax_cross_entropy(&mut logits.clone(), 1, 1.0);
        let mut gradient = logits;
        softmax_cross_entropy(&mut gradient, 1, 1.0);
        for i in 0..4 {
            let (mut up, mut down) = (logits, logits);
            up[i] += 1e-2;
            down[i] -= 1e-2;
            let slope = (loss(up) - loss(down)) / 2e-2;
            assert!((slope - f64::from(gradient[i])).abs() < 1e-4, "{slope} {}", gradient[i]);
        }
    }

    #[test]
    fn large_logits_are_no_trouble_and_nan_shows() {
        assert_eq!(softmax_cross_entropy(&mut [1e30, 0.0], 0, 1.0), 0.0);
        assert!(softmax_cross_entropy(&mut [0.0, 300.0], 0, 1.0) >= 300.0);
        assert!(softmax_cross_entropy(&mut [f32::NAN, 0.0], 1, 1.0).is_nan());
    }
}
