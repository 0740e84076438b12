//! The monotonic clock, read here for all drivers.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use vipcast_machine::Instant;

/// CLOCK_MONOTONIC now.
pub fn now() -> Instant {
    // It fails only if the kernel has no such clock, or for a bad pointer.
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Instant::BOOT + since_boot
}
