//! Labelled texts as they are kept for training.

use teller_numeric::{Cancelled, Control};
use teller_payload::DataDigest;

use super::tokens::MOST_BYTES;
use crate::Error;
use crate::labels::{Labelled, LabelsBuilder, at_least_two};

/// Texts, each with its label.
#[derive(Clone, Debug)]
pub struct TextDataset {
    texts: Texts,
    targets: Vec<u32>,
    labels: Vec<String>,
}

/// Texts one after the other, and where each ends.
#[derive(Clone, Debug, Default)]
struct Texts {
    all: String,
    ends: Vec<usize>,
}

/// Gathers a [`TextDataset`] row by row.
///
/// ```
/// let mut builder = teller_nn::TextDatasetBuilder::default();
/// builder.push("Where is my card?", "card_arrival").unwrap();
/// builder.push("My card was stolen", "lost_or_stolen_card").unwrap();
/// assert_eq!(builder.finish().unwrap().text(1), "My card was stolen");
/// ```
#[derive(Clone, Debug, Default)]
pub struct TextDatasetBuilder {
    texts: Texts,
    labels: LabelsBuilder,
}

/// Bytes of a text's end, its target and its row numbers in a training.
const BYTES_PER_ROW: u64 = 20;

impl TextDatasetBuilder {
    /// Adds a text; of one longer than 64 kB, the rest is never read.
    pub fn push(&mut self, text: &str, label: &str) -> Result<(), Error> {
        self.labels.check()?;
        let end = text.floor_char_boundary(MOST_BYTES);
        let all = &mut self.texts.all;
        all.try_reserve(end).map_err(|_| Error::OutOfMemory { bytes: (all.len() + end) as u64 })?;
        all.push_str(&text[..end]);
        self.texts.ends.push(all.len());
        self.labels.push(label);
        Ok(())
    }

    /// Bytes that a training on the texts so far holds of them, without what it makes of them.
    pub fn memory(&self) -> u64 {
        self.texts.all.len() as u64 + BYTES_PER_ROW * self.labels.rows() as u64
    }

    /// The labels so far, ascending.
    pub fn labels(&self) -> Vec<String> {
        self.labels.labels()
    }

    /// The dataset to train on: at least one row, at least two labels.
    pub fn finish(self) -> Result<TextDataset, Error> {
        let dataset = self.finish_for_evaluation()?;
        at_least_two(&dataset.labels)?;
        Ok(dataset)
    }

    /// The dataset to evaluate on, where one label may be all there is.
    pub fn finish_for_evaluation(self) -> Result<TextDataset, Error> {
        let Labelled { targets, labels } = self.labels.finish()?;
        Ok(TextDataset { texts: self.texts, targets, labels })
    }
}

impl TextDataset {
    /// Texts.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Never: a dataset has rows.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// All labels, ascending.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// For each text, the index of its label.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// One text, at most 64 kB of it.
    pub fn text(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.texts.ends[before]);
        &self.texts.all[start..self.texts.ends[row]]
    }

    /// A digest of all that a training reads; of the labels only their number counts.
    pub(crate) fn digest(&self, control: &dyn Control) -> Result<DataDigest, Cancelled> {
        let mut digest = DataDigest::new();
        digest.update(&[self.labels.len() as u64]);
        digest.update(&self.targets);
        for row in 0..self.len() {
            control.check()?;
            digest.update(self.text(row).as_bytes());
        }
        Ok(digest)
    }
}
