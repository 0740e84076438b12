//! Communities: tags on routes, of 4 (RFC 1997), 8 (RFC 4360) and 12 octets (RFC 8092).

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::Asn;
use super::iana::{
    self,
    extended_community::{kind, subtype},
};
use super::parse::Hex;

/// A community, written `65001:100` or by its well-known name (RFC 1997).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// Prefer any other path: this one goes away (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(iana::community::GRACEFUL_SHUTDOWN);
    /// Drop traffic to this prefix (RFC 7999).
    pub const BLACKHOLE: Self = Self(iana::community::BLACKHOLE);
    /// Do not advertise outside this AS or confederation (RFC 1997).
    pub const NO_EXPORT: Self = Self(iana::community::NO_EXPORT);
    /// Do not advertise to any peer (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(iana::community::NO_ADVERTISE);

    /// `asn:value`.
    #[must_use]
    pub const fn new(asn: u16, value: u16) -> Self {
        Self((asn as u32) << 16 | value as u32)
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match iana::community::name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF),
        }
    }
}

impl FromStr for Community {
    type Err = ParseCommunityError;

    /// Reads `asn:value`, each 0 to 65,535, or a well-known name such as `no-export`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((_, value)) = iana::community::NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*value));
        }
        let [asn, value] = numbers(text).ok_or(ParseCommunityError::Community)?;
        Ok(Self::new(asn, value))
    }
}

impl Serialize for Community {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A large community, written `65001:1:2` (RFC 8092).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global administrator: the AS that defines the meaning of the local parts.
    pub global: u32,
    /// Local data part 1.
    pub local1: u32,
    /// Local data part 2.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl FromStr for LargeCommunity {
    type Err = ParseCommunityError;

    /// Reads `global:local1:local2`, each 0 to 4,294,967,295.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [global, local1, local2] = numbers(text).ok_or(ParseCommunityError::LargeCommunity)?;
        Ok(Self { global, local1, local2 })
    }
}

impl Serialize for LargeCommunity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An extended community, opaque; shown as 16 hexadecimal digits (RFC 4360).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

impl ExtendedCommunity {
    /// The bandwidth of the link to us, as FRR, BIRD and Arista read it: non-transitive, our ASN (AS_TRANS if it has four
    /// octets), and the rate in octets per second as an IEEE single (draft-ietf-idr-link-bandwidth §2).
    pub fn link_bandwidth(asn: Asn, octets_per_second: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "the format has 24 bits of precision")]
        let rate = (octets_per_second as f32).to_be_bytes();
        let [high, low] = asn.two_octets().to_be_bytes();
        let [a, b, c, d] = rate;
        Self([kind::TWO_OCTET_AS_NON_TRANSITIVE, subtype::LINK_BANDWIDTH, high, low, a, b, c, d])
    }
}

impl FromStr for ExtendedCommunity {
    type Err = ParseCommunityError;

    /// Reads `rt:65001:100`, `soo:65001:100` or 16 hexadecimal digits. An AS number over 65535 leaves 16 bits for the
    /// other number.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = ParseCommunityError::ExtendedCommunity;
        let Some((name, value)) = text.split_once(':') else {
            let number = (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
            return number.map(|number| Self(number.to_be_bytes())).ok_or(bad);
        };
        let subtype = match name {
            "rt" => subtype::ROUTE_TARGET,
            "soo" => subtype::ROUTE_ORIGIN,
            _ => return Err(bad),
        };
        let [asn, local] = numbers::<u32, 2>(value).ok_or(bad)?;
        let octets = match (u16::try_from(asn), u16::try_from(local)) {
            (Ok(asn), _) => {
                [&[kind::TWO_OCTET_AS, subtype][..], &asn.to_be_bytes(), &local.to_be_bytes()].concat()
            }
            (Err(_), Ok(local)) => {
                [&[kind::FOUR_OCTET_AS, subtype][..], &asn.to_be_bytes(), &local.to_be_bytes()].concat()
            }
            (Err(_), Err(_)) => return Err(bad),
        };
        octets.try_into().map(Self).map_err(|_| bad)
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl Serialize for ExtendedCommunity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why text is not a community.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseCommunityError {
    /// Neither two numbers nor a name.
    #[error("a community is two numbers up to 65535, as in 65001:100, or a well-known name, as in no-export")]
    Community,
    /// None of the forms of an extended community.
    #[error("an extended community is written rt:65001:100, soo:65001:100, or as 16 hexadecimal digits")]
    ExtendedCommunity,
    /// Not three numbers.
    #[error("a large community is three numbers up to 4294967295, as in 65001:1:2")]
    LargeCommunity,
}

/// Exactly `N` decimal numbers with colons between, without signs or blanks.
fn numbers<T: FromStr, const N: usize>(text: &str) -> Option<[T; N]> {
    let parts = text.split(':').map(|part| {
        let digits = part.bytes().all(|character| character.is_ascii_digit());
        part.parse().ok().filter(|_| digits)
    });
    parts.collect::<Option<Vec<T>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests;
