//! The fuzz targets as plain functions: `fuzz_targets/` hands them to libFuzzer, and `node/tests/fuzz_replay.rs` includes
//! this file to run them without libFuzzer. See README.md.
//!
//! A target panics when something is wrong, and returns in every other case.

mod health;
mod json;
mod node;
mod story;

pub use health::health;
pub use node::node;
use vipcast_fuzz::{Target, target};

/// Every target.
pub const TARGETS: [Target; 2] = [target!(node), target!(health)];
