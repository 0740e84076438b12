//! What is so at one moment: everything that an answer is made from. The loop takes it, and that is all that a question costs the
//! loop; the answer is made of it on the thread `api`.

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

/// What is so at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// What the node knows and has decided.
    pub engine: Known,
    /// What the ports know.
    pub around: Surroundings,
    /// When.
    pub at: Instant,
    /// How long the loop took for it.
    pub took: Duration,
}

/// What the daemon knows beside the engine.
#[derive(Debug)]
pub struct Surroundings {
    /// Running peers.
    pub peers: BTreeMap<PeerName, PeerInfo>,
    /// BFD sessions by the peer's name.
    pub bfd: Option<Report>,
    /// Our BGP identifier.
    pub router_id: Option<Ipv4Addr>,
    /// What is not as it should be, in words.
    pub warnings: Vec<String>,
    /// VIPs that another daemon on this host announces while they are withheld here, and what is to be said of each.
    pub announced_by_others: BTreeMap<Vip, String>,
    /// When the daemon started.
    pub started: Instant,
    /// The configuration file.
    pub config: String,
    /// How punctual the checks are.
    pub probes: api::Probes,
    /// The numbers of results that changed nothing.
    pub latest: Latest,
    /// What is not saved, in words.
    pub unsaved: Option<String>,
}

/// A running peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Its settings.
    pub peer: model::Peer,
    /// Its status.
    pub status: PeerStatus,
    /// What to look at, when it is down.
    pub hint: Option<String>,
    /// Why it does not even run.
    pub waits: Option<String>,
}

impl PeerInfo {
    /// A peer that does not run, since then, and why.
    pub fn waiting(peer: model::Peer, reason: String, since: Instant) -> Self {
        let status = PeerStatus::idle(since);
        Self { peer, status, hint: None, waits: Some(reason) }
    }
}
