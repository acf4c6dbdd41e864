//! Stochastic gradient descent with momentum (Polyak 1964; Nesterov 1983 as in Sutskever et al.
//! 2013).

/// The size of a step and what it takes over from the last one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) rate: f32,
    pub(super) momentum: f32,
}

/// The rates, then weights, gradient and velocity.
type Arguments<'a> = (Rates, &'a mut [f32], &'a [f32], &'a mut [f32]);

#[inline(always)]
pub(super) fn update((Rates { rate, momentum }, weights, gradient, velocity): Arguments<'_>) {
    for ((weight, &g), velocity) in weights.iter_mut().zip(gradient).zip(velocity) {
        *velocity = momentum * *velocity - rate * g;
        *weight += *velocity;
    }
}

/// Goes where the momentum will lead and takes the gradient's step from there.
#[inline(always)]
pub(super) fn update_nesterov(
    (Rates { rate, momentum }, weights, gradient, velocity): Arguments<'_>,
) {
    for ((weight, &g), velocity) in weights.iter_mut().zip(gradient).zip(velocity) {
        let step = rate * g;
        *velocity = momentum * *velocity - step;
        *weight += momentum * *velocity - step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { rate: 0.1, momentum: 0.5 };

    #[test]
    fn momentum_carries_on() {
        let (mut weights, mut velocity) = ([1.0f32], [0.0f32]);
        update((RATES, &mut weights, &[1.0], &mut velocity));
        update((RATES, &mut weights, &[0.0], &mut velocity));
        assert!((weights[0] - 0.85).abs() < 1e-6, "{weights:?}");
    }

    /// Nesterov's own form: the gradient is taken at the place to which the momentum leads. The
    /// weights of the update are those places.
    #[test]
    fn nesterov_looks_ahead() {
        let slope = |x: f64| 3.0 * x - 1.0;
        let (mut weights, mut velocity) = ([2.0f32], [0.0f32]);
        let (mut x, mut v) = (2.0f64, 0.0f64);
        for _ in 0..20 {
            let gradient = [slope(f64::from(weights[0])) as f32];
            update_nesterov((RATES, &mut weights, &gradient, &mut velocity));
            let ahead = x + 0.5 * v;
            v = 0.5 * v - 0.1 * slope(ahead);
            x += v;
            let ahead = x + 0.5 * v;
            assert!((f64::from(weights[0]) - ahead).abs() < 1e-5, "{weights:?} {ahead}");
        }
        assert!((weights[0] - 1.0 / 3.0).abs() < 0.01);
    }
}
