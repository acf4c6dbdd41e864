//! Which files leave: those that no statement can ask for any more, leftovers, and beyond
//! `teller.shared_cache_size` those used least recently.
//!
//! Removing a file is always safe: mappings keep what they hold, and whoever still needs the
//! numbers builds the file again.

use std::cell::Cell;
use std::fs;
use std::time::SystemTime;

use pgrx::pg_sys;

use crate::bridge::snapshot::{self, PushedSnapshot};
use crate::cache::shared::draft;
use crate::cache::shared::identity::{FOLDER, Identity, Kind, Name};
use crate::catalog::model_table::{ModelTable, RowIdentity};

/// Microseconds between two cleanings by a backend that finds its models in its own cache.
const EVERY: i64 = 60_000_000;

thread_local! {
    static LAST: Cell<i64> = const { Cell::new(0) };
}

/// Cleans if this backend has not done so for a minute.
pub fn tidy_now_and_then() {
    if snapshot::statement_start() - LAST.get() >= EVERY {
        tidy(None);
    }
}

/// Removes what nobody can ask for. Of the table at hand that includes versions that are out of
/// production, except the one at hand; other tables are not opened, since that would lock them.
pub(super) fn tidy(current: Option<(&ModelTable, &Identity)>) {
    LAST.set(snapshot::statement_start());
    for (name, kind) in entries() {
        let path = name.path(kind);
        // What cannot be removed now is tried again by the next one.
        let _ = match kind {
            Kind::Draft => draft::remove_leftover(&path),
            Kind::Marker if !name.path(Kind::Numbers).exists() => fs::remove_file(path),
            Kind::Numbers if is_needless(&name, current) => fs::remove_file(path),
            _ => Ok(()),
        };
    }
}

/// Removes the files used least recently, until `needed` more bytes fit `limit`.
pub(super) fn make_room(needed: u64, limit: u64) {
    let mut files: Vec<(SystemTime, u64, Name)> = entries()
        .filter(|(_, kind)| *kind == Kind::Numbers)
        .filter_map(|(name, _)| {
            let numbers = fs::metadata(name.path(Kind::Numbers)).ok()?;
            let marker = fs::metadata(name.path(Kind::Marker));
            let used = marker.as_ref().unwrap_or(&numbers).modified().ok()?;
            Some((used, numbers.len(), name))
        })
        .collect();
    files.sort_by_key(|(used, _, _)| *used);
    let mut total = files.iter().fold(needed, |sum, (_, len, _)| sum.saturating_add(*len));
    for (_, len, name) in files {
        if total <= limit {
            return;
        }
        if fs::remove_file(name.path(Kind::Numbers)).is_ok() {
            let _ = fs::remove_file(name.path(Kind::Marker));
            total -= len;
        }
    }
}

/// Our files; names that are not ours are left alone.
fn entries() -> impl Iterator<Item = (Name, Kind)> {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    entries.filter_map(|entry| Name::parse(entry.file_name().to_str()?))
}

fn is_needless(name: &Name, current: Option<(&ModelTable, &Identity)>) -> bool {
    // SAFETY: set once, when the backend connected to its database.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    if name.database != database {
        return !exists(pg_sys::SysCacheIdentifier::DATABASEOID, name.database);
    }
    if !exists(pg_sys::SysCacheIdentifier::RELOID, name.table) {
        return true;
    }
    match current {
        Some((table, identity)) if table.oid().to_u32() == name.table => {
            // An equal version under another identity: the table was rewritten.
            *name != identity.name
                && (name.version == identity.name.version || is_superseded(table, name.version))
        }
        _ => false,
    }
}

fn exists(cache: pg_sys::SysCacheIdentifier::Type, oid: u32) -> bool {
    let none = pg_sys::Datum::null();
    let key = pg_sys::Oid::from(oid).into();
    // SAFETY: a look-up in a system cache whose only key is an oid.
    unsafe { pg_sys::SearchSysCacheExists(cache as i32, key, none, none, none) }
}

/// Whether no statement that runs by now finds `version` in production.
fn is_superseded(table: &ModelTable, version: i32) -> bool {
    let Some(_latest) = PushedSnapshot::latest() else { return false };
    let read: Result<Option<(Option<String>, RowIdentity)>, _> =
        table.manifest(version, |row| Ok((row.status(), row.identity())));
    match read {
        Ok(None) => true,
        Ok(Some((status, row))) => {
            !matches!(status.as_deref(), Some("production" | "candidate")) && table.seen_by_all(row)
        }
        Err(_) => false,
    }
}
