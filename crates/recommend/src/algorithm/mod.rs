//! The algorithms, one a file.

pub(crate) mod als;
pub(crate) mod item_knn;
mod least_squares;
mod popular;
pub(crate) mod svd;
pub(crate) mod weighting;

use teller_numeric::{Control, OptionError, Options};
use teller_payload::{CheckpointError, SharedBytes};

use crate::dense::gram_parts;
use crate::{AlsParams, Error, FittedRecommender, Interactions, ItemKnnParams, SvdParams, index};

/// An algorithm with its checked parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum AlgorithmParams {
    /// Alternating least squares with confidence weights.
    Als(AlsParams),
    /// Truncated singular value decomposition.
    Svd(SvdParams),
    /// The nearest items of those that a user had.
    ItemKnn(ItemKnnParams),
    /// The items that most users had.
    Popular,
}

#[derive(Clone, Copy)]
enum Name {
    Als,
    Svd,
    ItemKnn,
    Popular,
}

impl AlgorithmParams {
    /// Reads `algorithm` (`als`, `svd`, `item_knn` or `popular`; the first is the default) and then the
    /// options of that algorithm.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let names = [
            ("als", Name::Als),
            ("svd", Name::Svd),
            ("item_knn", Name::ItemKnn),
            ("popular", Name::Popular),
        ];
        Ok(match options.choice("algorithm", &names)? {
            Name::Als => Self::Als(AlsParams::read(options)?),
            Name::Svd => Self::Svd(SvdParams::read(options)?),
            Name::ItemKnn => Self::ItemKnn(ItemKnnParams::read(options)?),
            Name::Popular => Self::Popular,
        })
    }

    /// The same with `factors` of them, where there are factors and fewer than now.
    pub fn with_fewer_factors(&self, factors: usize) -> Option<Self> {
        match self {
            Self::Als(params) if factors < params.factors => {
                Some(Self::Als(AlsParams { factors, ..params.clone() }))
            }
            Self::Svd(params) if factors < params.factors => {
                Some(Self::Svd(SvdParams { factors, ..params.clone() }))
            }
            _ => None,
        }
    }

    /// The seed of everything random, where something is.
    pub fn seed(&self) -> Option<u64> {
        match self {
            Self::Als(params) => Some(params.seed),
            Self::Svd(params) => Some(params.seed),
            Self::ItemKnn(_) | Self::Popular => None,
        }
    }

    /// The algorithm's name in options.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Als(_) => "als",
            Self::Svd(_) => "svd",
            Self::ItemKnn(_) => "item_knn",
            Self::Popular => "popular",
        }
    }
}

/// Trains a recommender on the ambient rayon pool, or goes on with a training from a checkpoint
/// (`resume`) that an earlier call with the same arguments offered to its control; the result is
/// the same.
///
/// # Errors
/// [`Error::Cancelled`]; [`Error::Diverged`] when weights are so large that numbers overflow;
/// [`Error::Checkpoint`] when the checkpoint is damaged or of anything else.
pub fn fit(
    algorithm: &AlgorithmParams,
    data: &Interactions,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedRecommender, Error> {
    match (algorithm, resume) {
        (AlgorithmParams::Als(params), resume) => als::fit(params, data, resume, control),
        (AlgorithmParams::Svd(params), resume) => svd::fit(params, data, resume, control),
        (AlgorithmParams::ItemKnn(params), None) => item_knn::fit(params, data, control),
        (AlgorithmParams::Popular, None) => popular::fit(data, control),
        // They leave no checkpoints.
        (AlgorithmParams::ItemKnn(_) | AlgorithmParams::Popular, Some(_)) => {
            Err(CheckpointError::OtherTraining("parameters").into())
        }
    }
}

/// Bytes that [`fit`] takes at its peak, one checkpoint, [`FittedRecommender::parts`] and the
/// interactions included. `texts` are the bytes of all ids where those are texts.
pub fn memory_needed(
    algorithm: &AlgorithmParams,
    users: u64,
    items: u64,
    interactions: u64,
    texts: u64,
) -> u64 {
    let both = users.saturating_add(items);
    let matrix = interactions.saturating_mul(8).saturating_add(both.saturating_mul(16));
    let numbers = |factors: u64| both.saturating_mul(factors).saturating_mul(4);
    let square = |n: u64, parts: u64| n.saturating_mul(n).saturating_mul(4 * (parts + 16));
    let parts = |rows: u64| gram_parts(rows as usize) as u64;
    let training = match algorithm {
        // Both matrices with weights as they count, the factors, those of one side times an
        // inverse, and the factors in a checkpoint.
        AlgorithmParams::Als(params) => matrix
            .saturating_mul(2)
            .saturating_add(numbers(params.factors as u64).saturating_mul(3))
            .saturating_add(square(params.factors as u64, parts(users.max(items)))),
        // Two tall matrices a side while one is turned into the next, and one in a checkpoint.
        AlgorithmParams::Svd(params) => {
            let width = (params.factors + params.oversampling) as u64;
            matrix
                .saturating_mul(2)
                .saturating_add(numbers(width).saturating_mul(2))
                .saturating_add(users.max(items).saturating_mul(width).saturating_mul(4))
                .saturating_add(square(width, parts(users.max(items))))
        }
        // What the weights count, and both matrices of similarities, the sums of each thread, and
        // the neighbors twice.
        AlgorithmParams::ItemKnn(params) => matrix
            .saturating_mul(3)
            .saturating_add(items.saturating_mul(16 * (params.neighbors as u64 + 1)))
            .saturating_add(items.saturating_mul(8 * rayon::current_num_threads() as u64)),
        AlgorithmParams::Popular => 0,
    };
    let factors = |factors| numbers(factors).saturating_add(index::bytes_needed(items, factors));
    let stored = match algorithm {
        AlgorithmParams::Als(params) => factors(params.factors as u64),
        AlgorithmParams::Svd(params) => factors(params.factors as u64),
        AlgorithmParams::ItemKnn(params) => items.saturating_mul(8 * params.neighbors as u64),
        AlgorithmParams::Popular => 0,
    };
    // Fitted numbers and their payloads.
    let result = stored.saturating_add(matrix).saturating_add(texts).saturating_mul(2);
    // A quarter more for what the allocator keeps of what was freed.
    let peak = matrix.saturating_add(texts).saturating_add(training.max(result));
    peak.saturating_add(peak / 4)
}
