//! The curves of activations as fixed sequences of exactly rounded operations, so that they give
//! the same bits on every processor and vectorize.

use crate::math::exp;

/// The largest error of [`sigmoid`], in units in the last place.
pub const SIGMOID_ULPS: f64 = 3.0;
/// The largest error of [`normal_cdf`], in units in the last place.
pub const NORMAL_CDF_ULPS: f64 = 10.0;

/// `1 / (1 + e^-x)`, at most [`SIGMOID_ULPS`] off; 0 below -88.7, NaN for NaN.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The share of a normal distribution below `x`, at most [`NORMAL_CDF_ULPS`] off; 0 below -13,
/// NaN for NaN.
#[inline(always)]
pub fn normal_cdf(x: f32) -> f32 {
    let a = if x.abs() > 13.5 { 13.5 } else { x.abs() };
    // erfc(z) / 2 with z = a / sqrt(2) by Chebyshev's fit in t (Press et al., Numerical Recipes,
    // section 6.2, relative error 1.2e-7).
    let t = 1.0 / (1.0 + a * (0.5 * std::f32::consts::FRAC_1_SQRT_2));
    let p = 0.170_872_77;
    let p = p * t - 0.822_152_23;
    let p = p * t + 1.488_515_9;
    let p = p * t - 1.135_204;
    let p = p * t + 0.278_868_07;
    let p = p * t - 0.186_288_06;
    let p = p * t + 0.096_784_18;
    let p = p * t + 0.374_091_96;
    let p = p * t + 1.000_023_7;
    let p = p * t - 1.265_512_2;
    let tail = 0.5 * t * exp(p) * bell(a);
    let share = if x > 0.0 { 1.0 - tail } else { tail };
    if x < -13.0 { 0.0 } else { share }
}

/// The Gaussian error linear unit, `x` times [`normal_cdf`] (Hendrycks and Gimpel 2016).
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    if x < -13.0 { 0.0 } else { x * normal_cdf(x) }
}

/// The slope of [`gelu`].
#[inline(always)]
pub fn gelu_slope(x: f32) -> f32 {
    const DENSITY: f32 = 0.398_942_3;
    let a = if x.abs() > 13.5 { 13.5 } else { x.abs() };
    normal_cdf(x) + a.copysign(x) * (DENSITY * bell(a))
}

/// `e^(-a^2 / 2)` for `a` from 0 to 13.5.
#[inline(always)]
fn bell(a: f32) -> f32 {
    // The square of the upper 12 bits is exact; the rest is a small correction.
    let high = f32::from_bits(a.to_bits() & 0xffff_f000);
    exp(-0.5 * high * high) * exp(-0.5 * (a - high) * (a + high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::{TANH_ULPS, tanh};

    /// The largest error over a range, in units in the last place of the exact value.
    fn worst(range: (f32, f32), curve: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        let mut worst: f64 = 0.0;
        let mut x = range.0;
        while x < range.1 {
            let exact = exact(f64::from(x));
            let rounded = (exact as f32).abs();
            let ulp = f64::from(f32::from_bits(rounded.to_bits() + 1)) - f64::from(rounded);
            worst = worst.max((f64::from(curve(x)) - exact).abs() / ulp);
            x += 0.000_37;
        }
        worst
    }

    #[test]
    fn the_promises_are_kept() {
        let sigmoid = worst((-87.0, 88.0), sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
        let tanh = worst((-20.0, 20.0), tanh, f64::tanh);
        let cdf = worst((-12.9, 13.0), normal_cdf, |x| {
            0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
        });
        println!("worst errors: sigmoid {sigmoid}, tanh {tanh}, normal_cdf {cdf} ulp");
        assert!(sigmoid <= SIGMOID_ULPS, "{sigmoid}");
        assert!(tanh <= TANH_ULPS, "{tanh}");
        assert!(cdf <= NORMAL_CDF_ULPS, "{cdf}");
    }

    #[test]
    fn the_slope_of_gelu_is_its_slope() {
        for step in -1000..1000 {
            let x = f64::from(step) * 0.01;
            let cdf = 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
            let exact = cdf + x * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
            let got = f64::from(gelu_slope(x as f32));
            assert!((got - exact).abs() < 1e-6, "{x}: {got}, exactly {exact}");
        }
    }

    #[test]
    fn the_edges_are_the_limits() {
        let far = [f32::INFINITY, f32::MAX, 100.0];
        for x in far {
            assert_eq!([sigmoid(x), tanh(x), normal_cdf(x), gelu_slope(x)], [1.0; 4], "{x}");
            assert_eq!(gelu(x), x);
            assert_eq!([sigmoid(-x), tanh(-x), normal_cdf(-x)], [0.0, -1.0, 0.0], "{x}");
            assert_eq!(gelu(-x), 0.0);
            assert!(gelu_slope(-x).abs() < 1e-30);
        }
        for curve in [sigmoid, tanh, normal_cdf, gelu, gelu_slope] {
            assert!(curve(f32::NAN).is_nan());
        }
        assert_eq!([sigmoid(0.0), tanh(0.0), gelu(0.0)], [0.5, 0.0, 0.0]);
    }
}
