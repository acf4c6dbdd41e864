//! Rows as they are kept for training.

use teller_numeric::{Cancelled, Control};
use teller_payload::DataDigest;

use super::Likelihood;
use super::layout::MOST_NUMBERS;
use crate::Error;
use crate::dataset::reserve;

/// Rows of one length: numbers, or 8-bit values of images, which are taken from 0 to 1.
#[derive(Clone, Debug)]
pub struct Examples {
    width: usize,
    /// Of images rows, columns and channels.
    image: Option<(usize, usize, usize)>,
    rows: usize,
    values: Values,
    /// Bytes that the values may take before one more is a waste.
    limit: usize,
}

#[derive(Clone, Debug)]
enum Values {
    Numbers(Vec<f32>),
    Pixels(Vec<u8>),
}

impl Examples {
    /// Of numbers; the first row tells how many, at most 262,144. The caller makes no use of them
    /// beyond so many bytes: no memory is reserved for that.
    pub fn numbers(within: u64) -> Self {
        Self::new(None, Values::Numbers(Vec::new()), within)
    }

    /// Of images of so many rows, columns and channels of 8-bit values.
    pub fn pixels(height: usize, width: usize, channels: usize, within: u64) -> Self {
        Self::new(Some((height, width, channels)), Values::Pixels(Vec::new()), within)
    }

    fn new(image: Option<(usize, usize, usize)>, values: Values, within: u64) -> Self {
        let width = image.map_or(0, |(height, width, channels)| height * width * channels);
        let limit = usize::try_from(within).unwrap_or(usize::MAX);
        Self { width, image, rows: 0, values, limit }
    }

    /// Adds a row of numbers.
    pub fn push_numbers(&mut self, row: &[f32]) -> Result<(), Error> {
        if self.rows == 0 && matches!(self.values, Values::Numbers(_)) {
            self.width = row.len();
        }
        check_row("features", row, self.width)?;
        let limit = self.limit / size_of::<f32>();
        match &mut self.values {
            Values::Numbers(numbers) => {
                reserve(numbers, row.len(), limit)?;
                numbers.extend_from_slice(row);
            }
            Values::Pixels(_) => return Err(Error::NoRows),
        }
        self.count()
    }

    /// Adds an image.
    pub fn push_pixels(&mut self, row: &[u8]) -> Result<(), Error> {
        match &mut self.values {
            Values::Pixels(pixels) if row.len() == self.width => {
                reserve(pixels, row.len(), self.limit)?;
                pixels.extend_from_slice(row);
            }
            _ => return Err(Error::Raster { got: row.len(), expected: self.width }),
        }
        self.count()
    }

    fn count(&mut self) -> Result<(), Error> {
        let limit = u64::from(u32::MAX);
        if self.rows as u64 >= limit {
            return Err(Error::TooLarge { what: "training rows", needed: limit + 1, limit });
        }
        self.rows += 1;
        Ok(())
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row yet.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Of images rows, columns and channels.
    pub(super) fn image(&self) -> Option<(usize, usize, usize)> {
        self.image
    }

    /// Bytes of all values.
    pub fn memory(&self) -> u64 {
        self.rows as u64 * self.bytes_per_row()
    }

    pub(super) fn bytes_per_row(&self) -> u64 {
        let each = match self.values {
            Values::Numbers(_) => size_of::<f32>(),
            Values::Pixels(_) => 1,
        };
        (self.width * each) as u64
    }

    /// Writes a row as plain numbers.
    pub(super) fn load(&self, row: u32, to: &mut [f32]) {
        let at = row as usize * self.width;
        match &self.values {
            Values::Numbers(numbers) => to.copy_from_slice(&numbers[at..][..self.width]),
            Values::Pixels(pixels) => unit(&pixels[at..][..self.width], to),
        }
    }

    /// Whether all numbers can be what they are to be taken for.
    pub(super) fn check(&self, likelihood: Likelihood) -> Result<(), Error> {
        match &self.values {
            _ if self.rows == 0 => Err(Error::NoRows),
            Values::Numbers(numbers) if likelihood == Likelihood::Bernoulli => {
                match numbers.iter().find(|x| !(0.0..=1.0).contains(*x)) {
                    Some(&got) => Err(Error::Probability { got }),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    pub(super) fn digest(&self, control: &dyn Control) -> Result<DataDigest, Cancelled> {
        const POLL: usize = 1 << 22;
        let mut digest = DataDigest::new();
        digest.update(&[self.width, self.rows].map(|n| n as u64));
        match &self.values {
            Values::Numbers(numbers) => {
                for part in numbers.chunks(POLL) {
                    control.check()?;
                    digest.update(part);
                }
            }
            Values::Pixels(pixels) => {
                for part in pixels.chunks(4 * POLL) {
                    control.check()?;
                    digest.update(part);
                }
            }
        }
        Ok(digest)
    }
}

/// 8-bit values from 0 to 1.
pub(in crate::generative) fn unit(pixels: &[u8], to: &mut [f32]) {
    to.iter_mut().zip(pixels).for_each(|(to, &pixel)| *to = f32::from(pixel) / 255.0);
}

/// Whether a row of numbers is as long as it must be, and each of them is one.
pub(super) fn check_row(what: &'static str, row: &[f32], expected: usize) -> Result<(), Error> {
    if row.len() != expected {
        return Err(Error::RowLength { what, got: row.len(), expected });
    }
    if !(1..=MOST_NUMBERS).contains(&row.len()) {
        let (needed, limit) = (row.len() as u64, MOST_NUMBERS as u64);
        return Err(Error::TooLarge { what: "numbers of a row", needed, limit });
    }
    match row.iter().position(|x| !x.is_finite()) {
        Some(place) => Err(Error::NotANumber { what, place: place + 1, got: row[place] }),
        None => Ok(()),
    }
}
