//! The number of routes a second that one peer takes in: whole messages in pieces of the driver's read size, through
//! framing, decoding and the machine, without a socket. Prints the best of several rounds of a million routes each.
//!
//! ```text
//! cargo bench -p vipcast-bgp --bench intake
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and says what it found"
)]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ipnet::{IpNet, Ipv4Net};
use vipcast_bgp::fsm::{Endpoints, Input, Output, Peer};
use vipcast_bgp::wire::{
    AsPath, Asn, Attribute, Capability, Community, Family, Message, Open, Origin, SessionContext, Update,
};
use vipcast_bgp::{PeerConfig, Watched};

const ROUTES: u32 = 1_000_000;
const ROUNDS: u32 = 7;
/// The size of one read of the driver.
const PIECE: usize = 16 * 1024;
const PEER_AS: Asn = Asn(65000);

fn main() {
    // Like a full table of the Internet: a few prefixes share an AS path.
    for (name, together) in [("800 routes an UPDATE", 800), ("4 routes an UPDATE", 4)] {
        let table = table(together);
        for (watching, length) in
            [("nothing watched", None), ("1,000 /32s", Some(32)), ("1,000 /24s", Some(24))]
        {
            let watched = Arc::new(length.map(watched).unwrap_or_default());
            let best = (0..ROUNDS).map(|_| intake(&table, &watched)).min().unwrap();
            println!(
                "{name:22} {watching:16} {:6.1} MB in {:6.1} ms: {:5.1} million routes/s",
                f64::from(u32::try_from(table.len()).unwrap()) / 1e6,
                best.as_secs_f64() * 1e3,
                f64::from(ROUTES) / best.as_secs_f64() / 1e6
            );
        }
    }
}

/// A thousand prefixes that are not in the table. With lengths of its routes, every route must be looked up.
fn watched(length: u8) -> Watched {
    let net = |n: u32| Ipv4Net::new(Ipv4Addr::from(0xC000_0000 + (n << 8)), length).unwrap();
    (0..1000).map(net).map(IpNet::V4).collect()
}

/// UPDATEs with [`ROUTES`] distinct prefixes, `together` in each.
fn table(together: u32) -> Bytes {
    let mut bytes = BytesMut::new();
    for first in (0..ROUTES).step_by(usize::try_from(together).unwrap()) {
        let net = |n: u32| Ipv4Net::new(Ipv4Addr::from(0x0100_0000 + (n << 8)), 24).unwrap();
        let far = Asn(100_000 + first % 70_000);
        let update = Update {
            attributes: vec![
                Attribute::Origin(Origin::Igp),
                Attribute::AsPath(AsPath::sequence([PEER_AS, Asn(3320), Asn(1299), far])),
                Attribute::NextHop(Ipv4Addr::new(10, 0, 0, 1)),
                Attribute::Communities((0..3_u16).map(|n| Community::new(3320, n)).collect()),
            ],
            nlri: (first..ROUTES.min(first + together)).map(net).collect(),
            ..Update::default()
        };
        bytes.extend_from_slice(&encode(&Message::Update(update)));
    }
    bytes.freeze()
}

fn intake(table: &Bytes, watched: &Arc<Watched>) -> Duration {
    let mut peer = Peer::new(PeerConfig::new(Asn(65001), PEER_AS, Ipv4Addr::new(10, 0, 0, 2)));
    let now = vipcast_bgp::Instant::BOOT;
    peer.handle(Input::Watch(Arc::clone(watched)), now);
    let outputs = peer.handle(Input::Start, now);
    let [Output::Dial(conn)] = outputs.as_slice() else { panic!("{outputs:?}") };
    let ends = Endpoints {
        local: ([10, 0, 0, 2], 40000).into(),
        remote: ([10, 0, 0, 1], 179).into(),
        interface_addresses: Vec::new(),
        local_is_service: false,
    };
    peer.handle(Input::Dialled(*conn, ends), now);
    let capabilities =
        vec![Capability::Multiprotocol(Family::IPV4_UNICAST), Capability::FourOctetAs(PEER_AS)];
    let open = Open::new(PEER_AS, 9, Ipv4Addr::new(10, 0, 0, 1), capabilities);
    peer.handle(Input::Received(*conn, encode(&Message::Open(open))), now);
    peer.handle(Input::Received(*conn, encode(&Message::Keepalive)), now);
    let begin = Instant::now();
    let mut rest = table.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(PIECE.min(rest.len()));
        peer.handle(Input::Received(*conn, piece), now);
        // The driver takes a status after every input.
        std::hint::black_box(peer.status(now));
    }
    let took = begin.elapsed();
    assert_eq!(peer.status(now).counters.prefixes_received, u64::from(ROUTES));
    took
}

fn encode(message: &Message) -> Bytes {
    message.encode(&SessionContext::external()).unwrap()
}
