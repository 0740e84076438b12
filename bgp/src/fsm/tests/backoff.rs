//! How often a peer is dialled that will have none of us, and when it may come back.

use std::time::Duration;

use super::support::{Bench, config, endpoints, show, their_open};
use crate::fsm::{CloseReason, ConnId, ConnectMode, DialError, Input, Output, PeerConfig, State};
use crate::wire::iana::notification::cease;
use crate::wire::{Asn, Message, Notification, Open};

/// The peer's answer to a dial.
type Answer = Box<dyn FnMut(&mut Bench, ConnId)>;

const HOUR: Duration = Duration::from_secs(3600);

/// Runs `bench` for an hour against a peer that answers each dial as `answer` does; the number of dials.
fn dials_in_an_hour(bench: &mut Bench, mut answer: impl FnMut(&mut Bench, ConnId)) -> usize {
    let end = bench.now + HOUR;
    let mut dials = 0;
    let mut outputs = bench.input(Input::Start);
    while bench.now < end {
        for output in &outputs {
            if let Output::Dial(conn) = output {
                dials += 1;
                answer(bench, *conn);
            }
        }
        outputs = bench.tick();
    }
    dials
}

fn refuse(bench: &mut Bench, conn: ConnId) {
    bench.input(Input::DialFailed(conn, DialError::Refused));
}

fn other_as() -> Message {
    Message::Open(Open::new(Asn(65009), 90, super::support::PEER_ID, Vec::new()))
}

/// 1 + 2 + 4 + 8 + 16 s, then 30 s each, a quarter less at worst: 6 + 3,577 / 22.5 dials. A mean of 30 s makes 125.
const FEW: std::ops::RangeInclusive<usize> = 115..=165;

#[test]
fn a_peer_that_will_not_have_us_is_dialled_less_than_three_times_a_minute() {
    let bad_peer_as = Notification::new(2, 2, bytes::Bytes::new());
    let answers: [(&str, Answer); 6] = [
        ("refuses the connection", Box::new(refuse)),
        ("never answers", Box::new(|_, _| {})),
        (
            "closes at once",
            Box::new(|bench, conn| {
                bench.input(Input::Dialled(conn, endpoints()));
                bench.input(Input::Closed(conn, CloseReason::EndedByPeer));
            }),
        ),
        (
            "is of another AS",
            Box::new(|bench, conn| {
                bench.input(Input::Dialled(conn, endpoints()));
                bench.receive(conn, &other_as());
            }),
        ),
        (
            "says Bad Peer AS",
            Box::new(move |bench, conn| {
                bench.input(Input::Dialled(conn, endpoints()));
                bench.receive(conn, &Message::Notification(bad_peer_as.clone()));
            }),
        ),
        (
            "is Established and closes",
            Box::new(|bench, conn| {
                bench.input(Input::Dialled(conn, endpoints()));
                bench.receive(conn, &Message::Open(their_open()));
                bench.receive(conn, &Message::Keepalive);
                bench
                    .receive(conn, &Message::Notification(Notification::cease(cease::PEER_DECONFIGURED, "")));
            }),
        ),
    ];
    for (what, answer) in answers {
        let dials = dials_in_an_hour(&mut Bench::new(config(ConnectMode::Both)), answer);
        let range = if what == "never answers" { 100..=140 } else { FEW };
        assert!(range.contains(&dials), "a peer that {what} was dialled {dials} times");
    }
}

#[test]
fn a_connect_retry_of_zero_does_not_spin_and_a_huge_one_does_not_panic() {
    let with = |connect_retry| PeerConfig { connect_retry, ..config(ConnectMode::Both) };
    let dials = dials_in_an_hour(&mut Bench::new(with(Duration::ZERO)), refuse);
    assert!(FEW.contains(&(dials - 11)), "{dials} dials");
    assert_eq!(dials_in_an_hour(&mut Bench::new(with(Duration::MAX)), refuse), 1);
}

/// A loop of Bad Peer AS reconnects as fast as the network carries it, in either direction.
#[test]
fn a_peer_whose_open_was_refused_is_turned_away_until_the_back_off_has_passed() {
    let mut bench = Bench::new(config(ConnectMode::Passive));
    bench.input(Input::Start);
    let mut refusals = 0;
    let mut turned_away = 0;
    for _ in 0..HOUR.as_secs() * 10 {
        let (conn, outputs) = bench.accept();
        if show(&outputs) == format!("send {} OPEN", conn.0) {
            let outputs = bench.receive(conn, &other_as());
            assert_eq!(show(&outputs[..2]), format!("send {} 2/2, close {}", conn.0, conn.0));
            refusals += 1;
        } else {
            assert_eq!(show(&outputs), format!("send {} 6/5, close {}", conn.0, conn.0));
            turned_away += 1;
        }
        bench.advance(Duration::from_millis(100));
    }
    assert!(FEW.contains(&refusals), "{refusals} OPENs were looked at");
    assert_eq!(refusals + turned_away, 36_000);
}

/// The same while our own SYNs are dropped by a firewall: a dial is under way nearly all the time.
#[test]
fn a_dial_under_way_does_not_let_a_refused_peer_in() {
    let mut bench = Bench::new(config(ConnectMode::Both));
    bench.input(Input::Start);
    let mut refusals = 0;
    for _ in 0..HOUR.as_secs() * 10 {
        let (conn, outputs) = bench.accept();
        if show(&outputs) == format!("send {} OPEN", conn.0) {
            bench.receive(conn, &other_as());
            refusals += 1;
        }
        bench.advance(Duration::from_millis(100));
    }
    assert!(refusals <= *FEW.end(), "{refusals} OPENs were looked at");
}

/// The peer connects and hangs up every second: that must not put our own dial off for ever.
#[test]
fn inbound_failures_do_not_put_our_dial_off() {
    let mut bench = Bench::new(config(ConnectMode::Both));
    let mut outputs = bench.input(Input::Start);
    let mut dials = 0;
    for _ in 0..600 {
        for output in &outputs {
            if let Output::Dial(conn) = output {
                dials += 1;
                refuse(&mut bench, *conn);
            }
        }
        let (conn, _) = bench.accept();
        bench.input(Input::Closed(conn, CloseReason::EndedByPeer));
        outputs = bench.advance(Duration::from_secs(1)).into_iter().map(|(_, output)| output).collect();
    }
    assert!((15..=35).contains(&dials), "{dials} dials in ten minutes");
}

#[test]
fn back_off_starts_over_only_after_a_hold_time_of_established() {
    for (seconds, first) in [(8, false), (9, true)] {
        let mut bench = Bench::new(config(ConnectMode::Active));
        bench.input(Input::Start);
        for conn in 1..=6 {
            refuse(&mut bench, ConnId(conn));
            assert_eq!(show(&bench.tick()), format!("dial {}", conn + 1));
        }
        let conn = ConnId(7);
        bench.input(Input::Dialled(conn, endpoints()));
        bench.receive(conn, &Message::Open(their_open()));
        bench.receive(conn, &Message::Keepalive);
        for _ in 0..seconds {
            bench.advance(Duration::from_secs(1));
            bench.receive(conn, &Message::Keepalive);
        }
        bench.input(Input::Closed(conn, CloseReason::EndedByPeer));
        let wait = bench.peer.deadline().unwrap() - bench.now;
        let range = if first { 750..=1_250 } else { 22_500..=37_500 };
        assert!(range.contains(&wait.as_millis()), "{wait:?} after {seconds} s of Established");
    }
}

#[test]
fn maximum_prefixes_reached_waits_the_longest_delay() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    bench.advance(Duration::from_secs(8));
    bench.receive(conn, &Message::Notification(Notification::cease(cease::MAXIMUM_PREFIXES, "")));
    let wait = bench.peer.deadline().unwrap() - bench.now;
    assert!((22_500..=37_500).contains(&wait.as_millis()), "{wait:?}");
}

/// A connection that the peer opened and abandoned sits in OpenSent for 240 s; it must not keep us from dialling.
#[test]
fn an_abandoned_connection_does_not_stop_us_from_dialling() {
    let (mut bench, ours) = Bench::at(State::Connect, ConnectMode::Both);
    bench.accept();
    refuse(&mut bench, ours);
    assert_eq!(show(&bench.tick()), "dial 3");
    assert!(bench.peer.connections.len() == 2);
}

#[test]
fn start_does_not_cut_the_back_off_short() {
    let (mut bench, ours) = Bench::at(State::Connect, ConnectMode::Both);
    refuse(&mut bench, ours);
    assert_eq!(bench.input(Input::Start), []);
}
