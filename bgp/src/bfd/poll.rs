//! The Poll Sequence (RFC 5880 §6.5): P in every packet until an F comes, and new timers apply only then (§6.8.3).
//!
//! ```text
//!            start            F                        rest is over
//!   Idle ───────────► Active ────► Resting ──────────────────────────► Idle
//!                       │            │ start: `again`                   ▲
//!                       │            └── rest is over, again ─► Active  │
//!                       └── start: `again`                              │
//! ```
//!
//! Every packet with P is answered, so more than one F may be under way when the first arrives. A second sequence that
//! began at once would take one of those for its own answer, and apply timers that the other has not heard of. So it
//! waits until they have arrived or are lost.

use std::time::Duration;

use crate::time::Instant;

/// Where a Poll Sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Poll {
    /// There is nothing to tell.
    #[default]
    Idle,
    /// P is set.
    Active {
        /// When the first packet with P left; before that no F can be for it.
        sent: Option<Instant>,
        /// The timers have changed since it began.
        again: bool,
    },
    /// The F was here a moment ago.
    Resting {
        /// Until then F may come late.
        until: Instant,
        /// The timers have changed since.
        again: bool,
    },
}

impl Poll {
    /// The timers have changed.
    pub(super) fn start(&mut self) {
        *self = match *self {
            Self::Idle => Self::Active { sent: None, again: false },
            // Nobody has seen the former timers with a P yet, so this sequence may as well be about the new ones.
            Self::Active { sent: None, .. } => *self,
            Self::Active { sent, .. } => Self::Active { sent, again: true },
            Self::Resting { until, .. } => Self::Resting { until, again: true },
        };
    }

    /// An F came. Whether the other knows our timers as they are now.
    ///
    /// An answer takes no longer than this one has taken since the first P, so that twice that time is enough for those
    /// under way, and it is `least` at least.
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

    /// A packet leaves now, without F. Whether it has P.
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

    /// Whether there are timers that the other may not know yet.
    pub(super) fn is_pending(self) -> bool {
        self.is_active() || self.deadline().is_some()
    }

    /// When a sequence that waits begins.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Resting { until, again: true } => Some(until),
            Self::Resting { again: false, .. } | Self::Idle | Self::Active { .. } => None,
        }
    }
}
