//! What has crashed or confused other implementations, one test each.

use super::*;

fn open_error(parameters: &str) -> Notification {
    let body = [octets("04 fde9 0009 0a000102"), octets(parameters)].concat();
    let frame = frame(message_type::OPEN, &body);
    Message::decode(&frame, &SessionContext::default()).expect_err(parameters).notification()
}

fn malformed_open() -> Notification {
    Notification::new(2, 0, Bytes::new())
}

fn update(attributes: &str, nlri: &str) -> Result<Update, Notification> {
    let frame = update_frame(&octets(attributes), &octets(nlri));
    decode_update(&frame, SessionContext::external()).map_err(|error| error.notification())
}

/// Not spoken here, so it is accepted whatever it holds (RFC 4271 §9), and the route beside it stands.
fn kept_opaque(attribute: &str) {
    let beside = format!("400101 00 4002 00 400304 0a000102 {attribute}");
    let update = update(&beside, "20 c000020a").unwrap();
    let octets = octets(attribute);
    let flags = AttributeFlags::from_octet(octets[0]);
    let expected = Attribute::Unknown { flags, code: octets[1], data: octets[3..].to_vec().into() };
    assert_eq!((update.attributes.last(), update.malformed.as_slice()), (Some(&expected), &[][..]));
    assert_eq!(update.announced().collect::<Vec<_>>(), [v4("192.0.2.10/32").into()]);
}

/// Not looked into, so that nothing inside can be wrong (RFC 5492 §3).
fn ignored_capability(parameters: &str) {
    let body = [octets("04 fde9 0009 0a000102"), octets(parameters)].concat();
    let Ok(Message::Open(open)) =
        Message::decode(&frame(message_type::OPEN, &body), &SessionContext::default())
    else {
        panic!("{parameters} is not an OPEN")
    };
    let expected = Capability::Unknown { code: body[12], data: body[14..].to_vec().into() };
    assert_eq!(open.capabilities, [expected]);
}

#[test]
fn truncated_optional_parameters() {
    assert_eq!(open_error("10"), malformed_open());
    assert_eq!(open_error("04 02 06 01 04"), malformed_open());
    assert_eq!(open_error("02 02 ff"), malformed_open());
}

#[test]
fn truncated_extended_optional_parameters() {
    assert_eq!(open_error("ff ff"), malformed_open());
    assert_eq!(open_error("ff ff 00"), malformed_open());
    assert_eq!(open_error("ff ff 0010 02"), malformed_open());
    assert_eq!(open_error("ff ff 0002 02 00"), malformed_open());
    assert_eq!(open_error("ff ff 0004 02 ffff 00"), malformed_open());
}

#[test]
fn fqdn_capability_longer_than_its_parameter() {
    assert_eq!(open_error("05 02 03 49 ff 41"), malformed_open());
    // It ends where the next parameter does.
    assert_eq!(open_error("09 02 03 49 05 41 02 02 02 00"), malformed_open());
    // The host name is longer than the capability, and the domain name is missing.
    ignored_capability("06 02 04 49 02 ff 41");
    ignored_capability("06 02 04 49 02 01 41");
}

#[test]
fn software_version_capability_longer_than_its_parameter() {
    assert_eq!(open_error("04 02 02 4b 10"), malformed_open());
    ignored_capability("05 02 03 4b 01 ff");
    ignored_capability("04 02 02 4b 00");
}

#[test]
fn four_octet_as_capability_of_length_zero() {
    assert_eq!(open_error("04 02 02 41 00"), malformed_open());
}

#[test]
fn nlri_with_zero_attribute_length() {
    let update = update("", "20 c000020a").unwrap();
    assert_eq!(update.malformed.iter().map(|malformed| malformed.code).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(update.announced().count(), 0);
    assert_eq!(update.withdrawn_prefixes().collect::<Vec<_>>(), [v4("192.0.2.10/32").into()]);
    assert_eq!(update.end_of_rib(), None);
}

#[test]
fn mp_reach_shorter_than_its_next_hop() {
    let reset = |attribute| Err(Notification::new(3, 9, bytes(attribute)));
    for attribute in [
        "800e05 0002 01 10 00",
        "800e14 0002 01 10 fd000000000000000000000000000002",
        "800e04 0002 01 10",
        "800e03 0002 01",
        "800e00",
    ] {
        assert_eq!(update(attribute, ""), reset(attribute));
    }
}

#[test]
fn mp_unreach_without_mandatory_attributes() {
    let update = update("800f08 0002 01 20 20010db8", "").unwrap();
    assert_eq!(update.malformed, []);
    assert_eq!(update.withdrawn_prefixes().collect::<Vec<_>>(), [v6("2001:db8::/32").into()]);
}

#[test]
fn unknown_well_known_attribute() {
    assert_eq!(update("406300", ""), Err(Notification::new(3, 2, bytes("406300"))));
}

#[test]
fn as4_path_before_as_path() {
    let attributes = octets("c01106 02 01 00011170 400101 00 400204 02 01 5ba0 400304 0a000102");
    let ctx = SessionContext::new(AsWidth::Two, Peering::External);
    let mut update = decode_update(&update_frame(&attributes, &octets("20 c000020a")), ctx).unwrap();
    update.merge_as4();
    assert_eq!(update.as_path(), Some(&AsPath::sequence([Asn(70000)])));
    assert_eq!(update.malformed, []);
}

#[test]
fn attribute_lengths_inconsistent_with_the_total() {
    let reset = Err(Notification::new(3, 1, Bytes::new()));
    assert_eq!(update("40 01 05 00", ""), reset);
    assert_eq!(update("50 01 00", ""), reset);
    assert_eq!(update("40", ""), reset);
    let contained = update("400101 00 4002 00 400304 0a000102 c008 ff 00", "20 c000020a").unwrap();
    assert_eq!(contained.withdrawn_prefixes().collect::<Vec<_>>(), [v4("192.0.2.10/32").into()]);
    // The total is longer than the message.
    let frame = frame(message_type::UPDATE, &octets("0000 ffff 400101 00"));
    let error = decode_update(&frame, SessionContext::external()).unwrap_err();
    assert_eq!(error.notification(), Notification::new(3, 1, Bytes::new()));
}

#[test]
fn as_path_of_zero_length() {
    let update = update("400101 00 4002 00 400304 0a000102", "20 c000020a").unwrap();
    assert_eq!(update.as_path(), Some(&AsPath::default()));
    assert_eq!(update.malformed, []);
}

#[test]
fn origin_with_odd_flags() {
    let with = |origin: &str| update(&format!("{origin} 4002 00 400304 0a000102"), "20 c000020a").unwrap();
    for harmless in ["4f0101 00", "500100 01 00", "5f0100 01 00", "600101 00"] {
        assert_eq!(with(harmless).attributes[0], Attribute::Origin(Origin::Igp), "{harmless}");
        assert_eq!(with(harmless).action(), None, "{harmless}");
    }
    for wrong in ["000101 00", "800101 00", "c00101 00", "e00101 00"] {
        assert_eq!(with(wrong).action(), Some(ErrorAction::TreatAsWithdraw), "{wrong}");
    }
}

#[test]
fn short_next_hop() {
    let update = update("400101 00 4002 00 400303 0a0001", "20 c000020a").unwrap();
    assert_eq!(update.action(), Some(ErrorAction::TreatAsWithdraw));
    assert_eq!(update.next_hop(), None);
    assert_eq!(update.withdrawn_prefixes().collect::<Vec<_>>(), [v4("192.0.2.10/32").into()]);
}

#[test]
fn flowspec_shorter_than_its_header() {
    let flowspec = Family::new(Afi::IPV4, Safi(iana::safi::FLOWSPEC));
    let empty = update("800e05 0001 85 00 00", "").unwrap();
    let reach = MpReach {
        family: flowspec,
        next_hop: MpNextHop::Other(Bytes::new()),
        nlri: MpNlri::Opaque(Bytes::new()),
    };
    assert_eq!(empty.mp_reach(), Some(&reach));
    // A length of two octets, of which there is one.
    let cut_off = update("800e06 0001 85 00 00 f0 400101 00 4002 00", "").unwrap();
    let reach = MpReach { nlri: MpNlri::Opaque(bytes("f0")), ..reach };
    assert_eq!(cut_off.mp_reach(), Some(&reach));
    assert_eq!(update("800e04 0001 85 00", ""), Err(Notification::new(3, 9, bytes("800e04 0001 85 00"))));
}

#[test]
fn tunnel_encapsulation_garbage() {
    kept_opaque("c01703 0001 ff");
    kept_opaque("c01700");
}

#[test]
fn prefix_sid_and_only_to_customer_of_bad_length() {
    kept_opaque("c02803 01 0007");
    kept_opaque("c02801 01");
    // RFC 9234 §5.
    for bad in ["c02303 000001", "c02300", "c02305 0000fde900"] {
        let update = update(&format!("400101 00 4002 00 400304 0a000102 {bad}"), "20 c000020a").unwrap();
        assert_eq!(update.action(), Some(ErrorAction::TreatAsWithdraw), "{bad}");
        assert_eq!(update.announced().count(), 0, "{bad}");
    }
}

#[test]
fn non_ascii_notification_text() {
    let frame = frame(message_type::NOTIFICATION, &octets("06 02 08 fffe1b5b324a e282"));
    let Ok(Message::Notification(notification)) = Message::decode(&frame, &SessionContext::default()) else {
        panic!("not a NOTIFICATION")
    };
    let shown = "Cease / Administrative Shutdown: \"\u{FFFD}\u{FFFD}\\u{1b}[2J\u{FFFD}\"";
    assert_eq!(notification.to_string(), shown);
}

#[test]
fn shutdown_communication_that_claims_more_than_there_is() {
    let frame = frame(message_type::NOTIFICATION, &octets("06 04 ff 6869"));
    let Ok(Message::Notification(notification)) = Message::decode(&frame, &SessionContext::default()) else {
        panic!("not a NOTIFICATION")
    };
    assert_eq!(notification.shutdown_communication().as_deref(), Some("hi"));
    assert_eq!(notification.data, bytes("ff 6869"));
}

#[test]
fn orf_inside_route_refresh() {
    let orf = "01 40 0006 00 00000005 18";
    let refresh =
        RouteRefresh { family: Family::IPV4_UNICAST, subtype: RefreshKind::Normal, trailing: bytes(orf) };
    both_ways(&format!("0001 00 01 {orf}"), &Message::RouteRefresh(refresh));
    // Cut off, longer than the message, an entry of a prefix with 255 bits.
    for garbage in ["01", "01 40 ffff 00", "01 40 0002 00", "01 40 0007 00 00000005 00 20 ff"] {
        let trailing = bytes(garbage);
        let refresh = RouteRefresh { family: Family::IPV4_UNICAST, subtype: RefreshKind::Normal, trailing };
        both_ways(&format!("0001 00 01 {garbage}"), &Message::RouteRefresh(refresh));
    }
}
