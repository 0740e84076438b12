//! The status of a session; plain data.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::config::SessionConfig;
use super::io::Transition;
use super::packet::{Diagnostic, Interval, Packet, State};
use crate::time::Instant;

/// A snapshot of a session. Times are in microseconds in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// When it entered that state.
    #[serde(skip)]
    pub since: Instant,
    /// The diagnostic in our packets.
    pub diagnostic: Diagnostic,
    /// Our discriminator of the session.
    pub discriminator: NonZeroU32,
    /// Its configuration.
    pub config: SessionConfig,
    /// The contents of the other side's last packet; `None` after a silence of the detection time.
    pub remote: Option<Remote>,
    /// Our transmit interval, before jitter; `None` while the other side wants no packets.
    #[serde(serialize_with = "micros")]
    pub transmit_interval: Option<Duration>,
    /// The other side's transmit interval, before jitter.
    #[serde(serialize_with = "micros")]
    pub receive_interval: Option<Duration>,
    /// The detection time.
    #[serde(serialize_with = "micros")]
    pub detection_time: Option<Duration>,
    /// Whether a Poll Sequence is active: new timers wait for the other side's answer.
    pub polling: bool,
    /// The last change of state.
    pub last_transition: Option<Transition>,
    /// Totals.
    pub counters: Counters,
}

/// The contents of the other side's last packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Remote {
    /// Its discriminator of the session.
    pub discriminator: NonZeroU32,
    /// Its state.
    pub state: State,
    /// The reason for that state.
    pub diagnostic: Diagnostic,
    /// The number of its packets in a row whose loss brings the session down.
    pub multiplier: NonZeroU8,
    /// Its shortest transmit interval.
    pub desired_min_tx: Option<Interval>,
    /// The shortest interval at which it can receive; `None`: it wants no periodic packets.
    pub required_min_rx: Option<Interval>,
    /// Whether it wants no periodic packets while both sides are Up.
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
    /// Packets received for this session.
    pub received: u64,
    /// Packets given to the driver.
    pub transmitted: u64,
    /// The number of changes to Up.
    pub ups: u64,
    /// The number of changes from Up.
    pub downs: u64,
    /// The number of times that the session was not declared down because we woke late.
    pub late_wakeups: u64,
}

fn micros<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)).serialize(serializer)
}
