use crate::{Error, TopK};

/// Why somebody is recommended an item, and how much of its score that is.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// What speaks for the item, or against it.
    pub because: Because,
    /// Its part of the score: the contributions of all reasons add up to the score. Of a path of
    /// triples the probability that these are true.
    pub contribution: f32,
}

/// What speaks for an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Because {
    /// An item, by its index, that somebody had.
    Item(u32),
    /// A path to the item through a graph.
    Path(Vec<Place>),
    /// Anything else, in words.
    Text(String),
}

/// A step of a path: an item, or an entity or relation by its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// An item, by its index.
    Item(u32),
    /// A name.
    Name(String),
}

impl Reason {
    pub(super) fn item(item: u32, contribution: f32) -> Self {
        Self { because: Because::Item(item), contribution }
    }

    pub(super) fn path(path: Vec<Place>, contribution: f32) -> Self {
        Self { because: Because::Path(path), contribution }
    }

    pub(super) fn text(text: &str, contribution: f32) -> Self {
        Self { because: Because::Text(text.to_owned()), contribution }
    }
}

/// Contributions of items as reasons, the greatest first, ties by item. What contributes nothing is
/// no reason.
pub(super) fn of_items(contributions: impl Iterator<Item = (u32, f32)>) -> Vec<Reason> {
    let mut top = TopK::new(usize::MAX);
    let contributions = contributions.filter(|&(_, contribution)| contribution != 0.0);
    contributions.for_each(|(item, contribution)| top.offer(item, contribution));
    top.finish().into_iter().map(|(item, contribution)| Reason::item(item, contribution)).collect()
}

/// What an algorithm's numbers do not answer.
pub(super) fn unsupported<T>(question: &'static str) -> Result<T, Error> {
    Err(Error::Unsupported(question))
}
