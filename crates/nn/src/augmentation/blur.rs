//! A Gaussian blur, one axis after the other.

use super::Size;

/// The largest deviation.
pub(super) const LARGEST: f64 = 5.0;
/// Taps to each side: three deviations.
const RADIUS: usize = 15;
/// Taps are shares of this, so that sums are whole numbers.
const ONE: u32 = 1 << 16;
/// Most that an image has.
const CHANNELS: usize = 3;
/// Values that are summed side by side.
const BLOCK: usize = 64;

/// Blurs an image in place; `between` is as long.
pub(super) fn blur(size: Size, deviation: f64, image: &mut [u8], between: &mut [u8]) {
    let kernel = Kernel::new(deviation);
    kernel.across(size, image, between);
    kernel.down(size, between, image);
}

/// The tap in the middle, and those to one side of it.
struct Kernel {
    middle: u32,
    taps: [u32; RADIUS],
    radius: usize,
}

impl Kernel {
    fn new(deviation: f64) -> Self {
        let radius = ((3.0 * deviation).ceil() as usize).min(RADIUS);
        let mut powers = [0.0; RADIUS];
        for (distance, power) in (1u32..).zip(&mut powers[..radius]) {
            let far = f64::from(distance) / deviation;
            *power = libm::exp(-0.5 * far * far);
        }
        let sum = 1.0 + 2.0 * powers.iter().sum::<f64>();
        let taps = powers.map(|power| (power / sum * f64::from(ONE)).round() as u32);
        // What rounding leaves goes to the middle, so that an even grey stays as it is.
        Self { middle: ONE - 2 * taps.iter().sum::<u32>(), taps, radius }
    }

    /// Along the rows; the edge goes on outside.
    fn across(&self, size: Size, from: &[u8], to: &mut [u8]) {
        let Size { width, channels, .. } = size;
        debug_assert!(channels <= CHANNELS);
        let margin = self.radius * channels;
        let mut around = [0; BLOCK + 2 * RADIUS * CHANNELS];
        let lines = from.chunks_exact(width * channels).zip(to.chunks_exact_mut(width * channels));
        for (from, to) in lines {
            for (block, to) in to.chunks_mut(BLOCK).enumerate() {
                let first = block * BLOCK;
                let around = &mut around[..to.len() + 2 * margin];
                if first >= margin && first + to.len() + margin <= from.len() {
                    around.copy_from_slice(&from[first - margin..][..around.len()]);
                } else {
                    for (at, value) in (first..).zip(&mut *around) {
                        // Counted from the left end of the margin.
                        let pixel = (at / channels).saturating_sub(self.radius).min(width - 1);
                        *value = from[pixel * channels + at % channels];
                    }
                }
                self.sum(to, |far, ahead| {
                    let shift = far * channels;
                    &around[if ahead { margin + shift } else { margin - shift }..]
                });
            }
        }
    }

    /// Along the columns.
    fn down(&self, size: Size, from: &[u8], to: &mut [u8]) {
        let Size { height, width, channels } = size;
        for (row, line) in to.chunks_exact_mut(width * channels).enumerate() {
            for (block, to) in line.chunks_mut(BLOCK).enumerate() {
                self.sum(to, |far, ahead| {
                    let row = if ahead { row + far } else { row.saturating_sub(far) };
                    &from[row.min(height - 1) * width * channels + block * BLOCK..]
                });
            }
        }
    }

    /// The values that are so far away, behind or ahead, times their taps.
    #[inline(always)]
    fn sum<'v>(&self, to: &mut [u8], values: impl Fn(usize, bool) -> &'v [u8]) {
        let len = to.len();
        let mut sums = [ONE / 2; BLOCK];
        add(self.middle, &values(0, true)[..len], &mut sums);
        for (far, &tap) in (1..).zip(&self.taps[..self.radius]) {
            add(tap, &values(far, false)[..len], &mut sums);
            add(tap, &values(far, true)[..len], &mut sums);
        }
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = (sum / ONE) as u8;
        }
    }
}

#[inline(always)]
fn add(tap: u32, values: &[u8], sums: &mut [u32; BLOCK]) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += tap * u32::from(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use teller_numeric::Stream;

    use super::*;

    /// In two dimensions at once.
    fn naive(size: Size, deviation: f64, image: &[u8]) -> Vec<f64> {
        let radius = ((3.0 * deviation).ceil() as i64).min(RADIUS as i64);
        let weight =
            |far: i64| if far == 0 { 1.0 } else { (-0.5 * (far as f64 / deviation).powi(2)).exp() };
        let whole: f64 = (-radius..=radius).map(weight).sum();
        let mut to = Vec::new();
        for row in 0..size.height as i64 {
            for column in 0..size.width as i64 {
                for channel in 0..size.channels {
                    let mut sum = 0.0;
                    for down in -radius..=radius {
                        for across in -radius..=radius {
                            let row = (row + down).clamp(0, size.height as i64 - 1) as usize;
                            let column = (column + across).clamp(0, size.width as i64 - 1) as usize;
                            let value =
                                image[(row * size.width + column) * size.channels + channel];
                            sum += weight(down) * weight(across) * f64::from(value);
                        }
                    }
                    to.push(sum / (whole * whole));
                }
            }
        }
        to
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_is_gaussian(
            (height, width, colour) in (1usize..30, 1usize..90, any::<bool>()),
            deviation in prop_oneof![Just(0.0), 0.0f64..2.0, Just(LARGEST)],
            seed in any::<u64>(),
        ) {
            let size = Size { height, width, channels: if colour { 3 } else { 1 } };
            let mut stream = Stream::new(seed, "picture", 0);
            let mut image: Vec<u8> = (0..height * width * size.channels)
                .map(|_| stream.below(256) as u8)
                .collect();
            let expected = naive(size, deviation, &image);
            let mut between = vec![0; image.len()];
            blur(size, deviation, &mut image, &mut between);
            for (got, expected) in image.iter().zip(expected) {
                prop_assert!((f64::from(*got) - expected).abs() < 1.2, "{} {}", got, expected);
            }
        }
    }

    #[test]
    fn an_even_grey_stays() {
        let size = Size { height: 9, width: 11, channels: 1 };
        for deviation in [0.0, 1e-9, 0.3, 1.0, LARGEST] {
            let mut image = vec![200; 99];
            blur(size, deviation, &mut image, &mut [0; 99]);
            assert_eq!(image, [200; 99]);
        }
    }
}
