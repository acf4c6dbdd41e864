//! Recurrent networks that classify sequences of unequal lengths: of numbers, or of whatever else
//! a [`Source`] makes numbers of.

mod cell;
mod classifier;
mod dataset;
mod events;
mod fit;
mod learner;
mod network;
mod packing;
mod params;
mod pooling;
mod recurrent;
mod scale;
mod serving;
mod source;
mod spec;
mod values;

pub use cell::Cell;
pub use classifier::SequenceClassifier;
pub use dataset::{SequenceDataset, SequenceDatasetBuilder};
pub use events::{SequenceEvent, SequenceEventsBuilder};
pub use fit::{fit_sequences, fit_sequences_on, sequence_memory_needed};
pub(crate) use learner::{Recipe, Regularization, SequenceLearner, floats_needed, most_steps};
pub(crate) use network::{Extents, Network};
pub use params::{SequenceArchitecture, SequenceParams};
pub(crate) use serving::Answer;
pub use serving::SequenceWorkspace;
pub(crate) use source::{Source, Steps};
pub use spec::{Pooling, SequenceSpec};

/// What [`fit_sequences`] gives.
pub type FittedSequence = crate::FittedClassifier<SequenceArchitecture>;

/// Sequences that go through the layers together, whatever the number of threads.
const GROUP: usize = 16;
