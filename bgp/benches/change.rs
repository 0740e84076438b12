//! The cost of one change among many routes: the change of the caller's set, and the session's UPDATE for it; then the
//! same through the machines of two peers, with the acknowledgement and a status after each input, as the drivers do
//! it.
//!
//! ```text
//! cargo bench -p vipcast-bgp --bench change
//! ```
//!
//! In instructions, for one number of routes:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*::change_rib' target/release/deps/change-… 10000
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and says what it found"
)]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use ipnet::IpNet;
use vipcast_bgp::adj_rib_out::{AdjRibOut, Egress};
use vipcast_bgp::fsm::{Endpoints, Input, Output, Peer, SendQueue};
use vipcast_bgp::wire::{Asn, Capability, Family, Message, Open, SessionContext};
use vipcast_bgp::{
    ConnectMode, Extent, Instant, NextHop, PeerConfig, PeerStatus, RouteAttributes, Routes, SessionNextHops,
    Version,
};

/// Changes in each measurement.
const CHANGES: u32 = 1_000;
const ROUNDS: u32 = 5;
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER_AS: Asn = Asn(65000);

fn main() {
    let asked: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let counts = if asked.is_empty() { vec![10, 1_000, 100_000] } else { asked };
    for count in counts {
        let mut rib = Rib::new(count);
        let rib = (0..ROUNDS).map(|_| measure(count, |n| change_rib(&mut rib, n))).min().unwrap();
        let mut node = Node::new(count);
        let node = (0..ROUNDS).map(|_| measure(count, |n| change_node(&mut node, n))).min().unwrap();
        println!("{count:7} routes: {rib:9} ns through one rib, {node:9} ns through two peers");
    }
}

/// Nanoseconds of one change.
fn measure(count: u32, mut change: impl FnMut(u32)) -> u128 {
    let begin = std::time::Instant::now();
    for n in 0..CHANGES {
        // Every second change restores the prefix that the change before removed.
        change((n / 2).wrapping_mul(7_919) % count);
    }
    begin.elapsed().as_nanos() / u128::from(CHANGES)
}

struct Rib {
    routes: Routes,
    route: Arc<RouteAttributes>,
    rib: AdjRibOut,
}

impl Rib {
    fn new(count: u32) -> Self {
        let next_hops = SessionNextHops { v4: Some(NextHop::V4(OURS)), v6: None };
        let mut rib = AdjRibOut::new(Egress {
            families: BTreeSet::from([Family::IPV4_UNICAST]),
            context: SessionContext::external(),
            local_as: Asn(65001),
            next_hops,
            role: None,
            med: None,
            export: Default::default(),
        });
        let (routes, route) = routes(count);
        rib.set(&routes);
        while rib.next_update().is_some() {}
        Self { routes, route, rib }
    }
}

/// Changes the set, and makes the UPDATE.
#[inline(never)]
fn change_rib(Rib { routes, route, rib }: &mut Rib, n: u32) {
    toggle(routes, route, n);
    rib.set(routes);
    while let Some(update) = rib.next_update() {
        black_box(update);
    }
}

struct Node {
    routes: Routes,
    route: Arc<RouteAttributes>,
    version: u64,
    peers: Vec<(Peer, PeerStatus)>,
    now: Instant,
}

impl Node {
    fn new(count: u32) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let (routes, route) = routes(count);
        let peers =
            (0..2).map(|_| peer(now)).map(|peer| (peer.status(now), peer)).map(|(a, b)| (b, a)).collect();
        let mut node = Self { routes, route, version: 0, peers, now };
        node.advertise();
        node
    }

    fn advertise(&mut self) {
        self.version += 1;
        for (peer, shown) in &mut self.peers {
            let set = Input::Advertise(Version(self.version), self.routes.clone(), Extent::Whole);
            let mut inputs = vec![set];
            while let Some(input) = inputs.pop() {
                for output in peer.handle(input, self.now) {
                    if let Output::Send { conn, bytes } = output {
                        let queue = SendQueue { unacknowledged: 0, retransmissions: 0, segment: 1460 };
                        inputs.extend([Input::Queue(conn, queue), Input::Sent(conn, bytes.len())]);
                    }
                }
                let status = peer.status(self.now);
                if *shown != status {
                    *shown = status;
                }
            }
            assert_eq!(shown.acknowledged, self.routes.len());
        }
    }
}

/// Changes the set, and tells two peers that acknowledge it.
#[inline(never)]
fn change_node(node: &mut Node, n: u32) {
    toggle(&mut node.routes, &node.route, n);
    node.advertise();
}

fn routes(count: u32) -> (Routes, Arc<RouteAttributes>) {
    let route = Arc::new(RouteAttributes::default());
    ((0..count).map(|n| (host(n), Arc::clone(&route))).collect(), route)
}

fn host(n: u32) -> IpNet {
    IpNet::from(IpAddr::from(Ipv4Addr::from(0xC000_0000 + n)))
}

fn toggle(routes: &mut Routes, route: &Arc<RouteAttributes>, n: u32) {
    if routes.remove(&host(n)).is_none() {
        routes.insert(host(n), Arc::clone(route));
    }
}

/// A peer with an Established session.
fn peer(now: Instant) -> Peer {
    let config = PeerConfig { mode: ConnectMode::Active, ..PeerConfig::new(Asn(65001), PEER_AS, OURS) };
    let mut peer = Peer::new(config);
    let outputs = peer.handle(Input::Start, now);
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
    for input in [Input::Dialled(*conn, ends)].into_iter().chain(received) {
        for output in peer.handle(input, now) {
            if let Output::Send { conn, bytes } = output {
                peer.handle(Input::Sent(conn, bytes.len()), now);
            }
        }
    }
    peer
}

fn encode(message: &Message) -> Bytes {
    message.encode(&SessionContext::external()).unwrap()
}
