//! `fold_in`: new interactions in a recommender, without training it again.

use pgrx::pg_sys;
use serde_json::Value;
use teller_numeric::Options;

use crate::bridge::rhythm::Rhythm;
use crate::bridge::sandbox::Reader;
use crate::bridge::transaction::refuse_read_only;
use crate::bridge::workers;
use crate::cache;
use crate::catalog::data::Query;
use crate::catalog::digest::digest_of;
use crate::catalog::manifest::{Definition, Manifest, StartPoint};
use crate::catalog::model_table::{ModelTable, Privilege};
use crate::catalog::store::{self, TrainedVersion};
use crate::catalog::version::{Version, Wanted};
use crate::catalog::writer::Writer;
use crate::error::Error;
use crate::settings;
use crate::training::promotion::Promotion;
use crate::training::train::Outcome;
use crate::training::{Meter, metrics, recommendation};

/// Makes a version of the one in production that knows the interactions of the caller's query too.
///
/// It keeps the definition of the version that it comes from, so that training the model again is
/// training it on everything: whoever trains is not whose query is run in the owner's name.
pub fn fold_in(model: pg_sys::Oid, data: &str, options: &Value) -> Result<Outcome, Error> {
    let meter = Meter::start();
    refuse_read_only(c"teller.fold_in");
    let mut options = Options::new("fold_in", options)?;
    let promotion = Promotion::read(&mut options)?;
    options.finish()?;
    // Whoever may train may learn from a version of his own model what it has learned.
    let table = ModelTable::open(model, Privilege::Train)?;
    let parent = Version::find(&table, Wanted::Production)?;
    let Manifest { definition, lineage, algorithm, model: info, digest, .. } =
        parent.manifest(&table)?;
    let loaded = cache::of_version(&table, &parent)?;
    let recommender = loaded.recommender()?;
    let limit = settings::max_training_memory();
    let query = Query { text: data, reader: Reader::Caller };
    let (interactions, rows) = recommendation::read_interactions(query, limit)?;
    let needed = recommender.fold_in_memory(&interactions);
    if needed > limit {
        let what = format!("{} interactions beside those of the version", interactions.len());
        return Err(Error::TrainingMemory { what, needed, limit, fits: None });
    }
    let own_digest = digest_of(recommender.parts()).1;
    let fitted = workers::run(
        settings::threads(),
        &Rhythm::never(),
        |control| recommender.fold_in(&interactions, control),
        |_| Ok(()),
    )??;
    // What then looks like damage in the table is none.
    cache::refuse_lost()?;
    if own_digest != digest {
        let what = "its numbers are not those of its digest";
        return Err(Error::damaged(&table, Some(parent.number), what));
    }
    let version = TrainedVersion { parts: fitted.parts, records: Vec::new() };
    let (parts, new_digest) = version.describe();
    let start_from = Some(StartPoint { model: None, version: parent.number, digest });
    let mut new = meter.lineage_of(lineage.seed, rows);
    new.folded_in = Some(data.to_owned());
    meter.note(&mut new);
    let mut manifest = Manifest {
        definition: Definition { start_from, ..definition },
        lineage: new,
        algorithm,
        model: info,
        metrics: metrics(fitted.metrics.iter().copied()),
        parts,
        digest: new_digest,
    };
    let promote = promotion.decide(&table, &version, &mut manifest, Reader::Caller)?;
    refuse_if_overtaken(&table, &parent)?;
    let (number, status) = store::store(&table, version, &manifest, promote)?;
    Ok(Outcome {
        model: table.oid(),
        version: number,
        status,
        metrics: Value::Object(manifest.metrics),
    })
}

/// Waits for others who write the model. What they put into production since knows interactions
/// that this version would lack.
fn refuse_if_overtaken(table: &ModelTable, parent: &Version) -> Result<(), Error> {
    let _writer = Writer::open(table)?;
    match Version::find(table, Wanted::Production)? {
        found if found.number == parent.number => Ok(()),
        _ => Err(Error::Overtaken { model: table.name() }),
    }
}
