//! The seams to PostgreSQL where unsafe code is unavoidable: interrupts, threads, identity,
//! snapshots and transactions.

pub mod identity;
pub mod interrupts;
pub mod messages;
pub mod snapshot;
pub mod transaction;
pub mod workers;
