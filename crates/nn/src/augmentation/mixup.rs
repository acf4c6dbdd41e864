//! Mixing two images.

use teller_numeric::Stream;

/// Of 256 parts, how many are the first image's: a beta-distributed share.
pub(super) fn parts(alpha: f64, stream: &mut Stream) -> u32 {
    let (first, second) = (gamma(alpha, stream), gamma(alpha, stream));
    // Both may be too small for a number to tell.
    let share = if first + second > 0.0 { first / (first + second) } else { 1.0 };
    (share * 256.0).round() as u32
}

/// Leaves of `image` so many of 256 parts, the rest being the partner's.
pub(super) fn mix(image: &mut [u8], parts: u32, partner: &[u8]) {
    let rest = 256 - parts.min(256);
    let parts = 256 - rest;
    for (value, &other) in image.iter_mut().zip(partner) {
        *value = ((u32::from(*value) * parts + u32::from(other) * rest + 128) >> 8) as u8;
    }
}

/// A gamma-distributed number of scale 1 (Marsaglia and Tsang 2000).
fn gamma(shape: f64, stream: &mut Stream) -> f64 {
    if shape < 1.0 {
        let boost = libm::pow(positive(stream), 1.0 / shape);
        return gamma(shape + 1.0, stream) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    loop {
        let x = stream.normal();
        let v = 1.0 + c * x;
        let v = v * v * v;
        let u = positive(stream);
        if v > 0.0 && libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
            return d * v;
        }
    }
}

/// Above 0, at most 1.
fn positive(stream: &mut Stream) -> f64 {
    ((stream.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_beta_distributed() {
        for alpha in [0.1, 0.4, 1.0, 3.0, 10.0] {
            let mut stream = Stream::new(1, "mixup", 0);
            let n = 40_000;
            let shares: Vec<f64> =
                (0..n).map(|_| f64::from(parts(alpha, &mut stream)) / 256.0).collect();
            let mean = shares.iter().sum::<f64>() / f64::from(n);
            let variance = shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / f64::from(n);
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01, "{alpha}: {mean}");
            assert!((variance - expected).abs() < 0.03 * expected + 1e-4, "{alpha}: {variance}");
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        }
        let mut stream = Stream::new(2, "mixup", 0);
        assert!((0..1000).all(|_| parts(1e-4, &mut stream) <= 256));
    }

    #[test]
    fn images_are_mixed_by_their_shares() {
        let mixed = |parts| {
            let mut image = [0, 255, 100];
            mix(&mut image, parts, &[255, 0, 110]);
            image
        };
        assert_eq!(mixed(256), [0, 255, 100]);
        assert_eq!(mixed(0), [255, 0, 110]);
        assert_eq!(mixed(64), [191, 64, 108]);
    }
}
