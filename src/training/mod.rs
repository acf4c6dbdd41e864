//! One training statement, from its arguments to a stored version.

mod evaluation;
mod image_classification;
mod progress;
mod recommendation;

use std::time::Instant;

use pgrx::pg_sys;
use serde_json::{Map, Value};
use teller_numeric::Options;

use crate::bridge::identity;
use crate::catalog::manifest::{Manifest, Task};
use crate::catalog::model_table::ModelTable;
use crate::catalog::store::{self, TrainedVersion};
use crate::catalog::timestamp;
use crate::catalog::version::parse_manifest;
use crate::error::Error;

pub use evaluation::evaluate;

/// The arguments of `teller.train`.
pub struct Request<'a> {
    pub model: &'a str,
    pub task: &'a str,
    pub data: &'a str,
    pub options: &'a Value,
}

/// What `teller.train` answers.
pub struct Outcome {
    pub model: pg_sys::Oid,
    pub version: i32,
    pub status: &'static str,
    pub metrics: Value,
}

/// What a task's training gives.
struct Trained {
    algorithm: &'static str,
    rows: u64,
    model: Value,
    metrics: Map<String, Value>,
    version: TrainedVersion,
}

/// Figures as the JSON of a manifest; whole ones without a fraction.
fn metrics<'a>(figures: impl IntoIterator<Item = (&'a str, f64)>) -> Map<String, Value> {
    let number = |value: f64| {
        if value.fract() == 0.0 && value.abs() < 1e15 {
            Value::from(value as i64)
        } else {
            value.into()
        }
    };
    figures.into_iter().map(|(name, value)| (name.to_owned(), number(value))).collect()
}

/// A task's checked options.
enum Plan {
    ImageClassification(Box<image_classification::Plan>),
    Recommendation(recommendation::Plan),
}

impl Plan {
    fn read(task: Task, options: &Value) -> Result<Self, Error> {
        let mut options = Options::new(task.name(), options)?;
        let plan = match task {
            Task::ImageClassification => {
                Self::ImageClassification(Box::new(image_classification::Plan::read(&mut options)?))
            }
            Task::Recommendation => Self::Recommendation(recommendation::Plan::read(&mut options)?),
        };
        options.finish()?;
        Ok(plan)
    }

    fn train(&self, data: &str) -> Result<Trained, Error> {
        match self {
            Self::ImageClassification(plan) => plan.train(data),
            Self::Recommendation(plan) => plan.train(data),
        }
    }
}

/// Trains a version on the rows of a SELECT and stores it. Everything that can be refused without
/// reading the data is refused first.
pub fn train(request: &Request) -> Result<Outcome, Error> {
    let began = Instant::now();
    refuse_read_only();
    let task = Task::parse(request.task)?;
    let plan = Plan::read(task, request.options)?;
    let table = store::find_or_create(request.model)?;
    refuse_other_task(&table, task)?;
    let Trained { algorithm, rows, model, metrics, version } = plan.train(request.data)?;
    let (parts, digest) = version.describe();
    let manifest = Manifest {
        task,
        algorithm: algorithm.to_owned(),
        options: request.options.clone(),
        data: request.data.to_owned(),
        search_path: search_path(),
        rows,
        model,
        metrics,
        parts,
        digest,
        extension: env!("CARGO_PKG_VERSION").to_owned(),
        trained_by: identity::role_name(identity::current_user()),
        trained_at: timestamp::statement_start(),
        seconds: began.elapsed().as_secs_f64(),
    };
    let (number, status) = store::store(&table, &version, &manifest)?;
    Ok(Outcome {
        model: table.oid(),
        version: number,
        status,
        metrics: Value::Object(manifest.metrics),
    })
}

/// Raises PostgreSQL's own error (25006) on a standby and in a read-only transaction, before the
/// work and not after it.
fn refuse_read_only() {
    // SAFETY: reads the transaction's state and raises an error; the name is a constant.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(c"teller.train".as_ptr());
        pg_sys::PreventCommandDuringRecovery(c"teller.train".as_ptr());
    }
}

fn refuse_other_task(table: &ModelTable, task: Task) -> Result<(), Error> {
    for (version, info) in table.manifests(|row| Ok((row.version(), row.info())))? {
        let got = parse_manifest(table, version.unwrap_or_default(), info)?.task;
        if got != task {
            return Err(Error::WrongTask { model: table.name(), got, expected: task });
        }
    }
    Ok(())
}

fn search_path() -> String {
    // SAFETY: a string setting that is never NULL.
    unsafe { std::ffi::CStr::from_ptr(pg_sys::namespace_search_path) }
        .to_string_lossy()
        .into_owned()
}
