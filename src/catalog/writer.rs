//! The only way rows of a model are written.

use pgrx::datum::DatumWithOid;
use pgrx::spi::{Spi, SpiError};
use pgrx::{FromDatum, IntoDatum, JsonB};
use serde_json::Value;

use crate::bridge::identity::{PinnedSearchPath, RestrictedIdentity};
use crate::bridge::snapshot::PushedSnapshot;
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
    /// reads see what those transactions left.
    pub fn open(table: &'t ModelTable) -> Self {
        ModelTable::lock_to_write(table.oid());
        let owner = RestrictedIdentity::enter(table.owner());
        let path = PinnedSearchPath::enter();
        Self {
            table,
            target: table.name(),
            _snapshot: PushedSnapshot::of_transaction(),
            _path: path,
            _owner: owner,
        }
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

    /// The number of a version that is yet to come.
    pub fn next_version(&self) -> Result<i32, Error> {
        self.get::<i32>("SELECT coalesce(max(version), 0) + 1 FROM ONLY {model}", &[])?
            .ok_or_else(|| Error::Internal("no next version".to_owned()))
    }
}
