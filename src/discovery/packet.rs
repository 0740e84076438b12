//! Router solicitations and advertisements (RFC 4861 §4.1, §4.2) as bytes.
//!
//! ```text
//!  133 │ code 0 │ checksum │ reserved (4) │ options …
//!  134 │ code 0 │ checksum │ hop limit, flags, router lifetime │ reachable time │ retransmission time │ options …
//!  option = type │ length in units of 8 octets │ …
//! ```
//!
//! The kernel fills in and checks the checksum.

use std::net::Ipv6Addr;

pub(super) const SOLICITATION: u8 = 133;
pub(super) const ADVERTISEMENT: u8 = 134;
/// Octets before the options.
const SOLICITATION_HEADER: usize = 8;
const ADVERTISEMENT_HEADER: usize = 16;
/// Source link-layer address (RFC 4861 §4.6.1).
const SOURCE_LINK_LAYER: u8 = 1;
/// The hop limit of a packet that has crossed no router (RFC 4861 §6.1).
pub(super) const HOP_LIMIT: i32 = 255;

/// A packet of neighbor discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet {
    /// A host asks for routers.
    Solicitation,
    /// A router advertises itself.
    Advertisement,
}

/// The reason why a packet is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it has crossed a router: its hop limit is {0}")]
    HopLimit(i32),
    #[error("its source {0} is no link-local address")]
    Source(Ipv6Addr),
    #[error("its code is {0}")]
    Code(u8),
    #[error("it is too short")]
    Short,
    #[error("an option of it is cut off, or has no length")]
    Option,
}

impl Packet {
    /// Decodes an ICMPv6 packet; `None`: it is of another type.
    ///
    /// # Errors
    /// The packet must be discarded (RFC 4861 §6.1).
    pub(super) fn decode(
        bytes: &[u8],
        source: Ipv6Addr,
        hop_limit: Option<i32>,
    ) -> Result<Option<Self>, Malformed> {
        let (packet, header) = match bytes.first() {
            Some(&SOLICITATION) => (Self::Solicitation, SOLICITATION_HEADER),
            Some(&ADVERTISEMENT) => (Self::Advertisement, ADVERTISEMENT_HEADER),
            Some(_) | None => return Ok(None),
        };
        match hop_limit {
            Some(HOP_LIMIT) => {}
            other => return Err(Malformed::HopLimit(other.unwrap_or(0))),
        }
        // A soliciting host may have no address yet.
        let may_be_unspecified = packet == Self::Solicitation && source.is_unspecified();
        if !source.is_unicast_link_local() && !may_be_unspecified {
            return Err(Malformed::Source(source));
        }
        let mut options = bytes.get(header..).ok_or(Malformed::Short)?;
        match bytes.get(1) {
            Some(0) => {}
            Some(code) => return Err(Malformed::Code(*code)),
            None => return Err(Malformed::Short),
        }
        while !options.is_empty() {
            let length = options.get(1).map(|units| usize::from(*units) * 8).filter(|length| *length > 0);
            options = length.and_then(|length| options.get(length..)).ok_or(Malformed::Option)?;
        }
        Ok(Some(packet))
    }

    /// The packet as bytes. We are not a default router and advertise neither prefixes nor configuration: the lifetime
    /// and all other fields are zero, so that hosts change nothing.
    pub(super) fn encode(self, link_layer: Option<[u8; 6]>) -> Vec<u8> {
        let (kind, header) = match self {
            Self::Solicitation => (SOLICITATION, SOLICITATION_HEADER),
            Self::Advertisement => (ADVERTISEMENT, ADVERTISEMENT_HEADER),
        };
        let mut bytes = vec![0; header];
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        if let Some(link_layer) = link_layer {
            bytes.extend([SOURCE_LINK_LAYER, 1]);
            bytes.extend(link_layer);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1);
    const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1);

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    #[test]
    fn what_is_sent_has_these_bytes_and_is_read_again() {
        let link_layer = Some([2, 0, 0, 0, 0, 0x0A]);
        let cases = [
            (Packet::Solicitation, None, "85000000 00000000"),
            (Packet::Solicitation, link_layer, "85000000 00000000 0101 02000000000a"),
            (Packet::Advertisement, None, "86000000 00000000 00000000 00000000"),
            (Packet::Advertisement, link_layer, "86000000 00000000 00000000 00000000 0101 02000000000a"),
        ];
        for (packet, link_layer, hex) in cases {
            assert_eq!(packet.encode(link_layer), bytes(hex), "{packet:?}");
            assert_eq!(Packet::decode(&bytes(hex), ROUTER, Some(255)), Ok(Some(packet)));
        }
    }

    #[test]
    fn an_advertisement_of_a_router_is_read_whatever_its_options_say() {
        // Hop limit 64, lifetime 1800 s; link-layer address, MTU, prefix, an unknown option.
        let router = "86001234 40000708 00000000 00000000 0101 020000000001 0501 0000 000005dc
            0304 40c0 00278d00 00093a80 00000000 20010db8000000000000000000000000 c801 000000000000";
        assert_eq!(Packet::decode(&bytes(router), ROUTER, Some(255)), Ok(Some(Packet::Advertisement)));
    }

    #[test]
    fn what_rfc_4861_discards_is_discarded() {
        let plain = "86000000 00000000 00000000 00000000";
        let cases = [
            (plain, ROUTER, Some(64), Err(Malformed::HopLimit(64))),
            (plain, ROUTER, None, Err(Malformed::HopLimit(0))),
            (plain, GLOBAL, Some(255), Err(Malformed::Source(GLOBAL))),
            (plain, Ipv6Addr::UNSPECIFIED, Some(255), Err(Malformed::Source(Ipv6Addr::UNSPECIFIED))),
            ("86010000 00000000 00000000 00000000", ROUTER, Some(255), Err(Malformed::Code(1))),
            ("86000000 00000000 00000000 000000", ROUTER, Some(255), Err(Malformed::Short)),
            ("86", ROUTER, Some(255), Err(Malformed::Short)),
            ("86000000 00000000 00000000 00000000 0100", ROUTER, Some(255), Err(Malformed::Option)),
            ("86000000 00000000 00000000 00000000 01", ROUTER, Some(255), Err(Malformed::Option)),
            (
                "86000000 00000000 00000000 00000000 0102 000000000000",
                ROUTER,
                Some(255),
                Err(Malformed::Option),
            ),
            ("85000000 00000000", Ipv6Addr::UNSPECIFIED, Some(255), Ok(Some(Packet::Solicitation))),
            ("87000000 00000000", ROUTER, Some(255), Ok(None)),
            ("", ROUTER, Some(255), Ok(None)),
        ];
        for (hex, source, hop_limit, want) in cases {
            assert_eq!(Packet::decode(&bytes(hex), source, hop_limit), want, "{hex}");
        }
    }
}
