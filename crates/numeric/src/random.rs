//! Seeded random streams, keyed by purpose and index and never by thread, so that the same seed
//! gives the same numbers however the work is divided.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::{Isa, math};

/// One reproducible stream of random numbers.
///
/// ```
/// use teller_numeric::Stream;
/// let a = Stream::new(42, "dropout", 7).next_u32();
/// assert_eq!(a, Stream::new(42, "dropout", 7).next_u32());
/// assert_ne!(a, Stream::new(42, "dropout", 8).next_u32());
/// ```
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of `seed` for one `purpose` (a short name) and `index` (a step, a row, a layer).
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&fnv1a(purpose.as_bytes()).to_le_bytes());
        key[16..24].copy_from_slice(&index.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A uniform 32-bit number.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A uniform 64-bit number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform number in `[0, 1)` with 24 random bits.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// A uniform number in `[0, bound)`, without bias (Lemire 2019). `bound` must not be 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        debug_assert!(bound > 0);
        let threshold = bound.wrapping_neg() % bound.max(1);
        loop {
            let wide = u64::from(self.next_u32()) * u64::from(bound);
            if wide as u32 >= threshold {
                return (wide >> 32) as u32;
            }
        }
    }

    /// A standard normal number (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let scale = 1.0 / (1u64 << 53) as f64;
        let u = ((self.next_u64() >> 11) + 1) as f64 * scale;
        let v = (self.next_u64() >> 11) as f64 * scale;
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(2.0 * std::f64::consts::PI * v)
    }

    /// Standard normal numbers of single precision, none beyond 5.8, each pair from 48 random bits:
    /// many at once are made in a seventh of the time of [`Self::normal`].
    pub fn normals(&mut self, isa: Isa, to: &mut [f32]) {
        // Radii in the first half, angles in the other; an odd one has an angle of its own.
        to.iter_mut().for_each(|x| *x = self.uniform());
        let (radii, rest) = to.split_at_mut(to.len() / 2);
        let (angles, odd) = rest.split_at_mut(radii.len());
        isa.vectorize(box_muller, (radii, angles));
        if let [odd] = odd {
            let mut angle = [self.uniform()];
            box_muller((std::array::from_mut(odd), &mut angle));
        }
    }

    /// Puts `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }
}

/// Pairs of uniform numbers become pairs of independent normal ones.
#[inline(always)]
fn box_muller((radii, angles): (&mut [f32], &mut [f32])) {
    for (radius, angle) in radii.iter_mut().zip(angles) {
        // From 1 down, since the logarithm of 0 is infinite.
        let length = (-2.0 * math::ln(1.0 - *radius)).sqrt();
        let [cosine, sine] = math::turn(*angle);
        (*radius, *angle) = (length * cosine, length * sine);
    }
}

/// FNV-1a, a hash that will never change under us.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_apart() {
        let draw = |seed, purpose, index| {
            let mut stream = Stream::new(seed, purpose, index);
            (0..8).map(|_| stream.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "shuffle", 3), draw(1, "shuffle", 3));
        assert_ne!(draw(1, "shuffle", 3), draw(2, "shuffle", 3));
        assert_ne!(draw(1, "shuffle", 3), draw(1, "dropout", 3));
        assert_ne!(draw(1, "shuffle", 3), draw(1, "shuffle", 4));
    }

    #[test]
    fn the_numbers_never_change() {
        let mut stream = Stream::new(42, "golden", 0);
        let golden: Vec<u32> = (0..4).map(|_| stream.next_u32()).collect();
        assert_eq!(golden, GOLDEN, "stored models are reproducible only while these hold");
    }

    const GOLDEN: [u32; 4] = [3_291_594_429, 3_754_615_705, 2_378_728_075, 3_145_767_966];

    #[test]
    fn moments_are_right() {
        let mut stream = Stream::new(7, "moments", 0);
        let n = 200_000;
        let normal: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = normal.iter().sum::<f64>() / n as f64;
        let variance = normal.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        let uniform = (0..n).map(|_| f64::from(stream.uniform())).sum::<f64>() / n as f64;
        assert!((uniform - 0.5).abs() < 0.005, "{uniform}");
    }

    #[test]
    fn normals_are_independent_and_normal() {
        let isa = Isa::detect();
        for len in [0, 1, 2, 3, 7] {
            let mut few = vec![f32::NAN; len];
            Stream::new(1, "normals", 0).normals(isa, &mut few);
            assert!(few.iter().all(|x| x.is_finite()), "{few:?}");
        }
        let mut numbers = vec![0.0; 400_001];
        Stream::new(8, "normals", 0).normals(isa, &mut numbers);
        let count = numbers.len() as f64;
        let moment = |power| numbers.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / count;
        for (power, expected, near) in
            [(1, 0.0, 0.01), (2, 1.0, 0.01), (3, 0.0, 0.03), (4, 3.0, 0.06), (6, 15.0, 1.0)]
        {
            assert!((moment(power) - expected).abs() < near, "{power}: {}", moment(power));
        }
        let half = numbers.len() / 2;
        let pairs = numbers.iter().zip(&numbers[half..]).take(half);
        for product in [|x: f64, y: f64| x * y, |x: f64, y: f64| (x * x - 1.0) * (y * y - 1.0)] {
            let products = pairs.clone().map(|(&x, &y)| product(x.into(), y.into()));
            assert!((products.sum::<f64>() / half as f64).abs() < 0.02);
        }
        numbers.sort_by(f32::total_cmp);
        // The largest distance of the shares (Kolmogorov 1933), 1 % of the time beyond this.
        let shares = (1..).zip(&numbers).map(|(rank, &x)| {
            let below = 0.5 * libm::erfc(-f64::from(x) / std::f64::consts::SQRT_2);
            (f64::from(rank) / count - below).abs()
        });
        assert!(shares.fold(0.0, f64::max) < 1.63 / count.sqrt());
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut stream = Stream::new(9, "below", 0);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[stream.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&c| (9_500..10_500).contains(&c)), "{counts:?}");
    }
}
