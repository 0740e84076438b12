//! The time-out of a probe, and its answer in words.
//!
//! **One timer a probe.** The time-out of a probe has parts that end with it: while it connects, while it waits for an answer.
//! Each part names what it waited for, and none needs its own timer: the timer of the whole wakes the task, and the
//! innermost part, which is polled first, sees that its time is over ([`Limit::watched`]).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::words;

/// What a probe saw, in words: `Ok` passed, `Err` failed.
pub(super) type Answer = Result<String, String>;

/// The time that a probe, or a part of it, may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    length: Duration,
    until: Instant,
    /// The task is woken at the end anyway.
    is_watched: bool,
}

impl Limit {
    pub(super) fn starting_now(length: Duration) -> Self {
        Self { length, until: Instant::now() + length, is_watched: false }
    }

    /// All of it.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// `None` when the time is over first.
    pub(super) fn within<F: Future>(&self, work: F) -> Within<F> {
        Within { work, until: self.until, has_alarm: !self.is_watched, alarm: None }
    }

    /// The same for the parts of what is awaited [`Self::within`] this one, in the same task.
    pub(super) fn watched(self) -> Self {
        Self { is_watched: true, ..self }
    }

    /// Ends with the time.
    pub(super) async fn over(&self) {
        sleep_until(self.until).await;
    }

    /// One of `parts` equal shares of the time that is left.
    pub(super) fn share(&self, parts: usize) -> Self {
        if parts <= 1 {
            return *self;
        }
        let left = self.until.saturating_duration_since(Instant::now());
        Self::starting_now(left / u32::try_from(parts).unwrap_or(u32::MAX))
    }

    /// `no answer within 500 ms`.
    pub(super) fn exceeded(&self, what: &str) -> String {
        format!("{what} within {}", words::duration(self.length))
    }
}

pin_project! {
    /// Work that has a limit. It is asked first: what is done just in time counts.
    #[derive(Debug)]
    pub(super) struct Within<F> {
        #[pin]
        work: F,
        until: Instant,
        has_alarm: bool,
        // Made when there is something to wait for.
        alarm: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(done) = this.work.poll(cx) {
            return Poll::Ready(Some(done));
        }
        if *this.has_alarm {
            let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(*this.until)));
            ready!(alarm.as_mut().poll(cx));
            return Poll::Ready(None);
        }
        if Instant::now() >= *this.until { Poll::Ready(None) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

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

    #[test]
    fn the_innermost_part_that_waits_says_so_at_the_end_and_takes_no_timer() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let limit = Limit::starting_now(Duration::from_millis(20));
            let parts = async {
                let limit = limit.watched();
                (limit.within(pending::<()>()).await, limit.within(async { "in time" }).await)
            };
            assert_eq!(limit.within(parts).await, Some((None, Some("in time"))));
            let limit = Limit::starting_now(Duration::from_secs(60));
            let share = limit.watched().share(6000);
            assert_eq!(limit.within(share.within(pending::<()>())).await, Some(None), "a share has its own");
        });
    }
}
