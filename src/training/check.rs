//! Training a version again to see whether it becomes the same.

use pgrx::pg_sys;

use crate::bridge::identity;
use crate::bridge::rhythm::Rhythm;
use crate::bridge::sandbox::Reader;
use crate::bridge::workers::Event;
use crate::catalog::life::{status, status_of};
use crate::catalog::manifest::Definition;
use crate::catalog::model_table::{ModelTable, Privilege};
use crate::catalog::version::{Version, Wanted};
use crate::error::Error;
use crate::training::Plan;
use crate::training::progress::Progress;
use crate::training::start::Trainee;

/// How a second training compares with the stored version.
pub struct Comparison {
    /// Whether all numbers are the same, bit by bit.
    pub same: bool,
    /// Whether the query gave the same rows in the same order; 0.1.0 did not note them.
    pub same_rows: Option<bool>,
    /// The digest of the stored version.
    pub stored: String,
    /// The digest of the second training.
    pub trained: String,
}

/// Trains `version` again from its definition, in the name of the model's owner, and stores
/// nothing.
pub fn retrain_check(model: pg_sys::Oid, version: i32) -> Result<Comparison, Error> {
    let table = ModelTable::open(model, Privilege::Read)?;
    let manifest = Version::find(&table, Wanted::Number(version))?.manifest(&table)?;
    if manifest.lineage.folded_in.is_some() {
        return Err(Error::FoldedIn { model: table.name(), version });
    }
    // A candidate's query was approved by nobody who may.
    if status_of(&table, version)? == status::CANDIDATE
        && !identity::has_privileges_of(table.owner())
    {
        return Err(Error::OwnersCheck { model: table.name(), version });
    }
    let mut definition = manifest.definition;
    let Definition { search_path, settings, .. } = definition.clone();
    let reader =
        Reader::Stored { role: table.owner(), search_path: &search_path, settings: &settings };
    let plan = Plan::read(&mut definition, Trainee { model: Some(model), reader })?;
    let (prepared, rows) = plan.prepare(&definition.data, reader)?;
    let mut progress = Progress::new(prepared.step_noun());
    let trained = prepared.fit(None, &Rhythm::never(), &mut |event| {
        if let Event::Step(step) = event {
            progress.tell(&step);
        }
        Ok(())
    })?;
    let (_, digest) = trained.version.describe();
    Ok(Comparison {
        same: digest == manifest.digest,
        same_rows: manifest.lineage.rows_digest.map(|stored| stored == rows.digest),
        stored: manifest.digest,
        trained: digest,
    })
}
