//! Pictures that people see.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::Error;

/// The PNG of a raster of `height` x `width` x `channels` (1 for grey, 3 for red, green and blue).
pub fn png(raster: &[u8], height: usize, width: usize, channels: usize) -> Result<Vec<u8>, Error> {
    let expected = height * width * channels;
    if raster.len() != expected {
        return Err(Error::Raster { got: raster.len(), expected });
    }
    let color = if channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(raster, width as u32, height as u32, color)
        .map_err(|error| Error::Encoding(error.to_string()))?;
    Ok(png)
}

/// A value from 0 to 1 as a byte.
pub(crate) fn eight_bits(x: f32) -> u8 {
    (x * 255.0 + 0.5) as u8
}

/// [`png`] of values from 0 to 1.
pub fn png_of_unit(
    values: &[f32],
    height: usize,
    width: usize,
    channels: usize,
) -> Result<Vec<u8>, Error> {
    let raster: Vec<u8> = values.iter().map(|&x| eight_bits(x)).collect();
    png(&raster, height, width, channels)
}
