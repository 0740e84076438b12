//! The frozen form of a [`Node`](crate::node::Node).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;

use super::engine::Engine;
use super::peers::Peers;

/// A frozen node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// Version 1.
    V1(Box<V1>),
}

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V1 {
    /// The number of the next record.
    pub next_record: u64,
    /// Both clocks at the last wake-up.
    pub clocks: Option<(Instant, Timestamp)>,
    /// The engine.
    pub engine: Engine,
    /// The peers.
    pub peers: Peers,
}
