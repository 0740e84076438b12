//! What a check tells the engine.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use vipcast_bgp::Instant;

use crate::model::Check;
use crate::names::CheckName;

/// Where a check stands (DESIGN §5).
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
    /// Nothing is settled since the check began.
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
    /// Whether a service may be announced on it: `None` while nothing is settled.
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
    /// What was seen, one line: `200 OK`, `connection refused`, `no answer within 500 ms`.
    pub detail: String,
    /// How long it took.
    pub took: Duration,
}

/// What is sent to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckNews {
    /// A result.
    Report(CheckReport),
    /// A probe has waited for its turn for a while and has not begun; told again while it waits.
    Waits(CheckName, Arc<Check>),
    /// The task of a check has panicked, with these words; the check begins anew.
    Panicked(CheckName, String),
}

/// Sent after a probe that says anything new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Which check.
    pub check: CheckName,
    /// The definition that was probed. A report of an earlier one may still be on its way when the configuration has
    /// changed; it says nothing about the check that has the name now.
    pub definition: Arc<Check>,
    /// Its state after this result.
    pub state: HealthState,
    /// When it entered that state.
    pub since: Instant,
    /// Which limit makes it degraded, in words. It passes all the same.
    pub degraded: Option<String>,
    /// Until when it cannot come up, because it has gone down too often.
    pub held_until: Option<Instant>,
    /// The result; one that a limit makes count as failed has failed.
    pub outcome: Outcome,
    /// When the result came.
    pub at: Instant,
}

impl CheckReport {
    /// Whether it says more than `last`, the report before it, beside how long the probe took and when it ended. A check that
    /// is not settled always does: the engine waits for it.
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
