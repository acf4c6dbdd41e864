//! The only way rows of a model are written.

use pgrx::datum::DatumWithOid;
use pgrx::spi::{Spi, SpiError};
use pgrx::{FromDatum, IntoDatum, JsonB};
use serde_json::Value;

use crate::bridge::identity::{PinnedSearchPath, RestrictedIdentity};
use crate::bridge::snapshot::PushedSnapshot;
use crate::bridge::transaction::keeps_its_snapshot;
use crate::catalog::life::{HISTORY_VERSION, RETIRED};
use crate::catalog::model_table::ModelTable;
use crate::error::Error;

/// A part is stored in rows of this many bytes; values end at 1 GB, and small ones stream.
const CHUNK_BYTES: usize = 1 << 20;

/// Writes rows of a model whose caller's privileges were checked.
///
/// The rows are written as the table's owner, because the table's triggers, defaults and index
/// expressions are the owner's and run as whoever writes.
pub struct Writer<'t> {
    /// The model.
    pub table: &'t ModelTable,
    target: String,
    // Dropped in this order.
    _snapshot: PushedSnapshot,
    _path: PinnedSearchPath,
    _owner: RestrictedIdentity,
}

impl<'t> Writer<'t> {
    /// Waits until no other transaction writes the model; readers go on. While the writer lives,
    /// reads see what those transactions left. A transaction that keeps to the snapshot of its
    /// start fails if they changed a version since.
    pub fn open(table: &'t ModelTable) -> Result<Self, Error> {
        ModelTable::lock_to_write(table.oid());
        let owner = RestrictedIdentity::enter(table.owner());
        let path = PinnedSearchPath::enter();
        let snapshot = PushedSnapshot::of_transaction();
        if keeps_its_snapshot() {
            let manifests = || table.manifests(|row| Ok(row.identity()));
            let seen = manifests()?;
            let _latest = PushedSnapshot::latest();
            if seen != manifests()? {
                return Err(Error::Overtaken { model: table.name() });
            }
        }
        Ok(Self { table, target: table.name(), _snapshot: snapshot, _path: path, _owner: owner })
    }

    /// Runs a statement in which `{model}` stands for the table.
    pub fn run(&self, statement: &str, arguments: &[DatumWithOid]) -> Result<(), Error> {
        Ok(Spi::run_with_args(&statement.replace("{model}", &self.target), arguments)?)
    }

    /// The first value that such a statement returns, if it returns a row.
    pub fn get<T: FromDatum + IntoDatum>(
        &self,
        statement: &str,
        arguments: &[DatumWithOid],
    ) -> Result<Option<T>, Error> {
        match Spi::get_one_with_args(&statement.replace("{model}", &self.target), arguments) {
            Err(SpiError::InvalidPosition) => Ok(None),
            value => Ok(value?),
        }
    }

    /// Adds a row.
    pub fn insert(
        &self,
        version: i32,
        part: &str,
        chunk: i32,
        status: Option<&str>,
        info: Option<Value>,
        payload: Option<&[u8]>,
    ) -> Result<(), Error> {
        self.run(
            "INSERT INTO {model} (version, part, chunk, status, info, payload) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                version.into(),
                part.into(),
                chunk.into(),
                status.into(),
                info.map(JsonB).into(),
                payload.into(),
            ],
        )
    }

    /// Adds the numbers of a part.
    pub fn insert_part(&self, version: i32, part: &str, payload: &[u8]) -> Result<(), Error> {
        for (chunk, bytes) in (0..).zip(payload.chunks(CHUNK_BYTES)) {
            pgrx::check_for_interrupts!();
            self.insert(version, part, chunk, None, None, Some(bytes))?;
        }
        Ok(())
    }

    /// The number of a version that is yet to come: one that no version ever had.
    pub fn next_version(&self) -> Result<i32, Error> {
        let highest =
            "SELECT greatest(max(version), max(chunk) FILTER (WHERE version = $1 AND part = $2), 0)
            FROM ONLY {model}";
        let retired = [HISTORY_VERSION.into(), (*RETIRED.to_string_lossy()).into()];
        let highest = self.get::<i32>(highest, &retired)?.unwrap_or(0);
        highest.checked_add(1).ok_or_else(|| Error::Internal("no version is left".to_owned()))
    }
}
