//! The settings of a peer.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::adj_rib_out::Export;
use crate::route::NextHops;
use crate::wire::{Asn, Family, Peering, Role};

/// The settings of one peer. A change needs a new session, except for the settings in [`Tuning`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Our ASN towards this peer.
    pub local_as: Asn,
    /// The ASN that the peer must have; equal to `local_as` for iBGP.
    pub peer_as: Asn,
    /// The peer may have any ASN except ours; [`Self::peer_as`] is ignored (`remote-as external`).
    pub any_external: bool,
    /// Our BGP identifier, not 0.0.0.0 (RFC 6286).
    pub router_id: Ipv4Addr,
    /// The hold time that we propose (RFC 4271 §4.2).
    pub hold_time: HoldTime,
    /// The first delay between two attempts to connect; it doubles up to [`Self::MAX_RETRY`]. Clamped to
    /// [`Self::MIN_CONNECT_RETRY`] and [`Self::MAX_CONNECT_RETRY`].
    pub connect_retry: Duration,
    /// The side that opens the connection.
    pub mode: ConnectMode,
    /// Families that we offer.
    pub families: BTreeSet<Family>,
    /// Configured next hops, see [`SessionNextHops`](crate::next_hop::SessionNextHops).
    pub next_hops: NextHops,
    /// Offer IPv6 next hops for IPv4 prefixes (RFC 8950). Used only if the peer also offers it and the session is over
    /// IPv6.
    pub extended_next_hop: bool,
    /// Ask the peer to keep our routes over our restart (RFC 4724); `None`: it drops them with the session.
    pub graceful_restart: Option<GracefulRestart>,
    /// Our role towards this peer (RFC 9234); `None`: the OPEN has no role. Ignored for iBGP.
    pub role: Option<Role>,
    /// Refuse a peer without a role (the strict mode of RFC 9234 §4.2).
    pub require_role: bool,
    /// The MULTI_EXIT_DISC of routes without their own; `None`: not sent.
    pub med: Option<u32>,
    /// The export of routes on its sessions.
    pub export: Export,
    /// Start with [`Liveness::Awaited`](super::Liveness::Awaited): no session before BFD is up.
    pub awaits_bfd: bool,
    /// Hand every UPDATE of the peer to the caller, as [`PeerEvent::Update`]. Off by default: an announcing host counts
    /// and drops received routes, so that no full table makes its memory grow. Paths to the prefixes of
    /// [`Input::Watch`](super::Input::Watch) are kept in either case.
    ///
    /// [`PeerEvent::Update`]: super::PeerEvent::Update
    pub deliver_updates: bool,
    /// Seed of the timers' jitter. Two speakers with the same seed may collide for ever.
    pub seed: u64,
}

/// The settings that may change without a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// See [`PeerConfig::connect_retry`].
    pub connect_retry: Duration,
    /// See [`PeerConfig::mode`].
    pub mode: ConnectMode,
    /// See [`PeerConfig::next_hops`].
    pub next_hops: NextHops,
    /// See [`PeerConfig::med`].
    pub med: Option<u32>,
    /// See [`PeerConfig::export`].
    pub export: Export,
}

impl PeerConfig {
    /// The settings that may change in place.
    pub fn tuning(&self) -> Tuning {
        Tuning {
            connect_retry: self.connect_retry,
            mode: self.mode,
            next_hops: self.next_hops,
            med: self.med,
            export: self.export,
        }
    }

    /// The longest delay between two attempts to connect, before jitter, unless [`Self::connect_retry`] is longer.
    pub const MAX_RETRY: Duration = Duration::from_secs(30);

    /// The shortest first delay: without one, a peer that refuses would be dialled without a pause.
    pub const MIN_CONNECT_RETRY: Duration = Duration::from_millis(10);

    /// The longest first delay: 65,535 s, as in the MIB of BGP (RFC 4273).
    pub const MAX_CONNECT_RETRY: Duration = Duration::from_secs(65_535);

    /// A peer with the defaults: hold time 9 s, retry 1 s, both sides dial, IPv4 and IPv6.
    pub fn new(local_as: Asn, peer_as: Asn, router_id: Ipv4Addr) -> Self {
        Self {
            local_as,
            peer_as,
            any_external: false,
            router_id,
            hold_time: HoldTime::DEFAULT,
            connect_retry: Duration::from_secs(1),
            mode: ConnectMode::Both,
            families: BTreeSet::from([Family::IPV4_UNICAST, Family::IPV6_UNICAST]),
            next_hops: NextHops::default(),
            extended_next_hop: false,
            graceful_restart: None,
            role: None,
            require_role: false,
            awaits_bfd: false,
            med: None,
            export: Export::Plain,
            deliver_updates: false,
            seed: u64::from(u32::from(router_id)) << 32 | u64::from(local_as.0),
        }
    }

    /// Whether this is an iBGP or an eBGP session.
    pub fn peering(&self) -> Peering {
        if self.local_as == self.peer_as && !self.any_external {
            Peering::Internal
        } else {
            Peering::External
        }
    }
}

/// The restarting side of graceful restart (RFC 4724, RFC 8538). We keep no routes of peers, so there is no helper
/// side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GracefulRestart {
    /// The time for which the peer keeps our routes while we are away, in whole seconds.
    pub restart_time: RestartTime,
    /// Whether the peer also keeps them after a NOTIFICATION other than a Hard Reset (the N bit, RFC 8538 §2).
    pub notification: bool,
    /// Set in a process that has just started: the families whose forwarding went on since the predecessor announced
    /// them. It applies until the peer has the whole desired set, [`Extent::Whole`](super::Extent::Whole); from then on
    /// forwarding never stops without a withdrawal.
    pub restarted: Option<BTreeSet<Family>>,
}

/// A restart time in whole seconds, 1 to 4,095: the field has twelve bits (RFC 4724 §3), and with zero the peer keeps
/// no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RestartTime(u16);

impl RestartTime {
    /// 20 s: enough for a start and its first checks; a dead host attracts traffic no longer.
    pub const DEFAULT: Self = Self(20);
    /// The shortest: with zero the peer keeps no route.
    pub const MIN: Self = Self(1);
    /// The longest that fits its field.
    pub const MAX: Self = Self(4_095);

    /// `None` outside 1 to 4,095 s.
    pub fn from_secs(seconds: u16) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&seconds).then_some(Self(seconds))
    }

    /// In seconds, as it stands in an OPEN.
    pub fn as_secs(self) -> u16 {
        self.0
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

/// The side that opens the TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectMode {
    /// We dial and we accept.
    Both,
    /// We only accept.
    Passive,
    /// We only dial.
    Active,
}

impl ConnectMode {
    /// Whether we dial.
    pub fn dials(self) -> bool {
        matches!(self, Self::Both | Self::Active)
    }

    /// Whether we accept.
    pub fn accepts(self) -> bool {
        matches!(self, Self::Both | Self::Passive)
    }
}

/// A hold time in whole seconds, at least 3 (RFC 4271 §4.2), or [`HoldTime::NONE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldTime(u16);

impl HoldTime {
    /// 9 s: a ToR that lost a host without a FIN forgets it within that time.
    pub const DEFAULT: Self = Self(9);

    /// The shortest that BGP allows, besides [`HoldTime::NONE`].
    pub const MIN: Self = Self(3);

    /// The longest that fits its field.
    pub const MAX: Self = Self(u16::MAX);

    /// Zero: no hold or keepalive timer. Negotiated only if both sides offer it, because BFD then detects a dead peer.
    /// Only for peers with [`PeerConfig::awaits_bfd`]; for other peers we offer the default instead.
    pub const NONE: Self = Self(0);

    /// `None` below 3 s.
    pub fn from_secs(seconds: u16) -> Option<Self> {
        (seconds >= Self::MIN.0).then_some(Self(seconds))
    }

    /// In seconds, as it stands in an OPEN.
    pub fn as_secs(self) -> u16 {
        self.0
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }

    /// A third of it, the longest time between two KEEPALIVEs before jitter (RFC 4271 §4.4).
    pub fn keepalive(self) -> Duration {
        self.duration() / 3
    }
}
