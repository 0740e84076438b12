//! The configuration of a session; all of it may change while the session is Up.

use std::num::NonZeroU8;

use serde::Serialize;

use super::packet::Interval;

/// The timers of a session, and whether it may be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SessionConfig {
    /// Our shortest transmit interval; the other side may ask for a longer one (bfd.DesiredMinTxInterval). At least one
    /// second while the session is not Up.
    pub desired_min_tx: Interval,
    /// The shortest interval at which we can receive (bfd.RequiredMinRxInterval).
    pub required_min_rx: Interval,
    /// The number of *our* packets in a row whose loss brings the session down at the other side (bfd.DetectMult).
    pub multiplier: NonZeroU8,
    /// An operator holds the session down.
    pub admin_down: bool,
}

impl SessionConfig {
    /// 300 ms both ways, three packets: slow enough for every router, and a third of the shortest hold time of BGP.
    pub const DEFAULT: Self = Self {
        desired_min_tx: Interval::from_millis(300).unwrap(),
        required_min_rx: Interval::from_millis(300).unwrap(),
        multiplier: NonZeroU8::new(3).unwrap(),
        admin_down: false,
    };

    /// The same interval both ways.
    pub const fn new(interval: Interval, multiplier: NonZeroU8) -> Self {
        Self { desired_min_tx: interval, required_min_rx: interval, multiplier, admin_down: false }
    }

    /// Whether the timers are those of `other`.
    pub(super) fn same_timers(&self, other: &Self) -> bool {
        Self { admin_down: other.admin_down, ..*self } == *other
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}
