//! What a peer says about itself: its state, what came of the last session, and why, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use serde::Serialize;

use super::config::PeerConfig;
use super::negotiation::Session;
use crate::adj_rib_in::Paths;
use crate::adj_rib_out::Withheld;
use crate::route::NextHops;
use crate::wire::Notification;
use crate::wire::iana::notification::{self as code, cease, open};

/// The states of RFC 4271 §8.2.2, of whichever connection has come furthest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    /// Stopped, or waiting before the next attempt.
    Idle,
    /// Waiting for the peer to connect.
    Active,
    /// Dialling.
    Connect,
    /// Our OPEN is out.
    OpenSent,
    /// Both OPENs were exchanged.
    OpenConfirm,
    /// UPDATEs flow.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "Idle",
            Self::Active => "Active",
            Self::Connect => "Connect",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        })
    }
}

/// The two ends of a TCP connection, and what the host knows about the near one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Our address and port (`getsockname`).
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// What else a router can reach us at on the interface of the session, best first. The first of a family that has
    /// no next hop yet is the next hop for that family.
    pub interface_addresses: Vec<IpAddr>,
    /// The local address is one that is announced here, and goes when its service does: no next hop.
    pub local_is_service: bool,
}

impl Endpoints {
    /// What a next hop of ours may be: the addresses of the interface, and those that are configured.
    pub(crate) fn ours(&self, configured: NextHops) -> BTreeSet<IpAddr> {
        let configured = [configured.v4.map(IpAddr::V4), configured.v6.map(IpAddr::V6)];
        self.addresses().chain(configured.into_iter().flatten()).collect()
    }

    /// Our own addresses: that of the session, unless it is a service's, and the others of its interface.
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let local = (!self.local_is_service).then(|| self.local.ip());
        local.into_iter().chain(self.interface_addresses.iter().copied())
    }

    /// Next hops: our own address for its family, else an address of the same interface. A link-local address is none:
    /// it may only stand behind a global one (RFC 2545 §3).
    pub fn next_hops(&self) -> NextHops {
        self.addresses().filter(|address| !is_link_local(*address) && !address.is_unspecified()).collect()
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Everything there is to know about a peer now; plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its state.
    pub state: State,
    /// When it entered that state.
    pub since: Instant,
    /// What was negotiated, from OpenConfirm on.
    pub session: Option<Session>,
    /// The connection that has come furthest.
    pub endpoints: Option<Endpoints>,
    /// No session may begin before BFD is up.
    pub held_back: bool,
    /// Why the last connection ended, and when.
    pub last_down: Option<(DownReason, Instant)>,
    /// Prefixes that the peer has from us.
    pub advertised: usize,
    /// Prefixes that we want to announce and this session cannot carry.
    pub withheld: BTreeMap<IpNet, Withheld>,
    /// What the peer announces of the prefixes that are watched.
    pub paths: Arc<Paths>,
    /// Totals since start.
    pub counters: Counters,
}

impl PeerStatus {
    /// Of a peer that has not begun.
    pub fn idle(since: Instant) -> Self {
        Self {
            state: State::Idle,
            since,
            session: None,
            endpoints: None,
            held_back: false,
            last_down: None,
            advertised: 0,
            withheld: BTreeMap::new(),
            paths: Arc::default(),
            counters: Counters::default(),
        }
    }
}

/// Totals since the peer was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Sessions that reached Established.
    pub established: u64,
    /// UPDATEs that we sent, End-of-RIB included.
    pub updates_sent: u64,
    /// UPDATEs that we received.
    pub updates_received: u64,
    /// Prefixes announced to us; counted and, unless they are watched, dropped.
    pub prefixes_received: u64,
    /// Prefixes withdrawn from us.
    pub prefixes_withdrawn: u64,
    /// UPDATEs with an error that did not end the session (RFC 7606).
    pub updates_malformed: u64,
}

/// Why a connection ended, or never came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownReason {
    /// The peer sent a NOTIFICATION.
    Received(Notification),
    /// We sent a NOTIFICATION.
    Sent(Notification),
    /// The TCP connection ended without one: end of file, or an error in words.
    Closed(String),
    /// The TCP connection could not be made.
    DialFailed(String),
    /// The peer took no bytes for twice the hold time (RFC 9687).
    SendHoldTimerExpired,
    /// Our own address of the connection is no longer on this host.
    LocalAddressGone,
    /// BFD has lost the peer; why, in words.
    BfdDown(String),
    /// We were told to stop.
    Stopped(Notification),
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received(notification) => write!(f, "peer sent {notification}"),
            Self::Sent(notification) => write!(f, "we sent {notification}"),
            Self::Closed(cause) => write!(f, "connection closed: {cause}"),
            Self::DialFailed(cause) => write!(f, "cannot connect: {cause}"),
            Self::SendHoldTimerExpired => f.write_str("the peer reads nothing: Send Hold Timer expired"),
            Self::LocalAddressGone => f.write_str("our own address of the session is gone from this host"),
            Self::BfdDown(why) => write!(f, "BFD: {why}"),
            Self::Stopped(notification) => write!(f, "stopped: {notification}"),
        }
    }
}

impl DownReason {
    /// What an operator should look at; `None` where the reason says it all.
    pub fn hint(&self, config: &PeerConfig) -> Option<String> {
        let (notification, theirs) = match self {
            Self::Received(notification) => (notification, true),
            Self::Sent(notification) => (notification, false),
            Self::DialFailed(cause) if cause.contains("refused") => {
                return Some("is BGP running there, with us as a neighbor?".to_owned());
            }
            Self::Closed(_) => {
                return Some("routers close at once when they have no neighbor for our address, or when it is shut down".to_owned());
            }
            Self::DialFailed(_)
            | Self::SendHoldTimerExpired
            | Self::LocalAddressGone
            | Self::BfdDown(_)
            | Self::Stopped(_) => {
                return None;
            }
        };
        let (local_as, peer_as, id) = (config.local_as, config.peer_as, config.router_id);
        match (notification.code, notification.subcode) {
            (code::OPEN_MESSAGE, open::BAD_PEER_AS) if theirs => {
                Some(format!("it has another `remote-as` configured for us than our local_as {local_as}"))
            }
            (code::OPEN_MESSAGE, open::BAD_PEER_AS) => {
                Some(format!("its ASN is not the peer_as {peer_as} that is configured here"))
            }
            (code::OPEN_MESSAGE, open::BAD_BGP_IDENTIFIER) => {
                Some(format!("another router uses our router_id {id}, or the peer itself does"))
            }
            (code::OPEN_MESSAGE, open::UNSUPPORTED_CAPABILITY) => {
                Some("both sides must activate a common address family".to_owned())
            }
            (code::OPEN_MESSAGE, open::UNACCEPTABLE_HOLD_TIME) => Some(format!(
                "it must accept a hold time of {} s, and offer at least 3 s",
                config.hold_time.as_secs()
            )),
            (code::CEASE, cease::MAXIMUM_PREFIXES) => {
                Some("raise the maximum-prefix limit for us on the router".to_owned())
            }
            (code::CEASE, cease::PEER_DECONFIGURED | cease::CONNECTION_REJECTED) if theirs => {
                Some("the router has no neighbor configured for our address".to_owned())
            }
            _ => None,
        }
    }
}
