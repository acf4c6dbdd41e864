//! The seams to PostgreSQL where unsafe code is unavoidable: interrupts, threads, identity and
//! snapshots.

pub mod identity;
pub mod interrupts;
pub mod snapshot;
pub mod workers;
