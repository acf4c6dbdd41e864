//! The extension's SQL, one subject a module, in one private server.
#![allow(clippy::unwrap_used, reason = "a failed test says so by panicking")]

mod extension;
