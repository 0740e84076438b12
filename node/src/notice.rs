//! What ports notice and the node only passes on: worth telling, and no reason to decide anything.

use serde::Serialize;

/// Something that a port has noticed about what a node is for: its VIPs, checks, peers and addresses.
///
/// What a port has to say of itself alone (a file, a thread, a socket) is no notice: the port logs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Noticed by the BGP speaker.
    Speaker(vipcast_bgp::Notice),
}
