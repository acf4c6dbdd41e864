use std::marker::PhantomData;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    ALIGNMENT, Element, Entry, FORMAT_VERSION, HEADER_BYTES, MAGIC, PayloadError, SharedBytes,
    directory_config,
};

/// A payload whose header, checksum and directory were checked.
#[derive(Clone)]
pub struct Payload {
    bytes: SharedBytes,
    entries: Vec<Entry>,
}

/// Where an array of a payload lies; made by [`Payload::array`], read by [`Payload::get`].
#[derive(Debug, PartialEq, Eq)]
pub struct Array<T> {
    offset: usize,
    bytes: usize,
    element: PhantomData<T>,
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Array<T> {}

impl Payload {
    /// Checks `bytes` from the first to the last, or all but the checksum where it is
    /// [known](crate::Bytes::checksum_known).
    pub fn parse(bytes: SharedBytes) -> Result<Self, PayloadError> {
        let entries = read_directory((*bytes).as_ref(), bytes.checksum_known())?;
        Ok(Self { bytes, entries })
    }

    /// The whole of it.
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// Names, types and shapes of all arrays, in the order in which they were written.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, &'static str, &[u64])> {
        self.entries.iter().map(|entry| (&*entry.name, entry.kind.name(), &*entry.shape))
    }

    /// The array `name` and its shape.
    pub fn array<T: Element>(&self, name: &str) -> Result<(Array<T>, Vec<usize>), PayloadError> {
        let mismatch = |got: String| PayloadError::Array {
            name: name.to_owned(),
            got,
            expected: format!("an array of {}", T::KIND.name()),
        };
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| mismatch("missing".to_owned()))?;
        if entry.kind != T::KIND {
            return Err(mismatch(format!("an array of {}", entry.kind.name())));
        }
        // read_directory has checked that offset, extents and their product fit the payload.
        let shape: Vec<usize> = entry.shape.iter().map(|&extent| extent as usize).collect();
        let bytes = shape.iter().product::<usize>() * size_of::<T>();
        Ok((Array { offset: entry.offset as usize, bytes, element: PhantomData }, shape))
    }

    /// The array `name`, which must have exactly this `shape`.
    pub fn array_of<T: Element>(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Array<T>, PayloadError> {
        let (array, got) = self.array(name)?;
        if got == shape {
            return Ok(array);
        }
        Err(PayloadError::Array {
            name: name.to_owned(),
            got: format!("of shape {got:?}"),
            expected: format!("shape {shape:?}"),
        })
    }

    /// The numbers of an array of this payload.
    ///
    /// # Panics
    /// If `array` was made by a payload that is shorter or laid out differently.
    #[inline]
    pub fn get<T: Element>(&self, array: Array<T>) -> &[T] {
        let bytes: &[u8] = (*self.bytes).as_ref();
        bytemuck::cast_slice(&bytes[array.offset..array.offset + array.bytes])
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.arrays()).finish()
    }
}

fn read_directory(bytes: &[u8], checksum_known: bool) -> Result<Vec<Entry>, PayloadError> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(PayloadError::Length { got: bytes.len(), expected: HEADER_BYTES as u64 });
    };
    if header[..8] != MAGIC {
        return Err(PayloadError::Magic);
    }
    let version = le_u32(header, 8);
    if version != FORMAT_VERSION {
        return Err(PayloadError::Version { got: version });
    }
    let total = le_u64(header, 16);
    if total != bytes.len() as u64 {
        return Err(PayloadError::Length { got: bytes.len(), expected: total });
    }
    if !(bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
        return Err(PayloadError::Directory("the payload is not aligned in memory"));
    }
    if !checksum_known && xxh3_64(&bytes[HEADER_BYTES..]) != le_u64(header, 24) {
        return Err(PayloadError::Checksum);
    }
    let directory = bytes
        .get(HEADER_BYTES..HEADER_BYTES + le_u32(header, 12) as usize)
        .ok_or(PayloadError::Directory("it is longer than the payload"))?;
    let (entries, used): (Vec<Entry>, usize) =
        bincode::serde::decode_from_slice(directory, directory_config())
            .map_err(|_| PayloadError::Directory("it cannot be decoded"))?;
    if used != directory.len() {
        return Err(PayloadError::Directory("bytes are left over after it"));
    }
    for entry in &entries {
        check_entry(entry, bytes.len())?;
    }
    Ok(entries)
}

fn check_entry(entry: &Entry, len: usize) -> Result<(), PayloadError> {
    let end = entry
        .shape
        .iter()
        .try_fold(1u64, |product, &extent| product.checked_mul(extent))
        .and_then(|count| count.checked_mul(entry.kind.bytes()))
        .and_then(|bytes| bytes.checked_add(entry.offset));
    match end {
        Some(end) if end <= len as u64 && entry.offset.is_multiple_of(ALIGNMENT as u64) => Ok(()),
        Some(_) => Err(PayloadError::Directory("an array lies outside the payload")),
        None => Err(PayloadError::Directory("the size of an array overflows")),
    }
}

fn le_u32(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| header[at + i]))
}

fn le_u64(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| header[at + i]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{AlignedBytes, Bytes, PayloadWriter};

    fn sample(factors: &[f32], ids: &[i64], blob: &[u8]) -> AlignedBytes {
        let mut writer = PayloadWriter::new();
        writer.array("factors", &[factors.len() / 2, 2], factors);
        writer.array("ids", &[ids.len()], ids);
        writer.array("blob", &[blob.len()], blob);
        writer.finish()
    }

    fn parse(bytes: &[u8]) -> Result<Payload, PayloadError> {
        Payload::parse(Arc::new(AlignedBytes::from(bytes)))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            factors in prop::collection::vec(any::<u32>(), 0..50),
            ids in prop::collection::vec(any::<i64>(), 0..50),
            blob in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let factors: Vec<f32> =
                factors.iter().chain(&factors).map(|&bits| f32::from_bits(bits)).collect();
            let payload = parse(&sample(&factors, &ids, &blob)).unwrap();
            let read = payload.array_of::<f32>("factors", &[factors.len() / 2, 2]).unwrap();
            let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(payload.get(read)), bits(&factors));
            let (read, shape) = payload.array::<i64>("ids").unwrap();
            prop_assert_eq!((payload.get(read), shape), (&*ids, vec![ids.len()]));
            let (read, _) = payload.array::<u8>("blob").unwrap();
            prop_assert_eq!(payload.get(read), &*blob);
        }

        #[test]
        fn any_changed_byte_is_refused(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let mut bytes = sample(&[1.0, 2.0], &[3], b"four");
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(parse(&bytes).is_err());
        }

        #[test]
        fn any_truncation_is_refused(keep in any::<prop::sample::Index>()) {
            let bytes = sample(&[1.0, 2.0], &[3], b"four");
            prop_assert!(parse(&bytes[..keep.index(bytes.len())]).is_err());
        }

        /// A forger can make the checksum right: nothing behind it may panic or read outside.
        #[test]
        fn a_forged_directory_is_survived(
            at in HEADER_BYTES..100usize,
            with in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            let mut bytes = sample(&[1.0, 2.0], &[3], b"four");
            let end = (at + with.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
            let checksum = xxh3_64(&bytes[HEADER_BYTES..]);
            bytes[24..32].copy_from_slice(&checksum.to_le_bytes());
            if let Ok(payload) = parse(&bytes) {
                for name in ["factors", "ids", "blob"] {
                    let _ = payload.array::<f32>(name).map(|(array, _)| payload.get(array).len());
                    let _ = payload.array::<i64>(name).map(|(array, _)| payload.get(array).len());
                    let _ = payload.array::<u8>(name).map(|(array, _)| payload.get(array).len());
                }
            }
        }
    }

    struct Known(AlignedBytes);

    impl AsRef<[u8]> for Known {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Bytes for Known {
        fn checksum_known(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_known_checksum_is_not_computed_but_the_rest_is_checked() {
        let parse_known = |bytes: &[u8]| Payload::parse(Arc::new(Known(AlignedBytes::from(bytes))));
        let mut bytes = sample(&[1.0, 2.0], &[3], b"four");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(parse(&bytes).unwrap_err(), PayloadError::Checksum);
        assert!(parse_known(&bytes).is_ok());
        assert!(matches!(parse_known(&bytes[..last]), Err(PayloadError::Length { .. })));
        bytes[HEADER_BYTES] = 200;
        assert!(matches!(parse_known(&bytes), Err(PayloadError::Directory(_))));
        bytes[0] ^= 1;
        assert_eq!(parse_known(&bytes).unwrap_err(), PayloadError::Magic);
    }

    #[test]
    fn a_later_format_says_so() {
        let mut bytes = sample(&[], &[], b"");
        bytes[8] = 9;
        assert_eq!(parse(&bytes).unwrap_err(), PayloadError::Version { got: 9 });
    }

    #[test]
    fn wrong_names_types_and_shapes_are_named() {
        let payload = parse(&sample(&[1.0, 2.0], &[3], b"four")).unwrap();
        let missing = payload.array::<f32>("weights").unwrap_err().to_string();
        assert_eq!(missing, "the payload's array \"weights\" is missing, expected an array of f32");
        assert!(payload.array::<f32>("ids").is_err());
        assert!(payload.array_of::<f32>("factors", &[2, 1]).is_err());
    }
}
