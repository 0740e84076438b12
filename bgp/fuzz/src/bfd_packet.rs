//! A BFD packet: dropped by the rule that it breaks, or encoded to the same octets again.

use std::net::{IpAddr, Ipv4Addr};

use vipcast_bgp::bfd::{Arrival, Demux, Discard, Hops, PACKET_LEN, Packet, Path, State, iana};

const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// A UDP payload.
pub fn bfd_packet(data: &[u8]) {
    let decoded = Packet::decode(data);
    assert_eq!(decoded.err(), broken_rule(data));
    let Ok(packet) = decoded else { return };
    let octets = packet.encode();
    assert_eq!(Packet::decode(&octets), Ok(packet));
    let [first, second, third, _length, rest @ ..] = octets;
    assert_eq!([first, second, third], data[..3]);
    assert_eq!(rest, data[4..PACKET_LEN]);
    assert!(packet.diagnostic.to_string().len() < 40);
    find(&packet);
}

pub(crate) fn from_message(_message: &[u8]) -> Vec<Vec<u8>> {
    Vec::new()
}

/// RFC 5880 §6.8.6 once more, in the words of that section.
fn broken_rule(data: &[u8]) -> Option<Discard> {
    let zero = |from: usize| data[from..from + 4] == [0; 4];
    if data.len() < PACKET_LEN {
        return Some(Discard::Truncated);
    }
    let (length, flags, state) = (usize::from(data[3]), data[1] & 0x3F, data[1] >> 6);
    let authenticated = flags & iana::flag::AUTHENTICATION != 0;
    let rules = [
        (data[0] >> 5 != 1, Discard::Version),
        (length < if authenticated { 26 } else { 24 }, Discard::LengthTooShort),
        (length > data.len(), Discard::LengthBeyondPayload),
        (data[2] == 0, Discard::ZeroMultiplier),
        (flags & iana::flag::MULTIPOINT != 0, Discard::Multipoint),
        (zero(4), Discard::ZeroMyDiscriminator),
        (zero(8) && state > 1, Discard::ZeroYourDiscriminator),
        (authenticated, Discard::Authentication),
    ];
    rules.into_iter().find(|(broken, _)| *broken).map(|(_, discard)| discard)
}

/// A session is found by the packet's discriminator or path, and never by a packet of another path.
fn find(packet: &Packet) {
    let path = Path { remote: REMOTE, local: None, interface: Some(7), hops: Hops::Single };
    let here =
        Arrival { source: REMOTE, destination: None, interface: Some(7), ttl: iana::TTL, multihop: false };
    let mut demux = Demux::new();
    let ours = packet.your_discriminator.unwrap_or(packet.my_discriminator);
    demux.insert(ours, (), path);
    assert_eq!(demux.find(packet, &here), Ok(()));
    let elsewhere = [
        Arrival { source: Ipv4Addr::new(10, 0, 0, 3).into(), ..here },
        Arrival { interface: Some(8), ..here },
        Arrival { ttl: iana::TTL - 1, ..here },
        Arrival { multihop: true, ..here },
    ];
    for arrival in elsewhere {
        assert!(demux.find(packet, &arrival).is_err(), "{arrival:?}");
    }
    demux.unlist(());
    assert_eq!(demux.find(packet, &here).is_ok(), packet.your_discriminator.is_some());
    demux.remove(ours);
    assert!(demux.find(packet, &here).is_err());
    assert!(packet.your_discriminator.is_some() || matches!(packet.state, State::AdminDown | State::Down));
}
