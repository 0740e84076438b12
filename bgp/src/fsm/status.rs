//! The status of a peer: its state, the end of the last session, and the reason in words.

use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::failure::{CloseReason, DialError};
use super::hint::Seen;
use super::negotiation::{Offer, Session};
use crate::adj_rib_in::Paths;
use crate::adj_rib_out::Withheld;
use crate::endpoints::Endpoints;
use crate::prefix_map::PrefixMap;
use crate::time::Instant;
use crate::wire::iana::notification::{self as code, cease};
use crate::wire::{Asn, Notification, Role};

/// The state of the peer's most advanced connection (RFC 4271 §8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    /// Stopped, or waiting before the next attempt.
    Idle,
    /// Waiting for the peer to connect.
    Active,
    /// Dialling.
    Connect,
    /// Our OPEN is sent.
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

/// A snapshot of a peer; plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its state.
    pub state: State,
    /// When it entered that state.
    pub since: Instant,
    /// The negotiated parameters, from OpenConfirm on.
    pub session: Option<Session>,
    /// The endpoints of the most advanced connection.
    pub endpoints: Option<Endpoints>,
    /// No session may begin before BFD is up.
    pub held_back: bool,
    /// Why the last connection ended, and when.
    pub last_down: Option<(DownReason, Instant)>,
    /// The last end since the last session with a telling reason; see [`DownReason::is_telling`].
    pub telling: Option<(DownReason, Instant)>,
    /// Observations that explain those reasons.
    pub seen: Seen,
    /// Our offer to this peer; reduced after a refusal.
    pub offer: Offer,
    /// The number of prefixes sent to the peer, acknowledged or not.
    pub advertised: usize,
    /// The number of prefixes that the peer's TCP has acknowledged.
    pub acknowledged: usize,
    /// Desired prefixes that this session cannot carry.
    pub withheld: PrefixMap<Withheld>,
    /// The peer's paths to the watched prefixes.
    pub paths: Paths,
    /// Totals since start.
    pub counters: Counters,
}

impl PeerStatus {
    /// The status of a peer before its start.
    pub fn idle(since: Instant) -> Self {
        Self {
            state: State::Idle,
            since,
            session: None,
            endpoints: None,
            held_back: false,
            last_down: None,
            telling: None,
            seen: Seen::default(),
            offer: Offer::Full,
            advertised: 0,
            acknowledged: 0,
            withheld: PrefixMap::new(),
            paths: Paths::new(),
            counters: Counters::default(),
        }
    }
}

/// The contents of the peer's OPEN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HeardOpen {
    /// Its ASN.
    pub asn: Asn,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// Its offered hold time, in seconds.
    pub hold_time: u16,
    /// Its role towards us, if it has one (RFC 9234).
    pub role: Option<Role>,
}

/// Bytes of a session that the peer's TCP does not acknowledge, in spite of retransmissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stall {
    /// The number of bytes.
    pub bytes: usize,
    /// The number of retransmissions of the first of them.
    pub retransmissions: u32,
    /// The maximum segment size (MSS).
    pub segment: u32,
}

impl Stall {
    /// Segments of this size fit the smallest MTU of IPv4, so they cannot be too large for a path.
    const SMALL: usize = 536;

    fn is_large(self) -> bool {
        self.bytes > Self::SMALL && self.segment > 536
    }

    pub(super) fn hint(self) -> String {
        if self.is_large() {
            format!(
                "{self} Compare the MTU of every link on the way; `tcp_mss`, now {}, makes the segments smaller",
                self.segment
            )
        } else {
            self.to_string()
        }
    }
}

/// `nothing of the last 12 KiB was acknowledged, 5 retransmissions: is the path's MTU smaller?`
impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, retransmissions, .. } = self;
        match bytes {
            0..1024 => write!(f, "nothing of the last {bytes} bytes was acknowledged")?,
            1024.. => write!(f, "nothing of the last {} KiB was acknowledged", bytes.div_ceil(1024))?,
        }
        let s = if *retransmissions == 1 { "" } else { "s" };
        write!(f, ", {retransmissions} retransmission{s}")?;
        if self.is_large() { f.write_str(": is the path's MTU smaller?") } else { Ok(()) }
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
    /// Prefixes announced to us; dropped unless they are watched.
    pub prefixes_received: u64,
    /// Prefixes withdrawn from us.
    pub prefixes_withdrawn: u64,
    /// UPDATEs with an error that did not end the session (RFC 7606).
    pub updates_malformed: u64,
}

/// The reason for the end of a connection, or for a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DownReason {
    /// The peer sent a NOTIFICATION.
    Received(Notification),
    /// We sent a NOTIFICATION.
    Sent(Notification),
    /// The TCP connection ended without a NOTIFICATION.
    Closed(CloseReason),
    /// The TCP connection could not be made.
    DialFailed(DialError),
    /// The peer read no bytes for twice the hold time (RFC 9687).
    SendHoldTimerExpired,
    /// Our own address of the connection is no longer on this host.
    LocalAddressGone,
    /// BFD went down; the reason in words.
    BfdDown(String),
    /// The caller stopped the peer.
    Stopped(Notification),
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received(notification) => write!(f, "peer sent {notification}"),
            Self::Sent(notification) => write!(f, "we sent {notification}"),
            Self::Closed(reason) => write!(f, "connection closed: {reason}"),
            Self::DialFailed(error) => write!(f, "cannot connect: {error}"),
            Self::SendHoldTimerExpired => f.write_str("the peer reads nothing: Send Hold Timer expired"),
            Self::LocalAddressGone => f.write_str("our own address of the session is gone from this host"),
            Self::BfdDown(why) => write!(f, "BFD: {why}"),
            Self::Stopped(notification) => write!(f, "stopped: {notification}"),
        }
    }
}

impl DownReason {
    /// Whether the reason is more than a missing or refused answer. A later reason that is not must not hide it.
    pub fn is_telling(&self) -> bool {
        match self {
            Self::Received(notification) | Self::Sent(notification) => {
                let Notification { code, subcode, .. } = notification;
                let turned_away =
                    matches!(*subcode, cease::CONNECTION_REJECTED | cease::CONNECTION_COLLISION);
                *code != code::CEASE || !turned_away
            }
            Self::SendHoldTimerExpired | Self::LocalAddressGone | Self::BfdDown(_) => true,
            Self::Closed(_) | Self::DialFailed(_) | Self::Stopped(_) => false,
        }
    }
}
