//! `classify_text`, `text_probabilities`, `text_embedding`, `explain_text`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::api::ranked::ranked;
use crate::cache;
use crate::error::Error;

#[pg_extern(sql = false)]
fn classify_text(text: &str, model: pg_sys::Oid) -> Result<String, ErrorReport> {
    let model = cache::production(model)?;
    let texts = model.texts()?;
    let best = texts.probabilities(text, teller_nn::best)?;
    Ok(texts.classifier().labels()[best].clone())
}

#[pg_extern(sql = false)]
fn text_probabilities(
    text: &str,
    model: pg_sys::Oid,
) -> Result<TableIterator<'static, (name!(label, String), name!(probability, f32))>, ErrorReport> {
    Ok(TableIterator::new(probabilities(text, model)?))
}

#[pg_extern(sql = false)]
fn text_embedding(text: &str, model: pg_sys::Oid) -> Result<Vec<f32>, ErrorReport> {
    Ok(cache::production(model)?.texts()?.embedding(text)?)
}

#[pg_extern(sql = false)]
fn explain_text(
    text: &str,
    model: pg_sys::Oid,
) -> Result<TableIterator<'static, (name!(token, String), name!(contribution, f32))>, ErrorReport> {
    Ok(TableIterator::new(cache::production(model)?.texts()?.explain(text)?))
}

fn probabilities(text: &str, model: pg_sys::Oid) -> Result<Vec<(String, f32)>, Error> {
    let model = cache::production(model)?;
    let texts = model.texts()?;
    texts.probabilities(text, |row| ranked(texts.classifier().labels(), row))
}
