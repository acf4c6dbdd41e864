//! Decoded pixels in the layout of their file, and how a row of them becomes grey or colour.

use super::ImageError;
use super::orientation::Orientation;

/// What one sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// 1, 2 or 4 bits, the first sample in the highest bits; rows start at a byte.
    Packed(u8),
    /// A byte.
    Eight,
    /// 16 bits in the machine's byte order.
    Sixteen,
    /// 32-bit floating point in the machine's byte order, 0 black and 1 full.
    Float,
}

/// What the samples of a pixel mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Model {
    Grey,
    GreyAlpha,
    Colour,
    ColourAlpha,
    /// Ink: 255 is all of it.
    Cmyk,
    /// One sample, an index into these colours.
    Palette(Vec<[u8; 3]>),
}

impl Model {
    pub(super) fn samples(&self) -> usize {
        match self {
            Self::Grey | Self::Palette(_) => 1,
            Self::GreyAlpha => 2,
            Self::Colour => 3,
            Self::ColourAlpha | Self::Cmyk => 4,
        }
    }
}

/// An image as decoded. Invariant: `data` holds `height` rows of [`row_bytes`] each.
pub(super) struct Pixels {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) depth: Depth,
    pub(super) model: Model,
    /// The colours have been multiplied by alpha already.
    pub(super) premultiplied: bool,
    pub(super) orientation: Orientation,
    pub(super) data: Vec<u8>,
}

/// Bytes of one row.
pub(super) fn row_bytes(width: usize, depth: Depth, model: &Model) -> usize {
    let samples = width * model.samples();
    match depth {
        Depth::Packed(bits) => (samples * usize::from(bits)).div_ceil(8),
        Depth::Eight => samples,
        Depth::Sixteen => samples * 2,
        Depth::Float => samples * 4,
    }
}

/// A zeroed buffer, or an error where there is no memory for it (an abort would take the whole
/// database down).
pub(super) fn buffer(format: &'static str, length: usize) -> Result<Vec<u8>, ImageError> {
    let mut buffer = Vec::new();
    if buffer.try_reserve_exact(length).is_err() {
        let reason = format!("there is no memory for its {length} bytes of pixels");
        return Err(ImageError::Broken { format, reason });
    }
    buffer.resize(length, 0);
    Ok(buffer)
}

impl Pixels {
    /// Writes row `y` as `channels` (1 grey, 3 colour) bytes a pixel to `out`, over a `background`
    /// where the image is transparent. `scratch` is reused between rows.
    pub(super) fn row(
        &self,
        y: usize,
        channels: usize,
        background: u8,
        scratch: &mut Vec<u8>,
        out: &mut [u8],
    ) {
        let length = row_bytes(self.width, self.depth, &self.model);
        let row = &self.data[y * length..(y + 1) * length];
        let samples: &[u8] = match self.depth {
            Depth::Eight => row,
            _ => {
                self.to_eight_bits(row, scratch);
                scratch
            }
        };
        match channels {
            1 => {
                self.write(samples, background, out.as_chunks_mut::<1>().0, |colour| [luma(colour)])
            }
            _ => self.write(samples, background, out.as_chunks_mut::<3>().0, |colour| colour),
        }
    }

    /// Samples of any depth as bytes; indices into a palette stay what they are.
    fn to_eight_bits(&self, row: &[u8], out: &mut Vec<u8>) {
        out.clear();
        match self.depth {
            Depth::Packed(bits) => {
                let highest = (1u16 << bits) - 1;
                let scale = if matches!(self.model, Model::Palette(_)) { 1 } else { 255 / highest };
                out.extend((0..self.width * self.model.samples()).map(|sample| {
                    let bit = sample * usize::from(bits);
                    let shift = 8 - usize::from(bits) - bit % 8;
                    ((u16::from(row[bit / 8]) >> shift & highest) * scale) as u8
                }));
            }
            Depth::Eight => out.extend_from_slice(row),
            Depth::Sixteen => out.extend(row.as_chunks::<2>().0.iter().map(|&sample| {
                ((u32::from(u16::from_ne_bytes(sample)) * 255 + 32_767) / 65_535) as u8
            })),
            // The cast sends NaN to 0 and clips the rest to 0..=255.
            Depth::Float => out.extend(
                row.as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&sample| (f32::from_ne_bytes(sample) * 255.0 + 0.5) as u8),
            ),
        }
    }

    /// Composes each pixel over the background and writes it as `N` channels.
    fn write<const N: usize>(
        &self,
        samples: &[u8],
        background: u8,
        out: &mut [[u8; N]],
        convert: impl Fn([u8; 3]) -> [u8; N],
    ) {
        match &self.model {
            Model::Grey => {
                for (out, &grey) in out.iter_mut().zip(samples) {
                    *out = [grey; N];
                }
            }
            Model::GreyAlpha => {
                for (out, &[grey, alpha]) in out.iter_mut().zip(samples.as_chunks::<2>().0) {
                    *out = [self.over(grey, alpha, background); N];
                }
            }
            Model::Colour => {
                for (out, &colour) in out.iter_mut().zip(samples.as_chunks::<3>().0) {
                    *out = convert(colour);
                }
            }
            Model::ColourAlpha => {
                for (out, &[r, g, b, alpha]) in out.iter_mut().zip(samples.as_chunks::<4>().0) {
                    *out = convert([r, g, b].map(|sample| self.over(sample, alpha, background)));
                }
            }
            Model::Cmyk => {
                for (out, &[c, m, y, k]) in out.iter_mut().zip(samples.as_chunks::<4>().0) {
                    *out = convert(
                        [c, m, y].map(|ink| divide_255(u32::from(255 - ink) * u32::from(255 - k))),
                    );
                }
            }
            Model::Palette(colours) => {
                for (out, &index) in out.iter_mut().zip(samples) {
                    *out = convert(colours.get(usize::from(index)).copied().unwrap_or_default());
                }
            }
        }
    }

    fn over(&self, sample: u8, alpha: u8, background: u8) -> u8 {
        let (sample, alpha, background) =
            (u32::from(sample), u32::from(alpha), u32::from(background));
        if self.premultiplied {
            (sample + u32::from(divide_255(background * (255 - alpha)))).min(255) as u8
        } else {
            divide_255(sample * alpha + background * (255 - alpha))
        }
    }
}

/// Rounded division of a product of two bytes, or a sum of such.
fn divide_255(product: u32) -> u8 {
    ((product + 127) / 255) as u8
}

/// The luma of ITU-R BT.601, which is also the Y of JPEG and the grey of most imaging programs, in
/// whole numbers: the weights sum to 65,536, so white stays white.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + 32_768) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(depth: Depth, model: Model, width: usize, data: &[u8], channels: usize) -> Vec<u8> {
        let pixels = Pixels {
            width,
            height: 1,
            depth,
            model,
            premultiplied: false,
            orientation: Orientation::default(),
            data: data.to_vec(),
        };
        let mut out = vec![0; width * channels];
        pixels.row(0, channels, 255, &mut Vec::new(), &mut out);
        out
    }

    #[test]
    fn depths_keep_black_and_white() {
        assert_eq!(row(Depth::Packed(1), Model::Grey, 3, &[0b1010_0000], 1), [255, 0, 255]);
        assert_eq!(row(Depth::Packed(2), Model::Grey, 4, &[0b0001_1011], 1), [0, 85, 170, 255]);
        assert_eq!(row(Depth::Packed(4), Model::Grey, 3, &[0x0f, 0x80], 1), [0, 255, 136]);
        let sixteen: Vec<u8> =
            [0u16, 65_535, 257 * 7].iter().flat_map(|s| s.to_ne_bytes()).collect();
        assert_eq!(row(Depth::Sixteen, Model::Grey, 3, &sixteen, 1), [0, 255, 7]);
        let float: Vec<u8> =
            [0.0, 1.0, f32::NAN, 9.0, -1.0, 0.5].iter().flat_map(|s| s.to_ne_bytes()).collect();
        assert_eq!(row(Depth::Float, Model::Grey, 6, &float, 1), [0, 255, 0, 255, 0, 128]);
    }

    #[test]
    fn models_become_grey_and_colour() {
        assert_eq!(row(Depth::Eight, Model::Colour, 1, &[255, 255, 255], 1), [255]);
        assert_eq!(row(Depth::Eight, Model::Colour, 1, &[255, 0, 0], 1), [76]);
        assert_eq!(row(Depth::Eight, Model::Grey, 1, &[9], 3), [9, 9, 9]);
        assert_eq!(
            row(Depth::Eight, Model::GreyAlpha, 3, &[9, 0, 9, 255, 0, 51], 1),
            [255, 9, 204]
        );
        assert_eq!(row(Depth::Eight, Model::ColourAlpha, 1, &[1, 2, 3, 255], 3), [1, 2, 3]);
        assert_eq!(
            row(Depth::Eight, Model::Cmyk, 2, &[0, 0, 0, 0, 255, 0, 0, 0], 3),
            [255, 255, 255, 0, 255, 255]
        );
        let palette = Model::Palette(vec![[1, 2, 3], [4, 5, 6]]);
        assert_eq!(row(Depth::Packed(1), palette.clone(), 2, &[0x40], 3), [1, 2, 3, 4, 5, 6]);
        assert_eq!(row(Depth::Eight, palette, 1, &[200], 3), [0, 0, 0], "beyond the palette");
    }
}
