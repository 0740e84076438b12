//! Randomness as data: a seeded generator, and the back-off between attempts to connect.

use std::time::Duration;

/// A SplitMix64 generator. Good enough to spread timers, reproducible from its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A random part of `duration` between `low` and `high` per cent of it.
    pub(super) fn percent(&mut self, duration: Duration, low: u32, high: u32) -> Duration {
        let permille = low * 10 + u32::try_from(self.next() % u64::from((high - low) * 10 + 1)).unwrap_or(0);
        duration * permille / 1000
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// 1→2→4…≤30 s, ±25 %. Only a session that stayed up for a hold time starts it over: a peer that rejects every OPEN
/// at once must not be dialled thousands of times a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first }
    }

    pub(super) fn next(&mut self, jitter: &mut Jitter) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.max.max(self.first));
        jitter.percent(delay, 75, 125)
    }

    /// From now on the longest delay.
    pub(super) fn skip_to_longest(&mut self) {
        self.next = self.max.max(self.first);
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_limit_with_a_quarter_of_jitter_and_starts_over() {
        let mut jitter = Jitter::new(7);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for want in [1, 2, 4, 8, 16, 30, 30] {
            let got = backoff.next(&mut jitter);
            let want = Duration::from_secs(want);
            assert!(got >= want * 3 / 4 && got <= want * 5 / 4, "{got:?} is not within 25 % of {want:?}");
        }
        backoff.reset();
        assert!(backoff.next(&mut jitter) <= Duration::from_millis(1250));
    }

    #[test]
    fn jitter_covers_its_range_and_repeats_for_a_seed() {
        let draw = |seed| {
            let mut jitter = Jitter::new(seed);
            (0..1000).map(|_| jitter.percent(Duration::from_secs(1), 75, 100)).collect::<Vec<_>>()
        };
        let drawn = draw(1);
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
        assert!(drawn.iter().min() < Some(&Duration::from_millis(760)));
        assert!(drawn.iter().max() > Some(&Duration::from_millis(990)));
        assert!(drawn.iter().all(|d| (750..=1000).contains(&d.as_millis())));
    }
}
