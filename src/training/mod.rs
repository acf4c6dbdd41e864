//! One training statement, from its arguments to a stored version.

mod evaluation;
mod gate;
mod image_classification;
mod progress;
mod recommendation;

use std::time::Instant;

use pgrx::pg_sys;
use serde_json::{Map, Value};
use teller_numeric::Options;

use crate::bridge::identity;
use crate::bridge::sandbox::Reader;
use crate::bridge::transaction::refuse_read_only;
use crate::cache::{self, Model};
use crate::catalog::data::{Query, RowsRead};
use crate::catalog::manifest::{GATE, Manifest, Task};
use crate::catalog::model_table::ModelTable;
use crate::catalog::store::{self, TrainedVersion};
use crate::catalog::timestamp;
use crate::catalog::version::{Wanted, parse_manifest};
use crate::error::Error;
use crate::training::gate::Gate;

pub use evaluation::evaluate_version;

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
    read: RowsRead,
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

/// The checked options of a training.
struct Plan {
    engine: Engine,
    promotion: Promotion,
}

/// What becomes of a trained version, for callers who may promote.
struct Promotion {
    promote: bool,
    gate: Option<Gate>,
}

/// A task's checked options.
enum Engine {
    ImageClassification(Box<image_classification::Plan>),
    Recommendation(recommendation::Plan),
}

impl Plan {
    fn read(task: Task, options: &Value) -> Result<Self, Error> {
        let mut options = Options::new(task.name(), options)?;
        let promotion = Promotion {
            promote: options.boolean("promote", true)?,
            gate: options.value("gate").map(Gate::read).transpose()?,
        };
        let engine = match task {
            Task::ImageClassification => Engine::ImageClassification(Box::new(
                image_classification::Plan::read(&mut options)?,
            )),
            Task::Recommendation => {
                Engine::Recommendation(recommendation::Plan::read(&mut options)?)
            }
        };
        options.finish()?;
        Ok(Self { engine, promotion })
    }

    fn train(&self, data: Query) -> Result<Trained, Error> {
        match &self.engine {
            Engine::ImageClassification(plan) => plan.train(data),
            Engine::Recommendation(plan) => plan.train(data),
        }
    }
}

/// Trains a version on the rows of a SELECT and stores it. Everything that can be refused without
/// reading the data is refused first.
pub fn train(request: &Request) -> Result<Outcome, Error> {
    let began = Instant::now();
    refuse_read_only(c"teller.train");
    let task = Task::parse(request.task)?;
    let plan = Plan::read(task, request.options)?;
    let table = store::find_or_create(request.model)?;
    refuse_other_task(&table, task)?;
    let reader = Reader::Caller;
    let Trained { algorithm, read, model, metrics, version } =
        plan.train(Query { text: request.data, reader })?;
    let (parts, digest) = version.describe();
    let mut manifest = Manifest {
        task,
        algorithm: algorithm.to_owned(),
        options: request.options.clone(),
        data: request.data.to_owned(),
        search_path: search_path(),
        rows: read.rows,
        model,
        metrics,
        parts,
        digest,
        extension: env!("CARGO_PKG_VERSION").to_owned(),
        trained_by: identity::role_name(identity::current_user()),
        trained_at: timestamp::statement_start(),
        seconds: began.elapsed().as_secs_f64(),
    };
    let promote = plan.promotion.decide(&table, &version, &mut manifest, reader)?;
    let (number, status) = store::store(&table, &version, &manifest, promote)?;
    Ok(Outcome {
        model: table.oid(),
        version: number,
        status,
        metrics: Value::Object(manifest.metrics),
    })
}

impl Promotion {
    /// Whether the version goes into production, as far as the options and the gate decide; the
    /// gate's figures go into the manifest.
    fn decide(
        &self,
        table: &ModelTable,
        version: &TrainedVersion,
        manifest: &mut Manifest,
        reader: Reader,
    ) -> Result<bool, Error> {
        let Some(gate) = &self.gate else { return Ok(self.promote) };
        let challenger = Model::assemble(table.name(), manifest, &version.shared_parts())
            .map_err(Error::Internal)?;
        let champion = match cache::version(table.oid(), Wanted::Production) {
            Err(Error::NoProduction { .. }) => None,
            champion => Some(champion?),
        };
        let verdict = gate.judge(&challenger, champion.as_deref(), reader)?;
        manifest.metrics.insert(GATE.to_owned(), verdict.to_json());
        Ok(self.promote && verdict.passed)
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
