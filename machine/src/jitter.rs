//! Randomness as data: a seeded generator.

use std::time::Duration;

/// A SplitMix64 generator. Good enough to spread timers, reproducible from its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jitter(u64);

impl Jitter {
    /// A generator whose numbers all follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The state of the generator: a generator with this seed gives the same numbers from now on.
    pub fn state(&self) -> u64 {
        self.0
    }

    /// A random part of `duration` between `low` and `high` per cent of it.
    pub fn percent(&mut self, duration: Duration, low: u32, high: u32) -> Duration {
        let permille = low * 10 + u32::try_from(self.next() % u64::from((high - low) * 10 + 1)).unwrap_or(0);
        duration * permille / 1000
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
