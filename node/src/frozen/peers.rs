//! The frozen form of the peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;
use vipcast_bgp::frozen::peer::Export;
pub use vipcast_bgp::frozen::peer::Session;
use vipcast_bgp::frozen::route::{Family, Role};
use vipcast_bgp::transport;

use super::engine::Withheld;
use super::mirror;
use crate::names::PeerName;

/// The peers of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// The state of the generator of the peers' seeds.
    pub seeds: u64,
    /// The last id of a peer.
    pub last_id: u64,
    /// The BGP identifier in use.
    pub router_id: Option<Ipv4Addr>,
    /// Whether connections are accepted.
    pub listens: bool,
    /// Peers that run.
    pub running: BTreeMap<PeerName, Running>,
    /// The names of peers that were to be stopped, after the ports were frozen.
    pub stopping: BTreeSet<PeerName>,
    /// The name of each peer's BFD session.
    pub bfd: BTreeMap<PeerName, String>,
    /// Peers whose BFD session has been up.
    pub bfd_up: BTreeSet<PeerName>,
    /// Peers without their key: the reason, and the begin of the wait.
    pub keyless: BTreeMap<PeerName, (String, Instant)>,
    /// The links of unnumbered peers.
    pub links: BTreeMap<String, Link>,
}

/// A peer that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// The id in its events.
    pub id: u64,
    /// Settings whose change needs a new session.
    pub settings: Settings,
    /// The settings of BFD.
    pub bfd: Option<Bfd>,
    /// The seed of its randomness.
    pub seed: u64,
    /// The export of routes.
    pub export: Export,
    /// The established session.
    pub session: Option<Session>,
    /// The withheld routes as last reported to the engine.
    pub withheld: Vec<(Withheld, Vec<IpNet>)>,
}

/// The settings of a peer whose change needs a new session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The router's address.
    pub address: Option<IpAddr>,
    /// Whether the address was learnt on the link.
    pub learnt: bool,
    /// The router's TCP port.
    pub port: u16,
    /// Our ASN.
    pub local_as: u32,
    /// The router's ASN; `None`: any other.
    pub peer_as: Option<u32>,
    /// In seconds; 0: none.
    pub hold_time: u16,
    /// The offered families.
    pub families: BTreeSet<Family>,
    /// The local address.
    pub source_address: Option<IpAddr>,
    /// The interface.
    pub interface: Option<String>,
    /// The distance of the router.
    pub reach: Reach,
    /// What signs the session. The key itself is not written, nor a digest of it.
    pub authentication: Option<Authentication>,
    /// The most bytes in a TCP segment.
    pub tcp_mss: Option<u16>,
    /// Our role.
    pub role: Option<Role>,
    /// No session with a router without a role.
    pub require_role: bool,
    /// Whether IPv6 next hops for IPv4 prefixes are offered.
    pub extended_next_hop: bool,
    /// The restart time in seconds, and whether routes are kept after a NOTIFICATION.
    pub graceful_restart: Option<(u16, bool)>,
}

/// The settings of BFD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bfd {
    /// In nanoseconds.
    pub interval: u64,
    /// The number of packets in a row that the peer may miss.
    pub multiplier: u8,
    /// No BGP session before BFD is up.
    pub strict: bool,
    /// The least TTL of packets.
    pub min_ttl: Option<u8>,
}

/// The distance of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// By the kind of the session.
    ByPeering,
    /// At most this number of hops.
    Multihop(u8),
    /// The same, proved by the TTL.
    TtlSecurity(u8),
}

/// What signs a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// TCP MD5.
    Md5,
    /// TCP-AO: our key's id, the peer's key's id, and the algorithm.
    Ao(u8, u8, Algorithm),
}

/// The link of an unnumbered peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The begin of the wait for its router.
    pub since: Instant,
    /// The router.
    pub router: Option<Router>,
    /// Routers that had their turn without a session.
    pub tried: BTreeSet<Ipv6Addr>,
    /// Other routers that were warned of.
    pub warned: BTreeSet<Ipv6Addr>,
}

/// The router of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Router {
    /// Its link-local address.
    pub address: Ipv6Addr,
    /// When it last advertised itself.
    pub heard_at: Instant,
    /// When it was chosen.
    pub chosen_at: Instant,
    /// When its session was last up.
    pub stood_at: Option<Instant>,
}

mirror! {
    /// The algorithm of TCP-AO.
    Algorithm = transport::AoAlgorithm {
        /// HMAC-SHA-1-96.
        HmacSha1,
        /// AES-128-CMAC-96.
        AesCmac128,
    }
}
