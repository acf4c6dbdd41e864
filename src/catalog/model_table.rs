//! A model's table: found, checked, and read row by row.
//!
//! Rows are read by a system scan under the active snapshot: it checks no privileges (ours are
//! checked here, by column), runs nobody's code, takes no transaction id, and so works for roles
//! that may only run the model, in parallel workers and on a standby.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use pgrx::pg_sys;

use crate::bridge::{identity, json};
use crate::catalog::model_type::model_type;
use crate::catalog::name::table_name;
use crate::error::Error;

mod indexes;

/// Columns of `teller.model`, by attribute number.
mod column {
    pub(super) const VERSION: i16 = 1;
    pub(super) const PART: i16 = 2;
    pub(super) const CHUNK: i16 = 3;
    pub(super) const STATUS: i16 = 4;
    pub(super) const INFO: i16 = 5;
    pub(super) const PAYLOAD: i16 = 6;
    pub(super) const COUNT: i32 = 6;
}

/// What a role may do with a model, and the table privilege that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Run it: `SELECT` on the column `version`.
    Run,
    /// Read its numbers and its training query: `SELECT` on the table.
    Read,
    /// Train a version: `INSERT`.
    Train,
    /// Change which version is in production: `UPDATE`.
    Promote,
    /// Delete a version: `DELETE`.
    Retire,
}

impl Privilege {
    /// The privilege in the words of SQL.
    pub fn grant(self) -> &'static str {
        match self {
            Self::Run => "SELECT (version)",
            Self::Read => "SELECT",
            Self::Train => "INSERT",
            Self::Promote => "UPDATE",
            Self::Retire => "DELETE",
        }
    }
}

/// An open model table. The lock on it is kept until the transaction ends.
pub struct ModelTable {
    relation: pg_sys::Relation,
    oid: pg_sys::Oid,
}

impl ModelTable {
    /// Opens the table `oid` and checks that it is a model and that the current user may do
    /// `privilege` with it.
    pub fn open(oid: pg_sys::Oid, privilege: Privilege) -> Result<Self, Error> {
        let table = Self::open_unchecked(oid)?;
        if !table.permits(privilege) {
            return Err(Error::Permission { model: table.name(), privilege });
        }
        Ok(table)
    }

    /// As [`ModelTable::open`], when no other transaction writes the model. Taking the lock before
    /// any other on the table cannot end in a deadlock.
    pub fn open_to_write(oid: pg_sys::Oid, privilege: Privilege) -> Result<Self, Error> {
        Self::lock_to_write(oid);
        Self::open(oid, privilege)
    }

    /// Waits until no other transaction writes the model; readers go on. The lock conflicts with
    /// itself alone, and with changes of the table.
    pub fn lock_to_write(oid: pg_sys::Oid) {
        // SAFETY: waits for a lock, which needs no table.
        unsafe {
            pg_sys::LockRelationOid(oid, pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE);
        }
    }

    /// As [`ModelTable::open`], for callers that check privileges themselves.
    pub fn open_unchecked(oid: pg_sys::Oid) -> Result<Self, Error> {
        // SAFETY: called inside a transaction, as the caches require. The opening returns NULL for
        // a table that is gone; the relation is closed by drop.
        let relation = unsafe {
            // A table that this transaction has locked already is opened again without hearing of
            // a REVOKE.
            pg_sys::AcceptInvalidationMessages();
            pg_sys::try_relation_open(oid, pg_sys::AccessShareLock as pg_sys::LOCKMODE)
        };
        if relation.is_null() {
            return Err(Error::UnknownModel { name: oid.to_u32().to_string() });
        }
        let table = Self { relation, oid };
        // SAFETY: rd_rel is valid while the relation is open.
        let class = unsafe { &*(*relation).rd_rel };
        if class.relkind != pg_sys::RELKIND_RELATION as i8 || Some(class.reloftype) != model_type()
        {
            return Err(Error::NotAModel { name: table.name() });
        }
        if class.relrowsecurity {
            return Err(Error::RowSecurity { model: table.name() });
        }
        // PostgreSQL would find that out in the middle of reading, and one such model would keep
        // all from listing the others.
        if class.relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP
            // SAFETY: the relation is open.
            && !unsafe { (*table.relation).rd_islocaltemp }
        {
            let why = "it is a temporary table of another session";
            return Err(Error::OutOfReach { model: table.name(), why });
        }
        if class.relpersistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED
            // SAFETY: reads a state of the server.
            && unsafe { pg_sys::RecoveryInProgress() }
        {
            let why = "the table is unlogged, and this server is a standby";
            return Err(Error::OutOfReach { model: table.name(), why });
        }
        Ok(table)
    }

    /// The table's number.
    pub fn oid(&self) -> pg_sys::Oid {
        self.oid
    }

    /// The numbers of the tablespace and the file that hold the rows; a rewrite changes them.
    pub fn storage(&self) -> [u32; 2] {
        // SAFETY: rd_node is valid while the relation is open.
        let node = unsafe { (*self.relation).rd_node };
        [node.spcNode.to_u32(), node.relNode.to_u32()]
    }

    /// Whether every statement that runs by now sees what the transaction that wrote `row` did.
    pub fn seen_by_all(&self, row: RowIdentity) -> bool {
        // SAFETY: the relation is open; the comparison only computes.
        unsafe {
            let horizon = pg_sys::GetOldestNonRemovableTransactionId(self.relation);
            pg_sys::TransactionIdPrecedes(row.xmin.into(), horizon)
        }
    }

    /// The table's name with its schema, for messages.
    pub fn name(&self) -> String {
        table_name(self.oid)
    }

    /// The role that owns the model.
    pub fn owner(&self) -> pg_sys::Oid {
        // SAFETY: rd_rel is valid while the relation is open.
        unsafe { (*(*self.relation).rd_rel).relowner }
    }

    /// Whether the current user may do `privilege` with the model.
    pub fn permits(&self, privilege: Privilege) -> bool {
        let user = identity::current_user();
        let on_table = |mode: u32| {
            // SAFETY: a look-up in the system caches.
            unsafe {
                pg_sys::pg_class_aclcheck(self.oid, user, pg_sys::AclMode::from(mode))
                    == pg_sys::AclResult::ACLCHECK_OK
            }
        };
        match privilege {
            Privilege::Read => on_table(pg_sys::ACL_SELECT),
            Privilege::Train => on_table(pg_sys::ACL_INSERT),
            Privilege::Promote => on_table(pg_sys::ACL_UPDATE),
            Privilege::Retire => on_table(pg_sys::ACL_DELETE),
            Privilege::Run => {
                let on_column = || {
                    // SAFETY: a look-up in the system caches.
                    let answer = unsafe {
                        pg_sys::pg_attribute_aclcheck(
                            self.oid,
                            column::VERSION,
                            user,
                            pg_sys::AclMode::from(pg_sys::ACL_SELECT),
                        )
                    };
                    answer == pg_sys::AclResult::ACLCHECK_OK
                };
                // First what an owner has, then what others are given: each look-up takes a while.
                (user == self.owner() && on_table(pg_sys::ACL_SELECT))
                    || on_column()
                    || on_table(pg_sys::ACL_SELECT)
            }
        }
    }

    /// Calls `row` for the manifest in production, if there is one.
    pub fn production<T>(
        &self,
        mut row: impl FnMut(Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let status = ScanKey::text(column::STATUS, c"production");
        // SAFETY: the relation is open.
        if let Some(index) = unsafe { indexes::production(self.relation) }
            && let Some(found) = self.first_manifest(index, &mut [status], &mut row)?
        {
            return Ok(Some(found));
        }
        // Nothing holds the owner to the index that was made for this: one of his may lack rows, or
        // there is none, and then there may be two in production.
        let mut keys =
            [ScanKey::text(column::PART, c""), ScanKey::text(column::STATUS, c"production")];
        let mut found = self.collect(pg_sys::Oid::INVALID, &mut keys, row)?;
        if found.len() > 1 {
            return Err(Error::damaged(self, None, "several versions are in production"));
        }
        Ok(found.pop())
    }

    /// Calls `row` for the manifest of `version`, if there is one.
    pub fn manifest<T>(
        &self,
        version: i32,
        row: impl FnMut(Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut keys =
            [ScanKey::integer(column::VERSION, version), ScanKey::text(column::PART, c"")];
        self.first_manifest(self.key()?, &mut keys, row)
    }

    /// Calls `row` for all manifests.
    pub fn manifests<T>(&self, row: impl FnMut(Row) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        self.all_of_part(c"", row)
    }

    /// Calls `row` for the rows of one part of a version, in the order of their chunks.
    pub fn part<T>(
        &self,
        version: i32,
        part: &CStr,
        row: impl FnMut(Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut keys =
            [ScanKey::integer(column::VERSION, version), ScanKey::text(column::PART, part)];
        self.collect(self.key()?, &mut keys, row)
    }

    /// Calls `row` for the rows of one part in all versions.
    pub fn all_of_part<T>(
        &self,
        part: &CStr,
        row: impl FnMut(Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut keys = [ScanKey::text(column::PART, part)];
        self.collect(pg_sys::Oid::INVALID, &mut keys, row)
    }

    fn collect<T>(
        &self,
        index: pg_sys::Oid,
        keys: &mut [ScanKey],
        mut row: impl FnMut(Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut rows = Vec::new();
        self.scan::<()>(index, keys, |found| {
            rows.push(row(found)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(rows)
    }

    fn first_manifest<T>(
        &self,
        index: pg_sys::Oid,
        keys: &mut [ScanKey],
        mut row: impl FnMut(Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.scan(index, keys, |found| match found.is_manifest() {
            true => row(found).map(ControlFlow::Break),
            false => Ok(ControlFlow::Continue(())),
        })
    }

    /// Calls `row` for the rows that match the keys, until it breaks off.
    fn scan<T>(
        &self,
        index: pg_sys::Oid,
        keys: &mut [ScanKey],
        mut row: impl FnMut(Row) -> Result<ControlFlow<T>, Error>,
    ) -> Result<Option<T>, Error> {
        // SAFETY: the relation is open; the scan is closed by the guard, and on an error that
        // PostgreSQL raises by its abort. The active snapshot is passed because NULL would mean
        // the catalog's.
        unsafe {
            let scan = Scan(pg_sys::systable_beginscan(
                self.relation,
                index,
                index != pg_sys::Oid::INVALID,
                pg_sys::GetActiveSnapshot(),
                keys.len() as i32,
                keys.as_mut_ptr().cast(),
            ));
            let descriptor = (*self.relation).rd_att;
            if (*descriptor).natts < column::COUNT {
                return Err(Error::NotAModel { name: self.name() });
            }
            loop {
                let tuple = pg_sys::systable_getnext(scan.0);
                if tuple.is_null() {
                    return Ok(None);
                }
                let found = Row { tuple, descriptor, scan: PhantomData };
                if let ControlFlow::Break(item) = row(found)? {
                    return Ok(Some(item));
                }
            }
        }
    }

    fn key(&self) -> Result<pg_sys::Oid, Error> {
        // SAFETY: the relation is open.
        let key = unsafe { indexes::key(self.relation) };
        key.ok_or_else(|| Error::NoKey { model: self.name() })
    }
}

impl Drop for ModelTable {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened by `open_unchecked`; the lock is kept until the transaction ends.
            unsafe {
                pg_sys::relation_close(self.relation, pg_sys::NoLock as pg_sys::LOCKMODE);
            }
        }
    }
}

struct Scan(pg_sys::SysScanDesc);

impl Drop for Scan {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened by `collect`, closed once.
            unsafe { pg_sys::systable_endscan(self.0) };
        }
    }
}

#[repr(transparent)]
struct ScanKey(pg_sys::ScanKeyData);

impl ScanKey {
    fn integer(column: i16, value: i32) -> Self {
        Self::equal(column, pg_sys::F_INT4EQ, value.into())
    }

    fn text(column: i16, value: &CStr) -> Self {
        // SAFETY: copies the string into the current memory context, where it outlives the scan.
        let text = unsafe { pg_sys::cstring_to_text(value.as_ptr()) };
        Self::equal(column, pg_sys::F_TEXTEQ, text.into())
    }

    fn equal(column: i16, procedure: u32, value: pg_sys::Datum) -> Self {
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: fills in `key`; the procedures are built-in equality functions.
        unsafe {
            pg_sys::ScanKeyInit(
                &mut key,
                column,
                pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                procedure.into(),
                value,
            );
        }
        Self(key)
    }
}

/// One row of a model's table, valid while the scan stands on it.
pub struct Row<'a> {
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    scan: PhantomData<&'a Scan>,
}

impl Row<'_> {
    fn datum(&self, column: i16) -> Option<pg_sys::Datum> {
        let mut is_null = true;
        // SAFETY: the tuple and its descriptor are valid while the scan stands on it, and the scan
        // has checked that there are so many columns.
        let datum = unsafe {
            pg_sys::heap_getattr(self.tuple, column.into(), self.descriptor, &mut is_null)
        };
        (!is_null).then_some(datum)
    }

    /// Whether the row is a manifest: its part is the empty text.
    fn is_manifest(&self) -> bool {
        // SAFETY: the column's type is text; its length is read without fetching it.
        self.datum(column::PART)
            .is_some_and(|part| unsafe { pg_sys::toast_raw_datum_size(part) } == pg_sys::VARHDRSZ)
    }

    fn text(&self, column: i16) -> Option<String> {
        // SAFETY: the column's type is text.
        unsafe { pgrx::FromDatum::from_datum(self.datum(column)?, false) }
    }

    /// The version that the row belongs to.
    pub fn version(&self) -> Option<i32> {
        self.datum(column::VERSION).map(|datum| datum.value() as i32)
    }

    /// The chunk's number within its part.
    pub fn chunk(&self) -> Option<i32> {
        self.datum(column::CHUNK).map(|datum| datum.value() as i32)
    }

    /// A manifest's status.
    pub fn status(&self) -> Option<String> {
        self.text(column::STATUS)
    }

    /// The JSON of a manifest or a log row. What PostgreSQL can store and we cannot read, such as
    /// a thousand nested arrays or 1e400, is none.
    pub fn info(&self) -> Option<serde_json::Value> {
        // SAFETY: the column's type is jsonb.
        unsafe { json::value(self.datum(column::INFO)?) }.ok()
    }

    /// The length of the chunk's payload, read without fetching it.
    pub fn payload_len(&self) -> Option<usize> {
        let datum = self.datum(column::PAYLOAD)?;
        // SAFETY: the datum is a bytea, possibly a pointer to its toasted value.
        Some(unsafe { pg_sys::toast_raw_datum_size(datum) } - pg_sys::VARHDRSZ)
    }

    /// Fetches the chunk's payload, calls `read` with it, and frees it again.
    pub fn with_payload<T>(&self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let datum = self.datum(column::PAYLOAD)?;
        // SAFETY: the datum is a bytea; detoasting returns the datum itself or a fresh copy, and
        // only the copy is freed.
        unsafe {
            let toasted: *mut pg_sys::varlena = datum.cast_mut_ptr();
            let plain = pg_sys::pg_detoast_datum_packed(toasted);
            let result = read(pgrx::varlena::varlena_to_byte_slice(plain));
            if plain != toasted {
                pg_sys::pfree(plain.cast());
            }
            Some(result)
        }
    }

    /// What tells this row from every other that ever stood in the table.
    pub fn identity(&self) -> RowIdentity {
        // SAFETY: the tuple is valid while the scan stands on it.
        unsafe {
            let tuple = &*self.tuple;
            let header = &*tuple.t_data;
            let block = &tuple.t_self.ip_blkid;
            RowIdentity {
                xmin: header.t_choice.t_heap.t_xmin.into(),
                block: (u32::from(block.bi_hi) << 16) | u32::from(block.bi_lo),
                offset: tuple.t_self.ip_posid,
            }
        }
    }
}

/// The place of a row and the transaction that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowIdentity {
    xmin: u32,
    block: u32,
    offset: u16,
}

impl RowIdentity {
    /// The transaction, the block and the place in the block.
    pub fn numbers(self) -> [u32; 3] {
        [self.xmin, self.block, self.offset.into()]
    }

    /// Whether the running transaction wrote the row, and so may yet undo it.
    pub fn is_ours(self) -> bool {
        // SAFETY: a look-up in the backend's own memory; it knows a parallel worker's leader too.
        unsafe { pg_sys::TransactionIdIsCurrentTransactionId(self.xmin.into()) }
    }
}
