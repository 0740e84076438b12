//! A packet: dropped by the rule that it breaks, or encoded to the same octets again.

use std::net::{Ipv4Addr, Ipv6Addr};

use vipcast_vrrp::{Coverage, Discard, Endpoints, Form, Packet, iana};

const V4: Endpoints = Endpoints::V4 { source: Ipv4Addr::new(10, 0, 0, 1), destination: iana::GROUP_V4 };
const V6: Endpoints =
    Endpoints::V6 { source: Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1), destination: iana::GROUP_V6 };

/// The first octet: 1 for IPv6, 2 for a wrong TTL, 4 for a checksum over the message, 8 for one over a pseudo-header; then the
/// payload of an IP packet. Without a checksum that is made here, few inputs would come far.
pub fn packet(data: &[u8]) {
    let Some((&how, payload)) = data.split_first() else { return };
    let endpoints = if how & 1 == 0 { V4 } else { V6 };
    let ttl = if how & 2 == 0 { iana::TTL } else { iana::TTL - 1 };
    let mut payload = payload.to_vec();
    if how & 12 != 0 && payload.len() >= 8 {
        payload[6..8].fill(0);
        let sum = !sum(&payload, &endpoints, how & 8 != 0);
        payload[6..8].copy_from_slice(&sum.to_be_bytes());
    }
    let decoded = Packet::decode(&payload, endpoints, ttl, iana::TTL);
    assert_eq!(decoded.as_ref().err().copied(), broken_rule(&payload, &endpoints, ttl));
    let Ok(packet) = decoded else { return };
    assert_eq!(packet.endpoints, endpoints);
    let octets = packet.advertisement.encode(&endpoints, packet.coverage);
    assert_eq!(Packet::decode(&octets, endpoints, ttl, iana::TTL).as_ref(), Ok(&packet));
    assert_eq!(octets.len(), payload.len());
    assert_eq!(octets[..4], payload[..4]);
    match &packet.advertisement.form {
        // The authentication data of type 0 is not kept.
        Form::V2 { .. } => assert_eq!(octets[8..octets.len() - 8], payload[8..payload.len() - 8]),
        // Nor are the reserved bits.
        Form::V3 { .. } => assert_eq!(octets[8..], payload[8..]),
    }
    assert!(!packet.advertisement.form.interval().is_zero());
    if !packet.advertisement.form.is_v6() && packet.coverage == Coverage::PseudoHeader {
        assert_eq!(payload[0] >> 4, 3);
    }
}

/// The rules of RFC 9568 §7.1 and RFC 3768 §7.1 once more, by the place of the octets.
fn broken_rule(payload: &[u8], endpoints: &Endpoints, ttl: u8) -> Option<Discard> {
    if ttl != 255 {
        return Some(Discard::Ttl);
    }
    if payload.len() < 8 {
        return Some(Discard::Truncated);
    }
    let v6 = matches!(endpoints, Endpoints::V6 { .. });
    let version = payload[0] >> 4;
    let length = 8 + usize::from(payload[3]) * if v6 { 16 } else { 4 } + if version == 2 { 8 } else { 0 };
    let message = sum(payload, endpoints, false) == 0xFFFF;
    let pseudo = sum(payload, endpoints, true) == 0xFFFF;
    let right = match (version, v6) {
        (2, _) => message,
        (_, false) => message || pseudo,
        (_, true) => pseudo,
    };
    let interval = if version == 2 {
        u16::from(payload[5])
    } else {
        u16::from_be_bytes([payload[4], payload[5]]) & 0x0FFF
    };
    let rules = [
        (version != 2 && version != 3, Discard::UnknownVersion),
        (version == 2 && v6, Discard::VersionOverIpv6),
        (payload[0] & 15 != 1, Discard::Type),
        (payload.len() < length, Discard::Incomplete),
        (payload.len() > length, Discard::TrailingOctets),
        (!right, Discard::Checksum),
        (payload[1] == 0, Discard::ZeroVrid),
        (payload[3] == 0, Discard::NoAddresses),
        (interval == 0, Discard::ZeroInterval),
        (version == 2 && payload[4] > 1, Discard::AuthenticationType),
    ];
    rules.into_iter().find(|(broken, _)| *broken).map(|(_, discard)| discard)
}

/// RFC 1071, an octet at a time.
fn sum(payload: &[u8], endpoints: &Endpoints, pseudo_header: bool) -> u16 {
    let mut octets = Vec::new();
    if pseudo_header {
        let length = u32::try_from(payload.len()).expect("an input").to_be_bytes();
        match endpoints {
            Endpoints::V4 { source, destination } => {
                octets.extend([source.octets(), destination.octets()].concat());
            }
            Endpoints::V6 { source, destination } => {
                octets.extend([source.octets(), destination.octets()].concat());
            }
        }
        octets.extend([length, [0, 0, 0, 112]].concat());
    }
    octets.extend(payload);
    let mut sum: u32 = 0;
    for (place, octet) in octets.into_iter().enumerate() {
        sum += u32::from(octet) << if place % 2 == 0 { 8 } else { 0 };
        if sum > 0xFFFF {
            sum -= 0xFFFF;
        }
    }
    u16::try_from(sum).expect("folded")
}
