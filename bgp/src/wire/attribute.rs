//! Path attributes: what an UPDATE says about its routes (RFC 4271 §5).
//!
//! ```text
//! +-------+------+--------------+---------- - -
//! | flags | type | length       | value
//! +-------+------+--------------+---------- - -
//!     1      1     1, or 2 with the extended-length flag
//! ```

mod decode;
mod encode;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use ipnet::{Ipv4Net, Ipv6Net};
use serde::Serialize;

use super::iana::{attribute as code, origin};
use super::{AsPath, Asn, Community, DecodeError, ExtendedCommunity, Family, LargeCommunity, parse};

pub(super) use decode::{Decoded, decode_all};
pub(super) use encode::encode_all;

/// One path attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// How the route came into BGP. Mandatory.
    Origin(Origin),
    /// The ASes it came through. Mandatory.
    AsPath(AsPath),
    /// The next hop for the NLRI field. Mandatory with it.
    NextHop(Ipv4Addr),
    /// MULTI_EXIT_DISC: prefers one of several links into the AS; the lower, the better.
    MultiExitDisc(u32),
    /// LOCAL_PREF: the higher, the better; inside an AS only.
    LocalPref(u32),
    /// ATOMIC_AGGREGATE: a router on the way preferred a less specific route.
    AtomicAggregate,
    /// The router that aggregated the route.
    Aggregator {
        /// Its AS; [`Asn::TRANS`] from a two-octet peer may stand for another.
        asn: Asn,
        /// Its BGP identifier.
        address: Ipv4Addr,
    },
    /// Tags (RFC 1997).
    Communities(Vec<Community>),
    /// The router that brought the route into the AS (RFC 4456).
    OriginatorId(Ipv4Addr),
    /// The route reflectors it came through (RFC 4456).
    ClusterList(Vec<Ipv4Addr>),
    /// Routes of a family (RFC 4760 §3).
    MpReach(MpReach),
    /// Withdrawn routes of a family (RFC 4760 §4).
    MpUnreach(MpUnreach),
    /// Typed tags (RFC 4360).
    ExtendedCommunities(Vec<ExtendedCommunity>),
    /// The far end of AS_PATH in four octets, from a two-octet peer only (RFC 6793).
    As4Path(AsPath),
    /// AGGREGATOR in four octets, from a two-octet peer only (RFC 6793).
    As4Aggregator {
        /// Its AS.
        asn: Asn,
        /// Its BGP identifier.
        address: Ipv4Addr,
    },
    /// Tags with room for four-octet AS numbers (RFC 8092).
    LargeCommunities(Vec<LargeCommunity>),
    /// The route must go to customers alone from this AS on (RFC 9234 §5).
    OnlyToCustomer(Asn),
    /// Any other optional attribute, opaque.
    Unknown {
        /// The flags as received.
        flags: AttributeFlags,
        /// The attribute type code.
        code: u8,
        /// The value.
        #[serde(serialize_with = "parse::serialize_hex")]
        data: Bytes,
    },
}

/// The significant flags of an attribute: optional, transitive, partial (RFC 4271 §4.3).
///
/// The extended-length flag belongs to the encoding, and the low four bits are ignored: neither is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct AttributeFlags(u8);

impl AttributeFlags {
    /// Well-known: every speaker must know it.
    pub const WELL_KNOWN: Self = Self(0x40);
    /// Optional non-transitive: a speaker that does not know it drops it.
    pub const OPTIONAL: Self = Self(0x80);
    /// Optional transitive: a speaker that does not know it passes it on.
    pub const OPTIONAL_TRANSITIVE: Self = Self(0xC0);
    /// Optional transitive, and a speaker on the way did not know it.
    pub const PARTIAL: Self = Self(0xE0);

    const EXTENDED_LENGTH: u8 = 0x10;
    const KEPT: u8 = 0xE0;
    /// The optional and transitive flags, which RFC 7606 §3 c compares.
    const CATEGORY: u8 = 0xC0;

    /// From the octet on the wire.
    #[must_use]
    pub const fn from_octet(octet: u8) -> Self {
        Self(octet & Self::KEPT)
    }

    /// Whether the attribute is optional, not well-known.
    #[must_use]
    pub const fn is_optional(self) -> bool {
        self.0 & Self::OPTIONAL.0 != 0
    }

    /// Whether a speaker that does not know the attribute passes it on.
    #[must_use]
    pub const fn is_transitive(self) -> bool {
        self.0 & Self::WELL_KNOWN.0 != 0
    }

    /// Whether a speaker on the way did not know the attribute.
    #[must_use]
    pub const fn is_partial(self) -> bool {
        self.0 & Self::PARTIAL.0 & !Self::OPTIONAL_TRANSITIVE.0 != 0
    }

    /// The flags that the definition of attribute `kind` gives it, `None` when it is opaque here.
    const fn of(kind: u8) -> Option<Self> {
        match kind {
            code::ORIGIN | code::AS_PATH | code::NEXT_HOP | code::LOCAL_PREF | code::ATOMIC_AGGREGATE => {
                Some(Self::WELL_KNOWN)
            }
            code::MULTI_EXIT_DISC
            | code::ORIGINATOR_ID
            | code::CLUSTER_LIST
            | code::MP_REACH_NLRI
            | code::MP_UNREACH_NLRI => Some(Self::OPTIONAL),
            code::AGGREGATOR
            | code::COMMUNITIES
            | code::EXTENDED_COMMUNITIES
            | code::AS4_PATH
            | code::AS4_AGGREGATOR
            | code::LARGE_COMMUNITIES
            | code::ONLY_TO_CUSTOMER => Some(Self::OPTIONAL_TRANSITIVE),
            _ => None,
        }
    }
}

/// How a route came into BGP (RFC 4271 §5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// From inside the AS; the origin of our routes.
    Igp,
    /// From EGP, the protocol before BGP.
    Egp,
    /// By other means, such as redistribution.
    Incomplete,
}

impl Origin {
    const fn code(self) -> u8 {
        match self {
            Self::Igp => origin::IGP,
            Self::Egp => origin::EGP,
            Self::Incomplete => origin::INCOMPLETE,
        }
    }
}

/// Routes of one family, and their next hop (RFC 4760 §3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MpReach {
    /// Of the routes.
    pub family: Family,
    /// The next hop; with RFC 8950 its family may differ from that of the routes.
    pub next_hop: MpNextHop,
    /// The routes.
    pub nlri: MpNlri,
}

/// Withdrawn routes of one family (RFC 4760 §4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MpUnreach {
    /// Of the routes.
    pub family: Family,
    /// The routes; none at all is End-of-RIB when nothing else is in the UPDATE (RFC 4724 §2).
    pub nlri: MpNlri,
}

/// The next hop in MP_REACH_NLRI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MpNextHop {
    /// 4 octets, for IPv4 unicast.
    Ipv4(Ipv4Addr),
    /// 16 or 32 octets, for IPv6 unicast (RFC 2545) and for IPv4 unicast (RFC 8950).
    Ipv6 {
        /// The global address.
        global: Ipv6Addr,
        /// The link-local address, on a shared link only.
        link_local: Option<Ipv6Addr>,
    },
    /// The next hop of any other family, opaque.
    #[serde(serialize_with = "parse::serialize_hex")]
    Other(Bytes),
}

impl MpNextHop {
    /// The address, the global one of two unless that is `::`, which some speakers put before a link-local one.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Ipv4(address) => Some(IpAddr::V4(*address)),
            Self::Ipv6 { global, link_local: Some(link_local) } if global.is_unspecified() => {
                Some(IpAddr::V6(*link_local))
            }
            Self::Ipv6 { global, .. } => Some(IpAddr::V6(*global)),
            Self::Other(_) => None,
        }
    }
}

/// The routes in MP_REACH_NLRI or MP_UNREACH_NLRI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MpNlri {
    /// Of IPv4 unicast.
    Ipv4(Vec<Ipv4Net>),
    /// Of IPv6 unicast.
    Ipv6(Vec<Ipv6Net>),
    /// Of any other family, opaque.
    #[serde(serialize_with = "parse::serialize_hex")]
    Opaque(Bytes),
}

impl MpNlri {
    /// No routes of `family`, in the form that decoding gives them.
    #[must_use]
    pub const fn empty(family: Family) -> Self {
        match family {
            Family::IPV4_UNICAST => Self::Ipv4(Vec::new()),
            Family::IPV6_UNICAST => Self::Ipv6(Vec::new()),
            Family { .. } => Self::Opaque(Bytes::new()),
        }
    }

    /// Whether there are no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Ipv4(prefixes) => prefixes.is_empty(),
            Self::Ipv6(prefixes) => prefixes.is_empty(),
            Self::Opaque(octets) => octets.is_empty(),
        }
    }
}

/// The handling of a malformed attribute that does not end the session, the weakest first (RFC 7606 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorAction {
    /// The attribute is left out; the routes stand.
    AttributeDiscard,
    /// The routes of the UPDATE are withdrawn.
    TreatAsWithdraw,
}

/// A malformed attribute and its handling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MalformedAttribute {
    /// The attribute type code; 0 when not even that could be read.
    pub code: u8,
    /// The handling of the attribute.
    pub action: ErrorAction,
    /// The error in the attribute.
    #[serde(serialize_with = "serialize_error")]
    pub error: DecodeError,
}

impl Attribute {
    /// The attribute type code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Origin(_) => code::ORIGIN,
            Self::AsPath(_) => code::AS_PATH,
            Self::NextHop(_) => code::NEXT_HOP,
            Self::MultiExitDisc(_) => code::MULTI_EXIT_DISC,
            Self::LocalPref(_) => code::LOCAL_PREF,
            Self::AtomicAggregate => code::ATOMIC_AGGREGATE,
            Self::Aggregator { .. } => code::AGGREGATOR,
            Self::Communities(_) => code::COMMUNITIES,
            Self::OriginatorId(_) => code::ORIGINATOR_ID,
            Self::ClusterList(_) => code::CLUSTER_LIST,
            Self::MpReach(_) => code::MP_REACH_NLRI,
            Self::MpUnreach(_) => code::MP_UNREACH_NLRI,
            Self::ExtendedCommunities(_) => code::EXTENDED_COMMUNITIES,
            Self::As4Path(_) => code::AS4_PATH,
            Self::As4Aggregator { .. } => code::AS4_AGGREGATOR,
            Self::LargeCommunities(_) => code::LARGE_COMMUNITIES,
            Self::OnlyToCustomer(_) => code::ONLY_TO_CUSTOMER,
            Self::Unknown { code, .. } => *code,
        }
    }

    /// The flags it is sent with.
    #[must_use]
    pub fn flags(&self) -> AttributeFlags {
        match self {
            Self::Unknown { flags, .. } => *flags,
            Self::Origin(_)
            | Self::AsPath(_)
            | Self::NextHop(_)
            | Self::MultiExitDisc(_)
            | Self::LocalPref(_)
            | Self::AtomicAggregate
            | Self::Aggregator { .. }
            | Self::Communities(_)
            | Self::OriginatorId(_)
            | Self::ClusterList(_)
            | Self::MpReach(_)
            | Self::MpUnreach(_)
            | Self::ExtendedCommunities(_)
            | Self::As4Path(_)
            | Self::As4Aggregator { .. }
            | Self::LargeCommunities(_)
            | Self::OnlyToCustomer(_) => {
                AttributeFlags::of(self.code()).unwrap_or(AttributeFlags::OPTIONAL_TRANSITIVE)
            }
        }
    }
}

fn serialize_error<S: serde::Serializer>(error: &DecodeError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

#[cfg(test)]
mod tests;
