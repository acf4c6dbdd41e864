//! Labelled sequences out of the rows of a query: one row a sequence, or one row an event.

use teller_nn::{SequenceDatasetBuilder, SequenceEvent, SequenceEventsBuilder};
use teller_recommend::FeatureKind;

use crate::catalog::data::{self, Column, DataRow, Kind, Query, RowsRead};
use crate::catalog::feature::{Feature, FeatureValue};
use crate::error::Error;

const STATIC: Column = Column { name: "static", kind: Kind::Numbers, required: false };
const LABEL: Column = Column { name: "label", kind: Kind::Label, required: true };
const SEQUENCES: [Column; 3] =
    [Column { name: "sequence", kind: Kind::Numbers, required: true }, STATIC, LABEL];
/// All other columns are features.
const EVENTS: [Column; 4] = [
    Column { name: "sequence_id", kind: Kind::Id, required: true },
    Column { name: "position", kind: Kind::Time, required: true },
    STATIC,
    LABEL,
];

/// The sequences of a query, at most `limit` bytes of them; of each, the last `max_steps` steps.
/// With a column `sequence_id`, a row is an event.
pub fn read_dataset(
    query: Query,
    max_steps: usize,
    limit: u64,
) -> Result<(SequenceDatasetBuilder, RowsRead), Error> {
    if data::has_column(query, EVENTS[0].name)? {
        let (events, rows) = read_events(query, limit)?;
        return Ok((events.finish(max_steps)?, rows));
    }
    let mut builder = SequenceDatasetBuilder::new(max_steps);
    let (mut sequence, mut statics) = (Vec::new(), Vec::new());
    let rows = data::read(query, &SEQUENCES, |row| {
        let width = row.numbers(0, |numbers, width| {
            copy(numbers, &mut sequence);
            width
        })?;
        row.numbers(1, |numbers, _| copy(numbers, &mut statics))?;
        let pushed = row.text(2, |label| builder.push(&sequence, width, &statics, label))?;
        pushed.map_err(|error| Error::from(error).in_row(row.number()))?;
        within(limit, builder.memory(), "sequences", row)
    })?;
    Ok((builder, rows))
}

/// The events of a query, in any order.
fn read_events(query: Query, limit: u64) -> Result<(SequenceEventsBuilder, RowsRead), Error> {
    let (mut numbers, mut statics) = (Vec::new(), Vec::new());
    let (mut sequence, mut label) = (String::new(), String::new());
    let begin = |features: &[Feature]| {
        let Some(text) = features.iter().find(|feature| feature.kind != FeatureKind::Number) else {
            return Ok((SequenceEventsBuilder::default(), names(features)));
        };
        Err(Error::ColumnType {
            name: text.name.clone(),
            got: data::type_name(text.type_oid),
            expected: "a number, boolean, date, time stamp or money",
        })
    };
    let ((events, _), rows) = data::read_with_features(query, &EVENTS, begin, |state, row| {
        let (events, features) = state;
        row.text(0, |id| sequence.replace_range(.., id))?;
        let position = row.days(1)?;
        row.numbers(2, |given, _| copy(given, &mut statics))?;
        row.text(3, |given| label.replace_range(.., given))?;
        numbers.clear();
        for (column, name) in features.iter().enumerate() {
            row.feature(column, &mut |value| {
                if let FeatureValue::Number(number) = value {
                    numbers.push(number as f32);
                }
                Ok(())
            })?;
            if numbers.len() == column {
                return Err(Error::NullInData { name: name.clone(), row: row.number() });
            }
        }
        let event = SequenceEvent {
            sequence: &sequence,
            position,
            features: &numbers,
            statics: &statics,
            label: &label,
        };
        events.push(event).map_err(|error| Error::from(error).in_row(row.number()))?;
        within(limit, events.memory(), "events", row)
    })?;
    Ok((events, rows))
}

fn names(features: &[Feature]) -> Vec<String> {
    features.iter().map(|feature| feature.name.clone()).collect()
}

fn copy(from: &[f32], to: &mut Vec<f32>) {
    to.clear();
    to.extend_from_slice(from);
}

/// Fails if the rows so far take more than `limit` bytes.
fn within(limit: u64, needed: u64, noun: &str, row: &DataRow) -> Result<(), Error> {
    if needed <= limit {
        return Ok(());
    }
    let what = format!("the first {} {noun}", row.number());
    let fits = Some(format!("{} {noun}", row.number() - 1));
    Err(Error::TrainingMemory { what, needed, limit, fits })
}
