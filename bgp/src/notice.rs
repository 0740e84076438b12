//! Notices of a speaker for the log, besides the events of its peers.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::fsm::Dropped;

/// A notice. It does not change the speaker's behaviour, and needs no answer.
///
/// Notices that strangers can cause are limited: a flood of connections is no flood of notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The speaker now listens on an address that was not available at first.
    Listens {
        /// The address.
        address: SocketAddr,
    },
    /// The system cannot accept a connection, for example because descriptors are short. Sent at the first failure, and
    /// then every ten seconds.
    NotAccepted {
        /// The system's error.
        error: String,
    },
    /// A connection from an address that is no peer's was closed. Sent once an hour for each address, and for at most
    /// 64 addresses an hour.
    Stranger {
        /// The address.
        ip: IpAddr,
    },
    /// The key of a peer cannot be set on a listening socket: the peer cannot connect to us.
    KeyNotSet {
        /// The peer.
        peer: IpAddr,
        /// The socket.
        listener: SocketAddr,
        /// The cause, in words.
        cause: String,
    },
    /// A connection of a peer was closed because the peer's key is not set.
    ShutOut {
        /// The remote address of the connection.
        from: SocketAddr,
        /// Such connections of this peer since the last notice.
        left_out: u64,
    },
    /// A connection of a peer was closed because the TTL, interface or segment size of the peer cannot be set on its
    /// socket.
    NotSetUp {
        /// The remote address of the connection.
        from: SocketAddr,
        /// The cause, in words.
        cause: String,
        /// Such connections of this peer since the last notice.
        left_out: u64,
    },
    /// There is no session with a peer, and the kernel drops packets that are probably the peer's. Sent once for each
    /// cause until there is a session.
    Unheard {
        /// The peer.
        peer: IpAddr,
        /// The kind of packets.
        dropped: Dropped,
    },
    /// A limit for all connections cannot be set on a listening socket. Each connection is checked instead.
    NotLimited {
        /// The socket.
        listener: SocketAddr,
        /// The limit.
        limit: ArrivalLimit,
        /// The system's error.
        error: String,
    },
    /// This host's addresses are unknown: the system has no thread to read them.
    HostUnknown {
        /// The system's error.
        error: String,
    },
    /// The kernel does not report this host's addresses. Tried again every second.
    HostUnheard {
        /// The system's error.
        error: String,
    },
    /// Changes of this host's addresses overflowed the socket; all addresses are read again.
    HostMissed,
}

/// A limit for all incoming connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArrivalLimit {
    /// The segment size.
    SegmentSize,
    /// The lowest TTL (GTSM).
    LowestTtl,
}
