//! The pause of a hand-over within one process: 200 peers with 5,000 routes, and 200 sessions of BFD.
//!
//! ```text
//! cargo bench -p vipcast-bgp --bench hand_over
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and says what it found"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vipcast_bgp::bfd::{SessionSettings, State as BfdState};
use vipcast_bgp::frozen::{BfdThread, Speaker as FrozenSpeaker};
use vipcast_bgp::fsm::Liveness;
use vipcast_bgp::net::bfd::{Bfd, Options};
use vipcast_bgp::net::{Descriptors, PeerHandle, Resume, Speaker, Thawed};
use vipcast_bgp::transport::PeerAddress;
use vipcast_bgp::wire::Asn;
use vipcast_bgp::{ConnectMode, HoldTime, NextHops, PeerConfig, RouteAttributes, Routes, State, Version};

const PEERS: u8 = 200;
const ROUTES: u32 = 5_000;
const ROUNDS: usize = 10;

fn settings(local: u32, peer: u32, mode: ConnectMode) -> PeerConfig {
    PeerConfig {
        mode,
        hold_time: HoldTime::from_secs(240).unwrap(),
        next_hops: NextHops { v4: Some(Ipv4Addr::new(10, 0, 0, 1)), v6: None },
        ..PeerConfig::new(Asn(local), Asn(peer), Ipv4Addr::from(local))
    }
}

fn main() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(peers());
    bfd();
}

async fn peers() {
    let (mut there, _events, _notices) = Speaker::new();
    let remote = there.listen((Ipv4Addr::new(127, 8, 0, 1), 0).into()).unwrap();
    let source = |number: u8| IpAddr::from([127, 8, 1, number]);
    let their_peer = |number| PeerAddress { remote: (source(number), 1).into(), source: None };
    let theirs: Vec<PeerHandle> = (1..=PEERS)
        .map(|number| there.add_peer(their_peer(number), settings(65002, 65001, ConnectMode::Passive)))
        .collect();
    let (mut speaker, mut events, _notices) = Speaker::new();
    let address = |number| PeerAddress { remote, source: Some(source(number)) };
    let ours = || settings(65001, 65002, ConnectMode::Active);
    let mut handles: BTreeMap<u64, PeerHandle> =
        (1..=PEERS).map(|number| (number.into(), speaker.add_peer(address(number), ours()))).collect();
    let attributes: Vec<_> = (0..10)
        .map(|med| Arc::new(RouteAttributes { med: Some(med), ..RouteAttributes::default() }))
        .collect();
    let routes: Routes = (0..ROUTES)
        .map(|n| {
            (
                IpNet::from(IpAddr::from(Ipv4Addr::from(0xC633_0000 + n))),
                Arc::clone(&attributes[n as usize % 10]),
            )
        })
        .collect();
    for handle in handles.values() {
        handle.advertise(Version(1), routes.clone());
    }
    let has_all = |handle: &PeerHandle| handle.status().counters.prefixes_received == u64::from(ROUTES);
    while !theirs.iter().all(has_all) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut best = [Duration::MAX; 4];
    let mut size = 0;
    for _ in 0..ROUNDS {
        // The peers on the other side run in this thread.
        tokio::time::sleep(Duration::from_millis(200)).await;
        while events.try_recv().is_ok() {}
        let mut descriptors = Descriptors::new();
        let begin = Instant::now();
        let form =
            speaker.freeze(handles.iter_mut().map(|(id, handle)| (*id, handle)), &mut descriptors).await;
        let freeze = begin.elapsed();
        let text = serde_json::to_vec(&form).unwrap();
        let write = begin.elapsed() - freeze;
        size = text.len();
        let form: FrozenSpeaker = serde_json::from_slice(&text).unwrap();
        let parse = begin.elapsed() - freeze - write;
        let resume = |number: u8| Resume {
            id: number.into(),
            transport: address(number).into(),
            config: ours(),
            liveness: Liveness::Unknown,
        };
        let thawed = Speaker::thaw(&form, &mut descriptors, (1..=PEERS).map(resume).collect()).unwrap();
        let thaw = begin.elapsed() - freeze - write - parse;
        let Thawed { speaker: next, events: told, handles: going_on, .. } = thawed;
        (speaker, events, handles) = (next, told, going_on);
        for (best, time) in best.iter_mut().zip([freeze, write, parse, thaw]) {
            *best = time.min(*best);
        }
    }
    assert!(theirs.iter().all(|handle| handle.status().state == State::Established && has_all(handle)));
    assert!(theirs.iter().all(|handle| handle.status().counters.established == 1));
    let [freeze, write, parse, thaw] = best.map(|time| time.as_micros());
    println!(
        "{PEERS} peers, {ROUTES} routes: {freeze} µs freeze, {write} µs write, {parse} µs read, {thaw} µs thaw; {size} bytes of JSON"
    );
}

/// Nobody answers, because two drivers cannot share a port of one address; all sessions have sockets.
fn bfd() {
    let options = Options { listen_v4: Ipv4Addr::new(127, 8, 2, 1), priority: None, ..Options::default() };
    let (mut bfd, _events) = Bfd::start(options).unwrap();
    let session = |number: u8| {
        let settings = SessionSettings::new([127, 8, 3, number].into());
        (Arc::from(format!("peer-{number}")), settings)
    };
    bfd.set((1..=PEERS).map(session).collect());
    while bfd.report().unwrap().sessions.values().any(|session| session.status.counters.transmitted == 0) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut best = [Duration::MAX; 3];
    let mut size = 0;
    for _ in 0..ROUNDS {
        let mut descriptors = Descriptors::new();
        let begin = Instant::now();
        let form = bfd.freeze(&mut descriptors).unwrap();
        let freeze = begin.elapsed();
        let text = serde_json::to_vec(&form).unwrap();
        size = text.len();
        let form: BfdThread = serde_json::from_slice(&text).unwrap();
        let words = begin.elapsed() - freeze;
        (bfd, _) = Bfd::thaw(options, &form, Vec::new(), &mut descriptors).unwrap();
        let thaw = begin.elapsed() - freeze - words;
        for (best, time) in best.iter_mut().zip([freeze, words, thaw]) {
            *best = time.min(*best);
        }
    }
    assert!(bfd.report().unwrap().sessions.values().all(|session| session.status.state == BfdState::Down));
    let [freeze, words, thaw] = best.map(|time| time.as_micros());
    println!(
        "{PEERS} sessions of BFD: {freeze} µs freeze, {words} µs write and read, {thaw} µs thaw; {size} bytes"
    );
}
