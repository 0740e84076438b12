//! What we know. Plain data, changed only by folding an [`Event`] into it; `explain` prints it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use vipcast_bgp::Instant;
use vipcast_bgp::adj_rib_out::Withheld;
use vipcast_bgp::{PrefixMap, Version};

use super::Left;
use super::binding::{Binding, BindingFact};
use super::bindings::Bindings;
use super::contest::Contest;
use super::drains::{Drain, Drains, Leaving, Order, Scope};
use super::kept::Kept;
use super::link::{Link, Links, Listing};
use super::recovery::Recovery;
use super::restart::Restart;
use crate::health::report::{CheckReport, HealthState, Outcome};
use crate::model::{Check, Config};
use crate::names::{CheckName, PeerName, ServiceName};
use crate::table::Table;
use crate::vip::Vip;

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The configuration to follow from now on; the first one is given to [`Engine::new`](super::Engine::new).
    Reload(Arc<Config>),
    /// A probe has ended.
    Check(CheckReport),
    /// A probe of a check, as it is defined here, waits for its turn.
    CheckWaits(CheckName, Arc<Check>),
    /// Every interface of the host and what is bound there; at start, and whenever changes were missed.
    Listed(Listing),
    /// An interface appeared or changed (`Some`), or is gone.
    Link(u32, Option<Link>),
    /// An address or a local route appeared, or something about it changed.
    Added(Binding, BindingFact),
    /// It is gone.
    Removed(Binding),
    /// The kernel has answered [`Asked`], or will not. It closes the question and says nothing about what
    /// is on the host now; an error is in words.
    Answered(Binding, Result<(), String>),
    /// A session reached Established.
    PeerUp(PeerName),
    /// A session, or an attempt, ended.
    PeerDown(PeerName),
    /// Peers go by other names: from the old one to the new one. Their sessions go on.
    PeersRenamed(BTreeMap<PeerName, PeerName>),
    /// The peer's TCP has acknowledged all UPDATEs of this version.
    PeerSynced(PeerName, Version),
    /// What the session with this peer cannot carry of what is announced, all of it.
    PeerWithholds(PeerName, PrefixMap<Withheld>),
    /// An operator drains something.
    Drain {
        /// What.
        scope: Scope,
        /// By whom, why and for how long.
        drain: Drain,
        /// Also where that shortens the drain in force.
        replace: bool,
    },
    /// An operator lifts drains.
    Undrain(Scope, Order),
    /// A state directory that was not read at the start has answered, or there is another one under its path.
    Late(Box<Left>),
    /// The wall clock was set, and is this now.
    WallClock(jiff::Timestamp),
    /// An operator lets a service that was down take over again.
    Promote(ServiceName, Order),
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
    pub withheld: PrefixMap<Withheld>,
    /// It may keep routes of ours until then (graceful restart), unless it is told everything before.
    pub keeps_until: Option<Instant>,
    /// The longest time to keep routes that a configuration before this one asked of it. A session is told by its end which
    /// configuration it began with no more, and a reload may come between an end and the news of it.
    pub(super) asked_before: Option<Duration>,
}

impl PeerFact {
    /// Whether it may have routes of a session that has ended, and has not been told anything since.
    pub(super) fn keeps(&self, now: Instant) -> bool {
        self.keeps_until.is_some_and(|until| until > now)
    }
}

/// How far the shutdown has come. Each phase waits for its own condition; drawn in `engine::shutdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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

impl Shutdown {
    /// One word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Draining { .. } => "draining",
            Self::Withdrawing { .. } => "withdrawing",
            Self::Settling { .. } => "settling",
            Self::Ceasing { .. } => "ceasing",
            Self::Unbinding { .. } => "unbinding",
            Self::Done => "done",
        }
    }
}

/// Everything we know.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Checks that have reported.
    pub checks: Table<CheckName, CheckFact>,
    /// Checks that a reload has brought or changed, and when they have settled at the latest.
    pub pending: BTreeMap<CheckName, Instant>,
    /// VIPs that keep what they had until such checks have settled.
    pub kept: BTreeMap<Vip, Kept>,
    /// Configured peers.
    pub peers: BTreeMap<PeerName, PeerFact>,
    /// Interfaces of the host.
    pub links: Links,
    /// Addresses and local routes on the host.
    pub bindings: Bindings,
    /// Whether the two were ever filled; before that nothing may be concluded from their emptiness.
    pub is_listed: bool,
    /// What the kernel was asked to do and has not answered yet.
    pub asked: BTreeMap<Binding, Asked>,
    /// What could not be bound or unbound, why, and when it is tried again.
    pub binding_errors: BTreeMap<Binding, (String, Instant)>,
    /// VIPs whose binding was taken away a short time ago.
    pub contests: BTreeMap<Vip, Contest>,
    /// Operators' drains.
    pub drains: Arc<Drains>,
    /// VIPs that are announced until their drain, or the shutdown, withdraws them.
    pub leaving: BTreeMap<Vip, Leaving>,
    /// VIPs whose service is, or was, down, as far as that matters.
    pub recovering: BTreeMap<Vip, Recovery>,
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
    /// To put it on the host.
    Bind,
    /// To take it off: it may be gone any moment, so nothing is announced that rests on it.
    Unbind,
}

impl Facts {
    /// Whether the TCP of every established peer has acknowledged `version` or a later one, and none keeps routes of an earlier session. In a
    /// hurry those are not waited for.
    pub(super) fn all_told(&self, version: Version, now: Instant) -> bool {
        self.told(now).is_some_and(|told| told >= version)
    }

    /// The last version that every established peer has acknowledged, if nobody keeps routes of an earlier session.
    pub(super) fn told(&self, now: Instant) -> Option<Version> {
        let established = self.peers.values().filter(|peer| peer.established);
        let told = established.map(|peer| peer.synced).min().unwrap_or(Some(Version(u64::MAX)));
        told.filter(|_| !self.any_keeps(now))
    }

    /// Whether a peer may have routes of an earlier session, and there is time to wait for it.
    pub(super) fn any_keeps(&self, now: Instant) -> bool {
        !self.hurry && self.peers.values().any(|peer| peer.keeps(now))
    }

    /// Forgets what a new configuration no longer names; a peer only once its session is closed, because until then it
    /// has our routes.
    pub(super) fn retain(&mut self, config: &Config) {
        self.checks.retain(|check, _| config.checks.contains_key(check));
        self.peers.retain(|peer, fact| {
            fact.established || fact.keeps_until.is_some() || config.peers.contains_key(peer)
        });
        let configured: BTreeSet<&Vip> = config.services.values().flat_map(|service| &service.vips).collect();
        self.contests.retain(|vip, _| configured.contains(vip));
        let recovering = config.services.values().filter(|service| service.recovers());
        let vips: BTreeSet<&Vip> = recovering.flat_map(|service| &service.vips).collect();
        self.recovering.retain(|vip, _| vips.contains(vip));
    }
}
