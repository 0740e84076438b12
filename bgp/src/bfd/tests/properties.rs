//! Whatever the network and the operators do, two sessions come Up once it is over, stay so, and never flap without a
//! cause. What holds at every step is checked by the [world](super::world).

use std::time::Duration;

use proptest::prelude::*;

use super::support::{config, ms};
use super::world::{Network, World};
use crate::bfd::{Cause, SessionConfig, State};

#[derive(Debug, Clone)]
enum Op {
    AdvanceClock(u64),
    Network { loss: u64, delay: u64, spread: u64 },
    Cut(bool, bool),
    Timers(usize, SessionConfig),
    Restart(usize),
    Stall(usize, u64, bool),
}

fn timers() -> impl Strategy<Value = SessionConfig> {
    let millis = || prop_oneof![Just(10_u32), Just(50), Just(100), Just(300), Just(1000), 10..2000_u32];
    (millis(), millis(), prop_oneof![3 => Just(3_u8), 1 => 1..6_u8])
        .prop_map(|(tx, rx, multiplier)| config(tx, rx, multiplier))
}

fn op() -> impl Strategy<Value = Op> {
    let side = || 0..2_usize;
    prop_oneof![
        6 => (0..3000_u64).prop_map(Op::AdvanceClock),
        4 => (0..100_u64).prop_map(Op::AdvanceClock),
        2 => (0..900_u64, 0..200_u64, 0..200_u64).prop_map(|(loss, delay, spread)| Op::Network { loss, delay, spread }),
        2 => any::<(bool, bool)>().prop_map(|(first, second)| Op::Cut(first, second)),
        3 => (side(), timers(), prop::bool::weighted(0.2))
            .prop_map(|(side, timers, admin_down)| Op::Timers(side, SessionConfig { admin_down, ..timers })),
        1 => side().prop_map(Op::Restart),
        1 => (side(), 0..3000_u64, any::<bool>()).prop_map(|(side, time, frozen)| Op::Stall(side, time, frozen)),
    ]
}

/// Half a per cent, which is far worse than any clock.
fn drift() -> impl Strategy<Value = [u64; 2]> {
    let rate = || 995_000..1_005_001_u64;
    (rate(), rate()).prop_map(|(first, second)| [first, second])
}

fn perform(world: &mut World, op: Op) {
    match op {
        Op::AdvanceClock(millis) => world.advance(ms(millis)),
        Op::Network { loss, delay, spread } => {
            world.network = Network { loss, delay: ms(delay), spread: ms(spread), ..world.network };
        }
        Op::Cut(first, second) => world.network.cut = [first, second],
        Op::Timers(side, timers) => world.configure(side, timers),
        Op::Restart(side) => world.restart(side),
        Op::Stall(side, time, frozen) => world.stall(side, ms(time), frozen),
    }
}

/// The longest detection time, and a few of the slowest packets.
const AFTER_THE_FAULTS: Duration = Duration::from_secs(30);

/// Both ends know each other's timers, and use the intervals that follow from them.
fn settled(world: &World) -> bool {
    let [first, second] = [0, 1].map(|side| world.status(side));
    let agree = |ours: &crate::bfd::Status, theirs: &crate::bfd::Status| {
        let interval = ours.config.desired_min_tx.max(theirs.config.required_min_rx).duration();
        ours.transmit_interval == Some(interval)
            && theirs.receive_interval == Some(interval)
            && theirs.detection_time == Some(interval * u32::from(ours.config.multiplier.get()))
            && !ours.polling
    };
    world.both_up() && agree(&first, &second) && agree(&second, &first)
}

proptest! {
    #![proptest_config(crate::testing::cases(200))]

    #[test]
    fn two_sessions_come_up_and_stay_up_once_the_faults_are_over(
        configs in (timers(), timers()),
        last in (timers(), timers()),
        drift in drift(),
        seed: u64,
        ops in proptest::collection::vec(op(), 0..40),
    ) {
        let mut world = World::new([configs.0, configs.1], drift, seed);
        for op in ops {
            perform(&mut world, op);
        }
        world.network = Network::CLEAN;
        world.await_stalls();
        // Packets in flight from before arrive late.
        world.advance(ms(500));
        world.configure(0, last.0);
        world.configure(1, last.1);
        prop_assert!(world.run_until(AFTER_THE_FAULTS, settled), "{:?} {:?} {:?}", world.status(0), world.status(1), world.log);
        let transitions = world.log.len();
        world.advance(Duration::from_secs(20));
        prop_assert!(settled(&world));
        prop_assert_eq!(world.log.split_off(transitions), []);
    }

    #[test]
    fn new_timers_on_a_good_network_never_cost_a_session(
        configs in (timers(), timers()),
        drift in drift(),
        seed: u64,
        delay in 0..300_u64,
        changes in proptest::collection::vec((0..2_usize, timers(), prop_oneof![0..50_u64, 0..3000_u64]), 1..20),
    ) {
        let mut world = World::new([configs.0, configs.1], drift, seed);
        world.network.delay = ms(delay);
        prop_assert!(world.run_until(AFTER_THE_FAULTS, World::both_up), "{:?}", world.states());
        let transitions = world.log.len();
        for (side, timers, pause) in changes {
            world.configure(side, timers);
            world.advance(ms(pause));
        }
        prop_assert!(world.run_until(AFTER_THE_FAULTS, settled), "{:?} {:?}", world.status(0), world.status(1));
        prop_assert_eq!(world.log.split_off(transitions), []);
    }

    #[test]
    fn a_silence_is_noticed_within_the_detection_time_and_told_to_the_other(
        configs in (timers(), timers()),
        drift in drift(),
        seed: u64,
        before in 0..5000_u64,
        cut in prop_oneof![Just([true, true]), Just([true, false]), Just([false, true])],
    ) {
        let mut world = World::new([configs.0, configs.1], drift, seed);
        prop_assert!(world.run_until(AFTER_THE_FAULTS, settled));
        world.advance(ms(before));
        let (cut_at, transitions) = (world.now, world.log.len());
        // With the clock that is behind, and for the packet that is under way.
        let margin = |time: Duration| time * 1006 / 1000 + ms(2);
        let notices = [0, 1].map(|side| margin(world.status(side).detection_time.unwrap()));
        world.network.cut = cut;
        world.advance(notices[0].max(notices[1]));
        let log = world.log.split_off(transitions);
        for side in [0, 1] {
            // The second entry of `cut` is about the packets of side 1.
            let deaf = cut[1 - side];
            let (at, _, event) = log.iter().find(|(_, whose, _)| *whose == side).unwrap();
            prop_assert_eq!(event.from, State::Up);
            if deaf && (cut == [true, true] || event.cause == Cause::DetectionTimeExpired) {
                prop_assert_eq!(event.cause, Cause::DetectionTimeExpired);
                prop_assert!(*at - cut_at <= notices[side]);
            } else {
                let told = matches!(event.cause, Cause::Received { state: State::Down, .. });
                prop_assert!(told && *at - cut_at <= notices[1 - side] + ms(2), "{:?}", event);
            }
        }
    }

    #[test]
    fn who_sleeps_does_not_take_the_other_for_dead(
        seed: u64,
        drift in drift(),
        tx in 10..300_u32,
        multiplier in 1..5_u8,
        stalls in proptest::collection::vec((0..20_000_u64, any::<bool>(), 0..2000_u64), 1..10),
    ) {
        // The other is patient: 255 packets of ours may be missing.
        let ours = SessionConfig { multiplier: 255.try_into().unwrap(), ..config(300, 10, 3) };
        let mut world = World::new([ours, config(tx, 10, multiplier)], drift, seed);
        prop_assert!(world.run_until(AFTER_THE_FAULTS, settled));
        let transitions = world.log.len();
        for (time, frozen, pause) in stalls {
            // A side that is frozen for less and wakes in time has lost packets without noticing it.
            let least = if frozen { tx * (u32::from(multiplier) + 1) } else { 0 };
            let time = time + u64::from(least);
            world.stall(0, ms(time), frozen);
            world.advance(ms(time + pause));
            // As long as it takes until packets of both are there again.
            world.advance(ms(400));
        }
        prop_assert_eq!(world.log.split_off(transitions), []);
    }
}
