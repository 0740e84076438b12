//! What only the records say: counts since the start, folded on the thread `journal`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;
use vipcast_node::engine::{Reason, Verdict};
use vipcast_node::record::{OfSession, Record, What};

use super::histogram::{self, Histogram};
use crate::control::api::EventKind;

/// Upper bounds of the durations of fail-overs, in seconds.
const FAILOVER: &[f64] = &[0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

/// The counts. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Mutex<Counted>>);

/// The counts at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    /// Events by kind.
    pub(crate) events: BTreeMap<String, u64>,
    /// Records that were left out of the log and the events.
    pub(crate) left_out: u64,
    /// Established sessions and ends of sessions, by peer.
    pub(crate) sessions: BTreeMap<String, Sessions>,
    /// From the failed probe to the withdrawal in the kernel's hands, for the first peer.
    pub(crate) failover: Histogram,
    /// Whether the last reload was in force.
    pub(crate) reloaded: bool,
    /// The time of the configuration in force.
    pub(crate) configured: Option<Timestamp>,
    /// The wake-up in which a failed check withdrew a VIP, until a peer's kernel has the withdrawal.
    failing: Option<Instant>,
}

/// The sessions of a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    pub(crate) established: u64,
    pub(crate) ended: u64,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            events: BTreeMap::new(),
            left_out: 0,
            sessions: BTreeMap::new(),
            failover: Histogram::new(FAILOVER),
            reloaded: true,
            configured: None,
            failing: None,
        }
    }
}

/// The frozen form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frozen {
    events: BTreeMap<String, u64>,
    left_out: u64,
    /// Established sessions and ends of sessions, by peer.
    sessions: BTreeMap<String, (u64, u64)>,
    failover: histogram::Frozen,
    reloaded: bool,
    configured: Option<Timestamp>,
    failing: Option<Instant>,
}

impl Counts {
    /// The counts of the program before.
    pub(crate) fn thaw(frozen: Frozen) -> Self {
        let Frozen { events, left_out, sessions, failover, reloaded, configured, failing } = frozen;
        // None of them can have grown so far; each must still be able to grow.
        let sane = |count: u64| count.min(u64::MAX / 2);
        let events = events.into_iter().map(|(kind, count)| (kind, sane(count))).collect();
        let of = |(peer, (established, ended))| {
            (peer, Sessions { established: sane(established), ended: sane(ended) })
        };
        Self(Arc::new(Mutex::new(Counted {
            events,
            left_out,
            sessions: sessions.into_iter().map(of).collect(),
            failover: Histogram::thaw(FAILOVER, failover),
            reloaded,
            configured,
            failing,
        })))
    }

    /// For the next program.
    pub(crate) fn freeze(&self) -> Frozen {
        let Counted { events, left_out, sessions, failover, reloaded, configured, failing } = self.now();
        let of = |(peer, Sessions { established, ended })| (peer, (established, ended));
        Frozen {
            events,
            left_out,
            sessions: sessions.into_iter().map(of).collect(),
            failover: failover.freeze(),
            reloaded,
            configured,
            failing,
        }
    }

    /// The counts now.
    pub(crate) fn now(&self) -> Counted {
        self.lock().clone()
    }

    /// Counts a record.
    pub(crate) fn record(&self, record: &Record) {
        self.lock().record(record);
    }

    /// Counts an event.
    pub(crate) fn event(&self, kind: &EventKind) {
        let mut counted = self.lock();
        match counted.events.get_mut(kind.word()) {
            Some(count) => *count += 1,
            None => drop(counted.events.insert(kind.word().to_owned(), 1)),
        }
    }

    /// Counts records that were left out.
    pub(crate) fn left_out(&self, count: u64) {
        let mut counted = self.lock();
        counted.left_out = counted.left_out.saturating_add(count);
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    #[expect(clippy::wildcard_enum_match_arm, reason = "most records are only events")]
    fn record(&mut self, record: &Record) {
        match &record.what {
            What::Session { peer, what: OfSession::Up { .. }, .. } => {
                self.sessions.entry(peer.to_string()).or_default().established += 1;
            }
            What::Session { peer, what: OfSession::Down { .. }, .. } => {
                self.sessions.entry(peer.to_string()).or_default().ended += 1;
            }
            What::PeerRenamed { peer, was } => {
                let sessions = self.sessions.remove(was.as_str());
                self.sessions.extend(sessions.map(|sessions| (peer.to_string(), sessions)));
            }
            What::Vip { from: Some(from), to: Some(Verdict::Withhold(Reason::CheckDown { .. })), .. }
                if from.is_announced() =>
            {
                self.failing.get_or_insert(record.at.mono);
            }
            What::HandedOver { .. } => {
                if let Some(since) = self.failing.take() {
                    self.failover.observe(record.at.mono.saturating_duration_since(since));
                }
            }
            What::Started { .. } | What::Reloaded { .. } => {
                (self.reloaded, self.configured) = (true, Some(record.at.wall));
            }
            What::NotReloaded { .. } => self.reloaded = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_the_program_before_can_still_grow() {
        let all = [("announced".to_owned(), u64::MAX)].into();
        let counts = Counts::thaw(Frozen { events: all, ..Counts::default().freeze() });
        counts.event(&EventKind::Announced);
        assert_eq!(counts.now().events["announced"], u64::MAX / 2 + 1);
    }
}
