//! pg_teller trains, versions and serves models inside PostgreSQL. This crate is the glue; the
//! engines are under crates/ and know nothing of it. docs/ has the SQL, CONTRIBUTING.md the layout.
#![allow(unsafe_code)]

use pgrx::prelude::*;

mod api;
mod bridge;
mod cache;
mod catalog;
mod error;
mod settings;
mod training;

pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/bootstrap.sql", name = "bootstrap", bootstrap);
extension_sql_file!("../sql/training.sql", name = "training", requires = ["bootstrap"]);
extension_sql_file!("../sql/images.sql", name = "images", requires = ["bootstrap"]);
extension_sql_file!("../sql/texts.sql", name = "texts", requires = ["bootstrap"]);
extension_sql_file!("../sql/sequences.sql", name = "sequences", requires = ["bootstrap"]);
extension_sql_file!("../sql/architecture.sql", name = "architecture", requires = ["bootstrap"]);
extension_sql_file!("../sql/recommend.sql", name = "recommend", requires = ["bootstrap"]);
extension_sql_file!("../sql/synthesize.sql", name = "synthesize", requires = ["bootstrap"]);
extension_sql_file!("../sql/generate.sql", name = "generate", requires = ["bootstrap"]);
extension_sql_file!("../sql/autoencoder.sql", name = "autoencoder", requires = ["bootstrap"]);
extension_sql_file!("../sql/metrics.sql", name = "metrics", requires = ["bootstrap"]);
extension_sql_file!("../sql/numbers.sql", name = "numbers", requires = ["bootstrap"]);
extension_sql_file!("../sql/versions.sql", name = "versions", requires = ["bootstrap"]);
extension_sql_file!("../sql/views.sql", name = "views", requires = ["bootstrap"]);
extension_sql_file!("../sql/retraining.sql", name = "retraining", requires = ["bootstrap"]);
extension_sql_file!("../sql/explain.sql", name = "explain", requires = ["bootstrap"]);
extension_sql_file!(
    "../sql/audit.sql",
    name = "audit",
    requires = [
        "bootstrap",
        "training",
        "images",
        "texts",
        "sequences",
        "architecture",
        "recommend",
        "synthesize",
        "generate",
        "autoencoder",
        "metrics",
        "numbers",
        "versions",
        "views",
        "retraining",
        "explain"
    ]
);
extension_sql_file!("../sql/digits.sql", name = "digits", finalize);

/// Runs once in every backend that loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    hide_backtraces();
    settings::init();
    bridge::snapshot::init();
    catalog::model_type::init();
    bridge::sandbox::install();
}

/// Errors go to clients: they must not carry our call stack, whatever the server's environment.
fn hide_backtraces() {
    // SAFETY: the library is loaded on the backend's only thread.
    unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
}
