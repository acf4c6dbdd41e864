//! What is known of the items besides who took them: columns of numbers and texts, gathered row by
//! row, then a sparse matrix of features that does not depend on the order of the rows.

mod columns;
mod encode;
mod words;

use columns::{Column, Values};
pub(crate) use encode::Encoded;

use crate::ids::IdsView;
use crate::{Error, IdRef, InteractionsBuilder};

/// What a column of features holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureKind {
    /// Numbers.
    Number,
    /// A text for each item: a category, or words.
    Text,
    /// Any number of texts for each item, each a category.
    Texts,
}

/// Gathers the rows of items; counts memory as it grows.
pub struct ItemFeaturesBuilder {
    columns: Vec<Column>,
    /// Of each row the provisional index of its item.
    items: Vec<u32>,
    max_bytes: u64,
    bytes: u64,
}

impl ItemFeaturesBuilder {
    /// A builder for columns of these names and kinds that takes at most about `max_bytes`.
    pub fn new<'n>(
        columns: impl IntoIterator<Item = (&'n str, FeatureKind)>,
        max_bytes: u64,
    ) -> Self {
        let columns = columns.into_iter().map(|(name, kind)| Column::new(name, kind)).collect();
        Self { columns, items: Vec::new(), max_bytes, bytes: 0 }
    }

    /// Begins the row of an item, which becomes one of the model's items.
    pub fn item(
        &mut self,
        item: IdRef<'_>,
        interactions: &mut InteractionsBuilder,
    ) -> Result<(), Error> {
        let row = self.items.len() as u64 + 1;
        self.items.push(interactions.add_item(item, row)?);
        self.columns.iter_mut().for_each(Column::begin_row);
        self.bytes += 8 + 8 * self.columns.len() as u64;
        self.check()
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// About how many bytes the rows so far take.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A number of the row's item; one that is not finite counts as missing.
    pub fn number(&mut self, column: usize, number: f64) {
        if let Some(column) = self.columns.get_mut(column) {
            column.number(number);
        }
    }

    /// A text of the row's item; the next one of several.
    pub fn text(&mut self, column: usize, text: &str) -> Result<(), Error> {
        if let Some(column) = self.columns.get_mut(column) {
            self.bytes += column.text(text);
        }
        self.check()
    }

    fn check(&self) -> Result<(), Error> {
        // The encoded features take about as much again.
        let needed = self.bytes.saturating_mul(2);
        if needed > self.max_bytes {
            let what = "the items' features";
            return Err(Error::TooLarge { what, needed, limit: self.max_bytes });
        }
        Ok(())
    }

    /// The rows in the order of the items; `ranks` gives the index of each provisional one.
    pub(crate) fn finish(self, ranks: &[u32], items: IdsView<'_>) -> Result<ItemFeatures, Error> {
        let mut rows: Vec<Option<u32>> = vec![None; items.len()];
        for (row, &provisional) in (0..).zip(&self.items) {
            let item = ranks[provisional as usize];
            if let Some(first) = rows[item as usize].replace(row) {
                return Err(Error::DuplicateItem {
                    id: items.get(item).map(|id| id.to_string()).unwrap_or_default(),
                    first: u64::from(first) + 1,
                    row: u64::from(row) + 1,
                });
            }
        }
        Ok(ItemFeatures { columns: self.columns, rows, texts: self.bytes })
    }
}

/// The features of the items as they were given.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemFeatures {
    columns: Vec<Column>,
    /// Of each item its row, where it has one.
    rows: Vec<Option<u32>>,
    /// About how many bytes all this takes.
    texts: u64,
}

impl ItemFeatures {
    /// How many items have features.
    pub fn items(&self) -> usize {
        self.rows.iter().flatten().count()
    }

    /// About how many bytes they take.
    pub(crate) fn bytes(&self) -> u64 {
        self.texts
    }

    /// How many features they make, at most.
    pub(crate) fn vocabulary(&self) -> u64 {
        let most = |column: &Column| match &column.values {
            Values::Numbers(_) => 1,
            // Words or categories, which are at least two bytes long with what parts them.
            Values::Texts(_) => encode::VOCABULARY.min(self.texts as usize / 2) as u64,
        };
        self.columns.iter().map(most).sum()
    }
}
