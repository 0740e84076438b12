//! What a session says about itself; plain data.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::config::SessionConfig;
use super::io::Transition;
use super::packet::{Diagnostic, Interval, Packet, State};
use crate::time::Instant;

/// Everything there is to know about a session now. Times are in microseconds in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// When it entered that state.
    #[serde(skip)]
    pub since: Instant,
    /// What we tell the other about the last change.
    pub diagnostic: Diagnostic,
    /// Our name of the session.
    pub discriminator: NonZeroU32,
    /// What it was told to do.
    pub config: SessionConfig,
    /// What the other said in its last packet; `None` when it was silent for the detection time.
    pub remote: Option<Remote>,
    /// We send that often, before jitter; `None` while we send nothing: the other does not want it.
    #[serde(serialize_with = "micros")]
    pub transmit_interval: Option<Duration>,
    /// The other sends that often, before jitter.
    #[serde(serialize_with = "micros")]
    pub receive_interval: Option<Duration>,
    /// The session goes down after so long a silence.
    #[serde(serialize_with = "micros")]
    pub detection_time: Option<Duration>,
    /// New timers wait for the other's answer.
    pub polling: bool,
    /// The last change of state.
    pub last_transition: Option<Transition>,
    /// Totals.
    pub counters: Counters,
}

/// What the other end said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Remote {
    /// Its name of the session.
    pub discriminator: NonZeroU32,
    /// Its state.
    pub state: State,
    /// Why it is in that state.
    pub diagnostic: Diagnostic,
    /// How many of its packets may be lost in a row.
    pub multiplier: NonZeroU8,
    /// It wants to send no faster than that.
    pub desired_min_tx: Option<Interval>,
    /// It can receive as fast as that; `None`: it wants no periodic packets.
    pub required_min_rx: Option<Interval>,
    /// It wants no periodic packets while both are Up.
    pub demand: bool,
}

impl From<&Packet> for Remote {
    fn from(packet: &Packet) -> Self {
        Self {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            multiplier: packet.multiplier,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            demand: packet.demand,
        }
    }
}

/// Totals since the session was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Packets that were for this session.
    pub received: u64,
    /// Packets that were handed out to be sent.
    pub transmitted: u64,
    /// How often it came Up.
    pub ups: u64,
    /// How often it left Up.
    pub downs: u64,
    /// How often it was not declared down because we were late ourselves.
    pub late_wakeups: u64,
}

fn micros<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)).serialize(serializer)
}
