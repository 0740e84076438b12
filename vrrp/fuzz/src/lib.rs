//! The fuzz targets as plain functions: `fuzz_targets/` hands them to libFuzzer, and `vrrp/tests/fuzz_replay.rs`
//! includes this file to run them without libFuzzer. See README.md.
//!
//! A target panics when something is wrong, and returns in every other case.

mod instance;
mod packet;

pub use instance::instance;
pub use packet::packet;
use vipcast_fuzz::{Target, target};

/// Every target.
pub const TARGETS: [Target; 2] = [target!(packet), target!(instance)];
