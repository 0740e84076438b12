//! The state at one moment, from which answers are made. A query costs the loop only the snapshot; the thread `api`
//! makes the answer.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use vipcast_bgp::net::bfd::Report;
use vipcast_bgp::{Instant, PeerStatus};
use vipcast_node::engine::Known;
use vipcast_node::model;
use vipcast_node::names::PeerName;
use vipcast_node::vip::Vip;

use super::api;
use crate::check::telling::Latest;
use crate::events::ring::Ring;

/// The state at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The facts and decisions of the node.
    pub engine: Known,
    /// The state of the ports.
    pub around: Surroundings,
    pub at: Instant,
    /// The loop's time for the snapshot.
    pub took: Duration,
}

/// The state of the daemon besides the engine.
#[derive(Debug)]
pub struct Surroundings {
    /// Running peers.
    pub peers: BTreeMap<PeerName, PeerInfo>,
    /// BFD sessions by the peer's name.
    pub bfd: Option<Report>,
    /// Our BGP identifier.
    pub router_id: Option<Ipv4Addr>,
    /// Warnings, in words.
    pub warnings: Vec<String>,
    /// VIPs that another daemon on this host announces while they are withheld here, each with its warning.
    pub announced_by_others: BTreeMap<Vip, String>,
    /// When the daemon started.
    pub started: Instant,
    /// The configuration file.
    pub config: String,
    /// The punctuality of the checks.
    pub probes: api::Probes,
    /// The latest results that changed nothing.
    pub latest: Latest,
    /// The latest events.
    pub events: Ring,
    /// The unsaved state, in words.
    pub unsaved: Option<String>,
}

/// A running peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Its settings.
    pub peer: model::Peer,
    /// Its status.
    pub status: PeerStatus,
    /// The hint, when it is down.
    pub hint: Option<String>,
    /// The reason why it does not run.
    pub waits: Option<String>,
}

impl PeerInfo {
    /// A peer that does not run, with the reason and the begin of its wait.
    pub fn waiting(peer: model::Peer, reason: String, since: Instant) -> Self {
        let status = PeerStatus::idle(since);
        Self { peer, status, hint: None, waits: Some(reason) }
    }
}
