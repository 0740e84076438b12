//! The nom parsers that all decoders share, and the display of raw octets.
//!
//! They report no detail: the caller knows the message, attribute or field.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use nom::bytes::complete::take as nom_take;
use nom::number::complete::{be_u8, be_u16, be_u32, be_u128};
use serde::Serializer;

use super::{Afi, Asn, Family, Safi};

/// The rest of the input, and the parsed value.
pub(super) type Parsed<'a, T> = nom::IResult<&'a [u8], T, ()>;

pub(super) fn octet(input: &[u8]) -> Parsed<'_, u8> {
    be_u8(input)
}

pub(super) fn short(input: &[u8]) -> Parsed<'_, u16> {
    be_u16(input)
}

pub(super) fn long(input: &[u8]) -> Parsed<'_, u32> {
    be_u32(input)
}

pub(super) fn take(count: usize, input: &[u8]) -> Parsed<'_, &[u8]> {
    nom_take(count)(input)
}

pub(super) fn ipv4(input: &[u8]) -> Parsed<'_, Ipv4Addr> {
    let (rest, address) = be_u32(input)?;
    Ok((rest, Ipv4Addr::from(address)))
}

pub(super) fn ipv6(input: &[u8]) -> Parsed<'_, Ipv6Addr> {
    let (rest, address) = be_u128(input)?;
    Ok((rest, Ipv6Addr::from(address)))
}

pub(super) fn asn(input: &[u8]) -> Parsed<'_, Asn> {
    let (rest, number) = be_u32(input)?;
    Ok((rest, Asn(number)))
}

pub(super) fn asn_two_octets(input: &[u8]) -> Parsed<'_, Asn> {
    let (rest, number) = be_u16(input)?;
    Ok((rest, Asn(u32::from(number))))
}

/// AFI and SAFI side by side, as in MP_REACH_NLRI.
pub(super) fn family(input: &[u8]) -> Parsed<'_, Family> {
    let (rest, afi) = be_u16(input)?;
    let (rest, safi) = be_u8(rest)?;
    Ok((rest, Family::new(Afi(afi), Safi(safi))))
}

/// A one-octet length, and the octets that it counts.
pub(super) fn octets_with_length(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, length) = be_u8(input)?;
    take(usize::from(length), rest)
}

/// A two-octet length, and the octets that it counts.
pub(super) fn octets_with_long_length(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, length) = be_u16(input)?;
    take(usize::from(length), rest)
}

/// Runs `parser` over all of `input`; `None` when it fails or leaves octets.
pub(super) fn whole<'a, T>(parser: impl Fn(&'a [u8]) -> Parsed<'a, T>, input: &'a [u8]) -> Option<T> {
    match parser(input) {
        Ok(([], value)) => Some(value),
        Ok(_) | Err(_) => None,
    }
}

/// Runs `parser` until `input` is used up; `None` when it fails on the way.
///
/// `width` is the shortest item, in octets, and bounds the allocation.
pub(super) fn every<'a, T>(
    parser: impl Fn(&'a [u8]) -> Parsed<'a, T>,
    width: usize,
    mut input: &'a [u8],
) -> Option<Vec<T>> {
    let mut items = Vec::with_capacity(input.len() / width.max(1));
    while !input.is_empty() {
        let (rest, item) = parser(input).ok()?;
        items.push(item);
        input = rest;
    }
    Some(items)
}

/// Opaque octets in JSON: lower-case hexadecimal.
pub(super) fn serialize_hex<S: Serializer>(octets: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Hex(octets))
}

/// Shows octets as lower-case hexadecimal.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
