//! The two clocks, read once by the port that wakes the node.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;

/// A reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// CLOCK_MONOTONIC, for all decisions. It cannot be set.
    pub mono: Instant,
    /// The wall clock, for messages and for times that outlast the boot. It can be set at any time.
    pub wall: Timestamp,
}
