//! Writing a model: its table, and a trained version in it.

use std::collections::BTreeMap;
use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::spi::Spi;
use sha2::{Digest, Sha256};
use teller_payload::AlignedBytes;

use crate::bridge::identity::{PinnedSearchPath, RestrictedIdentity};
use crate::catalog::manifest::{Manifest, Part};
use crate::catalog::model_table::{ModelTable, Privilege};
use crate::catalog::name::TableName;
use crate::error::Error;

/// A part is stored in rows of this many bytes; values end at 1 GB, and small ones stream.
const CHUNK_BYTES: usize = 1 << 20;

/// The part under which a training's steps are stored.
pub const LOG: &CStr = c"log";

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

/// The numbers and the log of a trained version, ready to be stored.
pub struct TrainedVersion {
    /// Payloads by part.
    pub parts: Vec<(&'static str, AlignedBytes)>,
    /// What the steps reported, in order.
    pub log: Vec<serde_json::Value>,
}

impl TrainedVersion {
    /// Lengths and digests of the parts, and the digest over all.
    pub fn describe(&self) -> (BTreeMap<String, Part>, String) {
        let parts: BTreeMap<String, Part> = self
            .parts
            .iter()
            .map(|(name, payload)| {
                let sha256 = hex(&Sha256::digest(&**payload));
                ((*name).to_owned(), Part { bytes: payload.len() as u64, sha256 })
            })
            .collect();
        let mut all = Sha256::new();
        for (name, part) in &parts {
            all.update(format!("{name} {}\n", part.sha256));
        }
        (parts, hex(&all.finalize()))
    }
}

/// Stores a version and returns its number and status.
///
/// It goes into production when the caller may promote; the version in production before it is
/// archived. The rows are written as the table's owner, because the table's triggers, defaults
/// and index expressions are the owner's and run as whoever writes.
pub fn store(
    table: &ModelTable,
    version: &TrainedVersion,
    manifest: &Manifest,
) -> Result<(i32, &'static str), Error> {
    let promote = table.permits(Privilege::Promote);
    let status = if promote { "production" } else { "candidate" };
    let target = table.name();
    // SAFETY: the table is open, so it exists. The lock conflicts with itself alone: one trainer
    // at a time stores, readers and promotions go on.
    unsafe {
        pg_sys::LockRelationOid(table.oid(), pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE);
    }
    let _owner = RestrictedIdentity::enter(table.owner());
    let _path = PinnedSearchPath::enter();
    let number =
        Spi::get_one::<i32>(&format!("SELECT coalesce(max(version), 0) + 1 FROM ONLY {target}"))?
            .ok_or_else(|| Error::Internal("no next version".to_owned()))?;
    let insert = Insert::new(&target, number);
    for (part, payload) in &version.parts {
        for (chunk, bytes) in (0..).zip(payload.chunks(CHUNK_BYTES)) {
            pgrx::check_for_interrupts!();
            insert.row(part, chunk, None, None, Some(bytes))?;
        }
    }
    for (chunk, step) in (1..).zip(&version.log) {
        insert.row(&LOG.to_string_lossy(), chunk, None, Some(step.clone()), None)?;
    }
    if promote {
        Spi::run(&format!(
            "UPDATE ONLY {target} SET status = 'archived' WHERE part = '' AND status = 'production'"
        ))?;
    }
    // The manifest comes last: from then on the guard lets nobody add to the version.
    let info =
        serde_json::to_value(manifest).map_err(|error| Error::Internal(error.to_string()))?;
    insert.row("", 0, Some(status), Some(info), None)?;
    Ok((number, status))
}

struct Insert {
    statement: String,
    version: i32,
}

impl Insert {
    fn new(target: &str, version: i32) -> Self {
        let statement = format!(
            "INSERT INTO {target} (version, part, chunk, status, info, payload) \
             VALUES ($1, $2, $3, $4, $5, $6)"
        );
        Self { statement, version }
    }

    fn row(
        &self,
        part: &str,
        chunk: i32,
        status: Option<&str>,
        info: Option<serde_json::Value>,
        payload: Option<&[u8]>,
    ) -> Result<(), Error> {
        let arguments = [
            self.version.into(),
            part.into(),
            chunk.into(),
            status.into(),
            info.map(pgrx::JsonB).into(),
            payload.into(),
        ];
        Spi::run_with_args(&self.statement, &arguments)?;
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
