//! The two clocks, read once by the port that wakes the node.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;

/// A reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// CLOCK_MONOTONIC: what every decision rests on. Nobody sets it.
    pub mono: Instant,
    /// The wall clock: for people, and for what outlasts the boot. Anybody may set it.
    pub wall: Timestamp,
}
