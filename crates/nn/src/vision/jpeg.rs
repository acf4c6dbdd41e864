//! JPEG, through `zune-jpeg` itself and not through `image`, which hides three things we need: the
//! scalar arithmetic (the vector paths are only said to give the same bits), strictness (half a
//! scan must be an error, not grey rows below the half), and a grey image straight from the Y of a
//! colour one.

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::orientation::Orientation;
use super::pixels::{self, Depth, Model, Pixels};
use super::source::{Source, Watch};
use super::{ENDS_EARLY, ImageError, Limits};

const FORMAT: &str = "JPEG";

/// What to make of the stored components.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A picture for this many channels: grey straight from the Y where 1 is wanted.
    Picture(usize),
    /// The components as they are (a TIFF says itself what they mean).
    Components,
}

/// Decodes a JPEG of at most `limits` pixels.
pub(super) fn decode(
    bytes: &[u8],
    wanted: Wanted,
    limits: Limits,
    watch: &Watch<'_>,
) -> Result<Pixels, ImageError> {
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(Source::padded(bytes, watch), options);
    decoder.decode_headers().map_err(broken)?;
    let (Some(info), Some(stored)) = (decoder.info(), decoder.input_colorspace()) else {
        return Err(reason("it has no frame header"));
    };
    limits.check(u32::from(info.width), u32::from(info.height))?;

    let space = match (stored, wanted) {
        (_, Wanted::Components) => stored,
        (ColorSpace::Luma, _) | (ColorSpace::YCbCr, Wanted::Picture(1)) => ColorSpace::Luma,
        _ => ColorSpace::RGB,
    };
    let model = match space.num_components() {
        1 => Model::Grey,
        3 => Model::Colour,
        _ => return Err(reason("it has neither 1 nor 3 components")),
    };
    let orientation = decoder
        .exif()
        .and_then(|exif| image::metadata::Orientation::from_exif_chunk(exif))
        .map_or(Orientation::default(), |known| Orientation::from_exif(known.to_exif()));

    let (width, height) = (usize::from(info.width), usize::from(info.height));
    let mut data = pixels::buffer(FORMAT, width * height * model.samples())?;
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    decoder.decode_into(&mut data).map_err(broken)?;
    if watch.beyond() {
        return Err(reason(ENDS_EARLY));
    }
    Ok(Pixels {
        width,
        height,
        depth: Depth::Eight,
        model,
        premultiplied: false,
        orientation,
        data,
    })
}

fn reason(reason: &str) -> ImageError {
    ImageError::Broken { format: FORMAT, reason: reason.to_owned() }
}

fn broken(error: DecodeErrors) -> ImageError {
    let reason = match error {
        DecodeErrors::Format(sentence) => sentence,
        DecodeErrors::FormatStatic(sentence) => sentence.to_owned(),
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => ENDS_EARLY.to_owned(),
        error => error.to_string(),
    };
    ImageError::Broken { format: FORMAT, reason }
}
