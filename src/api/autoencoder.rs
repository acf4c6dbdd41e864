//! `encode`, `decode`, `reconstruct`, `anomaly_score`, `interpolate`, of numbers and of images.

use pgrx::Array;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::bridge::array;
use crate::bridge::interrupts::StatementControl;
use crate::cache::{self, Model};
use crate::error::Error;

/// Rows that one call makes.
const MOST_STEPS: i32 = 1000;

#[pg_extern(sql = false)]
fn encode_features(features: Array<'_, f32>, model: pg_sys::Oid) -> Result<Vec<f32>, ErrorReport> {
    Ok(encode(&*cache::production(model)?, &numbers(features)?)?)
}

#[pg_extern(sql = false)]
fn encode_image(image: &[u8], model: pg_sys::Oid) -> Result<Vec<f32>, ErrorReport> {
    let model = cache::production(model)?;
    let row = model.autoencoder()?.row(image)?;
    Ok(encode(&model, &row)?)
}

#[pg_extern(sql = false)]
fn decode(latent: Array<'_, f32>, model: pg_sys::Oid) -> Result<Vec<f32>, ErrorReport> {
    let model = cache::production(model)?;
    let latent = numbers(latent)?;
    let network = model.autoencoder()?.network();
    Ok(network.decode(&latent, &StatementControl).map_err(Error::from)?)
}

#[pg_extern(sql = false)]
fn reconstruct_features(
    features: Array<'_, f32>,
    model: pg_sys::Oid,
) -> Result<Vec<f32>, ErrorReport> {
    Ok(reconstruct(&*cache::production(model)?, &numbers(features)?)?)
}

#[pg_extern(sql = false)]
fn reconstruct_image(image: &[u8], model: pg_sys::Oid) -> Result<Vec<u8>, ErrorReport> {
    let model = cache::production(model)?;
    let autoencoder = model.autoencoder()?;
    let row = autoencoder.row(image)?;
    Ok(autoencoder.png(&reconstruct(&model, &row)?)?)
}

#[pg_extern(sql = false)]
fn anomaly_score_features(
    features: Array<'_, f32>,
    model: pg_sys::Oid,
) -> Result<f32, ErrorReport> {
    Ok(anomaly_score(&*cache::production(model)?, &numbers(features)?)?)
}

#[pg_extern(sql = false)]
fn anomaly_score_image(image: &[u8], model: pg_sys::Oid) -> Result<f32, ErrorReport> {
    let model = cache::production(model)?;
    let row = model.autoencoder()?.row(image)?;
    Ok(anomaly_score(&model, &row)?)
}

#[pg_extern(sql = false)]
fn interpolate_features(
    a: Array<'_, f32>,
    b: Array<'_, f32>,
    steps: i32,
    model: pg_sys::Oid,
) -> Result<SetOfIterator<'static, Vec<f32>>, ErrorReport> {
    let model = cache::production(model)?;
    let rows = between(&model, &numbers(a)?, &numbers(b)?, steps)?;
    Ok(SetOfIterator::new(rows))
}

#[pg_extern(sql = false)]
fn interpolate_images(
    a: &[u8],
    b: &[u8],
    steps: i32,
    model: pg_sys::Oid,
) -> Result<SetOfIterator<'static, Vec<u8>>, ErrorReport> {
    let model = cache::production(model)?;
    let autoencoder = model.autoencoder()?;
    let rows = between(&model, &autoencoder.row(a)?, &autoencoder.row(b)?, steps)?;
    let pngs: Result<Vec<_>, Error> = rows.iter().map(|row| autoencoder.png(row)).collect();
    Ok(SetOfIterator::new(pngs?))
}

fn encode(model: &Model, row: &[f32]) -> Result<Vec<f32>, Error> {
    Ok(model.autoencoder()?.network().encode(row, &StatementControl)?)
}

fn reconstruct(model: &Model, row: &[f32]) -> Result<Vec<f32>, Error> {
    Ok(model.autoencoder()?.network().reconstruct(row, &StatementControl)?)
}

fn anomaly_score(model: &Model, row: &[f32]) -> Result<f32, Error> {
    Ok(model.autoencoder()?.network().anomaly_score(row, &StatementControl)?)
}

/// What the codes tell that lie evenly from that of one row to that of another.
fn between(model: &Model, a: &[f32], b: &[f32], steps: i32) -> Result<Vec<Vec<f32>>, Error> {
    if !(2..=MOST_STEPS).contains(&steps) {
        return Err(Error::Steps { got: steps, most: MOST_STEPS });
    }
    let network = model.autoencoder()?.network();
    let [a, b] = [encode(model, a)?, encode(model, b)?];
    let row = |step: i32| {
        let share = step as f32 / (steps - 1) as f32;
        let code: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + (b - a) * share).collect();
        Ok(network.decode(&code, &StatementControl)?)
    };
    (0..steps).map(row).collect()
}

/// All numbers of an array.
fn numbers(array: Array<'_, f32>) -> Result<Vec<f32>, Error> {
    Ok(array::numbers(array, "an array of numbers must have no NULL")?.0)
}
