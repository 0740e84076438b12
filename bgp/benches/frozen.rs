//! Freeze and thaw of a session with 5,000 routes: once in step with the desired set, once with every route behind.
//!
//! ```text
//! cargo bench -p vipcast-bgp --bench frozen
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and says what it found"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use vipcast_bgp::fsm::{Endpoints, Input, Output, Peer};
use vipcast_bgp::wire::{Asn, Capability, Family, Message, Open, SessionContext};
use vipcast_bgp::{ConnectMode, Extent, Instant, PeerConfig, RouteAttributes, Routes, Version, frozen};

const ROUTES: u32 = 5_000;
const ROUNDS: u32 = 20;
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER_AS: Asn = Asn(65000);
const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn main() {
    for (name, sent) in [("in step", true), ("behind", false)] {
        let (peer, routes) = peer(sent);
        let mut best = [Duration::MAX; 4];
        let mut size = 0;
        for _ in 0..ROUNDS {
            let begin = std::time::Instant::now();
            let frozen = peer.freeze();
            let freeze = begin.elapsed();
            let text = serde_json::to_vec(&frozen).unwrap();
            let write = begin.elapsed() - freeze;
            let read: frozen::Peer = serde_json::from_slice(&text).unwrap();
            let parse = begin.elapsed() - freeze - write;
            let thawed =
                Peer::thaw(peer.config().clone(), &read, routes.clone(), Arc::default(), NOW).unwrap();
            let thaw = begin.elapsed() - freeze - write - parse;
            assert_eq!(thawed.status(NOW).advertised, peer.status(NOW).advertised);
            size = text.len();
            for (best, time) in best.iter_mut().zip([freeze, write, parse, thaw]) {
                *best = time.min(*best);
            }
        }
        let [freeze, write, parse, thaw] = best.map(|time| time.as_micros());
        println!(
            "{ROUTES} routes {name}: {freeze} µs freeze, {write} µs write, {parse} µs read, {thaw} µs thaw; {size} bytes of JSON"
        );
    }
}

/// A peer with an Established session: it has all routes, or none of them.
fn peer(sent: bool) -> (Peer, Routes) {
    let config = PeerConfig { mode: ConnectMode::Active, ..PeerConfig::new(Asn(65001), PEER_AS, OURS) };
    let mut peer = Peer::new(config);
    let outputs = peer.handle(Input::Start, NOW);
    let [Output::Dial(conn)] = outputs.as_slice() else { panic!("{outputs:?}") };
    let ends = Endpoints {
        local: (OURS, 40000).into(),
        remote: (THEIRS, 179).into(),
        interface_addresses: Vec::new(),
        local_is_service: false,
    };
    let capabilities =
        vec![Capability::Multiprotocol(Family::IPV4_UNICAST), Capability::FourOctetAs(PEER_AS)];
    let open = Message::Open(Open::new(PEER_AS, 9, THEIRS, capabilities));
    let received = [open, Message::Keepalive].map(|message| Input::Received(*conn, encode(&message)));
    let shared = Arc::new(RouteAttributes::default());
    let host = |n| IpNet::from(IpAddr::from(Ipv4Addr::from(0xC000_0000 + n)));
    let routes: Routes = (0..ROUTES)
        .map(|n| {
            // Attributes of their own fill the window long before the last route.
            let own = || Arc::new(RouteAttributes { med: Some(n), ..RouteAttributes::default() });
            (host(n), if sent { Arc::clone(&shared) } else { own() })
        })
        .collect();
    let set = Input::Advertise(Version(1), routes.clone(), Extent::Whole);
    for input in [Input::Dialled(*conn, ends)].into_iter().chain(received).chain([set]) {
        for output in peer.handle(input, NOW) {
            if let (Output::Send { conn, bytes }, true) = (output, sent) {
                peer.handle(Input::Sent(conn, bytes.len()), NOW);
            }
        }
    }
    (peer, routes)
}

fn encode(message: &Message) -> Bytes {
    message.encode(&SessionContext::external()).unwrap()
}
