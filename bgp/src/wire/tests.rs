//! Whole messages: octets beside values, errors beside the NOTIFICATION they cause, and how much fits.

mod errors;
mod properties;
mod published_crashes;

use std::net::Ipv4Addr;

use bytes::Bytes;
use ipnet::{Ipv4Net, Ipv6Net};

use super::iana::message_type;
use super::*;

/// Octets from hexadecimal, blanks between at will.
pub(super) fn octets(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

pub(super) fn bytes(hex: &str) -> Bytes {
    octets(hex).into()
}

/// A message with a good header around `body`.
pub(super) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER_LEN + body.len()).unwrap();
    [&[0xFF; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

/// An UPDATE with `attributes` and the NLRI `nlri`, both as octets.
pub(super) fn update_frame(attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = u16::try_from(attributes.len()).unwrap();
    frame(message_type::UPDATE, &[&[0, 0][..], &length.to_be_bytes(), attributes, nlri].concat())
}

pub(super) fn decode_update(frame: &[u8], ctx: SessionContext) -> Result<Update, DecodeError> {
    let Message::Update(update) = Message::decode(frame, &ctx)? else {
        panic!("not an UPDATE: {frame:02x?}")
    };
    Ok(update)
}

/// `body` decodes to `message`, and `message` encodes to `body`.
#[track_caller]
pub(super) fn both_ways(body: &str, message: &Message) {
    let ctx = SessionContext::internal();
    let frame = frame(message.message_type(), &octets(body));
    assert_eq!(Message::decode(&frame, &ctx).as_ref(), Ok(message));
    assert_eq!(message.encode(&ctx).as_deref(), Ok(&frame[..]));
}

pub(super) fn v4(prefix: &str) -> Ipv4Net {
    prefix.parse().unwrap()
}

pub(super) fn v6(prefix: &str) -> Ipv6Net {
    prefix.parse().unwrap()
}

#[test]
fn keepalive_is_a_bare_header() {
    both_ways("", &Message::Keepalive);
}

#[test]
fn open_with_every_capability_both_ways() {
    let capabilities = vec![
        Capability::Multiprotocol(Family::IPV4_UNICAST),
        Capability::Multiprotocol(Family::IPV6_UNICAST),
        Capability::RouteRefresh,
        Capability::EnhancedRouteRefresh,
        Capability::ExtendedNextHop(vec![ExtendedNextHop {
            family: Family::IPV4_UNICAST,
            next_hop: Afi::IPV6,
        }]),
        Capability::GracefulRestart {
            restarting: true,
            notification: true,
            restart_time: 120,
            families: vec![GracefulRestartFamily { family: Family::IPV4_UNICAST, forwarding: true }],
        },
        Capability::FourOctetAs(Asn(65001)),
        Capability::Unknown { code: iana::capability::FQDN, data: bytes("02 6869 00") },
    ];
    both_ways(
        "04 fde9 0009 0a000102 2e 02 2c
         01 04 0001 00 01
         01 04 0002 00 01
         02 00
         46 00
         05 06 0001 0001 0002
         40 06 c078 0001 01 80
         41 04 0000fde9
         49 04 02 6869 00",
        &Message::Open(Open::new(Asn(65001), 9, Ipv4Addr::new(10, 0, 1, 2), capabilities)),
    );
}

#[test]
fn update_with_everything_classic_both_ways() {
    let update = Update {
        withdrawn: vec![v4("10.1.0.0/16")],
        attributes: vec![
            Attribute::Origin(Origin::Igp),
            Attribute::AsPath(AsPath::sequence([Asn(65001), Asn(65002)])),
            Attribute::NextHop(Ipv4Addr::new(10, 0, 1, 2)),
            Attribute::MultiExitDisc(100),
        ],
        nlri: vec![v4("192.0.2.10/32"), v4("0.0.0.0/0")],
        malformed: vec![],
    };
    both_ways(
        "0003 10 0a01
         001f
         40 01 01 00
         40 02 0a 02 02 0000fde9 0000fdea
         40 03 04 0a000102
         80 04 04 00000064
         20 c000020a 00",
        &Message::Update(update),
    );
}

#[test]
fn notification_both_ways() {
    let notification = Notification::cease(iana::notification::cease::ADMINISTRATIVE_SHUTDOWN, "bye");
    both_ways("06 02 03 627965", &Message::Notification(notification));
}

#[test]
fn route_refresh_both_ways() {
    let refresh = |subtype| Message::RouteRefresh(RouteRefresh::new(Family::IPV6_UNICAST, subtype));
    both_ways("0002 00 01", &refresh(RefreshKind::Normal));
    both_ways("0002 01 01", &refresh(RefreshKind::Begin));
    both_ways("0002 02 01", &refresh(RefreshKind::End));
    both_ways("0002 09 01", &refresh(RefreshKind::Other(9)));
}

#[test]
fn a_message_of_more_than_4096_octets_has_no_encoding() {
    let notification = |length| Message::Notification(Notification::new(6, 8, vec![0; length].into()));
    let ctx = SessionContext::default();
    assert_eq!(notification(4075).encode(&ctx).unwrap().len(), MAX_MESSAGE_LEN);
    assert_eq!(notification(4076).encode(&ctx), Err(EncodeError::MessageTooLong(4097)));
    assert_eq!(notification(1 << 20).encode(&ctx), Err(EncodeError::MessageTooLong((1 << 20) + 21)));
}

/// Header 19, two lengths 4, ORIGIN 4, AS_PATH of one AS 9, NEXT_HOP 7, MED 7, two communities 11: 4035
/// octets are left, and an IPv4 /32 takes 5.
#[test]
fn an_update_holds_807_ipv4_host_routes() {
    let update = |count: u32| {
        let host = |number: u32| Ipv4Net::new(Ipv4Addr::from(0x0A00_0000 | number), 32).unwrap();
        Message::Update(Update {
            attributes: vec![
                Attribute::Origin(Origin::Igp),
                Attribute::AsPath(AsPath::sequence([Asn(65001)])),
                Attribute::NextHop(Ipv4Addr::new(10, 0, 1, 2)),
                Attribute::MultiExitDisc(100),
                Attribute::Communities(vec![Community::new(65001, 100), Community::GRACEFUL_SHUTDOWN]),
            ],
            nlri: (0..count).map(host).collect(),
            ..Update::default()
        })
    };
    let ctx = SessionContext::external();
    let full = update(807).encode(&ctx).unwrap();
    assert_eq!(full.len(), 4096);
    assert_eq!(Message::decode(&full, &ctx), Ok(update(807)));
    assert_eq!(update(808).encode(&ctx), Err(EncodeError::MessageTooLong(4101)));
}

/// Header 19, two lengths 4, ORIGIN 4, AS_PATH of one AS 9, MED 7, MP_REACH_NLRI 4 + 21: 4028 octets are
/// left, and an IPv6 /128 takes 17.
#[test]
fn an_update_holds_236_ipv6_host_routes() {
    let update = |count: u128| {
        let host = |number: u128| Ipv6Net::new((0x2001_0db8 << 96 | number).into(), 128).unwrap();
        Message::Update(Update {
            attributes: vec![
                Attribute::MpReach(MpReach {
                    family: Family::IPV6_UNICAST,
                    next_hop: MpNextHop::Ipv6 { global: "fd00::2".parse().unwrap(), link_local: None },
                    nlri: MpNlri::Ipv6((0..count).map(host).collect()),
                }),
                Attribute::Origin(Origin::Igp),
                Attribute::AsPath(AsPath::sequence([Asn(65001)])),
                Attribute::MultiExitDisc(100),
            ],
            ..Update::default()
        })
    };
    let ctx = SessionContext::external();
    let full = update(236).encode(&ctx).unwrap();
    assert_eq!(full.len(), 4096 - 4028 + 236 * 17);
    assert_eq!(Message::decode(&full, &ctx), Ok(update(236)));
    assert_eq!(update(237).encode(&ctx), Err(EncodeError::MessageTooLong(4096 - 4028 + 237 * 17)));
}

#[test]
fn messages_show_as_json_in_operator_words() {
    let update = Update {
        attributes: vec![
            Attribute::Origin(Origin::Igp),
            Attribute::AsPath(AsPath::sequence([Asn(65001)])),
            Attribute::Communities(vec![Community::new(65001, 100), Community::NO_EXPORT]),
        ],
        nlri: vec![v4("192.0.2.10/32")],
        ..Update::default()
    };
    assert_eq!(
        serde_json::to_string(&Message::Update(update)).unwrap(),
        r#"{"update":{"withdrawn":[],"attributes":[{"origin":"igp"},{"as-path":[{"sequence":[65001]}]},"#
            .to_owned()
            + r#"{"communities":["65001:100","no-export"]}],"nlri":["192.0.2.10/32"],"malformed":[]}}"#
    );
    let refresh = RouteRefresh::new(Family::new(Afi(25), Safi(70)), RefreshKind::Normal);
    assert_eq!(
        serde_json::to_string(&refresh).unwrap(),
        r#"{"family":"l2vpn-evpn","subtype":"normal","trailing":""}"#
    );
}
