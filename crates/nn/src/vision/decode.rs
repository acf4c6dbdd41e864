//! Which decoder reads a file, and the seam behind which a decoder may fail in any way.

use std::error::Error;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{ColorType, ImageDecoder, ImageResult};
use teller_numeric::{Cancelled, Control};

use super::jpeg::{self, Wanted};
use super::orientation::Orientation;
use super::pixels::{self, Depth, Model, Pixels};
use super::source::{Source, Watch};
use super::tiff;
use super::{ENDS_EARLY, ImageError, Limits};

/// The raster that the caller wants, so that an image that is one already is decoded into its place.
pub(super) struct Raster<'o> {
    pub(super) width: usize,
    pub(super) height: usize,
    /// 1 or 3.
    pub(super) channels: usize,
    /// height x width x channels bytes.
    pub(super) out: &'o mut [u8],
}

/// What decoding gave.
pub(super) enum Decoded {
    /// The raster is written.
    Raster,
    /// The image has another size, depth or orientation.
    Pixels(Pixels),
}

/// The most pixels of a WebP image. Its decoder works in one go and does not look for a
/// cancellation: about 17 ms a million pixels of the lossy kind.
pub(super) const WEBP_PIXELS: u64 = 10_000_000;

/// Decodes an image file of any known format.
pub(super) fn decode(
    bytes: &[u8],
    limits: Limits,
    control: &dyn Control,
    raster: &mut Raster<'_>,
) -> Result<Decoded, ImageError> {
    let format = Format::of(bytes)?;
    let watch = Watch::new(control);
    // The decoders are written by others and contain assertions and index arithmetic over bytes
    // that a stranger sends. A panic that left this crate would be reported as a defect of the
    // database, or worse, cross a C frame. Nothing that the decoders touched is used afterwards.
    let result = catch_unwind(AssertUnwindSafe(|| format.decode(bytes, limits, &watch, raster)));
    if watch.cancelled() {
        return Err(ImageError::Cancelled(Cancelled));
    }
    result.unwrap_or_else(|_| Err(broken(format.name(), "the decoder failed on its content")))
}

#[derive(Clone, Copy)]
enum Format {
    Png,
    Jpeg,
    Tiff,
    Bmp,
    Gif,
    WebP,
}

impl Format {
    /// By the first bytes.
    fn of(bytes: &[u8]) -> Result<Self, ImageError> {
        match bytes {
            [] => Err(ImageError::Empty),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Ok(Self::Jpeg),
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Ok(Self::Tiff),
            [b'B', b'M', ..] => Ok(Self::Bmp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::WebP),
            _ => Err(ImageError::UnknownFormat),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
        }
    }

    fn decode(
        self,
        bytes: &[u8],
        limits: Limits,
        watch: &Watch<'_>,
        raster: &mut Raster<'_>,
    ) -> Result<Decoded, ImageError> {
        let source = Source::new(bytes, watch);
        match self {
            Self::Png => {
                // The decoder allocates a row when it is made, so the size is checked before.
                if let Some(&[w, x, y, z, a, b, c, d]) =
                    bytes.get(16..).and_then(|b| b.first_chunk())
                {
                    let (width, height) = ([w, x, y, z], [a, b, c, d]);
                    limits.check(u32::from_be_bytes(width), u32::from_be_bytes(height))?;
                }
                let opened = PngDecoder::with_limits(source, allocation(limits));
                self.with_image(opened, limits, raster)
            }
            Self::Bmp => self.with_image(BmpDecoder::new(source), limits, raster),
            Self::Gif => self.with_image(GifDecoder::new(source), limits, raster),
            Self::WebP => {
                // The decoder fills what is missing in the end of a lossy image with a guess.
                let length = bytes.get(4..).and_then(|b| b.first_chunk::<4>());
                let length = length.map_or(0, |&length| u64::from(u32::from_le_bytes(length)));
                if length + 8 > bytes.len() as u64 {
                    return Err(broken(self.name(), ENDS_EARLY));
                }
                let limits = Limits { max_pixels: limits.max_pixels.min(WEBP_PIXELS) };
                self.with_image(WebPDecoder::new(source), limits, raster)
            }
            Self::Jpeg => jpeg::decode(bytes, Wanted::Picture(raster.channels), limits, watch)
                .map(Decoded::Pixels),
            Self::Tiff => tiff::decode(bytes, raster.channels, limits, watch).map(Decoded::Pixels),
        }
    }

    /// Reads through a decoder of the `image` crate.
    fn with_image(
        self,
        decoder: ImageResult<impl ImageDecoder>,
        limits: Limits,
        raster: &mut Raster<'_>,
    ) -> Result<Decoded, ImageError> {
        let fail = |error| broken(self.name(), &sentence(&error));
        let mut decoder = decoder.map_err(fail)?;
        let (width, height) = decoder.dimensions();
        limits.check(width, height)?;
        if width == 0 || height == 0 {
            return Err(broken(self.name(), "it has no pixels"));
        }
        decoder.set_limits(allocation(limits)).map_err(fail)?;
        let (model, depth) = match decoder.color_type() {
            ColorType::L8 => (Model::Grey, Depth::Eight),
            ColorType::La8 => (Model::GreyAlpha, Depth::Eight),
            ColorType::Rgb8 => (Model::Colour, Depth::Eight),
            ColorType::Rgba8 => (Model::ColourAlpha, Depth::Eight),
            ColorType::L16 => (Model::Grey, Depth::Sixteen),
            ColorType::La16 => (Model::GreyAlpha, Depth::Sixteen),
            ColorType::Rgb16 => (Model::Colour, Depth::Sixteen),
            ColorType::Rgba16 => (Model::ColourAlpha, Depth::Sixteen),
            _ => return Err(broken(self.name(), "its samples have an unknown layout")),
        };
        // A remark about the camera that cannot be read is no reason to refuse the scan.
        let orientation = decoder.orientation().map(image::metadata::Orientation::to_exif);
        let orientation = Orientation::from_exif(orientation.unwrap_or(1));

        let (width, height) = (width as usize, height as usize);
        if (width, height) == (raster.width, raster.height)
            && depth == Depth::Eight
            && matches!((&model, raster.channels), (Model::Grey, 1) | (Model::Colour, 3))
            && orientation == Orientation::default()
        {
            decoder.read_image(raster.out).map_err(fail)?;
            return Ok(Decoded::Raster);
        }
        let length = pixels::row_bytes(width, depth, &model) * height;
        let mut data = pixels::buffer(self.name(), length)?;
        decoder.read_image(&mut data).map_err(fail)?;
        let premultiplied = false;
        Ok(Decoded::Pixels(Pixels {
            width,
            height,
            depth,
            model,
            premultiplied,
            orientation,
            data,
        }))
    }
}

/// What a decoder of the `image` crate says, without the frame that it puts around it.
fn sentence(error: &image::ImageError) -> String {
    match error {
        image::ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            ENDS_EARLY.to_owned()
        }
        image::ImageError::Decoding(framed) => {
            framed.source().map_or_else(|| framed.to_string(), ToString::to_string)
        }
        error => error.to_string(),
    }
}

fn allocation(limits: Limits) -> image::Limits {
    let mut allowed = image::Limits::no_limits();
    allowed.max_alloc = Some(limits.max_alloc());
    allowed
}

fn broken(format: &'static str, reason: &str) -> ImageError {
    ImageError::Broken { format, reason: reason.to_owned() }
}
