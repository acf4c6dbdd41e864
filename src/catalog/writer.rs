//! The only way rows of a model are written.

use pgrx::datum::DatumWithOid;
use pgrx::spi::Spi;
use pgrx::{FromDatum, IntoDatum, JsonB, pg_sys};
use serde_json::Value;

use crate::bridge::identity::{PinnedSearchPath, RestrictedIdentity};
use crate::bridge::snapshot::PushedSnapshot;
use crate::catalog::model_table::ModelTable;
use crate::error::Error;

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
        // SAFETY: the table is open, so it exists. The lock conflicts with itself alone.
        unsafe {
            pg_sys::LockRelationOid(
                table.oid(),
                pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE,
            );
        }
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

    /// The one value that such a statement returns.
    pub fn get<T: FromDatum + IntoDatum>(
        &self,
        statement: &str,
        arguments: &[DatumWithOid],
    ) -> Result<Option<T>, Error> {
        Ok(Spi::get_one_with_args(&statement.replace("{model}", &self.target), arguments)?)
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
}
