//! Whether somebody has set the wall clock: NTP, an operator, a host that had none at its boot.
//!
//! The difference of the two clocks is compared at each wake-up of the loop, which costs two reads of a page in memory; a
//! timer sees to one a minute while a drain ends by itself.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use vipcast_bgp::Instant;
use vipcast_bgp::net::clock;

/// How often it is looked at, at least, while it matters.
pub(super) const CLOCK_LOOK: Duration = Duration::from_secs(60);
/// A smaller change is the slow adjustment of a clock that runs.
const STEP: Duration = Duration::from_secs(1);

/// The wall clock, as it stood beside the monotonic one.
#[derive(Debug)]
pub(super) struct WallClock {
    wall: SystemTime,
    at: Instant,
}

impl WallClock {
    pub(super) fn new() -> Self {
        Self { wall: SystemTime::now(), at: clock::now() }
    }

    /// The time, if the clock was set since it was looked at last.
    pub(super) fn step(&mut self) -> Option<Timestamp> {
        self.step_to(SystemTime::now(), clock::now()).then(Timestamp::now)
    }

    fn step_to(&mut self, wall: SystemTime, now: Instant) -> bool {
        let expected = self.wall + now.saturating_duration_since(self.at);
        let off = wall.duration_since(expected).unwrap_or_else(|earlier| earlier.duration());
        *self = Self { wall, at: now };
        off > STEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_once_in_either_direction_and_one_that_runs_is_not() {
        let mut clock = WallClock::new();
        let (wall, now) = (clock.wall, clock.at);
        let minute = Duration::from_secs(60);
        assert!(!clock.step_to(wall + minute, now + minute));
        assert!(clock.step_to(wall + 100 * minute, now + 2 * minute));
        assert!(!clock.step_to(wall + 101 * minute, now + 3 * minute));
        assert!(clock.step_to(wall - 100 * minute, now + 4 * minute));
        assert!(!clock.step_to(wall - 99 * minute + Duration::from_millis(900), now + 5 * minute));
    }
}
