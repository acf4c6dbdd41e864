use teller_numeric::{Cancelled, OptionError};
use teller_payload::{CheckpointError, PayloadError};

use crate::generative::TableError;
use crate::{ArchitectureError, StartError};

/// Why a network could not be trained, loaded or asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The caller wanted it to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The architecture is no network for these images and classes.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// A training option was refused.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The stored weights are damaged or belong to another architecture.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The table cannot be learned from.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The training cannot start from these weights.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The training cannot go on from this checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Nothing to learn from.
    #[error("the training data has no rows")]
    NoRows,
    /// Nothing to tell apart.
    #[error("all training rows have the label \"{label}\", expected at least two labels")]
    OneClass {
        /// The only label.
        label: String,
    },
    /// Beyond what one dataset can hold.
    #[error("{what}: {needed}, at most {limit} are possible")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much was asked for.
        needed: u64,
        /// The most that is possible.
        limit: u64,
    },
    /// The system did not give the memory.
    #[error("no memory for {bytes} bytes of a network")]
    OutOfMemory {
        /// The one allocation that failed.
        bytes: u64,
    },
    /// The loss or a weight is no longer a finite number.
    #[error("the training diverged in epoch {epoch}: the loss is no longer a finite number")]
    Diverged {
        /// 1-based.
        epoch: u32,
    },
    /// An image has another size than the network's input.
    #[error("the image has {got} values, the network expects {expected}")]
    Raster {
        /// Values given.
        got: usize,
        /// Height x width x channels of the input.
        expected: usize,
    },
    /// A row of numbers, or a code, has another length than the network's.
    #[error("the {what} have {got} numbers, expected {expected}")]
    RowLength {
        /// What was given.
        what: &'static str,
        /// Numbers given.
        got: usize,
        /// Numbers that the network reads.
        expected: usize,
    },
    /// A number that is infinite or none.
    #[error("number {place} of the {what} is {got}, expected a finite number")]
    NotANumber {
        /// What was given.
        what: &'static str,
        /// 1-based.
        place: usize,
        /// The number.
        got: f32,
    },
    /// A feature that was to be taken for a probability.
    #[error("a feature is {got}, expected 0 to 1, as the likelihood is \"bernoulli\"")]
    Probability {
        /// The number.
        got: f32,
    },
    /// The dataset's images have another size than the network's input.
    #[error("the images are {got}, the network expects {expected}")]
    Shape {
        /// What the images are.
        got: String,
        /// What the architecture says.
        expected: String,
    },
    /// No temperature that a training finds.
    #[error("the temperature is {0}, expected a number from 0.05 to 20")]
    Temperature(f32),
    /// The labels do not fit the network.
    #[error("the model has {got} labels, expected at least 2 different ones in ascending order")]
    Labels {
        /// How many there are.
        got: usize,
    },
    /// A normalization that cannot be applied.
    #[error("the normalization {0}")]
    Normalization(&'static str),
    /// A method that looks at convolutions was asked of a network without one.
    #[error("the network has no convolution, grad_cam needs one")]
    NoConvolution,
    /// A sequence without steps, or whose last step is not whole.
    #[error("the sequence has no steps, expected at least one with all its features")]
    EmptySequence,
    /// A sequence of another kind than the others, or than those that the network knows.
    #[error(
        "the sequence has {} features a step and {} static numbers, expected {} and {}",
        .got.0, .got.1, .expected.0, .expected.1
    )]
    SequenceWidth {
        /// Features and static numbers.
        got: (usize, usize),
        /// The same of the others.
        expected: (usize, usize),
    },
    /// An event tells otherwise of its sequence than those before it.
    #[error(
        "the label or a static number of the sequence \"{sequence}\" is another than in its rows \
         before, expected the same in all of them"
    )]
    ChangedSequence {
        /// Its name.
        sequence: String,
    },
    /// Two events are at the same place.
    #[error(
        "two rows of the sequence \"{sequence}\" have the same position, one of them is row {row}, \
         expected different ones"
    )]
    SamePosition {
        /// Its name.
        sequence: String,
        /// 1-based number of one of them among all events.
        row: u64,
    },
    /// A number of a sequence is NaN or infinite.
    #[error("a number of the sequence is NaN or infinite, expected finite ones")]
    NotFinite,
    /// A bag of n-grams was asked for a vector.
    #[error("the model has no recurrent network, text_embedding needs one")]
    NoEmbedding,
    /// Too few images to tell how they vary.
    #[error("there are {got} images, expected at least {expected}")]
    FewImages {
        /// Images given.
        got: usize,
        /// The fewest.
        expected: usize,
    },
    /// The picture could not be written.
    #[error("the picture cannot be written: {0}")]
    Encoding(String),
}
