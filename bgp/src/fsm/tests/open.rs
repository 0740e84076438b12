//! OPENs good and bad, and the messages that end a connection.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bytes::Bytes;

use super::support::{
    Bench, LOCAL_AS, LOCAL_ID, PEER_AS, PEER_ID, config, decode, encode, endpoints, routes, show, their_open,
    their_open_with_hold,
};
use crate::fsm::{
    CloseReason, ConnectMode, DownReason, Input, Offer, Output, Peer, PeerConfig, PeerEvent, Session, State,
};
use crate::wire::iana::notification::cease;
use crate::wire::{Asn, Capability, Family, Message, Notification, Open, RefreshKind, RouteRefresh};

fn at_open_sent() -> (Bench, crate::fsm::ConnId) {
    Bench::at(State::OpenSent, ConnectMode::Both)
}

#[test]
fn our_open_says_what_is_configured() {
    let mut bench = Bench::new(config(ConnectMode::Passive));
    bench.input(Input::Start);
    let (_, outputs) = bench.accept();
    let [Output::Send { bytes, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    let capabilities = vec![
        Capability::Multiprotocol(Family::IPV4_UNICAST),
        Capability::Multiprotocol(Family::IPV6_UNICAST),
        Capability::FourOctetAs(LOCAL_AS),
        Capability::RouteRefresh,
        Capability::EnhancedRouteRefresh,
    ];
    assert_eq!(decode(bytes), [Message::Open(Open::new(LOCAL_AS, 9, LOCAL_ID, capabilities))]);
}

#[test]
fn a_bad_open_is_refused_with_the_notification_for_its_fault() {
    let families = [Family::IPV4_UNICAST, Family::IPV6_UNICAST].map(Capability::Multiprotocol);
    let flowspec = Capability::Multiprotocol(Family::new(crate::wire::Afi::IPV4, crate::wire::Safi(133)));
    let cases: [(&str, Open, Notification); 4] = [
        (
            "another AS",
            Open::new(Asn(65009), 90, PEER_ID, their_open().capabilities.into_iter().take(2).collect()),
            Notification::new(2, 2, Bytes::new()),
        ),
        ("no hold time", their_open_with_hold(0), Notification::new(2, 6, Bytes::new())),
        (
            "no common family",
            Open::new(PEER_AS, 90, PEER_ID, vec![flowspec]),
            Notification::unsupported_capability(&families).unwrap(),
        ),
        ("AS 0", Open::new(Asn(0), 90, PEER_ID, Vec::new()), Notification::new(2, 2, Bytes::new())),
    ];
    for (what, open, want) in cases {
        let (mut bench, conn) = at_open_sent();
        let outputs = bench.receive(conn, &Message::Open(open));
        let down = PeerEvent::Down { reason: DownReason::Sent(want.clone()), was_established: false };
        let bytes = encode(&Message::Notification(want));
        assert_eq!(
            outputs,
            [Output::Send { conn, bytes }, Output::Close(conn), Output::Event(down)],
            "{what}: {}",
            show(&outputs)
        );
    }
}

#[test]
fn octets_that_make_no_open_are_refused_with_their_notification() {
    // Offsets behind the header of 19 octets: version 0, AS 1, hold time 3, identifier 5, parameters 9.
    let cases: [(&str, usize, &[u8], Notification); 5] = [
        ("version 3", 0, &[3], Notification::new(2, 1, Bytes::from_static(&[0, 4]))),
        ("hold time 2", 3, &[0, 2], Notification::new(2, 6, Bytes::new())),
        ("identifier 0.0.0.0", 5, &[0, 0, 0, 0], Notification::new(2, 3, Bytes::new())),
        ("an optional parameter 1", 10, &[1], Notification::new(2, 4, Bytes::new())),
        ("parameters longer than the message", 9, &[200], Notification::new(2, 0, Bytes::new())),
    ];
    for (what, at, octets, want) in cases {
        let (mut bench, conn) = at_open_sent();
        let mut bytes = encode(&Message::Open(their_open())).to_vec();
        bytes[19 + at..19 + at + octets.len()].copy_from_slice(octets);
        let outputs = bench.input(Input::Received(conn, bytes.into()));
        let sent = encode(&Message::Notification(want));
        assert_eq!(outputs.first(), Some(&Output::Send { conn, bytes: sent }), "{what}: {}", show(&outputs));
        assert_eq!(outputs.get(1), Some(&Output::Close(conn)), "{what}");
    }
}

/// RFC 6286 §2.2.
#[test]
fn our_own_identifier_is_refused_inside_our_as_only() {
    let internal = PeerConfig::new(LOCAL_AS, LOCAL_AS, LOCAL_ID);
    let external = PeerConfig::new(LOCAL_AS, PEER_AS, LOCAL_ID);
    for (config, want) in [(internal, "send 1 2/3"), (external, "send 1 KEEPALIVE")] {
        let peer_as = config.peer_as;
        let mut bench = Bench::new(config);
        bench.input(Input::Start);
        let conn = crate::fsm::ConnId(1);
        bench.input(Input::Dialled(conn, endpoints()));
        let capabilities = vec![Capability::Multiprotocol(Family::IPV4_UNICAST)];
        let outputs = bench.receive(conn, &Message::Open(Open::new(peer_as, 90, LOCAL_ID, capabilities)));
        assert_eq!(show(&outputs[..1]), want);
    }
}

#[test]
fn a_session_is_the_least_that_both_sides_offer() {
    let both = BTreeSet::from([Family::IPV4_UNICAST, Family::IPV6_UNICAST]);
    let v4 = BTreeSet::from([Family::IPV4_UNICAST]);
    let full = Session {
        peer_router_id: PEER_ID,
        peer_as: PEER_AS,
        hold_time: 9,
        families: both,
        four_octet_as: true,
        route_refresh: true,
        enhanced_route_refresh: false,
        extended_next_hop: false,
        peer_role: None,
        graceful_restart: None,
    };
    let bare = Session { families: v4, four_octet_as: false, route_refresh: false, ..full.clone() };
    let cases = [
        (their_open(), full.clone()),
        (their_open_with_hold(3), Session { hold_time: 3, ..full.clone() }),
        (
            Open::new(PEER_AS, 90, PEER_ID, [their_open().capabilities, their_open().capabilities].concat()),
            full,
        ),
        // RFC 4760 §8: no multiprotocol capability means IPv4 unicast.
        (Open::new(PEER_AS, 90, PEER_ID, Vec::new()), bare),
    ];
    for (open, want) in cases {
        let (mut bench, conn) = at_open_sent();
        bench.receive(conn, &Message::Open(open));
        assert_eq!(bench.peer.status(bench.now).session, Some(want.clone()));
        let outputs = bench.receive(conn, &Message::Keepalive);
        assert_eq!(outputs[0], Output::Event(PeerEvent::Established(want)));
    }
}

#[test]
fn messages_arrive_in_any_pieces() {
    let whole = [Message::Open(their_open()), Message::Keepalive, super::support::update(1, 5)];
    let stream: Vec<u8> = whole.iter().flat_map(|message| encode(message).to_vec()).collect();
    for size in [1, 2, 18, 19, 20, stream.len()] {
        let (mut bench, conn) = at_open_sent();
        for piece in stream.chunks(size) {
            bench.input(Input::Received(conn, Bytes::copy_from_slice(piece)));
        }
        assert_eq!(bench.state(), State::Established, "in pieces of {size}");
        assert_eq!(bench.peer.status(bench.now).counters.prefixes_received, 5);
    }
}

#[test]
fn nothing_behind_a_fatal_message_is_read() {
    let (mut bench, conn) = at_open_sent();
    let mut stream = encode(&Message::Keepalive).to_vec();
    stream.extend_from_slice(&encode(&Message::Open(their_open())));
    let outputs = bench.input(Input::Received(conn, stream.into()));
    assert_eq!(
        show(&outputs),
        "send 1 5/1, close 1, Down (we sent Finite State Machine Error / Receive Unexpected Message in OpenSent State)"
    );
}

#[test]
fn stop_says_goodbye_on_every_connection_and_stays_idle() {
    let (mut bench, _) = at_open_sent();
    bench.accept();
    let outputs = bench.input(Input::Stop(Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN, "reboot")));
    let down = "Down (stopped: Cease / Administrative Shutdown: \"reboot\")";
    assert_eq!(
        show(&outputs),
        format!("send 1 6/2 \"reboot\", close 1, {down}, send 2 6/2 \"reboot\", close 2, {down}")
    );
    assert_eq!((bench.state(), bench.peer.deadline()), (State::Idle, None));
    assert_eq!(show(&bench.input(Input::Start)), "dial 3", "it can be started again");
}

#[test]
fn modes_decide_who_dials_and_who_accepts() {
    let cases = [
        (ConnectMode::Both, "dial 1", "send 2 OPEN"),
        (ConnectMode::Active, "dial 1", "send 2 6/5, close 2"),
        (ConnectMode::Passive, "", "send 1 OPEN"),
    ];
    for (mode, start, accept) in cases {
        let mut bench = Bench::new(config(mode));
        assert_eq!(show(&bench.input(Input::Start)), start, "{mode:?}");
        assert_eq!(show(&bench.accept().1), accept, "{mode:?}");
    }
}

#[test]
fn a_link_local_address_is_no_next_hop() {
    let ends = |local: &str, beside: &[&str]| crate::fsm::Endpoints {
        local: (local.parse::<std::net::IpAddr>().unwrap(), 179).into(),
        remote: ([10, 0, 0, 1], 179).into(),
        interface_addresses: beside.iter().map(|address| address.parse().unwrap()).collect(),
        local_is_service: false,
    };
    let hops = ends("fe80::1", &["2001:db8::1", "10.0.0.2"]).next_hops();
    assert_eq!((hops.v4, hops.v6), (Some(Ipv4Addr::new(10, 0, 0, 2)), Some("2001:db8::1".parse().unwrap())));
    assert_eq!(ends("fe80::1", &["169.254.0.1"]).next_hops(), crate::NextHops::default());
}

#[test]
fn a_million_prefixes_leave_nothing_but_counters() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    let chunk: Vec<u8> = (0..4).flat_map(|n| encode(&super::support::update(n, 800)).to_vec()).collect();
    let chunk = Bytes::from(chunk);
    let size = |peer: &Peer| format!("{:?}", peer.connections).len();
    bench.input(Input::Received(conn, chunk.clone()));
    let before = size(&bench.peer);
    for _ in 1..313 {
        assert_eq!(bench.input(Input::Received(conn, chunk.clone())), []);
        let held = bench.peer.connections[0].input_capacity();
        assert!(held <= chunk.len() + 4096, "{held} octets of input buffer");
    }
    assert_eq!(bench.peer.status(bench.now).counters.prefixes_received, 1_001_600);
    assert_eq!(size(&bench.peer), before);
}

/// RFC 5492 §3: once without optional capabilities, once without any, then again from the start.
#[test]
fn a_peer_that_refuses_capabilities_is_asked_for_less() {
    let families = [Family::IPV4_UNICAST, Family::IPV6_UNICAST].map(Capability::Multiprotocol);
    let required = [&families[..], &[Capability::FourOctetAs(LOCAL_AS)]].concat();
    let full = [&required[..], &[Capability::RouteRefresh, Capability::EnhancedRouteRefresh]].concat();
    let mut bench = Bench::new(config(ConnectMode::Passive));
    bench.input(Input::Start);
    // Our offer, and the subcode of OPEN Message Error in the peer's answer.
    for (offered, subcode) in
        [(&full, 7), (&required, 4), (&Vec::new(), 4), (&full, 2), (&full, 4), (&Vec::new(), 7), (&full, 7)]
    {
        bench.advance(std::time::Duration::from_secs(60));
        let (conn, outputs) = bench.accept();
        let [Output::Send { bytes, .. }] = outputs.as_slice() else { panic!("{}", show(&outputs)) };
        assert_eq!(decode(bytes), [Message::Open(Open::new(LOCAL_AS, 9, LOCAL_ID, offered.clone()))]);
        bench.receive(conn, &Message::Notification(Notification::new(2, subcode, Bytes::new())));
    }
}

/// The OPEN for a peer that connects now.
fn offered(bench: &mut Bench) -> (crate::fsm::ConnId, Vec<u8>) {
    let (conn, outputs) = bench.accept();
    let [Output::Send { bytes, .. }] = outputs.as_slice() else { panic!("{}", show(&outputs)) };
    let messages = decode(bytes);
    let [Message::Open(open)] = messages.as_slice() else { panic!("{messages:?}") };
    (conn, open.capabilities.iter().map(Capability::code).collect())
}

const FULL: [u8; 5] = [1, 1, 65, 2, 70];
const REQUIRED: [u8; 3] = [1, 1, 65];

/// A peer that has refused everything once: less is offered, and `status` shows it.
fn refused_once() -> Bench {
    let mut bench = Bench::new(config(ConnectMode::Passive));
    bench.input(Input::Start);
    let (conn, capabilities) = offered(&mut bench);
    assert_eq!(capabilities, FULL);
    bench.receive(conn, &Message::Notification(Notification::new(2, 7, Bytes::new())));
    bench.advance(std::time::Duration::from_secs(60));
    assert_eq!(bench.peer.status(bench.now).offer, Offer::Required);
    bench
}

#[test]
fn after_a_session_that_ended_everything_is_offered_again() {
    let mut bench = refused_once();
    let (conn, capabilities) = offered(&mut bench);
    assert_eq!(capabilities, REQUIRED);
    bench.receive(conn, &Message::Open(their_open()));
    bench.receive(conn, &Message::Keepalive);
    assert_eq!(bench.peer.status(bench.now).offer, Offer::Required, "as long as the session lasts");
    bench.input(Input::Closed(conn, CloseReason::Reset));
    assert_eq!(offered(&mut bench).1, FULL);
    assert_eq!(bench.peer.status(bench.now).offer, Offer::Full);
}

#[test]
fn ten_minutes_after_a_refusal_everything_is_offered_again() {
    let mut bench = refused_once();
    bench.advance(std::time::Duration::from_secs(539));
    let (conn, capabilities) = offered(&mut bench);
    assert_eq!(capabilities, REQUIRED);
    bench.input(Input::Closed(conn, CloseReason::Reset));
    bench.advance(std::time::Duration::from_secs(2));
    assert_eq!(offered(&mut bench).1, FULL);
}

/// RFC 5492 §5: missing and unwanted capabilities are named in the same way.
#[test]
fn a_refusal_that_names_what_we_do_not_offer_makes_no_offer_poorer() {
    let flowspec = Capability::Multiprotocol(Family::new(crate::wire::Afi::IPV4, crate::wire::Safi(133)));
    let software = Capability::Unknown { code: 75, data: Bytes::new() };
    let cases = [
        (vec![flowspec], &FULL[..]),
        (vec![Capability::Multiprotocol(Family::IPV6_UNICAST)], &FULL),
        (vec![software.clone()], &FULL),
        (vec![software, Capability::EnhancedRouteRefresh], &REQUIRED),
        (vec![Capability::RouteRefresh], &REQUIRED),
        (vec![], &REQUIRED),
    ];
    for (named, then) in cases {
        let mut bench = Bench::new(config(ConnectMode::Passive));
        bench.input(Input::Start);
        let (conn, _) = offered(&mut bench);
        let refusal = Notification::unsupported_capability(&named).unwrap();
        bench.receive(conn, &Message::Notification(refusal));
        bench.advance(std::time::Duration::from_secs(60));
        assert_eq!(offered(&mut bench).1, then, "{named:?}");
    }
}

#[test]
fn without_capabilities_the_session_is_ipv4_with_two_octet_as_numbers() {
    let mut bench = Bench::new(config(ConnectMode::Passive));
    bench.input(Input::Start);
    let (conn, _) = bench.accept();
    bench.receive(conn, &Message::Notification(Notification::new(2, 4, Bytes::new())));
    bench.advance(std::time::Duration::from_secs(60));
    let (conn, _) = bench.accept();
    bench.receive(conn, &Message::Open(their_open()));
    let session = bench.peer.status(bench.now).session.unwrap();
    assert_eq!((session.families, session.four_octet_as), (BTreeSet::from([Family::IPV4_UNICAST]), false));
}

/// RFC 7313 §4.1.
#[test]
fn an_enhanced_refresh_is_framed_by_begin_and_end() {
    let (mut bench, conn) = at_open_sent();
    let mut open = their_open();
    open.capabilities.push(Capability::EnhancedRouteRefresh);
    bench.receive(conn, &Message::Open(open));
    bench.receive(conn, &Message::Keepalive);
    bench.advertise(1, routes(3, 0));
    let refresh = Message::RouteRefresh(RouteRefresh::new(Family::IPV4_UNICAST, RefreshKind::Normal));
    let outputs = bench.receive(conn, &refresh);
    let sent: Vec<Message> = outputs
        .iter()
        .flat_map(|output| if let Output::Send { bytes, .. } = output { decode(bytes) } else { Vec::new() })
        .collect();
    let frame = |kind| Message::RouteRefresh(RouteRefresh::new(Family::IPV4_UNICAST, kind));
    assert_eq!(sent.first(), Some(&frame(RefreshKind::Begin)));
    assert_eq!(sent.last(), Some(&frame(RefreshKind::End)));
    assert_eq!(sent.len(), 3, "{}", show(&outputs));
}

#[test]
fn any_as_but_ours_is_let_in_where_the_peer_is_only_known_to_be_external() {
    for (asn, want) in [(64999, State::OpenConfirm), (LOCAL_AS.0, State::Idle)] {
        let config =
            crate::fsm::PeerConfig { any_external: true, peer_as: Asn(0), ..config(ConnectMode::Passive) };
        let mut bench = Bench::new(config);
        bench.input(Input::Start);
        let (conn, _) = bench.accept();
        let capabilities =
            vec![Capability::Multiprotocol(Family::IPV4_UNICAST), Capability::FourOctetAs(Asn(asn))];
        bench.receive(conn, &Message::Open(Open::new(Asn(asn), 9, PEER_ID, capabilities)));
        let status = bench.peer.status(bench.now);
        assert_eq!(status.state == State::OpenConfirm, want == State::OpenConfirm, "AS {asn}");
        assert_eq!(
            status.session.map(|session| session.peer_as.0),
            (want == State::OpenConfirm).then_some(asn)
        );
    }
}

#[test]
fn an_open_that_comes_twice_is_one_and_another_one_ends_the_connection() {
    let (mut bench, conn) = Bench::at(State::OpenConfirm, ConnectMode::Passive);
    let open = |hold_time| {
        let capabilities = vec![
            Capability::Multiprotocol(Family::IPV4_UNICAST),
            Capability::Multiprotocol(Family::IPV6_UNICAST),
            Capability::FourOctetAs(PEER_AS),
        ];
        Message::Open(Open::new(PEER_AS, hold_time, PEER_ID, capabilities))
    };
    let agreed = bench.peer.status(bench.now).session.unwrap().hold_time;
    let other = bench.receive(conn, &open(agreed - 3));
    assert!(show(&other).contains("5/2"), "{}", show(&other));
}
