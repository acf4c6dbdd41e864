//! `retrain`: a version from the stored definition, committing as it goes.

use pgrx::pg_sys;
use serde_json::Value;
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::identity;
use crate::bridge::messages;
use crate::bridge::procedure::Procedure;
use crate::bridge::rhythm::Rhythm;
use crate::bridge::sandbox::Reader;
use crate::bridge::session_lock::TrainingLock;
use crate::bridge::snapshot::PushedSnapshot;
use crate::bridge::transaction::refuse_read_only;
use crate::bridge::workers::Event;
use crate::catalog::manifest::{Definition, RunInfo};
use crate::catalog::model_table::{ModelTable, Privilege};
use crate::catalog::run::Run;
use crate::catalog::timestamp;
use crate::catalog::version::{Version, Wanted};
use crate::error::Error;
use crate::training::progress::Progress;
use crate::training::side_data::{GRAPH, ITEMS};
use crate::training::start::{START_FROM, Trainee};
use crate::training::{Fit, Meter, Plan, Trained, manifest};

/// The options whose values are SQL that runs in the owner's name.
const QUERIES: [&str; 3] = ["gate", ITEMS, GRAPH];

/// Trains the version in production again, on the rows that its query gives today, and stores the
/// result as a new version. The query runs in the name of the model's owner: putting a version
/// into production has approved it.
///
/// Goes on where an interrupted training of the same rows and options stopped.
pub fn retrain(
    procedure: &mut Procedure,
    model: pg_sys::Oid,
    options: &Value,
) -> Result<(), Error> {
    let mut meter = Meter::start();
    refuse_read_only(c"teller.retrain");
    let table = ModelTable::open(model, Privilege::Train)?;
    let _lock = TrainingLock::acquire(model)
        .ok_or_else(|| Error::AlreadyTraining { model: table.name() })?;
    let mut definition = definition(&table, options)?;
    let Definition { search_path, settings, .. } = definition.clone();
    let reader =
        Reader::Stored { role: table.owner(), search_path: &search_path, settings: &settings };
    // What the caller names anew, he must be allowed to start from himself.
    let reads_source = if is_given(options, START_FROM) { Reader::Caller } else { reader };
    let trainee = Trainee { model: Some(model), reader: reads_source };
    let plan = Plan::read(&mut definition, trainee)?;
    let (prepared, rows) = plan.prepare(&definition.data, reader)?;
    let progress = None;
    let lineage = meter.lineage(&plan, rows);
    let info = RunInfo { definition, lineage, progress, updated_at: timestamp::now(), error: None };
    let mut run = begin_or_resume(&table, info)?;
    meter.resume(&run.info.lineage);
    let checkpoint = run.checkpoint(&table)?;
    drop(table);
    // From here on a training that takes hours holds no snapshot and no lock on the table.
    procedure.commit();

    let trained = match fit(&*prepared, checkpoint, procedure, model, &mut run, &meter) {
        Err(Error::Checkpoint(what)) => {
            messages::info(&format!("the training starts anew: {what}"));
            fit(&*prepared, None, procedure, model, &mut run, &meter)
        }
        trained => trained,
    };
    let _snapshot = PushedSnapshot::of_transaction();
    let table = ModelTable::open_to_write(model, Privilege::Train)?;
    let trained = match trained {
        Err(error @ Error::Diverged(_)) => {
            run.fail(&table, error.to_string())?;
            drop((table, _snapshot));
            procedure.commit();
            return Err(error);
        }
        trained => trained?,
    };
    meter.note(&mut run.info.lineage);
    let RunInfo { definition, lineage, .. } = run.info.clone();
    let (mut manifest, version) = manifest(definition, lineage, trained);
    let reader =
        Reader::Stored { role: table.owner(), search_path: &search_path, settings: &settings };
    let promote = plan.promotion.decide(&table, &version, &mut manifest, reader)?;
    let number = run.version;
    let status = run.finish(&table, version, &manifest, promote)?;
    messages::info(&format!("version {number} of model {} is {status}", table.name()));
    Ok(())
}

/// The definition of the version in production, with other options where they are given.
fn definition(table: &ModelTable, options: &Value) -> Result<Definition, Error> {
    let production = Version::find(table, Wanted::Production)?;
    let mut definition = production.manifest(table)?.definition;
    Options::new("retrain", options)?;
    let Value::Object(given) = options else { return Ok(definition) };
    if let Some(option) = QUERIES.into_iter().find(|&option| given.contains_key(option))
        && !identity::has_privileges_of(table.owner())
    {
        return Err(Error::OwnersOption { model: table.name(), option });
    }
    if is_given(options, START_FROM) {
        definition.start_from = None;
    }
    if let Value::Object(stored) = &mut definition.options {
        stored.extend(given.clone());
    }
    Ok(definition)
}

fn is_given(options: &Value, name: &str) -> bool {
    options.get(name).is_some()
}

/// The interrupted training of the model if it is this one, else a new one.
fn begin_or_resume(table: &ModelTable, info: RunInfo) -> Result<Run, Error> {
    let Some(run) = Run::interrupted(table)? else { return Run::begin(table, info) };
    let (before, now) = (&run.info, &info);
    let same = before.definition == now.definition
        && before.lineage.rows_digest == now.lineage.rows_digest
        && before.lineage.extension == now.lineage.extension;
    if !same {
        let why = "given up for a training of other rows, of other options, or by another release";
        run.fail(table, why.to_owned())?;
        return Run::begin(table, info);
    }
    messages::info(&format!("the training of version {} goes on", run.version));
    Ok(run)
}

fn fit(
    prepared: &dyn Fit,
    start: Option<SharedBytes>,
    procedure: &mut Procedure,
    model: pg_sys::Oid,
    run: &mut Run,
    meter: &Meter,
) -> Result<Trained, Error> {
    let mut progress = Progress::new(prepared.step_noun());
    prepared.fit(start, &Rhythm::start(), &mut |event| {
        // Opened anew each time: whoever took the privilege away, or dropped the table, is heard.
        let table = ModelTable::open_to_write(model, Privilege::Train)?;
        match event {
            Event::Step(step) => {
                meter.note(&mut run.info.lineage);
                run.step(&table, step.step, progress.tell(&step))?;
            }
            Event::Checkpoint(bytes) => run.keep(&table, (*bytes).as_ref())?,
        }
        drop(table);
        procedure.commit();
        Ok(())
    })
}
