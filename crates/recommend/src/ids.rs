//! Ids of users and items: sorted and unique, so that an id's position is its index, ties in a
//! ranking go by id, and a lookup needs no structure beside the stored array.

use std::cmp::Ordering;

use teller_payload::{AlignedBytes, Array, Payload, PayloadWriter, SharedBytes};

use crate::Error;

/// One id as the caller has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdRef<'a> {
    /// Any of PostgreSQL's integers.
    Integer(i64),
    /// Any other type, by its text; compared as bytes.
    Text(&'a str),
}

impl IdRef<'_> {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            IdRef::Integer(_) => "an integer",
            IdRef::Text(_) => "a text",
        }
    }
}

impl std::fmt::Display for IdRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IdRef::Integer(id) => id.fmt(f),
            IdRef::Text(id) => id.fmt(f),
        }
    }
}

/// The ids of a training set, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Sorted and unique.
    Integers(Vec<i64>),
    /// Id `i` is `bytes[offsets[i]..offsets[i + 1]]`, sorted as bytes and unique.
    Texts {
        /// One more than there are ids, from 0 on.
        offsets: Vec<u64>,
        /// All ids, one after the other, UTF-8.
        bytes: Vec<u8>,
    },
}

impl Ids {
    /// The ids for reading.
    pub fn view(&self) -> IdsView<'_> {
        match self {
            Ids::Integers(ids) => IdsView::Integers(ids),
            Ids::Texts { offsets, bytes } => IdsView::Texts { offsets, bytes },
        }
    }

    /// Those at `indexes`, which ascend.
    pub(crate) fn select(&self, indexes: &[u32]) -> Self {
        match self {
            Ids::Integers(ids) => {
                let some = indexes.iter().filter_map(|&index| ids.get(index as usize));
                Ids::Integers(some.copied().collect())
            }
            Ids::Texts { .. } => {
                let mut selected = (vec![0u64], Vec::new());
                for text in indexes.iter().filter_map(|&index| self.view().text(index as usize)) {
                    selected.1.extend_from_slice(text);
                    selected.0.push(selected.1.len() as u64);
                }
                Ids::Texts { offsets: selected.0, bytes: selected.1 }
            }
        }
    }

    pub(crate) fn payload(&self) -> AlignedBytes {
        let mut writer = PayloadWriter::new();
        match self {
            Ids::Integers(ids) => writer.array("ids", &[ids.len()], ids),
            Ids::Texts { offsets, bytes } => {
                writer.array("offsets", &[offsets.len()], offsets);
                writer.array("bytes", &[bytes.len()], bytes);
            }
        }
        writer.finish()
    }
}

/// Takes ids of one kind in ascending order.
pub(crate) struct IdsBuilder(Ids);

impl IdsBuilder {
    /// For ids of the kind of those.
    pub(crate) fn like(ids: IdsView<'_>) -> Self {
        Self(match ids {
            IdsView::Integers(_) => Ids::Integers(Vec::with_capacity(ids.len())),
            IdsView::Texts { bytes, .. } => {
                Ids::Texts { offsets: vec![0], bytes: Vec::with_capacity(bytes.len()) }
            }
        })
    }

    /// Adds an id, if there is one; one of the other kind is left out.
    pub(crate) fn push(&mut self, id: Option<IdRef<'_>>) -> Result<(), Error> {
        match (&mut self.0, id) {
            (Ids::Integers(ids), Some(IdRef::Integer(id))) => ids.push(id),
            (Ids::Texts { offsets, bytes }, Some(IdRef::Text(id))) => {
                bytes.extend_from_slice(id.as_bytes());
                offsets.push(bytes.len() as u64);
            }
            _ => {}
        }
        let (count, limit) = (self.0.view().len() as u64, u64::from(u32::MAX) - 1);
        if count > limit { Err(Error::TooMany { what: "users", limit }) } else { Ok(()) }
    }

    pub(crate) fn finish(self) -> Ids {
        self.0
    }
}

/// Sorted, unique ids wherever they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdsView<'a> {
    /// As in [`Ids::Integers`].
    Integers(&'a [i64]),
    /// As in [`Ids::Texts`].
    Texts {
        /// One more than there are ids, from 0 on.
        offsets: &'a [u64],
        /// All ids, one after the other, UTF-8.
        bytes: &'a [u8],
    },
}

impl<'a> IdsView<'a> {
    /// How many ids there are.
    pub fn len(&self) -> usize {
        match self {
            IdsView::Integers(ids) => ids.len(),
            IdsView::Texts { offsets, .. } => offsets.len().saturating_sub(1),
        }
    }

    /// Bytes of the ids' texts and of where each begins; 0 for integers.
    pub fn text_bytes(&self) -> u64 {
        match self {
            IdsView::Integers(_) => 0,
            IdsView::Texts { offsets, bytes } => (offsets.len() * 8 + bytes.len()) as u64,
        }
    }

    /// Whether there is no id.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the ids are integers.
    pub fn are_integers(&self) -> bool {
        matches!(self, IdsView::Integers(_))
    }

    /// The id at `index`, if there are so many.
    pub fn get(&self, index: u32) -> Option<IdRef<'a>> {
        let index = index as usize;
        match self {
            IdsView::Integers(ids) => ids.get(index).map(|&id| IdRef::Integer(id)),
            IdsView::Texts { .. } => {
                self.text(index).and_then(|text| std::str::from_utf8(text).ok()).map(IdRef::Text)
            }
        }
    }

    /// The index of `id`, by binary search; an id of the other type is not there.
    pub fn index(&self, id: IdRef<'_>) -> Option<u32> {
        match (self, id) {
            (IdsView::Integers(ids), IdRef::Integer(id)) => {
                ids.binary_search(&id).ok().map(|index| index as u32)
            }
            (IdsView::Texts { .. }, IdRef::Text(id)) => {
                let (mut low, mut high) = (0, self.len());
                while low < high {
                    let middle = low + (high - low) / 2;
                    match self.text(middle)?.cmp(id.as_bytes()) {
                        Ordering::Less => low = middle + 1,
                        Ordering::Greater => high = middle,
                        Ordering::Equal => return Some(middle as u32),
                    }
                }
                None
            }
            _ => None,
        }
    }

    fn text(&self, index: usize) -> Option<&'a [u8]> {
        let IdsView::Texts { offsets, bytes } = self else { return None };
        let (start, end) = (*offsets.get(index)?, *offsets.get(index + 1)?);
        bytes.get(start as usize..end as usize)
    }

    /// Checks what the methods rely on; `Err` says what is wrong.
    fn check(&self) -> Result<(), &'static str> {
        match self {
            IdsView::Integers(ids) => {
                if !ids.is_sorted_by(|a, b| a < b) {
                    return Err("are not sorted or not unique");
                }
            }
            IdsView::Texts { offsets, bytes } => {
                let text = std::str::from_utf8(bytes).map_err(|_| "are not UTF-8")?;
                if offsets.first() != Some(&0) || offsets.last() != Some(&(bytes.len() as u64)) {
                    return Err("do not cover their bytes");
                }
                if !offsets.is_sorted() {
                    return Err("have offsets that run backwards");
                }
                if !offsets.iter().all(|&offset| text.is_char_boundary(offset as usize)) {
                    return Err("are cut inside a character");
                }
                for index in 1..self.len() {
                    if self.text(index - 1) >= self.text(index) {
                        return Err("are not sorted or not unique");
                    }
                }
            }
        }
        // The largest index stays free, so that counts fit an index too.
        if self.len() >= u32::MAX as usize { Err("are too many") } else { Ok(()) }
    }
}

/// Ids read in place from a payload.
#[derive(Debug)]
pub(crate) struct StoredIds {
    payload: Payload,
    arrays: Arrays,
}

#[derive(Debug)]
enum Arrays {
    Integers(Array<i64>),
    Texts(Array<u64>, Array<u8>),
}

impl StoredIds {
    pub(crate) fn load(part: &'static str, bytes: SharedBytes) -> Result<Self, Error> {
        let wrap = |source| Error::Payload { part, source };
        let payload = Payload::parse(bytes).map_err(wrap)?;
        let integers = payload.arrays().any(|(name, _, _)| name == "ids");
        let arrays = if integers {
            Arrays::Integers(payload.array("ids").map_err(wrap)?.0)
        } else {
            Arrays::Texts(
                payload.array("offsets").map_err(wrap)?.0,
                payload.array("bytes").map_err(wrap)?.0,
            )
        };
        let stored = Self { payload, arrays };
        stored
            .view()
            .check()
            .map_err(|what| Error::Inconsistent(format!("the ids of \"{part}\" {what}")))?;
        Ok(stored)
    }

    pub(crate) fn view(&self) -> IdsView<'_> {
        match self.arrays {
            Arrays::Integers(ids) => IdsView::Integers(self.payload.get(ids)),
            Arrays::Texts(offsets, bytes) => IdsView::Texts {
                offsets: self.payload.get(offsets),
                bytes: self.payload.get(bytes),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn texts(sorted: &[&str]) -> Ids {
        let mut offsets = vec![0];
        let mut bytes = Vec::new();
        for text in sorted {
            bytes.extend_from_slice(text.as_bytes());
            offsets.push(bytes.len() as u64);
        }
        Ids::Texts { offsets, bytes }
    }

    fn load(ids: &Ids) -> Result<StoredIds, Error> {
        StoredIds::load("user_ids", Arc::new(ids.payload()))
    }

    proptest! {
        #[test]
        fn stored_integers_are_found(ids in prop::collection::btree_set(-50i64..50, 0..40)) {
            let owned = Ids::Integers(ids.iter().copied().collect());
            let stored = load(&owned).unwrap();
            prop_assert_eq!(stored.view(), owned.view());
            for id in -60..60 {
                let index = ids.iter().position(|&known| known == id).map(|index| index as u32);
                prop_assert_eq!(stored.view().index(IdRef::Integer(id)), index);
                if let Some(index) = index {
                    prop_assert_eq!(stored.view().get(index), Some(IdRef::Integer(id)));
                }
            }
        }

        #[test]
        fn stored_texts_are_found(ids in prop::collection::btree_set("[aé€𝄞]{0,3}", 0..30)) {
            let ids: BTreeSet<String> = ids;
            let sorted: Vec<&str> = ids.iter().map(String::as_str).collect();
            let stored = load(&texts(&sorted)).unwrap();
            prop_assert_eq!(stored.view().len(), sorted.len());
            for (index, &id) in sorted.iter().enumerate() {
                prop_assert_eq!(stored.view().index(IdRef::Text(id)), Some(index as u32));
                prop_assert_eq!(stored.view().get(index as u32), Some(IdRef::Text(id)));
            }
            prop_assert_eq!(stored.view().index(IdRef::Text("zzz")), None);
            prop_assert_eq!(stored.view().get(sorted.len() as u32), None);
        }
    }

    #[test]
    fn ids_of_the_other_type_are_unknown() {
        assert_eq!(Ids::Integers(vec![1]).view().index(IdRef::Text("1")), None);
        assert_eq!(texts(&["1"]).view().index(IdRef::Integer(1)), None);
    }

    #[test]
    fn damaged_ids_are_refused() {
        let split = |offsets: &[u64]| Ids::Texts { offsets: offsets.to_vec(), bytes: "éa".into() };
        for damaged in [
            Ids::Integers(vec![2, 1]),
            Ids::Integers(vec![1, 1]),
            texts(&["b", "a"]),
            texts(&["a", "a"]),
            split(&[0, 1, 3]),
            split(&[0, 2]),
            split(&[1, 3]),
            split(&[0, 5, 3]),
            split(&[]),
            Ids::Texts { offsets: vec![0, 1], bytes: vec![0xff] },
        ] {
            assert!(matches!(load(&damaged), Err(Error::Inconsistent(_))), "{damaged:?}");
        }
    }
}
