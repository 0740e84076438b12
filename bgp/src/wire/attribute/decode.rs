//! Reading path attributes, with the error handling of RFC 7606.

use bytes::Bytes;

use super::{
    Attribute, AttributeFlags, ErrorAction, MalformedAttribute, MpNextHop, MpNlri, MpReach, MpUnreach, Origin,
};
use crate::wire::iana::{attribute as code, origin};
use crate::wire::parse::{self, Parsed};
use crate::wire::{
    AsPath, AsWidth, Asn, Community, DecodeError, ExtendedCommunity, Family, LargeCommunity, Peering,
    SessionContext, prefix,
};

/// The attributes of one UPDATE.
pub(in crate::wire) struct Decoded {
    /// In the order of the message, each type at most once.
    pub(in crate::wire) attributes: Vec<Attribute>,
    /// The malformed attributes; one entry for each type, and one more for its duplicates.
    pub(in crate::wire) malformed: Vec<MalformedAttribute>,
}

/// Reads the path attributes of an UPDATE.
pub(in crate::wire) fn decode_all(mut input: &[u8], ctx: SessionContext) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded { attributes: Vec::new(), malformed: Vec::new() };
    let mut seen = Codes::default();
    let mut seen_again = Codes::default();
    while !input.is_empty() {
        let Ok((rest, raw)) = Raw::decode(input) else {
            // The total length still tells where the NLRI begin (RFC 7606 §4).
            let code = input.get(1).copied().unwrap_or_default();
            let error = DecodeError::MalformedAttributeList("an attribute is longer than all of them");
            decoded.push_malformed(code, ErrorAction::TreatAsWithdraw, error);
            break;
        };
        input = rest;
        if seen.insert(raw.code) {
            decoded.push(&raw, ctx)?;
        } else if raw.is_multiprotocol() {
            return Err(DecodeError::DuplicateAttribute(raw.code));
        } else if seen_again.insert(raw.code) {
            // The first one counts (RFC 7606 §3 g).
            let error = DecodeError::DuplicateAttribute(raw.code);
            decoded.push_malformed(raw.code, ErrorAction::AttributeDiscard, error);
        }
    }
    Ok(decoded)
}

impl Decoded {
    fn push(&mut self, raw: &Raw<'_>, ctx: SessionContext) -> Result<(), DecodeError> {
        if let Some(error) = raw.unexpected(ctx) {
            self.push_malformed(raw.code, ErrorAction::AttributeDiscard, error);
            return Ok(());
        }
        let wrong_flags = raw.has_wrong_flags();
        if wrong_flags {
            let error = DecodeError::AttributeFlags(raw.copy());
            self.push_malformed(raw.code, ErrorAction::TreatAsWithdraw, error);
        }
        match raw.value(ctx) {
            // The routes are needed even then, to withdraw them.
            Ok(attribute) if !wrong_flags || raw.is_multiprotocol() => self.attributes.push(attribute),
            Err(Fault::Reset(error)) => return Err(error),
            Err(Fault::Contained(action, error)) if !wrong_flags => {
                self.push_malformed(raw.code, action, error);
            }
            Ok(_) | Err(Fault::Contained(..)) => {}
        }
        Ok(())
    }

    fn push_malformed(&mut self, code: u8, action: ErrorAction, error: DecodeError) {
        self.malformed.push(MalformedAttribute { code, action, error });
    }
}

/// An error in one attribute.
enum Fault {
    /// The session cannot go on.
    Reset(DecodeError),
    /// The session can go on.
    Contained(ErrorAction, DecodeError),
}

/// An attribute with its value not yet decoded.
struct Raw<'a> {
    flags: AttributeFlags,
    code: u8,
    value: &'a [u8],
    /// All of it, for the data of a NOTIFICATION.
    whole: &'a [u8],
}

impl<'a> Raw<'a> {
    fn decode(input: &'a [u8]) -> Parsed<'a, Self> {
        let (rest, flags) = parse::octet(input)?;
        let (rest, code) = parse::octet(rest)?;
        // The flag is also valid on short attributes (RFC 4271 §4.3).
        let (rest, value) = if flags & AttributeFlags::EXTENDED_LENGTH == 0 {
            parse::octets_with_length(rest)?
        } else {
            parse::octets_with_long_length(rest)?
        };
        let (_, whole) = parse::take(input.len() - rest.len(), input)?;
        Ok((rest, Self { flags: AttributeFlags::from_octet(flags), code, value, whole }))
    }

    const fn is_multiprotocol(&self) -> bool {
        matches!(self.code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI)
    }

    /// Attributes that this peer must not send, with any value: those of iBGP from an eBGP peer (RFC 7606 §7.5, §7.9,
    /// §7.10), and those of two-octet peers from a four-octet peer (RFC 6793 §4.1).
    fn unexpected(&self, ctx: SessionContext) -> Option<DecodeError> {
        let unexpected = match self.code {
            code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST => ctx.peering == Peering::External,
            code::AS4_PATH | code::AS4_AGGREGATOR => ctx.as_width == AsWidth::Four,
            _ => false,
        };
        unexpected.then_some(DecodeError::UnexpectedAttribute(self.code))
    }

    /// Only optional and transitive are compared (RFC 7606 §3 c).
    fn has_wrong_flags(&self) -> bool {
        AttributeFlags::of(self.code)
            .is_some_and(|expected| (expected.0 ^ self.flags.0) & AttributeFlags::CATEGORY != 0)
    }

    fn value(&self, ctx: SessionContext) -> Result<Attribute, Fault> {
        match self.code {
            code::ORIGIN => self.origin(),
            code::AS_PATH => match AsPath::decode(self.value, ctx.as_width) {
                // A confederation's own segments never leave it (RFC 5065 §5).
                Some(path) if path.has_confederations() && ctx.peering == Peering::External => {
                    Err(withdraw(DecodeError::ForeignConfederation))
                }
                Some(path) => Ok(Attribute::AsPath(path)),
                None => Err(withdraw(DecodeError::MalformedAsPath)),
            },
            code::NEXT_HOP => self.of_length(parse::ipv4, Attribute::NextHop, withdraw),
            code::MULTI_EXIT_DISC => self.of_length(parse::long, Attribute::MultiExitDisc, withdraw),
            code::LOCAL_PREF => self.of_length(parse::long, Attribute::LocalPref, withdraw),
            code::ATOMIC_AGGREGATE if self.value.is_empty() => Ok(Attribute::AtomicAggregate),
            code::ATOMIC_AGGREGATE => Err(discard(self.wrong_length())),
            code::AGGREGATOR => self.aggregator(ctx.as_width),
            code::COMMUNITIES => self.list(community, 4, Attribute::Communities),
            code::ORIGINATOR_ID => self.of_length(parse::ipv4, Attribute::OriginatorId, withdraw),
            code::CLUSTER_LIST => self.list(parse::ipv4, 4, Attribute::ClusterList),
            code::MP_REACH_NLRI => self.mp_reach(),
            code::MP_UNREACH_NLRI => self.mp_unreach(),
            code::EXTENDED_COMMUNITIES => self.list(extended_community, 8, Attribute::ExtendedCommunities),
            code::AS4_PATH => AsPath::decode(self.value, AsWidth::Four)
                .filter(|path| !path.segments.is_empty())
                .map(Attribute::As4Path)
                .ok_or_else(|| discard(DecodeError::MalformedAsPath)),
            code::AS4_AGGREGATOR => self.as4_aggregator(),
            code::LARGE_COMMUNITIES => self.list(large_community, 12, Attribute::LargeCommunities),
            code::ONLY_TO_CUSTOMER => self.of_length(parse::asn, Attribute::OnlyToCustomer, withdraw),
            _ if !self.flags.is_optional() => {
                Err(Fault::Reset(DecodeError::UnrecognizedWellKnownAttribute(self.copy())))
            }
            code => {
                Ok(Attribute::Unknown { flags: self.flags, code, data: Bytes::copy_from_slice(self.value) })
            }
        }
    }

    /// A value that `parser` has to use up to the last octet.
    fn of_length<T>(
        &self,
        parser: impl Fn(&'a [u8]) -> Parsed<'a, T>,
        attribute: impl Fn(T) -> Attribute,
        fault: impl Fn(DecodeError) -> Fault,
    ) -> Result<Attribute, Fault> {
        parse::whole(parser, self.value).map(attribute).ok_or_else(|| fault(self.wrong_length()))
    }

    /// One or more items of `width` octets each.
    fn list<T>(
        &self,
        parser: impl Fn(&'a [u8]) -> Parsed<'a, T>,
        width: usize,
        attribute: impl Fn(Vec<T>) -> Attribute,
    ) -> Result<Attribute, Fault> {
        parse::every(parser, width, self.value)
            .filter(|items| !items.is_empty())
            .map(attribute)
            .ok_or_else(|| withdraw(self.wrong_length()))
    }

    fn origin(&self) -> Result<Attribute, Fault> {
        match self.value {
            [origin::IGP] => Ok(Attribute::Origin(Origin::Igp)),
            [origin::EGP] => Ok(Attribute::Origin(Origin::Egp)),
            [origin::INCOMPLETE] => Ok(Attribute::Origin(Origin::Incomplete)),
            [_] => Err(withdraw(DecodeError::InvalidOrigin(self.copy()))),
            _ => Err(withdraw(self.wrong_length())),
        }
    }

    fn aggregator(&self, width: AsWidth) -> Result<Attribute, Fault> {
        let asn = match width {
            AsWidth::Two => parse::asn_two_octets,
            AsWidth::Four => parse::asn,
        };
        self.asn_and_address(asn, |asn, address| Attribute::Aggregator { asn, address })
    }

    fn as4_aggregator(&self) -> Result<Attribute, Fault> {
        self.asn_and_address(parse::asn, |asn, address| Attribute::As4Aggregator { asn, address })
    }

    fn asn_and_address(
        &self,
        asn: impl Fn(&[u8]) -> Parsed<'_, Asn>,
        attribute: impl Fn(Asn, std::net::Ipv4Addr) -> Attribute,
    ) -> Result<Attribute, Fault> {
        let both = |input| {
            let (rest, asn) = asn(input)?;
            let (rest, address) = parse::ipv4(rest)?;
            Ok((rest, (asn, address)))
        };
        match parse::whole(both, self.value) {
            // RFC 7607 §2: AS 0 makes it malformed.
            Some((Asn(0), _)) => Err(discard(DecodeError::OptionalAttribute(self.copy()))),
            Some((asn, address)) => Ok(attribute(asn, address)),
            None => Err(discard(self.wrong_length())),
        }
    }

    fn mp_reach(&self) -> Result<Attribute, Fault> {
        let (octets, (family, next_hop)) = mp_reach_head(self.value).map_err(|_| self.unreadable())?;
        let next_hop = mp_next_hop(family, next_hop).ok_or_else(|| self.unreadable())?;
        let nlri = mp_nlri(family, octets).ok_or_else(|| self.unreadable())?;
        Ok(Attribute::MpReach(MpReach { family, next_hop, nlri }))
    }

    fn mp_unreach(&self) -> Result<Attribute, Fault> {
        let (octets, family) = parse::family(self.value).map_err(|_| self.unreadable())?;
        let nlri = mp_nlri(family, octets).ok_or_else(|| self.unreadable())?;
        Ok(Attribute::MpUnreach(MpUnreach { family, nlri }))
    }

    /// The routes or their next hop are unreadable: only a reset is safe (RFC 7606 §5.3, §7.11).
    fn unreadable(&self) -> Fault {
        Fault::Reset(DecodeError::OptionalAttribute(self.copy()))
    }

    fn wrong_length(&self) -> DecodeError {
        DecodeError::AttributeLength(self.copy())
    }

    fn copy(&self) -> Bytes {
        Bytes::copy_from_slice(self.whole)
    }
}

/// A set of attribute type codes.
#[derive(Default)]
struct Codes([u128; 2]);

impl Codes {
    /// Adds `code`; returns whether it is new.
    fn insert(&mut self, code: u8) -> bool {
        let Self([low, high]) = self;
        let half = if code < 128 { low } else { high };
        let bit = 1 << (code % 128);
        let new = *half & bit == 0;
        *half |= bit;
        new
    }
}

const fn withdraw(error: DecodeError) -> Fault {
    Fault::Contained(ErrorAction::TreatAsWithdraw, error)
}

const fn discard(error: DecodeError) -> Fault {
    Fault::Contained(ErrorAction::AttributeDiscard, error)
}

/// Family and next hop, up to the routes. The reserved octet before the routes was a count in RFC 2858 §2.
fn mp_reach_head(input: &[u8]) -> Parsed<'_, (Family, &[u8])> {
    let (rest, family) = parse::family(input)?;
    let (rest, next_hop) = parse::octets_with_length(rest)?;
    let (rest, _reserved) = parse::octet(rest)?;
    Ok((rest, (family, next_hop)))
}

/// `None` for a length that the family cannot have (RFC 2545 §3, RFC 8950 §3).
fn mp_next_hop(family: Family, octets: &[u8]) -> Option<MpNextHop> {
    let ipv6 = || {
        let (rest, global) = parse::ipv6(octets).ok()?;
        let link_local = if rest.is_empty() { None } else { Some(parse::whole(parse::ipv6, rest)?) };
        Some(MpNextHop::Ipv6 { global, link_local })
    };
    match family {
        Family::IPV4_UNICAST => parse::whole(parse::ipv4, octets).map(MpNextHop::Ipv4).or_else(ipv6),
        Family::IPV6_UNICAST => ipv6(),
        Family { .. } => Some(MpNextHop::Other(Bytes::copy_from_slice(octets))),
    }
}

fn mp_nlri(family: Family, octets: &[u8]) -> Option<MpNlri> {
    match family {
        Family::IPV4_UNICAST => prefix::decode_ipv4(octets).map(MpNlri::Ipv4),
        Family::IPV6_UNICAST => prefix::decode_ipv6(octets).map(MpNlri::Ipv6),
        Family { .. } => Some(MpNlri::Opaque(Bytes::copy_from_slice(octets))),
    }
}

fn community(input: &[u8]) -> Parsed<'_, Community> {
    let (rest, value) = parse::long(input)?;
    Ok((rest, Community(value)))
}

fn extended_community(input: &[u8]) -> Parsed<'_, ExtendedCommunity> {
    let (rest, octets) = parse::take(8, input)?;
    let octets = octets.try_into().map_err(|_| nom::Err::Error(()))?;
    Ok((rest, ExtendedCommunity(octets)))
}

fn large_community(input: &[u8]) -> Parsed<'_, LargeCommunity> {
    let (rest, global) = parse::long(input)?;
    let (rest, local1) = parse::long(rest)?;
    let (rest, local2) = parse::long(rest)?;
    Ok((rest, LargeCommunity { global, local1, local2 }))
}
