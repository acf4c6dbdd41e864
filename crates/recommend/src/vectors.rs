//! Sums over factors. A dot product has 16 fixed lanes, added up by one fixed tree: the same bits
//! with vectors of any width, and fast where rows lie in place one after the other.

const LANES: usize = 16;

/// `a · b`, of the shorter's length.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += a * b;
    }
    tree(&lanes)
}

#[inline(always)]
fn tree(lanes: &[f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// The cosine of the angle between two vectors, the first of a known length; 0 where one has none.
pub(crate) fn cosine(a: &[f32], length_of_a: f64, b: &[f32]) -> f32 {
    let cosine = f64::from(dot(a, b)) / (length_of_a * length(b));
    if cosine.is_finite() { cosine as f32 } else { 0.0 }
}

/// The length of a vector.
pub(crate) fn length(vector: &[f32]) -> f64 {
    f64::from(dot(vector, vector)).sqrt()
}

/// `y += a x`.
#[inline(always)]
pub(crate) fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use teller_numeric::Isa;
    use teller_numeric::kernels::dots;

    use super::*;

    fn vectors() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        (0usize..130).prop_flat_map(|n| {
            let vector = || prop::collection::vec(-1f32..1.0, n);
            (vector(), vector())
        })
    }

    proptest! {
        #[test]
        fn dot_equals_the_long_way((a, b) in vectors()) {
            let exact: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            prop_assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-5);
        }

        #[test]
        fn a_dot_product_is_that_of_the_kernels((a, b) in vectors()) {
            let mut out = [f32::NAN];
            dots(Isa::detect(), &a, &b, &mut out);
            prop_assert_eq!(out[0].to_bits(), dot(&a, &b).to_bits());
        }
    }
}
