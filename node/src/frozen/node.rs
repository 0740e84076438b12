//! The frozen form of a [`Node`](crate::node::Node).

use serde::{Deserialize, Serialize};

/// A frozen node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// Version 1.
    V1(V1),
}

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V1 {
    /// The number of the next record.
    pub next_record: u64,
}
