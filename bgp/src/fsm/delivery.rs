//! What of the bytes of a connection has arrived: the kernel's word that it took them is not the peer's that it has them.
//!
//! ```text
//!  given to the driver ─► taken by the kernel ─► acknowledged by the peer's TCP
//!       │                      Input::Sent          Input::Queue, asked for by Output::Look
//!       └─ a mark behind each UPDATE: "up to here it has so many prefixes"
//! ```
//!
//! The kernel does not say when something is acknowledged, so it is asked: soon after bytes of an UPDATE went out, then
//! less and less often, and not at all while none is on the way.

use std::collections::VecDeque;
use std::time::Duration;

use super::io::SendQueue;
use super::status::Stall;
use crate::time::Instant;

/// The first look after something was sent or acknowledged: a peer on the same link is done by then.
const FIRST_LOOK: Duration = Duration::from_millis(2);
/// Between looks at a peer that acknowledges nothing.
const LAST_LOOK: Duration = Duration::from_millis(250);
/// So many retransmissions in a row, 1.4 s and more, are no accident.
const STALLED: u32 = 3;
/// Marks closer to each other than this are one: no more of them than the kernel's buffer has room for messages.
const GRAIN: u64 = 4096;

/// The delivery of one connection's bytes.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    /// Bytes given to the driver so far.
    given: u64,
    /// The first of them that the peer's TCP may not have.
    acknowledged: u64,
    /// UPDATEs on the way: where each ends, and how many prefixes the peer has by then.
    marks: VecDeque<(u64, usize)>,
    /// Prefixes up to `acknowledged`.
    prefixes: usize,
    look_at: Option<Instant>,
    look_after: Duration,
    /// Since when nothing was acknowledged.
    stuck_since: Option<Instant>,
    heard_at: Option<Instant>,
    stalled: bool,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            given: 0,
            acknowledged: 0,
            marks: VecDeque::new(),
            prefixes: 0,
            look_at: None,
            look_after: FIRST_LOOK,
            stuck_since: None,
            heard_at: None,
            stalled: false,
        }
    }
}

impl Delivery {
    /// The driver was given so many bytes.
    pub(super) fn gave(&mut self, bytes: usize) {
        self.given += u64::try_from(bytes).unwrap_or_default();
    }

    /// What was given last was an UPDATE, and the peer has so many prefixes with it.
    pub(super) fn gave_update(&mut self, prefixes: usize) {
        let count = self.marks.len();
        let before = count.checked_sub(2).and_then(|index| self.marks.get(index)).copied();
        match self.marks.back_mut() {
            Some(last) if before.is_some_and(|(end, _)| end + GRAIN > self.given) => {
                *last = (self.given, prefixes);
            }
            Some(_) | None => self.marks.push_back((self.given, prefixes)),
        }
    }

    /// The kernel took some of it.
    pub(super) fn taken(&mut self, now: Instant) {
        if self.marks.is_empty() || self.look_at.is_some() {
            return;
        }
        self.stuck_since.get_or_insert(now);
        self.look_at = Some(now + self.look_after);
    }

    /// The peer has sent something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// When the kernel is to be asked; see [`Output::Look`](super::Output::Look).
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// The kernel is asked now.
    pub(super) fn looking(&mut self) {
        self.look_at = None;
    }

    /// Its answer, while the driver holds `unsent` bytes that it did not take. While nothing moves: what does not, and
    /// whether that has just begun.
    pub(super) fn queue(&mut self, queue: SendQueue, unsent: usize, now: Instant) -> Option<(Stall, bool)> {
        let missing = u64::try_from(unsent.saturating_add(queue.unacknowledged)).unwrap_or(u64::MAX);
        let acknowledged = self.given.saturating_sub(missing);
        if acknowledged > self.acknowledged {
            self.acknowledged = acknowledged;
            while let Some((_, prefixes)) = self.marks.front().filter(|(end, _)| *end <= acknowledged) {
                self.prefixes = *prefixes;
                self.marks.pop_front();
            }
            self.look_after = FIRST_LOOK;
            self.stuck_since = Some(now);
            self.stalled = false;
        } else {
            self.look_after = (self.look_after * 2).min(LAST_LOOK);
        }
        if self.marks.is_empty() {
            (self.look_at, self.stuck_since) = (None, None);
            return None;
        }
        self.look_at = Some(now + self.look_after);
        let hears = self.stuck_since.is_some_and(|since| self.heard_at.is_some_and(|at| at > since));
        // A peer that is not heard either is dead or cut off, and that is another fault.
        let begins = hears && !self.stalled && queue.retransmissions >= STALLED;
        self.stalled |= begins;
        let SendQueue { unacknowledged: bytes, retransmissions, segment } = queue;
        self.stalled.then_some((Stall { bytes, retransmissions, segment }, begins))
    }

    /// Whether every UPDATE that was given is acknowledged.
    pub(super) fn is_complete(&self) -> bool {
        self.marks.is_empty()
    }

    /// How many prefixes are acknowledged; `None`: all that were sent.
    pub(super) fn acknowledged(&self) -> Option<usize> {
        (!self.marks.is_empty()).then_some(self.prefixes)
    }
}
