//! The health of a check.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use vipcast_bgp::Instant;

use super::{cases, damage};
use crate::frozen::{self, Error};
use crate::health::report::Outcome;
use crate::health::{Health, Input, Output};
use crate::model::{Check, Consequence, HoldDown, Limit, Measure, Question, Share};

/// Version 1, written by the first program that had it.
const GOLDEN: &str = include_str!("health_v1.json");

const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A check with every kind of limit.
fn check(rise: u32, fall: u32, hold_down: bool) -> Check {
    let limit = |measure, then| Limit { measure, results: NonZeroU32::new(2).unwrap(), then };
    let (over, window) = (ms(20), 3 * SECOND);
    Check {
        interval: ms(200),
        fast_interval: ms(50),
        rise: NonZeroU32::new(rise).unwrap(),
        fall: NonZeroU32::new(fall).unwrap(),
        limits: vec![
            limit(Measure::Latency { over }, Consequence::Degraded),
            limit(Measure::AverageLatency { over, window }, Consequence::Degraded),
            limit(Measure::LatencyPercentile { over, percentile: 90, window }, Consequence::Down),
            limit(Measure::Errors { over: Share(300), window }, Consequence::Down),
        ],
        hold_down: hold_down.then_some(HoldDown { first: SECOND, most: 4 * SECOND }),
        ..Check::new(Question::new("web"))
    }
}

fn rewritten(health: &Health, check: &Check, now: Instant) -> Health {
    let frozen = health.freeze(check);
    let text = serde_json::to_string(&frozen).unwrap();
    let read: frozen::Health = serde_json::from_str(&text).unwrap();
    assert_eq!(read, frozen);
    let thawed = Health::thaw(check, &read, now).unwrap_or_else(|error| panic!("{error}: {text}"));
    if health.deadline().is_some() {
        assert_eq!(&thawed, health, "every field is there");
    }
    thawed
}

#[derive(Debug, Clone)]
enum Op {
    Advance(u64),
    Hint,
    /// To the deadline, so many milliseconds late; the probe takes so long, and passes or not.
    Probe {
        late: u64,
        took: u64,
        passed: bool,
    },
    /// A hand-over during a probe; then the probe is made anew.
    Lost {
        took: u64,
        passed: bool,
    },
    Freeze,
}

fn op() -> impl Strategy<Value = Op> {
    let late = prop_oneof![4 => Just(0_u64), 1 => 0..2000_u64];
    prop_oneof![
        1 => (0..3000_u64).prop_map(Op::Advance),
        1 => Just(Op::Hint),
        12 => (late, 0..40_u64, prop::bool::weighted(0.7))
            .prop_map(|(late, took, passed)| Op::Probe { late, took, passed }),
        1 => (0..40_u64, any::<bool>()).prop_map(|(took, passed)| Op::Lost { took, passed }),
        3 => Just(Op::Freeze),
    ]
}

fn outcome(passed: bool, took: u64) -> Outcome {
    Outcome { passed, detail: String::new(), took: ms(took) }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_thawed_check_goes_on_as_its_twin(
        rise in 1..4_u32,
        fall in 1..4_u32,
        hold_down: bool,
        seed: u64,
        always: bool,
        ops in prop::collection::vec(op(), 0..150),
    ) {
        let check = check(rise, fall, hold_down);
        let mut now = Instant::BOOT + SECOND;
        let mut health = Health::new(&check, SECOND, seed, now);
        let mut twin = health.clone();
        for op in ops {
            if always {
                health = rewritten(&health, &check, now);
            }
            match op {
                Op::Advance(time) => now += ms(time),
                Op::Freeze => health = rewritten(&health, &check, now),
                Op::Hint | Op::Probe { .. } => {
                    let (input, took, passed) = if let Op::Probe { late, took, passed } = op {
                        now = now.max(twin.deadline().unwrap()) + ms(late);
                        (Input::Tick, took, passed)
                    } else {
                        (Input::Hint, 1, true)
                    };
                    prop_assert_eq!(health.handle(input, now), twin.handle(input, now));
                    now += ms(took);
                    let outcome = outcome(passed, took);
                    let finished = Input::Finished(&outcome);
                    prop_assert_eq!(health.handle(finished, now), twin.handle(finished, now));
                }
                Op::Lost { took, passed } => {
                    now = now.max(twin.deadline().unwrap());
                    health.handle(Input::Tick, now);
                    health = rewritten(&health, &check, now);
                    prop_assert_eq!(health.deadline(), Some(now), "it probes anew at once");
                    prop_assert_eq!(health.handle(Input::Tick, now), [Output::Probe]);
                    twin.handle(Input::Tick, now);
                    now += ms(took);
                    let outcome = outcome(passed, took);
                    let finished = Input::Finished(&outcome);
                    prop_assert_eq!(health.handle(finished, now), twin.handle(finished, now));
                }
            }
            prop_assert_eq!(&health, &twin);
            prop_assert_eq!(health.deadline(), twin.deadline());
        }
    }

    #[test]
    fn damaged_health_is_refused_or_whole(
        ops in prop::collection::vec((0..4_u8, any::<usize>(), any::<u64>()), 1..4),
        results in prop::collection::vec((any::<bool>(), 0..40_u64), 0..20),
    ) {
        let mut text = GOLDEN.as_bytes().to_vec();
        for (how, at, value) in ops {
            damage(&mut text, how, at, value);
        }
        let Ok(frozen) = serde_json::from_slice::<frozen::Health>(&text) else { return Ok(()) };
        let (_, check, mut now) = golden();
        let Ok(mut health) = Health::thaw(&check, &frozen, now) else { return Ok(()) };
        let latest = now + check.interval.max(check.hold_down.unwrap().most) + check.interval;
        prop_assert!(health.deadline().is_some_and(|due| due <= latest), "it would never probe again");
        for (passed, took) in results {
            now = now.max(health.deadline().unwrap());
            health.handle(Input::Tick, now);
            health.handle(Input::Finished(&outcome(passed, took)), now + ms(took));
        }
    }
}

/// A check that has gone down and up again, with limits that are exceeded.
fn golden() -> (Health, Check, Instant) {
    let check = check(2, 2, true);
    let mut now = Instant::BOOT + 5 * SECOND;
    let mut health = Health::new(&check, SECOND, 7, now);
    for n in 0..40_u64 {
        now = now.max(health.deadline().unwrap());
        health.handle(Input::Tick, now);
        now += ms(n);
        health.handle(Input::Finished(&outcome(!(10..13).contains(&n), n)), now);
    }
    (health, check, now)
}

#[test]
fn health_of_version_1_is_read() {
    let (health, check, now) = golden();
    let frozen: frozen::Health = serde_json::from_str(GOLDEN).unwrap();
    // Another digest would forget the history of every check at the next upgrade.
    let frozen::Health::V1(v1) = &frozen;
    assert_eq!(v1.definition, check.digest());
    assert_eq!(Health::thaw(&check, &frozen, now), Ok(health.clone()));
    assert_eq!(health.freeze(&check), frozen, "a released version never changes");
}

#[test]
fn a_check_with_another_definition_begins_anew() {
    let (health, check, now) = golden();
    let other = Check { question: Question::new("api"), ..check.clone() };
    let refused = Err(Error::Setting("definition of the check"));
    assert_eq!(Health::thaw(&other, &health.freeze(&check), now), refused);
    let other = Check { rise: NonZeroU32::new(3).unwrap(), ..check.clone() };
    assert_eq!(Health::thaw(&other, &health.freeze(&check), now), refused);
}

#[test]
fn what_cannot_be_is_refused_with_the_name_of_the_field() {
    let (health, check, now) = golden();
    let frozen::Health::V1(good) = health.freeze(&check);
    let thaw = |change: &dyn Fn(&mut frozen::health::V1)| {
        let mut frozen = good.clone();
        change(&mut frozen);
        Health::thaw(&check, &frozen::Health::V1(frozen), now).map(drop)
    };
    assert_eq!(thaw(&|_| {}), Ok(()));
    let later = now + ms(1);
    assert_eq!(thaw(&|frozen| frozen.since = later), Err(Error::Future("since")));
    assert_eq!(thaw(&|frozen| frozen.up_since = Some(later)), Err(Error::Future("up_since")));
    assert_eq!(thaw(&|frozen| frozen.flaps = u32::MAX), Err(Error::Range("flaps")));
    assert_eq!(thaw(&|frozen| frozen.held_until = Some(now + 5 * SECOND)), Err(Error::TooFar("held_until")));
    let due = frozen::health::Schedule::Due(now + SECOND);
    assert_eq!(thaw(&|frozen| frozen.schedule = due), Err(Error::TooFar("schedule")));
    assert_eq!(thaw(&|frozen| drop(frozen.limits.pop())), Err(Error::Contradiction("limits")));
    assert_eq!(thaw(&|frozen| frozen.results.reverse()), Err(Error::Contradiction("results")));
    assert_eq!(thaw(&|frozen| frozen.limits[0].streak = u32::MAX), Err(Error::Range("streak")));
    let nan = Some(frozen::health::Average { seconds: f64::NAN.to_bits(), results: 1, at: now });
    assert_eq!(thaw(&|frozen| frozen.limits[1].average = nan), Err(Error::Range("average")));
}

#[test]
fn a_later_version_is_refused() {
    let later = GOLDEN.replacen("v1", "v2", 1);
    let error = serde_json::from_str::<frozen::Health>(&later).unwrap_err().to_string();
    assert!(error.contains("unknown variant `v2`"), "{error}");
}
