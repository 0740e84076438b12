use super::*;
use crate::wire::iana::message_type;
use crate::wire::tests::{bytes, decode_update, octets, update_frame, v4, v6};
use crate::wire::{Afi, AsWidth, EncodeError, Message, Peering, Safi, SessionContext, Update};

const TWO: SessionContext = SessionContext::new(AsWidth::Two, Peering::Internal);
const FOUR: SessionContext = SessionContext::internal();

fn encode(attributes: Vec<Attribute>, ctx: SessionContext) -> Result<Vec<u8>, EncodeError> {
    let message = Message::Update(Update { attributes, ..Update::default() }).encode(&ctx)?;
    assert_eq!(message[18], message_type::UPDATE);
    Ok(message[23..].to_vec())
}

fn ipv6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn every_attribute_both_ways() {
    let address = Ipv4Addr::new(10, 0, 1, 2);
    let evpn = Family::new(Afi(25), Safi(70));
    let large = LargeCommunity { global: 65001, local1: 1, local2: 2 };
    let table = [
        ("400101 00", FOUR, Attribute::Origin(Origin::Igp)),
        ("400101 01", FOUR, Attribute::Origin(Origin::Egp)),
        ("400101 02", FOUR, Attribute::Origin(Origin::Incomplete)),
        ("400200", FOUR, Attribute::AsPath(AsPath::default())),
        ("400206 02 01 00011170", FOUR, Attribute::AsPath(AsPath::sequence([Asn(70000)]))),
        ("400204 02 01 fde9", TWO, Attribute::AsPath(AsPath::sequence([Asn(65001)]))),
        ("400304 0a000102", FOUR, Attribute::NextHop(address)),
        ("800404 ffffffff", FOUR, Attribute::MultiExitDisc(u32::MAX)),
        ("400504 00000064", FOUR, Attribute::LocalPref(100)),
        ("400600", FOUR, Attribute::AtomicAggregate),
        ("c00708 00011170 0a000102", FOUR, Attribute::Aggregator { asn: Asn(70000), address }),
        ("c00706 fde9 0a000102", TWO, Attribute::Aggregator { asn: Asn(65001), address }),
        (
            "c00808 fde90064 ffff0000",
            FOUR,
            Attribute::Communities(vec![Community::new(65001, 100), Community::GRACEFUL_SHUTDOWN]),
        ),
        ("800904 0a000102", FOUR, Attribute::OriginatorId(address)),
        ("800a08 0a000102 0a000102", FOUR, Attribute::ClusterList(vec![address, address])),
        (
            "800e0d 0001 01 04 0a000102 00 18 c00002",
            FOUR,
            Attribute::MpReach(MpReach {
                family: Family::IPV4_UNICAST,
                next_hop: MpNextHop::Ipv4(address),
                nlri: MpNlri::Ipv4(vec![v4("192.0.2.0/24")]),
            }),
        ),
        // RFC 8950: IPv4 routes, IPv6 next hop.
        (
            "800e1a 0001 01 10 fd000000000000000000000000000002 00 20 c000020a",
            FOUR,
            Attribute::MpReach(MpReach {
                family: Family::IPV4_UNICAST,
                next_hop: MpNextHop::Ipv6 { global: ipv6("fd00::2"), link_local: None },
                nlri: MpNlri::Ipv4(vec![v4("192.0.2.10/32")]),
            }),
        ),
        (
            "800e2a 0002 01 20 fd000000000000000000000000000002 fe800000000000000000000000000002 00 20 20010db8",
            FOUR,
            Attribute::MpReach(MpReach {
                family: Family::IPV6_UNICAST,
                next_hop: MpNextHop::Ipv6 { global: ipv6("fd00::2"), link_local: Some(ipv6("fe80::2")) },
                nlri: MpNlri::Ipv6(vec![v6("2001:db8::/32")]),
            }),
        ),
        (
            "800e0b 0019 46 04 0a000102 00 abcd",
            FOUR,
            Attribute::MpReach(MpReach {
                family: evpn,
                next_hop: MpNextHop::Other(bytes("0a000102")),
                nlri: MpNlri::Opaque(bytes("abcd")),
            }),
        ),
        (
            "800f07 0001 01 18 c00002",
            FOUR,
            Attribute::MpUnreach(MpUnreach {
                family: Family::IPV4_UNICAST,
                nlri: MpNlri::Ipv4(vec![v4("192.0.2.0/24")]),
            }),
        ),
        (
            "800f04 0002 01 00",
            FOUR,
            Attribute::MpUnreach(MpUnreach {
                family: Family::IPV6_UNICAST,
                nlri: MpNlri::Ipv6(vec![v6("::/0")]),
            }),
        ),
        (
            "800f05 0019 46 abcd",
            FOUR,
            Attribute::MpUnreach(MpUnreach { family: evpn, nlri: MpNlri::Opaque(bytes("abcd")) }),
        ),
        (
            "c01008 0002fde900000064",
            FOUR,
            Attribute::ExtendedCommunities(vec![ExtendedCommunity([0, 2, 0xFD, 0xE9, 0, 0, 0, 100])]),
        ),
        ("c01106 02 01 00011170", TWO, Attribute::As4Path(AsPath::sequence([Asn(70000)]))),
        ("c01208 00011170 0a000102", TWO, Attribute::As4Aggregator { asn: Asn(70000), address }),
        ("c0200c 0000fde9 00000001 00000002", FOUR, Attribute::LargeCommunities(vec![large])),
        (
            "e0f002 abcd",
            FOUR,
            Attribute::Unknown { flags: AttributeFlags::PARTIAL, code: 240, data: bytes("abcd") },
        ),
    ];
    for (attribute, ctx, value) in table {
        let update = decode_update(&update_frame(&octets(attribute), &[]), ctx);
        let update = update.unwrap_or_else(|error| panic!("{attribute}: {error}"));
        assert_eq!(update.attributes, std::slice::from_ref(&value), "{attribute}");
        // Routes alone lack what they must have, which is not what is looked at here.
        let missing = |error| matches!(error, &DecodeError::MissingWellKnownAttribute(_));
        assert!(update.malformed.iter().all(|malformed| missing(&malformed.error)), "{attribute}");
        assert_eq!(encode(vec![value], ctx), Ok(octets(attribute)), "{attribute}");
    }
}

#[test]
fn the_extended_length_is_used_above_255_octets_and_accepted_below() {
    let communities = |count| Attribute::Communities(vec![Community(1); count]);
    assert_eq!(encode(vec![communities(63)], FOUR).unwrap()[..3], octets("c008 fc"));
    assert_eq!(encode(vec![communities(64)], FOUR).unwrap()[..4], octets("d008 0100"));
    let update = decode_update(&update_frame(&octets("d00800 04 00000001"), &[]), FOUR).unwrap();
    assert_eq!(update.attributes, [communities(1)]);
}

#[test]
fn attributes_are_sent_with_routes_first_and_then_by_code() {
    let unreach = MpUnreach { family: Family::IPV6_UNICAST, nlri: MpNlri::empty(Family::IPV6_UNICAST) };
    let reach = MpReach {
        family: Family::IPV6_UNICAST,
        next_hop: MpNextHop::Ipv6 { global: ipv6("fd00::2"), link_local: None },
        nlri: MpNlri::empty(Family::IPV6_UNICAST),
    };
    let attributes = vec![
        Attribute::LargeCommunities(vec![LargeCommunity { global: 1, local1: 2, local2: 3 }]),
        Attribute::MultiExitDisc(1),
        Attribute::MpUnreach(unreach),
        Attribute::Origin(Origin::Igp),
        Attribute::MpReach(reach),
        Attribute::AsPath(AsPath::default()),
    ];
    let update = Update { attributes, ..Update::default() };
    let sent = Message::Update(update).encode(&FOUR).unwrap();
    let codes: Vec<u8> = decode_update(&sent, FOUR).unwrap().attributes.iter().map(Attribute::code).collect();
    assert_eq!(codes, [14, 15, 1, 2, 4, 32]);
}

#[test]
fn a_two_octet_peer_gets_what_does_not_fit_in_companions() {
    let path = AsPath::sequence([Asn(65001), Asn(70000)]);
    let aggregator = Attribute::Aggregator { asn: Asn(70000), address: Ipv4Addr::new(10, 0, 1, 2) };
    let attributes = vec![Attribute::AsPath(path.clone()), aggregator.clone()];
    let sent = encode(attributes.clone(), TWO).unwrap();
    let expected = octets(
        "400206 02 02 fde9 5ba0  c00706 5ba0 0a000102
         c0110a 02 02 0000fde9 00011170  c01208 00011170 0a000102",
    );
    assert_eq!(sent, expected);

    let mut received = decode_update(&update_frame(&sent, &[]), TWO).unwrap();
    assert_eq!(received.as_path(), Some(&AsPath::sequence([Asn(65001), Asn::TRANS])));
    received.merge_as4();
    assert_eq!(received.attributes, attributes);
    received.merge_as4();
    assert_eq!(received.attributes, attributes);
}

#[test]
fn routes_of_another_family_than_said_have_no_encoding() {
    let next_hop = MpNextHop::Ipv6 { global: ipv6("fd00::2"), link_local: None };
    let reach = |family, next_hop, nlri| Attribute::MpReach(MpReach { family, next_hop, nlri });
    let other = Family::new(Afi::IPV4, Safi(2));
    let (ipv4, ipv6) = (Family::IPV4_UNICAST, Family::IPV6_UNICAST);
    let table = [
        (reach(ipv4, next_hop.clone(), MpNlri::Ipv6(vec![])), ipv4),
        (reach(ipv6, next_hop.clone(), MpNlri::Ipv4(vec![])), ipv6),
        (reach(other, next_hop, MpNlri::Ipv4(vec![])), other),
        (reach(ipv6, MpNextHop::Ipv4(Ipv4Addr::LOCALHOST), MpNlri::Ipv6(vec![])), ipv6),
        (reach(ipv6, MpNextHop::Other(Bytes::new()), MpNlri::Ipv6(vec![])), ipv6),
        (reach(ipv4, MpNextHop::Other(Bytes::new()), MpNlri::Ipv4(vec![])), ipv4),
        (Attribute::MpUnreach(MpUnreach { family: ipv6, nlri: MpNlri::Ipv4(vec![]) }), ipv6),
    ];
    for (attribute, family) in table {
        assert_eq!(encode(vec![attribute], FOUR), Err(EncodeError::FamilyMismatch(family)));
    }
    let long = reach(other, MpNextHop::Other(vec![0; 256].into()), MpNlri::Opaque(Bytes::new()));
    assert_eq!(encode(vec![long], FOUR), Err(EncodeError::NextHopTooLong(256)));
    let flags = AttributeFlags::OPTIONAL;
    let huge = Attribute::Unknown { flags, code: 240, data: vec![0; 1 << 16].into() };
    assert_eq!(encode(vec![huge], FOUR), Err(EncodeError::MessageTooLong(1 << 16)));
}

#[test]
fn flags_say_what_they_mean() {
    let table = [
        (AttributeFlags::WELL_KNOWN, false, true, false),
        (AttributeFlags::OPTIONAL, true, false, false),
        (AttributeFlags::OPTIONAL_TRANSITIVE, true, true, false),
        (AttributeFlags::PARTIAL, true, true, true),
    ];
    for (flags, optional, transitive, partial) in table {
        assert_eq!(
            (flags.is_optional(), flags.is_transitive(), flags.is_partial()),
            (optional, transitive, partial)
        );
    }
    assert_eq!(AttributeFlags::from_octet(0xDF), AttributeFlags::OPTIONAL_TRANSITIVE);
}
