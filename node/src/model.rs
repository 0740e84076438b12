//! The configuration as the program needs it: every name resolved, every default filled in, every value in range.
//!
//! Nothing here knows about YAML. `vipcast::config::load` is the only way to make a [`Config`] from a file, so whoever
//! holds one holds a valid one (STYLE 8).

mod check;
mod judgement;
mod key;
mod plain;
mod question;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
pub use vipcast_bgp::transport::{Authentication, Reach};
use vipcast_bgp::wire::{self, Asn, Community, ExtendedCommunity, Family, LargeCommunity};
pub use vipcast_bgp::{ConnectMode, NextHops};
use vipcast_bgp::{HoldTime, RestartTime};

pub use self::check::*;
pub use self::judgement::*;
pub use self::key::{KeyPlace, KeyPurpose, KeySource};
pub use self::question::Question;
use crate::defaults;
use crate::names::{CheckName, HookName, PeerName, ServiceName};
use crate::table::Table;
use crate::vip::Vip;

/// Everything the daemon was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where what must survive a restart is kept, and the lock that keeps a second daemon out.
    pub state_dir: PathBuf,
    /// While this file exists, everything is drained.
    pub drain_file: Option<PathBuf>,
    /// The control socket.
    pub control: Control,
    /// Where the read-only API and the status page listen.
    pub api: Option<SocketAddr>,
    /// Where the metrics can be scraped.
    pub metrics: Option<SocketAddr>,
    /// Programs and webhooks that are told of events. The node only compares them and passes them on.
    pub hooks: BTreeMap<HookName, Question>,
    /// Logging.
    pub log: Log,
    /// The file of events; `None`: events are only in memory.
    pub event_file: Option<EventFile>,
    /// What SIGTERM and `drain` do, and how long they take.
    pub shutdown: Shutdown,
    /// The BGP identifier; `None`: the IPv4 address that the host uses towards the first peer.
    pub router_id: Option<Ipv4Addr>,
    /// Where we accept connections from peers.
    pub listen: Listen,
    /// The interface that VIPs are bound on, unless the service names another.
    pub interface: String,
    /// The routers we talk to.
    pub peers: BTreeMap<PeerName, Peer>,
    /// The health checks, each run once however many services name it.
    pub checks: Table<CheckName, Arc<Check>>,
    /// What is announced.
    pub services: Table<ServiceName, Service>,
}

/// `control:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Path of the unix socket.
    pub socket: PathBuf,
    /// Group that may use the socket besides root (mode 0660); `None`: only the daemon's own user (0600).
    pub group: Option<String>,
}

/// `log:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Events below this level are not logged.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What stops us from doing our job.
    Error,
    /// What may wake someone.
    Warn,
    /// State changes.
    Info,
    /// Decisions and their inputs.
    Debug,
    /// Every message.
    Trace,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people; with a syslog priority in front where stderr is the journal.
    Plain,
    /// One JSON object a line.
    Json,
}

/// `events:` with `file: true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFile {
    /// The size at which a new file begins, in bytes: 64 KiB to 16 GiB.
    pub max_size: u64,
    /// The number of full files that are kept, 1 to 100.
    pub keep: u8,
}

/// `shutdown:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// How long VIPs are announced with GRACEFUL_SHUTDOWN (RFC 8326) before they are withdrawn.
    pub drain_time: Duration,
    /// How long an address stays bound after its withdrawal was handed to every peer.
    pub unbind_delay: Duration,
    /// Leave our addresses on the host when we exit.
    pub keep_addresses: bool,
    /// Hold up a shutdown of the machine (logind) until the VIPs are withdrawn.
    pub inhibit: bool,
}

/// `listen:`. Not used while every peer is `active`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Local addresses; empty: every address of the host, IPv4 and IPv6.
    pub addresses: Vec<IpAddr>,
    /// TCP port, 179 by default.
    pub port: u16,
}

/// One entry under `peers:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where the router is.
    pub address: RouterAddress,
    /// The router's TCP port, 179 by default.
    pub port: u16,
    /// Our ASN towards this peer.
    pub local_as: Asn,
    /// The peer's ASN; equal to `local_as` for iBGP. `None`: any other (`external`).
    pub peer_as: Option<Asn>,
    /// Hold time that we propose; none at all only with `bfd: {strict: true}`.
    pub hold_time: HoldTime,
    /// First delay between two attempts to connect, 100 ms to 30 s; doubles up to 30 s.
    pub connect_retry: Duration,
    /// Who connects.
    pub mode: ConnectMode,
    /// Address families that we offer.
    pub families: BTreeSet<Family>,
    /// Local address of the session; `None`: what the route to the peer says.
    pub source_address: Option<IpAddr>,
    /// The interface that the session is bound to; `None`: any.
    pub interface: Option<String>,
    /// How far away the router may be.
    pub reach: Reach,
    /// What signs the session. The key itself is in here, so that a file with another one changes the peer.
    /// `None` also while it cannot be read.
    pub authentication: Option<Authentication>,
    /// Where the key of `authentication` is read; `None`: it stands in the configuration, or there is none.
    pub key_source: Option<KeySource>,
    /// The most that a TCP segment of the session holds, in bytes; `None`: what the path's first link allows.
    pub tcp_mss: Option<u16>,
    /// What we are towards the router (RFC 9234); `None`: nothing is said about it.
    pub role: Option<wire::Role>,
    /// No session with a router that does not tell its role.
    pub require_role: bool,
    /// Next hops for the family that the session itself does not have.
    pub next_hop: NextHops,
    /// The MED of routes whose service states none; `None`: not sent.
    pub med: Option<u32>,
    /// Offer IPv6 next hops for IPv4 prefixes (RFC 8950); only on a session over IPv6.
    pub extended_next_hop: bool,
    /// What the peer is asked to keep over a restart of ours; `None`: nothing.
    pub graceful_restart: Option<GracefulRestart>,
    /// Watches the way to the peer (RFC 5880); `None`: no BFD.
    pub bfd: Option<Bfd>,
}

impl Peer {
    /// How long the router may keep our routes when a session has ended for us; `None`: it keeps nothing. Its restart time
    /// begins when the session has ended for the router, which is told so by its hold timer where the network is silent
    /// (RFC 8538 §4), and that may have been set a moment before the network fell silent.
    pub fn keeps_routes(&self) -> Option<Duration> {
        self.graceful_restart.map(|graceful| graceful.restart_time.duration() + self.hold_time.duration())
    }
}

/// `graceful_restart: {restart_time: …}` (RFC 4724).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GracefulRestart {
    /// How long the peer keeps our routes while we are away.
    pub restart_time: RestartTime,
    /// Whether it keeps them after a NOTIFICATION, too, unless that is a Hard Reset (RFC 8538).
    pub notification: bool,
}

impl Default for GracefulRestart {
    fn default() -> Self {
        Self { restart_time: defaults::RESTART_TIME, notification: true }
    }
}

/// Where a router is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterAddress {
    /// `address: …`.
    Known(IpAddr),
    /// On the link of `interface`: its router advertisements tell its address. `None`: not heard yet.
    OnLink(Option<Ipv6Addr>),
}

impl RouterAddress {
    /// As far as it is known.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Known(ip) => Some(ip),
            Self::OnLink(learnt) => learnt.map(IpAddr::V6),
        }
    }
}

impl Peer {
    /// Whether the session is within our AS.
    pub fn is_internal(&self) -> bool {
        self.peer_as == Some(self.local_as)
    }

    /// Whether the BGP session can go on when the configuration changes to `other`: BFD has timers of its own, who dials
    /// and how often counts from the next session on, and another next hop or MED is sent.
    pub fn same_session(&self, other: &Self) -> bool {
        let Self { bfd, connect_retry, mode, next_hop, med, .. } = *self;
        let key_source = self.key_source.clone();
        *self == Self { bfd, connect_retry, mode, next_hop, med, key_source, ..other.clone() }
    }

    /// Whether the session has a key that could not be read yet: without it nobody may talk to the peer.
    pub fn lacks_key(&self) -> bool {
        self.key_source.is_some() && self.authentication.is_none()
    }
}

/// `bfd: {interval: …, multiplier: …}` (RFC 5880).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bfd {
    /// We send, and can receive, that often: 10 ms to 60 s.
    pub interval: Duration,
    /// How many of our packets the peer may miss in a row.
    pub multiplier: NonZeroU8,
    /// No session before BFD is up.
    pub strict: bool,
    /// The least TTL that packets of a peer that is not on the link may have; `None`: what its `multihop` allows.
    pub min_ttl: Option<u8>,
}

impl Default for Bfd {
    fn default() -> Self {
        Self {
            interval: defaults::BFD_INTERVAL,
            multiplier: defaults::BFD_MULTIPLIER,
            strict: false,
            min_ttl: None,
        }
    }
}

/// One entry under `services:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The prefixes announced. `bind` says which are also bound. No two services share one.
    pub vips: BTreeSet<Vip>,
    /// When the service is healthy.
    pub checks: Condition,
    /// How it is announced.
    pub announce: Announce,
    /// How it is announced when it is demoted, for whatever reason; the path is as long as for what is down.
    pub demoted: Announce,
    /// What happens when it is not healthy.
    pub on_down: OnDown,
    /// What happens when it is healthy only with a check that is degraded.
    pub on_degraded: OnDegraded,
    /// For how long it is demoted after it was down; `None`: not at all.
    pub warm_up: Option<Duration>,
    /// Whether it is one of those that have the traffic.
    pub role: Role,
    /// As what its VIPs are on the host, and when.
    pub bind: BindPolicy,
    /// The interface that carries its addresses or routes.
    pub interface: String,
}

/// `checks:` of a service, a tree over check names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// One check.
    Check(CheckName),
    /// A check with `host: vip`: each VIP is judged by the check that was made for it.
    EachVip(BTreeMap<Vip, CheckName>),
    /// A list: all must pass; an empty one always does.
    All(Vec<Self>),
    /// `{any: […]}`.
    Any(Vec<Self>),
    /// `{at_least: N, of: […]}`.
    AtLeast(usize, Vec<Self>),
}

impl Condition {
    /// The checks that decide, each once for each time it is named; about `vip` alone where that is given.
    pub fn checks(&self, vip: Option<&Vip>) -> Vec<&CheckName> {
        match self {
            Self::Check(check) => vec![check],
            Self::EachVip(checks) => checks
                .iter()
                .filter(|(of, _)| vip.is_none_or(|vip| vip == *of))
                .map(|(_, check)| check)
                .collect(),
            Self::All(of) | Self::Any(of) | Self::AtLeast(_, of) => {
                of.iter().flat_map(|part| part.checks(vip)).collect()
            }
        }
    }

    /// Whether it may hold for one VIP and not for another.
    pub fn differs_by_vip(&self) -> bool {
        match self {
            Self::Check(_) => false,
            Self::EachVip(_) => true,
            Self::All(of) | Self::Any(of) | Self::AtLeast(_, of) => of.iter().any(Self::differs_by_vip),
        }
    }
}

/// `announce:`: the attributes of the routes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Announce {
    /// MULTI_EXIT_DISC; `None`: not sent.
    pub med: Option<u32>,
    /// LOCAL_PREF, iBGP only; `None`: 100.
    pub local_pref: Option<u32>,
    /// How many more times our ASN is put in front of the AS path, 0 to 16.
    pub as_path_prepend: u8,
    /// Standard communities (RFC 1997).
    pub communities: BTreeSet<Community>,
    /// Extended communities (RFC 4360).
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    /// Bandwidth of the link to this node in octets per second, for routers that weigh paths by it.
    pub link_bandwidth: Option<u64>,
    /// Large communities (RFC 8092).
    pub large_communities: BTreeSet<LargeCommunity>,
    /// Next hop for the VIPs of its own family, instead of what the session says.
    pub next_hop: NextHops,
}

/// `on_down:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDown {
    /// Not announced (the default).
    Withdraw,
    /// Announced as the worst path there is.
    Demote,
}

/// `on_degraded:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDegraded {
    /// Announced as when healthy.
    Ignore,
    /// Announced as a worse path (the default).
    Demote,
    /// Not announced.
    Withdraw,
}

/// `role:` and `preempt:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Announced plainly while healthy (the default).
    Active(Preempt),
    /// Always announced demoted: it gets traffic only where nobody active is left.
    Standby,
}

/// `preempt:`: when a service that was down and is healthy again takes its traffic back from whoever has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preempt {
    /// At once (the default).
    AtOnce,
    /// After this time, or when an operator says so.
    After(Duration),
    /// When an operator says so.
    Never,
}

/// How much worse than healthy a demoted path is, so that of several nodes the best one gets the traffic: a standby comes
/// before whatever is degraded, and that before what is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// Healthy, but only there for when the others are not.
    Standby,
    /// Not as it should be: degraded, warming up, or held back.
    Degraded,
    /// Down.
    Down,
}

impl Service {
    /// What a VIP is bound as; `None`: it is announced and never bound.
    pub fn carrier(&self, vip: &Vip) -> Option<Carrier> {
        match self.bind {
            BindPolicy::Route => Some(Carrier::Route),
            BindPolicy::Always | BindPolicy::Announced => vip.is_host().then_some(Carrier::Address),
        }
    }

    /// How many times our ASN is put in front of a demoted path: what `demoted` says for what is down, and one less for
    /// each rank above it, but more than when healthy where that is possible.
    pub fn prepends(&self, rank: Rank) -> u8 {
        let (healthy, worst) = (self.announce.as_path_prepend, self.demoted.as_path_prepend);
        let better = match rank {
            Rank::Standby => 2,
            Rank::Degraded => 1,
            Rank::Down => 0,
        };
        worst.saturating_sub(better).max(healthy.saturating_add(1)).min(worst)
    }

    /// LOCAL_PREF of a demoted path, inside our AS, where paths have no length to speak of: ten less than when healthy for
    /// each rank; what `demoted` says is that of what is down.
    pub fn preference(&self, rank: Rank) -> u32 {
        const STEP: u32 = 10;
        let healthy = self.announce.local_pref.unwrap_or(defaults::LOCAL_PREF);
        let written = self.demoted.local_pref.filter(|_| self.demoted.local_pref != self.announce.local_pref);
        let worst = written.unwrap_or(healthy.saturating_sub(3 * STEP));
        let better = match rank {
            Rank::Standby => 2 * STEP,
            Rank::Degraded => STEP,
            Rank::Down => 0,
        };
        worst.saturating_add(better).min(healthy.saturating_sub(1)).max(worst)
    }
}

/// `bind:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindPolicy {
    /// As addresses, from the start, healthy or not (the default).
    Always,
    /// As addresses, only while announced.
    Announced,
    /// As local routes, from the start, wider prefixes too.
    Route,
}

impl BindPolicy {
    /// Whether VIPs are bound while they are not announced.
    pub fn is_lasting(self) -> bool {
        match self {
            Self::Always | Self::Route => true,
            Self::Announced => false,
        }
    }
}

/// What carries a VIP on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// An address on an interface.
    Address,
    /// A local route.
    Route,
}
