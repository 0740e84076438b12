//! What is made of the answers of a check beyond passed and failed: limits to latency and errors, and damping.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::defaults;

/// One entry under `latency:` or `errors:` of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What is measured, and how much is too much.
    pub measure: Measure,
    /// How many results in a row have to be over it, or within it again, before that counts; 1 to 1000.
    pub results: NonZeroU32,
    /// What follows.
    pub then: Consequence,
}

/// What a [`Limit`] limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// How long each passed probe took.
    Latency {
        /// More is too much.
        over: Duration,
    },
    /// The moving average of it, in which the weight of a result falls to 1/e within `window`.
    AverageLatency {
        /// More is too much.
        over: Duration,
        /// 1 s to 1 day.
        window: Duration,
    },
    /// Its percentile over a window.
    LatencyPercentile {
        /// More is too much.
        over: Duration,
        /// 1 to 99.
        percentile: u8,
        /// 1 s to 1 day, and at most the last [`Measure::MOST_RESULTS`] results.
        window: Duration,
    },
    /// The share of failed probes in a window.
    Errors {
        /// More is too much.
        over: Share,
        /// 1 s to 1 day, and at most the last [`Measure::MOST_RESULTS`] results.
        window: Duration,
    },
}

impl Measure {
    /// Windows hold no more results than this: it bounds the memory of a check.
    pub const MOST_RESULTS: usize = 1000;
    /// A window with fewer results says nothing.
    pub const LEAST_RESULTS: usize = 10;
}

/// A share in thousandths: 0 to 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u16);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (whole, 0) => write!(f, "{whole} %"),
            (whole, tenth) => write!(f, "{whole}.{tenth} %"),
        }
    }
}

/// What follows when a limit is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consequence {
    /// The check is degraded (the default): it passes, and services do with it what their `on_degraded` says.
    Degraded,
    /// Each probe counts as failed while it lasts.
    Down,
}

/// `hold_down:`: how long a check that went down stays so, at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldDown {
    /// The first time; it doubles each time that the check goes down again.
    pub first: Duration,
    /// Up to this. While the check is up, a doubling is forgotten for each such time.
    pub most: Duration,
}

impl HoldDown {
    /// How long the check is held down that has gone down `flaps` times before.
    pub fn after(self, flaps: u32) -> Duration {
        let doubled = 2_u32.checked_pow(flaps).and_then(|times| self.first.checked_mul(times));
        doubled.unwrap_or(self.most).min(self.most)
    }

    /// How many doublings there are until `most` is reached: more flaps make no difference.
    pub fn doublings(self) -> u32 {
        (0..u32::BITS).find(|flaps| self.after(*flaps) == self.most).unwrap_or(u32::BITS)
    }

    /// How often the check can come up within any hour, whatever its probes say: what the reference says and tests hold it to.
    #[cfg(test)]
    pub fn recoveries_an_hour(self) -> u32 {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        // It may come up at the very beginning. After that each time is preceded by a whole hold; that a doubling is
        // forgotten costs more time than it saves.
        let (mut recoveries, mut passed) = (1, self.after(0));
        while passed <= HOUR && recoveries < u32::MAX {
            recoveries += 1;
            passed += self.after(recoveries - 1);
        }
        recoveries
    }
}

impl Default for HoldDown {
    fn default() -> Self {
        Self { first: defaults::HOLD_DOWN, most: defaults::MOST_HOLD_DOWN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(first: u64, most: u64) -> HoldDown {
        HoldDown { first: Duration::from_secs(first), most: Duration::from_secs(most) }
    }

    #[test]
    fn holds_double_up_to_the_most() {
        let seconds = |flaps| hold(10, 300).after(flaps).as_secs();
        assert_eq!([0, 1, 4, 5, 6, 31, 32, u32::MAX].map(seconds), [10, 20, 160, 300, 300, 300, 300, 300]);
        assert_eq!(hold(10, 300).doublings(), 5);
        assert_eq!(hold(10, 10).doublings(), 0);
    }

    #[test]
    fn recoveries_an_hour_are_those_of_the_reference() {
        // 0, 10, 30, 70, 150, 310 s, and then every 300 s.
        assert_eq!(hold(10, 300).recoveries_an_hour(), 6 + 10);
        let page = include_str!("../../../docs/checks.md");
        for (first, most, shown) in [(1, 300, "1s"), (10, 300, "10s"), (60, 300, "60s"), (300, 300, "5m")] {
            let row = format!("| {shown} | 5m | {} |", hold(first, most).recoveries_an_hour());
            assert!(page.contains(&row), "{row} is not in docs/checks.md");
        }
    }
}
