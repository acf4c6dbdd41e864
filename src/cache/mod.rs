//! Versions ready to serve, kept by this backend.
//!
//! A finished version is immutable, so what was loaded for a table, a version and the place of
//! its manifest row stays right for ever. Only which version is in production can change, and
//! that is looked up under the snapshot of each statement.

mod autoencoder_model;
mod classifier_info;
mod image_generator_model;
mod kept;
mod lookup;
mod model;
mod sequence_model;
mod shared;
mod table_model;
mod text_model;

pub use autoencoder_model::AutoencoderInfo;
pub use classifier_info::ClassifierInfo;
pub use image_generator_model::{GAN, ImageGeneratorInfo};
pub use lookup::{of_version, production, readable, served, version};
pub use model::{ImageModelInfo, Model, Parts, WEIGHTS};
pub use shared::refuse_lost;
pub use table_model::TableModelInfo;
