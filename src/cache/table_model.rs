//! A generator of table rows in the form in which it answers.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use teller_nn::{Condition, TableCell, TableError, TableGenerator};
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers;
use crate::catalog::column_type::ColumnType;
use crate::catalog::manifest::Manifest;
use crate::error::Error;
use crate::settings;

/// What a generator needs besides its weights; the manifest's `model`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableModelInfo {
    /// The engine's own: columns, label, sizes of the network.
    pub generator: Value,
    /// What the columns' values stand for, in their order.
    pub types: Vec<ColumnType>,
}

/// A generator with the types of its columns.
pub struct TableModel {
    generator: TableGenerator,
    types: Vec<ColumnType>,
}

impl TableModel {
    pub(super) fn load(manifest: &Manifest, weights: SharedBytes) -> Result<Self, String> {
        let TableModelInfo { generator, types } = serde_json::from_value(manifest.model.clone())
            .map_err(|error| format!("its model description cannot be read: {error}"))?;
        let generator =
            TableGenerator::load(&generator, weights).map_err(|error| error.to_string())?;
        if generator.columns().count() != types.len() {
            return Err("its columns have not as many types".to_owned());
        }
        Ok(Self { generator, types })
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        self.generator.memory()
    }

    /// The engine.
    pub fn generator(&self) -> &TableGenerator {
        &self.generator
    }

    /// What options ask of the rows: `where`, an object of columns and their values or ranges.
    pub fn condition(&self, options: &Value) -> Result<Condition, Error> {
        let mut options = Options::new("synthesize", options)?;
        let mut condition = Condition::default();
        if let Some(wanted) = options.value("where") {
            let Some(columns) = wanted.as_object() else {
                let expected = "an object of columns and their values".to_owned();
                return Err(options.invalid("where", wanted, expected).into());
            };
            for (column, value) in columns {
                let at = self.generator.columns().position(|name| name == column);
                let Some(at) = at else {
                    return Err(Error::unknown("column", column, self.generator.columns()));
                };
                let kind = self.types[at];
                let added = if value.is_object() {
                    let range = range(&options, kind, column, value)?;
                    condition.add_range(&self.generator, column, range)
                } else {
                    let refused = || options.invalid("where", value, as_told(column));
                    condition.add(&self.generator, column, kind.read(value).ok_or_else(refused)?)
                };
                // As it was written: the engine knows times and money as numbers.
                added.map_err(|error| match error {
                    teller_nn::Error::Table(TableError::NoValue { column, .. }) => {
                        TableError::NoValue { column, got: value.to_string() }.into()
                    }
                    error => error,
                })?;
            }
        }
        options.finish()?;
        Ok(condition)
    }

    /// `count` rows from number `first` on as JSON objects.
    pub fn rows(
        &self,
        first: u64,
        count: usize,
        seed: u64,
        condition: &Condition,
    ) -> Result<Vec<Value>, Error> {
        let table = workers::run(
            settings::threads(),
            &Rhythm::never(),
            |control| self.generator.rows(first, count, seed, condition, control),
            |_| Ok(()),
        )??;
        let columns: Vec<(&str, ColumnType)> =
            table.names().zip(self.types.iter().copied()).collect();
        let object = |row| {
            let cells = columns.iter().zip(table.row(row));
            let members = cells.map(|((name, kind), cell)| ((*name).to_owned(), kind.json(cell)));
            Value::Object(members.collect::<Map<_, _>>())
        };
        Ok((0..table.rows()).map(object).collect())
    }
}

/// What is expected of a value.
fn as_told(column: &str) -> String {
    format!("a value of column \"{column}\" as synthesize tells it")
}

/// The range of a column that an object of `from` and `to` tells, both included; `options` has it.
fn range(
    options: &Options,
    kind: ColumnType,
    column: &str,
    value: &Value,
) -> Result<RangeInclusive<f64>, Error> {
    let refused = |expected| Error::from(options.invalid("where", value, expected));
    if matches!(kind, ColumnType::Text | ColumnType::Boolean) {
        return Err(refused(format!("a value of column \"{column}\", which has no ranges")));
    }
    let subject = format!("the range of column \"{column}\"");
    let mut ends = Options::new(&subject, value)?;
    let mut end = |name, open| match ends.value(name).map(|end| (end, kind.read(end))) {
        None => Ok(open),
        Some((_, Some(TableCell::Number(number)))) => Ok(number),
        Some((end, _)) => Err(ends.invalid(name, end, as_told(column))),
    };
    let (from, to) = (end("from", f64::NEG_INFINITY)?, end("to", f64::INFINITY)?);
    ends.finish()?;
    if from > to {
        return Err(refused("a range that does not end before it begins".to_owned()));
    }
    if from == f64::NEG_INFINITY && to == f64::INFINITY {
        return Err(refused("a range with from, to, or both".to_owned()));
    }
    Ok(from..=to)
}
