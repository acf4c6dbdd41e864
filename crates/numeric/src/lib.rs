//! What every engine stands on: cancellation and progress, checked options, seeded random
//! streams, the matrix kernels whose sums have one fixed order, and eigenvectors.

pub mod activations;
pub mod control;
mod eigen;
pub mod kernels;
pub mod math;
pub mod options;
pub mod random;

pub use control::{Cancelled, CheckpointBytes, Control, Moment, Step, Uninterrupted};
pub use eigen::eigen;
pub use kernels::Isa;
pub use options::{OptionError, Options};
pub use random::Stream;
