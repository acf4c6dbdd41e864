//! TIFF, the format of document scanners, through the `tiff` crate and not through `image`, which
//! refuses palettes, 2- and 4-bit greys and JPEG strips of colour.
//!
//! Reads the first image of the file: strips or tiles, uncompressed, PackBits, LZW, Deflate, CCITT
//! group 4 or JPEG, 1 to 16 bits or 32-bit floating point.

use std::borrow::Cow;
use std::io::ErrorKind;

use teller_numeric::Cancelled;
use tiff::decoder::{ChunkType, Decoder, DecodingSampleType};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::jpeg::{self, Wanted};
use super::orientation::Orientation;
use super::pixels::{self, Depth, Model, Pixels};
use super::source::{Source, Watch};
use super::{ENDS_EARLY, ImageError, Limits};

const FORMAT: &str = "TIFF";
/// Values of tags.
const BLACK_IS_ZERO: u16 = 1;
const RGB: u16 = 2;
const PALETTE: u16 = 3;
const YCBCR: u16 = 6;
const JPEG: u16 = 7;
const ASSOCIATED_ALPHA: u16 = 1;
const UNASSOCIATED_ALPHA: u16 = 2;

/// A sample more than these is none that a picture has.
const MAX_SAMPLES: u16 = 8;
/// How much wider than the image a tile may be.
const MAX_TILE_EXCESS: u32 = 1 << 16;
/// Pixels that a JPEG tile may have although the image may not.
const SMALL_TILE: u64 = 1 << 20;

/// Decodes the first image of a TIFF of at most `limits` pixels.
pub(super) fn decode(
    bytes: &[u8],
    channels: usize,
    limits: Limits,
    watch: &Watch<'_>,
) -> Result<Pixels, ImageError> {
    let mut file = open(bytes, limits, watch)?;
    let (width, height) = file.dimensions().map_err(broken)?;
    limits.check(width, height)?;
    if file.chunk_dimensions().0.saturating_sub(width) > MAX_TILE_EXCESS
        || unsigned(&mut file, Tag::SamplesPerPixel)?.unwrap_or(1) > MAX_SAMPLES
    {
        return Err(reason("its tiles or samples are larger than any picture needs"));
    }
    let orientation = unsigned(&mut file, Tag::Orientation)?
        .and_then(|number| u8::try_from(number).ok())
        .map_or(Orientation::default(), Orientation::from_exif);
    let photometric = unsigned(&mut file, Tag::PhotometricInterpretation)?;

    let mut pixels = if unsigned(&mut file, Tag::Compression)? == Some(JPEG) {
        decode_jpeg(bytes, &mut file, photometric, channels, limits, watch)?
    } else if photometric == Some(PALETTE) {
        let palette = palette(&mut file)?;
        // The crate reads no palettes, yet the indices of one are stored like greys.
        let relabelled = relabel(bytes)?;
        let mut pixels = decode_plain(&mut open(&relabelled, limits, watch)?)?;
        if pixels.depth == Depth::Sixteen || pixels.model != Model::Grey {
            return Err(reason("its palette is not of 1, 2, 4 or 8 bits a pixel"));
        }
        pixels.model = Model::Palette(palette);
        pixels
    } else {
        decode_plain(&mut file)?
    };
    pixels.orientation = orientation;
    Ok(pixels)
}

type File<'a> = Decoder<Source<'a>>;

fn open<'a>(bytes: &'a [u8], limits: Limits, watch: &'a Watch<'a>) -> Result<File<'a>, ImageError> {
    let mut allowed = tiff::decoder::Limits::default();
    allowed.intermediate_buffer_size = usize::try_from(limits.max_alloc()).unwrap_or(usize::MAX);
    Ok(Decoder::new(Source::new(bytes, watch)).map_err(broken)?.with_limits(allowed))
}

fn unsigned(file: &mut File<'_>, tag: Tag) -> Result<Option<u16>, ImageError> {
    file.find_tag_unsigned(tag).map_err(broken)
}

/// Every compression but JPEG.
fn decode_plain(file: &mut File<'_>) -> Result<Pixels, ImageError> {
    let (width, height) = file.dimensions().map_err(broken)?;
    let extra = file.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(broken)?;
    let extra = extra.as_deref().and_then(<[u16]>::first).copied().unwrap_or_default();
    let (model, bits) = match file.colortype().map_err(broken)? {
        ColorType::Gray(bits) => (Model::Grey, bits),
        ColorType::GrayA(bits) => (Model::GreyAlpha, bits),
        ColorType::Multiband { bit_depth: bits, num_samples: 2 }
            if [ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA].contains(&extra) =>
        {
            (Model::GreyAlpha, bits)
        }
        ColorType::RGB(bits) => (Model::Colour, bits),
        ColorType::RGBA(bits) => (Model::ColourAlpha, bits),
        ColorType::CMYK(bits) => (Model::Cmyk, bits),
        _ => return Err(reason("its colour model is not grey, RGB, CMYK or a palette")),
    };
    let layout = file.image_buffer_layout().map_err(broken)?;
    let depth = match (layout.sample_type, bits) {
        (Some(DecodingSampleType::U8), 1 | 2 | 4) => Depth::Packed(bits),
        (Some(DecodingSampleType::U8), 8) => Depth::Eight,
        (Some(DecodingSampleType::U16), 16) => Depth::Sixteen,
        (Some(DecodingSampleType::F32), 32) => Depth::Float,
        _ => return Err(reason("its samples are not of 1, 2, 4, 8 or 16 bits or 32-bit floats")),
    };

    let (width, height) = (width as usize, height as usize);
    let length = pixels::row_bytes(width, depth, &model) * height;
    if layout.complete_len != length {
        return Err(reason("its rows are not as long as its width and samples say"));
    }
    let mut data = pixels::buffer(FORMAT, length)?;
    file.read_image_bytes(&mut data).map_err(broken)?;
    if layout.planes > 1 {
        data = interleave(&data, model.samples(), depth)?;
    }
    let (premultiplied, orientation) = (extra == ASSOCIATED_ALPHA, Orientation::default());
    Ok(Pixels { width, height, depth, model, premultiplied, orientation, data })
}

/// Samples stored a plane after the other, put pixel by pixel.
fn interleave(planes: &[u8], samples: usize, depth: Depth) -> Result<Vec<u8>, ImageError> {
    let size = match depth {
        Depth::Packed(_) => return Err(reason("its planes are of less than 8 bits a sample")),
        Depth::Eight => 1,
        Depth::Sixteen => 2,
        Depth::Float => 4,
    };
    let mut data = pixels::buffer(FORMAT, planes.len())?;
    let plane = planes.len() / samples;
    for (sample, plane) in planes.chunks_exact(plane).enumerate() {
        let pixels = data.chunks_exact_mut(size * samples);
        for (pixel, value) in pixels.zip(plane.chunks_exact(size)) {
            pixel[sample * size..(sample + 1) * size].copy_from_slice(value);
        }
    }
    Ok(data)
}

/// Strips or tiles that are JPEG files of their own, less the tables that they share.
fn decode_jpeg(
    bytes: &[u8],
    file: &mut File<'_>,
    photometric: Option<u16>,
    channels: usize,
    limits: Limits,
    watch: &Watch<'_>,
) -> Result<Pixels, ImageError> {
    let wanted = match photometric {
        Some(YCBCR) => Wanted::Picture(channels),
        Some(RGB | BLACK_IS_ZERO) => Wanted::Components,
        _ => return Err(reason("its JPEG strips are neither grey, RGB nor YCbCr")),
    };
    let (offsets, lengths) = match file.get_chunk_type() {
        ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
        ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
    };
    let offsets = file.get_tag_u64_vec(offsets).map_err(broken)?;
    let lengths = file.get_tag_u64_vec(lengths).map_err(broken)?;
    let tables = match file.find_tag(Tag::JPEGTables).map_err(broken)? {
        Some(tables) => tables.into_u8_vec().map_err(broken)?,
        None => Vec::new(),
    };
    // Both the tables and each strip are wrapped in a start and an end marker of 2 bytes.
    let tables = tables.get(..tables.len().saturating_sub(2)).unwrap_or_default();

    let (width, height) = file.dimensions().map_err(broken)?;
    let (chunk_width, chunk_height) = file.chunk_dimensions();
    let across = width.div_ceil(chunk_width.max(1)) as usize;
    if offsets.len() != lengths.len()
        || offsets.len() != across * height.div_ceil(chunk_height.max(1)) as usize
    {
        return Err(reason("it does not have as many strips as its height needs"));
    }
    let chunk_limits = Limits {
        max_pixels: limits
            .max_pixels
            .max(SMALL_TILE)
            .min(u64::from(chunk_width) * u64::from(chunk_height)),
    };

    let (width, height) = (width as usize, height as usize);
    let mut picture: Option<Pixels> = None;
    for (index, (&offset, &length)) in offsets.iter().zip(&lengths).enumerate() {
        let chunk = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(length).ok())
            .and_then(|(offset, length)| bytes.get(offset..offset.checked_add(length)?))
            .ok_or_else(|| reason("one of its strips lies outside the file"))?;
        let whole = match tables {
            [] => Cow::Borrowed(chunk),
            _ => Cow::Owned([tables, chunk.get(2..).unwrap_or_default()].concat()),
        };
        let chunk_watch = Watch::new(watch.control());
        let part = jpeg::decode(&whole, wanted, chunk_limits, &chunk_watch);
        if chunk_watch.cancelled() {
            return Err(ImageError::Cancelled(Cancelled));
        }
        let part = part?;

        let picture = match &mut picture {
            Some(picture) => picture,
            None => picture.insert(Pixels {
                width,
                height,
                depth: Depth::Eight,
                model: part.model.clone(),
                premultiplied: false,
                orientation: Orientation::default(),
                data: pixels::buffer(FORMAT, width * height * part.model.samples())?,
            }),
        };
        let x = index % across * chunk_width as usize;
        let y = index / across * chunk_height as usize;
        let columns = (chunk_width as usize).min(width - x);
        let rows = (chunk_height as usize).min(height - y);
        if part.width < columns || part.height < rows || part.model != picture.model {
            return Err(reason("one of its JPEG strips is smaller than its place"));
        }
        let samples = part.model.samples();
        for row in 0..rows {
            let from = row * part.width * samples;
            let to = ((y + row) * width + x) * samples;
            picture.data[to..to + columns * samples]
                .copy_from_slice(&part.data[from..from + columns * samples]);
        }
    }
    picture.ok_or_else(|| reason("it has no strips"))
}

/// The colours of a palette, the high bytes of its 16-bit entries.
fn palette(file: &mut File<'_>) -> Result<Vec<[u8; 3]>, ImageError> {
    let entries = file
        .find_tag_unsigned_vec::<u16>(Tag::ColorMap)
        .map_err(broken)?
        .ok_or_else(|| reason("it has no colours for its palette"))?;
    let count = entries.len() / 3;
    Ok((0..count)
        .map(|index| {
            [index, count + index, 2 * count + index].map(|entry| (entries[entry] >> 8) as u8)
        })
        .collect())
}

/// A copy of the file whose first image claims to be grey where it is a palette.
fn relabel(bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
    let mut copy = bytes.to_vec();
    photometric_value(bytes)
        .and_then(|(at, value)| copy.get_mut(at..at + 2).map(|field| field.copy_from_slice(&value)))
        .ok_or_else(|| reason("its palette is in a directory that is not supported"))?;
    Ok(copy)
}

/// Where the first directory of a classic TIFF keeps the photometric interpretation, and the bytes
/// that say grey there.
fn photometric_value(bytes: &[u8]) -> Option<(usize, [u8; 2])> {
    let little = bytes.starts_with(b"II*\0");
    if !little && !bytes.starts_with(b"MM\0*") {
        return None;
    }
    let short = |at: usize| {
        let field = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if little { u16::from_le_bytes(field) } else { u16::from_be_bytes(field) })
    };
    let field = *bytes.get(4..)?.first_chunk::<4>()?;
    let directory = if little { u32::from_le_bytes(field) } else { u32::from_be_bytes(field) };
    let directory = usize::try_from(directory).ok()?;
    let entries = usize::from(short(directory)?);
    let entry = (0..entries)
        .map(|index| directory + 2 + index * 12)
        .find(|&entry| short(entry) == Some(Tag::PhotometricInterpretation.to_u16()))?;
    let grey = if little { BLACK_IS_ZERO.to_le_bytes() } else { BLACK_IS_ZERO.to_be_bytes() };
    Some((entry + 8, grey))
}

fn reason(reason: &str) -> ImageError {
    ImageError::Broken { format: FORMAT, reason: reason.to_owned() }
}

fn broken(error: TiffError) -> ImageError {
    match error {
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => reason(ENDS_EARLY),
        error => reason(&error.to_string()),
    }
}
