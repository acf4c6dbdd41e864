//! A file of numbers while it is written, by one backend at a time.
//!
//! The lock is the kernel's and lies on the draft itself: it ends with the process that holds it,
//! however that ends, and a draft without a lock is a leftover.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use pgrx::pg_sys;
use teller_payload::ALIGNMENT;

use crate::cache::shared::Failure;
use crate::cache::shared::file::is_foreign;
use crate::cache::shared::identity::{FOLDER, HEADER_BYTES, Identity, Kind};
use crate::catalog::model_table::ModelTable;
use crate::catalog::version::StoredPart;
use crate::error::Error;

/// A locked, empty draft. It is removed unless it is published.
pub(super) struct Draft<'a> {
    file: File,
    identity: &'a Identity,
    published: bool,
}

impl<'a> Draft<'a> {
    /// Begins the file, unless another backend is at it.
    pub(super) fn begin(identity: &'a Identity) -> io::Result<Option<Self>> {
        match DirBuilder::new().mode(0o700).create(FOLDER) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = identity.name.path(Kind::Draft);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)?;
        if !lock(&file, &path)? {
            return Ok(None);
        }
        file.set_len(0)?;
        Ok(Some(Self { file, identity, published: false }))
    }

    /// Copies the parts from their table.
    pub(super) fn write(
        &self,
        table: &ModelTable,
        version: i32,
        parts: &[StoredPart],
    ) -> Result<(), Failure> {
        let mut blocks = Blocks { file: &self.file, block: Vec::new() };
        blocks.put(&self.identity.header)?;
        let mut written = HEADER_BYTES;
        for (part, range) in parts.iter().zip(&self.identity.parts) {
            blocks.put(&[0; ALIGNMENT][..range.start - written])?;
            let mut failed = None;
            let read = part.read(table, version, |bytes| {
                blocks.put(bytes).map_err(|error| {
                    failed = Some(error);
                    // Ends the scan; what is reported is the error above.
                    Error::Cancelled
                })
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
            read?;
            written = range.end;
        }
        Ok(blocks.flush()?)
    }

    /// Gives the draft its name, which makes it visible to all backends at once.
    pub(super) fn publish(mut self) -> io::Result<()> {
        // SAFETY: a plain setting, read on the backend's own thread.
        if unsafe { pg_sys::enableFsync } {
            self.file.sync_all()?;
        }
        let name = &self.identity.name;
        fs::rename(name.path(Kind::Draft), name.path(Kind::Numbers))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.published {
            // A leftover is found by the next builder, or by the next cleaning.
            let _ = fs::remove_file(self.identity.name.path(Kind::Draft));
        }
    }
}

/// Writes whole blocks. The kernel keeps what is written at once in pages as large as that, and a
/// file in large pages is mapped at a tenth of the time and in hardly any page tables.
struct Blocks<'a> {
    file: &'a File,
    block: Vec<u8>,
}

impl Blocks<'_> {
    /// A huge page of x86.
    const BYTES: usize = 2 << 20;

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(Self::BYTES - self.block.len()));
            self.block.extend_from_slice(fits);
            bytes = rest;
            if self.block.len() == Self::BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

/// Locks a draft; `false` if another holds it, or if the name leads to another file by now.
fn lock(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let locked = file.metadata()?;
    let named = fs::symlink_metadata(path);
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())))
}

/// Removes a draft that nobody writes.
pub(super) fn remove_leftover(path: &Path) -> io::Result<()> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    match OpenOptions::new().write(true).custom_flags(flags).open(path) {
        Ok(file) if !lock(&file, path)? => Ok(()),
        Err(error) if !is_foreign(&error) => Err(error),
        _ => fs::remove_file(path),
    }
}
