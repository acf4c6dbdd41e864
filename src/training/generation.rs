//! Training of generators of table rows.

use std::sync::Arc;

use teller_nn::{GenerationParams, Privacy, Table, TableCell};
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::messages;
use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers::{self, Event};
use crate::cache::{GAN, TableModelInfo, WEIGHTS};
use crate::catalog::column_type::ColumnType;
use crate::catalog::data::{self, Query, RowsRead};
use crate::catalog::feature::FeatureValue;
use crate::catalog::store::TrainedVersion;
use crate::error::Error;
use crate::settings;
use crate::training::{Fit, Trained, metrics, most};

/// What a generator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    TabularGan,
    TabularVae,
    /// Of images.
    Gan,
}

impl Algorithm {
    pub fn read(options: &mut Options) -> Result<Self, Error> {
        Ok(options.choice(
            "algorithm",
            &[
                ("tabular_gan", Self::TabularGan),
                ("tabular_vae", Self::TabularVae),
                (GAN, Self::Gan),
            ],
        )?)
    }
}

/// Checked options of a generator of rows.
pub struct Plan {
    params: GenerationParams,
    label: Option<String>,
}

/// Rows of a query, and what its columns are.
pub struct Rows {
    pub table: Table,
    types: Vec<ColumnType>,
}

impl Plan {
    pub fn read(params: GenerationParams, options: &mut Options) -> Result<Self, Error> {
        Ok(Self { params, label: options.text("label")?.map(str::to_owned) })
    }

    pub fn seed(&self) -> u64 {
        self.params.training().seed
    }

    /// Reads and checks the data.
    pub fn prepare(&self, query: Query) -> Result<(Box<dyn Fit + '_>, RowsRead), Error> {
        let limit = settings::max_training_memory();
        let (rows, read) = read_rows(query, limit)?;
        let label = self.label.as_deref();
        let held = rows.table.memory();
        let needed = teller_nn::table_memory_needed(&self.params, &rows.table, label)?;
        let needed = needed.saturating_add(held);
        if needed > limit {
            let (count, columns) = (rows.table.rows() as u64, rows.types.len());
            // Nearly all of it grows with the rows.
            let fits = |rows: u64| needed as f64 * (rows as f64 / count as f64) <= limit as f64;
            let fits = most(1..=count, fits).map(|rows| format!("{rows} rows"));
            let what = format!("{count} rows of {columns} columns");
            return Err(Error::TrainingMemory { what, needed, limit, fits });
        }
        Ok((Box::new(Prepared { plan: self, rows }), read))
    }
}

struct Prepared<'p> {
    plan: &'p Plan,
    rows: Rows,
}

impl Fit for Prepared<'_> {
    fn step_noun(&self) -> &'static str {
        "epoch"
    }

    fn fit(
        &self,
        resume: Option<SharedBytes>,
        rhythm: &Rhythm,
        on_event: &mut dyn FnMut(Event) -> Result<(), Error>,
    ) -> Result<Trained, Error> {
        let Plan { params, label } = self.plan;
        let table = &self.rows.table;
        let fitted = workers::run(
            settings::threads(),
            rhythm,
            |control| teller_nn::fit_table(params, table, label.as_deref(), resume, control),
            on_event,
        )??;
        tell_failures(fitted.report.privacy);
        let figures = fitted.metrics();
        let generator = &fitted.generator;
        let info =
            TableModelInfo { generator: generator.description(), types: self.rows.types.clone() };
        Ok(Trained {
            algorithm: params.algorithm(),
            model: serde_json::to_value(info)
                .map_err(|error| Error::Internal(error.to_string()))?,
            metrics: metrics(figures.iter().map(|(name, value)| (&**name, *value))),
            version: TrainedVersion {
                parts: vec![(WEIGHTS.into(), Arc::new(generator.payload()))],
                records: Vec::new(),
            },
        })
    }
}

/// Says which figures of privacy hold a version back.
pub fn tell_failures(privacy: Option<Privacy>) {
    let failures = privacy.map(|privacy| privacy.failures()).unwrap_or_default();
    if !failures.is_empty() {
        let beyond = failures.join(", ");
        messages::info(&format!(
            "beyond their limits, so that it is not promoted unless a gate says so: {beyond}"
        ));
    }
}

/// Reads the rows of a query into one table of at most `limit` bytes.
pub fn read_rows(query: Query, limit: u64) -> Result<(Rows, RowsRead), Error> {
    data::read_with_features(
        query,
        &[],
        |columns| {
            let types = columns.iter().map(ColumnType::of).collect::<Result<Vec<_>, _>>()?;
            let kinds = columns.iter().zip(&types);
            let table = Table::new(kinds.map(|(column, of)| (&*column.name, of.kind())));
            Ok(Rows { table, types })
        },
        |rows, row| {
            let Rows { table, types } = rows;
            let mut values = vec![Value::Null; types.len()];
            for (column, value) in values.iter_mut().enumerate() {
                row.feature(column, &mut |read| {
                    *value = match read {
                        FeatureValue::Number(number) => Value::Number(number),
                        FeatureValue::Text(text) => Value::Text(text.to_owned()),
                    };
                    Ok(())
                })?;
            }
            let cells: Vec<TableCell> = values.iter().map(Value::cell).collect();
            table.push(&cells).map_err(teller_nn::Error::from)?;
            let needed = table.memory();
            if needed > limit {
                let what = format!("the first {} rows", row.number());
                let fits = Some(format!("fewer than {} rows", row.number()));
                return Err(Error::TrainingMemory { what, needed, limit, fits });
            }
            Ok(())
        },
    )
}

/// A cell that owns its text.
#[derive(Clone)]
enum Value {
    Null,
    Number(f64),
    Text(String),
}

impl Value {
    fn cell(&self) -> TableCell<'_> {
        match self {
            Self::Null => TableCell::Null,
            Self::Number(number) => TableCell::Number(*number),
            Self::Text(text) => TableCell::Text(text),
        }
    }
}
