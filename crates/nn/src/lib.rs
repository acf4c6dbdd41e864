//! Neural networks that classify images, texts and sequences: what they are (a checked
//! [`Architecture`]), how they are trained ([`fit`]), kept (named arrays in a payload) and asked
//! ([`ImageClassifier`]); and those that make rows like those of a table ([`fit_table`]).
//!
//! The same seed gives the same weights, and the same weights the same answers, bit by bit, for
//! any number of threads and on any processor.

mod augmentation;
mod batch;
mod calibration;
mod class_weights;
mod classifier;
mod codec;
mod dataset;
mod describe;
mod embedding;
mod error;
mod explain;
mod fitted;
mod fitted_classifier;
mod floats;
mod generative;
mod group;
mod judging;
mod kernels;
mod labels;
mod layer;
mod loss;
mod metrics;
mod network;
mod normalization;
mod objective;
mod optimizer;
mod params;
mod profile;
mod sequence;
mod shape;
mod spec;
mod start;
mod text;
mod train;
mod trainer;
mod training;
pub mod vision;

pub use augmentation::{Augmentation, Fill, Flip};
pub use class_weights::ClassWeights;
pub use classifier::{ImageClassifier, LayerWeights, Workspace, best};
pub use dataset::{ImageDataset, ImageDatasetBuilder};
pub use describe::LayerSummary;
pub use error::Error;
pub use explain::{Heat, Method};
pub use fitted::{Epoch, FittedCnn};
pub use fitted_classifier::FittedClassifier;
pub use generative::{
    Autoencoder, AutoencoderLayout, AutoencoderParams, ColumnKind, Condition, Distances, Examples,
    FittedAutoencoder, FittedImageGenerator, FittedTable, GanParams, GenerationParams,
    ImageGanLayout, ImageGanParams, ImageGenerator, ImageReport, Likelihood, Privacy, Pyramid,
    Quality, Report, Table, TableCell, TableError, TableGenerator, VaeParams, autoencoder_memory,
    evaluate_autoencoder, evaluate_generator, evaluate_image_generator, fit_autoencoder,
    fit_autoencoder_on, fit_images, fit_images_on, fit_table, frechet_distance, image_gan_memory,
    table_memory_needed,
};
pub use layer::Padding;
pub use metrics::{Confusion, Predictions, evaluate};
pub use network::Arithmetic;
pub use normalization::Normalization;
pub use optimizer::{Optimizer, Schedule, UpdateRule};
pub use params::CnnParams;
pub use profile::LayerProfile;
pub use sequence::{
    Cell, FittedSequence, Pooling, SequenceArchitecture, SequenceClassifier, SequenceDataset,
    SequenceDatasetBuilder, SequenceEvent, SequenceEventsBuilder, SequenceParams, SequenceSpec,
    SequenceWorkspace, fit_sequences, fit_sequences_on, sequence_memory_needed,
};
pub use shape::Shape;
pub use spec::{Activation, Architecture, ArchitectureError, Block, Input, LayerSpec, Residual};
pub use start::{Head, StartError, StartFrom};
pub use text::{
    BagParams, FittedText, PreparedTexts, RecurrentTextParams, TextArchitecture, TextClassifier,
    TextDataset, TextDatasetBuilder, TextParams, TextWorkspace,
};
pub use train::{fine_tune, fit, fit_on, memory_needed};
pub use training::{EarlyStopping, Monitor, TrainingParams};
