//! How the driver runs, and what it tells of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::Serialize;

use crate::bfd::{Discards, SessionName, Status};

/// How the driver runs.
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

/// How the thread competes for a processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// SCHED_FIFO with this priority: before everything that is not real-time.
    RealTime(u8),
    /// Like everybody else: it was not asked for, or not granted for this reason.
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

/// Everything there is to know about all sessions now.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Those that are wanted; one that says goodbye is not among them.
    pub sessions: BTreeMap<SessionName, SessionReport>,
    /// Packets that came from no session's address, by why they were dropped.
    pub discarded: Discards,
    /// Why nothing can be received on a port, for each that is needed and cannot be opened.
    pub deaf: Vec<String>,
    /// The longest that the thread was late for a deadline, since the start.
    #[serde(rename = "worst_wakeup_us", serialize_with = "micros")]
    pub worst_wakeup: Duration,
}

/// One session, and its socket.
#[derive(Debug, Clone, Serialize)]
pub struct SessionReport {
    /// The session itself.
    #[serde(flatten)]
    pub status: Status,
    /// The port that it sends from.
    pub source_port: u16,
    /// Packets that the kernel did not take.
    pub send_errors: u64,
    /// Why it did not take the last one that it did not take; `None` once one was sent again.
    pub send_error: Option<String>,
    /// Packets from its remote address that were dropped, by why.
    pub discarded: Discards,
}

fn micros<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
