use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use vipcast_bgp::Instant;

use super::{Health, Input, Judged, Output};
use crate::health::report::{HealthState, HealthState::*, Outcome};
use crate::model::{Check, Consequence, HoldDown, Limit, Measure, Question};

const INTERVAL: Duration = Duration::from_secs(1);
const FAST: Duration = Duration::from_millis(100);

fn check(rise: u32, fall: u32) -> Check {
    Check {
        interval: INTERVAL,
        fast_interval: FAST,
        timeout: Duration::from_millis(500),
        rise: NonZeroU32::new(rise).unwrap(),
        fall: NonZeroU32::new(fall).unwrap(),
        ..Check::new(Question::new("web"))
    }
}

fn outcome(passed: bool) -> Outcome {
    Outcome { passed, detail: String::new(), took: Duration::ZERO }
}

/// Runs the next probe at its deadline and hands in its result at once.
fn probe(health: &mut Health, passed: bool) -> (Instant, HealthState, Instant) {
    let now = health.deadline().unwrap();
    assert_eq!(health.handle(Input::Tick, now), [Output::Probe]);
    let outputs = health.handle(Input::Finished(&outcome(passed)), now);
    let [Output::Report(Judged { state, since, .. })] = outputs[..] else {
        panic!("a result is reported once")
    };
    (now, state, since)
}

/// A report without limits and damping.
fn reported(state: HealthState, since: Instant) -> Output {
    Output::Report(Judged { state, since, degraded: None, failed: None, held_until: None })
}

#[test]
fn a_hint_asks_at_once_and_only_when_no_probe_is_under_way() {
    let start = Instant::BOOT;
    let mut health = Health::new(&check(2, 2), Duration::ZERO, 1, start);
    assert_eq!(health.handle(Input::Hint, start), [Output::Probe]);
    assert_eq!(health.handle(Input::Hint, start), []);
    let mut health = Health::new(&check(1, 1), Duration::ZERO, 1, start);
    health.handle(Input::Tick, start);
    health.handle(Input::Finished(&outcome(true)), start);
    let soon = start + Duration::from_millis(1);
    assert!(health.deadline().is_some_and(|due| due > soon));
    assert_eq!(health.handle(Input::Hint, soon), [Output::Probe]);
    assert_eq!(health.handle(Input::Finished(&outcome(false)), soon), [reported(Down, soon)]);
}

#[test]
fn every_transition() {
    const P: bool = true;
    const F: bool = false;
    // Results that lead to a state, and what one pass and one failure make of it; rise 3, fall 2.
    let table: &[(&[bool], HealthState, HealthState, HealthState)] = &[
        (&[], Unknown, Unknown, Unknown),
        (&[P], Unknown, Unknown, Unknown),
        (&[P, P], Unknown, Up, Unknown),
        (&[F], Unknown, Unknown, Down),
        (&[P, P, F], Unknown, Unknown, Down),
        (&[F, P, P], Unknown, Up, Unknown),
        (&[P, P, P], Up, Up, Falling),
        (&[P, P, P, F], Falling, Up, Down),
        (&[P, P, P, F, P], Up, Up, Falling),
        (&[F, F], Down, Rising, Down),
        (&[F, F, P], Rising, Rising, Down),
        (&[F, F, P, P], Rising, Up, Down),
        (&[F, F, P, P, F], Down, Rising, Down),
        (&[F, F, P, P, P], Up, Up, Falling),
        (&[P, P, P, F, F], Down, Rising, Down),
    ];
    for (history, state, after_pass, after_fail) in table {
        let mut health = Health::new(&check(3, 2), INTERVAL, 1, Instant::BOOT);
        for passed in *history {
            probe(&mut health, *passed);
        }
        assert_eq!(health.state(), *state, "after {history:?}");
        assert_eq!(probe(&mut health.clone(), P).1, *after_pass, "{history:?}, then a pass");
        assert_eq!(probe(&mut health.clone(), F).1, *after_fail, "{history:?}, then a failure");
    }
}

#[test]
fn with_rise_1_and_fall_1_one_result_decides() {
    let mut health = Health::new(&check(1, 1), INTERVAL, 1, Instant::BOOT);
    let states: Vec<_> = [true, false, true, false].map(|passed| probe(&mut health, passed).1).into();
    assert_eq!(states, [Up, Down, Up, Down]);
}

#[test]
fn since_is_when_the_state_was_entered() {
    let mut health = Health::new(&check(2, 2), INTERVAL, 1, Instant::BOOT);
    probe(&mut health, true);
    let (up, ..) = probe(&mut health, true);
    assert_eq!(probe(&mut health, true).2, up);
    let (falling, _, since) = probe(&mut health, false);
    assert_eq!(since, falling);
}

#[test]
fn first_probes_are_spread_and_then_leave_the_crowd() {
    let now = Instant::BOOT;
    let mut checks: Vec<_> = (0..1000).map(|seed| Health::new(&check(1, 1), FAST, seed, now)).collect();
    let busiest = |checks: &[Health], window: Duration, slots: u32| {
        let mut buckets = vec![0; slots as usize];
        for health in checks {
            let offset = (health.deadline().unwrap() - now).as_nanos() % window.as_nanos();
            buckets[(offset / (window / slots).as_nanos()).min(u128::from(slots - 1)) as usize] += 1;
        }
        buckets.into_iter().max().unwrap()
    };
    assert!(checks.iter().all(|health| health.deadline().unwrap() < now + FAST));
    assert!(busiest(&checks, FAST, 10) < 150, "the first ones come in a crowd");
    for health in &mut checks {
        probe(health, true);
    }
    assert!(busiest(&checks, INTERVAL, 10) < 160, "once settled they are spread over the interval");
    for _ in 0..50 {
        for health in &mut checks {
            probe(health, true);
        }
    }
    assert!(busiest(&checks, INTERVAL, 10) < 160, "later they drift into lockstep");
}

#[test]
fn a_check_alone_is_asked_at_once() {
    let now = Instant::BOOT;
    let health = Health::new(&check(1, 1), Duration::ZERO, 7, now);
    assert_eq!(health.deadline(), Some(now));
}

#[test]
fn waking_late_starts_one_probe_and_no_burst() {
    let mut health = Health::new(&check(1, 1), INTERVAL, 1, Instant::BOOT);
    probe(&mut health, true);
    let late = health.deadline().unwrap() + 100 * INTERVAL;
    assert_eq!(health.handle(Input::Tick, late), [Output::Probe]);
    assert_eq!(health.handle(Input::Tick, late), []);
    health.handle(Input::Finished(&outcome(true)), late);
    assert!(health.deadline().unwrap() >= late + INTERVAL.mul_f64(0.95));
}

#[test]
fn a_result_that_was_not_asked_for_changes_nothing() {
    let mut health = Health::new(&check(1, 1), INTERVAL, 1, Instant::BOOT);
    let before = health.clone();
    assert_eq!(health.handle(Input::Finished(&outcome(false)), Instant::BOOT), []);
    assert_eq!(health, before);
}

#[derive(Debug, Clone)]
enum Op {
    AdvanceClock(Duration),
    Pass,
    Fail,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u64..2500).prop_map(|ms| Op::AdvanceClock(Duration::from_millis(ms))),
        2 => Just(Op::Pass),
        2 => Just(Op::Fail),
    ]
}

/// What the state is by definition: looked up in the whole history, instead of kept.
fn state_of(history: &[bool], rise: usize, fall: usize) -> HealthState {
    let ends_with = |prefix: &[bool], result: bool, count: usize| {
        prefix.len() >= count && prefix[prefix.len() - count..].iter().all(|passed| *passed == result)
    };
    let verdict = (0..=history.len()).rev().find_map(|end| {
        let prefix = &history[..end];
        ends_with(prefix, true, rise).then_some(true).or(ends_with(prefix, false, fall).then_some(false))
    });
    match (verdict, history.last()) {
        (None, _) | (_, None) => Unknown,
        (Some(true), Some(true)) => Up,
        (Some(true), Some(false)) => Falling,
        (Some(false), Some(true)) => Rising,
        (Some(false), Some(false)) => Down,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn behaves_as_the_model(
        rise in 1u32..4, fall in 1u32..4, seed: u64, ops in prop::collection::vec(op(), 0..60),
    ) {
        let begin = Instant::BOOT;
        let mut now = begin;
        let mut health = Health::new(&check(rise, fall), INTERVAL, seed, now);
        let mut history = Vec::new();
        let mut started: Option<Instant> = None;
        let mut since = now;
        prop_assert!(health.deadline().unwrap() < begin + INTERVAL);

        for op in ops {
            match op {
                Op::AdvanceClock(by) => {
                    now += by;
                    let due = health.deadline().is_some_and(|due| due <= now);
                    let outputs = health.handle(Input::Tick, now);
                    prop_assert_eq!(outputs, if due { vec![Output::Probe] } else { vec![] });
                    if due {
                        prop_assert_eq!(started, None, "two probes at once");
                        started = Some(now);
                    }
                }
                Op::Pass | Op::Fail => {
                    let passed = matches!(op, Op::Pass);
                    let before = state_of(&history, rise as usize, fall as usize);
                    let outputs = health.handle(Input::Finished(&outcome(passed)), now);
                    let Some(start) = started.take() else {
                        prop_assert_eq!(outputs, vec![]);
                        continue;
                    };
                    history.push(passed);
                    let state = state_of(&history, rise as usize, fall as usize);
                    if state != before {
                        since = now;
                    }
                    prop_assert_eq!(outputs, vec![reported(state, since)]);
                    let steady = |state| matches!(state, Up | Down);
                    let (low, high) = match (steady(before), steady(state)) {
                        (_, false) => (FAST.mul_f64(0.95), FAST.mul_f64(1.05)),
                        (false, true) => (FAST, INTERVAL),
                        (true, true) => (INTERVAL.mul_f64(0.95), INTERVAL.mul_f64(1.05)),
                    };
                    let next = health.deadline().unwrap();
                    prop_assert!(next >= (start + low).max(now) && next <= (start + high).max(now));
                }
            }
            prop_assert_eq!(health.deadline().is_none(), started.is_some());
        }
    }
}

const HELD: HoldDown = HoldDown { first: Duration::from_secs(10), most: Duration::from_secs(300) };

/// When the check comes up, seconds after `start`, as its probes say `passed` at those seconds.
fn recoveries(passed: impl Fn(u64) -> bool, seconds: u64) -> Vec<u64> {
    let check = Check { hold_down: Some(HELD), ..check(1, 1) };
    let start = Instant::BOOT;
    let mut health = Health::new(&check, Duration::ZERO, 1, start);
    let mut recoveries = Vec::new();
    loop {
        let second = (health.deadline().unwrap() - start).as_secs();
        if second >= seconds {
            return recoveries;
        }
        let before = health.state().verdict();
        let (_, state, _) = probe(&mut health, passed(second));
        if before != Some(true) && state.verdict() == Some(true) {
            recoveries.push(second);
        }
    }
}

#[test]
fn a_check_that_goes_down_again_and_again_is_held_down_longer_each_time() {
    // A failure every time that it has come up: it is up for one probe.
    let start = Instant::BOOT;
    let mut health = Health::new(&Check { hold_down: Some(HELD), ..check(1, 1) }, Duration::ZERO, 1, start);
    let mut held = Vec::new();
    let mut down_since: Option<Instant> = None;
    while held.len() < 8 {
        let was_up = health.state().verdict() == Some(true);
        let (now, state, _) = probe(&mut health, !was_up);
        match (was_up, state.verdict()) {
            (true, Some(false)) => down_since = Some(now),
            (false, Some(true)) => held.extend(down_since.map(|since| (now - since).as_secs())),
            (_, _) => {}
        }
    }
    assert_eq!(held, [10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn the_end_of_a_hold_is_looked_at_when_it_comes() {
    let start = Instant::BOOT;
    let mut health = Health::new(&Check { hold_down: Some(HELD), ..check(1, 1) }, Duration::ZERO, 1, start);
    probe(&mut health, true);
    let (down, ..) = probe(&mut health, false);
    let until = down + HELD.first;
    loop {
        let now = health.deadline().unwrap();
        let outputs = [Input::Tick, Input::Finished(&outcome(true))].map(|input| health.handle(input, now));
        let [_, report] = outputs;
        let [Output::Report(Judged { state, held_until, .. })] = &report[..] else { panic!("{report:?}") };
        if now < until {
            assert_eq!((*state, *held_until), (Rising, Some(until)));
            assert!(health.deadline().unwrap() <= until, "the end is slept through");
        } else {
            assert_eq!((now, *state, *held_until), (until, Up, None));
            return;
        }
    }
}

#[test]
fn what_stays_up_is_forgiven() {
    // It fails once an hour: each time is like the first.
    let recoveries = recoveries(|second| !(60..62).contains(&(second % 3600)), 4 * 3600);
    let held: Vec<u64> = recoveries.iter().skip(1).map(|second| second % 3600 - 60).collect();
    assert!(held.iter().all(|held| (10..13).contains(held)), "{held:?}");
    assert_eq!(held.len(), 4);
}

/// The most recoveries in any hour.
fn most_in_an_hour(recoveries: &[u64]) -> usize {
    let within =
        |first: &u64| recoveries.iter().filter(|second| (*first..=first + 3600).contains(second)).count();
    recoveries.iter().map(within).max().unwrap_or(0)
}

#[test]
fn the_worst_that_a_flapping_check_can_do_is_what_the_reference_says() {
    let always = recoveries(|second| second % 2 == 0, 12 * 3600);
    let most = most_in_an_hour(&always);
    let documented = HELD.recoveries_an_hour() as usize;
    assert!(most <= documented, "{most} of {documented}");
    assert!(most + 2 >= documented, "the bound is far from what can happen: {most} of {documented}");
}

#[test]
fn a_limit_makes_it_degraded_or_makes_passes_count_as_failures() {
    let slow = |then| Limit {
        measure: Measure::Latency { over: Duration::from_millis(200) },
        results: NonZeroU32::new(2).unwrap(),
        then,
    };
    let start = Instant::BOOT;
    let run = |then, milliseconds: &[u64]| {
        let check = Check { limits: vec![slow(then)], ..check(1, 1) };
        let mut health = Health::new(&check, Duration::ZERO, 1, start);
        let mut last = None;
        for ms in milliseconds {
            let now = health.deadline().unwrap();
            health.handle(Input::Tick, now);
            let outcome = Outcome { passed: true, detail: "200 OK".into(), took: Duration::from_millis(*ms) };
            last = health.handle(Input::Finished(&outcome), now).pop();
        }
        let Some(Output::Report(Judged { state, degraded, failed, .. })) = last else { panic!("{last:?}") };
        (state, degraded, failed)
    };
    let words = Some("latency 300 ms, limit 200 ms".to_owned());
    assert_eq!(run(Consequence::Degraded, &[300]), (Up, None, None));
    assert_eq!(run(Consequence::Degraded, &[300, 300]), (Up, words.clone(), None));
    assert_eq!(run(Consequence::Degraded, &[300, 300, 100, 100]), (Up, None, None));
    assert_eq!(run(Consequence::Down, &[300]), (Up, None, None));
    assert_eq!(run(Consequence::Down, &[300, 300]), (Down, None, words.clone()));
    assert_eq!(run(Consequence::Down, &[300, 300, 100]), (Down, None, words.clone()));
    assert_eq!(run(Consequence::Down, &[300, 300, 100, 100]), (Up, None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    /// Up and down at random, for six hours of simulated time each.
    #[test]
    fn no_flapping_check_comes_up_more_often_than_the_reference_says(
        spells in prop::collection::vec((1u64..400, any::<bool>()), 1..60),
        short in 1u64..20,
    ) {
        let ends: Vec<(u64, bool)> = spells.iter().scan(0, |at, (length, passed)| {
            *at += length.div_ceil(short);
            Some((*at, *passed))
        }).collect();
        let period = ends.last().map_or(1, |(at, _)| *at);
        let passed = |second: u64| ends.iter().find(|(end, _)| second % period < *end).is_some_and(|(_, passed)| *passed);
        let most = most_in_an_hour(&recoveries(passed, 6 * 3600));
        prop_assert!(most <= HELD.recoveries_an_hour() as usize, "{} in an hour", most);
    }
}

#[test]
fn only_the_numbers_of_a_settled_check_are_no_news() {
    use super::report::CheckReport;

    let now = Instant::BOOT;
    let outcome = Outcome { passed: true, detail: "200 OK".into(), took: Duration::ZERO };
    let definition = std::sync::Arc::new(check(1, 1));
    let up = CheckReport {
        check: "web".into(),
        definition: definition.clone(),
        state: Up,
        since: now,
        degraded: None,
        held_until: None,
        outcome: outcome.clone(),
        at: now,
    };
    let later = now + INTERVAL;
    let took = Outcome { took: FAST, ..outcome.clone() };
    assert!(!CheckReport { outcome: took, at: later, ..up.clone() }.is_news(&up));
    let news = [
        CheckReport { state: Falling, ..up.clone() },
        CheckReport { since: later, ..up.clone() },
        CheckReport { degraded: Some("slow".into()), ..up.clone() },
        CheckReport { held_until: Some(later), ..up.clone() },
        CheckReport { outcome: Outcome { passed: false, ..outcome.clone() }, ..up.clone() },
        CheckReport { outcome: Outcome { detail: "204 No Content".into(), ..outcome }, ..up.clone() },
        CheckReport { definition: std::sync::Arc::new(check(1, 1)), ..up.clone() },
    ];
    for report in news {
        assert!(report.is_news(&up), "{report:?}");
    }
    for state in [HealthState::Unknown, Rising, Falling] {
        let unsettled = CheckReport { state, ..up.clone() };
        assert!(unsettled.is_news(&unsettled.clone()), "{state:?}");
    }
}
