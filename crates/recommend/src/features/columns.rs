use std::collections::HashMap;

use super::FeatureKind;

/// A column of features: a value, several or none for each row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) values: Values,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    /// One a row, NaN where it is missing.
    Numbers(Vec<f64>),
    Texts(Texts),
}

/// Each distinct text once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Texts {
    /// Whether a row may have several.
    pub(super) several: bool,
    distinct: HashMap<Box<str>, u32>,
    /// Where the texts of each row end.
    ends: Vec<usize>,
    /// Their indexes, in the order of arrival.
    indexes: Vec<u32>,
}

impl Column {
    pub(super) fn new(name: &str, kind: FeatureKind) -> Self {
        let texts = |several| {
            let (distinct, ends, indexes) = (HashMap::new(), Vec::new(), Vec::new());
            Values::Texts(Texts { several, distinct, ends, indexes })
        };
        let values = match kind {
            FeatureKind::Number => Values::Numbers(Vec::new()),
            FeatureKind::Text => texts(false),
            FeatureKind::Texts => texts(true),
        };
        Self { name: name.to_owned(), values }
    }

    pub(super) fn begin_row(&mut self) {
        match &mut self.values {
            Values::Numbers(numbers) => numbers.push(f64::NAN),
            Values::Texts(texts) => texts.ends.push(texts.indexes.len()),
        }
    }

    pub(super) fn number(&mut self, number: f64) {
        if let Values::Numbers(numbers) = &mut self.values
            && let Some(last) = numbers.last_mut()
            && number.is_finite()
        {
            *last = number;
        }
    }

    /// Adds a text to the last row; the bytes that this takes.
    pub(super) fn text(&mut self, text: &str) -> u64 {
        let Values::Texts(texts) = &mut self.values else { return 0 };
        let Some(end) = texts.ends.last_mut() else { return 0 };
        *end += 1;
        // Of 2^32 distinct texts the memory's limit stops far fewer.
        let next = u32::try_from(texts.distinct.len()).unwrap_or(u32::MAX);
        let (index, bytes) = match texts.distinct.get(text) {
            Some(&index) => (index, 4),
            None => {
                texts.distinct.insert(text.into(), next);
                (next, 4 + 100 + text.len() as u64)
            }
        };
        texts.indexes.push(index);
        bytes
    }
}

impl Texts {
    /// The texts in their order, and of each index the place among them.
    pub(super) fn sorted(&self) -> (Vec<&str>, Vec<u32>) {
        let mut texts: Vec<(&str, u32)> =
            self.distinct.iter().map(|(text, &index)| (&**text, index)).collect();
        texts.sort_unstable();
        let mut ranks = vec![0; texts.len()];
        for (rank, &(_, index)) in (0..).zip(&texts) {
            ranks[index as usize] = rank;
        }
        (texts.into_iter().map(|(text, _)| text).collect(), ranks)
    }

    /// Indexes of the texts of a row.
    pub(super) fn row(&self, row: u32) -> &[u32] {
        let row = row as usize;
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.indexes[start..self.ends[row]]
    }

    pub(super) fn rows(&self) -> usize {
        self.ends.len()
    }
}
