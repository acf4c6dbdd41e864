//! Generators of table rows: what a table is to a network ([`table`]), the two kinds of network
//! ([`vae`], [`gan`]), and what comes of their training ([`fit_table`]).

mod affine;
mod codec;
mod fit;
mod gan;
mod generator;
mod params;
mod perceptron;
mod report;
mod sampler;
mod table;
mod vae;

pub use fit::{FittedTable, fit_table, table_memory_needed};
pub use generator::TableGenerator;
pub use params::{GanParams, GenerationParams, VaeParams};
pub use report::{Privacy, Quality, Report, evaluate_generator};
pub use table::{ColumnKind, Table, TableCell, TableError};
