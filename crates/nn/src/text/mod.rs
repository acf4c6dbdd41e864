//! Classifiers of texts: recurrent networks over vectors of tokens, bags of n-grams, and both
//! averaged.

mod bag;
mod classifier;
mod dataset;
mod encoder;
mod fit;
mod grams;
mod params;
mod tokens;
mod vocabulary;

pub use classifier::{TextClassifier, TextWorkspace};
pub use dataset::{TextDataset, TextDatasetBuilder};
pub use fit::PreparedTexts;
pub use params::{BagParams, RecurrentTextParams, TextArchitecture, TextParams};

/// What [`PreparedTexts::fit`] gives.
pub type FittedText = crate::FittedClassifier<TextArchitecture>;
