//! The Poll Sequence (RFC 5880 §6.5): P in every packet until an F comes, and new timers apply only then (§6.8.3).
//!
//! ```text
//!            start            F                        rest has ended
//!   Idle ───────────► Active ────► Resting ──────────────────────────► Idle
//!                       │            │ start: `again`                   ▲
//!                       │            └─ rest has ended, again ─► Active │
//!                       └── start: `again`                              │
//! ```
//!
//! Every packet with P is answered, so more F packets may be in flight when the first one arrives. A second sequence
//! that began at once would take one of those for its own answer, and apply timers that the other side does not know
//! yet. So it waits until they have arrived or are lost.

use std::time::Duration;

use crate::time::Instant;

/// The state of the Poll Sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Poll {
    /// There are no new timers.
    #[default]
    Idle,
    /// P is set.
    Active {
        /// When the first packet with P was sent; an F before that does not belong to this sequence.
        sent: Option<Instant>,
        /// The timers have changed since the start of the sequence.
        again: bool,
    },
    /// The F came a moment ago.
    Resting {
        /// A late F may come until then.
        until: Instant,
        /// The timers have changed meanwhile.
        again: bool,
    },
}

impl Poll {
    /// The timers have changed.
    pub(super) fn start(&mut self) {
        *self = match *self {
            Self::Idle => Self::Active { sent: None, again: false },
            // No packet with P was sent yet, so this sequence can announce the new timers.
            Self::Active { sent: None, .. } => *self,
            Self::Active { sent, .. } => Self::Active { sent, again: true },
            Self::Resting { until, .. } => Self::Resting { until, again: true },
        };
    }

    /// Handles an F. Returns whether the other side knows our current timers.
    ///
    /// The rest is twice the time that this answer has taken since the first P, and at least `least`: later answers
    /// take no longer than that.
    pub(super) fn finish(&mut self, now: Instant, least: Duration) -> bool {
        match *self {
            Self::Active { sent: Some(sent), again } => {
                let rest = (now.saturating_duration_since(sent) * 2).max(least);
                *self = Self::Resting { until: now + rest, again };
                !again
            }
            Self::Active { sent: None, .. } | Self::Idle | Self::Resting { .. } => false,
        }
    }

    /// A packet without F is sent now. Returns whether it has P.
    pub(super) fn mark(&mut self, now: Instant) -> bool {
        match self {
            Self::Active { sent, .. } => {
                sent.get_or_insert(now);
                true
            }
            Self::Idle | Self::Resting { .. } => false,
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if let Self::Resting { until, again } = *self
            && until <= now
        {
            *self = if again { Self::Active { sent: None, again: false } } else { Self::Idle };
        }
    }

    pub(super) fn is_active(self) -> bool {
        matches!(self, Self::Active { .. })
    }

    /// Whether there are timers that the other side may not know yet.
    pub(super) fn is_pending(self) -> bool {
        self.is_active() || self.deadline().is_some()
    }

    /// The start of a waiting sequence.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Resting { until, again: true } => Some(until),
            Self::Resting { again: false, .. } | Self::Idle | Self::Active { .. } => None,
        }
    }
}
