//! The monotonic clock, read here for all drivers.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::time::Instant;

/// CLOCK_MONOTONIC now.
pub fn now() -> Instant {
    // It fails only if the kernel has no such clock, or for a bad pointer.
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Instant::BOOT + since_boot
}

/// Sleeps until CLOCK_MONOTONIC reads `at`. Cancel-safe.
///
/// A time that has passed is ready at the first poll: a busy loop that makes this future anew at each turn would
/// otherwise never see it, because tokio rounds every sleep, even an empty one, up to the next millisecond.
pub async fn sleep_until(at: Instant) {
    let left = at.saturating_duration_since(now());
    if !left.is_zero() {
        tokio::time::sleep(left).await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn what_has_passed_is_ready_at_the_first_poll_and_what_has_not_is_not() {
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(pin!(sleep_until(now())).poll(&mut context), Poll::Ready(()));
        let soon = now() + Duration::from_secs(60);
        assert_eq!(pin!(sleep_until(soon)).poll(&mut context), Poll::Pending);
    }
}
