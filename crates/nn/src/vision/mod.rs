//! From the bytes of a scan to the raster that a network reads.
//!
//! Scans come from strangers: every length is checked before memory is asked for, a decoder that
//! panics costs an error and not the process, and the arithmetic is whole numbers only, so the same
//! file gives the same raster on every CPU.

mod decode;
mod jpeg;
mod orientation;
mod picture;
mod pixels;
mod png;
mod preprocessing;
mod resample;
mod source;
mod tiff;

pub use picture::Picture;
pub(crate) use png::eight_bits;
pub use png::{png, png_of_unit};
pub use preprocessing::{Fit, InvalidRaster, Preprocessing};

use teller_numeric::Cancelled;

/// The reason of all files that are cut short; the decoders speak of buffers there.
const ENDS_EARLY: &str = "the file ends before the image does";

/// How large an image may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Width times height as the file's header says. Decoding holds 1 to 8 bytes a pixel (16 for
    /// floating-point TIFF, up to 10 more for a progressive JPEG) for as long as it takes.
    pub max_pixels: u64,
}

impl Limits {
    /// Checks the size in a header.
    fn check(self, width: u32, height: u32) -> Result<(), ImageError> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(ImageError::TooLarge { width, height, limit: self.max_pixels });
        }
        Ok(())
    }

    /// What a decoder may allocate: the widest sample layout there is, and room for its tables.
    fn max_alloc(self) -> u64 {
        self.max_pixels.saturating_mul(16).saturating_add(1 << 20)
    }
}

/// Why an image gave no raster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Zero bytes.
    #[error("the image is empty, expected a PNG, JPEG, TIFF, BMP, GIF or WebP file")]
    Empty,
    /// The first bytes belong to none of the formats.
    #[error("the image starts like no known format, expected PNG, JPEG, TIFF, BMP, GIF or WebP")]
    UnknownFormat,
    /// The format is known, but the file does not follow it, ends too early or uses a part of it
    /// that is not supported.
    #[error("cannot decode the {format} image: {reason}")]
    Broken {
        /// The format's name.
        format: &'static str,
        /// The decoder's own sentence.
        reason: String,
    },
    /// More pixels than allowed.
    #[error("the image is {width} x {height} pixels, expected at most {limit} pixels in all")]
    TooLarge {
        /// Pixels across, as stored.
        width: u32,
        /// Pixels down, as stored.
        height: u32,
        /// The limit that was passed in.
        limit: u64,
    },
    /// The buffer for the raster has the wrong length.
    #[error("the raster's buffer holds {got} bytes, expected {expected}")]
    Buffer {
        /// Bytes in the buffer.
        got: usize,
        /// Height x width x channels.
        expected: usize,
    },
    /// The caller wanted to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
