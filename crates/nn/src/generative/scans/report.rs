//! How far made images are from real ones, all shrunk to a few pixels.

use teller_numeric::{Control, Stream};

use super::frechet::{SIDE, frechet_distance, shrunk};
use super::generator::ImageGenerator;
use crate::generative::autoencoder::unit;
use crate::training::Split;
use crate::{Error, ImageDataset};

/// Images that are compared, at most.
pub(super) const COMPARED: usize = 2000;
/// Numbers of a shrunk image; no fewer images tell how they go together.
const WIDTH: usize = SIDE * SIDE;

/// Fréchet distances to images kept apart, of as many others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distances {
    /// Of made images with the same labels.
    pub made: f64,
    /// Of images that were learned from.
    pub real: f64,
}

impl Distances {
    /// `None` if too few images were kept apart.
    pub(super) fn new(
        generator: &ImageGenerator,
        data: &ImageDataset,
        apart: &Split,
        seed: u64,
        control: &dyn Control,
    ) -> Result<Option<Self>, Error> {
        let known = sample(&apart.validation, seed);
        let mut learned = sample(&apart.training, seed);
        learned.truncate(known.len());
        if known.len() <= WIDTH || learned.len() < known.len() {
            return Ok(None);
        }
        let labels: Vec<u32> = known.iter().map(|&row| data.targets()[row as usize]).collect();
        // Others than those that a user of the same seed asks for.
        let seed = Stream::new(seed, "compared images", 0).next_u64();
        let made = made(generator, &labels, seed, control)?;
        let known = real(data, &known);
        let distance = |others: &[f32]| frechet_distance(&known, others, WIDTH, control);
        let real = distance(&real(data, &learned))?;
        Ok(Some(Self { made: distance(&made)?, real }))
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
    let known = sample(&rows, 0);
    if known.len() <= WIDTH {
        let (got, expected) = (known.len(), WIDTH + 1);
        return Err(Error::FewImages { got, expected });
    }
    let labels = generator.labels(0, known.len(), 0);
    let made = made(generator, &labels, 0, control)?;
    let distance = frechet_distance(&real(data, &known), &made, WIDTH, control)?;
    let figures = [("rows", data.len() as f64), ("frechet_distance", distance)];
    Ok(figures.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

fn sample(rows: &[u32], seed: u64) -> Vec<u32> {
    let mut rows = rows.to_vec();
    Stream::new(seed, "compared", 0).shuffle(&mut rows);
    rows.truncate(COMPARED);
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

fn made(
    generator: &ImageGenerator,
    labels: &[u32],
    seed: u64,
    control: &dyn Control,
) -> Result<Vec<f32>, Error> {
    let mut all = Vec::with_capacity(labels.len() * WIDTH);
    let shape = generator.shape();
    let each = |image: &[f32]| all.extend(shrunk(shape, image));
    generator.of_labels(0, labels, seed, control, each)?;
    Ok(all)
}
