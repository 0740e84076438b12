//! What the caller wants, and what it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::bfd::{Discards, Hops, SessionConfig, Status, Transition};

/// Names a session; the caller's choice.
pub type SessionName = Arc<str>;

/// The whole desired set of sessions.
pub type Sessions = BTreeMap<SessionName, SessionSettings>;

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// The other end. A link-local address needs an `interface`.
    pub remote: IpAddr,
    /// Our address; by default the one that the kernel chooses for this `remote`. It may come into being later.
    pub local: Option<IpAddr>,
    /// Packets leave and arrive on this interface only. It may come into being later.
    pub interface: Option<String>,
    /// One hop, or over routers.
    pub hops: Hops,
    /// Timers, and whether the session may be up. They change while the session is Up; all else makes a new session.
    pub config: SessionConfig,
}

impl SessionSettings {
    /// A single-hop session with the default timers.
    pub fn new(remote: IpAddr) -> Self {
        Self { remote, local: None, interface: None, hops: Hops::Single, config: SessionConfig::DEFAULT }
    }

    /// Whether the packets go the same way.
    pub(super) fn same_path(&self, other: &Self) -> bool {
        (self.remote, self.local, &self.interface, self.hops)
            == (other.remote, other.local, &other.interface, other.hops)
    }

    /// Whether the other end would take one session for the other.
    pub(super) fn same_remote(&self, other: &Self) -> bool {
        let elsewhere =
            self.interface.is_some() && other.interface.is_some() && self.interface != other.interface;
        !elsewhere && (self.remote, self.hops.is_multi()) == (other.remote, other.hops.is_multi())
    }
}

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

/// A session has changed its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdEvent {
    /// Which.
    pub session: SessionName,
    /// From what to what, and why.
    pub transition: Transition,
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
