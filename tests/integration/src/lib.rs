//! What the tests of the extension share: a private server, a fresh database for each test, and
//! the data that they train on.
//!
//! The server is PostgreSQL with the extension as `make install` left it there; `PG_CONFIG` says
//! which. Failing loudly is a test's job, hence the panics.
#![allow(clippy::unwrap_used, reason = "this crate is test code through and through")]

mod blocks;
mod data;
mod database;
mod interleaving;
mod server;
pub mod shared_files;
mod statement;

pub use blocks::{Block, blocks};
pub use data::{external, load_mnist, load_tsv, repository};
pub use database::Database;
pub use interleaving::{Step, every_order};
pub use server::Server;
pub use statement::Statements;
