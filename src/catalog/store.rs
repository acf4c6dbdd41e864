//! Storing a model: its table, and a trained version in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Arc;

use pgrx::pg_sys;
use pgrx::spi::Spi;
use serde_json::{Value, json};
use teller_payload::{AlignedBytes, SharedBytes};

use crate::cache::Parts;
use crate::catalog::audit::{self, Action};
use crate::catalog::digest::digest_of;
use crate::catalog::life::{Change, status};
use crate::catalog::manifest::{GATE, Manifest, Part};
use crate::catalog::model_table::{ModelTable, Privilege};
use crate::catalog::name::TableName;
use crate::catalog::writer::Writer;
use crate::error::Error;

/// The part under which a training's steps are stored.
pub const LOG: &CStr = c"log";

/// The part under which a classifier's answers to the images kept apart are counted.
pub const CONFUSION: &CStr = c"confusion";

/// Finds the model `name`, or creates its table, and checks that the caller may train it.
pub fn find_or_create(name: &str) -> Result<ModelTable, Error> {
    let table_name = TableName::parse(name)?;
    let oid = match table_name.find() {
        Some(oid) => oid,
        None => create(&table_name)?,
    };
    ModelTable::open(oid, Privilege::Train)
}

fn create(name: &TableName) -> Result<pg_sys::Oid, Error> {
    let (schema, table) = name.creation_target();
    let query = "SELECT teller.create_model_table($1, $2)::oid";
    Spi::get_one_with_args::<pg_sys::Oid>(query, &[schema.into(), table.into()])?
        .ok_or_else(|| Error::Internal("no table was made".to_owned()))
}

/// The numbers of a trained version, ready to be stored.
pub struct TrainedVersion {
    /// Payloads by part.
    pub parts: Vec<(Cow<'static, str>, Arc<AlignedBytes>)>,
    /// What else is told of it, by part, a row of JSON each; the digest is not over them.
    pub records: Vec<(&'static CStr, Vec<Value>)>,
}

impl TrainedVersion {
    /// The parts as a model takes them.
    pub fn shared_parts(&self) -> Parts {
        let share = |(name, payload): &(Cow<'_, str>, Arc<AlignedBytes>)| {
            (name.clone().into_owned(), payload.clone() as SharedBytes)
        };
        self.parts.iter().map(share).collect()
    }

    /// Adds all rows save the manifest.
    pub fn insert(self, writer: &Writer, version: i32) -> Result<(), Error> {
        for (part, payload) in &self.parts {
            writer.insert_part(version, part, payload)?;
        }
        for (part, records) in self.records {
            let part = part.to_string_lossy();
            for (chunk, record) in (1..).zip(records) {
                writer.insert(version, &part, chunk, None, Some(record), None)?;
            }
        }
        Ok(())
    }

    /// Lengths and digests of the parts, and the digest over all.
    pub fn describe(&self) -> (BTreeMap<String, Part>, String) {
        digest_of(self.parts.iter().map(|(name, payload)| (&**name, &***payload)))
    }
}

/// Stores a version and returns its number and status.
///
/// With `promote` it goes into production if the caller may promote; else it is a candidate.
pub fn store(
    table: &ModelTable,
    version: TrainedVersion,
    manifest: &Manifest,
    promote: bool,
) -> Result<(i32, &'static str), Error> {
    let promote = promote && table.permits(Privilege::Promote);
    let writer = Writer::open(table)?;
    let number = writer.next_version()?;
    version.insert(&writer, number)?;
    // The manifest comes last: from then on the guard lets nobody add to the version.
    let info =
        serde_json::to_value(manifest).map_err(|error| Error::Internal(error.to_string()))?;
    writer.insert(number, "", 0, Some(status::CANDIDATE), Some(info), None)?;
    Ok((number, conclude(&writer, number, manifest, promote)?))
}

/// Audits a version that is stored, puts it into production if it is to go there, and returns its
/// status.
pub fn conclude(
    writer: &Writer,
    version: i32,
    manifest: &Manifest,
    promote: bool,
) -> Result<&'static str, Error> {
    let table = writer.table;
    let detail = json!({"digest": manifest.digest, "rows": manifest.lineage.rows});
    audit::append(table, Action::Train, None, Some(version), Some(detail))?;
    if manifest.gate_failed() {
        let figures = manifest.metrics.get(GATE).cloned();
        audit::append(table, Action::FailedGate, None, Some(version), figures)?;
    }
    if !promote {
        return Ok(status::CANDIDATE);
    }
    writer.put_into_production(version, Change::Promote)?;
    Ok(status::PRODUCTION)
}
