//! How late probes begin: whether one thread is enough for all of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Width of a bucket.
const WIDTH: Duration = Duration::from_micros(250);
/// Buckets: what is later than all of them together counts as that late.
const BUCKETS: usize = 400;

/// A histogram of how long after its time each probe began, since the start. Written by the thread of the checks, read by
/// others.
#[derive(Debug)]
pub struct Lateness([AtomicU64; BUCKETS]);

impl Default for Lateness {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Lateness {
    /// Notes one probe.
    pub(super) fn note(&self, late: Duration) {
        let bucket = late.as_nanos() / WIDTH.as_nanos();
        let bucket = usize::try_from(bucket).unwrap_or(usize::MAX).min(BUCKETS - 1);
        self.0[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were noted.
    pub fn probes(&self) -> u64 {
        self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// So many per cent of the probes were not later than this, which is exact to a quarter of a millisecond; at most
    /// 100 ms. Zero while there were none.
    pub fn percentile(&self, percent: u64) -> Duration {
        let counts: Vec<u64> = self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
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
        assert_eq!((lateness.probes(), lateness.percentile(99)), (0, Duration::ZERO));
        for late in 0..98 {
            lateness.note(Duration::from_micros(late));
        }
        lateness.note(Duration::from_millis(10));
        lateness.note(Duration::from_secs(10));
        assert_eq!(lateness.probes(), 100);
        assert_eq!(lateness.percentile(50), Duration::from_micros(250));
        assert_eq!(lateness.percentile(98), Duration::from_micros(250));
        assert_eq!(lateness.percentile(99), Duration::from_micros(10_250));
        assert_eq!(lateness.percentile(100), Duration::from_millis(100));
    }
}
