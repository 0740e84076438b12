//! The health of one check as a pure machine: results in, state and the time of the next probe out.
//!
//! ```text
//!   deadline() reached ──► handle(Tick)     ──► Probe      the driver starts one, and only one
//!   a kernel event     ──► handle(Hint)     ──► Probe      at once
//!   the probe's result ──► handle(Finished) ──► Report     deadline() is the start of the next one
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
//! | has just settled the state (now `Up` or `Down`, before it was not) | a random delay from `fast_interval` to `interval` |
//! | left the state `Unknown`, `Rising` or `Falling` | `fast_interval` ± 5 % |
//!
//! The second row spreads checks that were started, or that failed and recovered, at the same moment; the jitter keeps
//! them from drifting together again. Probes of settled checks that are due within the same few milliseconds begin
//! together at the end of those, within their jitter, so that a thousand checks do not wake their thread a thousand
//! times. A probe that outlasts its delay is followed by the next one at once. After a late wake-up one probe starts;
//! missed probes are not repeated.
//!
//! **Judgement.** An exceeded limit to latency or errors ([`Limit`](crate::model::Limit)) either makes the check
//! degraded, which is reported beside its state, or makes each probe count as failed.
//!
//! **Damping.** A check with `hold_down` that goes down stays down for a time, which doubles with each earlier failure
//! and is halved again while the check stays up. Meanwhile a passing check is `Rising`, and is probed every `interval`.

mod frozen;
mod judgement;
pub mod report;
#[cfg(test)]
mod tests;

use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_bgp::jitter::Jitter;

use self::judgement::Judgement;
use self::report::{HealthState, Outcome};
use crate::model::{Check, Consequence, HoldDown};

/// Probes of settled checks begin at multiples of this, so that they begin together.
const TOGETHER: Duration = Duration::from_millis(8);
/// The number of times that it is halved for short intervals: a timer has a resolution of a millisecond.
const HALVES: usize = 4;

/// An input of a check.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Time has passed; perhaps [`Health::deadline`] has been reached.
    Tick,
    /// An event may have changed the answer, so probe now. The event alone decides nothing.
    Hint,
    /// The probe of [`Output::Probe`] has ended.
    Finished(&'a Outcome),
}

/// An action for the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Start a probe now. No other one starts before its result is handed in.
    Probe,
    /// Report to the engine, together with the result.
    Report(Judged),
}

/// The state of a check after a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The state after the result.
    pub state: HealthState,
    /// When that state was entered.
    pub since: Instant,
    /// The limit that makes the check degraded, in words.
    pub degraded: Option<String>,
    /// The limit that makes a passed probe count as failed, in words.
    pub failed: Option<String>,
    /// The end of a hold-down: the check cannot come up before.
    pub held_until: Option<Instant>,
}

/// The health of one check. Plain data.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    interval: Duration,
    fast_interval: Duration,
    rise: u32,
    fall: u32,
    state: HealthState,
    since: Instant,
    streak: Streak,
    judgement: Judgement,
    hold_down: Option<HoldDown>,
    damping: Damping,
    schedule: Schedule,
    random: Random,
}

/// The hold-down of a check that flaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Damping {
    /// The number of recent failures.
    flaps: u32,
    /// When the check last came up.
    up_since: Option<Instant>,
    held_until: Option<Instant>,
}

/// Equal results in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Streak {
    passed: bool,
    length: u32,
}

/// The state of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Schedule {
    /// The next probe starts then.
    Due(Instant),
    /// A probe has run since then.
    Probing(Instant),
}

impl Health {
    /// A new check, in `Unknown`. Its first probe is due at a moment within `spread` from now (at most its own
    /// interval), chosen by `seed`, which also chooses the jitter of the later ones.
    pub fn new(check: &Check, spread: Duration, seed: u64, now: Instant) -> Self {
        let mut random = Random(Jitter::new(seed));
        let first = random.between(Duration::ZERO, spread.min(check.interval));
        Self {
            interval: check.interval,
            fast_interval: check.fast_interval.min(check.interval),
            rise: check.rise.get(),
            fall: check.fall.get(),
            state: HealthState::Unknown,
            since: now,
            streak: Streak { passed: false, length: 0 },
            judgement: Judgement::new(check),
            hold_down: check.hold_down,
            damping: Damping::default(),
            schedule: Schedule::Due(now + first),
            random,
        }
    }

    /// Handles one input. A tick before the deadline, and a result without a probe, change nothing.
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
                self.judgement.take(outcome, now);
                let failed = self.judgement.exceeded(Consequence::Down).filter(|_| outcome.passed);
                let failed = failed.map(str::to_owned);
                self.count(outcome.passed && failed.is_none());
                self.enter(self.next_state(now), now);
                let held_until = self.held_until(now);
                let due = match (settled, self.settled(), held_until) {
                    // The state cannot change before, so there is no hurry.
                    (_, _, Some(_)) => self.random.steady(started, self.interval),
                    (_, false, None) => started + self.random.jitter(self.fast_interval),
                    (false, true, None) => started + self.random.between(self.fast_interval, self.interval),
                    (true, true, None) => self.random.steady(started, self.interval),
                };
                let due = due.max(now);
                self.schedule = Schedule::Due(held_until.map_or(due, |until| due.min(until)));
                vec![Output::Report(Judged {
                    state: self.state,
                    since: self.since,
                    degraded: self.judgement.exceeded(Consequence::Degraded).map(str::to_owned),
                    failed,
                    held_until,
                })]
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

    /// The state of the check.
    #[cfg(test)]
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

    /// The end of a hold-down.
    fn held_until(&self, now: Instant) -> Option<Instant> {
        self.damping.held_until.filter(|until| now < *until)
    }

    fn next_state(&self, now: Instant) -> HealthState {
        let Streak { passed, length } = self.streak;
        let held = self.held_until(now).is_some();
        match (self.state, passed) {
            (HealthState::Unknown | HealthState::Rising | HealthState::Down, true)
                if length >= self.rise && !held =>
            {
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
        if self.state == state {
            return;
        }
        let was = self.state.verdict();
        (self.state, self.since) = (state, now);
        match (was, state.verdict()) {
            (Some(false) | None, Some(true)) => self.damping.up_since = Some(now),
            (Some(true), Some(false)) => {
                if let Some(hold_down) = self.hold_down {
                    self.damping.go_down(hold_down, now);
                }
            }
            // A check that was never up has not flapped.
            (Some(true), Some(true) | None)
            | (Some(false), Some(false) | None)
            | (None, Some(false) | None) => {}
        }
    }
}

impl Damping {
    fn go_down(&mut self, hold_down: HoldDown, now: Instant) {
        let up_for = self.up_since.map_or(Duration::ZERO, |since| now - since);
        let forgotten = up_for.as_nanos().checked_div(hold_down.most.as_nanos()).unwrap_or(u128::MAX);
        let flaps = self.flaps.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
        self.held_until = Some(now + hold_down.after(flaps));
        self.flaps = (flaps + 1).min(hold_down.doublings());
    }
}

/// Keeps checks out of step.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Random(Jitter);

impl Random {
    /// A duration from `low` up to, but not including, `high`.
    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let fraction = (self.0.next() >> 11) as f64 / (1u64 << 53) as f64;
        low + high.saturating_sub(low).mul_f64(fraction)
    }

    /// A time `interval` ± 5 % after `started`, shared with other checks: a multiple of [`TOGETHER`], or of a half, a
    /// quarter … of it for a short interval. Never outside ± 5 %.
    fn steady(&mut self, started: Instant, interval: Duration) -> Instant {
        let most = interval / 100;
        let halves = std::iter::successors(Some(TOGETHER), |time| Some(*time / 2)).take(HALVES);
        let Some(grid) = halves.into_iter().find(|grid| *grid <= most) else {
            return started + self.jitter(interval);
        };
        let drawn =
            started + self.between(interval.mul_f64(0.95), interval.mul_f64(1.05).saturating_sub(grid));
        let (drawn, grid) = (drawn.as_nanos(), u64::try_from(grid.as_nanos()).unwrap_or(1));
        Instant::from_nanos(drawn.checked_next_multiple_of(grid).unwrap_or(drawn))
    }

    /// `duration` ± 5 %.
    fn jitter(&mut self, duration: Duration) -> Duration {
        self.between(duration.mul_f64(0.95), duration.mul_f64(1.05))
    }
}
