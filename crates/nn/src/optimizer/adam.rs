//! Adam (Kingma and Ba 2015): steps of the mean gradient over the root of its mean square.

/// Decay rates of the mean and of the mean square, where nothing else is asked.
pub(super) const BETAS: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-7;
/// Moments that are smaller are 0: those of weights that no gradient reaches any more would dwindle
/// to subnormal numbers, with which processors take a hundred times as long.
const LEAST: f32 = 1e-37;

/// The rate of one step with the correction for the moments' start at 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    rate: f32,
    square: f32,
    betas: [f32; 2],
}

impl Rates {
    /// `step` counts from 1.
    pub(super) fn new(rate: f64, step: u64, betas: [f32; 2]) -> Self {
        let left = betas.map(|decay| 1.0 - libm::pow(f64::from(decay), step as f64));
        Self { rate: (rate / left[0]) as f32, square: (1.0 / left[1]) as f32, betas }
    }
}

/// The rates, then weights, gradient, and the two moments.
type Arguments<'a> = (Rates, &'a mut [f32], &'a [f32], &'a mut [f32], &'a mut [f32]);

#[inline(always)]
pub(super) fn update((rates, weights, gradient, mean, square): Arguments<'_>) {
    let [decay_mean, decay_square] = rates.betas;
    let moments = mean.iter_mut().zip(square);
    for ((weight, &g), (mean, square)) in weights.iter_mut().zip(gradient).zip(moments) {
        *mean = not_tiny(decay_mean * *mean + (1.0 - decay_mean) * g);
        *square = not_tiny(decay_square * *square + (1.0 - decay_square) * (g * g));
        *weight -= rates.rate * *mean / ((*square * rates.square).sqrt() + EPSILON);
    }
}

#[inline(always)]
fn not_tiny(moment: f32) -> f32 {
    if moment.abs() < LEAST { 0.0 } else { moment }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_without_a_gradient_end_at_zero() {
        let (mut weights, mut mean, mut square) = ([1.0f32], [0.0f32], [0.0f32]);
        for step in 1..2000 {
            let gradient = [if step == 1 { 1.0 } else { 0.0 }];
            let rates = Rates::new(0.01, step, [0.9, 0.9]);
            update((rates, &mut weights, &gradient, &mut mean, &mut square));
        }
        assert_eq!((mean, square), ([0.0], [0.0]));
    }

    #[test]
    fn it_follows_the_paper() {
        follows_the_paper(BETAS);
        follows_the_paper([0.0, 0.9]);
    }

    fn follows_the_paper(betas: [f32; 2]) {
        let [beta1, beta2] = betas.map(f64::from);
        let gradients = [[0.5f32, -2.0], [0.25, 1.0], [-1.0, 0.0]];
        let (mut weights, mut mean, mut square) = ([1.0f32, 1.0], [0.0f32; 2], [0.0f32; 2]);
        for (step, gradient) in (1..).zip(&gradients) {
            let rates = Rates::new(0.01, step, betas);
            update((rates, &mut weights, gradient, &mut mean, &mut square));
        }
        for i in 0..2 {
            let (mut w, mut m, mut v) = (1.0f64, 0.0f64, 0.0f64);
            for (step, gradient) in (1..).zip(&gradients) {
                let g = f64::from(gradient[i]);
                m = beta1 * m + (1.0 - beta1) * g;
                v = beta2 * v + (1.0 - beta2) * g * g;
                let (m, v) = (m / (1.0 - beta1.powi(step)), v / (1.0 - beta2.powi(step)));
                w -= 0.01 * m / (v.sqrt() + 1e-7);
            }
            assert!((f64::from(weights[i]) - w).abs() < 1e-6, "{} {w}", weights[i]);
        }
    }
}
