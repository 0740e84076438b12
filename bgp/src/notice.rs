//! What a speaker notices beside what happens to its peers, for whoever keeps a log.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::fsm::Dropped;

/// Something that a speaker noticed. None of it changes what the speaker does, and none of it takes an answer.
///
/// What strangers can cause is limited, so a flood of connections is no flood of notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Connections are accepted on an address that could not be had at first.
    Listens {
        /// The address.
        address: SocketAddr,
    },
    /// The system cannot accept a connection, for want of descriptors for example. Told at the first failure, and then
    /// every ten seconds.
    NotAccepted {
        /// Why, in the words of the system.
        error: String,
    },
    /// A connection came from an address that is no peer's, and was closed. Told once an hour for each address, and for at
    /// most 64 addresses an hour.
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
        /// Why, in words.
        cause: String,
    },
    /// A connection of a peer was closed because the peer's key is not set.
    ShutOut {
        /// Where the connection came from.
        from: SocketAddr,
        /// Such connections of this peer since the last notice.
        left_out: u64,
    },
    /// A connection of a peer was closed because its socket cannot be given the TTL, interface or segment size of the peer.
    NotSetUp {
        /// Where the connection came from.
        from: SocketAddr,
        /// Why, in words.
        cause: String,
        /// Such connections of this peer since the last notice.
        left_out: u64,
    },
    /// There is no session with a peer, and the kernel drops packets that are probably the peer's. Told once for each cause
    /// until there is a session.
    Unheard {
        /// The peer.
        peer: IpAddr,
        /// What is dropped.
        dropped: Dropped,
    },
    /// A limit for all connections cannot be set on a listening socket. Each connection is checked for itself.
    NotLimited {
        /// The socket.
        listener: SocketAddr,
        /// Which.
        limit: ArrivalLimit,
        /// Why, in the words of the system.
        error: String,
    },
    /// Nothing is known of this host's addresses: there is no thread for it.
    HostUnknown {
        /// Why, in the words of the system.
        error: String,
    },
    /// The kernel does not tell of this host's addresses. Tried again every second.
    HostUnheard {
        /// Why, in the words of the system.
        error: String,
    },
    /// The kernel told of more changes of this host's addresses than fit in the socket; all of them are asked for.
    HostMissed,
}

/// A limit for all connections that come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArrivalLimit {
    /// The segment size.
    SegmentSize,
    /// The lowest TTL (GTSM).
    LowestTtl,
}
