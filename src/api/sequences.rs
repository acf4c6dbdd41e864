//! `classify_sequence`, `sequence_probabilities`.

use pgrx::Array;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::bridge::array;
use crate::cache;
use crate::error::Error;

#[pg_extern(sql = false)]
fn classify_sequence(
    sequence: Option<Array<'_, f32>>,
    model: Option<pg_sys::Oid>,
    statics: Option<Array<'_, f32>>,
) -> Result<Option<String>, ErrorReport> {
    let Some((sequence, model)) = sequence.zip(model) else { return Ok(None) };
    let best = probabilities(sequence, model, statics)?.into_iter().next();
    Ok(best.map(|(label, _)| label))
}

#[pg_extern(sql = false)]
fn sequence_probabilities(
    sequence: Option<Array<'_, f32>>,
    model: Option<pg_sys::Oid>,
    statics: Option<Array<'_, f32>>,
) -> Result<TableIterator<'static, (name!(label, String), name!(probability, f32))>, ErrorReport> {
    let asked = sequence.zip(model);
    let rows =
        asked.map(|(sequence, model)| probabilities(sequence, model, statics)).transpose()?;
    Ok(TableIterator::new(rows.unwrap_or_default()))
}

/// The most probable first.
fn probabilities(
    sequence: Array<'_, f32>,
    model: pg_sys::Oid,
    statics: Option<Array<'_, f32>>,
) -> Result<Vec<(String, f32)>, Error> {
    let model = cache::production(model)?;
    let sequences = model.sequences()?;
    let labels = sequences.classifier().labels();
    let (statics, _) = match statics {
        Some(statics) => numbers(statics)?,
        None => (Vec::new(), 1),
    };
    let (sequence, features) = numbers(sequence)?;
    let read = |row: &[f32]| labels.iter().cloned().zip(row.iter().copied()).collect();
    let mut rows: Vec<(String, f32)> =
        sequences.probabilities((&sequence, features), &statics, read)?;
    // Stable: equal probabilities keep the order of the labels.
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(rows)
}

fn numbers(array: Array<'_, f32>) -> Result<(Vec<f32>, usize), Error> {
    // SAFETY: pgrx has made sure of the type and of a plain array.
    unsafe {
        array::read_reals(array.into_array_type().cast_mut(), |numbers| match numbers {
            Some((numbers, width)) => Ok((numbers.to_vec(), width)),
            None => Err(Error::NullArgument("a sequence and its static numbers have no NULLs")),
        })
    }
}
