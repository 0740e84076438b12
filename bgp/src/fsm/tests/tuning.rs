//! Settings that change under a session.

use std::sync::Arc;
use std::time::Duration;

use super::support::{Bench, config, endpoints, routes, show};
use crate::adj_rib_out::{Export, Withheld};
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
fn a_session_goes_on_when_its_med_changes_and_its_routes_are_sent_again() {
    let (mut bench, _) = Bench::at(State::Established, ConnectMode::Both);
    let mut all = routes(2, 5);
    all.insert("198.51.100.0/24".parse().unwrap(), Arc::default());
    let outputs = bench.advertise(1, all);
    bench.acknowledge(outputs);
    assert_eq!(tune(&mut bench, |tuning| tuning.med = Some(50)), "send 1 UPDATE +1 -0", "two have their own");
    assert_eq!(tune(&mut bench, |tuning| tuning.med = Some(50)), "");
    assert_eq!(tune(&mut bench, |tuning| tuning.med = None), "send 1 UPDATE +1 -0");
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

#[test]
fn a_session_that_is_drained_keeps_its_routes_gracefully_then_withdraws_them_and_gets_no_new_one() {
    let (mut bench, _) = Bench::at(State::Established, ConnectMode::Both);
    let outputs = bench.advertise(1, routes(2, 5));
    bench.acknowledge(outputs);
    assert_eq!(tune(&mut bench, |tuning| tuning.export = Export::Leaving), "send 1 UPDATE +2 -0");
    assert_eq!(show(&bench.advertise(2, routes(3, 5))), "", "the third is new");
    let withheld =
        |bench: &Bench| bench.peer.status(bench.now).withheld.values().copied().collect::<Vec<_>>();
    assert_eq!(withheld(&bench), [Withheld::Drained]);
    assert_eq!(show(&bench.advertise(3, routes(1, 5))), "send 1 UPDATE +0 -1");
    assert_eq!(show(&bench.advertise(4, routes(3, 5))), "", "what was withdrawn does not come back");
    assert_eq!(tune(&mut bench, |tuning| tuning.export = Export::Nothing), "send 1 UPDATE +0 -1");
    assert_eq!(withheld(&bench), [Withheld::Drained; 3]);
    assert_eq!(bench.peer.status(bench.now).advertised, 0);
    assert_eq!(bench.state(), State::Established);
    assert_eq!(tune(&mut bench, |tuning| tuning.export = Export::Plain), "send 1 UPDATE +3 -0");
    assert_eq!(withheld(&bench), []);
}

#[test]
fn a_session_that_begins_drained_gets_no_route() {
    let mut drained = config(ConnectMode::Both);
    drained.export = Export::Leaving;
    let (mut bench, _) = Bench::at_with(drained, State::Established);
    assert_eq!(show(&bench.advertise(1, routes(2, 5))), "");
}
