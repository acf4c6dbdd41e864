//! Which numbers a file holds, and where in it.
//!
//! A manifest is untrusted: a digest that it claims must not lead to another model's file. So a
//! file is known by what PostgreSQL knows: the database, the table, its storage, and the place and
//! the transaction of every row that holds numbers. The status of a version moves, these rows do
//! not. The claimed digest is mixed in beside them, for the honest: after a crash that lost the
//! last commits, or a rewind to another timeline, the same transaction ids can be given again to
//! other numbers, whose digest differs.

use std::ops::Range;
use std::path::PathBuf;

use pgrx::pg_sys;
use sha2::{Digest, Sha256};
use teller_payload::ALIGNMENT;

use crate::catalog::digest::hex;
use crate::catalog::manifest::Manifest;
use crate::catalog::model_table::ModelTable;
use crate::catalog::version::StoredPart;

/// The folder in the data directory, which is every backend's working directory.
pub(super) const FOLDER: &str = "pg_teller";
/// Its date says when the folder was last cleaned.
pub(super) const TIDIED: &str = "pg_teller/pgsql_tmp.tidied";
/// Base backups and rewinds skip files whose names begin so.
const PREFIX: &str = "pgsql_tmp";
/// Bytes before the first part.
pub(super) const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"tellshar";
const FORMAT_VERSION: u64 = 1;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The numbers, complete.
    Numbers,
    /// Numbers being written.
    Draft,
    /// Says that the numbers were checked, and by its own date when they were last used.
    Marker,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Draft, Self::Marker, Self::Numbers];

    fn suffix(self) -> &'static str {
        match self {
            Self::Numbers => "",
            Self::Draft => ".new",
            Self::Marker => ".checked",
        }
    }
}

/// The names of one version's files, as far as they can be read from a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) database: u32,
    pub(super) table: u32,
    pub(super) version: i32,
    digest: String,
}

impl Name {
    /// Takes a file's name apart.
    pub(super) fn parse(name: &str) -> Option<(Self, Kind)> {
        let rest = name.strip_prefix(PREFIX)?.strip_prefix('.')?;
        let (rest, kind) = Kind::ALL
            .into_iter()
            .find_map(|kind| rest.strip_suffix(kind.suffix()).map(|rest| (rest, kind)))?;
        let mut fields = rest.split('.');
        let name = Self {
            database: fields.next()?.parse().ok()?,
            table: fields.next()?.parse().ok()?,
            version: fields.next()?.parse().ok()?,
            digest: fields.next()?.to_owned(),
        };
        fields.next().is_none().then_some((name, kind))
    }

    /// Where the file of that kind lies.
    pub(super) fn path(&self, kind: Kind) -> PathBuf {
        let Self { database, table, version, digest } = self;
        let suffix = kind.suffix();
        format!("{FOLDER}/{PREFIX}.{database}.{table}.{version}.{digest}{suffix}").into()
    }
}

/// The identity and the layout of a file.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) name: Name,
    /// Where the parts lie, in the order of their names.
    pub(super) parts: Vec<Range<usize>>,
    /// Bytes of the file.
    pub(super) len: usize,
    pub(super) header: [u8; HEADER_BYTES],
}

impl Identity {
    /// Nothing if the parts are too large for any file.
    pub(super) fn new(
        table: &ModelTable,
        version: i32,
        manifest: &Manifest,
        stored: &[StoredPart],
    ) -> Option<Self> {
        // SAFETY: set once, when the backend connected to its database.
        let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
        let mut hash = Sha256::new();
        let mut number = |number: u64| hash.update(number.to_le_bytes());
        number(FORMAT_VERSION);
        number(database.into());
        number(table.oid().to_u32().into());
        table.storage().into_iter().for_each(|part| number(part.into()));
        number(version as u64);
        let mut parts = Vec::with_capacity(stored.len());
        let mut len = HEADER_BYTES;
        for part in stored {
            number(part.chunks.len() as u64);
            for (row, bytes) in &part.chunks {
                row.numbers().into_iter().for_each(|part| number(part.into()));
                number(*bytes as u64);
            }
            let start = len.checked_next_multiple_of(ALIGNMENT)?;
            len = start.checked_add(part.len())?;
            parts.push(start..len);
        }
        let texts = stored.iter().map(|part| &part.name).chain([&manifest.digest]);
        for text in texts {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let digest = hash.finalize();
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..16].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        header[16..24].copy_from_slice(&(len as u64).to_le_bytes());
        header[32..].copy_from_slice(&digest);
        let short = hex(&digest[..16]);
        let table = table.oid().to_u32();
        let name = Name { database, table, version, digest: short };
        Some(Self { name, parts, len, header })
    }
}
