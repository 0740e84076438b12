//! Sent and acknowledged bytes.

use std::sync::Arc;
use std::time::Duration;

use super::support::{ACKNOWLEDGED, Bench, endpoints, routes, show};
use crate::fsm::{
    ConnId, ConnectMode, DialError, DownReason, Endpoints, Input, Output, SendQueue, Stall, State,
};
use crate::wire::{Message, Notification};

/// A session on which nothing is on the way.
fn quiet() -> (Bench, ConnId) {
    let (mut bench, conn) = Bench::at(State::OpenConfirm, ConnectMode::Active);
    bench.input(Input::Sent(conn, 1000));
    let outputs = bench.receive(conn, &Message::Keepalive);
    bench.acknowledge(outputs);
    (bench, conn)
}

fn sent(outputs: &[Output]) -> usize {
    outputs.iter().map(|output| if let Output::Send { bytes, .. } = output { bytes.len() } else { 0 }).sum()
}

#[test]
fn a_route_counts_when_the_peers_tcp_has_it_and_not_when_the_kernel_has() {
    let (mut bench, conn) = quiet();
    let outputs = bench.advertise(1, routes(900, 0));
    let bytes = sent(&outputs);
    assert_eq!(show(&bench.input(Input::Sent(conn, bytes))), "Synced 1");
    let shown = |bench: &Bench| {
        let status = bench.peer.status(bench.now);
        (status.advertised, status.acknowledged)
    };
    assert_eq!(shown(&bench), (900, 0));
    assert_eq!(show(&bench.tick()), "look 1");
    let queue = |unacknowledged| Input::Queue(conn, SendQueue { unacknowledged, ..ACKNOWLEDGED });
    assert_eq!(show(&bench.input(queue(bytes))), "");
    // The first of the two UPDATEs, and all but one octet of the second.
    assert_eq!(show(&bench.input(queue(1))), "");
    let (_, some) = shown(&bench);
    assert!((1..900).contains(&some), "{some}");
    assert_eq!(show(&bench.input(queue(0))), "Acknowledged 1");
    assert_eq!(shown(&bench), (900, 900));
}

#[test]
fn the_kernel_is_asked_less_and_less_and_only_while_updates_are_on_the_way() {
    let (mut bench, conn) = quiet();
    let keepalives = bench.advance(Duration::from_secs(5));
    bench.receive(conn, &Message::Keepalive);
    bench.acknowledge(keepalives.iter().map(|(_, output)| output.clone()).collect());
    assert!(keepalives.iter().all(|(_, output)| matches!(output, Output::Send { .. })), "{keepalives:?}");
    let outputs = bench.advertise(1, routes(1, 0));
    bench.input(Input::Sent(conn, sent(&outputs)));
    let mut looks = Vec::new();
    let begin = bench.now;
    while looks.len() < 12 {
        let outputs = bench.tick();
        if outputs.contains(&Output::Look(conn)) {
            looks.push(u64::try_from((bench.now - begin).as_millis()).unwrap());
            bench.input(Input::Queue(conn, SendQueue { unacknowledged: 60, ..ACKNOWLEDGED }));
        }
    }
    assert_eq!(looks, [2, 6, 14, 30, 62, 126, 254, 504, 754, 1004, 1254, 1504]);
    bench.input(Input::Queue(conn, ACKNOWLEDGED));
    bench.receive(conn, &Message::Keepalive);
    let later = bench.advance(Duration::from_secs(5));
    assert!(later.iter().all(|(_, output)| matches!(output, Output::Send { .. })), "{later:?}");
}

/// A path that carries KEEPALIVEs and no full segment.
#[test]
fn a_peer_that_is_heard_and_acknowledges_nothing_is_named_once_with_the_mtu() {
    let (mut bench, conn) = quiet();
    let outputs = bench.advertise(1, routes(900, 0));
    bench.input(Input::Sent(conn, sent(&outputs)));
    let stuck = |retransmissions| {
        Input::Queue(conn, SendQueue { unacknowledged: 12_000, retransmissions, segment: 1448 })
    };
    bench.tick();
    assert_eq!(
        show(&bench.input(stuck(3))),
        "",
        "it is not heard either: dead or cut off, which is another fault"
    );
    bench.advance(Duration::from_millis(500));
    bench.receive(conn, &Message::Keepalive);
    assert_eq!(show(&bench.input(stuck(2))), "");
    let words = "nothing of the last 12 KiB was acknowledged, 5 retransmissions: is the path's MTU smaller?";
    assert_eq!(show(&bench.input(stuck(5))), format!("Stalled ({words})"));
    assert_eq!(show(&bench.input(stuck(6))), "", "said once");
    let status = bench.peer.status(bench.now);
    assert_eq!(status.seen.stall, Some(Stall { bytes: 12_000, retransmissions: 6, segment: 1448 }));

    // The router hears nothing, and ends the session.
    bench.receive(conn, &Message::Notification(Notification::hold_timer_expired()));
    let status = bench.peer.status(bench.now);
    let (reason, _) = status.last_down.unwrap();
    assert_eq!(
        reason.hint(bench.peer.config(), &status.seen).unwrap(),
        "nothing of the last 12 KiB was acknowledged, 6 retransmissions: is the path's MTU smaller? \
         Compare the MTU of every link on the way; `tcp_mss`, now 1448, makes the segments smaller"
    );
}

#[test]
fn what_a_next_hop_that_is_gone_takes_away_is_told_when_the_peer_knows() {
    let (mut bench, conn) = quiet();
    let vip = ("2001:db8:1::1/128".parse().unwrap(), Arc::default());
    let outputs = bench.advertise(1, [vip].into());
    assert_eq!(show(&bench.acknowledge(outputs)), "send 1 UPDATE +1 -0, Synced 1, Acknowledged 1");
    let alone = Endpoints { interface_addresses: Vec::new(), ..endpoints() };
    let outputs = bench.input(Input::AddressesChanged(conn, Some(alone)));
    assert_eq!(show(&bench.acknowledge(outputs)), "send 1 UPDATE +0 -1, Acknowledged 1");
    assert_eq!(bench.peer.status(bench.now).withheld.len(), 1);
    let outputs = bench.input(Input::AddressesChanged(conn, Some(endpoints())));
    assert_eq!(show(&bench.acknowledge(outputs)), "send 1 UPDATE +1 -0, Acknowledged 1");
}

#[test]
fn what_is_too_small_to_be_cut_off_by_an_mtu_is_not_blamed_on_one() {
    let stall = |bytes, segment| Stall { bytes, retransmissions: 3, segment }.to_string();
    assert_eq!(stall(60, 1448), "nothing of the last 60 bytes was acknowledged, 3 retransmissions");
    assert_eq!(stall(2000, 536), "nothing of the last 2 KiB was acknowledged, 3 retransmissions");
    assert!(stall(600, 1448).ends_with("is the path's MTU smaller?"));
}

/// The process stood still for longer than the router waits.
#[test]
fn a_router_that_gave_us_up_while_we_stood_still_is_not_to_blame() {
    let (mut bench, conn) = quiet();
    let due = bench.peer.deadline().unwrap();
    bench.now = due + Duration::from_millis(12_300);
    bench.receive(conn, &Message::Notification(Notification::hold_timer_expired()));
    let status = bench.peer.status(bench.now);
    let (reason, _) = status.last_down.unwrap();
    assert_eq!(
        reason.hint(bench.peer.config(), &status.seen).unwrap(),
        "vipcast stood still: its KEEPALIVE was 12.3 s late; was this host suspended, overloaded or out of memory?"
    );
    assert_eq!(DownReason::DialFailed(DialError::Refused).hint_from_what_was_seen(&status.seen), None);
}

#[test]
fn a_lateness_of_long_ago_or_of_a_moment_explains_nothing() {
    for (late, then, told) in [(6_000, 0, true), (1_000, 0, false), (6_000, 20_000, false)] {
        let (mut bench, conn) = quiet();
        bench.now = bench.peer.deadline().unwrap() + Duration::from_millis(late);
        let outputs = bench.input(Input::Tick);
        bench.acknowledge(outputs);
        bench.receive(conn, &Message::Keepalive);
        let end = bench.now + Duration::from_millis(then);
        while bench.now < end {
            let sent = bench.advance(Duration::from_secs(1));
            bench.acknowledge(sent.into_iter().map(|(_, output)| output).collect());
            bench.receive(conn, &Message::Keepalive);
        }
        bench.receive(conn, &Message::Notification(Notification::hold_timer_expired()));
        let seen = bench.peer.status(bench.now).seen;
        assert_eq!(seen.late.is_some(), told, "{late} ms late, {then} ms ago: {seen:?}");
    }
}
