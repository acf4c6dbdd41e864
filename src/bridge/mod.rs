//! The seams to PostgreSQL where unsafe code is unavoidable: interrupts, threads, identity,
//! sandboxes, snapshots and transactions.

pub mod array;
pub mod identity;
pub mod instruction_set;
pub mod interrupts;
pub mod json;
pub mod memory;
pub mod messages;
pub mod procedure;
pub mod rhythm;
pub mod sandbox;
pub mod session;
pub mod session_lock;
pub mod snapshot;
pub mod transaction;
pub mod workers;
