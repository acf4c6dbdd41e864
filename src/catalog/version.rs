//! One version of a model, read from its table: manifest, numbers, log.

use std::ffi::CString;
use std::sync::Arc;

use teller_payload::{AlignedBytes, SharedBytes};

use crate::bridge::interrupts;
use crate::catalog::life::status;
use crate::catalog::manifest::{Manifest, Task};
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
        let read = |row: Row| Ok((row.version(), row.identity(), row.status()));
        let found = match wanted {
            Wanted::Production => table.production(read)?,
            Wanted::Number(number) => table.manifest(number, read)?,
        };
        match found {
            Some((Some(version), _, Some(status)))
                if [status::TRAINING, status::FAILED].contains(&&*status) =>
            {
                Err(Error::NoNumbers { model: table.name(), version, status })
            }
            Some((Some(number), row, _)) => Ok(Self { number, row }),
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

/// The task in a manifest row's `info`, whether the version is finished or not.
pub fn parse_task(
    table: &ModelTable,
    version: i32,
    info: Option<serde_json::Value>,
) -> Result<Task, Error> {
    let task = info.and_then(|mut info| info.get_mut("task").map(serde_json::Value::take));
    task.and_then(|task| serde_json::from_value(task).ok())
        .ok_or_else(|| Error::damaged(table, Some(version), "its manifest names no known task"))
}

/// The rows that hold one part of a version.
pub struct StoredPart {
    /// The part's name.
    pub name: String,
    /// Place and length of its chunks, in order; at least one.
    pub chunks: Vec<(RowIdentity, usize)>,
    c_name: CString,
}

impl StoredPart {
    /// Finds the rows of a part without reading their bytes.
    pub fn find(table: &ModelTable, version: i32, name: &str) -> Result<Self, Error> {
        let damaged = |what| damaged_part(table, version, name, what);
        let c_name = CString::new(name).map_err(|_| damaged("has no valid name"))?;
        // The lengths are those of what is stored, not what the manifest claims.
        let rows = table
            .part(version, &c_name, |row| Ok((row.chunk(), row.identity(), row.payload_len())))?;
        if rows.is_empty() {
            return Err(damaged("is missing"));
        }
        let chunks = (0..).zip(rows).map(|(expected, (chunk, row, len))| match len {
            Some(len) if chunk == Some(expected) => Ok((row, len)),
            _ => Err(damaged("lacks a chunk")),
        });
        Ok(Self { name: name.to_owned(), chunks: chunks.collect::<Result<_, _>>()?, c_name })
    }

    /// Bytes of the part.
    pub fn len(&self) -> usize {
        self.chunks.iter().fold(0, |sum, (_, len)| sum.saturating_add(*len))
    }

    /// Calls `put` with the bytes of one chunk after the other.
    pub fn read(
        &self,
        table: &ModelTable,
        version: i32,
        mut put: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let changed = || damaged_part(table, version, &self.name, "changed while it was read");
        let mut expected = self.chunks.iter();
        table.part(version, &self.c_name, |row| {
            if interrupts::cancel_pending() {
                return Err(Error::Cancelled);
            }
            let &(_, len) = expected.next().ok_or_else(changed)?;
            let read = |bytes: &[u8]| (bytes.len() == len).then(|| put(bytes));
            row.with_payload(read).flatten().ok_or_else(changed)?
        })?;
        if expected.next().is_some() { Err(changed()) } else { Ok(()) }
    }

    /// The part in memory of this backend's own.
    pub fn bytes(&self, table: &ModelTable, version: i32) -> Result<SharedBytes, Error> {
        let total = self.len();
        let mut bytes = AlignedBytes::try_zeroed(total).ok_or(Error::OutOfMemory {
            what: format!("part {} of {}", self.name, table.name()),
            bytes: total as u64,
        })?;
        let mut rest = &mut *bytes;
        self.read(table, version, |chunk| {
            // `read` has checked that the chunks are as long as `find` saw them.
            let (target, left) = std::mem::take(&mut rest).split_at_mut(chunk.len());
            target.copy_from_slice(chunk);
            rest = left;
            Ok(())
        })?;
        Ok(Arc::new(bytes))
    }
}

fn damaged_part(table: &ModelTable, version: i32, part: &str, what: &str) -> Error {
    Error::damaged(table, Some(version), format!("part {part} {what}"))
}
