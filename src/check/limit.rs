//! What every kind of probe is given, and what it gives: a time that it may take, and an answer in words.

use std::time::Duration;

use super::words;

/// What a probe saw, in words: `Ok` passed, `Err` failed.
pub(super) type Answer = Result<String, String>;

/// The time that a probe, or a part of it, may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    length: Duration,
    until: tokio::time::Instant,
}

impl Limit {
    pub(super) fn starting_now(length: Duration) -> Self {
        Self { length, until: tokio::time::Instant::now() + length }
    }

    /// All of it.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// `None` when the time is over first.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.until, work).await.ok()
    }

    /// Ends with the time.
    pub(super) async fn over(&self) {
        tokio::time::sleep_until(self.until).await;
    }

    /// One of `parts` equal shares of the time that is left.
    pub(super) fn share(&self, parts: usize) -> Self {
        if parts <= 1 {
            return *self;
        }
        let left = self.until.saturating_duration_since(tokio::time::Instant::now());
        Self::starting_now(left / u32::try_from(parts).unwrap_or(u32::MAX))
    }

    /// `no answer within 500 ms`.
    pub(super) fn exceeded(&self, what: &str) -> String {
        format!("{what} within {}", words::duration(self.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_time_add_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let limit = Limit::starting_now(Duration::from_secs(2));
            assert_eq!(limit.share(1).until, limit.until);
            assert!(limit.share(2).until <= limit.until - Duration::from_millis(999));
            assert_eq!(limit.exceeded("no answer"), "no answer within 2 s");
        });
    }
}
