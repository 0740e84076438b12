//! The health of one check as a pure machine: results in, state and the time of the next probe out.
//!
//! ```text
//!   deadline() reached ──► handle(Tick)     ──► Probe      the driver starts one, and only one
//!   the kernel says so ──► handle(Hint)     ──► Probe      at once
//!   the probe's result ──► handle(Finished) ──► Report     deadline() is now when the next one starts
//! ```
//!
//! **State** is drawn at [`HealthState`]. `rise` passes in a row make it `Up`, `fall` failures in a row `Down`;
//! in between, `Rising` and `Falling` keep the old verdict.
//!
//! **Schedule.** Delays run from the start of one probe to the start of the next:
//!
//! | the last result | delay |
//! | --- | --- |
//! | confirmed `Up` or `Down` | `interval` ± 5 % |
//! | has just settled it (now `Up` or `Down`, before it was not) | anything from `fast_interval` to `interval` |
//! | left it `Unknown`, `Rising` or `Falling` | `fast_interval` ± 5 % |
//!
//! The second row spreads checks that were started, or that failed and recovered, at the same moment; the jitter keeps
//! them from drifting together again. A probe that outlasts its delay is followed by the next one at once. Whoever
//! wakes late starts one probe, late; what was missed is not made up for.

use std::time::{Duration, Instant};

use super::report::{HealthState, Outcome};
use crate::config::model::Check;

#[cfg(test)]
mod tests;

/// What happens to a check.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Time has passed; perhaps [`Health::deadline`] has been reached.
    Tick,
    /// Something has happened that may have changed the answer, so it is asked for now. An event alone decides nothing.
    Hint,
    /// The probe that was asked for has ended.
    Finished(&'a Outcome),
}

/// What the driver has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Start a probe now. There is no other one before its result is handed in.
    Probe,
    /// Tell the engine, together with the result.
    Report {
        /// The state after the result.
        state: HealthState,
        /// When it was entered.
        since: Instant,
    },
}

/// The health of one check. Plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    interval: Duration,
    fast_interval: Duration,
    rise: u32,
    fall: u32,
    state: HealthState,
    since: Instant,
    streak: Streak,
    schedule: Schedule,
    random: Random,
}

/// Equal results in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Streak {
    passed: bool,
    length: u32,
}

/// Where we are between two probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Schedule {
    /// The next probe starts then.
    Due(Instant),
    /// One has run since then.
    Probing(Instant),
}

impl Health {
    /// A check of which nothing is known. Its first probe is due at a moment within `spread` from now (at most its own
    /// interval), chosen by `seed`, which also chooses the jitter of the later ones.
    pub fn new(check: &Check, spread: Duration, seed: u64, now: Instant) -> Self {
        let mut random = Random(seed);
        let first = random.between(Duration::ZERO, spread.min(check.interval));
        Self {
            interval: check.interval,
            fast_interval: check.fast_interval.min(check.interval),
            rise: check.rise.get(),
            fall: check.fall.get(),
            state: HealthState::Unknown,
            since: now,
            streak: Streak { passed: false, length: 0 },
            schedule: Schedule::Due(now + first),
            random,
        }
    }

    /// Takes one input. A tick before the deadline, and a result that nobody asked for, change nothing.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) -> Vec<Output> {
        match (input, self.schedule) {
            (Input::Tick, Schedule::Due(due)) if now >= due => {
                self.schedule = Schedule::Probing(now);
                vec![Output::Probe]
            }
            (Input::Hint, Schedule::Due(_)) => {
                self.schedule = Schedule::Probing(now);
                vec![Output::Probe]
            }
            (Input::Finished(outcome), Schedule::Probing(started)) => {
                let settled = self.settled();
                self.count(outcome.passed);
                self.enter(self.next_state(), now);
                let delay = match (settled, self.settled()) {
                    (_, false) => self.random.jitter(self.fast_interval),
                    (false, true) => self.random.between(self.fast_interval, self.interval),
                    (true, true) => self.random.jitter(self.interval),
                };
                self.schedule = Schedule::Due((started + delay).max(now));
                vec![Output::Report { state: self.state, since: self.since }]
            }
            (Input::Tick, Schedule::Due(_) | Schedule::Probing(_))
            | (Input::Hint, Schedule::Probing(_))
            | (Input::Finished(_), Schedule::Due(_)) => vec![],
        }
    }

    /// When [`Input::Tick`] starts the next probe; `None` while one is running.
    pub fn deadline(&self) -> Option<Instant> {
        match self.schedule {
            Schedule::Due(due) => Some(due),
            Schedule::Probing(_) => None,
        }
    }

    /// Where the check stands.
    pub fn state(&self) -> HealthState {
        self.state
    }

    /// Whether results and state agree, so that there is no hurry.
    fn settled(&self) -> bool {
        match self.state {
            HealthState::Up | HealthState::Down => true,
            HealthState::Unknown | HealthState::Rising | HealthState::Falling => false,
        }
    }

    fn count(&mut self, passed: bool) {
        let length = if self.streak.passed == passed { self.streak.length.saturating_add(1) } else { 1 };
        self.streak = Streak { passed, length };
    }

    fn next_state(&self) -> HealthState {
        let Streak { passed, length } = self.streak;
        match (self.state, passed) {
            (HealthState::Unknown | HealthState::Rising | HealthState::Down, true) if length >= self.rise => {
                HealthState::Up
            }
            (HealthState::Unknown | HealthState::Falling | HealthState::Up, false) if length >= self.fall => {
                HealthState::Down
            }
            (HealthState::Unknown, _) => HealthState::Unknown,
            (HealthState::Rising | HealthState::Down, true) => HealthState::Rising,
            (HealthState::Falling | HealthState::Up, false) => HealthState::Falling,
            (HealthState::Up | HealthState::Falling, true) => HealthState::Up,
            (HealthState::Down | HealthState::Rising, false) => HealthState::Down,
        }
    }

    fn enter(&mut self, state: HealthState, now: Instant) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }
}

/// SplitMix64: enough to keep checks out of step, reproducible from its seed, and eight bytes of plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A duration from `low` up to, but not including, `high`.
    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let fraction = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        low + high.saturating_sub(low).mul_f64(fraction)
    }

    /// `duration` ± 5 %.
    fn jitter(&mut self, duration: Duration) -> Duration {
        self.between(duration.mul_f64(0.95), duration.mul_f64(1.05))
    }
}
