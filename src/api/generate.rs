//! `generate`, `generate_images`, `image_grid`.

use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use pgrx::prelude::*;

use teller_nn::vision::{Limits, Picture};

use crate::bridge::interrupts::StatementControl;
use crate::cache;
use crate::error::Error;
use crate::settings;

#[pg_extern(sql = false)]
fn generate(
    model: Option<pg_sys::Oid>,
    n: Option<i32>,
    seed: Option<i64>,
    label: Option<String>,
) -> Result<SetOfIterator<'static, Vec<f32>>, ErrorReport> {
    Ok(SetOfIterator::new(images((model, n, seed), label, |_, image| Ok(image))?))
}

#[pg_extern(sql = false)]
fn generate_images(
    model: Option<pg_sys::Oid>,
    n: Option<i32>,
    seed: Option<i64>,
    label: Option<String>,
) -> Result<SetOfIterator<'static, Vec<u8>>, ErrorReport> {
    let png = |model: &cache::Model, image: Vec<f32>| model.image_generator()?.png(&image);
    Ok(SetOfIterator::new(images((model, n, seed), label, png)?))
}

#[pg_extern(sql = false)]
fn image_grid(images: Array<'_, &[u8]>) -> Result<Option<Vec<u8>>, ErrorReport> {
    if images.is_empty() {
        return Ok(None);
    }
    let limits = Limits { max_pixels: settings::max_image_pixels() };
    let mut pixels = 0;
    let mut pictures = Vec::with_capacity(images.len());
    for (number, image) in (1..).zip(images.iter()) {
        let in_element = |source| Error::Element { element: number, source };
        let read = |image| Picture::read(image, &limits, &StatementControl);
        let picture = image.map(read).transpose().map_err(in_element)?;
        pixels += picture.as_ref().map_or(0, Picture::pixels);
        pictures.push(picture);
        // A sheet of these alone is refused.
        if pixels > limits.max_pixels {
            break;
        }
    }
    let sheet = Picture::sheet(&pictures, &limits).map_err(Error::from)?;
    Ok(Some(sheet.png().map_err(Error::from)?))
}

/// `n` images of a model by a seed as `tell` gives them, none where one of the three is NULL; a
/// batch is made when its first image is fetched.
fn images<T: 'static>(
    asked: (Option<pg_sys::Oid>, Option<i32>, Option<i64>),
    label: Option<String>,
    tell: impl Fn(&cache::Model, Vec<f32>) -> Result<T, Error> + Copy + 'static,
) -> Result<Box<dyn Iterator<Item = T>>, Error> {
    let (Some(model), Some(n), Some(seed)) = asked else {
        return Ok(Box::new(std::iter::empty()));
    };
    let n = u64::try_from(n).map_err(|_| Error::Count(n))?;
    let model = cache::production(model)?;
    let generator = model.image_generator()?;
    let label = label.map(|label| generator.label(&label)).transpose()?;
    let together = generator.generator().together() as u64;
    let batch = move |first: u64| -> Result<Vec<T>, Error> {
        let count = (n - first).min(together) as usize;
        let generator = model.image_generator()?;
        let images = generator.images(first, count, label, seed as u64)?;
        images.into_iter().map(|image| tell(&model, image)).collect()
    };
    let batches = (0..n).step_by(together as usize);
    let images =
        batches.flat_map(move |first| batch(first).map_err(ErrorReport::from).unwrap_or_report());
    Ok(Box::new(images))
}
