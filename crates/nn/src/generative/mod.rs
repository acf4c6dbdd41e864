//! Networks that learn what rows are like. Those that shorten and judge them ([`autoencoder`]).
//! Generators of table rows: what a table is to a network ([`table`]), the two kinds of network
//! ([`vae`], [`gan`]), and what comes of their training ([`fit_table`]).

mod affine;
mod autoencoder;
mod codec;
mod condition;
mod fit;
mod gan;
mod generator;
mod params;
mod perceptron;
mod report;
mod sampler;
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
pub use report::{Privacy, Quality, Report, evaluate_generator};
pub use table::{ColumnKind, Table, TableCell, TableError};
