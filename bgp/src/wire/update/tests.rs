use super::*;
use crate::wire::tests::{both_ways, decode_update, octets, update_frame, v4, v6};
use crate::wire::{Afi, AsWidth, Message, Origin, Peering, Safi};

#[test]
fn end_of_rib_of_ipv4_is_the_shortest_update() {
    let end = Update::new_end_of_rib(Family::IPV4_UNICAST);
    both_ways("0000 0000", &Message::Update(end.clone()));
    assert_eq!(end.end_of_rib(), Some(Family::IPV4_UNICAST));
}

#[test]
fn end_of_rib_of_any_other_family_is_an_empty_mp_unreach() {
    both_ways("0000 0006 800f03 0002 01", &Message::Update(Update::new_end_of_rib(Family::IPV6_UNICAST)));
    let evpn = Family::new(Afi(25), Safi(70));
    both_ways("0000 0006 800f03 0019 46", &Message::Update(Update::new_end_of_rib(evpn)));
    for family in [Family::IPV6_UNICAST, evpn] {
        assert_eq!(Update::new_end_of_rib(family).end_of_rib(), Some(family));
    }
}

#[test]
fn end_of_rib_of_ipv4_is_understood_as_mp_unreach_too() {
    let update = decode_update(&update_frame(&octets("900f0003 0001 01"), &[]), SessionContext::default());
    assert_eq!(update.unwrap().end_of_rib(), Some(Family::IPV4_UNICAST));
}

#[test]
fn attributes_without_routes_are_no_end_of_rib() {
    for attributes in ["400101 00", "800f03 0002 01 400101 00", "400504 00000064", "800f04 0002 01 00"] {
        let update = decode_update(&update_frame(&octets(attributes), &[]), SessionContext::external());
        assert_eq!(update.unwrap().end_of_rib(), None, "{attributes}");
    }
    let withdrawal = Update { withdrawn: vec![v4("10.0.0.0/8")], ..Update::default() };
    assert_eq!(withdrawal.end_of_rib(), None);
}

#[test]
fn routes_of_all_four_places_are_seen() {
    let frame = update_frame(
        &octets(
            "800e1a 0002 01 10 fd000000000000000000000000000002 00 20 20010db8
             800f08 0002 01 20 20010db9 400101 00 4002 00 400304 0a000102",
        ),
        &octets("20 c000020a"),
    );
    let mut update = decode_update(&frame, SessionContext::default()).unwrap();
    update.withdrawn.push(v4("10.0.0.0/8"));
    let announced: Vec<IpNet> = update.announced().collect();
    assert_eq!(announced, [v4("192.0.2.10/32").into(), v6("2001:db8::/32").into()]);
    let withdrawn: Vec<IpNet> = update.withdrawn_prefixes().collect();
    assert_eq!(withdrawn, [v4("10.0.0.0/8").into(), v6("2001:db9::/32").into()]);
    assert_eq!(update.next_hop(), Some("10.0.1.2".parse().unwrap()));
    update.nlri.clear();
    assert_eq!(update.next_hop(), Some("fd00::2".parse().unwrap()));
}

#[test]
fn the_strongest_action_counts() {
    let attributes = octets("400101 07 4002 00 400304 0a000102 400601 00");
    let update = decode_update(&update_frame(&attributes, &octets("20 c000020a")), SessionContext::default());
    let update = update.unwrap();
    let actions: Vec<_> = update.malformed.iter().map(|malformed| malformed.action).collect();
    assert_eq!(actions, [ErrorAction::TreatAsWithdraw, ErrorAction::AttributeDiscard]);
    assert_eq!(update.action(), Some(ErrorAction::TreatAsWithdraw));
    assert_eq!(Update::default().action(), None);
}

#[test]
fn what_is_malformed_is_never_sent_on() {
    let attributes = octets("400101 00 4002 00 400304 0a000102 400601 00");
    let ctx = SessionContext::default();
    let update = decode_update(&update_frame(&attributes, &octets("20 c000020a")), ctx).unwrap();
    assert_eq!(update.malformed.len(), 1);
    let again = decode_update(&Message::Update(update.clone()).encode(&ctx).unwrap(), ctx).unwrap();
    assert_eq!((again.attributes, again.malformed), (update.attributes, vec![]));
}

#[test]
fn as4_attributes_are_stale_when_a_two_octet_speaker_aggregated_later() {
    let ctx = SessionContext::new(AsWidth::Two, Peering::External);
    let attributes = octets(
        "400101 00 400204 02 01 5ba0 400304 0a000102 c00706 fde9 0a000102
         c01106 02 01 00011170 c01208 00011170 0a000109",
    );
    let mut update = decode_update(&update_frame(&attributes, &octets("20 c000020a")), ctx).unwrap();
    update.merge_as4();
    let address = "10.0.1.2".parse().unwrap();
    let expected = [
        Attribute::Origin(Origin::Igp),
        Attribute::AsPath(AsPath::sequence([Asn::TRANS])),
        Attribute::NextHop(address),
        Attribute::Aggregator { asn: Asn(65001), address },
    ];
    assert_eq!(update.attributes, expected);
}
