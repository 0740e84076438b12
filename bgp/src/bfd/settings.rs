//! Sessions as a caller wants them, and what it is told of their changes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::config::SessionConfig;
use super::demux::Hops;
use super::io::Transition;

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
    #[cfg(feature = "net")]
    pub(crate) fn same_path(&self, other: &Self) -> bool {
        (self.remote, self.local, &self.interface, self.hops)
            == (other.remote, other.local, &other.interface, other.hops)
    }

    /// Whether the other end would take one session for the other.
    #[cfg(feature = "net")]
    pub(crate) fn same_remote(&self, other: &Self) -> bool {
        let elsewhere =
            self.interface.is_some() && other.interface.is_some() && self.interface != other.interface;
        !elsewhere && (self.remote, self.hops.is_multi()) == (other.remote, other.hops.is_multi())
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
