//! The frozen form of the engine: its facts, its decisions in force, and the steps under way.
//!
//! Lists keep their order where the order of later effects depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;
use vipcast_bgp::adj_rib_out::Withheld as BgpWithheld;
use vipcast_bgp::frozen::route::Attributes;

use super::health::State;
use super::mirror;
use super::overrides::{Override, Overrides};
use super::verdict::{Rank, Verdict};
use crate::engine;
use crate::model;
use crate::names::{CheckName, PeerName, ServiceName};
use crate::vip::Vip;

/// The engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// The configuration in force.
    pub configured: Configured,
    /// Checks that have reported.
    pub checks: Vec<Check>,
    /// Checks that a reload has added or changed, with the latest time for them to settle.
    pub pending: BTreeMap<CheckName, Instant>,
    /// VIPs that keep their health until such checks have settled.
    pub kept: Vec<(Vip, Was, BTreeSet<CheckName>)>,
    /// The peers.
    pub peers: BTreeMap<PeerName, Peer>,
    /// Interfaces of the host, by index. Of two with the same name the one that has it now is last.
    pub links: Vec<(u32, Link)>,
    /// Addresses and local routes on the host.
    pub bindings: Vec<(Binding, Owner, AddressState)>,
    /// Requests that the kernel has not answered.
    pub asked: Vec<(Binding, Asked)>,
    /// Failed requests, with the error and the time of the next attempt.
    pub errors: Vec<(Binding, String, Instant)>,
    /// VIPs whose binding was removed by another program a short time ago.
    pub contests: Vec<(Vip, Contest)>,
    /// Operators' overrides.
    pub overrides: Overrides,
    /// Drains from outside.
    pub cordons: Vec<(Cordon, Override)>,
    /// VIPs that are announced until their drain withdraws them.
    pub leaving: Vec<(Vip, Leaving)>,
    /// Drained peers: until when their routes carry GRACEFUL_SHUTDOWN.
    pub peers_leaving: BTreeMap<PeerName, Instant>,
    /// VIPs whose service is, or was, down.
    pub recovering: Vec<(Vip, Recovery)>,
    /// The decisions in force.
    pub standing: Vec<Standing>,
    /// VIPs that should be bound, with the interface.
    pub wanted: Vec<(Vip, Carrier, String)>,
    /// The last advertised set, which every peer has or gets.
    pub advertised: Advertised,
    /// The first whole set.
    pub whole_since: Option<u64>,
    /// Withdrawals under way: the first set without the VIP, and when every established peer had it.
    pub retiring: Vec<(Vip, u64, Option<Instant>)>,
    /// VIPs that are not bound as desired.
    pub open: Vec<Vip>,
    /// Missing interfaces that are recorded already.
    pub missing_links: BTreeSet<String>,
    /// VIPs that no router has.
    pub reach: Reach,
    /// Commands of operators since the state directory was read.
    pub meanwhile: Meanwhile,
    /// VIPs that are held back, as last saved.
    pub held: BTreeSet<Vip>,
    /// VIPs that a reboot holds back, as last saved.
    pub watched: BTreeSet<Vip>,
}

/// What has to be known of the configuration in force, to see whether the next program has another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configured {
    /// The digest of the definition of each check.
    pub checks: BTreeMap<CheckName, u64>,
    /// The digest of each service.
    pub services: BTreeMap<ServiceName, u64>,
    /// The time for which each peer may keep our routes after its session, in nanoseconds.
    pub peers: BTreeMap<PeerName, Option<u64>>,
}

/// The facts about a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name.
    pub name: CheckName,
    /// Its state.
    pub state: State,
    /// When it entered it.
    pub since: Instant,
    /// The limit that makes it degraded, in words.
    pub degraded: Option<String>,
    /// The end of a hold-down.
    pub held_until: Option<Instant>,
    /// Whether the last result passed.
    pub passed: bool,
    /// The last result, in words.
    pub detail: String,
    /// The duration of its probe, in nanoseconds.
    pub took: u64,
    /// The time of the last result.
    pub at: Instant,
}

/// The facts about a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Whether the session is up.
    pub established: bool,
    /// The last set that its TCP has acknowledged in full.
    pub synced: Option<u64>,
    /// VIPs that the session cannot carry.
    pub withheld: Vec<(Withheld, Vec<IpNet>)>,
    /// It may keep our routes until then.
    pub keeps_until: Option<Instant>,
    /// The longest restart time that an earlier configuration asked of it, in nanoseconds.
    pub asked_before: Option<u64>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its alternative names.
    pub altnames: BTreeSet<String>,
    /// Whether it is administratively up.
    pub up: bool,
}

/// An address, or the first of a local route, and the index of its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding(pub IpAddr, pub u32, pub Kind);

/// The kind of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A local route: the length of its prefix, and its metric.
    Route(u8, u32),
    /// An address: its prefix length, and the other end of a point-to-point address.
    Address(u8, Option<IpAddr>),
}

/// An address that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contest {
    /// The number of losses.
    pub losses: u32,
    /// The last loss.
    pub lost_at: Instant,
    /// The last return.
    pub back_since: Option<Instant>,
}

/// A VIP that is about to be withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaving {
    /// When it is withdrawn.
    pub until: Instant,
    /// The worst rank since the drain began.
    pub rank: Option<Rank>,
    /// Whether it was withheld since then.
    pub out: bool,
}

/// A VIP whose service is, or was, down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// Whether it is down.
    pub down: bool,
    /// Whether another node has its traffic.
    pub lost: bool,
    /// Whether an operator has promoted it.
    pub promoted: bool,
    /// The end of its warm-up.
    pub warm_until: Option<Instant>,
    /// Set while it is held back.
    pub held: Option<Held>,
}

/// The length of a hold-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Until an operator promotes it.
    UntilPromoted,
    /// Until then.
    Until(Instant),
}

/// A decision in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The VIP.
    pub vip: Vip,
    /// Its service.
    pub service: ServiceName,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether it should be bound.
    pub bind: bool,
    /// When the verdict last changed.
    pub since: Instant,
    /// The health of its service, for a changed configuration; `None`: not settled.
    pub health: Option<Was>,
}

/// A set of routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advertised {
    /// The number of the set.
    pub version: u64,
    /// The attributes of the routes.
    pub attributes: Vec<Attributes>,
    /// Each route: the index of its attributes, and the set in which it last changed.
    pub routes: Vec<(IpNet, u32, u64)>,
}

/// The VIPs that no router has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// Each with the begin of the wait.
    pub waiting: Vec<Waiting>,
    /// When the next one has waited too long.
    pub due: Option<Instant>,
}

/// A VIP that no router has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// The VIP.
    pub vip: Vip,
    /// The begin of the wait.
    pub since: Instant,
    /// Whether reaching a router is worth a record.
    pub news: bool,
    /// Whether the wait was recorded.
    pub complained: bool,
}

/// Commands of operators since the state directory was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meanwhile {
    /// Whether the directory was never read.
    pub is_unread: bool,
    /// About drains.
    pub drains: Since,
    /// About forces.
    pub forces: Since,
    /// Peers whose drain was lifted or replaced.
    pub peers: BTreeSet<PeerName>,
    /// Promoted services.
    pub promoted: BTreeSet<ServiceName>,
}

/// Commands about overrides of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// Services whose overrides were lifted.
    pub lifted: BTreeSet<ServiceName>,
    /// All were lifted.
    pub all_lifted: bool,
    /// Services whose overrides were replaced.
    pub replaced: BTreeSet<ServiceName>,
    /// The override of everything was replaced.
    pub all_replaced: bool,
}

mirror! {
    /// The earlier health of a service.
    Was = engine::Was {
        /// The condition holds.
        Passing,
        /// It holds only with a degraded check.
        Degraded,
        /// It does not hold.
        Failing,
    }
}

mirror! {
    /// Why a session cannot carry a VIP.
    Withheld = BgpWithheld {
        /// The peer did not offer its family.
        FamilyNotNegotiated,
        /// No next hop for its family.
        NoNextHop,
        /// Its attributes do not fit into a message.
        AttributesTooLarge,
        /// The peer is drained.
        Drained,
    }
}

mirror! {
    /// The program that added a binding.
    Owner = engine::Owner {
        /// We.
        Us,
        /// Another program.
        Other,
    }
}

mirror! {
    /// The state of an address.
    AddressState = engine::AddressState {
        /// The kernel answers for it.
        Usable,
        /// Duplicate address detection is running.
        Tentative,
        /// Another host has it.
        Duplicate,
    }
}

mirror! {
    /// A request to the kernel.
    Asked = engine::Asked {
        /// To add the binding.
        Bind,
        /// To remove it.
        Unbind,
    }
}

mirror! {
    /// The cause of a drain from outside.
    Cordon = engine::Cordon {
        /// The machine goes down.
        Machine,
        /// The drain file exists.
        File,
    }
}

mirror! {
    /// What carries a VIP on the host.
    Carrier = model::Carrier {
        /// An address.
        Address,
        /// A local route.
        Route,
    }
}

impl From<engine::Binding> for Binding {
    fn from(engine::Binding { ip, index, kind }: engine::Binding) -> Self {
        let kind = match kind {
            engine::Kind::Route { length, metric } => Kind::Route(length, metric),
            engine::Kind::Address { length, far } => Kind::Address(length, far),
        };
        Self(ip, index, kind)
    }
}

impl From<Binding> for engine::Binding {
    fn from(Binding(ip, index, kind): Binding) -> Self {
        let kind = match kind {
            Kind::Route(length, metric) => engine::Kind::Route { length, metric },
            Kind::Address(length, far) => engine::Kind::Address { length, far },
        };
        Self { ip, index, kind }
    }
}
