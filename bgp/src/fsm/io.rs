//! The inputs and outputs of the peer's state machine.

use std::sync::Arc;

use bytes::Bytes;

use super::bfd::Liveness;
use super::config::Tuning;
use super::failure::{CloseReason, DialError};
use super::negotiation::Session;
use super::status::{DownReason, Stall};
use crate::adj_rib_in::Watched;
use crate::endpoints::Endpoints;
use crate::route::Routes;
use crate::wire::{Notification, Update};

/// The id of one TCP connection, unique within the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(super) u64);

impl ConnId {
    /// The number in a frozen peer, see [`frozen::peer::Connection::id`](crate::frozen::peer::Connection::id).
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The number of a desired set; a later set has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize)]
pub struct Version(pub u64);

/// Whether a desired set is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Every route is decided.
    #[default]
    Whole,
    /// After a restart some routes are not decided yet. End-of-RIB is held on sessions with graceful restart, because
    /// the peer would drop the routes that it kept (RFC 4724 §4.1).
    Partial,
}

/// The kernel's send queue of a connection (SIOCOUTQ, TCP_INFO).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendQueue {
    /// Bytes in the queue that the peer's TCP has not acknowledged.
    pub unacknowledged: usize,
    /// The number of retransmissions since the last acknowledgement.
    pub retransmissions: u32,
    /// The maximum segment size.
    pub segment: u32,
}

/// An input of the peer's state machine.
#[derive(Debug, Clone)]
pub enum Input {
    /// Begin to connect and to accept.
    Start,
    /// End every connection with this NOTIFICATION, usually a Cease, and stay Idle.
    Stop(Notification),
    /// Replace the desired set.
    Advertise(Version, Routes, Extent),
    /// Replace the watched prefixes: the peer's paths to them are kept.
    Watch(Arc<Watched>),
    /// The connection of [`Output::Dial`] is made.
    Dialled(ConnId, Endpoints),
    /// The connection of [`Output::Dial`] failed.
    DialFailed(ConnId, DialError),
    /// The peer has connected. The id comes from [`Peer::allocate`](super::Peer::allocate).
    Accepted(ConnId, Endpoints),
    /// Bytes came in.
    Received(ConnId, Bytes),
    /// The kernel took this number of the bytes of [`Output::Send`].
    Sent(ConnId, usize),
    /// The answer to [`Output::Look`]. It comes after the [`Input::Sent`] of all bytes that the kernel had then.
    Queue(ConnId, SendQueue),
    /// The connection is gone.
    Closed(ConnId, CloseReason),
    /// Replace these settings.
    Tune(Tuning),
    /// The state of BFD with the peer has changed.
    Liveness(Liveness),
    /// Addresses of this host have changed; these are the endpoints of a connection now. `None`: its local address is
    /// gone from the host.
    AddressesChanged(ConnId, Option<Endpoints>),
    /// The address, interface or route that the last dial lacked may be there now: dial at once. Ignored unless the
    /// last [`Self::DialFailed`] [was ours](DialError::is_ours).
    HostChanged,
    /// The deadline has passed.
    Tick,
}

/// An output of the peer's state machine. The driver performs the outputs in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Connect to the peer; answer with [`Input::Dialled`] or [`Input::DialFailed`].
    Dial(ConnId),
    /// Write these bytes behind those of earlier outputs; answer with [`Input::Sent`].
    Send {
        /// The connection.
        conn: ConnId,
        /// One message.
        bytes: Bytes,
    },
    /// Look at the kernel's send queue; answer with [`Input::Queue`].
    Look(ConnId),
    /// Close after all bytes are written, or after a second; needs no answer.
    Close(ConnId),
    /// An event for the caller.
    Event(PeerEvent),
}

/// An event of a peer, for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// The session is up.
    Established(Session),
    /// A connection ended.
    Down {
        /// The reason.
        reason: DownReason,
        /// Whether the session was Established; otherwise an attempt failed.
        was_established: bool,
    },
    /// An UPDATE of the peer; only with [`PeerConfig::deliver_updates`](super::PeerConfig::deliver_updates).
    Update(Box<Update>),
    /// The kernel has all UPDATEs of this desired set.
    Synced(Version),
    /// The peer's TCP has acknowledged all UPDATEs of this desired set: they cannot be lost any more. Repeated for the
    /// same set when more was sent for it: a next hop has come or gone, or the peer has asked for a refresh.
    Acknowledged(Version),
    /// The peer acknowledges nothing, although it sends. Reported once, until an acknowledgement comes.
    Stalled(Stall),
}
