//! The desired sessions of the caller, and the events about their changes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::config::SessionConfig;
use super::demux::Hops;
use super::io::Transition;

/// The name of a session, chosen by the caller.
pub type SessionName = Arc<str>;

/// The whole desired set of sessions.
pub type Sessions = BTreeMap<SessionName, SessionSettings>;

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// The other end. A link-local address needs an `interface`.
    pub remote: IpAddr,
    /// Our address; by default the kernel's choice for this `remote`. It may appear later.
    pub local: Option<IpAddr>,
    /// The only interface for packets in both directions. It may appear later.
    pub interface: Option<String>,
    /// Single hop or multihop.
    pub hops: Hops,
    /// Timers, and whether the session may be up. A change keeps the session; a change of any other field makes a new
    /// session.
    pub config: SessionConfig,
}

impl SessionSettings {
    /// A single-hop session with the default timers.
    pub fn new(remote: IpAddr) -> Self {
        Self { remote, local: None, interface: None, hops: Hops::Single, config: SessionConfig::DEFAULT }
    }

    /// Whether the packets take the same path.
    #[cfg(feature = "net")]
    pub(crate) fn same_path(&self, other: &Self) -> bool {
        (self.remote, self.local, &self.interface, self.hops)
            == (other.remote, other.local, &other.interface, other.hops)
    }

    /// Whether the other end cannot distinguish the two sessions.
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
    /// The session.
    pub session: SessionName,
    /// The change and its cause.
    pub transition: Transition,
}
