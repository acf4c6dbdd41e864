//! A whole picture as people see it, and many of them on one sheet.

use teller_numeric::Control;

use super::decode::{self, Decoded, Raster};
use super::{ImageError, Limits, png};
use crate::Error;

/// Pixels between two pictures of a sheet, and around them.
const GAP: usize = 2;
/// Behind the pictures of a sheet, and where they are transparent.
const BACKGROUND: u8 = 255;

/// An upright picture in red, green and blue.
#[derive(Clone, Debug)]
pub struct Picture {
    width: usize,
    height: usize,
    raster: Vec<u8>,
}

impl Picture {
    /// Decodes an image file of any known format at its own size, as
    /// [`Preprocessing::raster`](super::Preprocessing::raster) does.
    pub fn read(image: &[u8], limits: &Limits, control: &dyn Control) -> Result<Self, ImageError> {
        control.check()?;
        let mut any = Raster { width: 0, height: 0, channels: 3, out: &mut [] };
        // No image is as small as the raster asked for, so none is decoded into it.
        let Decoded::Pixels(pixels) = decode::decode(image, *limits, control, &mut any)? else {
            return Err(ImageError::Empty);
        };
        let orientation = pixels.orientation;
        let (width, height) = orientation.size(pixels.width, pixels.height);
        let mut raster = super::pixels::buffer("decoded", 3 * width * height)?;
        let mut row = super::pixels::buffer("decoded", 3 * pixels.width)?;
        let mut scratch = Vec::new();
        for y in 0..pixels.height {
            control.check()?;
            pixels.row(y, 3, BACKGROUND, &mut scratch, &mut row);
            for (x, pixel) in row.chunks_exact(3).enumerate() {
                let (x, y) = orientation.place(x, y, pixels.width, pixels.height);
                raster[(y * width + x) * 3..][..3].copy_from_slice(pixel);
            }
        }
        Ok(Self { width, height, raster })
    }

    /// Pixels.
    pub fn pixels(&self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// All `pictures`, row by row in a square of cells as large as the largest of them, each in
    /// the middle of its cell; the place of one that is missing stays empty.
    /// [`ImageError::TooLarge`] if that has more pixels than `limits` allow.
    pub fn sheet(pictures: &[Option<Self>], limits: &Limits) -> Result<Self, ImageError> {
        let across = pictures.len().isqrt();
        let across = across + usize::from(across * across < pictures.len());
        let down = pictures.len().div_ceil(across.max(1));
        let largest = |side: fn(&Self) -> usize| {
            pictures.iter().flatten().map(side).fold(1, usize::max) + GAP
        };
        let (cell_width, cell_height) = (largest(|p| p.width), largest(|p| p.height));
        let (width, height) = (across * cell_width + GAP, down * cell_height + GAP);
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        limits.check(side(width), side(height))?;
        let mut sheet = super::pixels::buffer("contact sheet", 3 * width * height)?;
        sheet.fill(BACKGROUND);
        for (place, picture) in pictures.iter().enumerate() {
            let Some(picture) = picture else { continue };
            let left = GAP + place % across * cell_width + (cell_width - GAP - picture.width) / 2;
            let top = GAP + place / across * cell_height + (cell_height - GAP - picture.height) / 2;
            for (y, row) in picture.raster.chunks_exact(3 * picture.width).enumerate() {
                sheet[((top + y) * width + left) * 3..][..row.len()].copy_from_slice(row);
            }
        }
        Ok(Self { width, height, raster: sheet })
    }

    /// As a PNG, which is grey if all of it is.
    pub fn png(&self) -> Result<Vec<u8>, Error> {
        let pixels = self.raster.as_chunks::<3>().0;
        if pixels.iter().all(|[r, g, b]| r == g && g == b) {
            let grey: Vec<u8> = pixels.iter().map(|pixel| pixel[0]).collect();
            return png(&grey, self.height, self.width, 1);
        }
        png(&self.raster, self.height, self.width, 3)
    }
}

#[cfg(test)]
mod tests {
    use teller_numeric::Uninterrupted;

    use super::*;

    const LIMITS: Limits = Limits { max_pixels: 400 };

    fn read(image: &[u8]) -> Picture {
        Picture::read(image, &LIMITS, &Uninterrupted).unwrap()
    }

    #[test]
    fn a_sheet_has_each_picture_in_its_cell() {
        let grey = read(&png(&[10, 20, 30, 40], 2, 2, 1).unwrap());
        let red = read(&png(&[200, 0, 0], 1, 1, 3).unwrap());
        let pictures = [Some(grey.clone()), None, Some(red), Some(grey.clone()), None];
        let sheet = Picture::sheet(&pictures, &LIMITS).unwrap();
        assert_eq!((sheet.width, sheet.height), (3 * 4 + 2, 2 * 4 + 2));
        let at = |sheet: &Picture, x: usize, y: usize| {
            sheet.raster[(y * sheet.width + x) * 3..][..3].to_vec()
        };
        assert_eq!(at(&sheet, 2, 2), [10; 3]);
        assert_eq!(at(&sheet, 3, 3), [40; 3]);
        assert_eq!(at(&sheet, 6, 2), [255; 3]);
        assert_eq!(at(&sheet, 10, 2), [200, 0, 0]);
        assert_eq!(at(&sheet, 2, 6), [10; 3]);
        // A PNG of all that it was.
        assert_eq!(read(&sheet.png().unwrap()).raster, sheet.raster);
        assert_eq!(read(&Picture::sheet(&[Some(grey)], &LIMITS).unwrap().png().unwrap()).width, 6);
    }

    #[test]
    fn sheets_beyond_the_limit_are_refused() {
        let grey = read(&png(&[10; 200], 10, 20, 1).unwrap());
        assert_eq!(grey.pixels(), 200);
        assert!(matches!(
            Picture::sheet(&[Some(grey), None], &LIMITS),
            Err(ImageError::TooLarge { width: 46, height: 14, limit: 400 })
        ));
        assert_eq!(Picture::sheet(&[], &LIMITS).unwrap().pixels(), 4);
        assert!(Picture::read(&[], &LIMITS, &Uninterrupted).is_err());
    }
}
