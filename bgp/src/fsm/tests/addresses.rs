//! The ends of a connection on a host whose addresses come and go.

use std::sync::Arc;

use super::support::{Bench, config, endpoints, routes, show};
use crate::fsm::{ConnId, ConnectMode, DialError, Endpoints, Input, State};
use crate::route::RouteAttributes;
use crate::wire::iana::notification::cease;
use crate::wire::{Message, Notification};

#[test]
fn what_has_another_next_hop_now_is_sent_again_and_what_has_none_is_withdrawn() {
    let both =
        routes(2, 5).iter().map(|(prefix, route)| (*prefix, Arc::clone(route))).chain([v6_route()]).collect();
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Passive);
    let outputs = bench.advertise(1, both);
    bench.acknowledge(outputs);
    let ends = |beside: &[&str]| {
        let interface_addresses = beside.iter().map(|address| address.parse().unwrap()).collect();
        Some(Endpoints { interface_addresses, ..endpoints() })
    };
    let change = |bench: &mut Bench, beside: &[&str]| {
        let outputs = bench.input(Input::AddressesChanged(conn, ends(beside)));
        show(&bench.acknowledge(outputs))
    };
    assert_eq!(change(&mut bench, &["2001:db8::2"]), "", "the same as before");
    assert_eq!(change(&mut bench, &["2001:db8::2", "2001:db8::3"]), "", "the first one is what counts");
    assert_eq!(change(&mut bench, &["2001:db8::9"]), "send 1 UPDATE +1 -0");
    assert_eq!(change(&mut bench, &[]), "send 1 UPDATE +0 -1");
    assert_eq!(bench.peer.status(bench.now).withheld.len(), 1);
    assert_eq!(change(&mut bench, &["2001:db8::9"]), "send 1 UPDATE +1 -0");
    assert_eq!(bench.state(), State::Established);
}

fn v6_route() -> (ipnet::IpNet, Arc<RouteAttributes>) {
    ("2001:db8:1::1/128".parse().unwrap(), Arc::new(RouteAttributes::default()))
}

#[test]
fn a_dial_that_failed_need_not_wait_when_the_host_has_changed_and_one_that_was_refused_must() {
    let mut bench = Bench::new(config(ConnectMode::Active));
    bench.input(Input::Start);
    assert_eq!(bench.input(Input::HostChanged), [], "a dial is under way");
    let source = DialError::Source {
        address: [192, 0, 2, 1].into(),
        cause: "cannot assign requested address".to_owned(),
    };
    bench.input(Input::DialFailed(ConnId(1), source));
    assert_eq!(show(&bench.input(Input::HostChanged)), "dial 2");
    bench.input(Input::Dialled(ConnId(2), endpoints()));
    bench.receive(ConnId(2), &Message::Notification(Notification::cease(cease::CONNECTION_REJECTED, "")));
    assert_eq!(bench.input(Input::HostChanged), [], "the router has refused us");
    assert_eq!(show(&bench.tick()), "dial 3");
    bench.input(Input::DialFailed(ConnId(3), DialError::Refused));
    assert_eq!(bench.input(Input::HostChanged), [], "this host lacked nothing");
}

#[test]
fn a_session_whose_address_is_gone_begins_anew() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Active);
    let outputs = bench.input(Input::AddressesChanged(conn, None));
    assert_eq!(
        show(&outputs),
        "send 1 6/6, close 1, Down! (our own address of the session is gone from this host)"
    );
    assert_eq!(show(&bench.tick()), "dial 2");
}
