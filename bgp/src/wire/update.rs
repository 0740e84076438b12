//! UPDATE: announced and withdrawn routes (RFC 4271 §4.3), with the error handling of RFC 7606.
//!
//! ```text
//! +--------+------------------+--------+-----------------+-------------- - -
//! | length | withdrawn routes | length | path attributes | NLRI
//! +--------+------------------+--------+-----------------+-------------- - -
//!     2       IPv4 prefixes       2      other families,   IPv4 prefixes
//!                                       also (RFC 4760)
//! ```

use std::net::IpAddr;

use bytes::{BufMut as _, BytesMut};
use ipnet::{IpNet, Ipv4Net};
use serde::Serialize;

use super::attribute::{self, Decoded};
use super::iana::attribute as code;
use super::parse::{self, Parsed};
use super::{
    AsPath, Asn, Attribute, DecodeError, EncodeError, ErrorAction, Family, MalformedAttribute, MpNlri,
    MpReach, MpUnreach, SessionContext, prefix,
};

/// Routes withdrawn and routes announced with one set of attributes.
///
/// Encoding orders the attributes. It does not split an UPDATE that both announces and withdraws, or that has both the
/// NLRI field and MP_REACH_NLRI, as RFC 7606 §5.1 recommends; the caller does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Update {
    /// The Withdrawn Routes field: IPv4 unicast.
    pub withdrawn: Vec<Ipv4Net>,
    /// In the order of the message, each type at most once.
    pub attributes: Vec<Attribute>,
    /// The NLRI field: IPv4 unicast.
    pub nlri: Vec<Ipv4Net>,
    /// The malformed attributes and their handling, from decoding. Never encoded.
    pub malformed: Vec<MalformedAttribute>,
}

impl Update {
    /// The End-of-RIB marker of `family`: its first routes are all sent (RFC 4724 §2).
    #[must_use]
    pub fn new_end_of_rib(family: Family) -> Self {
        let attributes = match family {
            Family::IPV4_UNICAST => Vec::new(),
            Family { .. } => vec![Attribute::MpUnreach(MpUnreach { family, nlri: MpNlri::empty(family) })],
        };
        Self { attributes, ..Self::default() }
    }

    /// The family whose End-of-RIB marker this is. Attributes without routes are none.
    #[must_use]
    pub fn end_of_rib(&self) -> Option<Family> {
        if !self.withdrawn.is_empty() || !self.nlri.is_empty() || !self.malformed.is_empty() {
            return None;
        }
        match self.attributes.as_slice() {
            [] => Some(Family::IPV4_UNICAST),
            [Attribute::MpUnreach(MpUnreach { family, nlri })] if nlri.is_empty() => Some(*family),
            [..] => None,
        }
    }

    /// The strongest handling among the malformed attributes; `None` if there are none.
    ///
    /// [`announced`](Self::announced) and [`withdrawn_prefixes`](Self::withdrawn_prefixes) already follow it.
    #[must_use]
    pub fn action(&self) -> Option<ErrorAction> {
        self.malformed.iter().map(|malformed| malformed.action).max()
    }

    /// The IPv4 and IPv6 unicast routes that this UPDATE announces, from the NLRI field and MP_REACH_NLRI;
    /// empty if the UPDATE is treated as a withdrawal.
    pub fn announced(&self) -> impl Iterator<Item = IpNet> {
        self.reachable().filter(|_| !self.treat_as_withdraw())
    }

    /// The IPv4 and IPv6 unicast routes that this UPDATE withdraws, from the Withdrawn Routes field and
    /// MP_UNREACH_NLRI, and those that it announces if it is treated as a withdrawal.
    pub fn withdrawn_prefixes(&self) -> impl Iterator<Item = IpNet> {
        let classic = self.withdrawn.iter().copied().map(IpNet::V4);
        let multiprotocol = self.mp_unreach().into_iter().flat_map(|unreach| prefixes(&unreach.nlri));
        classic.chain(multiprotocol).chain(self.reachable().filter(|_| self.treat_as_withdraw()))
    }

    /// The next hop of the announced routes: NEXT_HOP for the NLRI field, else the (global) next hop in MP_REACH_NLRI.
    /// An UPDATE with both kinds of routes has both; look at the attributes then.
    #[must_use]
    pub fn next_hop(&self) -> Option<IpAddr> {
        let classic = || {
            self.attributes.iter().find_map(|attribute| {
                if let Attribute::NextHop(address) = attribute { Some(IpAddr::V4(*address)) } else { None }
            })
        };
        let multiprotocol = || self.mp_reach().and_then(|reach| reach.next_hop.address());
        if self.nlri.is_empty() { multiprotocol().or_else(classic) } else { classic() }
    }

    /// AS_PATH. From a two-octet peer call [`merge_as4`](Self::merge_as4) first.
    #[must_use]
    pub fn as_path(&self) -> Option<&AsPath> {
        self.attributes
            .iter()
            .find_map(|attribute| if let Attribute::AsPath(path) = attribute { Some(path) } else { None })
    }

    /// MP_REACH_NLRI, also if the UPDATE is treated as a withdrawal.
    #[must_use]
    pub fn mp_reach(&self) -> Option<&MpReach> {
        self.attributes
            .iter()
            .find_map(|attribute| if let Attribute::MpReach(reach) = attribute { Some(reach) } else { None })
    }

    /// MP_UNREACH_NLRI.
    #[must_use]
    pub fn mp_unreach(&self) -> Option<&MpUnreach> {
        self.attributes.iter().find_map(|attribute| {
            if let Attribute::MpUnreach(unreach) = attribute { Some(unreach) } else { None }
        })
    }

    /// Replaces AS_TRANS by the AS numbers of AS4_PATH and AS4_AGGREGATOR, and removes the two attributes (RFC 6793
    /// §4.2.3).
    ///
    /// Decoding does not merge them, so that no octet is lost. It keeps them only from two-octet peers, so the UPDATEs
    /// of other peers do not change.
    pub fn merge_as4(&mut self) {
        let mut as4_path = None;
        let mut as4_aggregator = None;
        self.attributes.retain(|attribute| {
            if let Attribute::As4Path(path) = attribute {
                as4_path = Some(path.clone());
                false
            } else if let Attribute::As4Aggregator { asn, .. } = attribute {
                as4_aggregator = Some(*asn);
                false
            } else {
                true
            }
        });
        // An AGGREGATOR with a number of its own shows that a two-octet speaker aggregated the route later,
        // and both attributes are older than that.
        let stale = as4_aggregator.is_some()
            && self.attributes.iter().any(
                |attribute| matches!(attribute, Attribute::Aggregator { asn, .. } if *asn != Asn::TRANS),
            );
        if stale {
            return;
        }
        for attribute in &mut self.attributes {
            if let (Attribute::AsPath(path), Some(as4)) = (&mut *attribute, &as4_path) {
                *path = path.merged_with(as4);
            } else if let (Attribute::Aggregator { asn, .. }, Some(as4)) = (attribute, as4_aggregator) {
                *asn = as4;
            }
        }
    }

    pub(super) fn decode(body: &[u8], ctx: SessionContext) -> Result<Self, DecodeError> {
        let (nlri, (withdrawn, attributes)) = sections(body)
            .map_err(|_| DecodeError::MalformedAttributeList("its parts are longer than the UPDATE"))?;
        let withdrawn = prefix::decode_ipv4(withdrawn).ok_or(DecodeError::InvalidNetworkField)?;
        let nlri = prefix::decode_ipv4(nlri).ok_or(DecodeError::InvalidNetworkField)?;
        let Decoded { attributes, malformed } = attribute::decode_all(attributes, ctx)?;
        let mut update = Self { withdrawn, attributes, nlri, malformed };
        update.require_mandatory();
        update.require_routes()?;
        Ok(update)
    }

    pub(super) fn encode(&self, ctx: SessionContext, buffer: &mut BytesMut) -> Result<(), EncodeError> {
        let mut section = BytesMut::new();
        prefix::encode_ipv4(&self.withdrawn, &mut section);
        put_section(&section, buffer)?;
        section.clear();
        attribute::encode_all(&self.attributes, ctx, &mut section)?;
        put_section(&section, buffer)?;
        prefix::encode_ipv4(&self.nlri, buffer);
        Ok(())
    }

    fn treat_as_withdraw(&self) -> bool {
        self.action() == Some(ErrorAction::TreatAsWithdraw)
    }

    fn reachable(&self) -> impl Iterator<Item = IpNet> {
        let multiprotocol = self.mp_reach().into_iter().flat_map(|reach| prefixes(&reach.nlri));
        self.nlri.iter().copied().map(IpNet::V4).chain(multiprotocol)
    }

    fn has_reachable(&self) -> bool {
        !self.nlri.is_empty() || self.mp_reach().is_some_and(|reach| !reach.nlri.is_empty())
    }

    /// Routes without their mandatory attributes are withdrawn (RFC 7606 §3 d).
    fn require_mandatory(&mut self) {
        let always = if self.has_reachable() { &[code::ORIGIN, code::AS_PATH][..] } else { &[] };
        let classic = if self.nlri.is_empty() { &[][..] } else { &[code::NEXT_HOP] };
        for &code in always.iter().chain(classic) {
            let present = self.attributes.iter().any(|attribute| attribute.code() == code);
            let accounted_for = self.malformed.iter().any(|malformed| malformed.code == code);
            if !present && !accounted_for {
                self.malformed.push(MalformedAttribute {
                    code,
                    action: ErrorAction::TreatAsWithdraw,
                    error: DecodeError::MissingWellKnownAttribute(code),
                });
            }
        }
    }

    /// Without routes to withdraw, the unreadable attributes may have held them: reset (RFC 7606 §5.2).
    fn require_routes(&self) -> Result<(), DecodeError> {
        let severe = self.malformed.iter().find(|malformed| malformed.action == ErrorAction::TreatAsWithdraw);
        match severe {
            Some(malformed) if !self.has_reachable() => Err(malformed.error.clone()),
            Some(_) | None => Ok(()),
        }
    }
}

/// Withdrawn routes and path attributes, each behind its length; the rest are the NLRI.
fn sections(body: &[u8]) -> Parsed<'_, (&[u8], &[u8])> {
    let (rest, withdrawn) = parse::octets_with_long_length(body)?;
    let (rest, attributes) = parse::octets_with_long_length(rest)?;
    Ok((rest, (withdrawn, attributes)))
}

fn put_section(section: &[u8], buffer: &mut BytesMut) -> Result<(), EncodeError> {
    buffer.put_u16(u16::try_from(section.len()).map_err(|_| EncodeError::MessageTooLong(section.len()))?);
    buffer.put_slice(section);
    Ok(())
}

fn prefixes(nlri: &MpNlri) -> impl Iterator<Item = IpNet> {
    let (ipv4, ipv6) = match nlri {
        MpNlri::Ipv4(prefixes) => (prefixes.as_slice(), &[][..]),
        MpNlri::Ipv6(prefixes) => (&[][..], prefixes.as_slice()),
        MpNlri::Opaque(_) => (&[][..], &[][..]),
    };
    ipv4.iter().copied().map(IpNet::V4).chain(ipv6.iter().copied().map(IpNet::V6))
}

#[cfg(test)]
mod tests;
