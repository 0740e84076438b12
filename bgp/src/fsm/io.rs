//! What goes into the machine and what comes out.

use std::sync::Arc;

use bytes::Bytes;

use super::bfd::Liveness;
use super::config::Tuning;
use super::failure::{CloseReason, DialError};
use super::negotiation::Session;
use super::status::{DownReason, Endpoints, Stall};
use crate::adj_rib_in::Watched;
use crate::route::Routes;
use crate::wire::{Notification, Update};

/// Names one TCP connection for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(super) u64);

/// Counts the desired sets that a peer was given; a later one has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize)]
pub struct Version(pub u64);

/// Whether a desired set is all there is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Nothing is undecided.
    #[default]
    Whole,
    /// After a restart, some routes are not decided about yet. End-of-RIB is held on sessions with graceful restart, or
    /// the peer would drop what it keeps from before (RFC 4724 §4.1).
    Partial,
}

/// What the kernel still holds of a connection's bytes (SIOCOUTQ, TCP_INFO).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendQueue {
    /// Taken from us, and not acknowledged by the peer's TCP.
    pub unacknowledged: usize,
    /// How often the first of them was sent again since anything was acknowledged.
    pub retransmissions: u32,
    /// The most that one segment holds.
    pub segment: u32,
}

/// What happens to a peer.
#[derive(Debug, Clone)]
pub enum Input {
    /// Begin to connect and to accept.
    Start,
    /// End every connection with this NOTIFICATION, usually a Cease, and stay Idle.
    Stop(Notification),
    /// From now on announce exactly these routes.
    Advertise(Version, Routes, Extent),
    /// From now on remember the peer's paths to exactly these prefixes.
    Watch(Arc<Watched>),
    /// The connection that [`Output::Dial`] asked for stands.
    Dialled(ConnId, Endpoints),
    /// It could not be made.
    DialFailed(ConnId, DialError),
    /// The peer has connected. The id comes from [`Peer::allocate`](super::Peer::allocate).
    Accepted(ConnId, Endpoints),
    /// Bytes came in.
    Received(ConnId, Bytes),
    /// The kernel took so many of the bytes that [`Output::Send`] gave.
    Sent(ConnId, usize),
    /// The answer to [`Output::Look`]. It comes behind the [`Input::Sent`] of everything that the kernel had then.
    Queue(ConnId, SendQueue),
    /// The connection is gone.
    Closed(ConnId, CloseReason),
    /// These settings are others from now on.
    Tune(Tuning),
    /// What BFD says of the way to the peer.
    Liveness(Liveness),
    /// Addresses of this host have changed, and these are the ends of a connection as they are now; `None`: our own is
    /// gone from the host.
    AddressesChanged(ConnId, Option<Endpoints>),
    /// What the last attempt to dial failed for want of may be there now: the next one need not wait any longer. Only
    /// after a [`Self::DialFailed`] that [is ours](DialError::is_ours) is anything cut short.
    HostChanged,
    /// The deadline has passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Connect to the peer; answer with [`Input::Dialled`] or [`Input::DialFailed`].
    Dial(ConnId),
    /// Write these bytes behind those of earlier outputs; answer with [`Input::Sent`].
    Send {
        /// Where to.
        conn: ConnId,
        /// One message.
        bytes: Bytes,
    },
    /// Say what the kernel still holds of what was sent; answer with [`Input::Queue`].
    Look(ConnId),
    /// Close once everything sent was written, or after a second; no answer is wanted.
    Close(ConnId),
    /// For whoever runs the peer.
    Event(PeerEvent),
}

/// What whoever runs a peer wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// The session is up.
    Established(Session),
    /// A connection ended.
    Down {
        /// Why.
        reason: DownReason,
        /// Whether it was Established; else an attempt failed.
        was_established: bool,
    },
    /// The peer sent this; only with [`PeerConfig::deliver_updates`](super::PeerConfig::deliver_updates).
    Update(Box<Update>),
    /// The kernel has every UPDATE that makes the peer's view equal to this desired set.
    Synced(Version),
    /// The peer's TCP has acknowledged them all: nothing on the way can lose them any more. Told again for the same set
    /// when more was sent for it: a next hop has come or gone, or the peer has asked for everything once more.
    Acknowledged(Version),
    /// It acknowledges nothing, though it is heard; told once until something moves.
    Stalled(Stall),
}
