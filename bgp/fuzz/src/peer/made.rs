//! Values made from a few octets: an OPEN, prefixes to watch, routes to announce.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bytes::Bytes;
use ipnet::IpNet;
use vipcast_bgp::wire::{Afi, Asn, Capability, ExtendedNextHop, Family, Open};
use vipcast_bgp::{PeerConfig, RouteAttributes, Routes, Watched};

/// The OPEN that we hope for when every bit is set.
pub(super) fn their_open(config: &PeerConfig, flags: u8) -> Open {
    let flag = |bit: u8| flags & 1 << bit != 0;
    let asn = if flag(0) { config.peer_as } else { Asn(64999) };
    let hold_time = if flag(1) { 90 } else { 3 };
    let last = if flag(2) { 1 } else { 3 };
    let ipv4_over_ipv6 = ExtendedNextHop { family: Family::IPV4_UNICAST, next_hop: Afi::IPV6 };
    let capabilities = [
        (flag(3), Capability::Multiprotocol(Family::IPV4_UNICAST)),
        (flag(4), Capability::Multiprotocol(Family::IPV6_UNICAST)),
        (flag(5), Capability::RouteRefresh),
        (flag(6), Capability::FourOctetAs(asn)),
        (flag(7), Capability::Unknown { code: 73, data: Bytes::from_static(b"\x03tor\x00") }),
        (flag(7), Capability::EnhancedRouteRefresh),
        (flag(7), Capability::ExtendedNextHop(vec![ipv4_over_ipv6])),
        (
            flag(5),
            Capability::GracefulRestart {
                restarting: false,
                notification: flag(7),
                restart_time: 120,
                families: Vec::new(),
            },
        ),
    ];
    let capabilities =
        capabilities.into_iter().filter_map(|(has, capability)| has.then_some(capability)).collect();
    Open::new(asn, hold_time, Ipv4Addr::new(10, 0, 0, last), capabilities)
}

/// Some of the prefixes that [`Piece::Update`](super::input::Piece::Update) announces, and others.
pub(super) fn watched(which: u8) -> Watched {
    let announced = (0..4).filter(|last| which & 1 << last != 0);
    let announced = announced.map(|last| IpNet::from(IpAddr::from([203, 0, 113, last])));
    let [v4, v6] = ["198.51.100.0/24", "2001:db8::/32"].map(|prefix| prefix.parse().expect("a prefix"));
    announced.chain((which & 16 != 0).then_some(v4)).chain((which & 32 != 0).then_some(v6)).collect()
}

/// `count` host routes, with one MED or each with its own; of both families, and from another place, by `flags`.
pub(super) fn routes(count: u16, med: u8, flags: u8) -> Routes {
    let flag = |bit: u8| flags & 1 << bit != 0;
    let first = if flag(0) { count / 2 } else { 0 };
    let prefixes = (first..first + count).map(|number| {
        let [high, low] = number.to_be_bytes();
        let address: IpAddr = if flag(1) && number % 2 == 1 {
            Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 1, number).into()
        } else {
            Ipv4Addr::new(192, 0, high, low).into()
        };
        let med = u32::from(med) + if flag(2) { u32::from(number) } else { 0 };
        let attributes =
            RouteAttributes { med: Some(med), as_path_prepend: flags >> 4, ..RouteAttributes::default() };
        (IpNet::from(address), Arc::new(attributes))
    });
    prefixes.collect()
}
