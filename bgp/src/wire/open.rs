//! OPEN: the sender's AS, identifier, hold time and capabilities (RFC 4271 §4.2).
//!
//! ```text
//! +---------+-------+-----------+----------------+--------+----------------------+
//! | version | my AS | hold time | BGP identifier | length | optional parameters  |
//! +---------+-------+-----------+----------------+--------+----------------------+
//!      1        2         2             4             1      (type, length, value)*
//! ```

use std::net::Ipv4Addr;

use bytes::{BufMut as _, BytesMut};
use serde::Serialize;

use super::iana::{self, open_parameter};
use super::parse::{self, Parsed};
use super::{Asn, Capability, DecodeError, EncodeError, Family};

/// The shortest hold time other than 0, in seconds (RFC 4271 §4.2).
pub const MIN_HOLD_TIME: u16 = 3;

/// The first message of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Open {
    /// The sender's AS number: that of the four-octet AS capability when it is there.
    pub asn: Asn,
    /// Proposed hold time in seconds: 0 (no keepalives), or 3 and more.
    pub hold_time: u16,
    /// The sender's BGP identifier, not 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// In the order of the message, duplicates included.
    pub capabilities: Vec<Capability>,
    my_as: u16,
}

impl Open {
    /// An OPEN of ours.
    ///
    /// If `asn` needs four octets, the two-octet AS field becomes AS_TRANS, and the four-octet AS capability is added
    /// if `capabilities` lacks it. A speaker of four-octet AS numbers always lists that capability.
    #[must_use]
    pub fn new(asn: Asn, hold_time: u16, router_id: Ipv4Addr, mut capabilities: Vec<Capability>) -> Self {
        let listed = capabilities.iter().any(|capability| matches!(capability, Capability::FourOctetAs(_)));
        if !asn.fits_two_octets() && !listed {
            capabilities.push(Capability::FourOctetAs(asn));
        }
        Self { asn, hold_time, router_id, capabilities, my_as: asn.two_octets() }
    }

    /// The two-octet My Autonomous System field: the AS number, or AS_TRANS.
    #[must_use]
    pub const fn my_as(&self) -> u16 {
        self.my_as
    }

    /// Whether the sender speaks four-octet AS numbers (RFC 6793).
    #[must_use]
    pub fn has_four_octet_as(&self) -> bool {
        four_octet_as(&self.capabilities).is_some()
    }

    /// The families of the sender; only IPv4 unicast if it names none (RFC 4760 §8).
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let mut families: Vec<Family> = self
            .capabilities
            .iter()
            .filter_map(|capability| match capability {
                Capability::Multiprotocol(family) => Some(*family),
                Capability::RouteRefresh
                | Capability::EnhancedRouteRefresh
                | Capability::ExtendedNextHop(_)
                | Capability::Role(_)
                | Capability::GracefulRestart { .. }
                | Capability::FourOctetAs(_)
                | Capability::Unknown { .. } => None,
            })
            .collect();
        families.sort_unstable();
        families.dedup();
        if families.is_empty() {
            families.push(Family::IPV4_UNICAST);
        }
        families
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let (rest, version) = parse::octet(body).map_err(|_| TRUNCATED)?;
        if version != iana::BGP_VERSION {
            return Err(DecodeError::UnsupportedVersion(version));
        }
        let (parameters, (my_as, hold_time, router_id)) = fixed_fields(rest).map_err(|_| TRUNCATED)?;
        if my_as == 0 {
            return Err(DecodeError::BadPeerAs);
        }
        if (1..MIN_HOLD_TIME).contains(&hold_time) {
            return Err(DecodeError::UnacceptableHoldTime(hold_time));
        }
        if router_id.is_unspecified() {
            return Err(DecodeError::BadRouterId);
        }
        let capabilities = decode_parameters(parameters)?;
        let asn = four_octet_as(&capabilities).unwrap_or(Asn(u32::from(my_as)));
        if asn.0 == 0 {
            return Err(DecodeError::BadPeerAs);
        }
        Ok(Self { asn, hold_time, router_id, capabilities, my_as })
    }

    /// All capabilities go into one parameter, as RFC 5492 §4 recommends, and never into an extended one.
    pub(super) fn encode(&self, buffer: &mut BytesMut) -> Result<(), EncodeError> {
        let mut value = BytesMut::new();
        for capability in &self.capabilities {
            capability.encode(&mut value)?;
        }
        let too_long = EncodeError::CapabilitiesTooLong(value.len());
        let length = u8::try_from(value.len()).map_err(|_| too_long.clone())?;

        buffer.put_u8(iana::BGP_VERSION);
        buffer.put_u16(self.my_as);
        buffer.put_u16(self.hold_time);
        buffer.put_u32(self.router_id.to_bits());
        if length == 0 {
            buffer.put_u8(0);
            return Ok(());
        }
        buffer.put_u8(length.checked_add(PARAMETER_HEADER_LEN).ok_or(too_long)?);
        buffer.put_u8(open_parameter::CAPABILITIES);
        buffer.put_u8(length);
        buffer.put_slice(&value);
        Ok(())
    }
}

/// Type and length of an optional parameter, in octets.
const PARAMETER_HEADER_LEN: u8 = 2;

const TRUNCATED: DecodeError = DecodeError::MalformedOpen("the message ends in its fixed part");

fn fixed_fields(input: &[u8]) -> Parsed<'_, (u16, u16, Ipv4Addr)> {
    let (rest, my_as) = parse::short(input)?;
    let (rest, hold_time) = parse::short(rest)?;
    let (rest, router_id) = parse::ipv4(rest)?;
    Ok((rest, (my_as, hold_time, router_id)))
}

/// The optional parameters from their length on, in the classic or the extended form (RFC 9072 §2).
fn decode_parameters(input: &[u8]) -> Result<Vec<Capability>, DecodeError> {
    let mut capabilities = Vec::new();
    let (mut parameters, extended) = parameter_list(input)
        .ok_or(DecodeError::MalformedOpen("the length of the optional parameters is not theirs"))?;
    while !parameters.is_empty() {
        let (rest, (kind, value)) = parameter(extended, parameters)
            .map_err(|_| DecodeError::MalformedOpen("an optional parameter is longer than the message"))?;
        if kind != open_parameter::CAPABILITIES {
            return Err(DecodeError::UnsupportedOptionalParameter(kind));
        }
        Capability::decode_all(value, &mut capabilities)?;
        parameters = rest;
    }
    Ok(capabilities)
}

/// The octets of the parameters, and whether their lengths take two octets each.
///
/// The extended form is recognised by its type; the classic length before it is ignored, except 0 for no parameters
/// (RFC 9072 §2).
fn parameter_list(input: &[u8]) -> Option<(&[u8], bool)> {
    let (rest, length) = parse::octet(input).ok()?;
    match rest {
        [open_parameter::EXTENDED_LENGTH, extended @ ..] if length != 0 => {
            parse::whole(parse::octets_with_long_length, extended).map(|parameters| (parameters, true))
        }
        _ => parse::whole(parse::octets_with_length, input).map(|parameters| (parameters, false)),
    }
}

fn parameter(extended: bool, input: &[u8]) -> Parsed<'_, (u8, &[u8])> {
    let (rest, kind) = parse::octet(input)?;
    let (rest, value) =
        if extended { parse::octets_with_long_length(rest)? } else { parse::octets_with_length(rest)? };
    Ok((rest, (kind, value)))
}

/// The first one counts; a second one that differs is ignored.
fn four_octet_as(capabilities: &[Capability]) -> Option<Asn> {
    capabilities.iter().find_map(|capability| match capability {
        Capability::FourOctetAs(asn) => Some(*asn),
        Capability::Multiprotocol(_)
        | Capability::RouteRefresh
        | Capability::EnhancedRouteRefresh
        | Capability::ExtendedNextHop(_)
        | Capability::Role(_)
        | Capability::GracefulRestart { .. }
        | Capability::Unknown { .. } => None,
    })
}

#[cfg(test)]
mod tests;
