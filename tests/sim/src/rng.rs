//! Randomness, from one seed.

use std::time::Duration;

use vipcast_bgp::jitter::Jitter;

/// A stream of numbers that is the same for the same seed.
#[derive(Debug, Clone)]
pub struct Rng(Jitter);

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Jitter::new(seed))
    }

    /// A stream of its own for one part of the world, so that what happens elsewhere does not shift its numbers.
    pub fn of(seed: u64, part: u64) -> Self {
        let mut rng = Self::new(seed ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self::new(rng.number())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// True with this probability in per cent.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A duration from `least` to `most`.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let spread = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(u64::MAX);
        least + Duration::from_nanos(self.below(spread.saturating_add(1)))
    }

    /// One of them; `None` of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(u64::try_from(of.len()).unwrap_or(u64::MAX))).ok()?;
        of.get(index)
    }
}
