//! Every state against every input: the state that follows and the exact outputs.

use bytes::Bytes;

use super::support::{Bench, encode, endpoints, routes, show, their_open, update};
use crate::fsm::{CloseReason, ConnId, ConnectMode, DialError, Extent, Input, Liveness, State, Version};
use crate::wire::iana::notification::cease;
use crate::wire::{Family, Message, Notification, RefreshKind, RouteRefresh};

/// `before | input | after | outputs`. Connection 1 is the one that the state is about, 2 one that the peer opens, 9
/// one that is long gone. `accept` is the peer connecting, `expire` the next deadline passing.
const TABLE: &str = include_str!("transitions.txt");

#[test]
fn every_state_meets_every_input() {
    let mut rows = 0;
    let mut actual = String::new();
    for line in TABLE.lines().filter(|line| !line.trim().is_empty()) {
        let [before, input, ..] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("no row: {line}")
        };
        let (mut bench, conn) = Bench::at(named_state(before), mode_of(before));
        let outputs = perform(&mut bench, conn, input);
        let row = format!("{before:<11} | {input:<12} | {:<11} | {}", bench.state(), show(&outputs));
        actual.push_str(row.trim_end());
        actual.push('\n');
        rows += 1;
    }
    assert_eq!(rows, STATES.len() * INPUTS.len(), "the table is not complete");
    assert!(actual == TABLE, "the table says something else; this is what happens:\n{actual}");
}

#[test]
fn the_table_has_each_combination_once() {
    for state in STATES {
        for input in INPUTS {
            let rows = TABLE.lines().filter(|line| {
                let mut columns = line.split('|').map(str::trim);
                columns.next() == Some(state) && columns.next() == Some(input)
            });
            assert_eq!(rows.count(), 1, "{state} | {input}");
        }
    }
}

const STATES: [&str; 6] = ["Idle", "Active", "Connect", "OpenSent", "OpenConfirm", "Established"];

const INPUTS: [&str; 26] = [
    "Start",
    "Stop",
    "Advertise",
    "Dialled",
    "DialFailed",
    "accept",
    "OPEN",
    "KEEPALIVE",
    "UPDATE",
    "REFRESH",
    "NOTIFICATION",
    "marker",
    "length",
    "type",
    "bad-notif",
    "Sent",
    "Closed",
    "moved",
    "vanished",
    "bfd-up",
    "bfd-lost",
    "bfd-awaited",
    "expire",
    "Tick-early",
    "late-data",
    "late-close",
];

fn named_state(name: &str) -> State {
    match name {
        "Idle" => State::Idle,
        "Active" => State::Active,
        "Connect" => State::Connect,
        "OpenSent" => State::OpenSent,
        "OpenConfirm" => State::OpenConfirm,
        "Established" => State::Established,
        other => panic!("{other} is no state"),
    }
}

fn mode_of(state: &str) -> ConnectMode {
    if state == "Active" { ConnectMode::Passive } else { ConnectMode::Both }
}

fn perform(bench: &mut Bench, conn: ConnId, input: &str) -> Vec<crate::fsm::Output> {
    let received = |message: &Message| Input::Received(conn, encode(message));
    let raw = |edit: fn(&mut Vec<u8>)| {
        let mut bytes = encode(&Message::Keepalive).to_vec();
        edit(&mut bytes);
        Input::Received(conn, Bytes::from(bytes))
    };
    let gone = ConnId(9);
    let input = match input {
        "Start" => Input::Start,
        "Stop" => Input::Stop(Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN, "maintenance")),
        "Advertise" => Input::Advertise(Version(1), routes(3, 0), Extent::Whole),
        "Dialled" => Input::Dialled(conn, endpoints()),
        "DialFailed" => Input::DialFailed(conn, DialError::Refused),
        "accept" => return bench.accept().1,
        "OPEN" => received(&Message::Open(their_open())),
        "KEEPALIVE" => received(&Message::Keepalive),
        "UPDATE" => received(&update(1, 2)),
        "REFRESH" => {
            received(&Message::RouteRefresh(RouteRefresh::new(Family::IPV4_UNICAST, RefreshKind::Normal)))
        }
        "NOTIFICATION" => {
            received(&Message::Notification(Notification::cease(cease::ADMINISTRATIVE_RESET, "bye")))
        }
        "marker" => raw(|bytes| bytes[3] = 0),
        "length" => raw(|bytes| bytes[17] = 18),
        "type" => raw(|bytes| bytes[18] = 77),
        "bad-notif" => raw(|bytes| bytes[18] = 3),
        "Sent" => Input::Sent(conn, 1),
        "Closed" => Input::Closed(conn, CloseReason::EndedByPeer),
        "moved" => Input::AddressesChanged(conn, Some(endpoints())),
        "vanished" => Input::AddressesChanged(conn, None),
        "bfd-up" => Input::Liveness(Liveness::Up),
        "bfd-lost" => Input::Liveness(Liveness::Lost("silence".to_owned())),
        "bfd-awaited" => Input::Liveness(Liveness::Awaited),
        "expire" => {
            if bench.peer.deadline().is_none() {
                return Vec::new();
            }
            return bench.tick();
        }
        "Tick-early" => Input::Tick,
        "late-data" => Input::Received(gone, encode(&Message::Open(their_open()))),
        "late-close" => Input::Closed(gone, CloseReason::EndedByPeer),
        other => panic!("{other} is no input"),
    };
    bench.input(input)
}
