//! The causes of failed and ended TCP connections, as far as retries and hints distinguish them.
//!
//! A driver maps the errors of its system to these types where they occur. Code matches the types; the texts are for
//! the operator.

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::wire::DecodeError;

/// The reason for a failed TCP connection attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Error)]
#[serde(rename_all = "snake_case")]
pub enum DialError {
    /// The peer's host answered with a RST (ECONNREFUSED).
    #[error("connection refused")]
    Refused,
    /// No answer within our own time-out of a dial.
    #[error("no answer to the connection request{}", Behind(.dropped))]
    NoAnswer {
        /// The packets that the kernel dropped meanwhile.
        dropped: Option<Dropped>,
    },
    /// No answer within the kernel's time-out (ETIMEDOUT).
    #[error("connection timed out{}", Behind(.dropped))]
    TimedOut {
        /// The packets that the kernel dropped meanwhile.
        dropped: Option<Dropped>,
    },
    /// A router, or ARP, found no way to the peer's host (EHOSTUNREACH). An ICMP time exceeded also gives this error.
    #[error("no route to host")]
    NoRoute,
    /// The peer's host began to answer, and then reset the connection (ECONNRESET).
    #[error("connection reset by peer")]
    Reset,
    /// This host has no route to the peer (ENETUNREACH).
    #[error("network is unreachable")]
    NetworkUnreachable,
    /// The interface of the route is down (ENETDOWN).
    #[error("network is down")]
    NetworkDown,
    /// No address of this host fits the route (EADDRNOTAVAIL).
    #[error("cannot assign requested address")]
    NoAddress,
    /// The interface of the route has gone (ENODEV).
    #[error("no such device")]
    NoDevice,
    /// The interface of the peer cannot be used.
    #[error("cannot use the interface {interface}: {cause}")]
    Interface {
        /// Its name.
        interface: String,
        /// The error of the system.
        cause: String,
    },
    /// The source address of the peer cannot be used.
    #[error("cannot use the source address {address}: {cause}")]
    Source {
        /// The address.
        address: IpAddr,
        /// The error of the system.
        cause: String,
    },
    /// The peer has a key, and this kernel has no TCP MD5.
    #[error("TCP MD5 is not in this kernel (ENOPROTOOPT)")]
    NoMd5,
    /// The peer has a key, and this kernel has no TCP-AO.
    #[error("TCP-AO is not in this kernel (ENOPROTOOPT)")]
    NoAo,
    /// Any other error.
    #[error("{0}")]
    Other(String),
}

impl DialError {
    /// Whether this host lacks an address, an interface or a route, which may appear at any moment.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::NetworkUnreachable
            | Self::NetworkDown
            | Self::NoAddress
            | Self::NoDevice
            | Self::Interface { .. }
            | Self::Source { .. } => true,
            Self::Refused
            | Self::NoAnswer { .. }
            | Self::TimedOut { .. }
            | Self::NoRoute
            | Self::Reset
            | Self::NoMd5
            | Self::NoAo
            | Self::Other(_) => false,
        }
    }

    /// Whether neither the peer nor a router on the way has answered.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::TimedOut { .. } => true,
            Self::Refused
            | Self::NoRoute
            | Self::Reset
            | Self::NetworkUnreachable
            | Self::NetworkDown
            | Self::NoAddress
            | Self::NoDevice
            | Self::Interface { .. }
            | Self::Source { .. }
            | Self::NoMd5
            | Self::NoAo
            | Self::Other(_) => false,
        }
    }

    /// The same error with the packets that the kernel dropped meanwhile. `look` is called only after a silence.
    #[must_use]
    pub fn explained_by(mut self, look: impl FnOnce() -> Option<Dropped>) -> Self {
        if let Self::NoAnswer { dropped } | Self::TimedOut { dropped } = &mut self {
            *dropped = look();
        }
        self
    }
}

/// The reason for the end of a TCP connection without a NOTIFICATION.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Error)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The peer closed the connection (end of file).
    #[error("the peer closed it")]
    EndedByPeer,
    /// The peer sent a RST (ECONNRESET).
    #[error("connection reset by peer")]
    Reset,
    /// We wrote to a connection that was reset before (EPIPE).
    #[error("broken pipe")]
    BrokenPipe,
    /// The peer's TCP acknowledged nothing for too long (ETIMEDOUT).
    #[error("connection timed out{}", Behind(.dropped))]
    TimedOut {
        /// The packets that the kernel dropped meanwhile.
        dropped: Option<Dropped>,
    },
    /// The connection timed out because a router, or ARP, found no way to the peer's host (EHOSTUNREACH).
    #[error("no route to host")]
    NoRoute,
    /// The peer sent a NOTIFICATION that cannot be read.
    #[error("a bad NOTIFICATION: {0}")]
    BadNotification(#[serde(serialize_with = "in_words")] DecodeError),
    /// Any other error.
    #[error("{0}")]
    Other(String),
}

impl CloseReason {
    /// Whether neither the peer nor a router on the way has answered.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::EndedByPeer
            | Self::Reset
            | Self::BrokenPipe
            | Self::NoRoute
            | Self::BadNotification(_)
            | Self::Other(_) => false,
        }
    }

    /// The same error with the packets that the kernel dropped meanwhile. `look` is called only after a silence.
    #[must_use]
    pub fn explained_by(mut self, look: impl FnOnce() -> Option<Dropped>) -> Self {
        if let Self::TimedOut { dropped } = &mut self {
            *dropped = look();
        }
        self
    }
}

/// The kind of packets that the kernel dropped. The kernel counts per network namespace, so the packets may also come
/// from another peer with the same settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Error)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// TCP MD5 signatures that do not match.
    #[error("segments with a wrong TCP MD5 signature came in and were dropped: the passwords differ")]
    WrongMd5,
    /// No TCP MD5 signature, although we have a key.
    #[error("segments without a TCP MD5 signature came in and were dropped: the other side has no password")]
    MissingMd5,
    /// A TCP MD5 signature, although we have no key.
    #[error("segments with a TCP MD5 signature came in and were dropped: the other side has a password")]
    UnexpectedMd5,
    /// TCP-AO signatures that do not match, or are missing.
    #[error("segments with a wrong or no TCP-AO signature came in and were dropped: the keys differ")]
    Ao,
    /// A TTL below the limit of TTL security.
    #[error(
        "packets with a low TTL came in and were dropped: the other side is farther away, or without TTL security"
    )]
    LowTtl,
}

/// Displays the dropped packets behind the error that they explain.
struct Behind<'a>(&'a Option<Dropped>);

impl fmt::Display for Behind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |dropped| write!(f, "; {dropped}"))
    }
}

fn in_words<S: Serializer>(error: &DecodeError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_stands_behind_a_silence_and_is_not_looked_up_for_anything_else() {
        let silent = DialError::NoAnswer { dropped: None };
        assert_eq!(silent.to_string(), "no answer to the connection request");
        let explained = silent.explained_by(|| Some(Dropped::WrongMd5));
        assert_eq!(
            explained.to_string(),
            "no answer to the connection request; \
             segments with a wrong TCP MD5 signature came in and were dropped: the passwords differ"
        );
        assert!(explained.is_silence());
        let refused = DialError::Refused.explained_by(|| panic!("the peer has answered"));
        assert_eq!(refused, DialError::Refused);

        let silent = CloseReason::TimedOut { dropped: None }.explained_by(|| Some(Dropped::LowTtl));
        assert_eq!(
            silent.to_string(),
            "connection timed out; packets with a low TTL came in and were dropped: \
             the other side is farther away, or without TTL security"
        );
        assert!(silent.is_silence());
        let reset = CloseReason::Reset.explained_by(|| panic!("the peer has answered"));
        assert_eq!(reset, CloseReason::Reset);
    }

    fn shown(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn causes_serialise_by_their_names() {
        assert_eq!(shown(&DialError::Refused), r#""refused""#);
        assert_eq!(
            shown(&DialError::NoAnswer { dropped: Some(Dropped::UnexpectedMd5) }),
            r#"{"no_answer":{"dropped":"unexpected_md5"}}"#
        );
        assert_eq!(
            shown(&CloseReason::BadNotification(DecodeError::BadMessageLength { length: 20 })),
            r#"{"bad_notification":"a message of 20 octets is too short, too long or not of the length its type requires"}"#
        );
    }
}
