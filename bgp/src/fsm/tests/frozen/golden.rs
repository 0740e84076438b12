//! Version 1 is read for ever, and each impossible field of it is refused by its name.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{heavy, rewritten, watched};
use crate::adj_rib_out::Export;
use crate::frozen::peer::{Connection, Phase, V1};
use crate::frozen::{self, Error, Octets};
use crate::fsm::Output;
use crate::fsm::tests::support::{Bench, config, encode, endpoints, routes, their_open, update};
use crate::fsm::{ConnectMode, Input, Peer, PeerConfig, PeerEvent, SendQueue, Tuning};
use crate::time::Instant;
use crate::wire::{Asn, Capability, Family, Message, RefreshKind, RouteRefresh};

/// Version 1, written by the first program that had it.
pub(super) const GOLDEN: &str = include_str!("v1.json");

pub(super) fn settings() -> PeerConfig {
    config(ConnectMode::Active)
}

/// Established for the second time; a full window, half a message, a path, a refresh, routes of every kind.
pub(super) fn golden() -> (Peer, Instant) {
    let mut bench = Bench::new(settings());
    bench.input(Input::Watch(watched(5)));
    bench.advertise(1, routes(10, 1));
    let outputs = bench.input(Input::Start);
    let [Output::Dial(conn)] = outputs.as_slice() else { panic!("{outputs:?}") };
    bench.input(Input::DialFailed(*conn, crate::fsm::DialError::Refused));
    let outputs = bench.tick();
    let [Output::Dial(conn)] = outputs.as_slice() else { panic!("{outputs:?}") };
    let conn = *conn;
    let mut open = their_open();
    open.capabilities.push(Capability::EnhancedRouteRefresh);
    let opened = bench.input(Input::Dialled(conn, endpoints()));
    let confirmed = bench.receive(conn, &Message::Open(open));
    let sent = bench.receive(conn, &Message::Keepalive);
    bench.acknowledge([opened, confirmed, sent].concat());
    bench.advance(Duration::from_secs(2));
    let Message::Update(mut heard) = update(1, 1) else { panic!("an UPDATE") };
    heard.nlri = vec!["192.0.0.1/32".parse().unwrap()];
    bench.receive(conn, &Message::Update(heard));
    bench.now += Duration::from_millis(300);
    bench.advertise(2, heavy(60, 2));
    bench.input(Input::Sent(conn, 1_000));
    bench.input(Input::Queue(conn, SendQueue { unacknowledged: 10, retransmissions: 1, segment: 1460 }));
    let tuning = bench.peer.config.tuning();
    bench.input(Input::Tune(Tuning { med: Some(3), export: Export::Leaving, ..tuning }));
    bench.receive(conn, &Message::RouteRefresh(RouteRefresh::new(Family::IPV4_UNICAST, RefreshKind::Begin)));
    let half = encode(&Message::Keepalive).slice(..11);
    bench.input(Input::Received(conn, half));
    bench.now += Duration::from_millis(1);
    (bench.peer, bench.now)
}

pub(super) fn thaw(frozen: &frozen::Peer, now: Instant) -> Result<Peer, Error> {
    Peer::thaw(settings(), frozen, heavy(60, 2), watched(5), now)
}

/// Write it anew with `VIPCAST_WRITE_FROZEN=1` only for a version that was never released.
#[test]
fn version_1_is_read_for_ever() {
    let (mut twin, now) = golden();
    let frozen = twin.freeze();
    if std::env::var_os("VIPCAST_WRITE_FROZEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/fsm/tests/frozen/v1.json");
        std::fs::write(path, serde_json::to_string(&frozen).unwrap() + "\n").unwrap();
        return;
    }
    let golden: frozen::Peer = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(golden, frozen);
    let mut thawed = thaw(&golden, now).unwrap();
    assert_eq!(thawed.status(now), twin.status(now));
    let (conn, _) = twin.endpoints().next().unwrap();
    let rest = encode(&Message::Keepalive).slice(11..);
    let mut inputs = vec![Input::Received(conn, rest), Input::Sent(conn, 64 * 1024), Input::Tick];
    inputs.push(Input::Received(conn, Bytes::from_static(&[0; 19])));
    let mut events = Vec::new();
    for input in inputs {
        let outputs = thawed.handle(input.clone(), now);
        assert_eq!(outputs, twin.handle(input, now));
        events.extend(outputs.into_iter().filter(|output| matches!(output, Output::Event(_))));
    }
    let [Output::Event(PeerEvent::Down { was_established: true, .. })] = events.as_slice() else {
        panic!("{events:?}")
    };
}

fn connection(v1: &mut V1) -> &mut Connection {
    &mut v1.connections[0]
}

fn established(
    v1: &mut V1,
) -> (&mut frozen::peer::Session, &mut frozen::peer::RibOut, &mut frozen::peer::RibIn) {
    match &mut connection(v1).phase {
        Phase::Established { session, rib, heard, .. } => (session, rib, heard),
        Phase::OpenSent { .. } | Phase::OpenConfirm { .. } => panic!("it is Established"),
    }
}

type Change = fn(&mut V1);

fn elsewhere() -> ipnet::IpNet {
    "10.1.0.0/16".parse().unwrap()
}

#[test]
fn each_impossible_field_is_refused_by_its_name() {
    let (peer, now) = golden();
    const LATER: Instant = Instant::from_nanos(3_600_000_000_000);
    let cases: [(Change, Error); 30] = [
        (|v| v.terms.peer_as = 1, Error::Setting("peer_as")),
        (|v| v.terms.hold_time = 90, Error::Setting("hold_time")),
        (|v| v.tuning.connect_retry = u64::MAX, Error::Range("connect_retry")),
        (|v| v.routes.hash ^= 1, Error::Set("routes")),
        (|v| v.watched.members += 1, Error::Set("watched prefixes")),
        (|v| v.backoff = u64::MAX, Error::Range("backoff")),
        (|v| v.last_id = 1, Error::Contradiction("connections.id")),
        (|v| v.last_id = u64::MAX, Error::Range("last_id")),
        (|v| v.running = false, Error::Contradiction("connections")),
        (|v| v.connections.push(v.connections[0].clone()), Error::Contradiction("connections")),
        (|v| v.retry_at = Some(Instant::from_nanos(u64::MAX)), Error::TooFar("retry_at")),
        (|v| v.since = Some(LATER), Error::Future("since")),
        (|v| v.last_down.as_mut().unwrap().at = LATER, Error::Future("down")),
        (|v| v.counters.updates_sent = u64::MAX, Error::Range("updates_sent")),
        (|v| connection(v).unsent = u64::MAX, Error::Contradiction("unsent")),
        (|v| connection(v).queued = Octets(vec![0; 100_000]), Error::Contradiction("queued")),
        (|v| connection(v).received = Octets(vec![255; 4096]), Error::Range("received")),
        (|v| connection(v).ask = [frozen::route::Family(1, 2)].into(), Error::Contradiction("ask")),
        (|v| connection(v).send_hold_until = Some(LATER), Error::TooFar("send_hold_until")),
        (|v| connection(v).delivery.look_after = 0, Error::Range("look_after")),
        (|v| connection(v).delivery.marks.reverse(), Error::Contradiction("marks")),
        (|v| established(v).0.hold_time = 10, Error::Contradiction("hold_time")),
        (|v| established(v).0.peer_as = 7, Error::Contradiction("peer_as")),
        (|v| established(v).0.families.clear(), Error::Contradiction("families")),
        (|v| established(v).1.attributes.clear(), Error::Range("behind")),
        (|v| established(v).1.behind.push((elsewhere(), None)), Error::Contradiction("behind")),
        (|v| established(v).1.resend.extend([elsewhere()]), Error::Contradiction("resend")),
        (|v| established(v).1.too_large.extend([elsewhere()]), Error::Contradiction("too_large")),
        (|v| established(v).2.paths[0].as_path = vec![1; 33], Error::Range("paths")),
        (|v| established(v).2.prefixes[0].0 = elsewhere(), Error::Contradiction("paths")),
    ];
    for (change, want) in cases {
        let frozen::Peer::V1(mut frozen) = peer.freeze();
        change(&mut frozen);
        assert_eq!(thaw(&frozen::Peer::V1(frozen), now).map(|_| ()), Err(want));
    }
    assert!(rewritten(&peer, now).freeze() == peer.freeze());
}

#[test]
fn a_setting_that_needs_a_new_session_or_another_set_is_refused() {
    let (peer, now) = golden();
    let frozen = peer.freeze();
    let thaw = |config, routes, watched| Peer::thaw(config, &frozen, routes, watched, now).map(|_| ());
    let other = PeerConfig { local_as: Asn(65009), ..settings() };
    assert_eq!(thaw(other, heavy(60, 2), watched(5)), Err(Error::Setting("local_as")));
    assert_eq!(thaw(settings(), heavy(60, 3), watched(5)), Err(Error::Set("routes")));
    assert_eq!(thaw(settings(), heavy(60, 2), Arc::default()), Err(Error::Set("watched prefixes")));
    let tuned = PeerConfig { med: Some(9), mode: ConnectMode::Both, ..settings() };
    assert_eq!(thaw(tuned, heavy(60, 2), watched(5)), Ok(()));
}

#[test]
fn another_version_and_a_cut_text_are_refused_with_a_reason() {
    let cases = [
        (GOLDEN.replace("{\"v1\"", "{\"v2\""), "unknown variant `v2`, expected `v1`"),
        (GOLDEN.replace("\"jitter\"", "\"luck\""), "unknown field `luck`"),
        (GOLDEN[..GOLDEN.len() / 2].to_owned(), "EOF while parsing"),
    ];
    for (text, want) in cases {
        let error = serde_json::from_str::<frozen::Peer>(&text).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}
