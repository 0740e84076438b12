//! Time as a number, so that it can be an argument, be stored and be simulated.
//!
//! A machine never reads a clock. Its driver reads CLOCK_MONOTONIC once for each input, and hands the reading in.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A reading of the monotonic clock, in nanoseconds: up to 584 years.
///
/// A reading of CLOCK_MONOTONIC is the time since the boot. All processes of the host share it, and `execve` does not
/// reset it. Only readings of the same boot may be compared. The arithmetic is that of [`std::time::Instant`], but it
/// saturates where that panics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(u64);

impl Instant {
    /// The boot; in a simulation, its beginning.
    pub const BOOT: Self = Self(0);

    /// The time `nanoseconds` after the boot.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `None` beyond the range.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanoseconds = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanoseconds).map(Self)
    }

    /// `None` before the boot.
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        let nanoseconds = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_sub(nanoseconds).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.checked_add(duration).unwrap_or(Self(u64::MAX))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        self.checked_sub(duration).unwrap_or(Self::BOOT)
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl fmt::Debug for Instant {
    /// As `12.003450s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_is_that_of_std_and_stops_at_the_ends_of_the_range() {
        let (second, end) = (Duration::from_secs(1), Instant::from_nanos(u64::MAX));
        let start = Instant::from_nanos(500_000_000);
        assert_eq!((start + second).as_nanos(), 1_500_000_000);
        assert_eq!((start + second) - start, second);
        assert_eq!(start - (start + second), Duration::ZERO);
        assert_eq!(start - second, Instant::BOOT);
        assert_eq!(end + second, end);
        assert_eq!(start + Duration::MAX, end);
        assert_eq!(start.checked_sub(second), None);
        assert_eq!(end.checked_add(second), None);
        assert_eq!(start.checked_add(Duration::MAX), None);
    }

    #[test]
    fn an_instant_can_be_written_down_and_read_again() {
        let instant = Instant::from_nanos(12_003_450_000);
        let written = serde_json::to_string(&instant).unwrap();
        assert_eq!(written, "12003450000");
        assert_eq!(serde_json::from_str::<Instant>(&written).unwrap(), instant);
        assert_eq!(format!("{instant:?}"), "12.003450000s");
    }
}
