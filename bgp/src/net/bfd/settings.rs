//! The options of the driver, and its reports.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::Serialize;

use crate::bfd::{Discards, SessionName, Status};

/// The options of the driver.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// IPv4 packets are received on this address; 0.0.0.0 by default.
    pub listen_v4: Ipv4Addr,
    /// IPv6 packets are received on this address; `::` by default.
    pub listen_v6: Ipv6Addr,
    /// The real-time priority to ask for, 1 to 99 (SCHED_FIFO); `None`: none. 20 by default.
    pub priority: Option<u8>,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen_v4: Ipv4Addr::UNSPECIFIED, listen_v6: Ipv6Addr::UNSPECIFIED, priority: Some(20) }
    }
}

/// The scheduling priority of the thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// SCHED_FIFO with this priority: before all processes without real-time priority.
    RealTime(u8),
    /// No real-time priority: none was requested, or the host denied it for this reason.
    Ordinary(Option<String>),
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RealTime(priority) => write!(f, "real-time priority {priority}"),
            Self::Ordinary(None) => f.write_str("ordinary priority"),
            Self::Ordinary(Some(cause)) => write!(f, "ordinary priority: no real-time priority: {cause}"),
        }
    }
}

/// A snapshot of all sessions.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The desired sessions, without those that are ending.
    pub sessions: BTreeMap<SessionName, SessionReport>,
    /// Dropped packets from other addresses than the sessions', by reason.
    pub discarded: Discards,
    /// The errors of needed ports that cannot be opened.
    pub deaf: Vec<String>,
    /// The greatest delay of the thread behind a deadline, since the start.
    #[serde(rename = "worst_wakeup_us", serialize_with = "micros")]
    pub worst_wakeup: Duration,
}

/// One session, and its socket.
#[derive(Debug, Clone, Serialize)]
pub struct SessionReport {
    /// The status of the session.
    #[serde(flatten)]
    pub status: Status,
    /// Its source port.
    pub source_port: u16,
    /// The number of packets that the kernel refused to send.
    pub send_errors: u64,
    /// The error of the last refused packet; `None` after a successful one.
    pub send_error: Option<String>,
    /// Dropped packets from its remote address, by reason.
    pub discarded: Discards,
}

fn micros<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
