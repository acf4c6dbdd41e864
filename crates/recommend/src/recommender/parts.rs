use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};

use teller_payload::{Array, Element, Payload, SharedBytes};

use crate::Error;

/// An array and where it is read from.
pub(super) type Stored<T> = (Payload, Array<T>);

/// All parts that a recommender was loaded from.
pub(super) struct Whole(pub(super) BTreeMap<String, SharedBytes>);

impl Whole {
    /// Names and bytes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, bytes)| (&**name, (**bytes).as_ref()))
    }
}

impl Debug for Whole {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, bytes)| (name, bytes.len()))).finish()
    }
}

/// The stored parts of a recommender, with the numbers of its users and items.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) parts: &'a BTreeMap<String, SharedBytes>,
    pub(super) users: usize,
    pub(super) items: usize,
}

impl Parts<'_> {
    pub(super) fn has(&self, part: &str) -> bool {
        self.parts.contains_key(part)
    }

    pub(super) fn get(&self, part: &'static str) -> Option<SharedBytes> {
        self.parts.get(part).cloned()
    }

    pub(super) fn required(&self, part: &'static str) -> Result<SharedBytes, Error> {
        let missing = || Error::Inconsistent(format!("the part \"{part}\" is missing"));
        self.get(part).ok_or_else(missing)
    }

    /// A part that must be there.
    pub(super) fn payload(&self, part: &'static str) -> Result<Payload, Error> {
        let wrap = |source| Error::Payload { part, source };
        Payload::parse(self.required(part)?).map_err(wrap)
    }

    /// An array of a part, which must both be there.
    pub(super) fn array<T: Element>(
        &self,
        part: &'static str,
        name: &str,
        shape: &[usize],
    ) -> Result<Stored<T>, Error> {
        let wrap = |source| Error::Payload { part, source };
        let payload = self.payload(part)?;
        let array = payload.array_of(name, shape).map_err(wrap)?;
        Ok((payload, array))
    }
}

pub(super) fn get<T: Element>(array: &Stored<T>) -> &[T] {
    array.0.get(array.1)
}
