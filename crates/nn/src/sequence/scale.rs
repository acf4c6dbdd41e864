//! Numbers of mean 0 and variance 1 over the rows that are learned from.

/// What is taken off each number, and what the rest is multiplied with: numbers x 2.
pub(super) fn fit<'a>(width: usize, rows: impl Iterator<Item = &'a [f32]> + Clone) -> Vec<f32> {
    let mut count = 0u64;
    let mut sums = vec![0.0f64; width];
    for row in rows.clone() {
        count += 1;
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let means: Vec<f64> = sums.iter().map(|sum| sum / count.max(1) as f64).collect();
    let mut squares = vec![0.0f64; width];
    for row in rows {
        for ((square, mean), &x) in squares.iter_mut().zip(&means).zip(row) {
            *square += (f64::from(x) - mean) * (f64::from(x) - mean);
        }
    }
    let factor = |square: f64| {
        let deviation = libm::sqrt(square / count.max(1) as f64);
        let factor = (1.0 / deviation) as f32;
        // A constant tells nothing, and is not blown up.
        if deviation > 0.0 && factor.is_finite() { factor } else { 1.0 }
    };
    let pairs = means.iter().zip(squares).map(|(&mean, square)| [mean as f32, factor(square)]);
    pairs.flatten().collect()
}

/// Scales a row.
pub(super) fn apply(scale: &[f32], from: &[f32], to: &mut [f32]) {
    for ((&[mean, factor], &from), to) in scale.as_chunks::<2>().0.iter().zip(from).zip(to) {
        *to = (from - mean) * factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_variances_are_taken_off() {
        let rows: [&[f32]; 3] = [&[1.0, 5.0], &[2.0, 5.0], &[6.0, 5.0]];
        let scale = fit(2, rows.into_iter());
        let mut scaled = [[0.0; 2]; 3];
        rows.iter().zip(&mut scaled).for_each(|(from, to)| apply(&scale, from, to));
        let mean: f32 = scaled.iter().map(|row| row[0]).sum::<f32>() / 3.0;
        let variance: f32 = scaled.iter().map(|row| row[0] * row[0]).sum::<f32>() / 3.0;
        assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5);
        assert!(scaled.iter().all(|row| row[1] == 0.0), "a constant becomes 0");
        assert!(fit(3, std::iter::empty()).iter().all(|x| x.is_finite()));
    }
}
