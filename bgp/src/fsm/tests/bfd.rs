//! A peer whose way is watched by BFD.

use super::support::{Bench, config, endpoints, show, their_open, their_open_with_hold};
use std::time::Duration;

use crate::fsm::{CloseReason, ConnectMode, HoldTime, Input, Liveness, Output, PeerConfig, State};
use crate::wire::Message;

fn lost() -> Input {
    Input::Liveness(Liveness::Lost("Up to Down: Control Detection Time Expired".to_owned()))
}

#[test]
fn a_session_ends_at_once_with_the_way_and_begins_at_once_when_that_is_back() {
    let (mut bench, _) = Bench::at(State::Established, ConnectMode::Active);
    let outputs = bench.input(lost());
    assert_eq!(
        show(&outputs),
        "send 1 6/10, close 1, Down! (BFD: Up to Down: Control Detection Time Expired)"
    );
    assert_eq!(show(&bench.input(Input::Liveness(Liveness::Up))), "dial 2");
}

#[test]
fn without_a_word_of_bfd_it_is_tried_again_after_a_while() {
    let (mut bench, _) = Bench::at(State::Established, ConnectMode::Active);
    bench.input(lost());
    let lost_at = bench.now;
    assert_eq!(show(&bench.tick()), "dial 2");
    let after = bench.now - lost_at;
    assert!(after >= PeerConfig::MAX_RETRY * 3 / 4 && after <= PeerConfig::MAX_RETRY * 5 / 4, "{after:?}");
}

#[test]
fn a_strict_peer_neither_dials_nor_accepts_before_bfd_is_up() {
    let mut bench = Bench::new(PeerConfig { awaits_bfd: true, ..config(ConnectMode::Both) });
    assert_eq!(show(&bench.input(Input::Start)), "");
    assert_eq!(bench.peer.deadline(), None, "BFD will say");
    assert!(bench.peer.status(bench.now).held_back);
    let (_, outputs) = bench.accept();
    assert_eq!(show(&outputs), "send 1 6/5, close 1");
    assert_eq!(show(&bench.input(Input::Liveness(Liveness::Up))), "dial 2");
    assert!(!bench.peer.status(bench.now).held_back);
}

#[test]
fn a_strict_peer_that_lost_its_way_waits_for_it() {
    let (mut bench, _) = Bench::at(State::Established, ConnectMode::Active);
    bench.input(lost());
    assert_eq!(show(&bench.input(Input::Liveness(Liveness::Awaited))), "");
    assert_eq!(bench.peer.deadline(), None);
    assert_eq!(show(&bench.input(Input::Liveness(Liveness::Up))), "dial 2");
}

#[test]
fn a_session_that_stands_outlives_a_bfd_that_was_taken_out_of_service() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Active);
    assert_eq!(show(&bench.input(Input::Liveness(Liveness::Awaited))), "");
    assert_eq!(bench.state(), State::Established);
    // But no other begins after it.
    let outputs = bench.input(Input::Closed(conn, CloseReason::EndedByPeer));
    assert!(show(&outputs).contains("Down!"), "{}", show(&outputs));
    assert_eq!(bench.peer.deadline(), None);
}

#[test]
fn connections_that_have_begun_are_given_up_when_bfd_is_to_come_first() {
    let mut bench = Bench::new(config(ConnectMode::Active));
    let outputs = bench.input(Input::Start);
    let [Output::Dial(conn)] = outputs.as_slice() else { panic!("{outputs:?}") };
    bench.input(Input::Dialled(*conn, endpoints()));
    bench.receive(*conn, &Message::Open(their_open()));
    assert_eq!(show(&bench.input(Input::Liveness(Liveness::Awaited))), "send 1 6/7, close 1");
    assert_eq!(bench.state(), State::Idle);
}

fn strict(hold_time: HoldTime) -> PeerConfig {
    PeerConfig { awaits_bfd: true, hold_time, ..config(ConnectMode::Active) }
}

/// A strict peer without a hold time of ours that is Established, with the one that the other side offers.
fn without_hold_time(theirs: u16) -> Bench {
    let settings = strict(HoldTime::NONE);
    let mut bench = Bench::new(settings);
    bench.input(Input::Start);
    let outputs = bench.input(Input::Liveness(Liveness::Up));
    let [Output::Dial(conn)] = outputs.as_slice() else { panic!("{outputs:?}") };
    let outputs = bench.input(Input::Dialled(*conn, endpoints()));
    bench.acknowledge(outputs);
    let outputs = bench.receive(*conn, &Message::Open(their_open_with_hold(theirs)));
    bench.acknowledge(outputs);
    let outputs = bench.receive(*conn, &Message::Keepalive);
    bench.acknowledge(outputs);
    assert_eq!(bench.state(), State::Established);
    bench
}

#[test]
fn without_a_hold_time_only_bfd_ends_a_session() {
    for theirs in [90, 0] {
        let mut bench = without_hold_time(theirs);
        assert_eq!(bench.peer.status(bench.now).session.unwrap().hold_time, 0);
        assert_eq!(bench.peer.deadline(), None, "no timer runs");
        assert_eq!(bench.advance(Duration::from_secs(86_400)), [], "a day without a word");
        let outputs = bench.input(lost());
        assert!(show(&outputs).contains("Down!"), "{}", show(&outputs));
    }
}

#[test]
fn without_a_hold_time_a_session_does_not_outlive_bfd() {
    let mut bench = without_hold_time(90);
    let outputs = bench.input(Input::Liveness(Liveness::Awaited));
    assert_eq!(
        show(&outputs),
        "send 1 6/10, close 1, Down! (BFD: out of service, and there is no hold time)"
    );
    assert_eq!(bench.peer.deadline(), None);
}

#[test]
fn who_does_not_await_bfd_has_a_hold_time() {
    let peer = crate::fsm::Peer::new(PeerConfig { hold_time: HoldTime::NONE, ..config(ConnectMode::Both) });
    assert_eq!(peer.config().hold_time, HoldTime::DEFAULT);
}

#[test]
fn a_peer_cannot_take_our_hold_time_away_even_where_bfd_comes_first() {
    let mut bench = Bench::new(strict(HoldTime::DEFAULT));
    bench.input(Input::Start);
    let outputs = bench.input(Input::Liveness(Liveness::Up));
    let [Output::Dial(conn)] = outputs.as_slice() else { panic!("{outputs:?}") };
    bench.input(Input::Dialled(*conn, endpoints()));
    let outputs = bench.receive(*conn, &Message::Open(their_open_with_hold(0)));
    assert!(show(&outputs).starts_with("send 1 2/6, close 1"), "{}", show(&outputs));
}
