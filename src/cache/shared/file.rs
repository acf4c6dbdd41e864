//! A mapped file of numbers.
//!
//! What is checked when it is opened: its length, before it is mapped; its header, which holds the
//! identity in full; and, by the first that maps it after a start of the server, the checksums of
//! all its parts. A marker remembers that they matched, together with the file's inode, length and
//! dates: whoever writes into the file changes its dates, and it is checked in full again.
//!
//! A file is never written after its name was given to it, so a mapping cannot lose its pages.
//! What this does not guard against: a process of the server's own user that truncates a mapped
//! file in the middle of a call, and a disk that fails under a page not yet read.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Arc;
use std::time::SystemTime;

use memmap2::Mmap;
use pgrx::pg_sys;
use teller_payload::{Bytes, Payload, SharedBytes};

use crate::bridge::messages;
use crate::cache::shared::identity::{HEADER_BYTES, Identity, Kind, Name};

/// A complete, checked file of a version's numbers in this backend's address space.
pub struct SharedFile {
    map: Mmap,
    name: Name,
    parts: Vec<Range<usize>>,
    stamp: Stamp,
}

/// What became of a file since it was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Same,
    /// It was removed or replaced: the mapping holds on to the numbers, and to their memory.
    Gone,
    /// Somebody wrote into it.
    Altered,
}

impl SharedFile {
    /// Maps the file if it is there and sound; one that is not is removed.
    pub(super) fn open(identity: &Identity) -> io::Result<Option<Arc<Self>>> {
        let path = identity.name.path(Kind::Numbers);
        // Whatever lies there must not make us wait.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        match Self::map(identity, &file)? {
            Some(mapped) => Ok(Some(mapped)),
            None => {
                messages::debug(&format!("pg_teller removes {}: it is damaged", path.display()));
                fs::remove_file(path)?;
                Ok(None)
            }
        }
    }

    fn map(identity: &Identity, file: &File) -> io::Result<Option<Arc<Self>>> {
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() != identity.len as u64 {
            return Ok(None);
        }
        // SAFETY: the file is as long as the mapping and nobody shortens or rewrites it: it was
        // complete when it got its name. The server's own user alone could.
        let map = unsafe { Mmap::map(file)? };
        if map.get(..HEADER_BYTES) != Some(&identity.header) {
            return Ok(None);
        }
        let stamp = Stamp::of(&metadata);
        let (name, parts) = (identity.name.clone(), identity.parts.clone());
        let mapped = Arc::new(Self { map, name, parts, stamp });
        let marker = identity.name.path(Kind::Marker);
        let mark = stamp.mark();
        if fs::read_to_string(&marker).is_ok_and(|known| known == mark) {
            // The marker's date says when the file was used; without it the file leaves earlier.
            let _ = File::options()
                .write(true)
                .open(&marker)
                .and_then(|marker| marker.set_modified(SystemTime::now()));
        } else if mapped.parts(false).all(|part| Payload::parse(part as SharedBytes).is_ok()) {
            // Without a marker the next one checks again.
            let _ = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&marker)
                .and_then(|mut file| io::Write::write_all(&mut file, mark.as_bytes()));
        } else {
            return Ok(None);
        }
        Ok(Some(mapped))
    }

    /// The parts in the order of their names.
    pub(super) fn parts(
        self: &Arc<Self>,
        checksum_known: bool,
    ) -> impl Iterator<Item = Arc<MappedPart>> {
        self.parts.iter().map(move |range| {
            Arc::new(MappedPart { file: self.clone(), range: range.clone(), checksum_known })
        })
    }

    /// Looks at the file again.
    pub fn state(&self) -> State {
        match fs::symlink_metadata(self.name.path(Kind::Numbers)) {
            Ok(metadata) => {
                let now = Stamp::of(&metadata);
                if now == self.stamp {
                    State::Same
                } else if (now.device, now.inode) == (self.stamp.device, self.stamp.inode) {
                    State::Altered
                } else {
                    State::Gone
                }
            }
            Err(_) => State::Gone,
        }
    }
}

/// One part of a mapped file.
pub(super) struct MappedPart {
    file: Arc<SharedFile>,
    range: Range<usize>,
    checksum_known: bool,
}

impl AsRef<[u8]> for MappedPart {
    fn as_ref(&self) -> &[u8] {
        // The identity's ranges end at its length, which is that of the mapping.
        self.file.map.get(self.range.clone()).unwrap_or_default()
    }
}

impl Bytes for MappedPart {
    fn checksum_known(&self) -> bool {
        self.checksum_known
    }
}

/// What every write into a file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The text of the marker: void when the server was started again.
    fn mark(&self) -> String {
        // SAFETY: set by the postmaster before this process was made.
        let start = unsafe { pg_sys::PgStartTime };
        let Self { device, inode, len, modified, changed } = self;
        format!(
            "{start} {device} {inode} {len} {} {} {} {}",
            modified.0, modified.1, changed.0, changed.1
        )
    }
}
