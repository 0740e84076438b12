//! The delivery of a connection's bytes: bytes that the kernel has taken are not yet acknowledged by the peer.
//!
//! ```text
//!  given to the driver ─► taken by the kernel ─► acknowledged by the peer's TCP
//!       │                      Input::Sent          Input::Queue, asked for by Output::Look
//!       └─ a mark behind each UPDATE: the number of prefixes up to here
//! ```
//!
//! The kernel does not report acknowledgements, so it is asked: soon after bytes of an UPDATE went out, then less and
//! less often, and not at all while no UPDATE is in flight.

mod frozen;

use std::collections::VecDeque;
use std::time::Duration;

use super::io::SendQueue;
use super::status::Stall;
use crate::time::Instant;

/// The delay of the first look after a send or an acknowledgement: a peer on the same link has acknowledged by then.
const FIRST_LOOK: Duration = Duration::from_millis(2);
/// The longest delay between looks at a peer that does not acknowledge.
const LAST_LOOK: Duration = Duration::from_millis(250);
/// The number of retransmissions in a row, 1.4 s and more, that counts as a stall.
const STALLED: u32 = 3;
/// Marks closer to each other than this are merged: never more marks than full messages in the kernel's buffer.
const GRAIN: u64 = 4096;

/// The delivery of one connection's bytes.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    /// Bytes given to the driver so far.
    given: u64,
    /// The first of these bytes that is not acknowledged.
    acknowledged: u64,
    /// UPDATEs in flight: the end of each, and the number of prefixes up to there.
    marks: VecDeque<(u64, usize)>,
    /// The number of prefixes up to `acknowledged`.
    prefixes: usize,
    look_at: Option<Instant>,
    look_after: Duration,
    /// The time of the last acknowledgement, while bytes are outstanding.
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
    /// The driver was given `bytes`.
    pub(super) fn gave(&mut self, bytes: usize) {
        self.given += u64::try_from(bytes).unwrap_or_default();
    }

    /// The last bytes were an UPDATE; with it the peer has `prefixes` prefixes.
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

    /// The kernel took bytes.
    pub(super) fn taken(&mut self, now: Instant) {
        if self.marks.is_empty() || self.look_at.is_some() {
            return;
        }
        self.stuck_since.get_or_insert(now);
        self.look_at = Some(now + self.look_after);
    }

    /// The peer has sent data.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// When the next look is due; see [`Output::Look`](super::Output::Look).
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Notes a look at the kernel.
    pub(super) fn looking(&mut self) {
        self.look_at = None;
    }

    /// Takes the kernel's answer, while the driver holds `unsent` bytes that the kernel did not take. In a stall: the
    /// stall, and whether it has just begun.
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
        // A silent peer is dead or cut off, which is another fault.
        let begins = hears && !self.stalled && queue.retransmissions >= STALLED;
        self.stalled |= begins;
        let SendQueue { unacknowledged: bytes, retransmissions, segment } = queue;
        self.stalled.then_some((Stall { bytes, retransmissions, segment }, begins))
    }

    /// Whether every UPDATE is acknowledged.
    pub(super) fn is_complete(&self) -> bool {
        self.marks.is_empty()
    }

    /// The number of acknowledged prefixes; `None`: all that were sent.
    pub(super) fn acknowledged(&self) -> Option<usize> {
        (!self.marks.is_empty()).then_some(self.prefixes)
    }
}
