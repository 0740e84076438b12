//! After any faults of the network, two speakers come up again, and then each has the other's desired set.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;

use super::network::{Reach, World};
use super::support::routes;
use crate::fsm::{ConnectMode, HoldTime, Input, PeerConfig, State};
use crate::wire::{Asn, Notification};

#[derive(Debug, Clone)]
enum Op {
    AdvanceClock(u64),
    /// Both ends hear that a connection is gone.
    Cut(usize),
    /// Nothing arrives on a connection any more, and neither side gets an event.
    Kill(usize),
    Reach(Reach),
    Delay(u64),
    Advertise(usize, u32, u32),
    Stop(usize),
    Start(usize),
    Tick(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let side = 0..2_usize;
    prop_oneof![
        8 => (0..12_000_u64).prop_map(Op::AdvanceClock),
        4 => (0..200_u64).prop_map(Op::AdvanceClock),
        2 => (0..4_usize).prop_map(Op::Cut),
        2 => (0..4_usize).prop_map(Op::Kill),
        1 => prop_oneof![Just(Reach::Accepts), Just(Reach::Refuses), Just(Reach::Drops)].prop_map(Op::Reach),
        1 => prop_oneof![Just(1_u64), Just(50), Just(800)].prop_map(Op::Delay),
        3 => (side.clone(), 0..40_u32, 0..3_u32).prop_map(|(side, count, med)| Op::Advertise(side, count, med)),
        1 => side.clone().prop_map(Op::Stop),
        1 => side.clone().prop_map(Op::Start),
        1 => side.prop_map(Op::Tick),
    ]
}

fn modes() -> impl Strategy<Value = (ConnectMode, ConnectMode)> {
    prop_oneof![
        3 => Just((ConnectMode::Both, ConnectMode::Both)),
        1 => Just((ConnectMode::Active, ConnectMode::Passive)),
        1 => Just((ConnectMode::Passive, ConnectMode::Both)),
    ]
}

pub(super) fn configs(
    (first, second): (ConnectMode, ConnectMode),
    ids: (u8, u8),
    hold: u16,
    seed: u64,
) -> [PeerConfig; 2] {
    let config = |own: u32, other: u32, id: u8, mode, seed| PeerConfig {
        hold_time: HoldTime::from_secs(hold).unwrap(),
        mode,
        seed,
        next_hops: crate::NextHops { v4: Some(Ipv4Addr::new(10, 0, 0, id)), v6: None },
        ..PeerConfig::new(Asn(own), Asn(other), Ipv4Addr::new(10, 0, 0, id))
    };
    [config(65001, 65002, ids.0, first, seed), config(65002, 65001, ids.1, second, !seed)]
}

fn perform(world: &mut World, op: Op) {
    match op {
        Op::AdvanceClock(millis) => world.advance(Duration::from_millis(millis)),
        Op::Cut(which) => world.cut(which),
        Op::Kill(which) => world.kill(which),
        Op::Reach(reach) => world.reach = reach,
        Op::Delay(millis) => world.delay = Duration::from_millis(millis),
        Op::Advertise(side, count, med) => world.advertise(side, routes(count, med)),
        Op::Stop(side) => world.input(side, Input::Stop(Notification::cease(2, "stop"))),
        Op::Start(side) => world.input(side, Input::Start),
        Op::Tick(side) => world.input(side, Input::Tick),
    }
}

/// The longest that an OPEN is waited for, the longest back-off after it, and some rounds of collision.
const AFTER_THE_FAULTS: Duration = Duration::from_secs(400);

proptest! {
    #![proptest_config(crate::testing::cases(200))]

    #[test]
    fn two_speakers_converge_when_the_faults_stop(
        modes in modes(),
        ids in (1..3_u8, 1..3_u8),
        hold in prop_oneof![Just(3_u16), Just(9), Just(90)],
        seed: u64,
        ops in proptest::collection::vec(op(), 0..40),
        last in (0..60_u32, 0..60_u32),
    ) {
        let mut world = World::new(configs(modes, ids, hold, seed), seed, Duration::from_millis(20));
        world.input(0, Input::Start);
        world.input(1, Input::Start);
        for op in ops {
            perform(&mut world, op);
        }
        // The network is well again, and both want their last set.
        world.reach = Reach::Accepts;
        world.delay = Duration::from_millis(20);
        for side in [0, 1] {
            world.input(side, Input::Start);
        }
        world.advertise(0, routes(last.0, 7));
        world.advertise(1, routes(last.1, 8));
        let want = |count: u32, med: u32| -> BTreeMap<IpNet, u32> {
            routes(count, med).keys().map(|prefix| (*prefix, med)).collect()
        };
        let (from_first, from_second) = (want(last.0, 7), want(last.1, 8));
        let done = |world: &World| {
            world.converged()
                && world.received(1) == Some(&from_first)
                && world.received(0) == Some(&from_second)
        };
        prop_assert!(
            world.run_until(AFTER_THE_FAULTS + Duration::from_secs(u64::from(hold)), done),
            "{} and {} are left: {:?}", world.state(0), world.state(1), world.log
        );
        // It stays so.
        let events = world.log.len();
        world.advance(Duration::from_secs(100));
        prop_assert!(done(&world));
        let later = world.log.split_off(events);
        let quiet = |event: &crate::PeerEvent| {
            matches!(event, crate::PeerEvent::Synced(_) | crate::PeerEvent::Acknowledged(_))
        };
        prop_assert!(later.iter().all(|(_, _, event)| quiet(event)), "{later:?}");
        prop_assert_eq!(world.state(0), State::Established);
    }
}
