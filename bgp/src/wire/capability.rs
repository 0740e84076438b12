//! Capabilities of a speaker, listed in its OPEN (RFC 5492).
//!
//! A known capability may have an impossible value. Multiprotocol and four-octet AS numbers decide how the whole
//! session is decoded, so a wrong length there is an error of the OPEN (2/0). Any other is kept as
//! [`Capability::Unknown`] and not used, as RFC 5492 §3 requires for unknown capabilities.

use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;

use super::iana::{self, capability as code};
use super::parse::{self, Parsed};
use super::{Afi, Asn, DecodeError, EncodeError, Family, Role, Safi};

/// The longest restart time, in seconds: 12 bits (RFC 4724 §3).
pub const MAX_RESTART_TIME: u16 = 0x0FFF;

const RESTARTING: u16 = 0x8000;
const NOTIFICATION: u16 = 0x4000;
const FORWARDING_PRESERVED: u8 = 0x80;

/// One capability of an OPEN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Routes of this family (RFC 4760 §8).
    Multiprotocol(Family),
    /// Answers ROUTE-REFRESH (RFC 2918).
    RouteRefresh,
    /// Marks the begin and the end of a refresh (RFC 7313).
    EnhancedRouteRefresh,
    /// Accepts next hops of another family than the routes (RFC 8950 §4).
    ExtendedNextHop(Vec<ExtendedNextHop>),
    /// The sender's role towards its peer (RFC 9234 §4.1).
    Role(Role),
    /// Graceful restart (RFC 4724 §3, RFC 8538 §2).
    GracefulRestart {
        /// R: the sender has just restarted; the peer must not wait for its End-of-RIB.
        restarting: bool,
        /// N: restarts gracefully even after a NOTIFICATION (RFC 8538 §2).
        notification: bool,
        /// The time for which the peer keeps the sender's routes, in seconds, 0 to 4,095.
        restart_time: u16,
        /// The families with preserved forwarding; empty: the sender is only a helper.
        families: Vec<GracefulRestartFamily>,
    },
    /// Four-octet AS numbers, with the sender's own (RFC 6793 §3).
    FourOctetAs(Asn),
    /// Any other capability, and a known one with an unreadable value.
    Unknown {
        /// The capability code.
        code: u8,
        /// The value, at most 255 octets.
        #[serde(serialize_with = "parse::serialize_hex")]
        data: Bytes,
    },
}

/// Routes of `family` may have a next hop of `next_hop` (RFC 8950 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExtendedNextHop {
    /// Of the routes.
    pub family: Family,
    /// Of the next hop.
    pub next_hop: Afi,
}

/// One family of the graceful restart capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GracefulRestartFamily {
    /// The address family.
    pub family: Family,
    /// F: forwarding went on during the restart, so stale routes are still good.
    pub forwarding: bool,
}

impl Capability {
    /// The capability code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol(_) => code::MULTIPROTOCOL,
            Self::RouteRefresh => code::ROUTE_REFRESH,
            Self::EnhancedRouteRefresh => code::ENHANCED_ROUTE_REFRESH,
            Self::ExtendedNextHop(_) => code::EXTENDED_NEXT_HOP,
            Self::Role(_) => code::ROLE,
            Self::GracefulRestart { .. } => code::GRACEFUL_RESTART,
            Self::FourOctetAs(_) => code::FOUR_OCTET_AS,
            Self::Unknown { code, .. } => *code,
        }
    }

    /// Reads one capability after another until `input` is used up.
    pub(super) fn decode_all(mut input: &[u8], into: &mut Vec<Self>) -> Result<(), DecodeError> {
        while !input.is_empty() {
            let (rest, (code, value)) = code_and_value(input)
                .map_err(|_| DecodeError::MalformedOpen("a capability is longer than its parameter"))?;
            into.push(Self::decode(code, value)?);
            input = rest;
        }
        Ok(())
    }

    fn decode(code: u8, value: &[u8]) -> Result<Self, DecodeError> {
        let known = match code {
            code::MULTIPROTOCOL => {
                let family = parse::whole(multiprotocol, value).ok_or(DecodeError::MalformedOpen(
                    "the multiprotocol capability does not have 4 octets",
                ))?;
                Some(Self::Multiprotocol(family))
            }
            code::FOUR_OCTET_AS => {
                let asn = parse::whole(parse::asn, value).ok_or(DecodeError::MalformedOpen(
                    "the four-octet AS capability does not have 4 octets",
                ))?;
                Some(Self::FourOctetAs(asn))
            }
            code::ROUTE_REFRESH if value.is_empty() => Some(Self::RouteRefresh),
            code::ENHANCED_ROUTE_REFRESH if value.is_empty() => Some(Self::EnhancedRouteRefresh),
            code::EXTENDED_NEXT_HOP => parse::every(extended_next_hop, 6, value).map(Self::ExtendedNextHop),
            code::ROLE => parse::whole(parse::octet, value).and_then(Role::from_code).map(Self::Role),
            code::GRACEFUL_RESTART => graceful_restart(value),
            _ => None,
        };
        Ok(known.unwrap_or_else(|| Self::Unknown { code, data: Bytes::copy_from_slice(value) }))
    }

    /// Appends code, length and value.
    pub(super) fn encode(&self, buffer: &mut BytesMut) -> Result<(), EncodeError> {
        let mut value = BytesMut::new();
        match self {
            Self::Multiprotocol(family) => {
                value.put_u16(family.afi.0);
                value.put_u8(0);
                value.put_u8(family.safi.0);
            }
            Self::RouteRefresh | Self::EnhancedRouteRefresh => {}
            Self::ExtendedNextHop(entries) => {
                for entry in entries {
                    value.put_u16(entry.family.afi.0);
                    value.put_u16(u16::from(entry.family.safi.0));
                    value.put_u16(entry.next_hop.0);
                }
            }
            Self::GracefulRestart { restarting, notification, restart_time, families } => {
                if *restart_time > MAX_RESTART_TIME {
                    return Err(EncodeError::RestartTime(*restart_time));
                }
                let restarting = if *restarting { RESTARTING } else { 0 };
                let notification = if *notification { NOTIFICATION } else { 0 };
                value.put_u16(restarting | notification | restart_time);
                for entry in families {
                    value.put_u16(entry.family.afi.0);
                    value.put_u8(entry.family.safi.0);
                    value.put_u8(if entry.forwarding { FORWARDING_PRESERVED } else { 0 });
                }
            }
            Self::Role(role) => value.put_u8(role.code()),
            Self::FourOctetAs(asn) => value.put_u32(asn.0),
            Self::Unknown { data, .. } => value.put_slice(data),
        }
        let length = u8::try_from(value.len())
            .map_err(|_| EncodeError::CapabilityTooLong { code: self.code(), length: value.len() })?;
        buffer.put_u8(self.code());
        buffer.put_u8(length);
        buffer.put_slice(&value);
        Ok(())
    }
}

/// In words, as in `multiprotocol ipv4-unicast` or `graceful-restart 120 s`.
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match iana::capability::name(self.code()) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "capability {}", self.code())?,
        }
        match self {
            Self::Multiprotocol(family) => write!(f, " {family}"),
            Self::ExtendedNextHop(entries) => {
                entries.iter().try_for_each(|entry| write!(f, " {} over {}", entry.family, entry.next_hop))
            }
            Self::GracefulRestart { restart_time, .. } => write!(f, " {restart_time} s"),
            Self::FourOctetAs(asn) => write!(f, " {asn}"),
            Self::Role(role) => write!(f, " {role}"),
            Self::RouteRefresh | Self::EnhancedRouteRefresh | Self::Unknown { .. } => Ok(()),
        }
    }
}

fn code_and_value(input: &[u8]) -> Parsed<'_, (u8, &[u8])> {
    let (rest, code) = parse::octet(input)?;
    let (rest, value) = parse::octets_with_length(rest)?;
    Ok((rest, (code, value)))
}

fn multiprotocol(input: &[u8]) -> Parsed<'_, Family> {
    let (rest, afi) = parse::short(input)?;
    let (rest, _reserved) = parse::octet(rest)?;
    let (rest, safi) = parse::octet(rest)?;
    Ok((rest, Family::new(Afi(afi), Safi(safi))))
}

/// The SAFI takes two octets here, the first of them 0 (RFC 8950 §4).
fn extended_next_hop(input: &[u8]) -> Parsed<'_, ExtendedNextHop> {
    let (rest, afi) = parse::short(input)?;
    let (rest, safi) = parse::short(rest)?;
    let (rest, next_hop) = parse::short(rest)?;
    let safi = u8::try_from(safi).map_err(|_| nom::Err::Error(()))?;
    Ok((rest, ExtendedNextHop { family: Family::new(Afi(afi), Safi(safi)), next_hop: Afi(next_hop) }))
}

fn graceful_restart(value: &[u8]) -> Option<Capability> {
    let (families, flags_and_time) = parse::short(value).ok()?;
    Some(Capability::GracefulRestart {
        restarting: flags_and_time & RESTARTING != 0,
        notification: flags_and_time & NOTIFICATION != 0,
        restart_time: flags_and_time & MAX_RESTART_TIME,
        families: parse::every(graceful_restart_family, 4, families)?,
    })
}

fn graceful_restart_family(input: &[u8]) -> Parsed<'_, GracefulRestartFamily> {
    let (rest, family) = parse::family(input)?;
    let (rest, flags) = parse::octet(rest)?;
    Ok((rest, GracefulRestartFamily { family, forwarding: flags & FORWARDING_PRESERVED != 0 }))
}

#[cfg(test)]
mod tests;
