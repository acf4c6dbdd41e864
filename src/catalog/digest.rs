//! Digests of numbers, as people compare them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::catalog::manifest::Part;

/// The parts of a version with their lengths and digests, and the digest over all: equal digests
/// are equal numbers.
pub fn digest_of<'p>(
    payloads: impl IntoIterator<Item = (&'p str, &'p [u8])>,
) -> (BTreeMap<String, Part>, String) {
    let part = |(name, payload): (&str, &[u8])| {
        let sha256 = hex(&Sha256::digest(payload));
        (name.to_owned(), Part { bytes: payload.len() as u64, sha256 })
    };
    let parts: BTreeMap<String, Part> = payloads.into_iter().map(part).collect();
    let mut all = Sha256::new();
    for (name, part) in &parts {
        all.update(format!("{name} {}\n", part.sha256));
    }
    (parts, hex(&all.finalize()))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
