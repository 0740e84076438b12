//! Limits of a check to latency and errors, and damping.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::defaults;

/// One entry under `latency:` or `errors:` of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The measure and its limit.
    pub measure: Measure,
    /// The number of results in a row that trip or reset the limit; 1 to 1000.
    pub results: NonZeroU32,
    /// The consequence.
    pub then: Consequence,
}

/// The measure of a [`Limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The duration of each passed probe.
    Latency {
        /// The limit.
        over: Duration,
    },
    /// The moving average of the latency; the weight of a result falls to 1/e within `window`.
    AverageLatency {
        /// The limit.
        over: Duration,
        /// 1 s to 1 day.
        window: Duration,
    },
    /// The percentile of the latency over a window.
    LatencyPercentile {
        /// The limit.
        over: Duration,
        /// 1 to 99.
        percentile: u8,
        /// 1 s to 1 day, and at most the last [`Measure::MOST_RESULTS`] results.
        window: Duration,
    },
    /// The share of failed probes in a window.
    Errors {
        /// The limit.
        over: Share,
        /// 1 s to 1 day, and at most the last [`Measure::MOST_RESULTS`] results.
        window: Duration,
    },
}

impl Measure {
    /// The most results in a window; bounds the memory of a check.
    pub const MOST_RESULTS: usize = 1000;
    /// The fewest results with which a window counts.
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

/// The consequence of an exceeded limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consequence {
    /// The check is degraded (the default): it passes, and services follow their `on_degraded`.
    Degraded,
    /// Each probe counts as failed while the limit is exceeded.
    Down,
}

/// `hold_down:`: the time for which a check that went down stays down, at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldDown {
    /// The first hold; it doubles each time that the check goes down again.
    pub first: Duration,
    /// The longest hold. While the check is up, each such time undoes one doubling.
    pub most: Duration,
}

impl HoldDown {
    /// The hold of a check that has gone down `flaps` times before.
    pub fn after(self, flaps: u32) -> Duration {
        let doubled = 2_u32.checked_pow(flaps).and_then(|times| self.first.checked_mul(times));
        doubled.unwrap_or(self.most).min(self.most)
    }

    /// The number of doublings until `most` is reached: more flaps make no difference.
    pub fn doublings(self) -> u32 {
        (0..u32::BITS).find(|flaps| self.after(*flaps) == self.most).unwrap_or(u32::BITS)
    }

    /// The most times that the check can come up within any hour, as in the reference.
    #[cfg(test)]
    pub fn recoveries_an_hour(self) -> u32 {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        // The check may come up at the very beginning. After that each time is preceded by a whole hold; undoing a
        // doubling takes more time than it saves.
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
