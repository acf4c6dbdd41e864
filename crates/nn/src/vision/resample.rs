//! Resizing: the average of the covered area where the image shrinks, straight lines between pixel
//! centres where it grows, each axis on its own.
//!
//! Both are ratios of whole numbers and are computed as such, rounded once at the end. So the
//! result is exact, the same on every CPU, the same for a mirrored image, and an image of the right
//! size stays what it is.

use teller_numeric::Control;

use super::ImageError;
use super::orientation::Area;
use super::pixels::Pixels;

/// Pixels read between two questions to the control, well under a millisecond.
const PIXELS_A_POLL: usize = 1 << 16;

/// One axis, from `source` pixels to `target` pixels, both at least 1.
#[derive(Clone, Copy)]
struct Axis {
    source: usize,
    target: usize,
}

/// The pixels that one target pixel is made of: `first` and `last` have weights of their own, all
/// between them weigh `inner`. `first == last` means a single pixel of weight `first_weight`.
struct Taps {
    first: usize,
    last: usize,
    first_weight: u64,
    inner: u64,
    last_weight: u64,
}

impl Axis {
    /// The sum of the weights of every target pixel.
    fn total(self) -> u64 {
        if self.target <= self.source { self.source as u64 } else { 2 * self.target as u64 }
    }

    /// The taps of every target pixel.
    fn all(self) -> Vec<Taps> {
        (0..self.target).map(|position| self.taps(position)).collect()
    }

    fn taps(self, position: usize) -> Taps {
        let (source, target) = (self.source as u64, self.target as u64);
        let position = position as u64;
        if target <= source {
            // In units of 1/target of a source pixel, source pixel i covers i * target on for
            // target units, and target pixel j covers j * source on for source units.
            let start = position * source;
            let end = start + source;
            let (first, last) = (start / target, (end - 1) / target);
            if first == last {
                return Taps::one(first, source);
            }
            Taps {
                first: first as usize,
                last: last as usize,
                first_weight: (first + 1) * target - start,
                inner: target,
                last_weight: end - last * target,
            }
        } else {
            // The centre of target pixel j lies (2 j + 1) source / (2 target) - 1/2 after the
            // centre of source pixel 0; outside the outermost centres the edge goes on.
            let numerator = ((2 * position + 1) * source).saturating_sub(target);
            let (first, fraction) = (numerator / (2 * target), numerator % (2 * target));
            if fraction == 0 || first + 1 >= source {
                return Taps::one(first.min(source - 1), 2 * target);
            }
            Taps {
                first: first as usize,
                last: first as usize + 1,
                first_weight: 2 * target - fraction,
                inner: 0,
                last_weight: fraction,
            }
        }
    }
}

impl Taps {
    fn one(pixel: u64, weight: u64) -> Self {
        let pixel = pixel as usize;
        Self { first: pixel, last: pixel, first_weight: weight, inner: 0, last_weight: 0 }
    }

    fn weight(&self, pixel: usize) -> u64 {
        if pixel == self.first {
            self.first_weight
        } else if pixel == self.last {
            self.last_weight
        } else {
            self.inner
        }
    }
}

/// What the result looks like.
pub(super) struct Target {
    /// The stored pixels to use; within the image and not empty.
    pub(super) area: Area,
    /// Size of the result, as stored (before orientation), at least 1.
    pub(super) width: usize,
    pub(super) height: usize,
    /// 1 or 3.
    pub(super) channels: usize,
    /// Shows where the image is transparent.
    pub(super) background: u8,
}

/// Resizes `target.area` of `pixels` and gives each row of the result, with its number, to `write`.
pub(super) fn resample(
    pixels: &Pixels,
    target: &Target,
    control: &dyn Control,
    mut write: impl FnMut(usize, &[u8]),
) -> Result<(), ImageError> {
    let Target { area, channels, .. } = *target;
    let across = Axis { source: area.width, target: target.width };
    let down = Axis { source: area.height, target: target.height };
    let columns = across.all();
    let divide = Divide::by(across.total() * down.total());
    let length = target.width * channels;

    let mut scratch = Vec::new();
    let mut stored = vec![0u8; pixels.width * channels];
    // Neighbouring target rows share at most two source rows.
    let mut sums = [vec![0u64; length], vec![0u64; length]];
    let mut summed = [usize::MAX; 2];
    let mut accumulated = vec![0u64; length];
    let mut row = vec![0u8; length];
    let mut unpolled = PIXELS_A_POLL;

    for position in 0..target.height {
        let taps = down.taps(position);
        accumulated.fill(0);
        for y in taps.first..=taps.last {
            let slot = y % 2;
            if summed[slot] != y {
                unpolled += pixels.width + target.width;
                if unpolled >= PIXELS_A_POLL {
                    control.check()?;
                    unpolled = 0;
                }
                pixels.row(area.y + y, channels, target.background, &mut scratch, &mut stored);
                let stored = &stored[area.x * channels..(area.x + area.width) * channels];
                match channels {
                    1 => sum_row::<1>(stored, &columns, &mut sums[slot]),
                    _ => sum_row::<3>(stored, &columns, &mut sums[slot]),
                }
                summed[slot] = y;
            }
            let weight = taps.weight(y);
            for (accumulated, &sum) in accumulated.iter_mut().zip(&sums[slot]) {
                *accumulated += weight * sum;
            }
        }
        for (out, &sum) in row.iter_mut().zip(&accumulated) {
            *out = divide.round(sum);
        }
        write(position, &row);
    }
    Ok(())
}

/// Rounded division of sums of at most 255 `total` by `total`.
struct Divide {
    total: u64,
    half: u64,
}

impl Divide {
    fn by(total: u64) -> Self {
        Self { total, half: total / 2 }
    }

    fn round(&self, sum: u64) -> u8 {
        let sum = sum + self.half;
        // A quotient below 256 misses the next whole number by at least 1/total, which a double
        // with its 53 bits sees up to here; and it divides much faster than whole numbers do.
        if self.total < 1 << 44 {
            (sum as f64 / self.total as f64) as u8
        } else {
            (sum / self.total) as u8
        }
    }
}

/// The weighted sums of one row, `N` channels a pixel.
fn sum_row<const N: usize>(row: &[u8], columns: &[Taps], out: &mut [u64]) {
    let row = row.as_chunks::<N>().0;
    for (out, taps) in out.as_chunks_mut::<N>().0.iter_mut().zip(columns) {
        let first = row[taps.first];
        *out = first.map(|sample| u64::from(sample) * taps.first_weight);
        if taps.last > taps.first {
            let last = row[taps.last];
            let mut inner = [0u64; N];
            for pixel in &row[taps.first + 1..taps.last] {
                for (sum, &sample) in inner.iter_mut().zip(pixel) {
                    *sum += u64::from(sample);
                }
            }
            for channel in 0..N {
                out[channel] +=
                    inner[channel] * taps.inner + u64::from(last[channel]) * taps.last_weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::orientation::Orientation;
    use super::super::pixels::{Depth, Model};
    use super::*;
    use proptest::prelude::*;
    use teller_numeric::Uninterrupted;

    fn grey(width: usize, height: usize, data: Vec<u8>) -> Pixels {
        Pixels {
            width,
            height,
            depth: Depth::Eight,
            model: Model::Grey,
            premultiplied: false,
            orientation: Orientation::default(),
            data,
        }
    }

    fn resize(pixels: &Pixels, width: usize, height: usize) -> Vec<u8> {
        let area = Area { x: 0, y: 0, width: pixels.width, height: pixels.height };
        let target = Target { area, width, height, channels: 1, background: 0 };
        let mut out = Vec::new();
        resample(pixels, &target, &Uninterrupted, |_, row| out.extend_from_slice(row)).unwrap();
        out
    }

    /// The weight of source pixel `i` in target pixel `j`, in floating point, from the definition.
    fn weight(source: usize, target: usize, i: usize, j: usize) -> f64 {
        let scale = source as f64 / target as f64;
        if target <= source {
            let (start, end) = (j as f64 * scale, (j + 1) as f64 * scale);
            ((i + 1) as f64).min(end).max(start) - (i as f64).max(start).min(end)
        } else {
            let centre = ((j as f64 + 0.5) * scale - 0.5).clamp(0.0, (source - 1) as f64);
            (1.0 - (centre - i as f64).abs()).max(0.0)
        }
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            (width, height, data) in (1usize..20, 1usize..20).prop_flat_map(|(w, h)| {
                (Just(w), Just(h), proptest::collection::vec(any::<u8>(), w * h))
            }),
            across in 1usize..24,
            down in 1usize..24,
        ) {
            let out = resize(&grey(width, height, data.clone()), across, down);
            for y in 0..down {
                for x in 0..across {
                    let (mut sum, mut total) = (0.0, 0.0);
                    for j in 0..height {
                        for i in 0..width {
                            let weight = weight(width, across, i, x) * weight(height, down, j, y);
                            sum += weight * f64::from(data[j * width + i]);
                            total += weight;
                        }
                    }
                    let got = f64::from(out[y * across + x]);
                    prop_assert!((got - sum / total).abs() <= 0.5 + 1e-6, "{got} {}", sum / total);
                }
            }
            let mut mirrored = data.clone();
            mirrored.reverse();
            let mut back = resize(&grey(width, height, mirrored), across, down);
            back.reverse();
            prop_assert_eq!(back, out);
            prop_assert_eq!(resize(&grey(width, height, data.clone()), width, height), data);
        }
    }

    proptest! {
        #[test]
        fn division_is_that_of_whole_numbers(
            total in 1u64..1 << 44, quotient in 0u64..255, off in -2i64..3,
        ) {
            // Around every place where the rounded quotient changes.
            let sum = (quotient * total + total / 2).saturating_add_signed(off);
            let exact = (u128::from(sum) + u128::from(total / 2)) / u128::from(total);
            prop_assert_eq!(u128::from(Divide::by(total).round(sum)), exact);
        }
    }

    #[test]
    fn constant_images_stay_constant() {
        for (width, height, across, down) in [(1000, 3, 28, 28), (1, 1, 50, 7), (13, 700, 13, 1)] {
            let out = resize(&grey(width, height, vec![255; width * height]), across, down);
            assert!(out.iter().all(|&value| value == 255));
        }
    }
}
