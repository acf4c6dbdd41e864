//! The terms that a model knows, in ascending order, so that they are found where they lie.

use std::collections::HashMap;

use teller_payload::{Array, Payload, PayloadError, PayloadWriter};

/// Distinct terms that are counted at once; beyond them, those seen once are forgotten.
const MOST_COUNTED: usize = 1 << 21;

/// In how many documents terms are.
#[derive(Debug, Default)]
pub(crate) struct TermCounts {
    counts: HashMap<String, Count>,
    documents: u32,
}

#[derive(Debug, Default)]
struct Count {
    documents: u32,
    /// The last document that had it, from 1.
    last: u32,
}

impl TermCounts {
    /// The terms that follow are of another document.
    pub(crate) fn next_document(&mut self) {
        if self.counts.len() > MOST_COUNTED {
            self.counts.retain(|_, count| count.documents > 1);
        }
        self.documents += 1;
    }

    pub(crate) fn add(&mut self, term: &str) {
        let count = match self.counts.get_mut(term) {
            Some(count) => count,
            None => self.counts.entry(term.to_owned()).or_default(),
        };
        if count.last != self.documents {
            count.last = self.documents;
            count.documents += 1;
        }
    }

    /// The terms of at least `least` documents, at most `most` of them: those of the most, of
    /// equal ones the first; with the number of documents of each.
    pub(crate) fn finish(self, least: u32, most: usize) -> (Terms, Vec<u32>) {
        let counts = self.counts.into_iter().map(|(term, count)| (term, count.documents));
        let mut kept: Vec<(String, u32)> = counts.filter(|(_, count)| *count >= least).collect();
        kept.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        kept.truncate(most);
        kept.sort_unstable();
        let mut terms = Terms::default();
        for (term, _) in &kept {
            terms.bytes.extend_from_slice(term.as_bytes());
            terms.ends.push(terms.bytes.len() as u32);
        }
        (terms, kept.into_iter().map(|(_, count)| count).collect())
    }
}

/// Ascending terms, one after the other, and where each ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Terms {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn view(&self) -> Vocabulary<'_> {
        Vocabulary { bytes: &self.bytes, ends: &self.ends }
    }

    /// Adds them to a payload as `<name>.bytes` and `<name>.ends`.
    pub(crate) fn write<'t>(&'t self, name: &str, writer: &mut PayloadWriter<'t>) {
        writer.array(&format!("{name}.bytes"), &[self.bytes.len()], &self.bytes);
        writer.array(&format!("{name}.ends"), &[self.ends.len()], &self.ends);
    }
}

/// Where terms lie in a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredTerms {
    bytes: Array<u8>,
    ends: Array<u32>,
}

impl StoredTerms {
    /// Checks all that a search relies on.
    pub(crate) fn read(payload: &Payload, name: &str) -> Result<Self, PayloadError> {
        let (bytes, _) = payload.array::<u8>(&format!("{name}.bytes"))?;
        let (ends, _) = payload.array::<u32>(&format!("{name}.ends"))?;
        let stored = Self { bytes, ends };
        let terms = stored.view(payload);
        let mut last = 0;
        let ascend = terms.ends.iter().all(|&end| std::mem::replace(&mut last, end) < end);
        let whole = last as usize == terms.bytes.len();
        let mut each = (0..terms.ends.len()).map(|at| terms.term(at));
        if !(ascend && whole && each.by_ref().is_sorted_by(|a, b| a < b)) {
            return Err(PayloadError::Value {
                name: name.to_owned(),
                got: "other bytes".to_owned(),
                expected: "terms in ascending order",
            });
        }
        Ok(stored)
    }

    pub(crate) fn view(self, payload: &Payload) -> Vocabulary<'_> {
        Vocabulary { bytes: payload.get(self.bytes), ends: payload.get(self.ends) }
    }
}

/// Terms as they are searched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vocabulary<'v> {
    bytes: &'v [u8],
    ends: &'v [u32],
}

impl<'v> Vocabulary<'v> {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of a term.
    pub(crate) fn find(&self, term: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.term(middle).cmp(term.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle as u32),
            }
        }
        None
    }

    /// Empty where ends do not ascend within the bytes.
    fn term(&self, at: usize) -> &'v [u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.bytes.get(start..self.ends[at] as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn counted(documents: &[&str]) -> TermCounts {
        let mut counts = TermCounts::default();
        for document in documents {
            counts.next_document();
            document.split(' ').for_each(|term| counts.add(term));
        }
        counts
    }

    #[test]
    fn terms_count_once_a_document() {
        let documents = ["b a a", "c b", "c b d", "e"];
        let (terms, counts) = counted(&documents).finish(1, 100);
        assert_eq!((terms.len(), counts), (5, vec![1, 3, 2, 1, 1]));
        assert_eq!(terms.view().find("d"), Some(3));
        let (terms, counts) = counted(&documents).finish(2, 100);
        assert_eq!(
            (terms.view().find("b"), terms.view().find("a"), counts),
            (Some(0), None, vec![3, 2])
        );
        let (terms, _) = counted(&documents).finish(1, 3);
        let found = ["a", "b", "c", "d"].map(|term| terms.view().find(term));
        assert_eq!(found, [Some(0), Some(1), Some(2), None]);
    }

    fn payload(bytes: &[u8], ends: &[u32]) -> Payload {
        let mut writer = PayloadWriter::new();
        writer.array("words.bytes", &[bytes.len()], bytes);
        writer.array("words.ends", &[ends.len()], ends);
        Payload::parse(Arc::new(writer.finish())).unwrap()
    }

    proptest! {
        #[test]
        fn stored_terms_are_found(words in prop::collection::btree_set("[a-c\u{e9}]{1,4}", 0..40)) {
            let mut counts = TermCounts::default();
            counts.next_document();
            words.iter().for_each(|word| counts.add(word));
            let (terms, _) = counts.finish(1, usize::MAX);
            let payload = payload(&terms.bytes, &terms.ends);
            let stored = StoredTerms::read(&payload, "words").unwrap().view(&payload);
            for (at, word) in words.iter().enumerate() {
                prop_assert_eq!(stored.find(word), Some(at as u32));
            }
            prop_assert_eq!(stored.find("zzz"), None);
            prop_assert_eq!(stored.find(""), None);
        }

        #[test]
        fn forged_terms_are_refused_or_harmless(
            bytes in prop::collection::vec(any::<u8>(), 0..12),
            ends in prop::collection::vec(0u32..14, 0..6),
        ) {
            let payload = payload(&bytes, &ends);
            if let Ok(stored) = StoredTerms::read(&payload, "words") {
                let view = stored.view(&payload);
                prop_assert!((0..view.len()).all(|at| !view.term(at).is_empty()));
                view.find("a");
            }
        }
    }
}
