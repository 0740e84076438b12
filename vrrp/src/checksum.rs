//! The Internet checksum (RFC 1071), with and without a pseudo-header (RFC 9568 §5.2.8).

use serde::Serialize;

use crate::endpoints::Endpoints;
use crate::iana::PROTOCOL;

/// What the checksum of a packet covers.
///
/// RFC 9568 §5.2.8 has the pseudo-header for IPv6 alone. RFC 5798 could be read as having it for IPv4 as well, and
/// keepalived (without `v3_checksum_as_v2`) and FRR (`checksum-with-ipv4-pseudoheader`, its default) send and expect that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// The message alone: version 2, and version 3 over IPv4 as in RFC 9568.
    #[default]
    Message,
    /// A pseudo-header as well: version 3 over IPv6, and over IPv4 as many read RFC 5798.
    PseudoHeader,
}

/// The checksum of `message`, whose own field must be zero.
pub(crate) fn checksum(message: &[u8], endpoints: &Endpoints, coverage: Coverage) -> u16 {
    !folded(sum(message) + pseudo_header(message.len(), endpoints, coverage))
}

/// Whether the checksum in `message` is right.
pub(crate) fn is_right(message: &[u8], endpoints: &Endpoints, coverage: Coverage) -> bool {
    folded(sum(message) + pseudo_header(message.len(), endpoints, coverage)) == u16::MAX
}

/// RFC 8200 §8.1; over IPv4 it is that of UDP (RFC 768).
fn pseudo_header(length: usize, endpoints: &Endpoints, coverage: Coverage) -> u64 {
    if coverage == Coverage::Message {
        return 0;
    }
    let addresses = match endpoints {
        Endpoints::V4 { source, destination } => sum(&source.octets()) + sum(&destination.octets()),
        Endpoints::V6 { source, destination } => sum(&source.octets()) + sum(&destination.octets()),
    };
    addresses + length as u64 + u64::from(PROTOCOL)
}

/// The sum of all groups of two octets; a last octet alone has a zero behind it.
fn sum(octets: &[u8]) -> u64 {
    let (pairs, rest) = octets.as_chunks::<2>();
    let last = rest.first().map_or(0, |&octet| u64::from(octet) << 8);
    pairs.iter().map(|&pair| u64::from(u16::from_be_bytes(pair))).sum::<u64>() + last
}

/// With carries added at the lower end.
fn folded(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return folded,
            Err(_) => sum = (sum & 0xFFFF) + (sum >> 16),
        }
    }
}
