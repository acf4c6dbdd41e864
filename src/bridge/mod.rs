//! The seams to PostgreSQL where unsafe code is unavoidable: interrupts, threads, identity,
//! sandboxes, snapshots and transactions.

pub mod identity;
pub mod interrupts;
pub mod messages;
pub mod sandbox;
pub mod snapshot;
pub mod transaction;
pub mod workers;
