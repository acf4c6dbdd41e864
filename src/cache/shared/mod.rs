//! One copy of a version's numbers for all backends, without preloading: a file in the data
//! directory, mapped read-only, that any backend rebuilds from the model's table.
//!
//! The tables are the truth, a file is a cache: whatever goes wrong with it, the numbers are read
//! from the table, into a new file or into this backend's own memory.

mod answers;
mod cleaning;
mod draft;
mod fault;
mod file;
mod identity;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use teller_payload::SharedBytes;

use crate::bridge::messages;
use crate::catalog::manifest::Manifest;
use crate::catalog::model_table::ModelTable;
use crate::catalog::version::{StoredPart, Version};
use crate::error::Error;
use crate::settings;

pub use answers::{answer_from, refuse_lost};
pub use cleaning::tidy_now_and_then;
use draft::Draft;
pub use file::{SharedFile, State};
use identity::Identity;

/// Smaller versions are copied: a file, a mapping and its checks would cost more. Copying costs
/// about 1.7 us a kB, most of it in TOAST; a file about 60 us.
const WORTH_SHARING: usize = 1 << 16;
/// How long to wait for another backend that builds the file, before doing without.
const PATIENCE: Duration = Duration::from_secs(60);

/// The numbers of a version.
pub struct Numbers {
    /// Payloads by the names of their parts.
    pub parts: BTreeMap<String, SharedBytes>,
    /// The file that they are mapped from; without one they are this backend's own.
    pub file: Option<Arc<SharedFile>>,
}

/// Maps or reads all parts that the manifest names.
pub fn numbers(
    table: &ModelTable,
    version: &Version,
    manifest: &Manifest,
) -> Result<Numbers, Error> {
    let number = version.number;
    let find = |name: &String| StoredPart::find(table, number, name);
    let parts: Vec<StoredPart> = manifest.parts.keys().map(find).collect::<Result<_, _>>()?;
    match share(table, number, manifest, &parts) {
        Ok(Some(file)) => {
            let mapped = file.parts(true).map(|part| part as SharedBytes);
            let names = parts.into_iter().map(|part| part.name);
            return Ok(Numbers { parts: names.zip(mapped).collect(), file: Some(file) });
        }
        Ok(None) => {}
        Err(Failure::Table(error)) => return Err(error),
        Err(Failure::File(error)) => {
            messages::debug(&format!(
                "pg_teller keeps a copy of {} of its own: {error}",
                table.name()
            ));
        }
    }
    let needed = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.len() as u64));
    let limit = settings::cache_size();
    if needed > limit {
        return Err(Error::CacheSize { model: table.name(), needed, limit });
    }
    let read = |part: StoredPart| Ok((part.name.clone(), part.bytes(table, number)?));
    Ok(Numbers { parts: parts.into_iter().map(read).collect::<Result<_, Error>>()?, file: None })
}

/// Why there is no file: the table's fault is an error, the file system's is not.
enum Failure {
    Table(Error),
    File(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Table(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// The version's file, built if it is not there; nothing if it is not to be shared, or if what the
/// table holds does not match its checksums.
fn share(
    table: &ModelTable,
    version: i32,
    manifest: &Manifest,
    parts: &[StoredPart],
) -> Result<Option<Arc<SharedFile>>, Failure> {
    let limit = settings::shared_cache_size();
    let Some(identity) = Identity::new(table, version, manifest, parts) else { return Ok(None) };
    if identity.len < WORTH_SHARING || identity.len as u64 > limit {
        return Ok(None);
    }
    // What this transaction wrote it may yet undo.
    if parts.iter().flat_map(|part| &part.chunks).any(|(row, _)| row.is_ours()) {
        return Ok(None);
    }
    cleaning::tidy_versions(table, &identity);
    if let Some(file) = SharedFile::open(&identity)? {
        return Ok(Some(file));
    }
    cleaning::tidy();
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(file) = SharedFile::open(&identity)? {
            return Ok(Some(file));
        }
        if let Some(draft) = Draft::begin(&identity)? {
            // Its last builder may have finished between our look and our lock.
            if let Some(file) = SharedFile::open(&identity)? {
                return Ok(Some(file));
            }
            cleaning::make_room(identity.len as u64, limit);
            draft.write(table, version, parts)?;
            draft.publish()?;
            return Ok(SharedFile::open(&identity)?);
        }
        std::thread::sleep(Duration::from_millis(5));
        pgrx::check_for_interrupts!();
    }
    Ok(None)
}
