use proptest::prelude::*;

use super::*;
use crate::Stream;

fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, "contraction", 0);
    (0..count).map(|_| stream.uniform() * 2.0 - 1.0).collect()
}

/// The definition, one output at a time.
fn naive(
    shape: &Contraction,
    a: &[f32],
    b: &[f32],
    start: Start<'_>,
    c: &mut [f32],
    winners: &mut [f32],
) {
    let rows = shape.rows;
    for y in 0..rows.outer {
        for x in 0..rows.inner {
            for column in 0..shape.columns {
                let to = y * rows.c_outer + x * rows.c_inner + column;
                let from = y * rows.a_outer + x * rows.a_inner;
                let sum = |tap: usize| {
                    let mut sum = match start {
                        Start::Zero => 0.0,
                        Start::Bias(bias) => bias[column],
                        Start::Continue => c[to],
                    };
                    for segment in 0..shape.segments {
                        for step in 0..shape.steps {
                            let a_at = from + tap + segment * shape.a_segment + step * shape.a_step;
                            let b_at = segment * shape.b_segment + step * shape.b_step + column;
                            sum = a[a_at].mul_add(b[b_at], sum);
                        }
                    }
                    sum
                };
                let relu = |x: f32| if shape.relu && 0.0 > x { 0.0 } else { x };
                let sums = shape.pool.unwrap_or([0; 4]).map(sum);
                c[to] = relu(match shape.pool {
                    None => sums[0],
                    Some(_) => sums[1..].iter().fold(sums[0], |a, &b| if a > b { a } else { b }),
                });
                if shape.pool.is_some() {
                    let first = sums.iter().position(|&sum| sums.iter().all(|&s| s <= sum));
                    winners[to] = first.unwrap() as f32;
                }
            }
        }
    }
}

fn shapes() -> impl Strategy<Value = (Contraction, u8, u64)> {
    let columns = prop_oneof![1..150usize, 1..9usize];
    let extents = (1..4usize, 1..40usize, columns, 1..4usize, 0..9usize);
    let gaps = (0..3usize, 0..3usize, 0..3usize);
    (extents, gaps, any::<bool>(), any::<bool>(), 0..3u8, any::<u64>()).prop_map(
        |(
            (outer, inner, columns, segments, steps),
            (gap_a, gap_b, gap_c),
            relu,
            pool,
            start,
            seed,
        )| {
            let (a_step, b_step) = (1 + gap_a, columns + gap_b);
            let shape = Contraction {
                rows: Grid {
                    outer,
                    inner,
                    a_outer: 3 * inner + gap_b,
                    a_inner: 1 + gap_c,
                    c_outer: inner * (columns + gap_c) + gap_a,
                    c_inner: columns + gap_c,
                },
                columns,
                segments,
                steps,
                a_segment: steps * a_step + gap_c,
                a_step,
                b_segment: steps * b_step,
                b_step,
                relu,
                pool: pool.then_some([0, 1, 5, 6]),
            };
            (shape, start, seed)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_instruction_set_gives_the_bits_of_the_definition((shape, start, seed) in shapes()) {
        let a = floats(3000, seed);
        let b = floats(shape.segments * shape.steps * shape.b_step + shape.columns, seed + 1);
        let bias = floats(shape.columns, seed + 2);
        let before = floats(3 * 40 * 160 + 16, seed + 3);
        let start = match start {
            0 => Start::Zero,
            1 if shape.pool.is_none() => Start::Continue,
            _ => Start::Bias(&bias),
        };
        let mut expected = before.clone();
        let mut winners = vec![-1.0; before.len()];
        naive(&shape, &a, &b, start, &mut expected, &mut winners);
        for isa in Isa::available() {
            let mut c = before.clone();
            shape.run(isa, &a, &b, start, &mut c);
            let bits = |c: &[f32]| c.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&c), bits(&expected), "{}", isa.name());
            if shape.pool.is_some() {
                let (mut c, mut noted) = (before.clone(), vec![-1.0; before.len()]);
                shape.run_noting(isa, &a, &b, start, &mut c, Some(&mut noted));
                prop_assert_eq!(bits(&c), bits(&expected), "{}", isa.name());
                prop_assert_eq!(&noted, &winners, "{}", isa.name());
            }
        }
    }
}

/// Two rows of 64 numbers in, 40 columns out.
fn dense(relu: bool) -> Contraction {
    Contraction {
        rows: Grid { outer: 1, inner: 2, a_inner: 64, c_inner: 40, ..Grid::default() },
        columns: 40,
        segments: 1,
        steps: 64,
        a_step: 1,
        b_step: 40,
        relu,
        ..Contraction::default()
    }
}

#[test]
fn it_is_a_matrix_product() {
    let (a, b) = (floats(128, 1), floats(64 * 40, 2));
    let mut c = vec![0.0; 80];
    dense(false).run(Isa::detect(), &a, &b, Start::Zero, &mut c);
    for row in 0..2 {
        for column in 0..40 {
            let exact: f64 =
                (0..64).map(|k| f64::from(a[row * 64 + k]) * f64::from(b[k * 40 + column])).sum();
            assert!((f64::from(c[row * 40 + column]) - exact).abs() < 1e-5);
        }
    }
}

#[test]
fn relu_lets_nan_through_on_every_path() {
    let (mut a, b) = (floats(128, 1), floats(64 * 40, 2));
    a[3] = f32::NAN;
    for isa in Isa::available() {
        let mut c = vec![0.0; 80];
        dense(true).run(isa, &a, &b, Start::Zero, &mut c);
        assert!(c[..40].iter().all(|x| x.is_nan()), "{}", isa.name());
        assert!(c[40..].iter().all(|x| *x >= 0.0), "{}", isa.name());
    }
}

#[test]
#[should_panic(expected = "A has 127 floats")]
fn a_short_slice_is_refused() {
    let (a, b) = (floats(127, 1), floats(64 * 40, 2));
    dense(false).run(Isa::detect(), &a, &b, Start::Zero, &mut [0.0; 80]);
}

#[test]
#[should_panic(expected = "the contraction reads number 18446744073709551615")]
fn strides_that_overflow_are_refused() {
    let (a, b) = (floats(128, 1), floats(64 * 40, 2));
    let shape = Contraction { a_step: usize::MAX, ..dense(false) };
    shape.run(Isa::detect(), &a, &b, Start::Zero, &mut [0.0; 80]);
}
