//! All that moves pixels, as one affine map, so that an image is interpolated once.

use teller_numeric::Stream;

use super::{Augmentation, Fill, Flip, Size, share, side};

/// Where in the source each pixel is taken from: `x = x[0] + x[1] * column + x[2] * row`, and `y`
/// alike, counting from the middle of the first pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    x: [f64; 3],
    y: [f64; 3],
}

/// Bits after the point of a coordinate: enough that no sum over 4096 pixels drifts.
const FRACTION: u32 = 32;

impl Affine {
    pub(super) fn draw(ranges: &Augmentation, size: Size, stream: &mut Stream) -> Self {
        let (height, width) = (size.height as f64, size.width as f64);
        let radians = |degrees: f64| degrees * (std::f64::consts::PI / 180.0);
        let (sin, cos) = libm::sincos(radians(ranges.rotation * side(stream)));
        let shear = libm::tan(radians(ranges.shear * side(stream)));
        // A part of the image that fills all of it, placed anywhere within.
        let part = 1.0 - ranges.crop * share(stream);
        let step = part / (1.0 + ranges.scale * side(stream));
        let mut offset = |side_len: f64| {
            let within = 0.5 * (1.0 - part) * side(stream);
            side_len * (within + ranges.shift * side(stream))
        };
        let (right, down) = (offset(width), offset(height));
        let mut mirror = |axis| {
            let asked = ranges.flip == axis || ranges.flip == Flip::Both;
            if asked && stream.below(2) == 1 { -step } else { step }
        };
        let (across, along) = (mirror(Flip::Horizontal), mirror(Flip::Vertical));
        // A shear of the rotated image.
        let x = [cos * across, (shear * cos - sin) * along];
        let y = [sin * across, (shear * sin + cos) * along];
        // The middle of the image stays in the middle.
        let (column, row) = (0.5 * (width - 1.0), 0.5 * (height - 1.0));
        let from = |middle: f64, [by_column, by_row]: [f64; 2]| {
            [middle - by_column * column - by_row * row, by_column, by_row]
        };
        Self { x: from(column + right, x), y: from(row + down, y) }
    }

    /// Bilinear interpolation in whole numbers.
    pub(super) fn resample(&self, size: Size, fill: Fill, from: &[u8], to: &mut [u8]) {
        // Code of its own for the usual numbers of channels.
        match size.channels {
            1 => self.resample_channels(Size { channels: 1, ..size }, fill, from, to),
            3 => self.resample_channels(Size { channels: 3, ..size }, fill, from, to),
            _ => self.resample_channels(size, fill, from, to),
        }
    }

    #[inline(always)]
    fn resample_channels(&self, size: Size, fill: Fill, from: &[u8], to: &mut [u8]) {
        let fixed = |number: f64| (number * (1u64 << FRACTION) as f64).round() as i64;
        let (x, y) = (self.x.map(fixed), self.y.map(fixed));
        let Size { height, width, channels } = size;
        let source = Source { size, fill, from };
        // So that the 8 bits that are kept of a fraction are rounded.
        let half = 1 << (FRACTION - 9);
        for (row, line) in (0i64..).zip(to.chunks_exact_mut(width * channels)) {
            let mut at = [x[0] + x[2] * row + half, y[0] + y[2] * row + half];
            for pixel in line.chunks_exact_mut(channels) {
                let [left, top] = at.map(|at| at >> FRACTION);
                let [across, down] = at.map(|at| (at >> (FRACTION - 8)) as u32 & 255);
                at = [at[0] + x[1], at[1] + y[1]];
                let inside =
                    (0..width as i64 - 1).contains(&left) && (0..height as i64 - 1).contains(&top);
                if inside {
                    let first = (top as usize * width + left as usize) * channels;
                    let rows = [first, first + width * channels]
                        .map(|first| &from[first..first + 2 * channels]);
                    for (channel, value) in pixel.iter_mut().enumerate() {
                        let corners = rows.map(|row| [row[channel], row[channel + channels]]);
                        *value = interpolate(corners, across, down);
                    }
                } else {
                    for (channel, value) in pixel.iter_mut().enumerate() {
                        let corners = [top, top + 1].map(|row| {
                            [left, left + 1].map(|column| source.value(row, column, channel))
                        });
                        *value = interpolate(corners, across, down);
                    }
                }
            }
        }
    }
}

/// `across` and `down` are of 256 parts.
#[inline(always)]
fn interpolate(corners: [[u8; 2]; 2], across: u32, down: u32) -> u8 {
    let [above, below] =
        corners.map(|[left, right]| u32::from(left) * (256 - across) + u32::from(right) * across);
    ((above * (256 - down) + below * down + (1 << 15)) >> 16) as u8
}

struct Source<'a> {
    size: Size,
    fill: Fill,
    from: &'a [u8],
}

impl Source<'_> {
    fn value(&self, row: i64, column: i64, channel: usize) -> u8 {
        let Size { height, width, channels } = self.size;
        let near = [row.clamp(0, height as i64 - 1), column.clamp(0, width as i64 - 1)];
        match self.fill {
            Fill::Value(value) if near != [row, column] => value,
            _ => self.from[(near[0] as usize * width + near[1] as usize) * channels + channel],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picture(size: Size, seed: u64) -> Vec<u8> {
        let mut stream = Stream::new(seed, "picture", 0);
        (0..size.height * size.width * size.channels).map(|_| stream.below(256) as u8).collect()
    }

    /// Interpolation as its definition has it.
    fn naive(affine: &Affine, size: Size, fill: Fill, from: &[u8]) -> Vec<f64> {
        let source = Source { size, fill, from };
        let mut to = Vec::new();
        for row in 0..size.height {
            for column in 0..size.width {
                let at = |[first, by_column, by_row]: [f64; 3]| {
                    first + by_column * column as f64 + by_row * row as f64
                };
                let (x, y) = (at(affine.x), at(affine.y));
                let (left, top) = (x.floor(), y.floor());
                for channel in 0..size.channels {
                    let mut sum = 0.0;
                    for (down, share) in [(0.0, 1.0 - (y - top)), (1.0, y - top)] {
                        for (across, other) in [(0.0, 1.0 - (x - left)), (1.0, x - left)] {
                            let (row, column) = ((top + down) as i64, (left + across) as i64);
                            let value = source.value(row, column, channel);
                            sum += share * other * f64::from(value);
                        }
                    }
                    to.push(sum);
                }
            }
        }
        to
    }

    fn ranges() -> impl Strategy<Value = Augmentation> {
        let flip = prop_oneof![
            Just(Flip::None),
            Just(Flip::Horizontal),
            Just(Flip::Vertical),
            Just(Flip::Both)
        ];
        let moves = (0.0f64..0.5, 0.0f64..180.0, 0.0f64..0.9, 0.0f64..60.0, 0.0f64..0.9, flip);
        moves.prop_map(|(shift, rotation, scale, shear, crop, flip)| Augmentation {
            shift,
            rotation,
            scale,
            shear,
            crop,
            flip,
            ..Augmentation::default()
        })
    }

    proptest! {
        #[test]
        fn it_is_bilinear(
            (height, width, colour) in (1usize..20, 1usize..20, any::<bool>()),
            ranges in ranges(),
            fill in prop_oneof![Just(Fill::Edge), any::<u8>().prop_map(Fill::Value)],
            seed in any::<u64>(),
        ) {
            let size = Size { height, width, channels: if colour { 3 } else { 1 } };
            let from = picture(size, seed);
            let affine = Affine::draw(&ranges, size, &mut Stream::new(seed, "affine", 0));
            let mut to = vec![0; from.len()];
            affine.resample(size, fill, &from, &mut to);
            for (got, expected) in to.iter().zip(naive(&affine, size, fill, &from)) {
                // Half a step of rounding, and 1/512 of a pixel along both axes.
                prop_assert!((f64::from(*got) - expected).abs() < 0.5 + 2.0 * 255.0 / 511.0);
            }
        }
    }

    const SIZE: Size = Size { height: 7, width: 5, channels: 3 };

    fn moved(x: [f64; 3], y: [f64; 3], fill: Fill) -> (Vec<u8>, Vec<u8>) {
        let from = picture(SIZE, 1);
        let mut to = vec![0; from.len()];
        Affine { x, y }.resample(SIZE, fill, &from, &mut to);
        (from, to)
    }

    #[test]
    fn whole_pixels_are_copied() {
        let (from, to) = moved([0.0, 1.0, 0.0], [0.0, 0.0, 1.0], Fill::Value(9));
        assert_eq!(from, to);
        let (from, to) = moved([4.0, -1.0, 0.0], [0.0, 0.0, 1.0], Fill::Edge);
        for (from, to) in from.chunks(15).zip(to.chunks(15)) {
            assert!(from.chunks(3).rev().eq(to.chunks(3)));
        }
        let (from, to) = moved([0.0, 1.0, 0.0], [-2.0, 0.0, 1.0], Fill::Value(9));
        assert_eq!(to[30..], from[..75]);
        assert!(to[..30].iter().all(|&value| value == 9));
        let (from, to) = moved([0.0, 1.0, 0.0], [-2.0, 0.0, 1.0], Fill::Edge);
        assert_eq!((&to[..15], &to[15..30]), (&from[..15], &from[..15]));
    }

    #[test]
    fn each_range_does_what_its_name_says() {
        let size = Size { height: 21, width: 41, channels: 1 };
        let draw = |ranges: &Augmentation, index| {
            Affine::draw(ranges, size, &mut Stream::new(3, "affine", index))
        };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        for index in 0..200 {
            let Affine { x, y } = draw(&Augmentation { shift: 0.1, ..<_>::default() }, index);
            assert!([x[1], y[2]] == [1.0; 2] && [x[2], y[1]] == [0.0; 2]);
            assert!(x[0].abs() <= 4.1 && y[0].abs() <= 2.1, "{x:?} {y:?}");

            let Affine { x, y } = draw(&Augmentation { rotation: 30.0, ..<_>::default() }, index);
            assert!(near(x[1].hypot(y[1]), 1.0) && near(x[1], y[2]) && near(x[2], -y[1]));
            assert!(x[1] >= 30f64.to_radians().cos() - 1e-9);
            assert!(near(x[0] + 20.0 * x[1] + 10.0 * x[2], 20.0), "the middle stays");
            assert!(near(y[0] + 20.0 * y[1] + 10.0 * y[2], 10.0), "the middle stays");

            let Affine { x, y } = draw(&Augmentation { scale: 0.25, ..<_>::default() }, index);
            assert!(x[1] == y[2] && (1.0 / 1.25..=1.0 / 0.75).contains(&x[1]));

            let Affine { x, y } = draw(&Augmentation { shear: 45.0, ..<_>::default() }, index);
            assert!([x[1], y[2], y[1]] == [1.0, 1.0, 0.0] && x[2].abs() <= 1.0 + 1e-9);

            let Affine { x, y } = draw(&Augmentation { crop: 0.5, ..<_>::default() }, index);
            for ([first, step], len) in [([x[0], x[1]], 41.0), ([y[0], y[2]], 21.0)] {
                let (from, to) = (first - 0.5 * step, first + (len - 0.5) * step);
                assert!(
                    (0.5..=1.0).contains(&step) && from >= -0.5 - 1e-9 && to <= len - 0.5 + 1e-9
                );
            }

            let Affine { x, y } =
                draw(&Augmentation { flip: Flip::Vertical, ..<_>::default() }, index);
            assert!(
                x[1] == 1.0 && y[2].abs() == 1.0 && near(y[0], if y[2] < 0.0 { 20.0 } else { 0.0 })
            );
        }
    }
}
