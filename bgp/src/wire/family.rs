//! AS numbers, router identifiers and address families.

use std::fmt;

use serde::{Serialize, Serializer};

use super::iana;

/// A BGP identifier: four octets, not zero, written like an IPv4 address (RFC 6286).
pub type RouterId = std::net::Ipv4Addr;

/// An autonomous system number, 0 to 4,294,967,295 (RFC 6793). 0 is never valid on the wire (RFC 7607).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Asn(pub u32);

impl Asn {
    /// AS_TRANS: the value of a two-octet field for a number that needs four octets.
    pub const TRANS: Self = Self(iana::AS_TRANS as u32);

    /// Whether the number fits a two-octet field.
    #[must_use]
    pub const fn fits_two_octets(self) -> bool {
        self.0 <= u16::MAX as u32
    }

    /// The value for a two-octet field: the number itself, or AS_TRANS (RFC 6793 §4.2.2).
    #[must_use]
    pub fn two_octets(self) -> u16 {
        u16::try_from(self.0).unwrap_or(iana::AS_TRANS)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address family identifier. Unknown values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Afi(pub u16);

impl Afi {
    /// IPv4.
    pub const IPV4: Self = Self(iana::afi::IPV4);
    /// IPv6.
    pub const IPV6: Self = Self(iana::afi::IPV6);
}

impl fmt::Display for Afi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match iana::afi::name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "afi{}", self.0),
        }
    }
}

impl Serialize for Afi {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A subsequent address family identifier. Unknown values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Safi(pub u8);

impl Safi {
    /// Unicast forwarding.
    pub const UNICAST: Self = Self(iana::safi::UNICAST);
}

impl fmt::Display for Safi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match iana::safi::name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "safi{}", self.0),
        }
    }
}

impl Serialize for Safi {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An address family as BGP negotiates it, shown as `ipv4-unicast` (RFC 4760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// The kind of address.
    pub afi: Afi,
    /// The use of the routes, such as unicast.
    pub safi: Safi,
}

impl Family {
    /// IPv4 routes: the only family of a session that negotiates none.
    pub const IPV4_UNICAST: Self = Self { afi: Afi::IPV4, safi: Safi::UNICAST };
    /// IPv6 routes.
    pub const IPV6_UNICAST: Self = Self { afi: Afi::IPV6, safi: Safi::UNICAST };

    /// A family from its two numbers, known or not.
    #[must_use]
    pub const fn new(afi: Afi, safi: Safi) -> Self {
        Self { afi, safi }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.afi, self.safi)
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
