//! What we know. Plain data, changed only by folding an [`Event`] into it; `explain` prints it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Version;
use vipcast_bgp::adj_rib_out::Withheld;

use super::address::{Address, AddressFact, Link, Links, Listing};
use super::contest::Contest;
use super::recovery::Recovery;
use super::restart::Restart;
use crate::check::report::{CheckReport, HealthState, Outcome};
use crate::config::model::Config;
use crate::names::{CheckName, PeerName, ServiceName};

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The configuration to follow from now on; the first one is given to [`Engine::new`](super::Engine::new).
    Reload(Arc<Config>),
    /// A probe has ended.
    Check(CheckReport),
    /// Every interface and address of the host; at start, and whenever changes were missed.
    Addresses(Listing),
    /// An interface appeared or changed (`Some`), or is gone.
    Link(u32, Option<Link>),
    /// An address appeared, or something about it changed.
    AddressAdded(Address, AddressFact),
    /// An address is gone.
    AddressRemoved(Address),
    /// The kernel has answered [`Asked`] of an address, or will not. It closes the question and says nothing about what
    /// is on the host now; an error is in words.
    Answered(Address, Result<(), String>),
    /// A session reached Established.
    PeerUp(PeerName),
    /// A session, or an attempt, ended.
    PeerDown(PeerName),
    /// Peers go by other names: from the old one to the new one. Their sessions go on.
    PeersRenamed(BTreeMap<PeerName, PeerName>),
    /// The peer's TCP has acknowledged all UPDATEs of this version.
    PeerSynced(PeerName, Version),
    /// What the session with this peer cannot carry of what is announced, all of it.
    PeerWithholds(PeerName, Arc<BTreeMap<IpNet, Withheld>>),
    /// An operator drains a service.
    Drain(ServiceName, Drain),
    /// An operator lifts the drain.
    Undrain(ServiceName),
    /// An operator lets a service that was down take over again.
    Promote(ServiceName),
    /// SIGTERM. The second one is in a hurry.
    Shutdown,
    /// Every peer was stopped and its connection is closed.
    PeersStopped,
    /// The deadline has passed.
    Tick,
}

/// What is known of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFact {
    /// Its state.
    pub state: HealthState,
    /// Since when.
    pub since: Instant,
    /// Which limit makes it degraded, in words.
    pub degraded: Option<String>,
    /// Until when it cannot come up, because it went down too often.
    pub held_until: Option<Instant>,
    /// The last result.
    pub outcome: Outcome,
    /// When that came.
    pub at: Instant,
}

/// What is known of a peer, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerFact {
    /// Whether the session is up.
    pub established: bool,
    /// The last version that the peer's TCP has acknowledged in full.
    pub synced: Option<Version>,
    /// VIPs that the session cannot carry, and why.
    pub withheld: Arc<BTreeMap<IpNet, Withheld>>,
}

/// An operator's drain of a service. Survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Who asked for it.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, on the wall clock.
    pub since: jiff::Timestamp,
    /// When it ends by itself, on the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
    /// The same two on the monotonic clock of this process.
    #[serde(skip)]
    pub clock: DrainClock,
}

/// The phases of a drain on the monotonic clock. After a restart `withdraw_at` is `None`: the drain is over its
/// GRACEFUL_SHUTDOWN phase, because nothing was announced meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DrainClock {
    /// When the GRACEFUL_SHUTDOWN phase ends and the VIPs are withdrawn.
    pub withdraw_at: Option<Instant>,
    /// When the drain is lifted.
    pub lift_at: Option<Instant>,
}

/// How far the shutdown has come. Each phase waits for its own condition; drawn in `engine::shutdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Announced with GRACEFUL_SHUTDOWN until then.
    Draining {
        /// End of the phase.
        until: Instant,
    },
    /// Withdrawn; waits until every established peer was told, at most until then.
    Withdrawing {
        /// End of patience.
        until: Instant,
    },
    /// Every peer was told; the addresses stay a little longer.
    Settling {
        /// End of the phase.
        until: Instant,
    },
    /// Sessions are being closed, at most until then.
    Ceasing {
        /// End of patience.
        until: Instant,
    },
    /// Addresses are being removed, at most until then.
    Unbinding {
        /// End of patience.
        until: Instant,
    },
    /// Nothing is left to do.
    Done,
}

/// Everything we know.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Checks that have reported.
    pub checks: BTreeMap<CheckName, CheckFact>,
    /// Configured peers.
    pub peers: BTreeMap<PeerName, PeerFact>,
    /// Interfaces of the host.
    pub links: Links,
    /// Addresses on the host.
    pub addresses: BTreeMap<Address, AddressFact>,
    /// Whether the two were ever filled; before that nothing may be concluded from their emptiness.
    pub addresses_known: bool,
    /// What the kernel was asked to do with an address and has not answered yet.
    pub asked: BTreeMap<Address, Asked>,
    /// Addresses that could not be bound or unbound, why, and when it is tried again.
    pub address_errors: BTreeMap<Address, (String, Instant)>,
    /// VIPs whose address was taken away a short time ago.
    pub contests: BTreeMap<IpAddr, Contest>,
    /// Operators' drains.
    pub drains: BTreeMap<ServiceName, Drain>,
    /// VIPs whose service is, or was, down, as far as that matters.
    pub recovering: BTreeMap<IpNet, Recovery>,
    /// Set until everything is decided after a restart that routers wait for.
    pub restart: Option<Restart>,
    /// Set once a shutdown has begun.
    pub shutdown: Option<Shutdown>,
    /// A second SIGTERM came.
    pub hurry: bool,
    /// Every session was closed for good.
    pub sessions_closed: bool,
}

/// A request that the kernel has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To put the address on the host.
    Bind,
    /// To take it off: it may be gone any moment, so nothing is announced that rests on it.
    Unbind,
}

impl Facts {
    /// Whether the TCP of every established peer has acknowledged `version` or a later one.
    pub fn all_synced(&self, version: Version) -> bool {
        self.peers
            .values()
            .all(|peer| !peer.established || peer.synced.is_some_and(|synced| synced >= version))
    }

    /// Forgets what a new configuration no longer names; a peer only once its session is closed, because until then it
    /// has our routes.
    pub(super) fn retain(&mut self, config: &Config) {
        self.checks.retain(|check, _| config.checks.contains_key(check));
        self.peers.retain(|peer, fact| fact.established || config.peers.contains_key(peer));
        self.drains.retain(|service, _| config.services.contains_key(service));
        let configured: BTreeSet<IpAddr> =
            config.services.values().flat_map(|service| &service.vips).map(IpNet::addr).collect();
        self.contests.retain(|ip, _| configured.contains(ip));
        let recovering = config.services.values().filter(|service| service.recovers());
        let vips: BTreeSet<&IpNet> = recovering.flat_map(|service| &service.vips).collect();
        self.recovering.retain(|vip, _| vips.contains(vip));
    }
}
