//! The algorithms, one a file.

mod adam;
pub(crate) mod als;
pub(crate) mod biased_mf;
pub(crate) mod content;
pub(crate) mod ease;
pub(crate) mod item_knn;
pub(crate) mod knowledge_graph;
pub(crate) mod least_squares;
pub(crate) mod popular;
pub(crate) mod svd;
pub(crate) mod weighting;

use std::fmt::Debug;

use teller_numeric::{Control, OptionError, Options};
use teller_payload::{CheckpointError, SharedBytes};

use crate::{
    AlsParams, BiasedMfParams, ContentParams, Dataset, EaseParams, Error, FittedRecommender,
    ItemKnnParams, KnowledgeGraphParams, PopularParams, SvdParams,
};

/// An algorithm with its checked parameters.
pub trait Algorithm: Debug + Send + Sync {
    /// Its name in options.
    fn name(&self) -> &'static str;

    /// What it learns from, or may learn from, besides the interactions.
    fn takes(&self) -> Takes {
        Takes::default()
    }

    /// What a step of its training is called.
    fn step_noun(&self) -> &'static str {
        "step"
    }

    /// The seed of everything random, where something is.
    fn seed(&self) -> Option<u64> {
        None
    }

    /// The same with `factors` of them, where there are factors and more than so many now.
    fn with_fewer_factors(&self, _factors: usize) -> Option<Box<dyn Algorithm>> {
        None
    }

    /// An approximation of the same that takes less memory, where there is one.
    fn with_less_memory(&self) -> Option<Box<dyn Algorithm>> {
        None
    }

    /// Bytes that [`Self::fit`] works with at its peak, one checkpoint included, besides the
    /// interactions.
    fn working_memory(&self, size: &Size) -> u64;

    /// Bytes of the numbers that it stores, besides what all store.
    fn stored_memory(&self, size: &Size) -> u64;

    /// Trains a recommender on the ambient rayon pool, or goes on with a training from a checkpoint
    /// (`resume`) that an earlier call with the same arguments offered to its control; the result is
    /// the same.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::Diverged`] when weights are so large that numbers overflow;
    /// [`Error::Checkpoint`] when the checkpoint is damaged or of anything else.
    fn fit(
        &self,
        data: &Dataset,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error>;
}

/// Data besides the interactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// What is known of the items: their columns of features, or their ids alone.
    pub items: Option<ItemColumns>,
    /// A knowledge graph.
    pub graph: bool,
    /// When the interactions were.
    pub times: bool,
}

/// What is read of the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemColumns {
    /// Ids: there are items that nobody took yet.
    Ids,
    /// Ids and features.
    Features,
}

/// How much there is to train on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Distinct users.
    pub users: u64,
    /// Distinct items.
    pub items: u64,
    /// Distinct pairs of them.
    pub interactions: u64,
    /// Bytes of all ids where those are texts.
    pub texts: u64,
    /// Bytes of what is known of the items.
    pub features: u64,
    /// Features that items have, at most.
    pub vocabulary: u64,
    /// Bytes of the graph.
    pub graph: u64,
    /// Distinct triples of the graph.
    pub triples: u64,
    /// Nodes of the graph that are no items.
    pub entities: u64,
    /// Threads that will train. Whoever asks says it: to ask rayon outside of a pool would start
    /// one that never ends.
    pub threads: u64,
}

impl Size {
    /// Bytes of one matrix of the interactions.
    pub(crate) fn matrix(&self) -> u64 {
        let rows = self.users.saturating_add(self.items);
        self.interactions.saturating_mul(8).saturating_add(rows.saturating_mul(16))
    }

    /// Bytes of so many numbers for each user and item.
    pub(crate) fn numbers(&self, each: usize) -> u64 {
        self.users.saturating_add(self.items).saturating_mul(4 * each as u64)
    }
}

/// Reads `algorithm` (the first is the default) and then the options of that algorithm.
pub fn read(options: &mut Options<'_>) -> Result<Box<dyn Algorithm>, OptionError> {
    read_among(options, &[])
}

/// Reads the options of an algorithm.
pub(crate) type Read = fn(&mut Options<'_>) -> Result<Box<dyn Algorithm>, OptionError>;

/// [`read`], with `others` among which the algorithm may be too.
pub(crate) fn read_among(
    options: &mut Options<'_>,
    others: &[(&'static str, Read)],
) -> Result<Box<dyn Algorithm>, OptionError> {
    let mut algorithms: Vec<(&'static str, Read)> = vec![
        ("als", |options| Ok(Box::new(AlsParams::read(options)?))),
        ("svd", |options| Ok(Box::new(SvdParams::read(options)?))),
        ("biased_mf", |options| Ok(Box::new(BiasedMfParams::read(options)?))),
        ("ease", |options| Ok(Box::new(EaseParams::read(options)?))),
        ("item_knn", |options| Ok(Box::new(ItemKnnParams::read(options)?))),
        ("content", |options| Ok(Box::new(ContentParams::read(options)?))),
        ("knowledge_graph", |options| Ok(Box::new(KnowledgeGraphParams::read(options)?))),
        ("popular", |options| Ok(Box::new(PopularParams::read(options)?))),
    ];
    algorithms.extend(others);
    options.choice("algorithm", &algorithms)?(options)
}

/// Bytes that [`Algorithm::fit`] takes at its peak, its result and the interactions included.
pub fn memory_needed(algorithm: &dyn Algorithm, size: &Size) -> u64 {
    let kept = size.matrix().saturating_add(size.texts);
    let side = size.features.saturating_add(size.graph);
    // Fitted numbers and their payloads.
    let result = algorithm.stored_memory(size).saturating_add(kept).saturating_mul(2);
    // A quarter more for what the allocator keeps of what was freed.
    let peak = kept.saturating_add(side);
    let peak = peak.saturating_add(algorithm.working_memory(size).max(result));
    peak.saturating_add(peak / 4)
}

/// Refuses a checkpoint where the algorithm leaves none.
fn refuse_checkpoint(resume: Option<SharedBytes>) -> Result<(), CheckpointError> {
    match resume {
        None => Ok(()),
        Some(_) => Err(CheckpointError::OtherTraining("parameters")),
    }
}
