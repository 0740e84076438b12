//! Every error beside the exact NOTIFICATION that it causes.

use super::*;
use crate::wire::iana::attribute as code;

/// `(message, code, subcode, data)` of what is refused.
#[test]
fn every_error_of_a_header_or_an_open_has_its_notification() {
    let open = |body: &str| frame(message_type::OPEN, &octets(body));
    let marker = [0xFF; 16];
    let header = |rest: &str| [&marker[..], &octets(rest)].concat();
    let table: &[(&str, Vec<u8>, u8, u8, &str)] = &[
        ("marker", [&[0xFF; 15][..], &octets("fe 0013 04")].concat(), 1, 1, ""),
        ("length below 19", header("0012 04"), 1, 2, "0012"),
        ("length above 4096", header("1001 02"), 1, 2, "1001"),
        ("length of another message", header("0014 03 06"), 1, 2, "0014"),
        ("length longer than the frame", header("001d 01"), 1, 2, "001d"),
        ("header cut off", vec![0xFF; 18], 1, 2, "0012"),
        ("short OPEN", frame(1, &[0; 9]), 1, 2, "001c"),
        ("short UPDATE", frame(2, &[0; 3]), 1, 2, "0016"),
        ("short NOTIFICATION", frame(3, &[0; 1]), 1, 2, "0014"),
        ("long KEEPALIVE", frame(4, &[0; 1]), 1, 2, "0014"),
        ("short ROUTE-REFRESH", frame(5, &[0; 3]), 1, 2, "0016"),
        ("type 0", frame(0, &[]), 1, 3, "00"),
        ("type 6", frame(6, &[]), 1, 3, "06"),
        ("version 3", open("03 fde9 0009 0a000102 00"), 2, 1, "0004"),
        ("AS 0", open("04 0000 0009 0a000102 00"), 2, 2, ""),
        ("AS 0 in four octets", open("04 5ba0 0009 0a000102 08 02 06 41 04 00000000"), 2, 2, ""),
        ("router id 0", open("04 fde9 0009 00000000 00"), 2, 3, ""),
        ("authentication", open("04 fde9 0009 0a000102 02 01 00"), 2, 4, ""),
        ("hold time 1", open("04 fde9 0001 0a000102 00"), 2, 6, ""),
        ("hold time 2", open("04 fde9 0002 0a000102 00"), 2, 6, ""),
        ("octets behind the parameters", open("04 fde9 0009 0a000102 00 00"), 2, 0, ""),
        ("parameters cut off", open("04 fde9 0009 0a000102 01"), 2, 0, ""),
        ("half a parameter", open("04 fde9 0009 0a000102 01 02"), 2, 0, ""),
        ("half a capability", open("04 fde9 0009 0a000102 03 02 01 02"), 2, 0, ""),
        ("multiprotocol of 3 octets", open("04 fde9 0009 0a000102 07 02 05 01 03 000100"), 2, 0, ""),
        ("end of refresh with more", frame(5, &octets("0001 02 01 ff")), 7, 1, "*"),
    ];
    for (what, frame, code, subcode, data) in table {
        let data = if *data == "*" { frame.clone().into() } else { bytes(data) };
        let error = Message::decode(frame, &SessionContext::default()).expect_err(what);
        assert_eq!(error.notification(), Notification::new(*code, *subcode, data), "{what}: {error}");
    }
}

/// `(UPDATE body, subcode, data)` of what ends the session.
#[test]
fn every_error_of_an_update_that_resets_has_its_notification() {
    let table = [
        ("withdrawn routes too long", "0005 0000", 1, ""),
        ("attributes too long", "0000 0001", 1, ""),
        ("no length of attributes", "0003 08 0a 00", 1, ""),
        ("withdrawn prefix of 33 bits", "0006 21 0a00000000 0000", 10, ""),
        ("withdrawn prefix cut off", "0002 18 0a 0000", 10, ""),
        ("NLRI of 33 bits", "0000 0000 21 0a00000000", 10, ""),
        ("NLRI cut off", "0000 0000 20 0a0000", 10, ""),
        ("unknown well-known", "0000 0005 40 63 02 abcd", 2, "40 63 02 abcd"),
        ("MP_REACH_NLRI twice", "0000 0010 800e05 0019 46 00 00 800e05 0019 46 00 00", 1, ""),
        ("MP_UNREACH_NLRI twice", "0000 000c 800f03 0002 01 800f03 0002 01", 1, ""),
        (
            "IPv6 next hop of 4 octets",
            "0000 000c 800e09 0002 01 04 0a000102 00",
            9,
            "800e09 0002 01 04 0a000102 00",
        ),
        (
            "IPv4 next hop of 8 octets",
            "0000 0010 800e0d 0001 01 08 0000000000000000 00",
            9,
            "800e0d 0001 01 08 0000000000000000 00",
        ),
        (
            "IPv6 prefix of 129 bits",
            "0000 0018 800f15 0002 01 81 0000000000000000000000000000000000",
            9,
            "800f15 0002 01 81 0000000000000000000000000000000000",
        ),
        ("MP_UNREACH_NLRI of 2 octets", "0000 0005 800f02 0002", 9, "800f02 0002"),
    ];
    for (what, body, subcode, data) in table {
        let frame = frame(message_type::UPDATE, &octets(body));
        let error = Message::decode(&frame, &SessionContext::default()).expect_err(what);
        assert_eq!(error.notification(), Notification::new(3, subcode, bytes(data)), "{what}: {error}");
    }
}

/// `(attribute, peer, action, subcode, data)`: contained beside a route, a reset without one when it is
/// more than a discard (RFC 7606 §5.2).
#[test]
fn every_malformed_attribute_is_contained_as_rfc_7606_says() {
    use ErrorAction::{AttributeDiscard as Discard, TreatAsWithdraw as Withdraw};
    let internal = SessionContext::internal();
    let external = SessionContext::external();
    let two = SessionContext::new(AsWidth::Two, Peering::Internal);
    let table = [
        ("40 01 02 0000", internal, Withdraw, 5, "*"),
        ("40 01 00", internal, Withdraw, 5, "*"),
        ("40 01 01 03", internal, Withdraw, 6, "*"),
        ("80 01 01 00", internal, Withdraw, 4, "*"),
        ("40 02 03 02 00 00", internal, Withdraw, 11, ""),
        ("40 02 02 02 00", internal, Withdraw, 11, ""),
        ("40 02 06 05 01 0000fde9", internal, Withdraw, 11, ""),
        ("40 02 06 02 02 0000fde9", internal, Withdraw, 11, ""),
        ("40 02 07 02 01 0000fde9 02", internal, Withdraw, 11, ""),
        ("40 02 06 02 01 00000000", internal, Withdraw, 11, ""),
        ("c0 02 00", internal, Withdraw, 4, "*"),
        ("40 03 05 0a00010200", internal, Withdraw, 5, "*"),
        ("80 03 04 0a000102", internal, Withdraw, 4, "*"),
        ("80 04 03 000000", internal, Withdraw, 5, "*"),
        ("c0 04 04 00000000", internal, Withdraw, 4, "*"),
        ("40 05 03 000000", internal, Withdraw, 5, "*"),
        ("40 05 04 00000064", external, Discard, 1, ""),
        ("40 05 03 000000", external, Discard, 1, ""),
        ("40 06 01 00", internal, Discard, 5, "*"),
        ("c0 06 00", internal, Withdraw, 4, "*"),
        ("c0 07 06 fde9 0a000102", internal, Discard, 5, "*"),
        ("c0 07 08 0000fde9 0a000102", two, Discard, 5, "*"),
        ("c0 07 08 00000000 0a000102", internal, Discard, 9, "*"),
        ("c0 08 03 000000", internal, Withdraw, 5, "*"),
        ("c0 08 00", internal, Withdraw, 5, "*"),
        ("80 09 03 000000", internal, Withdraw, 5, "*"),
        ("80 09 04 0a000102", external, Discard, 1, ""),
        ("80 0a 05 0000000000", internal, Withdraw, 5, "*"),
        ("80 0a 00", internal, Withdraw, 5, "*"),
        ("80 0a 04 0a000102", external, Discard, 1, ""),
        ("c0 10 07 00000000000000", internal, Withdraw, 5, "*"),
        ("c0 11 06 02 01 0000fde9", internal, Discard, 1, ""),
        ("c0 11 05 02 01 0000fd", two, Discard, 11, ""),
        ("c0 11 00", two, Discard, 11, ""),
        ("c0 12 08 0000fde9 0a000102", internal, Discard, 1, ""),
        ("c0 12 07 0000fde9 0a0001", two, Discard, 5, "*"),
        ("c0 20 0b 0000000000000000000000", internal, Withdraw, 5, "*"),
        ("c0 20 00", internal, Withdraw, 5, "*"),
        ("40 20 0c 000000000000000000000000", internal, Withdraw, 4, "*"),
        ("c0 08 ff 00", internal, Withdraw, 1, ""),
        ("c0 08", internal, Withdraw, 1, ""),
        ("d0 08 00", internal, Withdraw, 1, ""),
    ];
    for (attribute, ctx, action, subcode, data) in table {
        let attribute = octets(attribute);
        let data = if data == "*" { attribute.clone().into() } else { bytes(data) };
        let expected = Notification::new(3, subcode, data);

        let beside = with_mandatory_attributes(&attribute, ctx.as_width);
        let update = decode_update(&update_frame(&beside, &octets("20 c000020a")), ctx).unwrap();
        let [malformed] = &update.malformed[..] else { panic!("{attribute:02x?}: {:?}", update.malformed) };
        assert_eq!((malformed.code, malformed.action), (attribute[1], action), "{attribute:02x?}");
        assert_eq!(malformed.error.notification(), expected, "{attribute:02x?}");
        assert_eq!(update.action(), Some(action), "{attribute:02x?}");
        assert_eq!(update.announced().count(), usize::from(action == Discard), "{attribute:02x?}");
        assert_eq!(update.withdrawn_prefixes().count(), usize::from(action == Withdraw), "{attribute:02x?}");

        let alone = decode_update(&update_frame(&attribute, &[]), ctx).map(|update| update.action());
        match action {
            Discard => assert_eq!(alone, Ok(Some(Discard)), "{attribute:02x?}"),
            Withdraw => assert_eq!(alone.unwrap_err().notification(), expected, "{attribute:02x?}"),
        }
    }
}

#[test]
fn a_route_without_mandatory_attributes_is_withdrawn() {
    let attributes =
        [(code::ORIGIN, "400101 00"), (code::AS_PATH, "4002 00"), (code::NEXT_HOP, "400304 0a000102")];
    for (missing, _) in attributes {
        let others = attributes.iter().filter(|(code, _)| *code != missing);
        let others: Vec<u8> = others.flat_map(|(_, attribute)| octets(attribute)).collect();
        let frame = update_frame(&others, &octets("20 c000020a"));
        let update = decode_update(&frame, SessionContext::default()).unwrap();
        let error = DecodeError::MissingWellKnownAttribute(missing);
        assert_eq!(error.notification(), Notification::new(3, 3, vec![missing].into()));
        let malformed = MalformedAttribute { code: missing, action: ErrorAction::TreatAsWithdraw, error };
        assert_eq!(update.malformed, [malformed]);
    }
}

#[test]
fn multiprotocol_routes_need_no_next_hop_attribute() {
    let attributes =
        octets("800e1a 0002 01 10 fd000000000000000000000000000002 00 20 20010db8 400101 00 4002 00");
    let update = decode_update(&update_frame(&attributes, &[]), SessionContext::default()).unwrap();
    assert_eq!(update.malformed, []);
    assert_eq!(update.announced().collect::<Vec<_>>(), [v6("2001:db8::/32").into()]);
}

#[test]
fn multiprotocol_routes_with_wrong_flags_are_withdrawn() {
    let attributes =
        octets("c00e1a 0002 01 10 fd000000000000000000000000000002 00 20 20010db8 400101 00 4002 00");
    let update = decode_update(&update_frame(&attributes, &[]), SessionContext::default()).unwrap();
    assert_eq!(update.action(), Some(ErrorAction::TreatAsWithdraw));
    assert_eq!(update.announced().count(), 0);
    assert_eq!(update.withdrawn_prefixes().collect::<Vec<_>>(), [v6("2001:db8::/32").into()]);
}

#[test]
fn of_a_duplicate_attribute_the_first_counts_and_one_record_is_kept() {
    let attributes =
        octets("400101 00 4002 00 400304 0a000102 800404 00000001 800404 00000002 800404 00000003");
    let update = decode_update(&update_frame(&attributes, &octets("20 c000020a")), SessionContext::default());
    let update = update.unwrap();
    assert!(update.attributes.contains(&Attribute::MultiExitDisc(1)));
    assert_eq!(update.attributes.len(), 4);
    let duplicate = MalformedAttribute {
        code: code::MULTI_EXIT_DISC,
        action: ErrorAction::AttributeDiscard,
        error: DecodeError::DuplicateAttribute(code::MULTI_EXIT_DISC),
    };
    assert_eq!(update.malformed, [duplicate]);
    assert_eq!(update.announced().count(), 1);
}

#[test]
fn errors_name_the_attribute_and_do_not_flood_the_log() {
    let attribute = [&octets("c0 08 ff")[..], &[0; 255]].concat();
    let frame = update_frame(&attribute, &[]);
    let error = Message::decode(&frame, &SessionContext::default()).unwrap_err();
    let shown =
        format!("wrong length of attribute COMMUNITIES (8): c008ff{}… of 258 octets", "00".repeat(29));
    assert_eq!(error.to_string(), shown);
}

/// ORIGIN, AS_PATH and NEXT_HOP, and `attribute` last, instead of the one that it is.
fn with_mandatory_attributes(attribute: &[u8], width: AsWidth) -> Vec<u8> {
    let path = match width {
        AsWidth::Two => "400204 02 01 fde9",
        AsWidth::Four => "400206 02 01 0000fde9",
    };
    let mandatory = ["400101 00", path, "400304 0a000102"].map(octets);
    let mandatory = mandatory.into_iter().filter(|mandatory| mandatory[1] != attribute[1]);
    mandatory.flatten().chain(attribute.iter().copied()).collect()
}
