//! RFC 4724 and 8538 from the restarting side: the capability in the OPEN, the held End-of-RIB, and the end of a
//! session.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::support::{Bench, config, decode, endpoints, routes, show, their_open};
use crate::fsm::{
    CloseReason, ConnId, ConnectMode, Extent, GracefulRestart, Input, Keeping, Output, PeerConfig,
    RestartTime, State, Version,
};
use crate::wire::iana::notification::{CEASE, cease};
use crate::wire::{Capability, Family, GracefulRestartFamily, Message, Notification, Open};

const V4: Family = Family::IPV4_UNICAST;
const V6: Family = Family::IPV6_UNICAST;

fn restarted(preserved: impl IntoIterator<Item = Family>) -> PeerConfig {
    graceful(Some(preserved.into_iter().collect()), true)
}

fn graceful(restarted: Option<BTreeSet<Family>>, notification: bool) -> PeerConfig {
    let restart_time = RestartTime::from_secs(15).unwrap();
    let graceful_restart = Some(GracefulRestart { restart_time, notification, restarted });
    PeerConfig { graceful_restart, ..config(ConnectMode::Passive) }
}

/// A router that helps: no family of its own.
fn helper(notification: bool) -> Open {
    let mut open = their_open();
    open.capabilities.push(Capability::GracefulRestart {
        restarting: false,
        notification,
        restart_time: 120,
        families: Vec::new(),
    });
    open
}

/// R, and F by family.
type Told = (bool, Vec<(Family, bool)>);

/// The capability of our OPEN: R, and F by family; `None` without the capability.
fn told(outputs: &[Output]) -> Option<Told> {
    let [Output::Send { bytes, .. }] = outputs else { panic!("{outputs:?}") };
    let [Message::Open(open)] = &decode(bytes)[..] else { panic!("no OPEN") };
    open.capabilities.iter().find_map(|capability| {
        let Capability::GracefulRestart { restarting, restart_time, families, .. } = capability else {
            return None;
        };
        assert_eq!(*restart_time, 15);
        let family = |f: &GracefulRestartFamily| (f.family, f.forwarding);
        Some((*restarting, families.iter().map(family).collect()))
    })
}

/// Accepts a connection and takes it to Established with `open`; returns the capability of our OPEN, and the messages
/// after it.
fn establish(bench: &mut Bench, open: Open) -> (ConnId, Option<Told>, Vec<Output>) {
    let (conn, outputs) = bench.accept();
    let told = told(&outputs);
    bench.acknowledge(outputs);
    let outputs = bench.receive(conn, &Message::Open(open));
    bench.acknowledge(outputs);
    let outputs = bench.receive(conn, &Message::Keepalive);
    let outputs = bench.acknowledge(outputs);
    assert_eq!(bench.state(), State::Established);
    (conn, told, outputs)
}

#[test]
fn the_open_says_nothing_of_it_unless_asked_for() {
    let mut bench = Bench::new(config(ConnectMode::Passive));
    bench.input(Input::Start);
    let (_, outputs) = bench.accept();
    assert_eq!(told(&outputs), None);
}

#[test]
fn after_a_restart_only_what_stayed_bound_is_forwarding() {
    let cases: [(&[Family], [bool; 2]); 4] =
        [(&[], [false, false]), (&[V4], [true, false]), (&[V6], [false, true]), (&[V4, V6], [true, true])];
    for (preserved, [v4, v6]) in cases {
        let mut bench = Bench::new(restarted(preserved.iter().copied()));
        bench.input(Input::Start);
        let (_, outputs) = bench.accept();
        assert_eq!(told(&outputs), Some((true, vec![(V4, v4), (V6, v6)])), "{preserved:?}");
    }
}

#[test]
fn end_of_rib_waits_until_everything_is_decided_and_routes_do_not() {
    let mut bench = Bench::new(restarted([V4]));
    bench.input(Input::Advertise(Version(1), routes(2, 0), Extent::Partial));
    bench.input(Input::Start);
    let (_, _, outputs) = establish(&mut bench, helper(true));
    assert_eq!(show(&outputs), "Established, send 1 UPDATE +2 -0, Synced 1, Acknowledged 1");
    let outputs = bench.input(Input::Advertise(Version(2), routes(3, 0), Extent::Partial));
    assert_eq!(show(&bench.acknowledge(outputs)), "send 1 UPDATE +1 -0, Synced 2, Acknowledged 2");
    // The last decision changes no route, but the peer waits for it.
    let outputs = bench.input(Input::Advertise(Version(3), routes(3, 0), Extent::Whole));
    let outputs = bench.acknowledge(outputs);
    assert_eq!(show(&outputs), "send 1 EoR ipv4-unicast, send 1 EoR ipv6-unicast, Synced 3, Acknowledged 3");
}

#[test]
fn a_router_that_keeps_nothing_gets_its_end_of_rib_at_once() {
    let mut bench = Bench::new(restarted([V4]));
    bench.input(Input::Advertise(Version(1), routes(2, 0), Extent::Partial));
    bench.input(Input::Start);
    let (_, _, outputs) = establish(&mut bench, their_open());
    assert_eq!(
        show(&outputs),
        "Established, send 1 UPDATE +2 -0, send 1 EoR ipv4-unicast, send 1 EoR ipv6-unicast, Synced 1, Acknowledged 1"
    );
}

#[test]
fn the_restart_lasts_until_the_peer_was_told_everything() {
    let mut bench = Bench::new(restarted([V4]));
    bench.input(Input::Start);
    bench.input(Input::Advertise(Version(1), routes(1, 0), Extent::Partial));
    let (conn, first, _) = establish(&mut bench, helper(true));
    assert_eq!(first, Some((true, vec![(V4, true), (V6, false)])));
    // Lost before the end: to the peer we are still restarting.
    bench.input(Input::Closed(conn, CloseReason::Reset));
    let (conn, again, _) = establish(&mut bench, helper(true));
    assert_eq!(again, first);
    let outputs = bench.input(Input::Advertise(Version(2), routes(1, 0), Extent::Whole));
    bench.acknowledge(outputs);
    bench.input(Input::Closed(conn, CloseReason::Reset));
    let (_, later, outputs) = establish(&mut bench, helper(true));
    assert_eq!(later, Some((false, vec![(V4, true), (V6, true)])), "we never stopped forwarding");
    assert!(show(&outputs).contains("EoR ipv4-unicast"), "{}", show(&outputs));
}

#[test]
fn only_an_end_for_good_is_a_hard_reset_and_only_where_both_sides_have_the_n_bit() {
    let shutdown = Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN, "bye");
    let removed = Notification::cease(cease::PEER_DECONFIGURED, "");
    let changed = Notification::cease(cease::OTHER_CONFIGURATION_CHANGE, "");
    let cases = [
        (true, true, &shutdown, shutdown.clone().into_hard_reset()),
        (true, true, &removed, removed.clone().into_hard_reset()),
        (true, true, &changed, changed.clone()),
        (true, false, &shutdown, shutdown.clone()),
        (false, true, &shutdown, shutdown.clone()),
    ];
    for (ours, theirs, said, want) in cases {
        let mut bench = Bench::new(graceful(None, ours));
        bench.input(Input::Start);
        let (conn, _, _) = establish(&mut bench, helper(theirs));
        let session = bench.peer.status(bench.now).session.expect("a session");
        assert_eq!(
            session.graceful_restart,
            Some(Keeping { restart_time: 15, notification: ours && theirs })
        );
        let outputs = bench.input(Input::Stop(said.clone()));
        let Some(Output::Send { conn: to, bytes }) = outputs.first() else { panic!("{outputs:?}") };
        assert_eq!((*to, decode(bytes)), (conn, vec![Message::Notification(want)]));
    }
}

#[test]
fn what_was_received_is_refused_softly_so_that_routes_stay() {
    let mut bench = Bench::new(graceful(None, true));
    bench.input(Input::Start);
    let (conn, _, _) = establish(&mut bench, helper(true));
    let outputs = bench.receive(conn, &Message::Open(their_open()));
    let Some(Output::Send { bytes, .. }) = outputs.first() else { panic!("{outputs:?}") };
    assert_eq!(decode(bytes), [Message::Notification(Notification::new(5, 3, Bytes::new()))]);
    assert!(!matches!(&decode(bytes)[0], Message::Notification(n) if n.code == CEASE));
}

#[test]
fn a_peer_that_refuses_the_capability_is_asked_for_less() {
    let mut bench = Bench::new(restarted([V4]));
    bench.input(Input::Start);
    let (conn, outputs) = bench.accept();
    assert!(told(&outputs).is_some());
    bench.receive(conn, &Message::Notification(Notification::new(2, 7, Bytes::new())));
    bench.now += PeerConfig::MAX_RETRY * 2;
    let (conn, outputs) = bench.accept();
    assert_eq!(told(&outputs), None);
    bench.input(Input::Advertise(Version(1), routes(1, 0), Extent::Partial));
    bench.receive(conn, &Message::Open(helper(true)));
    let outputs = bench.receive(conn, &Message::Keepalive);
    assert!(show(&outputs).contains("EoR"), "without the capability nothing is held: {}", show(&outputs));
}

#[test]
fn a_dial_carries_it_too() {
    let mut bench = Bench::new(PeerConfig { mode: ConnectMode::Active, ..restarted([V6]) });
    let outputs = bench.input(Input::Start);
    let [Output::Dial(conn)] = outputs.as_slice() else { panic!("{outputs:?}") };
    let outputs = bench.input(Input::Dialled(*conn, endpoints()));
    assert_eq!(told(&outputs), Some((true, vec![(V4, false), (V6, true)])));
}
