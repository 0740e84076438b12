//! A session that was frozen, written, read and thawed goes on exactly as its twin that was not.

use std::num::NonZeroU8;
use std::time::Duration;

use proptest::prelude::*;

use super::support::{Bench, THEIRS, config, epoch, interval, ms, theirs};
use crate::bfd::{Diagnostic, Input, Packet, Session, SessionConfig, State};
use crate::frozen::{self, Error};
use crate::time::Instant;

/// Version 1, written by the first program that had it.
const GOLDEN: &str = include_str!("frozen/v1.json");

fn rewritten(session: &Session, now: Instant) -> Session {
    let text = serde_json::to_string(&session.freeze()).unwrap();
    let frozen: frozen::Session = serde_json::from_str(&text).unwrap();
    let thawed = Session::thaw(&frozen, now).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(thawed.freeze(), session.freeze());
    thawed
}

#[derive(Debug, Clone)]
enum Op {
    Advance(u64),
    /// To the deadline, and so many milliseconds later.
    Deadline(u64),
    Tick,
    /// A packet, and its age in milliseconds.
    Received(Packet, u64),
    Configure(SessionConfig),
    Stop,
    Freeze,
}

fn packet() -> impl Strategy<Value = Packet> {
    let state = prop_oneof![
        1 => Just(State::AdminDown),
        2 => Just(State::Down),
        3 => Just(State::Init),
        6 => Just(State::Up)
    ];
    let millis = || prop_oneof![Just(50_u32), Just(100), Just(300), 1..3000_u32];
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1));
    (state, flags, 1..6_u8, millis(), prop::option::weighted(0.9, millis()), 0..32_u8).prop_map(
        |(state, (poll, final_, demand), multiplier, tx, rx, diagnostic)| Packet {
            diagnostic: Diagnostic::from_bits(diagnostic),
            poll: poll && !final_,
            final_,
            demand,
            multiplier: NonZeroU8::new(multiplier).unwrap(),
            desired_min_tx: Some(interval(tx)),
            required_min_rx: rx.map(interval),
            my_discriminator: THEIRS,
            ..theirs(state)
        },
    )
}

fn timers() -> impl Strategy<Value = SessionConfig> {
    let millis = || prop_oneof![Just(50_u32), Just(300), 10..2000_u32];
    (millis(), millis(), 1..6_u8, prop::bool::weighted(0.15)).prop_map(|(tx, rx, multiplier, admin_down)| {
        SessionConfig { admin_down, ..config(tx, rx, multiplier) }
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..400_u64).prop_map(Op::Advance),
        6 => Just(Op::Deadline(0)),
        2 => (0..2000_u64).prop_map(Op::Deadline),
        1 => Just(Op::Tick),
        8 => (packet(), prop_oneof![Just(0_u64), 0..300_u64]).prop_map(|(packet, age)| Op::Received(packet, age)),
        2 => timers().prop_map(Op::Configure),
        1 => prop::bool::weighted(0.2).prop_map(|stop| if stop { Op::Stop } else { Op::Tick }),
        4 => Just(Op::Freeze),
    ]
}

proptest! {
    #![proptest_config(crate::testing::cases(400))]

    #[test]
    fn a_thawed_session_goes_on_as_its_twin(
        timers in timers(),
        seed: u64,
        always: bool,
        ops in proptest::collection::vec(op(), 0..80),
    ) {
        let mut now = epoch() + Duration::from_secs(5);
        let mut session = Session::new(timers, super::support::OURS, seed, now);
        let mut twin = session.clone();
        for op in ops {
            let input = match op {
                Op::Advance(millis) => { now += ms(millis); continue }
                Op::Freeze => { session = rewritten(&session, now); continue }
                Op::Deadline(late) => {
                    let Some(deadline) = twin.deadline() else { continue };
                    now = now.max(deadline) + ms(late);
                    Input::Tick
                }
                Op::Tick => Input::Tick,
                Op::Received(packet, age) => Input::Received { packet, at: now - ms(age) },
                Op::Configure(config) => Input::Configure(config),
                Op::Stop => Input::Stop,
            };
            if always {
                session = rewritten(&session, now);
            }
            prop_assert_eq!(session.handle(input, now), twin.handle(input, now));
            prop_assert_eq!(session.deadline(), twin.deadline());
            prop_assert_eq!(session.status(), twin.status());
        }
    }

    #[test]
    fn damaged_sessions_are_refused_or_whole(
        ops in proptest::collection::vec((0..4_u8, any::<usize>(), any::<u64>()), 1..4),
        inputs in proptest::collection::vec(op(), 0..20),
    ) {
        let mut text = GOLDEN.as_bytes().to_vec();
        for (how, at, value) in ops {
            crate::testing::damage(&mut text, how, at, value);
        }
        let Ok(frozen) = serde_json::from_slice::<frozen::Session>(&text) else { return Ok(()) };
        let mut now = golden_time();
        let Ok(mut session) = Session::thaw(&frozen, now) else { return Ok(()) };
        for op in inputs {
            match op {
                Op::Advance(millis) => now += ms(millis),
                Op::Freeze => drop(Session::thaw(&session.freeze(), now)),
                Op::Deadline(late) => {
                    now = session.deadline().map_or(now, |at| now.max(at)) + ms(late);
                    session.handle(Input::Tick, now);
                }
                Op::Tick => drop(session.handle(Input::Tick, now)),
                Op::Received(packet, age) => drop(session.handle(Input::Received { packet, at: now - ms(age) }, now)),
                Op::Configure(config) => drop(session.handle(Input::Configure(config), now)),
                Op::Stop => drop(session.handle(Input::Stop, now)),
            }
        }
    }
}

/// Up, with a Poll Sequence under way and a late wake-up behind it.
fn golden() -> (Session, Instant) {
    let mut bench = Bench::up(config(50, 50, 3));
    bench.now += ms(800);
    bench.input(Input::Tick);
    bench.configure(config(300, 300, 5));
    bench.now += ms(7);
    (bench.session, bench.now)
}

fn golden_time() -> Instant {
    golden().1
}

/// Write it anew with `VIPCAST_WRITE_FROZEN=1` only for a version that was never released.
#[test]
fn version_1_is_read_for_ever() {
    let (session, now) = golden();
    let frozen = session.freeze();
    if std::env::var_os("VIPCAST_WRITE_FROZEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bfd/tests/frozen/v1.json");
        std::fs::write(path, serde_json::to_string_pretty(&frozen).unwrap() + "\n").unwrap();
        return;
    }
    let golden: frozen::Session = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(golden, frozen);
    let (mut thawed, mut twin) = (Session::thaw(&golden, now).unwrap(), session);
    assert_eq!(thawed.status(), twin.status());
    for _ in 0..20 {
        let at = twin.deadline().unwrap();
        assert_eq!(thawed.handle(Input::Tick, at), twin.handle(Input::Tick, at));
    }
    assert_eq!(thawed.state(), State::Down);
}

#[test]
fn each_impossible_field_is_refused_by_its_name() {
    let (session, now) = golden();
    let later = now + ms(1);
    let far = now + Duration::from_secs(3600 * 24 * 30);
    type Change = fn(&mut frozen::bfd::V1, Instant, Instant);
    let cases: [(Change, Error); 13] = [
        (|v, later, _| v.since = later, Error::Future("since")),
        (|v, later, _| v.last_transition.as_mut().unwrap().at = later, Error::Future("last_transition")),
        (|v, _, _| v.last_transition.as_mut().unwrap().diagnostic = 32, Error::Range("diagnostic")),
        (|v, later, _| v.remote.as_mut().unwrap().at = later, Error::Future("remote.at")),
        (|v, _, far| v.remote.as_mut().unwrap().grace = Some(far), Error::TooFar("grace")),
        (|v, _, _| v.remote = None, Error::Contradiction("remote")),
        (|v, _, _| v.state = frozen::bfd::State::AdminDown, Error::Contradiction("state")),
        (|v, later, _| v.sent = Some(later), Error::Future("sent")),
        (|v, _, far| v.next = Some(far), Error::TooFar("next")),
        (|v, _, _| v.next = None, Error::Contradiction("next")),
        (|v, _, _| v.interval += 1, Error::Contradiction("interval")),
        (|v, _, far| v.end = frozen::bfd::End::At(far), Error::TooFar("end")),
        (|v, _, _| v.counters.received = u64::MAX, Error::Range("received")),
    ];
    for (change, want) in cases {
        let frozen::Session::V1(mut frozen) = session.freeze();
        change(&mut frozen, later, far);
        assert_eq!(Session::thaw(&frozen::Session::V1(frozen), now).unwrap_err(), want);
    }
}

#[test]
fn another_version_a_missing_and_an_unknown_field_are_refused_with_a_reason() {
    let cases = [
        (GOLDEN.replace("\"v1\"", "\"v2\""), "unknown variant `v2`, expected `v1`"),
        (GOLDEN.replace("\"jitter\"", "\"luck\""), "unknown field `luck`"),
        (GOLDEN.replace("\"discriminator\": 168430090", "\"discriminator\": 0"), "expected a nonzero u32"),
        (GOLDEN[..GOLDEN.len() / 2].to_owned(), "EOF while parsing"),
    ];
    for (text, want) in cases {
        let error = serde_json::from_str::<frozen::Session>(&text).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}
