//! The paths that a peer keeps, and its route refreshes.

use std::sync::Arc;

use super::support::{Bench, PEER_AS, config, decode, routes, show, their_open, update};
use crate::adj_rib_in::Watched;
use crate::fsm::{CloseReason, ConnectMode, Input, Output, State};
use crate::wire::{Capability, Family, Message, Notification, RefreshKind, RouteRefresh, Update};

/// The first routes of `update(1, …)`.
fn watched(count: u8) -> Arc<Watched> {
    Arc::new((0..count).map(|last| format!("10.1.0.{last}/32").parse().unwrap()).collect())
}

fn heard(bench: &Bench) -> Vec<String> {
    bench.peer.status(bench.now).paths.keys().map(ToString::to_string).collect()
}

fn requests(outputs: &[Output]) -> Vec<RouteRefresh> {
    let sent = outputs.iter().filter_map(|output| {
        if let Output::Send { bytes, .. } = output { Some(decode(bytes)) } else { None }
    });
    let refreshes = sent.flatten().filter_map(|message| {
        if let Message::RouteRefresh(refresh) = message { Some(refresh) } else { None }
    });
    refreshes.collect()
}

#[test]
fn paths_to_watched_prefixes_are_in_the_status_and_go_with_the_session() {
    let mut bench = Bench::new(config(ConnectMode::Passive));
    bench.input(Input::Watch(watched(2)));
    bench.input(Input::Start);
    for session in 1..=2 {
        let (conn, _) = bench.accept();
        bench.receive(conn, &Message::Open(their_open()));
        let outputs = bench.receive(conn, &Message::Keepalive);
        assert_eq!(requests(&outputs), [], "the first routes come unasked");
        assert_eq!(heard(&bench), [""; 0], "session {session} begins with nothing");
        bench.receive(conn, &update(1, 100));
        assert_eq!(heard(&bench), ["10.1.0.0/32", "10.1.0.1/32"]);
        let path = bench.peer.status(bench.now).paths.values().next().unwrap().clone();
        assert_eq!((path.as_path.as_slice(), path.origin_as), (&[PEER_AS][..], Some(PEER_AS)));
        assert_eq!(bench.peer.status(bench.now).counters.prefixes_received, 100 * session);
        bench.input(Input::Closed(conn, CloseReason::EndedByPeer));
        assert_eq!(heard(&bench), [""; 0]);
    }
}

#[test]
fn more_to_watch_is_asked_for_once_and_less_is_forgotten() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    bench.receive(conn, &update(1, 100));
    assert_eq!(heard(&bench), [""; 0], "nothing is watched yet");
    let outputs = bench.input(Input::Watch(watched(2)));
    assert_eq!(requests(&outputs), [RouteRefresh::new(Family::IPV4_UNICAST, RefreshKind::Normal)]);
    bench.receive(conn, &update(1, 100));
    assert_eq!(heard(&bench).len(), 2);
    assert_eq!(bench.input(Input::Watch(watched(2))), []);
    assert_eq!(bench.input(Input::Watch(watched(1))), []);
    assert_eq!(heard(&bench), ["10.1.0.0/32"]);
}

#[test]
fn a_peer_that_knows_no_refresh_is_not_asked() {
    let mut bench = Bench::new(config(ConnectMode::Passive));
    bench.input(Input::Start);
    let (conn, _) = bench.accept();
    let mut open = their_open();
    open.capabilities.retain(|capability| *capability != Capability::RouteRefresh);
    bench.receive(conn, &Message::Open(open));
    bench.receive(conn, &Message::Keepalive);
    assert_eq!(bench.input(Input::Watch(watched(2))), []);
}

/// A peer that reads nothing must not make us grow, however often a configuration is loaded.
#[test]
fn a_question_waits_behind_a_full_window() {
    let (mut bench, _) = Bench::at(State::Established, ConnectMode::Both);
    let mut unread = bench.advertise(1, routes(50_000, 1));
    for round in 0..1_000 {
        unread.extend(bench.input(Input::Watch(watched(if round % 2 == 0 { 2 } else { 1 }))));
    }
    assert_eq!(requests(&unread), []);
    let all = bench.acknowledge(unread);
    assert_eq!(requests(&all), [RouteRefresh::new(Family::IPV4_UNICAST, RefreshKind::Normal)]);
}

#[test]
fn paths_that_an_enhanced_refresh_leaves_out_are_gone() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    bench.input(Input::Watch(watched(2)));
    bench.receive(conn, &update(1, 2));
    let frame = |kind| Message::RouteRefresh(RouteRefresh::new(Family::IPV4_UNICAST, kind));
    assert_eq!(bench.receive(conn, &frame(RefreshKind::Begin)), []);
    bench.receive(conn, &update(1, 1));
    assert_eq!(bench.receive(conn, &frame(RefreshKind::End)), []);
    assert_eq!(heard(&bench), ["10.1.0.0/32"]);
}

/// Invariant I6: received routes do not change sent routes.
#[test]
fn a_path_to_what_we_announce_changes_nothing_about_our_announcement() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    bench.advertise(1, routes(3, 0));
    let vips: Watched = routes(3, 0).keys().copied().collect();
    bench.input(Input::Watch(Arc::new(vips.clone())));
    let Message::Update(theirs) = update(1, 0) else { panic!("no UPDATE") };
    let nlri = vips.iter().filter_map(|vip| if let ipnet::IpNet::V4(vip) = vip { Some(*vip) } else { None });
    let nlri: Vec<_> = nlri.collect();
    assert_eq!(show(&bench.receive(conn, &Message::Update(Update { nlri: nlri.clone(), ..theirs }))), "");
    assert_eq!(heard(&bench).len(), 3);
    assert_eq!(
        show(&bench.receive(conn, &Message::Update(Update { withdrawn: nlri, ..Update::default() }))),
        ""
    );
    assert_eq!((heard(&bench).len(), bench.peer.status(bench.now).advertised), (0, 3));
    let stopped = bench.input(Input::Stop(Notification::cease(2, "")));
    assert!(show(&stopped).contains("Cease"), "{stopped:?}");
}
