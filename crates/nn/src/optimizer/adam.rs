//! Adam (Kingma and Ba 2015): steps of the mean gradient over the root of its mean square.

const DECAY_MEAN: f32 = 0.9;
const DECAY_SQUARE: f32 = 0.999;
const EPSILON: f32 = 1e-7;

/// The rate of one step with the correction for the moments' start at 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    rate: f32,
    square: f32,
}

impl Rates {
    /// `step` counts from 1.
    pub(super) fn new(rate: f64, step: u64) -> Self {
        let left = |decay: f32| 1.0 - libm::pow(f64::from(decay), step as f64);
        Self { rate: (rate / left(DECAY_MEAN)) as f32, square: (1.0 / left(DECAY_SQUARE)) as f32 }
    }
}

/// The rates, then weights, gradient, and the two moments.
type Arguments<'a> = (Rates, &'a mut [f32], &'a [f32], &'a mut [f32], &'a mut [f32]);

#[inline(always)]
pub(super) fn update((rates, weights, gradient, mean, square): Arguments<'_>) {
    let moments = mean.iter_mut().zip(square);
    for ((weight, &g), (mean, square)) in weights.iter_mut().zip(gradient).zip(moments) {
        *mean = DECAY_MEAN * *mean + (1.0 - DECAY_MEAN) * g;
        *square = DECAY_SQUARE * *square + (1.0 - DECAY_SQUARE) * (g * g);
        *weight -= rates.rate * *mean / ((*square * rates.square).sqrt() + EPSILON);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_paper() {
        let gradients = [[0.5f32, -2.0], [0.25, 1.0], [-1.0, 0.0]];
        let (mut weights, mut mean, mut square) = ([1.0f32, 1.0], [0.0f32; 2], [0.0f32; 2]);
        for (step, gradient) in (1..).zip(&gradients) {
            let rates = Rates::new(0.01, step);
            update((rates, &mut weights, gradient, &mut mean, &mut square));
        }
        for i in 0..2 {
            let (mut w, mut m, mut v) = (1.0f64, 0.0f64, 0.0f64);
            for (step, gradient) in (1..).zip(&gradients) {
                let g = f64::from(gradient[i]);
                m = 0.9 * m + 0.1 * g;
                v = 0.999 * v + 0.001 * g * g;
                let (m, v) = (m / (1.0 - 0.9f64.powi(step)), v / (1.0 - 0.999f64.powi(step)));
                w -= 0.01 * m / (v.sqrt() + 1e-7);
            }
            assert!((f64::from(weights[i]) - w).abs() < 1e-6, "{} {w}", weights[i]);
        }
    }
}
