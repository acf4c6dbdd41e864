//! `classify_sequence`, `sequence_probabilities`.

use pgrx::Array;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::api::ranked::ranked;
use crate::bridge::array;
use crate::cache;
use crate::error::Error;

/// What is wrong with an array that has one.
const NULLS: &str = "a sequence and its static numbers have no NULLs";

#[pg_extern(sql = false)]
fn classify_sequence(
    sequence: Option<Array<'_, f32>>,
    model: Option<pg_sys::Oid>,
    statics: Option<Array<'_, f32>>,
) -> Result<Option<String>, ErrorReport> {
    let Some((sequence, model)) = sequence.zip(model) else { return Ok(None) };
    let best = |labels: &[String], row: &[f32]| labels[teller_nn::best(row)].clone();
    Ok(Some(ask(sequence, model, statics, best)?))
}

#[pg_extern(sql = false)]
fn sequence_probabilities(
    sequence: Option<Array<'_, f32>>,
    model: Option<pg_sys::Oid>,
    statics: Option<Array<'_, f32>>,
) -> Result<TableIterator<'static, (name!(label, String), name!(probability, f32))>, ErrorReport> {
    let asked = sequence.zip(model);
    let rows = asked.map(|(sequence, model)| ask(sequence, model, statics, ranked)).transpose()?;
    Ok(TableIterator::new(rows.unwrap_or_default()))
}

/// Calls `read` with the labels and their probabilities.
fn ask<T>(
    sequence: Array<'_, f32>,
    model: pg_sys::Oid,
    statics: Option<Array<'_, f32>>,
    read: impl FnOnce(&[String], &[f32]) -> T,
) -> Result<T, Error> {
    let model = cache::production(model)?;
    let sequences = model.sequences()?;
    let labels = sequences.classifier().labels();
    let statics = match statics {
        Some(statics) => array::numbers(statics, NULLS)?.0,
        None => Vec::new(),
    };
    let (sequence, features) = array::numbers(sequence, NULLS)?;
    sequences.probabilities((&sequence, features), &statics, |row| read(labels, row))
}
