//! What an operator sees: diagnostics of a configuration, and the examples that people start from.

mod commands;
mod config_errors;
mod config_files;
mod examples;
mod generated;
mod host;
mod packaging;
mod schema;
mod secrets;

/// The project's directory.
fn root() -> std::path::PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}
