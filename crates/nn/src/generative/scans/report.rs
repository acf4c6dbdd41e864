//! How far made images are from real ones as a whole, and how near to single ones, all shrunk to a
//! few pixels.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use teller_numeric::{Control, Stream};

use super::frechet::{SIDE, frechet_distance, shrunk};
use super::generator::ImageGenerator;
use crate::generative::autoencoder::unit;
use crate::generative::report::{Copied, MOST_ROWS, Points, Privacy, QUERIES};
use crate::training::Split;
use crate::vision::eight_bits;
use crate::{Error, ImageDataset};

/// Numbers of a shrunk image; no fewer images tell how they go together.
const WIDTH: usize = SIDE * SIDE;

/// What is told with every generator of images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ImageReport {
    /// Of all images; absent if too few were kept apart.
    pub distances: Option<Distances>,
    /// Of single images; absent where none were kept apart to compare with.
    pub privacy: Option<Privacy>,
}

/// Fréchet distances to images kept apart, of as many others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distances {
    /// Of made images with the same labels.
    pub made: f64,
    /// Of images that were learned from.
    pub real: f64,
}

impl ImageReport {
    /// Compares as many made images as were learned from, 2,000 at most, with those and with the
    /// ones kept `apart` from them.
    pub(super) fn new(
        generator: &ImageGenerator,
        data: &ImageDataset,
        apart: &Split,
        seed: u64,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let held_out = sample(&apart.validation, QUERIES, seed);
        if held_out.is_empty() {
            return Ok(Self::default());
        }
        let learned = sample(&apart.training, MOST_ROWS, seed);
        let labels = held_out.iter().map(|&row| data.targets()[row as usize]);
        let count = learned.len().min(QUERIES).max(held_out.len());
        let labels: Vec<u32> = labels.cycle().take(count).collect();
        // Others than those that a user of the same seed asks for.
        let seed = Stream::new(seed, "compared images", 0).next_u64();
        let made = made(generator, &labels, seed, control)?;
        let copies = made.copies(data, (&apart.training, &held_out), control)?;

        let some = |points: &[f32], images: usize| points[..images * WIDTH].to_vec();
        let [learned, held_out] = [learned, held_out].map(|rows| real(data, &rows));
        let compared = held_out.len() / WIDTH;
        let distances = if compared > WIDTH && learned.len() >= held_out.len() {
            let distance =
                |of: &[f32]| frechet_distance(&held_out, &some(of, compared), WIDTH, control);
            Some(Distances { made: distance(&made.points)?, real: distance(&learned)? })
        } else {
            None
        };
        let members = some(&learned, QUERIES.min(learned.len() / WIDTH));
        let points = Points {
            known: [columns(&learned), columns(&made.points)],
            asked: [columns(&members), columns(&made.points), columns(&held_out)],
        };
        Ok(Self { distances, privacy: Some(Privacy::new(&points, copies, control)?) })
    }

    /// Bytes that it takes of so many images, beside those that are made together: points by rows
    /// and by columns, and digests.
    pub(super) fn memory(rows: u64) -> u64 {
        let images = rows.min(MOST_ROWS as u64) + 5 * rows.min(QUERIES as u64);
        2 * images * (WIDTH * size_of::<f32>()) as u64 + rows.saturating_mul(20)
    }

    /// All figures by name: `frechet_distance`, of real images `frechet_distance_real`, and those of
    /// single images.
    pub(super) fn figures(&self) -> Vec<(&'static str, f64)> {
        let distances = self.distances.into_iter().flat_map(|Distances { made, real }| {
            [("frechet_distance", made), ("frechet_distance_real", real)]
        });
        distances.chain(self.privacy.iter().flat_map(Privacy::figures)).collect()
    }
}

/// Figures of `teller.evaluate` over images of a generator's size: `rows`, and the
/// `frechet_distance` of as many made ones to them, 2,000 at most.
pub fn evaluate_image_generator(
    generator: &ImageGenerator,
    data: &ImageDataset,
    control: &dyn Control,
) -> Result<Vec<(String, f64)>, Error> {
    if data.shape() != generator.shape() {
        let (got, expected) = (data.shape().to_string(), generator.shape().to_string());
        return Err(Error::Shape { got, expected });
    }
    let rows: Vec<u32> = (0..data.len() as u32).collect();
    let known = sample(&rows, QUERIES, 0);
    if known.len() <= WIDTH {
        let (got, expected) = (known.len(), WIDTH + 1);
        return Err(Error::FewImages { got, expected });
    }
    let labels = generator.labels(0, known.len(), 0);
    let made = made(generator, &labels, 0, control)?;
    let distance = frechet_distance(&real(data, &known), &made.points, WIDTH, control)?;
    let figures = [("rows", data.len() as f64), ("frechet_distance", distance)];
    Ok(figures.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

fn sample(rows: &[u32], most: usize, seed: u64) -> Vec<u32> {
    let mut rows = rows.to_vec();
    Stream::new(seed, "compared", 0).shuffle(&mut rows);
    rows.truncate(most);
    rows
}

fn real(data: &ImageDataset, rows: &[u32]) -> Vec<f32> {
    let shape = data.shape();
    let mut image = vec![0.0; shape.len()];
    let rows = rows.iter().flat_map(|&row| {
        unit(data.raster(row as usize), &mut image);
        shrunk(shape, &image)
    });
    rows.collect()
}

struct Made {
    points: Vec<f32>,
    digests: Vec<u64>,
}

impl Made {
    /// How many of these, and of images held out, have the pixels of one learned from.
    fn copies(
        &self,
        data: &ImageDataset,
        (learned, held_out): (&[u32], &[u32]),
        control: &dyn Control,
    ) -> Result<[Copied; 2], Error> {
        let of = |&row: &u32| digest(data.raster(row as usize).iter().copied());
        let mut known = HashSet::with_capacity(learned.len());
        for rows in learned.chunks(QUERIES) {
            control.check()?;
            known.extend(rows.iter().map(of));
        }
        let made = Copied::count(&known, self.digests.iter().copied());
        Ok([made, Copied::count(&known, held_out.iter().map(of))])
    }
}

fn made(
    generator: &ImageGenerator,
    labels: &[u32],
    seed: u64,
    control: &dyn Control,
) -> Result<Made, Error> {
    let count = labels.len();
    let (mut points, mut digests) = (Vec::with_capacity(count * WIDTH), Vec::with_capacity(count));
    let shape = generator.shape();
    let each = |image: &[f32]| {
        points.extend(shrunk(shape, image));
        digests.push(digest(image.iter().map(|&x| eight_bits(x))));
    };
    generator.of_labels(0, labels, seed, control, each)?;
    Ok(Made { points, digests })
}

/// Equal for equal pixels.
fn digest(pixels: impl Iterator<Item = u8>) -> u64 {
    let mut hasher = DefaultHasher::new();
    pixels.for_each(|pixel| pixel.hash(&mut hasher));
    hasher.finish()
}

fn columns(points: &[f32]) -> Vec<Vec<f32>> {
    (0..WIDTH).map(|column| points[column..].iter().step_by(WIDTH).copied().collect()).collect()
}

#[cfg(test)]
mod tests {
    use teller_numeric::Uninterrupted;

    use super::*;
    use crate::ImageDatasetBuilder;

    #[test]
    fn copies_are_found_by_their_pixels() {
        let mut builder = ImageDatasetBuilder::new(2, 2, 1);
        for pixel in [0u8, 1, 2, 1, 3] {
            builder.push(&[0, 7, pixel, 255], "").unwrap();
        }
        let data = builder.finish_for_evaluation().unwrap();
        let image = |pixel: f32| {
            digest([0.0, 7.0, pixel, 255.0].map(|x| eight_bits(x / 255.0)).into_iter())
        };
        let digests = [0.0, 1.2, 1.6, 3.0].map(image).to_vec();
        let made = Made { points: Vec::new(), digests };
        let copies = made.copies(&data, (&[0, 1, 2], &[3, 4]), &Uninterrupted).unwrap();
        assert_eq!(copies, [Copied { copies: 3, of: 4 }, Copied { copies: 1, of: 2 }]);
    }

    #[test]
    fn points_become_columns() {
        let points: Vec<f32> = (0..3 * WIDTH).map(|at| at as f32).collect();
        let columns = columns(&points);
        assert_eq!((columns.len(), &*columns[5]), (WIDTH, &[5.0, 69.0, 133.0][..]));
    }
}
