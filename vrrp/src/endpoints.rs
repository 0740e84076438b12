//! The two addresses of the IP header around a packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Source and destination of a packet, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoints {
    /// Over IPv4.
    V4 {
        /// The sender's primary address.
        source: Ipv4Addr,
        /// The group, or the receiver.
        destination: Ipv4Addr,
    },
    /// Over IPv6.
    V6 {
        /// The sender's link-local address (RFC 9568 §5.1.2.1), or any other address for a unicast peer.
        source: Ipv6Addr,
        /// The group, or the receiver.
        destination: Ipv6Addr,
    },
}

impl Endpoints {
    /// `None` if the families differ.
    pub fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4 { source, destination }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6 { source, destination }),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// The source.
    pub fn source(&self) -> IpAddr {
        match *self {
            Self::V4 { source, .. } => source.into(),
            Self::V6 { source, .. } => source.into(),
        }
    }

    /// The destination.
    pub fn destination(&self) -> IpAddr {
        match *self {
            Self::V4 { destination, .. } => destination.into(),
            Self::V6 { destination, .. } => destination.into(),
        }
    }
}
