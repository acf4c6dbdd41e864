//! The penalty of a Wasserstein critic for the lengths of its gradients (Gulrajani et al. 2017).

/// `weight * (length - 1)^2` of a critic's gradient to one of `rows`; the gradient gives way to the
/// slope of the rows' mean penalty to it.
pub(super) fn penalize(weight: f64, rows: usize, gradient: &mut [f32]) -> f64 {
    let length = gradient.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let length = libm::sqrt(length);
    let share = f64::from(weight as f32 * (1.0 / rows as f32));
    let pull = 2.0 * share * (length - 1.0) / length.max(1e-12);
    gradient.iter_mut().for_each(|x| *x *= pull as f32);
    weight * (length - 1.0) * (length - 1.0)
}
