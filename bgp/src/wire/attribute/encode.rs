//! Writing path attributes: canonical flags, the shortest length field, one fixed order.

use bytes::{BufMut as _, BytesMut};

use super::{Attribute, AttributeFlags, MpNextHop, MpNlri, MpReach, MpUnreach};
use crate::wire::{AsWidth, EncodeError, Family, SessionContext, prefix};

/// Appends `attributes`: those with routes first (RFC 7606 §5.1), then by type code (RFC 4271 §5).
///
/// For a two-octet peer AS4_PATH and AS4_AGGREGATOR are added if AS numbers would be lost without them (RFC 6793
/// §4.2.2), unless `attributes` has its own.
pub(in crate::wire) fn encode_all(
    attributes: &[Attribute],
    ctx: SessionContext,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    let added = match ctx.as_width {
        AsWidth::Two => four_octet_companions(attributes),
        AsWidth::Four => Vec::new(),
    };
    let mut ordered: Vec<&Attribute> = attributes.iter().chain(&added).collect();
    ordered.sort_by_key(|attribute| (!attribute.has_routes(), attribute.code()));

    let mut value = BytesMut::new();
    for attribute in ordered {
        value.clear();
        attribute.encode_value(ctx, &mut value)?;
        let AttributeFlags(flags) = attribute.flags();
        if let Ok(length) = u8::try_from(value.len()) {
            buffer.put_slice(&[flags, attribute.code(), length]);
        } else {
            let length = u16::try_from(value.len()).map_err(|_| EncodeError::MessageTooLong(value.len()))?;
            buffer.put_slice(&[flags | AttributeFlags::EXTENDED_LENGTH, attribute.code()]);
            buffer.put_u16(length);
        }
        buffer.put_slice(&value);
    }
    Ok(())
}

impl Attribute {
    const fn has_routes(&self) -> bool {
        matches!(self, Self::MpReach(_) | Self::MpUnreach(_))
    }

    fn encode_value(&self, ctx: SessionContext, value: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Origin(origin) => value.put_u8(origin.code()),
            Self::AsPath(path) => path.encode(ctx.as_width, value),
            Self::As4Path(path) => path.encode(AsWidth::Four, value),
            Self::NextHop(address) | Self::OriginatorId(address) => value.put_u32(address.to_bits()),
            Self::MultiExitDisc(number) | Self::LocalPref(number) => value.put_u32(*number),
            Self::AtomicAggregate => {}
            Self::Aggregator { asn, address } => {
                match ctx.as_width {
                    AsWidth::Two => value.put_u16(asn.two_octets()),
                    AsWidth::Four => value.put_u32(asn.0),
                }
                value.put_u32(address.to_bits());
            }
            Self::As4Aggregator { asn, address } => {
                value.put_u32(asn.0);
                value.put_u32(address.to_bits());
            }
            Self::Communities(communities) => {
                communities.iter().for_each(|community| value.put_u32(community.0));
            }
            Self::ClusterList(clusters) => clusters.iter().for_each(|id| value.put_u32(id.to_bits())),
            Self::MpReach(reach) => reach.encode(value)?,
            Self::MpUnreach(unreach) => unreach.encode(value)?,
            Self::ExtendedCommunities(communities) => {
                communities.iter().for_each(|community| value.put_slice(&community.0));
            }
            Self::LargeCommunities(communities) => {
                for community in communities {
                    value.put_u32(community.global);
                    value.put_u32(community.local1);
                    value.put_u32(community.local2);
                }
            }
            Self::OnlyToCustomer(asn) => value.put_u32(asn.0),
            Self::Unknown { data, .. } => value.put_slice(data),
        }
        Ok(())
    }
}

impl MpReach {
    fn encode(&self, value: &mut BytesMut) -> Result<(), EncodeError> {
        let suits = match (self.family, &self.next_hop) {
            (Family::IPV4_UNICAST, MpNextHop::Ipv4(_) | MpNextHop::Ipv6 { .. })
            | (Family::IPV6_UNICAST, MpNextHop::Ipv6 { .. }) => true,
            (Family::IPV4_UNICAST, MpNextHop::Other(_))
            | (Family::IPV6_UNICAST, MpNextHop::Ipv4(_) | MpNextHop::Other(_)) => false,
            (Family { .. }, _) => true,
        };
        if !suits {
            return Err(EncodeError::FamilyMismatch(self.family));
        }
        put_family(self.family, value);
        match &self.next_hop {
            MpNextHop::Ipv4(address) => put_next_hop(&[&address.octets()], value)?,
            MpNextHop::Ipv6 { global, link_local: None } => put_next_hop(&[&global.octets()], value)?,
            MpNextHop::Ipv6 { global, link_local: Some(link_local) } => {
                put_next_hop(&[&global.octets(), &link_local.octets()], value)?;
            }
            MpNextHop::Other(octets) => put_next_hop(&[octets], value)?,
        }
        const RESERVED: u8 = 0;
        value.put_u8(RESERVED);
        self.nlri.encode(self.family, value)
    }
}

impl MpUnreach {
    fn encode(&self, value: &mut BytesMut) -> Result<(), EncodeError> {
        put_family(self.family, value);
        self.nlri.encode(self.family, value)
    }
}

impl MpNlri {
    fn encode(&self, family: Family, value: &mut BytesMut) -> Result<(), EncodeError> {
        match (self, family) {
            (Self::Ipv4(prefixes), Family::IPV4_UNICAST) => prefix::encode_ipv4(prefixes, value),
            (Self::Ipv6(prefixes), Family::IPV6_UNICAST) => prefix::encode_ipv6(prefixes, value),
            (Self::Opaque(octets), _) => value.put_slice(octets),
            (Self::Ipv4(_) | Self::Ipv6(_), _) => return Err(EncodeError::FamilyMismatch(family)),
        }
        Ok(())
    }
}

fn put_family(family: Family, value: &mut BytesMut) {
    value.put_u16(family.afi.0);
    value.put_u8(family.safi.0);
}

fn put_next_hop(parts: &[&[u8]], value: &mut BytesMut) -> Result<(), EncodeError> {
    let total = parts.iter().map(|part| part.len()).sum();
    value.put_u8(u8::try_from(total).map_err(|_| EncodeError::NextHopTooLong(total))?);
    parts.iter().for_each(|part| value.put_slice(part));
    Ok(())
}

/// The attributes to add to `attributes` so that a two-octet peer loses no AS number.
fn four_octet_companions(attributes: &[Attribute]) -> Vec<Attribute> {
    let brings = |wanted: &Attribute| attributes.iter().any(|own| own.code() == wanted.code());
    let companion = |attribute: &Attribute| {
        if let Attribute::AsPath(path) = attribute {
            path.as4_path().map(Attribute::As4Path)
        } else if let Attribute::Aggregator { asn, address } = attribute {
            let lost = !asn.fits_two_octets();
            lost.then_some(Attribute::As4Aggregator { asn: *asn, address: *address })
        } else {
            None
        }
    };
    attributes.iter().filter_map(companion).filter(|added| !brings(added)).collect()
}
