//! Prefixes in UPDATE: a length in bits, and the octets that it needs (RFC 4271 §4.3).

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{BufMut as _, BytesMut};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::parse::{self, Parsed};

/// The encoded length of a prefix, in octets: 1 to 5 for IPv4, 1 to 17 for IPv6.
#[must_use]
pub fn encoded_prefix_len(prefix: &IpNet) -> usize {
    1 + octets(prefix.prefix_len())
}

/// IPv4 prefixes until the end of `input`; bits behind the prefix length are ignored (RFC 4271 §4.3).
///
/// `None` when a prefix is longer than 32 bits or than the input.
pub(super) fn decode_ipv4(input: &[u8]) -> Option<Vec<Ipv4Net>> {
    let prefix = |input| {
        let (rest, (address, length)) = address_and_length::<4>(input)?;
        let prefix = Ipv4Net::new(Ipv4Addr::from(address), length).map_err(|_| nom::Err::Error(()))?;
        Ok((rest, prefix.trunc()))
    };
    parse::every(prefix, 1 + Ipv4Addr::BITS as usize / 8, input)
}

/// IPv6 prefixes until the end of `input`, likewise with at most 128 bits.
pub(super) fn decode_ipv6(input: &[u8]) -> Option<Vec<Ipv6Net>> {
    let prefix = |input| {
        let (rest, (address, length)) = address_and_length::<16>(input)?;
        let prefix = Ipv6Net::new(Ipv6Addr::from(address), length).map_err(|_| nom::Err::Error(()))?;
        Ok((rest, prefix.trunc()))
    };
    parse::every(prefix, 1 + Ipv6Addr::BITS as usize / 8, input)
}

/// Appends `prefixes`, bits behind the prefix length cleared.
pub(super) fn encode_ipv4(prefixes: &[Ipv4Net], buffer: &mut BytesMut) {
    for prefix in prefixes {
        encode(prefix.prefix_len(), &prefix.network().octets(), buffer);
    }
}

/// Appends `prefixes`, bits behind the prefix length cleared.
pub(super) fn encode_ipv6(prefixes: &[Ipv6Net], buffer: &mut BytesMut) {
    for prefix in prefixes {
        encode(prefix.prefix_len(), &prefix.network().octets(), buffer);
    }
}

fn encode(length: u8, address: &[u8], buffer: &mut BytesMut) {
    buffer.put_u8(length);
    buffer.put_slice(address.get(..octets(length)).unwrap_or(address));
}

/// An address of `N` octets, padded with zeros, and the prefix length before it; only the number of octets is checked.
fn address_and_length<const N: usize>(input: &[u8]) -> Parsed<'_, ([u8; N], u8)> {
    let (rest, length) = parse::octet(input)?;
    let (rest, significant) = parse::take(octets(length), rest)?;
    let mut address = [0; N];
    match address.get_mut(..significant.len()) {
        Some(octets) => octets.copy_from_slice(significant),
        None => return Err(nom::Err::Error(())),
    }
    Ok((rest, (address, length)))
}

fn octets(prefix_length: u8) -> usize {
    usize::from(prefix_length.div_ceil(8))
}

#[cfg(test)]
mod tests;
