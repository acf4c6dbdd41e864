use xxhash_rust::xxh3::xxh3_64;

use crate::{
    ALIGNMENT, AlignedBytes, Element, Entry, FORMAT_VERSION, HEADER_BYTES, MAGIC, directory_config,
};

/// Gathers named arrays and writes them as one payload.
///
/// ```
/// use std::sync::Arc;
/// use teller_payload::{Payload, PayloadWriter};
/// let mut writer = PayloadWriter::new();
/// writer.array("factors", &[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
/// let payload = Payload::parse(Arc::new(writer.finish())).unwrap();
/// let factors = payload.array_of::<f32>("factors", &[2, 3]).unwrap();
/// assert_eq!(payload.get(factors)[4], 5.0);
/// ```
#[derive(Default)]
pub struct PayloadWriter<'a> {
    entries: Vec<Entry>,
    arrays: Vec<&'a [u8]>,
    len: usize,
}

impl<'a> PayloadWriter<'a> {
    /// A payload without arrays.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `data` with its row-major `shape` under `name`.
    ///
    /// # Panics
    /// If `shape` does not multiply to the length of `data`: a programming error of the writer.
    pub fn array<T: Element>(&mut self, name: &str, shape: &[usize], data: &'a [T]) {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape of array {name}");
        let bytes: &[u8] = bytemuck::cast_slice(data);
        self.entries.push(Entry {
            name: name.to_owned(),
            kind: T::KIND,
            shape: shape.iter().map(|&extent| extent as u64).collect(),
            // Relative to the first array until the directory's own length is known.
            offset: self.len as u64,
        });
        self.arrays.push(bytes);
        self.len += bytes.len().next_multiple_of(ALIGNMENT);
    }

    /// The payload's bytes, deterministic in the arrays and their order.
    pub fn finish(self) -> AlignedBytes {
        let laid_out = self.lay_out();
        let bytes = AlignedBytes::zeroed(laid_out.total);
        laid_out.write(bytes)
    }

    /// [`Self::finish`], or nothing if the memory is not to be had.
    pub fn try_finish(self) -> Option<AlignedBytes> {
        let laid_out = self.lay_out();
        let bytes = AlignedBytes::try_zeroed(laid_out.total)?;
        Some(laid_out.write(bytes))
    }

    fn lay_out(mut self) -> LaidOut<'a> {
        // Offsets are written in a fixed width, so the directory has one length for any values.
        let first = (HEADER_BYTES + encode(&self.entries).len()).next_multiple_of(ALIGNMENT);
        for entry in &mut self.entries {
            entry.offset += first as u64;
        }
        let offsets = self.entries.iter().map(|entry| entry.offset as usize);
        let arrays = offsets.zip(self.arrays).collect();
        LaidOut { directory: encode(&self.entries), arrays, total: first + self.len }
    }
}

/// A payload of which everything but its bytes is there.
struct LaidOut<'a> {
    directory: Vec<u8>,
    /// With their offsets.
    arrays: Vec<(usize, &'a [u8])>,
    total: usize,
}

impl LaidOut<'_> {
    /// Fills `bytes`, `total` zeros.
    fn write(self, mut bytes: AlignedBytes) -> AlignedBytes {
        let Self { directory, arrays, total } = self;
        bytes[HEADER_BYTES..HEADER_BYTES + directory.len()].copy_from_slice(&directory);
        for (offset, array) in arrays {
            bytes[offset..offset + array.len()].copy_from_slice(array);
        }
        let checksum = xxh3_64(&bytes[HEADER_BYTES..]);
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(directory.len() as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&(total as u64).to_le_bytes());
        bytes[24..32].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    bincode::serde::encode_to_vec(entries, directory_config())
        .expect("names and shapes always encode")
}
