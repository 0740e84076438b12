//! Where a peer is, how far away it may be, and what signs the connection with it; `net` makes sockets that are so.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::time::Duration;

use crate::secret::Secret;

/// Where a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its address and the port that we dial. It may connect to us from any port.
    pub remote: SocketAddr,
    /// The local address that we dial from; `None`: what the route says.
    pub source: Option<IpAddr>,
}

/// Where a peer is, and what the sockets of its connections are told. A [`PeerAddress`] turns into one with nothing
/// else set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// Where it is.
    pub address: PeerAddress,
    /// The interface that its packets leave and enter by (SO_BINDTODEVICE); `None`: any.
    pub interface: Option<String>,
    /// How far away it may be.
    pub reach: Reach,
    /// What its segments are signed with; `None`: they are not. A peer with a key is never talked to without it: where
    /// the kernel does not take the key, there is no session.
    pub authentication: Option<Authentication>,
    /// When a connection whose bytes are not acknowledged is given up (TCP_USER_TIMEOUT); `None`: the kernel's 15
    /// minutes or so. One shorter than the Send Hold Timer takes the word from it.
    pub user_timeout: Option<Duration>,
    /// The most that one segment holds, in bytes, 88 to 32,767 (TCP_MAXSEG); `None`: what the first link of the path
    /// allows. Of connections that come in the kernel agrees on it before the peer is known: there the least of all
    /// peers holds.
    pub segment_size: Option<u16>,
}

impl From<PeerAddress> for Transport {
    fn from(address: PeerAddress) -> Self {
        Self {
            address,
            interface: None,
            reach: Reach::default(),
            authentication: None,
            user_timeout: None,
            segment_size: None,
        }
    }
}

/// How far away a peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// An eBGP peer is on the same link, an iBGP peer anywhere.
    #[default]
    ByPeering,
    /// At most so many hops; 1 is the same link.
    Multihop(NonZeroU8),
    /// At most so many hops, and the packets prove it: both sides send with TTL 255 (GTSM, RFC 5082). 1 is the same
    /// link.
    TtlSecurity(NonZeroU8),
}

/// What the segments of a connection are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// TCP MD5 (RFC 2385).
    Md5(Secret),
    /// TCP-AO (RFC 5925): Linux 6.7 with CONFIG_TCP_AO.
    Ao(AoKey),
}

/// A key of TCP-AO, the only one of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AoKey {
    /// The key.
    pub secret: Secret,
    /// SendID: the peer has it as its receive id.
    pub send_id: u8,
    /// RecvID: the peer has it as its send id.
    pub receive_id: u8,
    /// What makes the MAC.
    pub algorithm: AoAlgorithm,
}

/// What makes a MAC: the two that RFC 5926 demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AoAlgorithm {
    /// HMAC-SHA-1-96.
    HmacSha1,
    /// AES-128-CMAC-96.
    AesCmac128,
}
