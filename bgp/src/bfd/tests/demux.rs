//! Which session a packet is for, and why it is for none.

use std::net::IpAddr;

use super::support::{OURS, theirs};
use crate::bfd::{Arrival, Demux, Discard, Hops, Packet, Path, State};

const REMOTE: &str = "10.0.0.1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn path(remote: &str) -> Path {
    Path { remote: ip(remote), local: None, interface: None, hops: Hops::Single }
}

fn arrival(source: &str) -> Arrival {
    Arrival {
        source: ip(source),
        destination: Some(ip("10.0.0.2")),
        interface: Some(7),
        ttl: 255,
        multihop: false,
    }
}

/// A packet that knows our discriminator, and one that does not.
fn packets() -> [Packet; 2] {
    [theirs(State::Up), Packet { your_discriminator: None, ..theirs(State::Down) }]
}

#[test]
fn a_packet_finds_its_session_by_discriminator_or_by_address() {
    let mut demux = Demux::new();
    demux.insert(OURS, 'a', path(REMOTE));
    demux.insert(77.try_into().unwrap(), 'b', path("10.0.0.3"));
    let [known, unknown] = packets();
    assert_eq!(demux.find(&known, &arrival(REMOTE)), Ok('a'));
    assert_eq!(demux.find(&unknown, &arrival(REMOTE)), Ok('a'));
    assert_eq!(demux.find(&unknown, &arrival("10.0.0.3")), Ok('b'));
    assert_eq!(demux.find(&unknown, &arrival("10.0.0.4")), Err(Discard::NoSession));
    assert_eq!(demux.find(&known, &arrival("10.0.0.3")), Err(Discard::WrongSource));
    let stale = Packet { your_discriminator: Some(78.try_into().unwrap()), ..known };
    assert_eq!(demux.find(&stale, &arrival(REMOTE)), Err(Discard::UnknownDiscriminator));
    assert_eq!(demux.blame(&arrival(REMOTE)), Some('a'));
    demux.remove(OURS);
    assert!(!demux.contains(OURS));
    assert_eq!(demux.find(&known, &arrival(REMOTE)), Err(Discard::UnknownDiscriminator));
    assert_eq!(demux.find(&unknown, &arrival(REMOTE)), Err(Discard::NoSession));
}

#[test]
fn a_session_that_leaves_makes_room_for_its_successor() {
    let mut demux = Demux::new();
    demux.insert(OURS, 'a', path(REMOTE));
    demux.unlist('a');
    demux.insert(77.try_into().unwrap(), 'b', path(REMOTE));
    let [known, unknown] = packets();
    assert_eq!(demux.find(&known, &arrival(REMOTE)), Ok('a'));
    assert_eq!(demux.find(&unknown, &arrival(REMOTE)), Ok('b'));
}

#[test]
fn a_packet_must_come_the_way_that_the_session_goes() {
    let wanted = Path { local: Some(ip("10.0.0.2")), interface: Some(7), ..path(REMOTE) };
    let mut demux = Demux::new();
    demux.insert(OURS, 'a', wanted);
    let here = arrival(REMOTE);
    for packet in packets() {
        assert_eq!(demux.find(&packet, &here), Ok('a'));
        for elsewhere in [
            Arrival { interface: Some(8), ..here },
            Arrival { interface: None, ..here },
            Arrival { destination: Some(ip("10.0.0.9")), ..here },
        ] {
            let reason =
                if packet.your_discriminator.is_some() { Discard::WrongPath } else { Discard::NoSession };
            assert_eq!(demux.find(&packet, &elsewhere), Err(reason), "{elsewhere:?}");
        }
    }
}

#[test]
fn the_same_link_local_address_on_two_interfaces_is_two_sessions() {
    let mut demux = Demux::new();
    let on = |interface| Path { interface: Some(interface), ..path("fe80::1") };
    demux.insert(OURS, 'a', on(7));
    demux.insert(77.try_into().unwrap(), 'b', on(8));
    let [_, unknown] = packets();
    assert_eq!(demux.find(&unknown, &arrival("fe80::1")), Ok('a'));
    assert_eq!(demux.find(&unknown, &Arrival { interface: Some(8), ..arrival("fe80::1") }), Ok('b'));
}

#[test]
fn the_session_that_asks_for_most_comes_first() {
    let mut demux = Demux::new();
    demux.insert(77.try_into().unwrap(), 'b', Path { local: Some(ip("10.0.0.2")), ..path(REMOTE) });
    demux.insert(OURS, 'a', path(REMOTE));
    let [_, unknown] = packets();
    assert_eq!(demux.find(&unknown, &arrival(REMOTE)), Ok('b'));
    assert_eq!(
        demux.find(&unknown, &Arrival { destination: Some(ip("10.0.0.9")), ..arrival(REMOTE) }),
        Ok('a')
    );
}

#[test]
fn a_ttl_that_is_too_low_drops_and_the_session_to_blame_is_known() {
    let mut demux = Demux::new();
    demux.insert(OURS, 'a', path(REMOTE));
    for packet in packets() {
        let far = Arrival { ttl: 254, ..arrival(REMOTE) };
        assert_eq!(demux.find(&packet, &far), Err(Discard::Ttl));
        assert_eq!(demux.blame(&far), Some('a'));
    }
}

#[test]
fn single_hop_and_multihop_sessions_with_one_address_never_mix() {
    let mut demux = Demux::new();
    demux.insert(OURS, 'm', Path { hops: Hops::Multi { min_ttl: 253 }, ..path(REMOTE) });
    demux.insert(77.try_into().unwrap(), 's', path(REMOTE));
    let multihop = Arrival { multihop: true, ttl: 253, ..arrival(REMOTE) };
    let [known, unknown] = packets();
    assert_eq!(demux.find(&known, &multihop), Ok('m'));
    assert_eq!(demux.find(&known, &arrival(REMOTE)), Err(Discard::WrongPort));
    assert_eq!(demux.find(&unknown, &multihop), Ok('m'));
    assert_eq!(demux.find(&unknown, &arrival(REMOTE)), Ok('s'));
    for packet in packets() {
        assert_eq!(demux.find(&packet, &Arrival { ttl: 252, ..multihop }), Err(Discard::Ttl));
    }
}
