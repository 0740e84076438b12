//! Checks.
pub mod report;
