//! The facts. Plain data, changed only by folding an [`Event`] into it; `explain` prints it.

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
use super::cordons::{Cordon, Farewell};
use super::drains::Leaving;
use super::forces::Force;
use super::kept::Kept;
use super::link::{Link, Links, Listing};
use super::overrides::{Order, Override, Overrides, Scope};
use super::recovery::Recovery;
use super::restart::Restart;
use crate::health::report::{CheckReport, HealthState, Outcome};
use crate::model::{Check, Config};
use crate::names::{CheckName, PeerName, ServiceName};
use crate::table::Table;
use crate::vip::Vip;

/// An event of the engine.
#[derive(Debug, Clone)]
pub enum Event {
    /// A new configuration; the first one is given to [`Engine::new`](super::Engine::new).
    Reload(Arc<Config>),
    /// A probe has ended.
    Check(CheckReport),
    /// A probe of a check with this definition waits for a permit.
    CheckWaits(CheckName, Arc<Check>),
    /// All interfaces and bindings of the host; at start, and whenever changes were missed.
    Listed(Listing),
    /// An interface was added or has changed (`Some`), or is gone.
    Link(u32, Option<Link>),
    /// An address or a local route was added or has changed.
    Added(Binding, BindingFact),
    /// An address or a local route is gone.
    Removed(Binding),
    /// The kernel has answered [`Asked`], or will not. This ends the request, and is no fact about the host; an error
    /// is in words.
    Answered(Binding, Result<(), String>),
    /// Nobody will hear the answer. A listing has come since, and shows what the request has done.
    Unanswered(Binding),
    /// A session reached Established.
    PeerUp(PeerName),
    /// A session, or an attempt, ended.
    PeerDown(PeerName),
    /// Peers were renamed: the old names with the new ones. Their sessions go on.
    PeersRenamed(BTreeMap<PeerName, PeerName>),
    /// The peer's TCP has acknowledged all UPDATEs of this version.
    PeerSynced(PeerName, Version),
    /// All announced routes that the session with this peer cannot carry.
    PeerWithholds(PeerName, PrefixMap<Withheld>),
    /// An operator drains something.
    Drain {
        scope: Scope,
        /// The operator, the reason and the length.
        drain: Override,
        /// Whether it may shorten the drain in force.
        replace: bool,
    },
    /// An operator lifts drains.
    Undrain(Scope, Order),
    /// An operator drains a peer.
    DrainPeer {
        peer: PeerName,
        /// The operator, the reason and the length.
        drain: Override,
        /// Whether it may shorten the drain in force.
        replace: bool,
    },
    /// An operator lifts the drain of a peer.
    UndrainPeer(PeerName, Order),
    /// An operator forces something up or down.
    Force {
        scope: Scope,
        to: Force,
        /// The operator, the reason and the length.
        with: Override,
    },
    /// An operator lifts forces.
    Clear(Scope, Order),
    /// Everything is drained from outside (`Some`), or no longer.
    Cordon(Cordon, Option<Override>),
    /// A state directory that was not read at the start has answered, or there is another one under its path.
    Late(Box<Left>),
    /// The wall clock was set to this time.
    WallClock(jiff::Timestamp),
    /// An operator lets a service that was down take over again.
    Promote(ServiceName, Override),
    /// SIGTERM. The second one shortens the waits.
    Shutdown,
    /// All peers are stopped and their connections closed.
    PeersStopped,
    /// The deadline has passed.
    Tick,
}

/// The facts about a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFact {
    /// Its state.
    pub state: HealthState,
    /// When it entered that state.
    pub since: Instant,
    /// The limit that makes it degraded, in words.
    pub degraded: Option<String>,
    /// The end of a hold-down.
    pub held_until: Option<Instant>,
    /// The last result.
    pub outcome: Outcome,
    /// The time of that result.
    pub at: Instant,
}

/// The facts about a peer that decisions need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerFact {
    /// Whether the session is up.
    pub established: bool,
    /// The last version that the peer's TCP has acknowledged in full.
    pub synced: Option<Version>,
    /// VIPs that the session cannot carry, with the reason.
    pub withheld: PrefixMap<Withheld>,
    /// It may keep our routes until then (graceful restart), unless it gets the whole set before.
    pub keeps_until: Option<Instant>,
    /// The longest restart time that an earlier configuration asked of it. The event of a session's end does not have
    /// the configuration that the session began with, and a reload may come between the end and the event.
    pub(super) asked_before: Option<Duration>,
}

impl PeerFact {
    /// Whether it may have routes of an ended session, without an update since.
    pub(super) fn keeps(&self, now: Instant) -> bool {
        self.keeps_until.is_some_and(|until| until > now)
    }
}

/// The phase of the shutdown. Each phase waits for its own condition; drawn in `engine::shutdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shutdown {
    /// Announced with GRACEFUL_SHUTDOWN until then.
    Draining {
        /// End of the phase.
        until: Instant,
    },
    /// Withdrawn; waits until every established peer has acknowledged it, at most until then.
    Withdrawing {
        /// End of patience.
        until: Instant,
    },
    /// Every peer has acknowledged the withdrawal; the addresses stay a little longer.
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
    /// One word for messages.
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

/// All facts.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Checks that have reported.
    pub checks: Table<CheckName, CheckFact>,
    /// Checks that a reload has added or changed, with the latest time for them to settle.
    pub pending: BTreeMap<CheckName, Instant>,
    /// VIPs that keep their health until such checks have settled.
    pub kept: BTreeMap<Vip, Kept>,
    /// Configured peers.
    pub peers: BTreeMap<PeerName, PeerFact>,
    /// Interfaces of the host.
    pub links: Links,
    /// Addresses and local routes on the host.
    pub bindings: Bindings,
    /// Whether `links` and `bindings` were ever filled; before that, an empty map means nothing.
    pub is_listed: bool,
    /// Requests that the kernel has not answered yet.
    pub asked: BTreeMap<Binding, Asked>,
    /// Failed requests, with the error and the time of the next attempt.
    pub binding_errors: BTreeMap<Binding, (String, Instant)>,
    /// VIPs whose binding was removed by another program a short time ago.
    pub contests: BTreeMap<Vip, Contest>,
    /// Operators' overrides.
    pub overrides: Arc<Overrides>,
    /// Drains from outside, by their cause.
    pub cordons: BTreeMap<Cordon, Arc<Override>>,
    /// Set while the machine goes down.
    pub farewell: Option<Farewell>,
    /// VIPs that are announced until their drain, or the shutdown, withdraws them.
    pub leaving: BTreeMap<Vip, Leaving>,
    /// Peers whose drain began while they had routes: until when these carry GRACEFUL_SHUTDOWN.
    pub peers_leaving: BTreeMap<PeerName, Instant>,
    /// VIPs whose service is, or was, down, if it has `warm_up` or `preempt`.
    pub recovering: BTreeMap<Vip, Recovery>,
    /// Set after a restart that routers wait for, until every VIP is decided.
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
    /// To add the binding.
    Bind,
    /// To remove the binding: it may be gone at any moment, so no VIP is announced on it.
    Unbind,
}

impl Facts {
    /// Whether the TCP of every established peer has acknowledged `version` or a later one, and no peer keeps routes of
    /// an earlier session. In a hurry the latter is ignored.
    pub(super) fn all_told(&self, version: Version, now: Instant) -> bool {
        self.told(now).is_some_and(|told| told >= version)
    }

    /// The last version that every established peer has acknowledged, if no peer keeps routes of an earlier session.
    pub(super) fn told(&self, now: Instant) -> Option<Version> {
        let established = self.peers.values().filter(|peer| peer.established);
        let told = established.map(|peer| peer.synced).min().unwrap_or(Some(Version(u64::MAX)));
        told.filter(|_| !self.any_keeps(now))
    }

    /// Whether a peer may have routes of an earlier session, and there is time to wait for it.
    pub(super) fn any_keeps(&self, now: Instant) -> bool {
        !self.hurry && self.peers.values().any(|peer| peer.keeps(now))
    }

    /// Drops facts about objects that a new configuration no longer has; a peer only when its session is closed,
    /// because until then it has our routes.
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
