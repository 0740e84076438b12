use super::*;
use crate::wire::tests::{frame, octets};
use crate::wire::{Message, SessionContext, iana};

const ROUTER_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);

fn decode(body: &str) -> Result<Open, DecodeError> {
    let frame = frame(iana::message_type::OPEN, &octets(body));
    let Message::Open(open) = Message::decode(&frame, &SessionContext::default())? else {
        panic!("not an OPEN: {frame:02x?}")
    };
    Ok(open)
}

fn encode(open: &Open) -> Result<Vec<u8>, EncodeError> {
    let message = Message::Open(open.clone()).encode(&SessionContext::default())?;
    Ok(message[super::super::HEADER_LEN..].to_vec())
}

#[test]
fn without_capabilities_there_are_no_parameters() {
    let open = Open::new(Asn(65001), 180, ROUTER_ID, vec![]);
    assert_eq!(encode(&open), Ok(octets("04 fde9 00b4 0a000102 00")));
    assert_eq!(decode("04 fde9 00b4 0a000102 00"), Ok(open.clone()));
    assert_eq!(open.families(), [Family::IPV4_UNICAST]);
    assert!(!open.has_four_octet_as());
}

#[test]
fn a_four_octet_as_number_leaves_as_trans_in_the_old_field() {
    let open = Open::new(Asn(4_200_000_001), 9, ROUTER_ID, vec![Capability::RouteRefresh]);
    let body = "04 5ba0 0009 0a000102 0a 02 08 02 00 41 04 fa56ea01";
    assert_eq!(open.my_as(), iana::AS_TRANS);
    assert_eq!(encode(&open), Ok(octets(body)));
    assert_eq!(decode(body), Ok(open.clone()));
    assert_eq!(open.capabilities, [Capability::RouteRefresh, Capability::FourOctetAs(Asn(4_200_000_001))]);
}

#[test]
fn the_as_number_is_that_of_the_capability() {
    let open = decode("04 5ba0 0009 0a000102 08 02 06 41 04 fa56ea01").unwrap();
    assert_eq!((open.asn, open.my_as()), (Asn(4_200_000_001), 23456));
    assert!(open.has_four_octet_as());
}

#[test]
fn hold_time_zero_and_three_are_acceptable() {
    assert_eq!(decode("04 fde9 0000 0a000102 00").unwrap().hold_time, 0);
    assert_eq!(decode("04 fde9 0003 0a000102 00").unwrap().hold_time, MIN_HOLD_TIME);
}

#[test]
fn one_parameter_or_many_or_extended_ones_say_the_same() {
    let expected = [
        Capability::Multiprotocol(Family::IPV4_UNICAST),
        Capability::RouteRefresh,
        Capability::RouteRefresh,
        Capability::FourOctetAs(Asn(65001)),
    ];
    let table = [
        "12 0210 01 04 00010001 02 00 02 00 41 04 0000fde9",
        "18 0206 01 04 00010001 0202 02 00 0202 02 00 0206 41 04 0000fde9",
        "1a 0206 01 04 00010001 0200 0202 02 00 0202 02 00 0206 41 04 0000fde9",
        "ff ff 0013 02 0010 01 04 00010001 02 00 02 00 41 04 0000fde9",
        "ff ff 0019 02 000a 01 04 00010001 02 00 02 00 02 0000 02 0006 41 04 0000fde9",
        // The classic length means nothing in the extended form, as long as it is not 0 (RFC 9072 §2).
        "01 ff 0013 02 0010 01 04 00010001 02 00 02 00 41 04 0000fde9",
    ];
    for parameters in table {
        let open = decode(&format!("04 fde9 0009 0a000102 {parameters}"));
        let open = open.unwrap_or_else(|error| panic!("{parameters}: {error}"));
        assert_eq!(open.capabilities, expected, "{parameters}");
        assert_eq!(encode(&open).unwrap()[9..], octets(table[0]), "{parameters}");
    }
}

#[test]
fn extended_parameters_carry_more_than_255_octets() {
    let value = "00".repeat(200);
    let capability = format!("f0 c8 {value}");
    let open =
        decode(&format!("04 fde9 0009 0a000102 ff ff 0197 02 0194 {capability} {capability}")).unwrap();
    assert_eq!(open.capabilities.len(), 2);
    assert_eq!(encode(&open), Err(EncodeError::CapabilitiesTooLong(404)));
}

#[test]
fn capabilities_of_253_octets_fit_and_of_254_do_not() {
    let open = |length| {
        let data = vec![0; length].into();
        Open::new(Asn(65001), 9, ROUTER_ID, vec![Capability::Unknown { code: 240, data }])
    };
    assert_eq!(encode(&open(251)).unwrap().len(), 10 + 255);
    for (length, total) in [(252, 254), (253, 255), (254, 256)] {
        assert_eq!(encode(&open(length)), Err(EncodeError::CapabilitiesTooLong(total)));
    }
    assert_eq!(encode(&open(256)), Err(EncodeError::CapabilityTooLong { code: 240, length: 256 }));
}

#[test]
fn families_are_sorted_and_named_once() {
    let capabilities = [Family::IPV6_UNICAST, Family::IPV4_UNICAST, Family::IPV6_UNICAST];
    let open = Open::new(Asn(1), 9, ROUTER_ID, capabilities.map(Capability::Multiprotocol).to_vec());
    assert_eq!(open.families(), [Family::IPV4_UNICAST, Family::IPV6_UNICAST]);
}
