//! The one layout of every number that pg_teller stores: named arrays behind a checked header.
//!
//! A payload's layout on disk is its layout in memory, so that a table's chunks, glued together,
//! or a mapped file are read in place. Payloads are untrusted: anyone may own a model table and
//! write into it what he likes, so [`Payload::parse`] checks everything that it relies on.
//!
//! ```text
//! 0   magic "pgteller"          24  xxh3-64 of all bytes from 32 on
//! 8   u32 format version        32  directory: bincode of Vec<Entry>
//! 12  u32 directory length      ..  arrays, each aligned to 64 bytes, little-endian
//! 16  u64 total length
//! ```

mod aligned;
mod checkpoint;
mod element;
mod reader;
mod writer;

pub use aligned::{AlignedBytes, Bytes, SharedBytes};
pub use checkpoint::{CheckpointError, DataDigest, TrainingKey};
pub use element::Element;
use element::Kind;
pub use reader::{Array, Payload};
pub use writer::PayloadWriter;

#[cfg(target_endian = "big")]
compile_error!("payloads are read in place and are little-endian");

const MAGIC: [u8; 8] = *b"pgteller";
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
/// Arrays start at multiples of this many bytes.
pub const ALIGNMENT: usize = 64;

/// Why bytes are no payload, or lack what was asked of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Shorter than the header says, or than a header.
    #[error("the payload has {got} bytes, expected {expected}")]
    Length {
        /// Bytes that are there.
        got: usize,
        /// Bytes that the header promises.
        expected: u64,
    },
    /// The first bytes are not those of a payload.
    #[error("the payload does not start with the magic of pg_teller")]
    Magic,
    /// Written by a later release.
    #[error("the payload has format version {got}, this release reads version {FORMAT_VERSION}")]
    Version {
        /// The version in the header.
        got: u32,
    },
    /// Some byte was changed.
    #[error("the payload's checksum does not match its bytes")]
    Checksum,
    /// The directory cannot be decoded or points outside the payload.
    #[error("the payload's directory is damaged: {0}")]
    Directory(&'static str),
    /// An array that the reader needs is missing or of another type or shape.
    #[error("the payload's array \"{name}\" is {got}, expected {expected}")]
    Array {
        /// The array asked for.
        name: String,
        /// What is there.
        got: String,
        /// What was asked for.
        expected: String,
    },
    /// An array holds a number that no training gives.
    #[error("the payload's array \"{name}\" holds {got}, expected {expected}")]
    Value {
        /// The array.
        name: String,
        /// The number.
        got: String,
        /// What its numbers are.
        expected: &'static str,
    },
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Entry {
    name: String,
    kind: Kind,
    shape: Vec<u64>,
    offset: u64,
}

fn directory_config() -> impl bincode::config::Config {
    // The limit bounds what a forged directory can make the decoder allocate.
    bincode::config::standard().with_fixed_int_encoding().with_limit::<{ 1 << 20 }>()
}
