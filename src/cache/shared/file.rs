//! A mapped file of numbers.
//!
//! What is checked when it is opened: its length, before it is mapped; its header, which holds the
//! identity in full; and, by the first that maps it after the machine was started, the checksums
//! of all its parts. A marker remembers that they matched, together with the file's inode, length
//! and dates: whoever writes into the file changes its dates, and it is checked in full again. The
//! server's own restarts do not matter: while the machine runs, what was checked is what the
//! kernel holds or reads again from the same blocks.
//!
//! A file is never written after its name was given to it, so a mapping does not lose its pages,
//! unless a process of the server's own user shortens it or its disk fails: see [`super::fault`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use memmap2::Mmap;
use pgrx::pg_sys;
use teller_payload::{Bytes, Payload, SharedBytes};

use crate::bridge::messages;
use crate::cache::shared::answers;
use crate::cache::shared::fault::Guard;
use crate::cache::shared::identity::{HEADER_BYTES, Identity, Kind, Name};

/// A complete, checked file of a version's numbers in this backend's address space.
pub struct SharedFile {
    // Before the mapping: fields are dropped in this order.
    guard: Guard,
    map: Mmap,
    file: OpenFile,
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
    /// Somebody wrote into it, or it could not be read.
    Altered,
}

impl SharedFile {
    /// Maps the file if it is there and sound; one that is not is removed.
    pub(super) fn open(identity: &Identity) -> io::Result<Option<Arc<Self>>> {
        let path = identity.name.path(Kind::Numbers);
        // Whatever lies there must not make us wait.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if is_foreign(&error) => None,
            Err(error) => return Err(error),
        };
        if let Some(file) = file
            && let Some(mapped) = Self::map(identity, OpenFile::new(file)?)?
        {
            return Ok(Some(mapped));
        }
        messages::debug(&format!("pg_teller removes {}: it is damaged", path.display()));
        fs::remove_file(path)?;
        Ok(None)
    }

    fn map(identity: &Identity, file: OpenFile) -> io::Result<Option<Arc<Self>>> {
        let metadata = file.0.metadata()?;
        if !metadata.is_file() || metadata.len() != identity.len as u64 {
            return Ok(None);
        }
        // SAFETY: the file is as long as the mapping and nobody shortens or rewrites it: it was
        // complete when it got its name. The server's own user alone could, and the guard keeps
        // pages that are gone from ending the process.
        let map = unsafe { Mmap::map(&file.0)? };
        // Where the kernel has such pages, and must read the file from disk again.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let guard = Guard::new(&map)?;
        answers::watch_transactions();
        if map.get(..HEADER_BYTES) != Some(&identity.header) {
            return Ok(None);
        }
        let stamp = Stamp::of(&metadata);
        let (name, parts) = (identity.name.clone(), identity.parts.clone());
        let mapped = Arc::new(Self { guard, map, file, name, parts, stamp });
        let marker = identity.name.path(Kind::Marker);
        let mark = stamp.mark();
        if !is_marked(&marker, &mark) {
            if !mapped.parts(false).all(|part| Payload::parse(part as SharedBytes).is_ok()) {
                return Ok(None);
            }
            // Without a marker the next one checks again.
            let _ = write_marker(&marker, &mark);
        }
        mapped.guard.begin_answers();
        Ok((!mapped.guard.is_lost()).then_some(mapped))
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

    /// Whether its numbers may be others than when it was mapped.
    pub(super) fn is_rewritten(&self) -> bool {
        self.file.0.metadata().map_or(true, |metadata| {
            let now = Stamp::of(&metadata);
            // Links, owners and modes of a file are not its numbers.
            (now.len, now.modified) != (self.stamp.len, self.stamp.modified)
        })
    }

    /// Looks at the file again.
    pub fn state(&self) -> State {
        if self.guard.is_lost() {
            // Its dates may be as before, if the disk failed: whoever maps it next shall check it.
            let _ = fs::remove_file(self.name.path(Kind::Marker));
            return State::Altered;
        }
        // Not what has its name by now: the file that is mapped.
        let Ok(metadata) = self.file.0.metadata() else { return State::Altered };
        let now = Stamp::of(&metadata);
        if now == self.stamp {
            State::Same
        } else if metadata.nlink() == 0 && now == (Stamp { changed: now.changed, ..self.stamp }) {
            // That it lost its name changed the one date.
            State::Gone
        } else {
            State::Altered
        }
    }
}

/// Whether a file could not be opened since it is none that the server wrote: another's, a link, a
/// pipe that nobody reads.
pub(super) fn is_foreign(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
        || matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO))
}

/// Whether the marker says that the file was checked; if so, it says from now on that it was used.
fn is_marked(marker: &Path, mark: &str) -> bool {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let read = || {
        let file = OpenOptions::new().read(true).custom_flags(flags).open(marker)?;
        let mut text = String::new();
        (&file).take(mark.len() as u64 + 1).read_to_string(&mut text)?;
        // Without a date of today the file leaves earlier.
        let _ = file.set_modified(SystemTime::now());
        io::Result::Ok(text)
    };
    read().is_ok_and(|text| text == mark)
}

fn write_marker(marker: &Path, mark: &str) -> io::Result<()> {
    match fs::remove_file(marker) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(marker)?;
    file.write_all(mark.as_bytes())
}

/// A file that PostgreSQL knows to be open: it keeps within the number that the system allows.
struct OpenFile(File);

impl OpenFile {
    fn new(file: File) -> io::Result<Self> {
        // SAFETY: counts a file; to make room it closes others that it can open again.
        if unsafe { pg_sys::AcquireExternalFD() } {
            Ok(Self(file))
        } else {
            Err(io::Error::other("too many files are open"))
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: gives back what `new` counted.
        unsafe { pg_sys::ReleaseExternalFD() };
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

    /// The text of the marker: void when the machine was started again.
    fn mark(&self) -> String {
        let Self { device, inode, len, modified, changed } = self;
        format!(
            "{} {device} {inode} {len} {} {} {} {}",
            start_of_machine(),
            modified.0,
            modified.1,
            changed.0,
            changed.1
        )
    }
}

/// Differs from one start of the machine to the next; where the kernel does not tell, from one
/// start of the server to the next.
fn start_of_machine() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim_end().to_owned(),
        // SAFETY: set by the postmaster before this process was made.
        Err(_) => unsafe { pg_sys::PgStartTime }.to_string(),
    }
}
