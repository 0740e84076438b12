//! The state at one moment, from which answers are made. A query costs the loop only the snapshot; the thread `api`
//! makes the answer.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use vipcast_bgp::net::bfd::Report;
use vipcast_bgp::{Instant, PeerStatus};
use vipcast_node::engine::Known;
use vipcast_node::model;
use vipcast_node::names::PeerName;
use vipcast_node::vip::Vip;

use super::api;
use crate::check::tally::Tally;
use crate::check::telling::Latest;
use crate::daemon::HandedOver;
use crate::events::file::Progress;
use crate::events::ring::Ring;
use crate::hooks;
use crate::metrics::counts::Counts;

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
    /// Whether this daemon only observes.
    pub observing: bool,
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
    /// The hand-over that this process came from.
    pub(crate) handed_over: Option<HandedOver>,
    /// The reason why the last hand-over did not take place.
    pub not_upgraded: Option<String>,
    /// The punctuality of the checks.
    pub probes: api::Probes,
    /// The latest results that changed nothing.
    pub latest: Latest,
    /// The latest events.
    pub events: Ring,
    /// The progress of the file of events.
    pub(crate) event_file: Progress,
    /// The deliveries of hooks.
    pub(crate) hooks: hooks::Deliveries,
    /// Counts of records since the start.
    pub counts: Counts,
    /// The results of the checks.
    pub tally: Tally,
    /// When the daemon started, on the wall clock.
    pub born: Timestamp,
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

#[cfg(test)]
pub(crate) mod fixture {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use vipcast_bgp::net::clock;
    use vipcast_node::engine::{Engine, Left};
    use vipcast_node::now::Now;
    use vipcast_node::outbox::Outbox;

    use super::*;

    /// Of a node with this many VIPs.
    pub(crate) fn snapshot(vips: usize) -> Snapshot {
        let address = |n: usize| Ipv4Addr::from(0xc612_0000 + u32::try_from(n).unwrap()).to_string();
        let list: Vec<String> = (0..vips).map(address).collect();
        let text = format!(
            "local_as: 65001\nrouter_id: 10.0.0.2\npeers: {{tor: {{address: 10.0.1.1, peer_as: 65000}}}}\n\
             services: {{web: {{vips: [{}], checks: []}}}}\n",
            if vips == 0 { "192.0.2.1".to_owned() } else { list.join(", ") }
        );
        let at = clock::now();
        let mut engine =
            Engine::new(Arc::new(crate::config::parse("test", &text).unwrap().config), Left::default());
        let now = Now { mono: at, wall: jiff::Timestamp::UNIX_EPOCH };
        engine.start(at, &mut Outbox::new(now, 0));
        let around = Surroundings {
            peers: BTreeMap::new(),
            bfd: None,
            observing: false,
            router_id: None,
            warnings: Vec::new(),
            announced_by_others: BTreeMap::new(),
            started: at,
            config: "test".to_owned(),
            handed_over: None,
            not_upgraded: None,
            probes: api::Probes { started: 0, late_p50_us: 0, late_p99_us: 0 },
            latest: Latest::default(),
            events: Ring::new(),
            event_file: Progress::default(),
            hooks: hooks::Deliveries::default(),
            counts: Counts::default(),
            tally: Tally::default(),
            born: jiff::Timestamp::UNIX_EPOCH,
            unsaved: None,
        };
        Snapshot { engine: engine.known(), around, at, took: Duration::ZERO }
    }
}
