//! Routes, paths, families and addresses in their frozen form.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use serde::{Deserialize, Serialize};

use super::peer::Digest;
use super::{Error, mirror};
use crate::adj_rib_in::{self, Watched};
use crate::route::{RouteAttributes, Routes};
use crate::wire::{self, Afi, Asn, Community, ExtendedCommunity, LargeCommunity, Safi};

/// An address family: AFI and SAFI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Family(pub u16, pub u8);

impl From<wire::Family> for Family {
    fn from(family: wire::Family) -> Self {
        Self(family.afi.0, family.safi.0)
    }
}

impl From<Family> for wire::Family {
    fn from(Family(afi, safi): Family) -> Self {
        Self::new(Afi(afi), Safi(safi))
    }
}

/// An address and port, with the parts of an IPv6 socket address that serde drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The flow label of IPv6.
    pub flow: u32,
    /// The scope of a link-local address: the index of the interface.
    pub scope: u32,
}

impl From<SocketAddr> for Socket {
    fn from(from: SocketAddr) -> Self {
        let (flow, scope) = match from {
            SocketAddr::V4(_) => (0, 0),
            SocketAddr::V6(v6) => (v6.flowinfo(), v6.scope_id()),
        };
        Self { address: from.ip(), port: from.port(), flow, scope }
    }
}

impl From<Socket> for SocketAddr {
    fn from(from: Socket) -> Self {
        match from.address {
            IpAddr::V4(v4) => (v4, from.port).into(),
            IpAddr::V6(v6) => SocketAddrV6::new(v6, from.port, from.flow, from.scope).into(),
        }
    }
}

/// The attributes of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    /// Extra times that our ASN is prepended.
    pub as_path_prepend: u8,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// Communities.
    pub communities: Vec<u32>,
    /// Extended communities.
    pub extended_communities: Vec<[u8; 8]>,
    /// In octets per second.
    pub link_bandwidth: Option<u64>,
    /// Large communities.
    pub large_communities: Vec<[u32; 3]>,
    /// The route's own next hop.
    pub next_hop: Option<IpAddr>,
}

impl From<&RouteAttributes> for Attributes {
    fn from(route: &RouteAttributes) -> Self {
        Self {
            as_path_prepend: route.as_path_prepend,
            med: route.med,
            local_pref: route.local_pref,
            communities: route.communities.iter().map(|community| community.0).collect(),
            extended_communities: route.extended_communities.iter().map(|community| community.0).collect(),
            link_bandwidth: route.link_bandwidth,
            large_communities: route.large_communities.iter().map(large).collect(),
            next_hop: route.next_hop,
        }
    }
}

impl From<Attributes> for RouteAttributes {
    fn from(frozen: Attributes) -> Self {
        Self {
            as_path_prepend: frozen.as_path_prepend,
            med: frozen.med,
            local_pref: frozen.local_pref,
            communities: frozen.communities.into_iter().map(Community).collect(),
            extended_communities: frozen.extended_communities.into_iter().map(ExtendedCommunity).collect(),
            link_bandwidth: frozen.link_bandwidth,
            large_communities: frozen.large_communities.into_iter().map(thaw_large).collect(),
            next_hop: frozen.next_hop,
        }
    }
}

/// A path of the peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// The next hop.
    pub next_hop: IpAddr,
    /// At most 32 ASNs.
    pub as_path: Vec<u32>,
    /// The number of ASNs left out.
    pub more_asns: u32,
    /// The origin AS.
    pub origin_as: Option<u32>,
    /// ORIGIN.
    pub origin: Origin,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// At most 16.
    pub communities: Vec<u32>,
    /// At most 16.
    pub large_communities: Vec<[u32; 3]>,
    /// The number of communities left out.
    pub more_communities: u32,
    /// The announcer.
    pub whose: Whose,
}

impl From<&adj_rib_in::Path> for Path {
    fn from(path: &adj_rib_in::Path) -> Self {
        // A message has room for a few thousand of each.
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            next_hop: path.next_hop,
            as_path: path.as_path.iter().map(|asn| asn.0).collect(),
            more_asns: number(path.more_asns),
            origin_as: path.origin_as.map(|asn| asn.0),
            origin: path.origin.into(),
            med: path.med,
            local_pref: path.local_pref,
            communities: path.communities.iter().map(|community| community.0).collect(),
            large_communities: path.large_communities.iter().map(large).collect(),
            more_communities: number(path.more_communities),
            whose: path.whose.into(),
        }
    }
}

impl TryFrom<&Path> for adj_rib_in::Path {
    type Error = Error;

    fn try_from(frozen: &Path) -> Result<Self, Error> {
        let most = [
            (frozen.as_path.len(), Self::MAX_ASNS),
            (frozen.communities.len(), Self::MAX_COMMUNITIES),
            (frozen.large_communities.len(), Self::MAX_COMMUNITIES),
        ];
        if most.iter().any(|(length, most)| length > most) {
            return Err(Error::Range("paths"));
        }
        let number = |number: u32| usize::try_from(number).map_err(|_| Error::Range("paths"));
        Ok(Self {
            next_hop: frozen.next_hop,
            as_path: frozen.as_path.iter().copied().map(Asn).collect(),
            more_asns: number(frozen.more_asns)?,
            origin_as: frozen.origin_as.map(Asn),
            origin: frozen.origin.into(),
            med: frozen.med,
            local_pref: frozen.local_pref,
            communities: frozen.communities.iter().copied().map(Community).collect(),
            large_communities: frozen.large_communities.iter().copied().map(thaw_large).collect(),
            more_communities: number(frozen.more_communities)?,
            whose: frozen.whose.into(),
        })
    }
}

fn large(LargeCommunity { global, local1, local2 }: &LargeCommunity) -> [u32; 3] {
    [*global, *local1, *local2]
}

fn thaw_large([global, local1, local2]: [u32; 3]) -> LargeCommunity {
    LargeCommunity { global, local1, local2 }
}

mirror! {
    /// ORIGIN (RFC 4271 §5.1.1).
    Origin = wire::Origin {
        /// From inside the AS.
        Igp,
        /// From EGP.
        Egp,
        /// By other means.
        Incomplete,
    }
}

mirror! {
    /// The announcer of a path.
    Whose = adj_rib_in::Whose {
        /// Another speaker.
        Other,
        /// Our own route, reflected.
        Ours,
        /// Either.
        Unclear,
    }
}

mirror! {
    /// A BGP role (RFC 9234).
    Role = wire::Role {
        /// A provider.
        Provider,
        /// A route server.
        Rs,
        /// A client of a route server.
        RsClient,
        /// A customer.
        Customer,
        /// A peer.
        Peer,
    }
}

impl Digest {
    /// The digest of a desired set.
    pub fn of_routes(routes: &Routes) -> Self {
        let mut hash = Fnv::new();
        let mut last: Option<(*const RouteAttributes, u64)> = None;
        for (prefix, route) in routes {
            hash.prefix(prefix);
            // Neighbours often share their attributes.
            let at = std::sync::Arc::as_ptr(route);
            let attributes = match last {
                Some((same, attributes)) if same == at => attributes,
                Some(_) | None => Fnv::of_route(route),
            };
            last = Some((at, attributes));
            hash.octets(&attributes.to_be_bytes());
        }
        Self { members: u64::try_from(routes.len()).unwrap_or(u64::MAX), hash: hash.0 }
    }

    /// The digest of the watched prefixes.
    pub fn of_watched(watched: &Watched) -> Self {
        let mut hash = Fnv::new();
        watched.iter().for_each(|prefix| hash.prefix(prefix));
        Self { members: u64::try_from(watched.len()).unwrap_or(u64::MAX), hash: hash.0 }
    }
}

/// FNV-1a with 64 bits: the same in every version, on every machine.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn octets(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// A number that may be absent.
    fn number(&mut self, number: Option<u64>) {
        self.octets(&[u8::from(number.is_some())]);
        self.octets(&number.unwrap_or_default().to_be_bytes());
    }

    fn length(&mut self, length: usize) {
        self.number(u64::try_from(length).ok());
    }

    fn address(&mut self, address: IpAddr) {
        self.octets(&[u8::from(address.is_ipv6())]);
        let v6: Ipv6Addr = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        self.octets(&v6.octets());
    }

    fn prefix(&mut self, prefix: &ipnet::IpNet) {
        self.address(prefix.addr());
        self.octets(&[prefix.prefix_len()]);
    }

    fn of_route(route: &RouteAttributes) -> u64 {
        let RouteAttributes {
            as_path_prepend,
            med,
            local_pref,
            communities,
            extended_communities,
            link_bandwidth,
            large_communities,
            next_hop,
        } = route;
        let mut hash = Self::new();
        hash.octets(&[*as_path_prepend]);
        hash.number(med.map(u64::from));
        hash.number(local_pref.map(u64::from));
        hash.number(*link_bandwidth);
        hash.length(communities.len());
        communities.iter().for_each(|community| hash.octets(&community.0.to_be_bytes()));
        hash.length(extended_communities.len());
        extended_communities.iter().for_each(|community| hash.octets(&community.0));
        hash.length(large_communities.len());
        for part in large_communities.iter().flat_map(large) {
            hash.octets(&part.to_be_bytes());
        }
        hash.octets(&[u8::from(next_hop.is_some())]);
        if let Some(address) = next_hop {
            hash.address(*address);
        }
        hash.0
    }
}
