use teller_numeric::{Cancelled, OptionError};
use teller_payload::{CheckpointError, PayloadError};

/// Why a recommender could not be trained, loaded or asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The caller wanted it to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// There is nothing to work on.
    #[error("there are no {0}")]
    NoRows(&'static str),
    /// A weight that says nothing about liking.
    #[error("the weight of row {row} is {value}, expected a finite number greater than 0")]
    Weight {
        /// 1-based, in the order in which rows came.
        row: u64,
        /// As given.
        value: f32,
    },
    /// A time that is none.
    #[error(
        "the time of row {row} is infinite or not a number, expected a date, time or finite number"
    )]
    Time {
        /// 1-based, in the order in which rows came.
        row: u64,
    },
    /// Integer ids and text ids in one column.
    #[error("the {column} id of row {row} is {got}, but those before it are {expected}")]
    MixedIds {
        /// "user" or "item".
        column: &'static str,
        /// 1-based, in the order in which rows came.
        row: u64,
        /// What the row has.
        got: &'static str,
        /// What the rows before it have.
        expected: &'static str,
    },
    /// Ids that are integers in the data and texts in the model, or the other way round.
    #[error("the {column} ids of the data are {got}, those of the model are {expected}")]
    OtherIds {
        /// "user" or "item".
        column: &'static str,
        /// What the data has.
        got: &'static str,
        /// What the model has.
        expected: &'static str,
    },
    /// An item with two rows of features.
    #[error("item {id} is in row {first} of the items and again in row {row}")]
    DuplicateItem {
        /// The item.
        id: String,
        /// 1-based row where it is first.
        first: u64,
        /// 1-based row where it is again.
        row: u64,
    },
    /// Features of which none tells an item from another.
    #[error(
        "none of the items' {columns} columns of features tells items apart: each is constant, \
         missing, or different for every item"
    )]
    NoFeatures {
        /// How many columns there are.
        columns: usize,
    },
    /// A graph about other things.
    #[error("the graph touches no item: none of the {nodes} heads and tails is the id of one")]
    NoItemInGraph {
        /// Distinct heads and tails.
        nodes: usize,
    },
    /// An algorithm without the data that it learns from.
    #[error("{algorithm} needs {needs}")]
    Lacks {
        /// Name of the algorithm.
        algorithm: &'static str,
        /// What is missing.
        needs: &'static str,
    },
    /// An option was refused.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A stored part is no payload, or lacks an array.
    #[error("the part \"{part}\" of the recommender cannot be read: {source}")]
    Payload {
        /// Name of the part.
        part: &'static str,
        /// What is wrong with it.
        source: PayloadError,
    },
    /// The training cannot go on from this checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Parts that are each readable do not fit together.
    #[error("the recommender's parts are inconsistent: {0}")]
    Inconsistent(String),
    /// The algorithm's numbers do not answer this.
    #[error("its algorithm cannot {0}")]
    Unsupported(&'static str),
    /// The numbers are of a release that did not store what this needs.
    #[error("it was trained by an earlier release of pg_teller and lacks what it needs to {0}")]
    Older(&'static str),
    /// More memory is needed than is allowed.
    #[error("{what} need {needed} bytes, at most {limit} are allowed")]
    TooLarge {
        /// What takes the memory.
        what: &'static str,
        /// Bytes that would be needed.
        needed: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// More distinct users or items than indexes.
    #[error("there are more than {limit} distinct {what}")]
    TooMany {
        /// "users" or "items".
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// The numbers ran out of range.
    #[error("training of {algorithm} diverged at step {step}: the loss is {loss}")]
    Diverged {
        /// Name of the algorithm.
        algorithm: &'static str,
        /// 1-based sweep.
        step: u32,
        /// The loss, not finite.
        loss: f64,
    },
}
