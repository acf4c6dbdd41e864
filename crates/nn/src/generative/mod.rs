//! Networks that learn what rows are like. Those that shorten and judge them ([`autoencoder`]).
//! Generators of table rows: what a table is to a network ([`table`]), the two kinds of network
//! ([`vae`], [`gan`]), and what comes of their training ([`fit_table`]). Generators of images
//! ([`scans`]).

mod affine;
mod autoencoder;
mod averaging;
mod chain;
mod codec;
mod condition;
mod fit;
mod gan;
mod generator;
mod params;
mod penalty;
mod perceptron;
mod pyramid;
mod report;
mod sampler;
mod scans;
mod table;
mod vae;

pub use autoencoder::{
    Autoencoder, AutoencoderLayout, AutoencoderParams, Examples, FittedAutoencoder, Likelihood,
    autoencoder_memory, evaluate_autoencoder, fit_autoencoder, fit_autoencoder_on,
};
pub use condition::Condition;
pub use fit::{FittedTable, fit_table, table_memory_needed};
pub use generator::TableGenerator;
pub use params::{GanParams, GenerationParams, VaeParams};
pub use pyramid::Pyramid;
pub use report::{Privacy, Quality, Report, evaluate_generator};
pub use scans::{
    Distances, FittedImageGenerator, ImageGanLayout, ImageGanParams, ImageGenerator, ImageReport,
    evaluate_image_generator, fit_images, fit_images_on, frechet_distance, image_gan_memory,
};
pub use table::{ColumnKind, Table, TableCell, TableError};
