//! Elementary functions as fixed sequences of exactly rounded operations, so that they give the
//! same bits on every processor and vectorize.

/// `e^x`, at most [`EXP_ULPS`] units in the last place off; 0 below -87.3 and infinite above
/// 88.7 (no subnormal results), NaN for NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2; the sum with 1.5 * 2^23 rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with few enough bits for n * LN2_HIGH to be exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    // Cephes' minimax polynomial of (e^r - 1 - r) / r^2 (Moshier 1989).
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = (p * (r * r) + r) + 1.0;
    // 2^n in two factors, since 2^128 alone is no float. The whole number stands in the last bits
    // of the sum; beyond the range of results anything may stand there.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let y = y * power(half) * power(n.wrapping_sub(half));
    if x < -87.3 {
        0.0
    } else if x > 88.72 {
        f32::INFINITY
    } else {
        y
    }
}

/// The largest error of [`exp`], in units in the last place.
pub const EXP_ULPS: f64 = 1.0;

/// The natural logarithm, at most [`LN_ULPS`] units in the last place off; negative infinity for
/// 0, NaN for negative numbers and NaN.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    // Subnormal numbers are scaled by 2^23 into the normal range.
    let subnormal = x < f32::MIN_POSITIVE;
    let bits = (if subnormal { x * 8_388_608.0 } else { x }).to_bits() as i32;
    // x = m 2^e with m between sqrt(1/2) and sqrt(2).
    const SQRT_HALF: i32 = 0x3f35_04f3;
    let exponent = (bits.wrapping_sub(SQRT_HALF)) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(exponent << 23) as u32) - 1.0;
    let e = (exponent - if subnormal { 23 } else { 0 }) as f32;
    // Cephes' minimax polynomial (Moshier 1989).
    let p = 7.037_683_6e-2;
    let p = p * m - 1.151_461e-1;
    let p = p * m + 1.167_699_9e-1;
    let p = p * m - 1.242_014_1e-1;
    let p = p * m + 1.424_932_3e-1;
    let p = p * m - 1.666_805_8e-1;
    let p = p * m + 2.000_071_5e-1;
    let p = p * m - 2.499_999_4e-1;
    let p = p * m + 3.333_333e-1;
    let square = m * m;
    let y = p * m * square - 2.121_944_4e-4 * e - 0.5 * square;
    let y = (m + y) + 0.693_359_4 * e;
    if x == 0.0 {
        f32::NEG_INFINITY
    } else if x < 0.0 || x.is_nan() {
        f32::NAN
    } else if x == f32::INFINITY {
        x
    } else {
        y
    }
}

/// The largest error of [`ln`], in units in the last place.
pub const LN_ULPS: f64 = 1.0;

/// The hyperbolic tangent, at most [`TANH_ULPS`] units in the last place off and never beyond 1.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let far = 1.0 - 2.0 / (exp(size + size) + 1.0);
    // Cephes' minimax polynomial (Moshier 1989).
    let square = size * size;
    let p = -5.704_988_7e-3;
    let p = p * square + 2.063_908_8e-2;
    let p = p * square - 5.373_971_6e-2;
    let p = p * square + 1.333_144_2e-1;
    let p = p * square - 3.333_328e-1;
    let near = p * square * size + size;
    (if size >= 0.625 { far } else { near }).copysign(x)
}

/// The largest error of [`tanh`], in units in the last place.
pub const TANH_ULPS: f64 = 1.5;

/// Cosine and sine of `2 pi x` for `x` from 0 to 1, at most [`TURN_ERROR`] off.
#[inline(always)]
pub fn turn(x: f32) -> [f32; 2] {
    // Half a turn back, so that both have the other sign and `x` is at most half a turn.
    let x = x - 0.5;
    let near = if x.abs() <= 0.25 { x } else { 0.5f32.copysign(x) - x };
    [0.25 - x.abs(), near].map(|quarter| {
        // Taylor's polynomial of the sine up to a quarter of a turn.
        let angle = quarter * std::f32::consts::TAU;
        let square = angle * angle;
        let p = -2.505_210_8e-8;
        let p = p * square + 2.755_731_9e-6;
        let p = p * square - 1.984_127e-4;
        let p = p * square + 8.333_333e-3;
        let p = p * square - 1.666_666_7e-1;
        -(p * square * angle + angle)
    })
}

/// The largest error of [`turn`].
pub const TURN_ERROR: f64 = 3e-7;

/// Turns a row of logits into probabilities: `e^(x - max) / sum`.
pub fn softmax(row: &mut [f32]) {
    let max = row.iter().fold(f32::NEG_INFINITY, |max, &x| if max > x { max } else { x });
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = exp(*x - max);
        sum += *x;
    }
    for x in row {
        *x /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_near_cosine_and_sine() {
        for step in (0..1 << 24).step_by(5) {
            let x = step as f32 / 16_777_216.0;
            let angle = f64::from(x) * std::f64::consts::TAU;
            let [cosine, sine] = turn(x).map(f64::from);
            let off = (cosine - libm::cos(angle)).abs().max((sine - libm::sin(angle)).abs());
            assert!(off <= TURN_ERROR, "{x}: {off}");
        }
    }

    #[test]
    fn exp_keeps_its_promise() {
        let mut worst: f64 = 0.0;
        let mut x = -87.29f32;
        while x < 88.72 {
            let exact = f64::from(x).exp();
            let ulp =
                f64::from(f32::from_bits((exact as f32).to_bits() + 1)) - f64::from(exact as f32);
            worst = worst.max((f64::from(exp(x)) - exact).abs() / ulp);
            x += 0.000_37;
        }
        println!("worst error {worst} ulp");
        assert!(worst <= EXP_ULPS, "{worst}");
    }

    /// The largest distance from `exact` in units in the last place, over numbers `step` bit
    /// patterns apart.
    fn worst(
        from: f32,
        to: f32,
        step: u32,
        approximate: fn(f32) -> f32,
        exact: fn(f64) -> f64,
    ) -> f64 {
        let mut worst: f64 = 0.0;
        for bits in (from.to_bits()..=to.to_bits()).step_by(step as usize) {
            let x = f32::from_bits(bits);
            let exact = exact(f64::from(x));
            let near = (exact as f32).abs();
            let ulp = f64::from(f32::from_bits(near.to_bits() + 1)) - f64::from(near);
            worst = worst.max((f64::from(approximate(x)) - exact).abs() / ulp);
        }
        println!("worst error {worst} ulp");
        worst
    }

    #[test]
    fn ln_keeps_its_promise() {
        let error = worst(1e-45, f32::MAX, 997, ln, f64::ln);
        assert!(error <= LN_ULPS, "{error}");
        let error = worst(0.5, 2.0, 7, ln, f64::ln);
        assert!(error <= LN_ULPS, "{error}");
    }

    #[test]
    fn tanh_keeps_its_promise() {
        let error = worst(1e-30, 20.0, 997, tanh, f64::tanh);
        assert!(error <= TANH_ULPS, "{error}");
        let error = worst(0.5, 1.0, 7, tanh, f64::tanh);
        assert!(error <= TANH_ULPS, "{error}");
    }

    #[test]
    fn ln_and_tanh_at_the_edges() {
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(0.0), f32::NEG_INFINITY);
        assert_eq!(ln(-0.0), f32::NEG_INFINITY);
        assert_eq!(ln(f32::INFINITY), f32::INFINITY);
        assert!(ln(-1.0).is_nan() && ln(f32::NAN).is_nan());
        assert_eq!(tanh(0.0), 0.0);
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(tanh(-1e30), -1.0);
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(-0.7), -tanh(0.7));
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(89.0), f32::INFINITY);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn softmax_sums_to_one_and_survives_large_logits() {
        let mut row = [1000.0, 999.0, -1000.0];
        softmax(&mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((row[0] - 0.731_058_6).abs() < 1e-6 && row[2] == 0.0, "{row:?}");
        let mut row = [f32::NAN, 1.0];
        softmax(&mut row);
        assert!(row.iter().all(|x| x.is_nan()));
    }
}
