//! The bytes that we send to, and keep for, a peer that reads slowly or not at all.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::support::{Bench, config, decode, routes, show, their_open};
use crate::fsm::{CloseReason, ConnectMode, Input, Output, PeerEvent, State, Version};
use crate::wire::{Attribute, Capability, Family, Message, Notification, RefreshKind, RouteRefresh};

/// The table of a peer that applied every UPDATE in `outputs`: prefixes with their MED.
fn apply(outputs: &[Output], rib: &mut BTreeMap<IpNet, u32>) {
    for output in outputs {
        let Output::Send { bytes, .. } = output else { continue };
        for message in decode(bytes) {
            let Message::Update(update) = message else { continue };
            let med = update.attributes.iter().find_map(|attribute| {
                if let Attribute::MultiExitDisc(med) = attribute { Some(*med) } else { None }
            });
            for prefix in update.withdrawn_prefixes() {
                rib.remove(&prefix);
            }
            rib.extend(update.announced().map(|prefix| (prefix, med.unwrap())));
        }
    }
}

fn sent_octets(outputs: &[Output]) -> usize {
    let sizes =
        outputs.iter().map(|output| if let Output::Send { bytes, .. } = output { bytes.len() } else { 0 });
    sizes.sum()
}

fn synced(outputs: &[Output]) -> Vec<u64> {
    let versions = outputs.iter().filter_map(|output| {
        if let Output::Event(PeerEvent::Synced(version)) = output { Some(version.0) } else { None }
    });
    versions.collect()
}

#[test]
fn a_peer_that_takes_nothing_gets_a_window_and_then_exactly_the_last_set() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    // The OPEN and the KEEPALIVE of the beginning are taken.
    bench.input(Input::Sent(conn, 1_000));
    let mut unread = Vec::new();
    for version in 1..=10_000 {
        unread.extend(bench.advertise(version, routes(20, u32::try_from(version).unwrap())));
    }
    let octets = sent_octets(&unread);
    assert!((60_000..=64 * 1024 + 4096).contains(&octets), "{octets} octets for a peer that reads nothing");
    assert_eq!(synced(&unread), [0_u64; 0]);

    let mut rib = BTreeMap::new();
    let all = bench.acknowledge(unread);
    apply(&all, &mut rib);
    let wanted: BTreeMap<IpNet, u32> = routes(20, 10_000).keys().map(|prefix| (*prefix, 10_000)).collect();
    assert_eq!(rib, wanted);
    assert_eq!(synced(&all), [10_000]);
    let last =
        [PeerEvent::Synced(Version(10_000)), PeerEvent::Acknowledged(Version(10_000))].map(Output::Event);
    assert_eq!(all.last_chunk(), Some(&last));
}

#[test]
fn synced_comes_when_the_kernel_has_the_last_octet_and_once_for_a_version() {
    let (mut bench, conn) = Bench::at(State::OpenConfirm, ConnectMode::Both);
    bench.advertise(7, routes(3, 0));
    // OPEN and KEEPALIVE.
    bench.input(Input::Sent(conn, 29 + 24 + 19));
    let outputs = bench.receive(conn, &Message::Keepalive);
    assert_eq!(
        show(&outputs),
        "Established, send 1 UPDATE +3 -0, send 1 EoR ipv4-unicast, send 1 EoR ipv6-unicast"
    );
    let octets = sent_octets(&outputs);
    assert_eq!(bench.input(Input::Sent(conn, octets - 1)), []);
    assert_eq!(show(&bench.input(Input::Sent(conn, 1))), "Synced 7");
    assert_eq!(bench.input(Input::Sent(conn, 0)), []);
    assert_eq!(show(&bench.advertise(8, routes(3, 0))), "Synced 8", "nothing changed, so nothing is sent");
    assert_eq!(show(&bench.advertise(9, routes(2, 0))), "send 1 UPDATE +0 -1");
}

#[test]
fn a_new_session_is_synced_anew() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Passive);
    bench.advertise(1, routes(5, 1));
    bench.input(Input::Closed(conn, CloseReason::EndedByPeer));
    let (conn, _) = bench.accept();
    bench.receive(conn, &Message::Open(super::support::their_open()));
    bench.input(Input::Sent(conn, 1_000));
    let outputs = bench.receive(conn, &Message::Keepalive);
    let outputs = bench.acknowledge(outputs);
    assert_eq!(synced(&outputs), [1]);
    assert_eq!(bench.peer.status(bench.now).advertised, 5);
}

fn refresh(family: Family, kind: RefreshKind) -> Message {
    Message::RouteRefresh(RouteRefresh::new(family, kind))
}

#[test]
fn route_refresh_sends_everything_of_its_family_again() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    bench.input(Input::Sent(conn, 1_000));
    let outputs = bench.advertise(1, routes(2_000, 5));
    bench.acknowledge(outputs);
    let mut rib = BTreeMap::new();
    let outputs = bench.receive(conn, &refresh(Family::IPV4_UNICAST, RefreshKind::Normal));
    apply(&bench.acknowledge(outputs), &mut rib);
    assert_eq!(rib.len(), 2_000);

    let others = [
        refresh(Family::IPV6_UNICAST, RefreshKind::Normal),
        refresh(Family::new(crate::wire::Afi(25), crate::wire::Safi(70)), RefreshKind::Normal),
        refresh(Family::IPV4_UNICAST, RefreshKind::Begin),
        refresh(Family::IPV4_UNICAST, RefreshKind::End),
        refresh(Family::IPV4_UNICAST, RefreshKind::Other(9)),
    ];
    for message in others {
        assert_eq!(bench.receive(conn, &message), [], "{message:?}");
    }
}

#[test]
fn a_prefix_that_goes_between_a_refresh_and_its_resending_is_withdrawn() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    bench.input(Input::Sent(conn, 1_000));
    let mut rib = BTreeMap::new();
    let outputs = bench.advertise(1, routes(40_000, 5));
    apply(&bench.acknowledge(outputs), &mut rib);
    assert_eq!(rib.len(), 40_000);
    // The window is full long before all is resent.
    let unread = bench.receive(conn, &refresh(Family::IPV4_UNICAST, RefreshKind::Normal));
    assert!(sent_octets(&unread) < 70_000);
    let more = bench.advertise(2, routes(10, 5));
    assert_eq!(more, []);
    apply(&bench.acknowledge(unread), &mut rib);
    assert_eq!(rib.len(), 10);
}

/// Two hundred requests in one read cost one pass over the routes and one answer.
#[test]
fn a_flood_of_refreshes_is_answered_once_a_read() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    bench.input(Input::Sent(conn, 1_000));
    let outputs = bench.advertise(1, routes(1_000, 5));
    bench.acknowledge(outputs);
    let one = super::support::encode(&refresh(Family::IPV4_UNICAST, RefreshKind::Normal));
    let flood = bytes::Bytes::from(one.repeat(200));
    assert_eq!(
        show(&bench.input(Input::Received(conn, flood.clone()))),
        "send 1 UPDATE +809 -0, send 1 UPDATE +191 -0"
    );
    let mut octets = 0;
    for _ in 0..100 {
        octets += sent_octets(&bench.input(Input::Received(conn, flood.clone())));
    }
    assert!(octets <= 64 * 1024 + 4096, "{octets} octets");
}

/// Without routes each answer is only a begin and an end, which once were sent whether or not there was room.
#[test]
fn a_peer_that_asks_again_and_again_and_reads_nothing_does_not_make_us_grow() {
    let mut bench = Bench::new(config(ConnectMode::Passive));
    bench.input(Input::Start);
    let (conn, outputs) = bench.accept();
    let mut open = their_open();
    open.capabilities.push(Capability::EnhancedRouteRefresh);
    let mut octets = sent_octets(&outputs);
    octets += sent_octets(&bench.receive(conn, &Message::Open(open)));
    octets += sent_octets(&bench.receive(conn, &Message::Keepalive));
    let mut refreshes = 0;
    for _ in 0..10_000 {
        let outputs = bench.receive(conn, &refresh(Family::IPV4_UNICAST, RefreshKind::Normal));
        octets += sent_octets(&outputs);
        refreshes += usize::from(!outputs.is_empty());
    }
    assert!(octets < 64 * 1024 + 4096, "{octets} octets for {refreshes} refreshes");
    assert!(refreshes > 1_000, "{refreshes}");
    // When it reads again, its last request is answered, and ended.
    let outputs = bench.input(Input::Sent(conn, octets));
    assert_eq!(show(&outputs), "send 1 ROUTE-REFRESH, send 1 ROUTE-REFRESH");
}

#[test]
fn keepalives_to_a_peer_that_reads_nothing_are_few_and_none_behind_a_full_window() {
    for (count, most) in [(100, 9), (20_000, 0)] {
        let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Passive);
        bench.advertise(1, routes(count, 0));
        let mut keepalives = 0;
        while bench.state() == State::Established {
            keepalives += show(&bench.tick()).matches("KEEPALIVE").count();
            bench.receive(conn, &Message::Keepalive);
        }
        assert!(keepalives <= most, "{keepalives} for {count} routes");
    }
}

#[test]
fn a_stopped_peer_gets_its_notification_behind_what_waits() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    let mut outputs = bench.advertise(1, routes(20_000, 0));
    outputs.extend(bench.input(Input::Stop(Notification::cease(2, "bye"))));
    let tail = &outputs[outputs.len() - 3..];
    assert_eq!(
        show(tail),
        "send 1 6/2 \"bye\", close 1, Down! (stopped: Cease / Administrative Shutdown: \"bye\")"
    );
    assert_eq!(bench.input(Input::Sent(conn, 10_000)), []);
}
