//! Two connections between the same two peers (RFC 4271 §6.8): one by one on the bench, and between two machines.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::network::World;
use super::support::{Bench, LOCAL_AS, PEER_AS, endpoints, show, their_open};
use crate::fsm::{CloseReason, ConnId, ConnectMode, Input, PeerConfig, PeerEvent, State};
use crate::wire::{Asn, Capability, Family, Message, Open};

const OURS: ConnId = ConnId(1);

fn open_of(id: [u8; 4]) -> Message {
    let capabilities =
        vec![Capability::Multiprotocol(Family::IPV4_UNICAST), Capability::FourOctetAs(PEER_AS)];
    Message::Open(Open::new(PEER_AS, 90, Ipv4Addr::from(id), capabilities))
}

/// A peer with two connections in OpenSent: ours (1) and theirs (2).
fn two_in_open_sent() -> (Bench, ConnId) {
    let (mut bench, _) = Bench::at(State::OpenSent, ConnectMode::Both);
    let theirs = bench.accept().0;
    (bench, theirs)
}

#[test]
fn the_connection_of_the_higher_identifier_survives_whichever_open_comes_first() {
    const LOWER: [u8; 4] = [10, 0, 0, 1];
    const HIGHER: [u8; 4] = [10, 0, 0, 3];
    // Their identifier, whether the OPEN on our connection comes first, the effect of the second OPEN.
    let cases = [
        (LOWER, true, "send 2 6/7, close 2"),
        (LOWER, false, "send 2 6/7, close 2, send 1 KEEPALIVE"),
        (HIGHER, true, "send 1 6/7, close 1, send 2 KEEPALIVE"),
        (HIGHER, false, "send 1 6/7, close 1"),
    ];
    for (id, ours_first, want) in cases {
        let (mut bench, theirs) = two_in_open_sent();
        let (first, second) = if ours_first { (OURS, theirs) } else { (theirs, OURS) };
        assert_eq!(show(&bench.receive(first, &open_of(id))), format!("send {} KEEPALIVE", first.0));
        assert_eq!(show(&bench.receive(second, &open_of(id))), want);
        // The survivor has kept its id.
        let survivor = if id == LOWER { OURS } else { theirs };
        let outputs = bench.receive(survivor, &Message::Keepalive);
        assert_eq!(outputs.len(), 2, "{}", show(&outputs));
        assert_eq!(bench.state(), State::Established);
        let loser = if survivor == OURS { theirs } else { OURS };
        assert_eq!(bench.receive(loser, &Message::Keepalive), [], "what the loser still says is ignored");
        assert_eq!(bench.input(Input::Closed(loser, CloseReason::EndedByPeer)), []);
        assert_eq!(bench.state(), State::Established);
    }
}

/// RFC 6286 §2.3.
#[test]
fn between_equal_identifiers_the_higher_as_decides() {
    let open = open_of([10, 0, 0, 2]);
    let (mut bench, theirs) = two_in_open_sent();
    bench.receive(OURS, &open);
    assert!(LOCAL_AS > PEER_AS);
    assert_eq!(show(&bench.receive(theirs, &open)), "send 2 6/7, close 2");
}

#[test]
fn a_session_that_stands_wins_over_any_other() {
    let (mut bench, theirs) = two_in_open_sent();
    bench.receive(OURS, &Message::Open(their_open()));
    let outputs = bench.receive(OURS, &Message::Keepalive);
    assert!(show(&outputs).starts_with("Established, send 2 6/7, close 2, send 1 EoR"), "{}", show(&outputs));
    assert_eq!(bench.receive(theirs, &open_of([10, 0, 0, 9])), []);
    let (conn, outputs) = bench.accept();
    assert_eq!(show(&outputs), format!("send {0} 6/7, close {0}", conn.0));
}

#[test]
fn a_dial_under_way_is_given_up_once_the_peer_has_got_through() {
    let (mut bench, ours) = Bench::at(State::Connect, ConnectMode::Both);
    let (theirs, _) = bench.accept();
    bench.receive(theirs, &Message::Open(their_open()));
    let outputs = bench.receive(theirs, &Message::Keepalive);
    assert!(show(&outputs).starts_with("Established, close 1, send 2 EoR"), "{}", show(&outputs));
    assert_eq!(show(&bench.input(Input::Dialled(ours, endpoints()))), "close 1", "it came through after all");
}

#[test]
fn a_peer_that_begins_anew_replaces_its_silent_connection_but_not_a_confirmed_one() {
    let mut bench = Bench::new(super::support::config(ConnectMode::Passive));
    bench.input(Input::Start);
    bench.accept();
    let (second, outputs) = bench.accept();
    assert_eq!(show(&outputs), "send 1 6/7, close 1, send 2 OPEN");
    bench.receive(second, &Message::Open(their_open()));
    assert_eq!(show(&bench.accept().1), "send 3 6/7, close 3");
    bench.receive(second, &Message::Keepalive);
    assert_eq!(bench.state(), State::Established);
}

/// The speakers of a simulated pair, by identifier and ASN.
fn pair(first: ([u8; 4], u32), second: ([u8; 4], u32), seed: u64) -> [PeerConfig; 2] {
    let config = |own: ([u8; 4], u32), other: ([u8; 4], u32), seed| PeerConfig {
        seed,
        ..PeerConfig::new(Asn(own.1), Asn(other.1), Ipv4Addr::from(own.0))
    };
    [config(first, second, seed), config(second, first, !seed)]
}

/// Both dial at nearly the same time over a network whose delays are random, so that SYNs, OPENs and KEEPALIVEs of the
/// two connections come in every order.
#[test]
fn two_speakers_that_dial_each_other_end_with_one_session_that_both_mean() {
    let relations = [
        ([10, 0, 0, 1], 65001, [10, 0, 0, 2], 65002),
        ([10, 0, 0, 2], 65001, [10, 0, 0, 1], 65002),
        ([10, 0, 0, 1], 65001, [10, 0, 0, 1], 65002),
        ([10, 0, 0, 1], 65002, [10, 0, 0, 1], 65001),
        ([10, 0, 0, 1], 65001, [10, 0, 0, 2], 65001),
    ];
    const RUNS: u64 = 200;
    let mut collisions = 0;
    let mut both_closed = 0;
    let mut slowest = Duration::ZERO;
    for (id, asn, other_id, other_asn) in relations {
        for seed in 0..RUNS {
            let mut world =
                World::new(pair((id, asn), (other_id, other_asn), seed), seed, Duration::from_millis(50));
            world.input(0, Input::Start);
            world.advance(Duration::from_millis(seed % 30));
            world.input(1, Input::Start);
            assert!(
                world.run_until(Duration::from_secs(60), World::converged),
                "seed {seed}: {} and {} after a minute: {:?}",
                world.state(0),
                world.state(1),
                world.log
            );
            slowest = slowest.max(world.now - world.begin);
            both_closed += usize::from(world.wires() > 2);
            collisions += usize::from(world.wires() > 1);
            let before = (sessions(&world, 0), sessions(&world, 1));
            world.advance(Duration::from_secs(30));
            assert!(world.converged(), "seed {seed}: it did not last");
            assert_eq!((sessions(&world, 0), sessions(&world, 1)), before, "seed {seed}");
        }
    }
    let runs = relations.len() * usize::try_from(RUNS).unwrap();
    println!(
        "{runs} starts, {collisions} collisions, {both_closed} of them closed both connections and had to dial again, slowest {slowest:?}"
    );
    assert!(collisions > runs / 2, "the delays made only {collisions} collisions in {runs} starts");
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
}

/// How many sessions `side` has had.
fn sessions(world: &World, side: usize) -> usize {
    let of =
        |(_, on, event): &&(_, usize, PeerEvent)| *on == side && matches!(event, PeerEvent::Established(_));
    world.log.iter().filter(of).count()
}
