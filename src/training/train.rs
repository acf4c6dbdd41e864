//! `train`: a version in one transaction.

use pgrx::pg_sys;
use serde_json::Value;

use crate::bridge::rhythm::Rhythm;
use crate::bridge::sandbox::Reader;
use crate::bridge::session;
use crate::bridge::transaction::refuse_read_only;
use crate::bridge::workers::Event;
use crate::catalog::manifest::{Definition, Task};
use crate::catalog::model_table::ModelTable;
use crate::catalog::name::TableName;
use crate::catalog::store;
use crate::catalog::version::parse_task;
use crate::error::Error;
use crate::training::progress::Progress;
use crate::training::start::Trainee;
use crate::training::{Meter, Plan, manifest};

/// The arguments of `teller.train`.
pub struct Request<'a> {
    pub model: &'a str,
    pub task: &'a str,
    pub data: &'a str,
    pub options: Value,
}

/// What `teller.train` answers.
pub struct Outcome {
    pub model: pg_sys::Oid,
    pub version: i32,
    pub status: &'static str,
    pub metrics: Value,
}

/// Trains a version on the rows of a SELECT and stores it. Everything that can be refused without
/// reading the data is refused first.
pub fn train(request: Request) -> Result<Outcome, Error> {
    let meter = Meter::start();
    refuse_read_only(c"teller.train");
    let mut definition = Definition {
        task: Task::parse(request.task)?,
        options: request.options,
        data: request.data.to_owned(),
        search_path: session::search_path(),
        settings: session::settings(),
        start_from: None,
    };
    let model = TableName::parse(request.model)?.find();
    let plan = Plan::read(&mut definition, Trainee { model, reader: Reader::Caller })?;
    let table = store::find_or_create(request.model)?;
    refuse_other_task(&table, definition.task)?;
    let (prepared, rows) = plan.prepare(&definition.data, Reader::Caller)?;
    let mut lineage = meter.lineage(&plan, rows);
    let mut progress = Progress::new(prepared.step_noun());
    let mut log = Vec::new();
    let trained = prepared.fit(None, &Rhythm::never(), &mut |event| {
        if let Event::Step(step) = event {
            log.push(progress.tell(&step));
        }
        Ok(())
    })?;
    meter.note(&mut lineage);
    let (mut manifest, mut version) = manifest(definition, lineage, trained);
    version.records.push((store::LOG, log));
    let promote = plan.promotion.decide(&table, &version, &mut manifest, Reader::Caller)?;
    let (number, status) = store::store(&table, version, &manifest, promote)?;
    Ok(Outcome {
        model: table.oid(),
        version: number,
        status,
        metrics: Value::Object(manifest.metrics),
    })
}

fn refuse_other_task(table: &ModelTable, task: Task) -> Result<(), Error> {
    for (version, info) in table.manifests(|row| Ok((row.version(), row.info())))? {
        let got = parse_task(table, version.unwrap_or_default(), info)?;
        if got != task {
            return Err(Error::WrongTask { model: table.name(), got, expected: task });
        }
    }
    Ok(())
}
