//! Octets beside the decoded value, both directions, and each rule broken once.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const V4: Endpoints =
    Endpoints::V4 { source: Ipv4Addr::new(10, 0, 0, 1), destination: Ipv4Addr::new(224, 0, 0, 18) };
const V6: Endpoints = Endpoints::V6 {
    source: Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1),
    destination: Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 0x12),
};

/// Checksums by hand (RFC 1071); the packets of keepalived and FRR are in the interoperability tests.
const V3_MESSAGE: [u8; 12] = [0x31, 51, 150, 1, 0, 100, 0x76, 0x5C, 192, 0, 2, 10];
const V3_PSEUDO: [u8; 12] = [0x31, 51, 150, 1, 0, 100, 0x8B, 0xCC, 192, 0, 2, 10];
const V2_PASSWORD: [u8; 20] =
    [0x21, 51, 150, 1, 1, 2, 0x49, 0x72, 192, 0, 2, 10, b's', b'e', b'c', b'r', b'e', b't', 0, 0];

fn v3(priority: Option<Priority>) -> Advertisement {
    let addresses = Addresses::V4(AddressList::new(vec![Ipv4Addr::new(192, 0, 2, 10)]).unwrap());
    Advertisement {
        vrid: Vrid::new(51).unwrap(),
        priority,
        form: Form::V3 { interval: Interval::from_centiseconds(100).unwrap(), addresses },
    }
}

fn v2(authentication: Authentication) -> Advertisement {
    let addresses = AddressList::new(vec![Ipv4Addr::new(192, 0, 2, 10)]).unwrap();
    let form = Form::V2 { interval: Seconds::new(2).unwrap(), authentication, addresses };
    Advertisement { vrid: Vrid::new(51).unwrap(), priority: Priority::new(150), form }
}

fn decode(payload: &[u8]) -> Result<Packet, Discard> {
    Packet::decode(payload, V4, 255, 255)
}

/// The octets with a right checksum over the message.
fn summed(mut octets: Vec<u8>) -> Vec<u8> {
    octets[6..8].fill(0);
    let sum = checksum(&octets, &V4, Coverage::Message);
    octets[6..8].copy_from_slice(&sum.to_be_bytes());
    octets
}

#[test]
fn version_3_over_ipv4_is_read_with_both_checksums_and_sent_as_told() {
    let sent = v3(Priority::new(150));
    for (octets, coverage) in [(V3_MESSAGE, Coverage::Message), (V3_PSEUDO, Coverage::PseudoHeader)] {
        assert_eq!(sent.encode(&V4, coverage), octets);
        let packet = decode(&octets).unwrap();
        assert_eq!(packet, Packet { advertisement: sent.clone(), endpoints: V4, coverage });
    }
}

#[test]
fn version_3_over_ipv6_always_has_the_pseudo_header() {
    let list = vec!["fe80::a".parse().unwrap(), "2001:db8::a".parse().unwrap()];
    let form = Form::V3 {
        interval: Interval::from_centiseconds(4095).unwrap(),
        addresses: Addresses::V6(AddressList::new(list).unwrap()),
    };
    let sent = Advertisement { vrid: Vrid::new(7).unwrap(), priority: Some(Priority::OWNER), form };
    let octets = sent.encode(&V6, Coverage::Message);
    assert_eq!(octets, sent.encode(&V6, Coverage::PseudoHeader));
    assert_eq!(octets[..8], [0x31, 7, 255, 2, 0x0F, 0xFF, 0x95, 0x79]);
    let packet = Packet::decode(&octets, V6, 255, 255).unwrap();
    assert_eq!(packet, Packet { advertisement: sent, endpoints: V6, coverage: Coverage::PseudoHeader });
}

#[test]
fn version_2_has_a_password_or_zeros_at_its_end() {
    let sent = v2(Authentication::password("secret"));
    assert_eq!(sent.encode(&V4, Coverage::PseudoHeader), V2_PASSWORD);
    assert_eq!(decode(&V2_PASSWORD).unwrap().advertisement, sent);

    let sent = v2(Authentication::None);
    let octets = sent.encode(&V4, Coverage::Message);
    assert_eq!(octets[12..], [0; 8]);
    assert_eq!(decode(&octets).unwrap().advertisement, sent);
    // RFC 3768 §5.3.10: ignored on reception.
    let mut noise = octets.clone();
    noise[12..].copy_from_slice(b"whatever");
    assert_eq!(decode(&summed(noise)).unwrap().advertisement, sent);
}

#[test]
fn priority_0_is_a_release() {
    let octets = v3(None).encode(&V4, Coverage::Message);
    assert_eq!(octets[2], 0);
    assert_eq!(decode(&octets).unwrap().advertisement.priority, None);
}

#[test]
fn the_reserved_bits_of_version_3_are_ignored() {
    let mut octets = V3_MESSAGE.to_vec();
    octets[4] |= 0xF0;
    assert_eq!(decode(&summed(octets)).unwrap().advertisement, v3(Priority::new(150)));
}

#[test]
fn each_broken_rule_has_its_name() {
    let changed = |place: usize, value: u8| {
        let mut octets = V3_MESSAGE.to_vec();
        octets[place] = value;
        decode(&summed(octets)).err()
    };
    assert_eq!(decode(&V3_MESSAGE[..7]), Err(Discard::Truncated));
    assert_eq!(changed(0, 0x41), Some(Discard::UnknownVersion));
    assert_eq!(changed(0, 0x11), Some(Discard::UnknownVersion));
    assert_eq!(changed(0, 0x32), Some(Discard::Type));
    assert_eq!(changed(3, 2), Some(Discard::Incomplete));
    assert_eq!(decode(&[&V3_MESSAGE[..], &[0]].concat()), Err(Discard::TrailingOctets));
    assert_eq!(changed(1, 0), Some(Discard::ZeroVrid));
    assert_eq!(changed(5, 0), Some(Discard::ZeroInterval));
    assert_eq!(decode(&summed(vec![0x31, 1, 100, 0, 0, 100, 0, 0])), Err(Discard::NoAddresses));

    let mut flipped = V3_MESSAGE.to_vec();
    flipped[2] ^= 1;
    assert_eq!(decode(&flipped), Err(Discard::Checksum));

    let two = |place: usize, value: u8| {
        let mut octets = V2_PASSWORD.to_vec();
        octets[place] = value;
        decode(&summed(octets)).err()
    };
    assert_eq!(decode(&V2_PASSWORD[..19]), Err(Discard::Incomplete));
    assert_eq!(two(4, 2), Some(Discard::AuthenticationType));
    assert_eq!(two(5, 0), Some(Discard::ZeroInterval));
    assert_eq!(Packet::decode(&V2_PASSWORD, V6, 255, 255), Err(Discard::VersionOverIpv6));
}

#[test]
fn version_2_has_no_checksum_over_a_pseudo_header() {
    let mut octets = V2_PASSWORD.to_vec();
    octets[6..8].fill(0);
    let sum = checksum(&octets, &V4, Coverage::PseudoHeader);
    octets[6..8].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(decode(&octets), Err(Discard::Checksum));
}

#[test]
fn a_packet_from_behind_a_router_counts_only_where_that_is_configured() {
    assert_eq!(Packet::decode(&V3_MESSAGE, V4, 254, 255), Err(Discard::Ttl));
    assert!(Packet::decode(&V3_MESSAGE, V4, 254, 254).is_ok());
    assert_eq!(Packet::decode(&V3_MESSAGE, V4, 253, 254), Err(Discard::Ttl));
}

#[test]
fn a_full_list_of_addresses_fits() {
    let list: Vec<_> = (0..255).map(|last| Ipv4Addr::new(192, 0, 2, last)).collect();
    assert_eq!(AddressList::new(Vec::<Ipv4Addr>::new()), None);
    assert_eq!(AddressList::new([list.clone(), list.clone()].concat()), None);
    let addresses = Addresses::V4(AddressList::new(list).unwrap());
    let interval = Interval::from_centiseconds(1).unwrap();
    let sent = Advertisement { form: Form::V3 { interval, addresses }, ..v3(None) };
    let octets = sent.encode(&V4, Coverage::Message);
    assert_eq!(octets.len(), 8 + 255 * 4);
    assert_eq!(decode(&octets).unwrap().advertisement, sent);
}

#[test]
fn an_interval_of_version_3_is_ten_milliseconds_to_forty_seconds() {
    let interval = |millis| Interval::from_duration(Duration::from_millis(millis));
    assert_eq!(interval(10).map(Interval::centiseconds), Some(1));
    assert_eq!(interval(40_950).map(Interval::centiseconds), Some(4095));
    assert_eq!(interval(0), None);
    assert_eq!(interval(15), None);
    assert_eq!(interval(40_960), None);
}

#[test]
fn a_password_is_never_shown() {
    assert_eq!(format!("{:?}", Authentication::password("secret")), "Password(…)");
    assert_eq!(Authentication::password("longer than eight"), Authentication::Password(*b"longer t"));
}
