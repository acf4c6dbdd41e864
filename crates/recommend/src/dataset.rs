use std::sync::Arc;

use teller_numeric::{Cancelled, Control};

use crate::features::{ItemFeatures, ItemFeaturesBuilder};
use crate::graph::{Graph, GraphBuilder};
use crate::{Error, Interactions, InteractionsBuilder, Size};

/// What a recommender is trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Who took what.
    pub interactions: Interactions,
    /// What is known of the items.
    pub features: Option<Arc<ItemFeatures>>,
    /// What items have to do with each other.
    pub graph: Option<Arc<Graph>>,
}

/// Gathers what a recommender is trained on.
pub struct DatasetBuilder {
    /// Who took what.
    pub interactions: InteractionsBuilder,
    /// What is known of the items, also of some that nobody took.
    pub features: Option<ItemFeaturesBuilder>,
    /// What items have to do with each other.
    pub graph: Option<GraphBuilder>,
}

impl DatasetBuilder {
    /// All of it, which does not depend on the order of the rows.
    ///
    /// # Errors
    /// [`Error::NoRows`], [`Error::DuplicateItem`], [`Error::NoItemInGraph`].
    pub fn finish(self, control: &dyn Control) -> Result<Dataset, Error> {
        let (interactions, ranks) = self.interactions.finish_ranked(control)?;
        let items = interactions.items();
        let features = self.features.map(|features| features.finish(&ranks, items)).transpose()?;
        let graph = self.graph.map(|graph| graph.finish(items, control)).transpose()?;
        let (features, graph) = (features.map(Arc::new), graph.map(Arc::new));
        Ok(Dataset { interactions, features, graph })
    }
}

impl From<Interactions> for Dataset {
    fn from(interactions: Interactions) -> Self {
        Self { interactions, features: None, graph: None }
    }
}

impl Dataset {
    /// The same with the pairs of user and item for which `keep` says so; nothing if there are
    /// none.
    pub(crate) fn subset(
        &self,
        keep: impl Fn(u32, u32) -> bool,
        control: &dyn Control,
    ) -> Result<Option<Self>, Cancelled> {
        // What is known of items goes by their indexes, and they can be recommended untaken.
        let described = self.features.is_some() || self.graph.is_some();
        let interactions = self.interactions.subset(keep, described, control)?;
        let (features, graph) = (self.features.clone(), self.graph.clone());
        Ok(interactions.map(|interactions| Self { interactions, features, graph }))
    }

    /// How much there is for so many threads.
    pub fn size(&self, threads: usize) -> Size {
        let (users, items) = (self.interactions.users(), self.interactions.items());
        Size {
            users: users.len() as u64,
            items: items.len() as u64,
            interactions: self.interactions.len() as u64,
            texts: users.text_bytes() + items.text_bytes(),
            features: self.features.as_ref().map_or(0, |features| features.bytes()),
            vocabulary: self.features.as_ref().map_or(0, |features| features.vocabulary()),
            triples: self.graph.as_ref().map_or(0, |graph| graph.triples.len() as u64),
            entities: self.graph.as_ref().map_or(0, |graph| graph.entities.len() as u64),
            graph: self.graph.as_ref().map_or(0, |graph| graph.bytes()),
            threads: threads as u64,
        }
    }
}
