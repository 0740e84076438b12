//! The operator's view: diagnostics of a configuration, and the examples.

mod commands;
mod config_errors;
mod config_files;
mod dashboard;
mod examples;
mod generated;
mod host;
mod import;
mod links;
mod packaging;
mod recipe;
mod schema;
mod secrets;
mod variables;

/// The project's directory.
fn root() -> std::path::PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}
