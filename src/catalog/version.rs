//! One version of a model, read from its table: manifest, numbers, log.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;

use teller_payload::{AlignedBytes, SharedBytes};

use crate::bridge::interrupts;
use crate::catalog::manifest::Manifest;
use crate::catalog::model_table::{ModelTable, Row, RowIdentity};
use crate::error::Error;

/// Which version a statement asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one in production.
    Production,
    /// The one with this number.
    Number(i32),
}

/// A version's manifest row.
pub struct Version {
    /// Its number.
    pub number: i32,
    /// Where the row stands: the numbers behind an equal version and place are equal.
    pub row: RowIdentity,
}

impl Version {
    /// Finds the manifest row of a version, without reading what it says.
    pub fn find(table: &ModelTable, wanted: Wanted) -> Result<Self, Error> {
        let read = |row: Row| Ok((row.version(), row.identity()));
        let found = match wanted {
            Wanted::Production => table.production(read)?,
            Wanted::Number(number) => table.manifest(number, read)?,
        };
        match found {
            Some((Some(number), row)) => Ok(Self { number, row }),
            Some(_) => Err(Error::damaged(table, None, "its manifest row has no version")),
            None => Err(match wanted {
                Wanted::Production => Error::NoProduction { model: table.name() },
                Wanted::Number(number) => Error::NoVersion { model: table.name(), number },
            }),
        }
    }

    /// Reads what the manifest says.
    pub fn manifest(&self, table: &ModelTable) -> Result<Manifest, Error> {
        let info = table.manifest(self.number, |row| Ok(row.info()))?.flatten();
        parse_manifest(table, self.number, info)
    }
}

/// The manifest in a row's `info`.
pub fn parse_manifest(
    table: &ModelTable,
    version: i32,
    info: Option<serde_json::Value>,
) -> Result<Manifest, Error> {
    let info =
        info.ok_or_else(|| Error::damaged(table, Some(version), "its manifest is missing"))?;
    serde_json::from_value(info).map_err(|error| {
        Error::damaged(table, Some(version), format!("its manifest cannot be read: {error}"))
    })
}

/// Reads all parts that the manifest names.
pub fn read_parts(
    table: &ModelTable,
    version: i32,
    manifest: &Manifest,
) -> Result<BTreeMap<String, SharedBytes>, Error> {
    manifest.parts.keys().map(|part| Ok((part.clone(), read_part(table, version, part)?))).collect()
}

/// Glues the chunks of one part together.
pub fn read_part(table: &ModelTable, version: i32, part: &str) -> Result<SharedBytes, Error> {
    let damaged = |what: &str| Error::damaged(table, Some(version), format!("part {part} {what}"));
    let c_part = CString::new(part).map_err(|_| damaged("has no valid name"))?;
    // The lengths are read first, from what is stored and not from what the manifest claims.
    let chunks = table.part(version, &c_part, |row| Ok((row.chunk(), row.payload_len())))?;
    let mut total = 0usize;
    for (expected, (chunk, len)) in (0..).zip(&chunks) {
        match len {
            Some(len) if *chunk == Some(expected) => total = total.saturating_add(*len),
            _ => return Err(damaged("lacks a chunk")),
        }
    }
    if chunks.is_empty() {
        return Err(damaged("is missing"));
    }
    let mut bytes = AlignedBytes::try_zeroed(total).ok_or(Error::OutOfMemory {
        what: format!("part {part} of {}", table.name()),
        bytes: total as u64,
    })?;
    let mut filled = 0;
    table.part(version, &c_part, |row| {
        if interrupts::cancel_pending() {
            return Err(Error::Cancelled);
        }
        row.with_payload(|chunk| {
            let target = bytes.get_mut(filled..filled + chunk.len())?;
            target.copy_from_slice(chunk);
            filled += chunk.len();
            Some(())
        })
        .flatten()
        .ok_or_else(|| damaged("changed while it was read"))
    })?;
    Ok(Arc::new(bytes))
}
