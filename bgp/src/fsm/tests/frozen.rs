//! A peer that was frozen, written, read and thawed goes on exactly as its twin that was not.

mod damage;
mod golden;

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;

use super::network::{Reach, World};
use super::properties::configs;
use super::support::routes;
use crate::adj_rib_in::Watched;
use crate::adj_rib_out::Export;
use crate::frozen;
use crate::fsm::{
    ConnectMode, Endpoints, Extent, GracefulRestart, HoldTime, Input, Liveness, Peer, PeerConfig,
    RestartTime, State, Tuning,
};
use crate::route::{NextHops, RouteAttributes, Routes};
use crate::time::Instant;
use crate::wire::{Asn, LargeCommunity, Notification, Role};

/// `peer`, through JSON.
pub(super) fn rewritten(peer: &Peer, now: Instant) -> Peer {
    let text = serde_json::to_string(&peer.freeze()).unwrap();
    let frozen: frozen::Peer = serde_json::from_str(&text).unwrap();
    let (routes, watched) = (peer.wanted.clone(), Arc::clone(&peer.watched));
    let thawed = Peer::thaw(peer.config.clone(), &frozen, routes, watched, now);
    thawed.unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// `count` routes with attributes of their own and of all lengths: some fill a message, some fit in none.
pub(super) fn heavy(count: u32, med: u32) -> Routes {
    let mut heavy = Routes::new();
    for (n, prefix) in (0..).zip(routes(count, med).keys()) {
        let large = (0..n * 37 % 420).map(|n| LargeCommunity { global: 65001, local1: med, local2: n });
        let route = RouteAttributes {
            med: (n % 2 == 0).then_some(med),
            large_communities: large.collect(),
            ..RouteAttributes::default()
        };
        heavy.insert(*prefix, Arc::new(route));
    }
    heavy
}

fn watched(count: u32) -> Arc<Watched> {
    let v6: IpNet = "2001:db8::/32".parse().unwrap();
    Arc::new(routes(count, 0).keys().copied().chain([v6]).collect())
}

#[derive(Debug, Clone)]
enum Op {
    AdvanceClock(u64),
    Cut(usize),
    Kill(usize),
    Reach(Reach),
    Delay(u64),
    Split(bool),
    Advertise(usize, u32, u32, bool, Extent),
    Watch(usize, u32),
    Tune(usize, Option<u32>, Export, bool, u64),
    Addresses(usize, Option<bool>),
    Liveness(usize, Liveness),
    Stop(usize),
    Start(usize),
    Tick(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let side = || 0..2_usize;
    let export =
        prop_oneof![2 => Just(Export::Plain), 1 => Just(Export::Leaving), 1 => Just(Export::Nothing)];
    let liveness = prop_oneof![
        Just(Liveness::Unknown),
        Just(Liveness::Awaited),
        Just(Liveness::Up),
        Just(Liveness::Lost("silence".to_owned()))
    ];
    let extent = prop_oneof![3 => Just(Extent::Whole), 1 => Just(Extent::Partial)];
    let reach = prop_oneof![Just(Reach::Accepts), Just(Reach::Refuses), Just(Reach::Drops)];
    prop_oneof![
        6 => (0..12_000_u64).prop_map(Op::AdvanceClock),
        8 => (0..200_u64).prop_map(Op::AdvanceClock),
        1 => (0..4_usize).prop_map(Op::Cut),
        1 => (0..4_usize).prop_map(Op::Kill),
        1 => reach.prop_map(Op::Reach),
        1 => prop_oneof![Just(1_u64), Just(50), Just(800)].prop_map(Op::Delay),
        1 => any::<bool>().prop_map(Op::Split),
        6 => (side(), 0..60_u32, 0..3_u32, any::<bool>(), extent)
            .prop_map(|(side, count, med, heavy, extent)| Op::Advertise(side, count, med, heavy, extent)),
        3 => (side(), 0..60_u32).prop_map(|(side, count)| Op::Watch(side, count)),
        2 => (side(), prop::option::of(0..3_u32), export, any::<bool>(), 1..3_u64)
            .prop_map(|(side, med, export, hop, retry)| Op::Tune(side, med, export, hop, retry)),
        1 => (side(), prop::option::weighted(0.8, any::<bool>()))
            .prop_map(|(side, beside)| Op::Addresses(side, beside)),
        1 => (side(), liveness).prop_map(|(side, liveness)| Op::Liveness(side, liveness)),
        1 => side().prop_map(Op::Stop),
        1 => side().prop_map(Op::Start),
        1 => side().prop_map(Op::Tick),
    ]
}

fn perform(world: &mut World, op: Op) {
    match op {
        Op::AdvanceClock(millis) => world.advance(Duration::from_millis(millis)),
        Op::Cut(which) => world.cut(which),
        Op::Kill(which) => world.kill(which),
        Op::Reach(reach) => world.reach = reach,
        Op::Delay(millis) => world.delay = Duration::from_millis(millis),
        Op::Split(split) => world.split = split,
        Op::Advertise(side, count, med, is_heavy, extent) => {
            let set = if is_heavy { heavy(count, med) } else { routes(count, med) };
            world.advertise_as(side, set, extent);
        }
        Op::Watch(side, count) => world.input(side, Input::Watch(watched(count))),
        Op::Tune(side, med, export, hop, retry) => {
            let next_hops = NextHops { v4: hop.then_some([10, 9, 9, 9].into()), v6: None };
            let tuning = world.peers[side].config.tuning();
            let connect_retry = Duration::from_secs(retry);
            world.input(side, Input::Tune(Tuning { med, export, next_hops, connect_retry, ..tuning }));
        }
        Op::Addresses(side, beside) => {
            let ends: Vec<_> =
                world.peers[side].endpoints().map(|(conn, ends)| (conn, ends.clone())).collect();
            for (conn, ends) in ends {
                let ends = beside.map(|beside| Endpoints { local_is_service: beside, ..ends });
                world.input(side, Input::AddressesChanged(conn, ends));
            }
        }
        Op::Liveness(side, liveness) => world.input(side, Input::Liveness(liveness)),
        Op::Stop(side) => world.input(side, Input::Stop(Notification::cease(2, "stop"))),
        Op::Start(side) => world.input(side, Input::Start),
        Op::Tick(side) => world.input(side, Input::Tick),
    }
}

#[derive(Debug, Clone)]
struct Kind {
    modes: (ConnectMode, ConnectMode),
    hold: u16,
    internal: bool,
    graceful: bool,
    role: bool,
}

fn kind() -> impl Strategy<Value = Kind> {
    let modes = prop_oneof![
        2 => Just((ConnectMode::Both, ConnectMode::Both)),
        2 => Just((ConnectMode::Active, ConnectMode::Passive)),
    ];
    let hold = prop_oneof![Just(0_u16), Just(3), Just(9), Just(90)];
    (modes, hold, any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(modes, hold, internal, graceful, role)| Kind { modes, hold, internal, graceful, role })
}

fn settings(kind: &Kind, seed: u64) -> [PeerConfig; 2] {
    let configs = configs(kind.modes, (1, 2), kind.hold.max(3), seed);
    let mut roles = [Role::Provider, Role::Customer].into_iter();
    configs.map(|mut config| {
        let role = roles.next().filter(|_| kind.role && !kind.internal);
        if kind.internal {
            (config.local_as, config.peer_as) = (Asn(65001), Asn(65001));
        }
        if kind.hold == 0 {
            (config.hold_time, config.awaits_bfd) = (HoldTime::NONE, true);
        }
        let graceful = GracefulRestart {
            restart_time: RestartTime::DEFAULT,
            notification: true,
            restarted: Some(config.families.clone()),
        };
        PeerConfig { role, graceful_restart: kind.graceful.then_some(graceful), ..config }
    })
}

proptest! {
    #![proptest_config(crate::testing::cases(24))]

    #[test]
    fn a_thawed_peer_goes_on_as_its_twin(
        kind in kind(),
        seed: u64,
        freezes in prop_oneof![Just(3_u64), Just(30), Just(100)],
        split: bool,
        ops in proptest::collection::vec(op(), 0..40),
    ) {
        let mut world = World::new(settings(&kind, seed), seed, Duration::from_millis(20));
        world.compare_with_twins(freezes);
        world.split = split;
        for side in [0, 1] {
            world.input(side, Input::Start);
            world.input(side, Input::Liveness(Liveness::Up));
        }
        for op in ops {
            perform(&mut world, op);
        }
        world.advance(Duration::from_secs(100));
    }

    #[test]
    fn two_speakers_converge_although_they_are_frozen_at_any_moment(
        kind in kind(),
        seed: u64,
        freezes in prop_oneof![Just(1_u64), Just(10)],
        ops in proptest::collection::vec(op(), 0..20),
    ) {
        let mut world = World::new(settings(&kind, seed), seed, Duration::from_millis(20));
        world.freeze_at_any_moment(freezes);
        for op in ops {
            perform(&mut world, op);
        }
        world.reach = Reach::Accepts;
        world.delay = Duration::from_millis(20);
        for side in [0, 1] {
            world.input(side, Input::Start);
            world.input(side, Input::Liveness(Liveness::Up));
            let tuning = world.peers[side].config.tuning();
            world.input(side, Input::Tune(Tuning { export: Export::Plain, ..tuning }));
            world.advertise(side, routes(20, 7));
        }
        let done = |world: &World| {
            let there = |side| world.received(side).is_some_and(|rib| rib.len() == 20 && rib.values().all(|med| *med == 7));
            world.converged() && there(0) && there(1)
        };
        prop_assert!(world.run_until(Duration::from_secs(490), done), "{:?}", world.log);
        // A session that lives is never lost to a freeze.
        let events = world.log.len();
        world.advance(Duration::from_secs(30));
        prop_assert!(done(&world) && world.state(0) == State::Established);
        let downs = world.log.split_off(events);
        prop_assert!(downs.iter().all(|(_, _, event)| !matches!(event, crate::PeerEvent::Down { .. })), "{:?}", downs);
    }
}

/// The peer is frozen while it dials: it dials again.
#[test]
fn a_dial_under_way_is_begun_anew() {
    let (bench, dropped) = super::support::Bench::at(State::Connect, ConnectMode::Active);
    let mut peer = rewritten(&bench.peer, bench.now);
    assert_eq!(peer.deadline(), Some(bench.now));
    let outputs = peer.handle(Input::Tick, bench.now);
    let [crate::fsm::Output::Dial(conn)] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_ne!(*conn, dropped);
}
