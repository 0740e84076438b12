//! The frozen health of a check from JSON that is damaged.

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use vipcast_bgp::Instant;
use vipcast_node::frozen;
use vipcast_node::health::report::Outcome;
use vipcast_node::health::{Health, Input, Output};
use vipcast_node::model::{Check, Consequence, HoldDown, Limit, Measure, Question, Share};

use super::json::{Chances, damaged};

const SECOND: Duration = Duration::from_secs(1);
/// More than that teaches nothing and costs speed.
const MAX_PROBES: u32 = 40;

/// The first octet chooses: 0, then text; else changes of a form.
pub fn health(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let (document, now) = seed();
    match which {
        0 => thaw(rest, *now),
        _ => thaw(damaged(document, &mut Chances::new(rest)).as_bytes(), *now),
    }
}

/// A check with every kind of limit.
fn check() -> Check {
    let results = NonZeroU32::MIN;
    let limit = |measure, then| Limit { measure, results, then };
    let (over, window) = (Duration::from_millis(20), 3 * SECOND);
    Check {
        interval: Duration::from_millis(200),
        fast_interval: Duration::from_millis(50),
        rise: NonZeroU32::MIN,
        fall: NonZeroU32::MIN,
        limits: vec![
            limit(Measure::Latency { over }, Consequence::Degraded),
            limit(Measure::AverageLatency { over, window }, Consequence::Degraded),
            limit(Measure::LatencyPercentile { over, percentile: 90, window }, Consequence::Down),
            limit(Measure::Errors { over: Share(300), window }, Consequence::Down),
        ],
        hold_down: Some(HoldDown { first: SECOND, most: 4 * SECOND }),
        ..Check::new(Question::new("web"))
    }
}

fn seed() -> &'static (Value, Instant) {
    static SEED: OnceLock<(Value, Instant)> = OnceLock::new();
    SEED.get_or_init(|| {
        let mut now = Instant::from_nanos(1_000_000_000_000);
        let mut health = Health::new(&check(), Duration::ZERO, 7, now);
        probe(&mut health, &mut now, 24);
        (serde_json::to_value(health.freeze(&check())).expect("JSON has all of it"), now)
    })
}

/// So many probes, of which some fail.
fn probe(health: &mut Health, now: &mut Instant, count: u32) {
    for n in 0..count {
        let Some(due) = health.deadline() else { return };
        *now = (*now).max(due);
        let begun = health.handle(Input::Tick, *now);
        assert_eq!(begun, [Output::Probe], "what is due begins");
        *now += Duration::from_millis(u64::from(n % 40));
        let took = Duration::from_millis(u64::from(n % 40));
        let outcome = Outcome { passed: n % 7 < 5, detail: "200 OK".to_owned(), took };
        health.handle(Input::Finished(&outcome), *now);
        assert!(
            health.deadline().is_some_and(|due| due >= *now),
            "the next probe is not due before the last"
        );
    }
}

fn thaw(text: &[u8], mut now: Instant) {
    let frozen: frozen::Health = match serde_json::from_slice(text) {
        Ok(frozen) => frozen,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let mut health = match Health::thaw(&check(), &frozen, now) {
        Ok(health) => health,
        Err(error) => {
            assert!(error.to_string().len() > 4, "a refusal names its field");
            return;
        }
    };
    let written = serde_json::to_string(&health.freeze(&check())).expect("JSON has all of it");
    let read: frozen::Health = serde_json::from_str(&written).expect("a program reads what it writes");
    let again = Health::thaw(&check(), &read, now).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again, health, "a second hand-over changes nothing");
    probe(&mut health, &mut now, MAX_PROBES);
}
