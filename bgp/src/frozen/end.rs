//! The end of a connection, and the failure of a dial, in their frozen form.

use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::mirror;
use super::octets::Octets;
use crate::fsm::{self, CloseReason, DialError, DownReason};
use crate::time::Instant;
use crate::wire;

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Down {
    /// The reason.
    pub reason: Reason,
    /// The time.
    pub at: Instant,
}

/// The reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The peer sent a NOTIFICATION.
    Received(Notification),
    /// We sent a NOTIFICATION.
    Sent(Notification),
    /// The connection ended without one.
    Closed(Close),
    /// The connection could not be made.
    DialFailed(Dial),
    /// The peer read nothing.
    SendHoldTimerExpired,
    /// Our address is gone.
    LocalAddressGone,
    /// BFD went down; in words.
    BfdDown(String),
    /// The caller stopped the peer.
    Stopped(Notification),
}

/// A NOTIFICATION.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// The code.
    pub code: u8,
    /// The subcode.
    pub subcode: u8,
    /// The data.
    pub data: Octets,
}

/// The end of a connection without a NOTIFICATION.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Close {
    /// The peer closed it.
    EndedByPeer,
    /// ECONNRESET.
    Reset,
    /// EPIPE.
    BrokenPipe,
    /// ETIMEDOUT.
    TimedOut {
        /// What the kernel dropped meanwhile.
        dropped: Option<Dropped>,
    },
    /// EHOSTUNREACH.
    NoRoute,
    /// Any other, in words. A NOTIFICATION that could not be read is also here, in the words of its error.
    Other(String),
}

/// The failure of a dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Dial {
    /// ECONNREFUSED.
    Refused,
    /// Our own time-out.
    NoAnswer {
        /// What the kernel dropped meanwhile.
        dropped: Option<Dropped>,
    },
    /// ETIMEDOUT.
    TimedOut {
        /// What the kernel dropped meanwhile.
        dropped: Option<Dropped>,
    },
    /// EHOSTUNREACH.
    NoRoute,
    /// ECONNRESET.
    Reset,
    /// ENETUNREACH.
    NetworkUnreachable,
    /// ENETDOWN.
    NetworkDown,
    /// EADDRNOTAVAIL.
    NoAddress,
    /// ENODEV.
    NoDevice,
    /// The interface cannot be used.
    Interface {
        /// Its name.
        interface: String,
        /// The error.
        cause: String,
    },
    /// The source address cannot be used.
    Source {
        /// The address.
        address: IpAddr,
        /// The error.
        cause: String,
    },
    /// The kernel has no TCP MD5.
    NoMd5,
    /// The kernel has no TCP-AO.
    NoAo,
    /// Any other, in words.
    Other(String),
}

mirror! {
    /// The kind of packets that the kernel dropped.
    Dropped = fsm::Dropped {
        /// Wrong TCP MD5 signatures.
        WrongMd5,
        /// No TCP MD5 signatures.
        MissingMd5,
        /// Unexpected TCP MD5 signatures.
        UnexpectedMd5,
        /// Wrong or no TCP-AO signatures.
        Ao,
        /// A low TTL.
        LowTtl,
    }
}

impl From<&DownReason> for Reason {
    fn from(reason: &DownReason) -> Self {
        match reason {
            DownReason::Received(notification) => Self::Received(notification.into()),
            DownReason::Sent(notification) => Self::Sent(notification.into()),
            DownReason::Closed(reason) => Self::Closed(reason.into()),
            DownReason::DialFailed(error) => Self::DialFailed(error.into()),
            DownReason::SendHoldTimerExpired => Self::SendHoldTimerExpired,
            DownReason::LocalAddressGone => Self::LocalAddressGone,
            DownReason::BfdDown(why) => Self::BfdDown(why.clone()),
            DownReason::Stopped(notification) => Self::Stopped(notification.into()),
        }
    }
}

impl From<&Reason> for DownReason {
    fn from(frozen: &Reason) -> Self {
        match frozen {
            Reason::Received(notification) => Self::Received(notification.into()),
            Reason::Sent(notification) => Self::Sent(notification.into()),
            Reason::Closed(reason) => Self::Closed(reason.into()),
            Reason::DialFailed(error) => Self::DialFailed(error.into()),
            Reason::SendHoldTimerExpired => Self::SendHoldTimerExpired,
            Reason::LocalAddressGone => Self::LocalAddressGone,
            Reason::BfdDown(why) => Self::BfdDown(why.clone()),
            Reason::Stopped(notification) => Self::Stopped(notification.into()),
        }
    }
}

impl From<&wire::Notification> for Notification {
    fn from(wire::Notification { code, subcode, data }: &wire::Notification) -> Self {
        Self { code: *code, subcode: *subcode, data: Octets(data.to_vec()) }
    }
}

impl From<&Notification> for wire::Notification {
    fn from(frozen: &Notification) -> Self {
        Self::new(frozen.code, frozen.subcode, Bytes::copy_from_slice(&frozen.data.0))
    }
}

impl From<&CloseReason> for Close {
    fn from(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::EndedByPeer => Self::EndedByPeer,
            CloseReason::Reset => Self::Reset,
            CloseReason::BrokenPipe => Self::BrokenPipe,
            CloseReason::TimedOut { dropped } => Self::TimedOut { dropped: dropped.map(Dropped::from) },
            CloseReason::NoRoute => Self::NoRoute,
            CloseReason::BadNotification(_) => Self::Other(reason.to_string()),
            CloseReason::Other(words) => Self::Other(words.clone()),
        }
    }
}

impl From<&Close> for CloseReason {
    fn from(frozen: &Close) -> Self {
        match frozen {
            Close::EndedByPeer => Self::EndedByPeer,
            Close::Reset => Self::Reset,
            Close::BrokenPipe => Self::BrokenPipe,
            Close::TimedOut { dropped } => Self::TimedOut { dropped: dropped.map(Into::into) },
            Close::NoRoute => Self::NoRoute,
            Close::Other(words) => Self::Other(words.clone()),
        }
    }
}

impl From<&DialError> for Dial {
    fn from(error: &DialError) -> Self {
        match error {
            DialError::Refused => Self::Refused,
            DialError::NoAnswer { dropped } => Self::NoAnswer { dropped: dropped.map(Dropped::from) },
            DialError::TimedOut { dropped } => Self::TimedOut { dropped: dropped.map(Dropped::from) },
            DialError::NoRoute => Self::NoRoute,
            DialError::Reset => Self::Reset,
            DialError::NetworkUnreachable => Self::NetworkUnreachable,
            DialError::NetworkDown => Self::NetworkDown,
            DialError::NoAddress => Self::NoAddress,
            DialError::NoDevice => Self::NoDevice,
            DialError::Interface { interface, cause } => {
                Self::Interface { interface: interface.clone(), cause: cause.clone() }
            }
            DialError::Source { address, cause } => Self::Source { address: *address, cause: cause.clone() },
            DialError::NoMd5 => Self::NoMd5,
            DialError::NoAo => Self::NoAo,
            DialError::Other(words) => Self::Other(words.clone()),
        }
    }
}

impl From<&Dial> for DialError {
    fn from(frozen: &Dial) -> Self {
        match frozen {
            Dial::Refused => Self::Refused,
            Dial::NoAnswer { dropped } => Self::NoAnswer { dropped: dropped.map(Into::into) },
            Dial::TimedOut { dropped } => Self::TimedOut { dropped: dropped.map(Into::into) },
            Dial::NoRoute => Self::NoRoute,
            Dial::Reset => Self::Reset,
            Dial::NetworkUnreachable => Self::NetworkUnreachable,
            Dial::NetworkDown => Self::NetworkDown,
            Dial::NoAddress => Self::NoAddress,
            Dial::NoDevice => Self::NoDevice,
            Dial::Interface { interface, cause } => {
                Self::Interface { interface: interface.clone(), cause: cause.clone() }
            }
            Dial::Source { address, cause } => Self::Source { address: *address, cause: cause.clone() },
            Dial::NoMd5 => Self::NoMd5,
            Dial::NoAo => Self::NoAo,
            Dial::Other(words) => Self::Other(words.clone()),
        }
    }
}
