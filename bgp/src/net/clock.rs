//! The monotonic clock, read here for all drivers.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::time::Instant;

/// CLOCK_MONOTONIC now.
pub fn now() -> Instant {
    // It can fail only where the kernel has no such clock, or for a bad pointer.
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Instant::BOOT + since_boot
}

/// Sleeps until CLOCK_MONOTONIC reads `at`; not at all if it has passed. Cancel-safe.
pub async fn sleep_until(at: Instant) {
    tokio::time::sleep(at.saturating_duration_since(now())).await;
}
