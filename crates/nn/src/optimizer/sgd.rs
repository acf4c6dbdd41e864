//! Stochastic gradient descent with momentum (Polyak 1964).

#[inline(always)]
pub(super) fn update(
    (rate, momentum, weights, gradient, velocity): (f32, f32, &mut [f32], &[f32], &mut [f32]),
) {
    for ((weight, &g), velocity) in weights.iter_mut().zip(gradient).zip(velocity) {
        *velocity = momentum * *velocity - rate * g;
        *weight += *velocity;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn momentum_carries_on() {
        let (mut weights, mut velocity) = ([1.0f32], [0.0f32]);
        update((0.1, 0.5, &mut weights, &[1.0], &mut velocity));
        update((0.1, 0.5, &mut weights, &[0.0], &mut velocity));
        assert!((weights[0] - 0.85).abs() < 1e-6, "{weights:?}");
    }
}
