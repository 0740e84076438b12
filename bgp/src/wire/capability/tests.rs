use super::*;
use crate::wire::tests::{bytes, octets};

fn decode(input: &str) -> Result<Vec<Capability>, DecodeError> {
    let mut capabilities = Vec::new();
    Capability::decode_all(&octets(input), &mut capabilities).map(|()| capabilities)
}

fn encode(capability: &Capability) -> Result<Vec<u8>, EncodeError> {
    let mut buffer = BytesMut::new();
    capability.encode(&mut buffer).map(|()| buffer.to_vec())
}

fn restart(restarting: bool, notification: bool, restart_time: u16) -> Capability {
    Capability::GracefulRestart { restarting, notification, restart_time, families: vec![] }
}

#[test]
fn every_capability_both_ways() {
    let next_hop = |family| ExtendedNextHop { family, next_hop: Afi::IPV6 };
    let families = vec![
        GracefulRestartFamily { family: Family::IPV4_UNICAST, forwarding: true },
        GracefulRestartFamily { family: Family::IPV6_UNICAST, forwarding: false },
    ];
    let vpn = Family::new(Afi::IPV4, Safi(iana::safi::MPLS_VPN));
    let table = [
        ("01 04 0002 00 01", Capability::Multiprotocol(Family::IPV6_UNICAST)),
        ("01 04 ffff 00 ff", Capability::Multiprotocol(Family::new(Afi(0xFFFF), Safi(0xFF)))),
        ("02 00", Capability::RouteRefresh),
        ("46 00", Capability::EnhancedRouteRefresh),
        ("05 00", Capability::ExtendedNextHop(vec![])),
        ("09 01 00", Capability::Role(Role::Provider)),
        ("09 01 03", Capability::Role(Role::Customer)),
        ("09 01 05", Capability::Unknown { code: code::ROLE, data: bytes("05") }),
        ("09 00", Capability::Unknown { code: code::ROLE, data: Bytes::new() }),
        ("09 02 0303", Capability::Unknown { code: code::ROLE, data: bytes("0303") }),
        (
            "05 0c 0001 0001 0002 0001 0080 0002",
            Capability::ExtendedNextHop(vec![next_hop(Family::IPV4_UNICAST), next_hop(vpn)]),
        ),
        ("40 02 0000", restart(false, false, 0)),
        ("40 02 8fff", restart(true, false, 4095)),
        ("40 02 4078", restart(false, true, 120)),
        (
            "40 0a 001e 0001 01 80 0002 01 00",
            Capability::GracefulRestart {
                restarting: false,
                notification: false,
                restart_time: 30,
                families,
            },
        ),
        ("41 04 fa56ea01", Capability::FourOctetAs(Asn(4_200_000_001))),
        ("06 00", Capability::Unknown { code: code::EXTENDED_MESSAGE, data: Bytes::new() }),
        ("ff 03 010203", Capability::Unknown { code: 255, data: bytes("010203") }),
    ];
    for (octets_, capability) in table {
        assert_eq!(decode(octets_), Ok(vec![capability.clone()]), "{octets_}");
        assert_eq!(encode(&capability), Ok(octets(octets_)), "{octets_}");
    }
}

#[test]
fn what_the_session_depends_on_must_have_its_length() {
    for input in ["01 00", "01 03 000100", "01 05 0001000100", "41 00", "41 02 fde9", "41 05 0000fde900"] {
        assert!(matches!(decode(input), Err(DecodeError::MalformedOpen(_))), "{input}");
    }
}

#[test]
fn what_it_does_not_depend_on_is_kept_unread() {
    let table = [
        ("02 01 00", code::ROUTE_REFRESH, "00"),
        ("46 01 00", code::ENHANCED_ROUTE_REFRESH, "00"),
        ("05 05 0001000100", code::EXTENDED_NEXT_HOP, "0001000100"),
        ("05 06 0001 0101 0002", code::EXTENDED_NEXT_HOP, "000101010002"),
        ("40 00", code::GRACEFUL_RESTART, ""),
        ("40 01 00", code::GRACEFUL_RESTART, "00"),
        ("40 05 0078 0001 01", code::GRACEFUL_RESTART, "0078000101"),
    ];
    for (input, code, data) in table {
        let unknown = Capability::Unknown { code, data: bytes(data) };
        assert_eq!(decode(input), Ok(vec![unknown.clone()]), "{input}");
        assert_eq!(encode(&unknown), Ok(octets(input)), "{input}");
    }
}

#[test]
fn reserved_bits_are_ignored() {
    assert_eq!(decode("40 06 3078 0001 01 7f").unwrap()[0].to_string(), "graceful-restart 120 s");
    assert_eq!(decode("01 04 0001 ff 01"), Ok(vec![Capability::Multiprotocol(Family::IPV4_UNICAST)]));
}

#[test]
fn a_restart_time_of_more_than_12_bits_has_no_encoding() {
    assert_eq!(encode(&restart(false, false, 4096)), Err(EncodeError::RestartTime(4096)));
}

#[test]
fn capabilities_show_in_words() {
    let table = [
        ("01 04 0001 00 01", "multiprotocol ipv4-unicast"),
        ("02 00", "route-refresh"),
        ("05 06 0001 0001 0002", "extended-next-hop ipv4-unicast over ipv6"),
        ("41 04 0000fde9", "four-octet-as 65001"),
        ("49 00", "fqdn"),
        ("f0 00", "capability 240"),
    ];
    for (input, words) in table {
        assert_eq!(decode(input).unwrap()[0].to_string(), words);
    }
}
