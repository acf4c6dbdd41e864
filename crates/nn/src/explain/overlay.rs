//! The picture that people see.

use teller_numeric::Control;

use super::{Heat, between, interpolate};
use crate::Error;
use crate::vision::png;

/// Pixels of the longer side at least.
const LONGER_SIDE: usize = 224;
/// How much of a pixel is heat where it is hottest.
const OPACITY: f32 = 0.7;

/// The raster in grey, each pixel a square, and over it what speaks for the label, from a trace of
/// red to yellow.
pub(super) fn overlay(
    raster: &[u8],
    channels: usize,
    heat: &Heat,
    control: &dyn Control,
) -> Result<Vec<u8>, Error> {
    let Heat { height, width, values } = heat;
    let (height, width) = (*height, *width);
    let scale = LONGER_SIDE.div_ceil(height.max(width));
    let (down, across) = (height * scale, width * scale);
    let hottest = values.iter().copied().fold(0.0, f32::max);
    let per_heat = if hottest > 0.0 { 1.0 / hottest } else { 0.0 };
    let bytes = down as u64 * across as u64 * 3;
    let mut pixels: Vec<u8> = Vec::new();
    pixels.try_reserve_exact(bytes as usize).map_err(|_| Error::OutOfMemory { bytes })?;
    for y in 0..down {
        control.check()?;
        let rows = between(y, down, height);
        for x in 0..across {
            let first = (y / scale * width + x / scale) * channels;
            let grey = grey(&raster[first..first + channels]);
            let heat = interpolate(values, width, rows, between(x, across, width)) * per_heat;
            pixels.extend(blend(grey, heat.clamp(0.0, 1.0)));
        }
    }
    png(&pixels, down, across, 3)
}

/// Brightness of a pixel (ITU-R BT.601).
fn grey(pixel: &[u8]) -> u8 {
    match *pixel {
        [red, green, blue] => {
            let sum = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
            (sum / 1000) as u8
        }
        _ => pixel[0],
    }
}

/// A pixel with heat from 0 to 1 over it.
fn blend(grey: u8, heat: f32) -> [u8; 3] {
    let opacity = OPACITY * heat;
    [255.0, 255.0 * heat * heat, 0.0]
        .map(|color| (f32::from(grey) * (1.0 - opacity) + color * opacity + 0.5) as u8)
}
