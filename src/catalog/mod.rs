//! Model tables and training data: the only code that reads and writes tables.

pub mod audit;
pub mod column_type;
pub mod data;
pub mod digest;
pub mod feature;
pub mod life;
pub mod manifest;
pub mod model_table;
pub mod model_type;
pub mod models;
pub mod name;
mod rows_digest;
pub mod run;
pub mod store;
pub mod timestamp;
pub mod version;
pub mod writer;
