//! The labels of a data set, gathered row by row.

use std::collections::BTreeMap;

use crate::Error;

/// Labels by number, in order of first appearance.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelsBuilder {
    numbers: BTreeMap<String, u32>,
    targets: Vec<u32>,
}

/// The index of each row's label among the labels, which ascend.
#[derive(Clone, Debug)]
pub(crate) struct Labelled {
    pub(crate) targets: Vec<u32>,
    pub(crate) labels: Vec<String>,
}

impl LabelsBuilder {
    /// Fails if one more row is too many.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.targets.len() < u32::MAX as usize {
            return Ok(());
        }
        let limit = u64::from(u32::MAX);
        Err(Error::TooLarge { what: "training rows", needed: limit + 1, limit })
    }

    /// The label of the next row.
    pub(crate) fn push(&mut self, label: &str) {
        let number = match self.numbers.get(label) {
            Some(&number) => number,
            None => {
                let number = self.numbers.len() as u32;
                self.numbers.insert(label.to_owned(), number);
                number
            }
        };
        self.targets.push(number);
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> usize {
        self.targets.len()
    }

    /// The labels so far, ascending.
    pub(crate) fn labels(&self) -> Vec<String> {
        self.numbers.keys().cloned().collect()
    }

    /// At least one row. The labels ascend, so that classes do not depend on the order of the rows.
    pub(crate) fn finish(self) -> Result<Labelled, Error> {
        let mut targets = self.targets;
        if targets.is_empty() {
            return Err(Error::NoRows);
        }
        let mut ranks = vec![0; self.numbers.len()];
        for (rank, &number) in self.numbers.values().enumerate() {
            ranks[number as usize] = rank as u32;
        }
        for target in &mut targets {
            *target = ranks[*target as usize];
        }
        targets.shrink_to_fit();
        Ok(Labelled { targets, labels: self.numbers.into_keys().collect() })
    }
}

/// Fails if there is nothing to tell apart.
pub(crate) fn at_least_two(labels: &[String]) -> Result<(), Error> {
    match labels {
        [label] => Err(Error::OneClass { label: label.clone() }),
        _ => Ok(()),
    }
}

/// Whether a stored classifier can have these labels.
pub(crate) fn check_stored(labels: &[String]) -> Result<(), Error> {
    match labels.len() >= 2 && labels.is_sorted_by(|a, b| a < b) {
        true => Ok(()),
        false => Err(Error::Labels { got: labels.len() }),
    }
}
