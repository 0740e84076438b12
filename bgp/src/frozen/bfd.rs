//! The frozen form of a [`bfd::Session`].

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mirror;
use crate::bfd;
use crate::time::Instant;

/// A frozen BFD session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Session {
    /// Version 1.
    V1(V1),
}

/// Version 1. It has no authentication sequence, because the session has no authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V1 {
    /// The configuration in force. A caller that has another hands it in after the thaw.
    pub config: Config,
    /// Our discriminator.
    pub discriminator: NonZeroU32,
    /// The state of the generator of the jitter.
    pub jitter: u64,
    /// The state of the session.
    pub state: State,
    /// When it entered that state.
    pub since: Instant,
    /// The last change of state.
    pub last_transition: Option<Transition>,
    /// The contents of the other side's last packet.
    pub remote: Option<Remote>,
    /// Our transmit interval as the other side knows it, in microseconds.
    pub agreed_tx: NonZeroU32,
    /// Our receive interval as the other side knows it, in microseconds.
    pub agreed_rx: NonZeroU32,
    /// The Poll Sequence.
    pub poll: Poll,
    /// When the last packet was sent that counts for the pace.
    pub sent: Option<Instant>,
    /// When the next packet is due.
    pub next: Option<Instant>,
    /// The interval that `next` was drawn for, in nanoseconds.
    pub interval: u64,
    /// Whether the session was told to stop.
    pub end: End,
    /// Totals.
    pub counters: Counters,
}

/// The timers of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// In microseconds.
    pub desired_min_tx: NonZeroU32,
    /// In microseconds.
    pub required_min_rx: NonZeroU32,
    /// The number of our packets in a row that may be lost, plus one.
    pub multiplier: NonZeroU8,
    /// An operator holds the session down.
    pub admin_down: bool,
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// The old state.
    pub from: State,
    /// The new state.
    pub to: State,
    /// The cause.
    pub cause: Cause,
    /// The diagnostic in our packets since then, 0 to 31.
    pub diagnostic: u8,
    /// The time of the change.
    pub at: Instant,
}

/// A change of state that the next program has to be told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The session.
    pub session: String,
    /// The change.
    pub transition: Transition,
}

/// The cause of a change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Cause {
    /// A packet.
    Received {
        /// The state of the other side.
        state: State,
        /// Its diagnostic, 0 to 31.
        diagnostic: u8,
    },
    /// No packet came for the detection time.
    DetectionTimeExpired,
    /// The configuration, or the end of the session.
    Operator,
}

/// The contents of the other side's last packet, and its expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Its discriminator.
    pub discriminator: NonZeroU32,
    /// Its state.
    pub state: State,
    /// Its diagnostic, 0 to 31.
    pub diagnostic: u8,
    /// Its multiplier.
    pub multiplier: NonZeroU8,
    /// In microseconds; 0 is `None`.
    pub desired_min_tx: Option<NonZeroU32>,
    /// In microseconds; `None`: it wants no periodic packets.
    pub required_min_rx: Option<NonZeroU32>,
    /// Demand mode.
    pub demand: bool,
    /// The receive time of the packet.
    pub at: Instant,
    /// After a late wake-up: the session does not expire before this.
    pub grace: Option<Instant>,
}

/// The state of the Poll Sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Poll {
    /// There are no new timers.
    Idle,
    /// P is set.
    Active {
        /// When the first packet with P was sent.
        sent: Option<Instant>,
        /// The timers have changed since.
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

/// Whether the session was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It was not.
    No,
    /// Until then AdminDown is sent.
    At(Instant),
    /// It has ended.
    Over,
}

/// Totals since the session was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub transmitted: u64,
    /// Changes to Up.
    pub ups: u64,
    /// Changes from Up.
    pub downs: u64,
    /// The number of times that we woke late.
    pub late_wakeups: u64,
}

mirror! {
    /// The states of a session (RFC 5880 §6.2).
    State = bfd::State {
        /// Held down by an operator.
        AdminDown,
        /// The session is down.
        Down,
        /// We receive packets.
        Init,
        /// Packets arrive in both directions.
        Up,
    }
}

/// The longest detection time: 255 intervals of 71 minutes.
pub(crate) const LONGEST: Duration = Duration::from_micros(255 * 0xFFFF_FFFF);
