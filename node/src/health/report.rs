//! The reports of a check to the engine.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use vipcast_bgp::Instant;

use crate::model::Check;
use crate::names::CheckName;

/// The state of a check.
///
/// ```text
///            pass × rise                 fail (1st)
///  Unknown ───────────────► Up ◄──────────────────► Falling
///     │  fail × fall         ▲        pass              │ fail × fall
///     ▼                      │ pass × rise              ▼
///   Down ◄────────────────► Rising                    Down
///        fail / pass (1st)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
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

impl HealthState {
    /// Whether a service may be announced on it: `None` while it is not settled.
    pub fn verdict(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Up | Self::Falling => Some(true),
            Self::Down | Self::Rising => Some(false),
        }
    }
}

/// The result of one probe, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether it passed.
    pub passed: bool,
    /// The observation, one line: `200 OK`, `connection refused`, `no answer within 500 ms`.
    pub detail: String,
    /// The duration of the probe.
    pub took: Duration,
}

/// A message to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckNews {
    /// A result.
    Report(CheckReport),
    /// A probe is waiting for a permit and has not begun; repeated while it waits.
    Waits(CheckName, Arc<Check>),
    /// The task of a check has panicked, with this message; the check begins anew.
    Panicked(CheckName, String),
}

/// The report of a probe with news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The check.
    pub check: CheckName,
    /// The definition that was probed. After a change of the configuration a report of the earlier definition may still
    /// arrive; it does not count for the check that has the name now.
    pub definition: Arc<Check>,
    /// Its state after this result.
    pub state: HealthState,
    /// When it entered that state.
    pub since: Instant,
    /// The limit that makes it degraded, in words. The check still passes.
    pub degraded: Option<String>,
    /// The end of a hold-down.
    pub held_until: Option<Instant>,
    /// The result; failed if a limit makes it count as failed.
    pub outcome: Outcome,
    /// The time of the result.
    pub at: Instant,
}

impl CheckReport {
    /// Whether it differs from `last`, the report before it, in more than the duration and time of the probe. A report
    /// of a check that is not settled is always news: the engine waits for it.
    pub fn is_news(&self, last: &Self) -> bool {
        let is_settled = matches!(self.state, HealthState::Up | HealthState::Down);
        let judged = |report: &Self| (report.state, report.since, report.held_until, report.outcome.passed);
        !(is_settled
            && Arc::ptr_eq(&self.definition, &last.definition)
            && judged(self) == judged(last)
            && self.degraded == last.degraded
            && self.outcome.detail == last.outcome.detail)
    }
}
