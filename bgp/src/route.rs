//! Desired routes: prefixes and their attributes, before a session adds its AS path and next hop.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use crate::prefix_map::PrefixMap;
use crate::wire::{Community, ExtendedCommunity, Family, LargeCommunity};

/// The whole desired set of a peer. Versions share their common branches, so the caller keeps one, changes it, and
/// gives each peer a clone. Prefixes with equal attributes should share one [`Arc`], to save memory; UPDATEs are packed
/// by value, so correctness does not depend on it.
pub type Routes = PrefixMap<Arc<RouteAttributes>>;

/// The part of a route's attributes that does not depend on the session.
///
/// ORIGIN is always IGP: nodes that announce the same prefix must agree in it, or ECMP breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct RouteAttributes {
    /// The number of extra times that our ASN is prepended to the AS path. Ignored on iBGP sessions.
    pub as_path_prepend: u8,
    /// MULTI_EXIT_DISC; `None`: not sent.
    pub med: Option<u32>,
    /// LOCAL_PREF on iBGP sessions; `None`: 100.
    pub local_pref: Option<u32>,
    /// Communities (RFC 1997).
    pub communities: BTreeSet<Community>,
    /// Extended communities (RFC 4360), besides the link bandwidth.
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    /// Link bandwidth in octets per second: routers with weighted ECMP split traffic in its proportion.
    pub link_bandwidth: Option<u64>,
    /// Large communities (RFC 8092).
    pub large_communities: BTreeSet<LargeCommunity>,
    /// Next hop of this route, of the prefix's own family; `None`: the session's.
    pub next_hop: Option<IpAddr>,
}

/// Next hops by address family; `None`: routes of that family cannot be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct NextHops {
    /// For IPv4 prefixes.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6 prefixes.
    pub v6: Option<Ipv6Addr>,
}

impl NextHops {
    /// The next hop for prefixes of `family`.
    pub fn of(&self, family: Family) -> Option<IpAddr> {
        if family == Family::IPV4_UNICAST {
            self.v4.map(IpAddr::V4)
        } else if family == Family::IPV6_UNICAST {
            self.v6.map(IpAddr::V6)
        } else {
            None
        }
    }

    /// These next hops, and those of `other` for a missing family.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { v4: self.v4.or(other.v4), v6: self.v6.or(other.v6) }
    }
}

impl FromIterator<IpAddr> for NextHops {
    /// The first address of each family.
    fn from_iter<T: IntoIterator<Item = IpAddr>>(addresses: T) -> Self {
        addresses.into_iter().fold(Self::default(), |hops, address| match address {
            IpAddr::V4(v4) => Self { v4: hops.v4.or(Some(v4)), ..hops },
            IpAddr::V6(v6) => Self { v6: hops.v6.or(Some(v6)), ..hops },
        })
    }
}

/// The unicast family that `prefix` belongs to.
pub fn family_of(prefix: &IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::IPV4_UNICAST,
        IpNet::V6(_) => Family::IPV6_UNICAST,
    }
}
