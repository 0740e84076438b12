//! The back-off between attempts to connect.

use std::time::Duration;

pub(super) use crate::jitter::Jitter;

/// 1→2→4…≤30 s, ±25 %. Only a session that stayed up for a hold time resets it: a peer that rejects every OPEN at once
/// must not be dialled thousands of times a second.
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

    /// The next delay, before jitter.
    pub(super) fn delay(&self) -> Duration {
        self.next
    }

    /// Goes on with this delay; `None`: it is out of range.
    pub(super) fn resume(&mut self, next: Duration) -> Option<()> {
        (self.first..=self.max.max(self.first)).contains(&next).then(|| self.next = next)
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
}
