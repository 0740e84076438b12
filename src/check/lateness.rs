//! The lateness of probes: shows whether one thread is enough for all of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use vipcast_bgp::Instant;

/// Width of a bucket.
const WIDTH: Duration = Duration::from_micros(250);
/// Buckets: what is later than all of them together counts as that late.
const BUCKETS: usize = 400;
/// How long a histogram is filled. Two of them are looked at, so what is said is of the last ten to twenty seconds: of a daemon that has
/// run for a month, its start and a bad night are not what matters.
const WINDOW: Duration = Duration::from_secs(10);

/// How long after its time each probe began, lately. Written by the thread of the checks, read by others.
#[derive(Debug)]
pub struct Lateness {
    probes: AtomicU64,
    windows: [Histogram; 2],
    /// The window that is being filled, and since when, in nanoseconds.
    current: AtomicUsize,
    since: AtomicU64,
}

type Histogram = [AtomicU64; BUCKETS];

impl Default for Lateness {
    fn default() -> Self {
        Self {
            probes: AtomicU64::default(),
            windows: [const { [const { AtomicU64::new(0) }; BUCKETS] }; 2],
            current: AtomicUsize::default(),
            since: AtomicU64::default(),
        }
    }
}

impl Lateness {
    /// After so many probes of the program before. Its last seconds are not ours: they say how late it was.
    pub(super) fn after(probes: u64) -> Self {
        Self { probes: AtomicU64::new(probes), ..Self::default() }
    }

    /// Notes one probe that began now.
    pub(super) fn note(&self, late: Duration, now: Instant) {
        self.turn(now);
        let bucket = late.as_nanos() / WIDTH.as_nanos();
        let bucket = usize::try_from(bucket).unwrap_or(usize::MAX).min(BUCKETS - 1);
        self.windows[self.current.load(Ordering::Relaxed)][bucket].fetch_add(1, Ordering::Relaxed);
        self.probes.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins a new window where the current one has been filled for long enough. Only the thread of the checks does.
    fn turn(&self, now: Instant) {
        let since = Instant::BOOT + Duration::from_nanos(self.since.load(Ordering::Relaxed));
        let age = now.saturating_duration_since(since);
        if age < WINDOW {
            return;
        }
        let clear = |window: &Histogram| window.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
        let current = self.current.load(Ordering::Relaxed);
        if age >= 2 * WINDOW {
            clear(&self.windows[current]);
        }
        clear(&self.windows[1 - current]);
        self.current.store(1 - current, Ordering::Relaxed);
        self.since.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// How many were noted since the start.
    pub fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }

    /// So many per cent of the probes of the last ten to twenty seconds were not later than this, which is exact to a quarter of a
    /// millisecond; at most 100 ms. Zero while there were none.
    pub fn percentile(&self, percent: u64) -> Duration {
        let [one, other] = &self.windows;
        let both = one.iter().zip(other);
        let counts: Vec<u64> =
            both.map(|(one, other)| one.load(Ordering::Relaxed) + other.load(Ordering::Relaxed)).collect();
        let rank = (counts.iter().sum::<u64>() * percent).div_ceil(100);
        let mut seen = 0;
        for (count, upper) in counts.into_iter().zip(1_u32..) {
            seen += count;
            if seen >= rank {
                return if seen == 0 { Duration::ZERO } else { WIDTH * upper };
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_buckets() {
        let lateness = Lateness::default();
        let now = Instant::BOOT;
        assert_eq!((lateness.probes(), lateness.percentile(99)), (0, Duration::ZERO));
        for late in 0..98 {
            lateness.note(Duration::from_micros(late), now);
        }
        lateness.note(Duration::from_millis(10), now);
        lateness.note(Duration::from_secs(10), now);
        assert_eq!(lateness.probes(), 100);
        assert_eq!(lateness.percentile(50), Duration::from_micros(250));
        assert_eq!(lateness.percentile(98), Duration::from_micros(250));
        assert_eq!(lateness.percentile(99), Duration::from_micros(10_250));
        assert_eq!(lateness.percentile(100), Duration::from_millis(100));
    }

    #[test]
    fn what_was_late_a_while_ago_is_forgotten() {
        let lateness = Lateness::default();
        let at = |seconds| Instant::BOOT + Duration::from_secs(seconds);
        let worst = || lateness.percentile(100).as_millis();
        lateness.note(Duration::from_millis(50), at(1));
        lateness.note(Duration::ZERO, at(11));
        assert_eq!(worst(), 50, "the window before is looked at as well");
        lateness.note(Duration::ZERO, at(22));
        assert_eq!(worst(), 0);
        lateness.note(Duration::from_millis(50), at(23));
        lateness.note(Duration::ZERO, at(60));
        assert_eq!((worst(), lateness.probes()), (0, 5), "after a long silence both are old");
    }
}
