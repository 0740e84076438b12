//! The frozen form of a [`fsm::Peer`].
//!
//! The desired routes and the watched prefixes are not in it: they are the caller's, shared by all peers. It has a
//! [`Digest`] of each, so that a peer is never thawed onto another set, of which its router would know nothing.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::end::Down;
use super::mirror;
use super::octets::Octets;
use super::route::{Attributes, Family, Path, Role, Socket};
use crate::adj_rib_out;
use crate::fsm;
use crate::time::Instant;

/// A frozen peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// Version 1.
    V1(V1),
}

impl Peer {
    /// The connections, so that the caller can add the bytes in its queues.
    pub fn connections_mut(&mut self) -> &mut [Connection] {
        let Self::V1(peer) = self;
        &mut peer.connections
    }

    /// The connections.
    pub fn connections(&self) -> &[Connection] {
        let Self::V1(peer) = self;
        &peer.connections
    }
}

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V1 {
    /// The settings that the sessions were made with.
    pub terms: Terms,
    /// The settings that may change without a new session, as they were applied.
    pub tuning: Tuning,
    /// The state of the generator of the jitter.
    pub jitter: u64,
    /// Whether the peer was started.
    pub running: bool,
    /// The connected connections. A dial that was under way is not among them: the thawed peer dials anew.
    pub connections: Vec<Connection>,
    /// The last id of a connection.
    pub last_id: u64,
    /// The capabilities of the next OPEN.
    pub offer: Offer,
    /// When all capabilities are offered again.
    pub offer_again_at: Option<Instant>,
    /// When the next attempt begins.
    pub retry_at: Option<Instant>,
    /// No session may begin before BFD is up.
    pub held_back: bool,
    /// Until then the connections of the peer are rejected.
    pub refuse_until: Option<Instant>,
    /// The next delay between two attempts, in nanoseconds.
    pub backoff: u64,
    /// The desired routes at the freeze.
    pub routes: Digest,
    /// The watched prefixes at the freeze.
    pub watched: Digest,
    /// The number of the desired set.
    pub version: u64,
    /// Whether the desired set is complete.
    pub extent: Extent,
    /// After a restart: the families whose forwarding went on (RFC 4724).
    pub restarted: Option<BTreeSet<Family>>,
    /// The last reported set.
    pub reported: Option<u64>,
    /// The last set that was reported as acknowledged.
    pub acknowledged: Option<u64>,
    /// The reported state.
    pub state: State,
    /// When the peer entered it.
    pub since: Option<Instant>,
    /// Why the last connection ended.
    pub last_down: Option<Down>,
    /// The last telling reason.
    pub telling: Option<Down>,
    /// Observations that explain the reasons.
    pub seen: Seen,
    /// Totals.
    pub counters: Counters,
}

/// Settings that need a new session when they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Our ASN.
    pub local_as: u32,
    /// The peer's ASN.
    pub peer_as: u32,
    /// The peer may have any other ASN.
    pub any_external: bool,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// In seconds; 0: none.
    pub hold_time: u16,
    /// The offered families.
    pub families: BTreeSet<Family>,
    /// Whether IPv6 next hops for IPv4 prefixes are offered.
    pub extended_next_hop: bool,
    /// The offered restart time in seconds, and the N bit.
    pub graceful_restart: Option<(u16, bool)>,
    /// Our role.
    pub role: Option<Role>,
    /// Whether the peer must have a role.
    pub require_role: bool,
}

/// Settings that may change in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// In nanoseconds.
    pub connect_retry: u64,
    /// The side that dials.
    pub mode: Mode,
    /// The configured next hop for IPv4.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// The configured next hop for IPv6.
    pub next_hop_v6: Option<std::net::Ipv6Addr>,
    /// MULTI_EXIT_DISC of routes without their own.
    pub med: Option<u32>,
    /// The export of routes.
    pub export: Export,
}

/// A connected connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Its id, which the thawed peer keeps: the caller finds the socket by it.
    pub id: u64,
    /// Whether we dialled.
    pub ours: bool,
    /// Our end.
    pub local: Socket,
    /// The peer's end.
    pub remote: Socket,
    /// Our other addresses on the interface.
    pub interface_addresses: Vec<std::net::IpAddr>,
    /// The local address is that of a service.
    pub local_is_service: bool,
    /// The phase, with its timers.
    pub phase: Phase,
    /// Bytes that were read and are not a whole message yet, at most 4,095.
    pub received: Octets,
    /// Families that the peer has asked for again.
    pub refresh: BTreeSet<Family>,
    /// Families that are being sent again.
    pub refreshing: BTreeSet<Family>,
    /// Families to ask the peer for again.
    pub ask: BTreeSet<Family>,
    /// The offer in our OPEN.
    pub offered: Offer,
    /// The number of bytes of [`Output::Send`](crate::fsm::Output::Send) without an
    /// [`Input::Sent`](crate::fsm::Input::Sent).
    pub unsent: u64,
    /// The last of these bytes, those that the kernel has not taken; at most `unsent`. The freeze leaves this empty:
    /// they are in the caller's queue, and the caller adds them. After the thaw it writes them before all others. If
    /// the kernel took more than it has reported, the caller hands the difference in as an
    /// [`Input::Sent`](crate::fsm::Input::Sent) first.
    pub queued: Octets,
    /// The delivery of the bytes.
    pub delivery: Delivery,
    /// The lateness of the latest KEEPALIVE in nanoseconds, and when it was sent.
    pub late: Option<(u64, Instant)>,
    /// When the Send Hold Timer expires.
    pub send_hold_until: Option<Instant>,
}

/// The phase of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// Our OPEN is sent.
    OpenSent {
        /// The end of the wait for the peer's.
        until: Instant,
    },
    /// Both OPENs were exchanged.
    OpenConfirm {
        /// The negotiated parameters.
        session: Session,
        /// When the hold timer expires.
        hold_until: Instant,
        /// When the next KEEPALIVE is due.
        keepalive_at: Option<Instant>,
    },
    /// UPDATEs flow.
    Established {
        /// The negotiated parameters.
        session: Session,
        /// The routes that the peer has from us.
        rib: Box<RibOut>,
        /// The peer's paths to the watched prefixes.
        heard: Box<RibIn>,
        /// When the session was established.
        since: Instant,
        /// When the hold timer expires.
        hold_until: Option<Instant>,
        /// When the next KEEPALIVE is due.
        keepalive_at: Option<Instant>,
    },
}

/// The negotiated parameters of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The peer's BGP identifier.
    pub peer_router_id: Ipv4Addr,
    /// The peer's ASN.
    pub peer_as: u32,
    /// In seconds; 0: none.
    pub hold_time: u16,
    /// The families of both sides.
    pub families: BTreeSet<Family>,
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// BoRR and EoRR (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// IPv6 next hops for IPv4 prefixes (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer's role (RFC 9234).
    pub peer_role: Option<Role>,
    /// The restart time that we sent, in seconds, and the N bit of both sides (RFC 4724, RFC 8538).
    pub graceful_restart: Option<(u16, bool)>,
}

/// What the peer has from us, as the difference to the desired set at the freeze.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RibOut {
    /// The attributes in `behind`.
    pub attributes: Vec<Attributes>,
    /// Prefixes for which the peer differs from the set: the index of the attributes that the peer has; `None`: it has no
    /// route.
    pub behind: Vec<(IpNet, Option<u32>)>,
    /// Sent prefixes that are due again.
    pub resend: BTreeSet<IpNet>,
    /// Withheld prefixes whose route does not fit into a message.
    pub too_large: BTreeSet<IpNet>,
    /// Families whose End-of-RIB is due.
    pub end_of_rib: BTreeSet<Family>,
    /// End-of-RIB waits for the whole set.
    pub hold_end_of_rib: bool,
}

/// The peer's paths to the watched prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RibIn {
    /// The paths; prefixes of one UPDATE share one.
    pub paths: Vec<Path>,
    /// Prefixes with the index of their path.
    pub prefixes: Vec<(IpNet, u32)>,
    /// Prefixes not announced again since the begin of a refresh.
    pub stale: BTreeSet<IpNet>,
}

/// The delivery of a connection's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Bytes given to the driver.
    pub given: u64,
    /// Of these, the acknowledged ones.
    pub acknowledged: u64,
    /// The ends of UPDATEs in flight, each with the number of prefixes up to there.
    pub marks: Vec<(u64, u64)>,
    /// The number of acknowledged prefixes.
    pub prefixes: u64,
    /// When the next look at the kernel's queue is due.
    pub look_at: Option<Instant>,
    /// The delay after that, in nanoseconds.
    pub look_after: u64,
    /// The time of the last acknowledgement, while bytes are outstanding.
    pub stuck_since: Option<Instant>,
    /// The time of the peer's last data.
    pub heard_at: Option<Instant>,
    /// A stall was reported.
    pub stalled: bool,
}

/// Observations about a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The peer's last OPEN.
    pub open: Option<HeardOpen>,
    /// The lateness of our last KEEPALIVE, in nanoseconds.
    pub late: Option<u64>,
    /// A stall.
    pub stall: Option<Stall>,
}

/// The contents of an OPEN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeardOpen {
    /// The ASN.
    pub asn: u32,
    /// The BGP identifier.
    pub router_id: Ipv4Addr,
    /// In seconds.
    pub hold_time: u16,
    /// The role.
    pub role: Option<Role>,
}

/// Bytes that the peer's TCP does not acknowledge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// Their number.
    pub bytes: u64,
    /// Retransmissions of the first.
    pub retransmissions: u32,
    /// The maximum segment size.
    pub segment: u32,
}

/// Totals since the peer was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Sessions.
    pub established: u64,
    /// Sent UPDATEs.
    pub updates_sent: u64,
    /// Received UPDATEs.
    pub updates_received: u64,
    /// Received prefixes.
    pub prefixes_received: u64,
    /// Withdrawn prefixes.
    pub prefixes_withdrawn: u64,
    /// Malformed UPDATEs.
    pub updates_malformed: u64,
}

/// A set of the caller, to be recognised: the number of its members, and the 64-bit FNV-1a hash of them in their order.
/// It finds a mistake, not an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// The number of members.
    pub members: u64,
    /// The hash.
    pub hash: u64,
}

mirror! {
    /// See [`fsm::ConnectMode`].
    Mode = fsm::ConnectMode {
        /// We dial and we accept.
        Both,
        /// We only accept.
        Passive,
        /// We only dial.
        Active,
    }
}

mirror! {
    /// See [`adj_rib_out::Export`].
    Export = adj_rib_out::Export {
        /// As it is.
        Plain,
        /// With GRACEFUL_SHUTDOWN.
        Leaving,
        /// No route.
        Nothing,
    }
}

mirror! {
    /// See [`fsm::Extent`].
    Extent = fsm::Extent {
        /// Complete.
        Whole,
        /// Incomplete.
        Partial,
    }
}

mirror! {
    /// See [`fsm::Offer`].
    Offer = fsm::Offer {
        /// All capabilities.
        Full,
        /// The required capabilities.
        Required,
        /// No capability.
        Nothing,
    }
}

mirror! {
    /// See [`fsm::State`].
    State = fsm::State {
        /// Stopped or waiting.
        Idle,
        /// Waiting for the peer.
        Active,
        /// Dialling.
        Connect,
        /// Our OPEN is sent.
        OpenSent,
        /// Both OPENs were exchanged.
        OpenConfirm,
        /// UPDATEs flow.
        Established,
    }
}
