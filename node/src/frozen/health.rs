//! The frozen form of the [`Health`](crate::health::Health) of one check.

use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;

use super::mirror;
use crate::health::report;

/// The frozen health of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Version 1.
    V1(V1),
}

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V1 {
    /// The digest of the definition: the health of another definition is another one.
    pub definition: u64,
    /// The state.
    pub state: State,
    /// When the check entered it.
    pub since: Instant,
    /// Whether the last results passed.
    pub passed: bool,
    /// The number of such results in a row.
    pub streak: u32,
    /// The limits of the definition, in its order.
    pub limits: Vec<Limit>,
    /// The results in the longest window, the oldest first.
    pub results: Vec<Seen>,
    /// The number of recent failures.
    pub flaps: u32,
    /// When the check last came up.
    pub up_since: Option<Instant>,
    /// The end of the last hold-down.
    pub held_until: Option<Instant>,
    /// The schedule.
    pub schedule: Schedule,
    /// The state of the generator of the jitter.
    pub jitter: u64,
}

/// The state of one limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The moving average.
    pub average: Option<Average>,
    /// Whether the limit is exceeded.
    pub tripped: bool,
    /// The number of results in a row that disagree with `tripped`.
    pub streak: u32,
    /// The last measurement, in words.
    pub measured: String,
}

/// A moving average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {
    /// The bits of the average in seconds (IEEE 754 binary64), because not every format keeps each of them in a decimal
    /// number.
    pub seconds: u64,
    /// The number of results, at most 2³².
    pub results: u32,
    /// The time of the last one.
    pub at: Instant,
}

/// One result: its time, whether it passed, and the duration of the probe in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(pub Instant, pub bool, pub u64);

/// The state of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// The next probe starts then.
    Due(Instant),
    /// A probe has run since then. Its result is lost; the thawed check probes anew at once.
    Probing(Instant),
}

mirror! {
    /// The state of a check.
    State = report::HealthState {
        /// Not settled since the check began.
        Unknown,
        /// Down, but the last results passed.
        Rising,
        /// Healthy.
        Up,
        /// Still healthy, but the last results failed.
        Falling,
        /// Not healthy.
        Down,
    }
}
