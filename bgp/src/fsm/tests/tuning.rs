//! Settings that change under a session.

use std::time::Duration;

use super::support::{Bench, config, endpoints, routes, show};
use crate::fsm::{CloseReason, ConnId, ConnectMode, DialError, Input, State, Tuning};
use crate::route::NextHops;

fn tune(bench: &mut Bench, change: impl FnOnce(&mut Tuning)) -> String {
    let mut tuning = bench.peer.config().tuning();
    change(&mut tuning);
    show(&bench.input(Input::Tune(tuning)))
}

#[test]
fn a_session_goes_on_when_the_next_hop_changes_and_its_routes_are_sent_again() {
    let (mut bench, _) = Bench::at(State::Established, ConnectMode::Both);
    let outputs = bench.advertise(1, routes(2, 5));
    bench.acknowledge(outputs);
    assert_eq!(tune(&mut bench, |_| {}), "");
    let next_hop = NextHops { v4: Some([10, 9, 9, 9].into()), v6: None };
    assert_eq!(tune(&mut bench, |tuning| tuning.next_hops = next_hop), "send 1 UPDATE +2 -0");
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn who_dials_may_change_under_a_session_and_counts_from_the_next_one_on() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    assert_eq!(tune(&mut bench, |tuning| tuning.mode = ConnectMode::Passive), "");
    bench.input(Input::Closed(conn, CloseReason::EndedByPeer));
    assert_eq!(bench.state(), State::Active);
    assert!(bench.peer.deadline().is_none(), "nothing is awaited but the peer");
    assert_eq!(tune(&mut bench, |tuning| tuning.mode = ConnectMode::Active), "dial 2");
    bench.input(Input::Dialled(ConnId(2), endpoints()));
    assert_eq!(bench.state(), State::OpenSent);
}

#[test]
fn a_shorter_delay_counts_from_the_next_failure_on() {
    let mut bench = Bench::new(config(ConnectMode::Active));
    bench.input(Input::Start);
    assert_eq!(tune(&mut bench, |tuning| tuning.connect_retry = Duration::from_millis(100)), "");
    bench.input(Input::DialFailed(ConnId(1), DialError::Refused));
    let wait = bench.peer.deadline().unwrap() - bench.now;
    assert!(wait <= Duration::from_millis(125), "{wait:?}");
}
