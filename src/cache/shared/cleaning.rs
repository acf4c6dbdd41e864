//! Which files leave: those that no statement can ask for any more, leftovers, and beyond
//! `teller.shared_cache_size` those used least recently.
//!
//! Removing a file is always safe: mappings keep what they hold, and whoever still needs the
//! numbers builds the file again.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, SystemTime};

use pgrx::pg_sys;

use crate::bridge::snapshot::{self, PushedSnapshot};
use crate::cache::shared::draft;
use crate::cache::shared::identity::{FOLDER, Identity, Kind, Name, TIDIED};
use crate::catalog::model_table::{ModelTable, RowIdentity};

/// Time between two cleanings, unless a file is built.
const EVERY: Duration = Duration::from_secs(60);

thread_local! {
    /// When this backend last looked whether to clean.
    static LOOKED: Cell<i64> = const { Cell::new(0) };
}

/// Cleans if no backend has done so for a minute.
pub fn tidy_now_and_then() {
    let now = snapshot::statement_start();
    if now - LOOKED.get() < EVERY.as_micros() as i64 {
        return;
    }
    LOOKED.set(now);
    let tidied = fs::metadata(TIDIED).and_then(|stamp| stamp.modified());
    // A date in the future is no reason to wait for it.
    if !tidied.is_ok_and(|date| date.elapsed().is_ok_and(|age| age < EVERY)) {
        tidy();
    }
}

/// Removes what is left of models and databases that are gone, and of builders that were killed.
pub(super) fn tidy() {
    // Where there is no folder there is nothing to clean.
    let _ = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(TIDIED)
        .and_then(|stamp| stamp.set_modified(SystemTime::now()));
    for (name, kind) in entries() {
        let path = name.path(kind);
        // What cannot be removed now is tried again by the next one.
        let _ = match kind {
            Kind::Draft => draft::remove_leftover(&path),
            Kind::Marker if !name.path(Kind::Numbers).exists() => fs::remove_file(path),
            Kind::Numbers if is_orphan(&name) => remove(&name),
            _ => Ok(()),
        };
    }
}

/// Removes the files of this table's versions that are out of production, except `current`. Files
/// of other tables wait for their own callers: to open a table is to lock it.
pub(super) fn tidy_versions(table: &ModelTable, current: &Identity) {
    let of_table = |(name, kind): &(Name, Kind)| {
        *kind == Kind::Numbers
            && (name.database, name.table) == (current.name.database, current.name.table)
            && *name != current.name
    };
    for (name, _) in entries().filter(of_table) {
        // An equal version under another identity: the table was rewritten.
        if name.version == current.name.version || is_superseded(table, name.version) {
            let _ = remove(&name);
        }
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
        if remove(&name).is_ok() {
            total -= len;
        }
    }
}

/// Removes a file of numbers with its marker.
fn remove(name: &Name) -> io::Result<()> {
    fs::remove_file(name.path(Kind::Numbers))?;
    // One that stays is removed as a marker without a file.
    let _ = fs::remove_file(name.path(Kind::Marker));
    Ok(())
}

/// Our files; names that are not ours are left alone.
fn entries() -> impl Iterator<Item = (Name, Kind)> {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    entries.filter_map(|entry| Name::parse(entry.file_name().to_str()?))
}

/// Whether the database or the table of a file is gone.
fn is_orphan(name: &Name) -> bool {
    // SAFETY: set once, when the backend connected to its database.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    if name.database == database {
        !exists(pg_sys::SysCacheIdentifier::RELOID, name.table)
    } else {
        !exists(pg_sys::SysCacheIdentifier::DATABASEOID, name.database)
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
