//! `classify_image`, `try_classify_image`, `image_probabilities`, `image_embedding`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::api::ranked::ranked;
use crate::cache;
use crate::error::Error;
use crate::settings::DefaultModel;

#[pg_extern(sql = false)]
fn classify_image(
    image: Option<&[u8]>,
    model: Option<pg_sys::Oid>,
) -> Result<Option<String>, ErrorReport> {
    Ok(image.map(|image| classify(image, model)).transpose()?)
}

#[pg_extern(sql = false)]
fn try_classify_image(
    image: Option<&[u8]>,
    model: Option<pg_sys::Oid>,
) -> Result<Option<String>, ErrorReport> {
    match image.map(|image| classify(image, model)).transpose() {
        Err(error) if error.is_unreadable_image() => Ok(None),
        answer => Ok(answer?),
    }
}

#[pg_extern(sql = false)]
fn image_probabilities(
    image: Option<&[u8]>,
    model: Option<pg_sys::Oid>,
) -> Result<TableIterator<'static, (name!(label, String), name!(probability, f32))>, ErrorReport> {
    let rows = image.map(|image| probabilities(image, model)).transpose()?;
    Ok(TableIterator::new(rows.unwrap_or_default()))
}

#[pg_extern(sql = false)]
fn image_embedding(
    image: Option<&[u8]>,
    model: Option<pg_sys::Oid>,
) -> Result<Option<Vec<f32>>, ErrorReport> {
    let Some(image) = image else { return Ok(None) };
    let model = cache::served(model, DefaultModel::Image)?;
    Ok(Some(model.images()?.embedding(image)?))
}

fn classify(image: &[u8], model: Option<pg_sys::Oid>) -> Result<String, Error> {
    let model = cache::served(model, DefaultModel::Image)?;
    let images = model.images()?;
    let best = images.probabilities(image, teller_nn::best)?;
    Ok(images.classifier().labels()[best].clone())
}

fn probabilities(image: &[u8], model: Option<pg_sys::Oid>) -> Result<Vec<(String, f32)>, Error> {
    let model = cache::served(model, DefaultModel::Image)?;
    let images = model.images()?;
    images.probabilities(image, |row| ranked(images.classifier().labels(), row))
}
