//! The TCP connection with a peer: source address, TTL and key.
//!
//! | | we send with TTL | we drop below TTL |
//! | --- | --- | --- |
//! | eBGP | 1 | – |
//! | iBGP | 255 | – |
//! | [`Reach::Multihop`](crate::transport::Reach::Multihop) n | n | – |
//! | [`Reach::TtlSecurity`](crate::transport::Reach::TtlSecurity) n (GTSM, RFC 5082) | 255 | 256 − n |
//! | SYN-ACKs of a listener | 255, so that a peer with GTSM accepts them | the least of all its peers |
//!
//! An eBGP session that leaves the link needs `Multihop`, as with FRR, BIRD and the hardware vendors: so a session
//! never takes an accidental detour.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::SockRef;

use super::sockopt::{self, AoParameters};
use super::words::{dial_error, io_error};
use crate::frozen::speaker::Key;
use crate::fsm::DialError;
use crate::transport::{AoAlgorithm, AoKey, Authentication, Transport};
use crate::wire::Peering;

impl AoKey {
    fn parameters(&self) -> AoParameters<'_> {
        let algorithm = match self.algorithm {
            AoAlgorithm::HmacSha1 => "hmac(sha1)",
            AoAlgorithm::AesCmac128 => "cmac(aes128)",
        };
        let Self { secret, send_id, receive_id, .. } = self;
        AoParameters { secret, algorithm, send_id: *send_id, receive_id: *receive_id }
    }
}

/// A socket that cannot be set up for its peer.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("cannot open a socket")]
    Open(#[source] io::Error),
    #[error("cannot use the interface {0}")]
    Interface(String, #[source] io::Error),
    #[error("cannot use the source address {0}")]
    Source(IpAddr, #[source] io::Error),
    #[error("cannot set the TTL")]
    Ttl(#[source] io::Error),
    #[error("cannot set the lowest TTL to accept (GTSM)")]
    MinTtl(#[source] io::Error),
    #[error("cannot set TCP_USER_TIMEOUT")]
    UserTimeout(#[source] io::Error),
    #[error("cannot set the segment size (TCP_MAXSEG)")]
    SegmentSize(#[source] io::Error),
    #[error("TCP MD5 is not in this kernel (ENOPROTOOPT)")]
    NoMd5,
    #[error("cannot set the key of TCP MD5")]
    Md5(#[source] io::Error),
    #[error("TCP-AO is not in this kernel (ENOPROTOOPT)")]
    NoAo,
    #[error("cannot set the key of TCP-AO")]
    Ao(#[source] io::Error),
    #[error(transparent)]
    Connect(io::Error),
}

impl TransportError {
    /// In one line, with the cause.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::NoMd5 | Self::NoAo => self.to_string(),
            Self::Connect(cause) => io_error(cause),
            Self::Open(cause)
            | Self::Interface(_, cause)
            | Self::Source(_, cause)
            | Self::Ttl(cause)
            | Self::MinTtl(cause)
            | Self::UserTimeout(cause)
            | Self::SegmentSize(cause)
            | Self::Md5(cause)
            | Self::Ao(cause) => format!("{self}: {}", io_error(cause)),
        }
    }
}

/// The error of a dial that failed before its connect.
impl From<TransportError> for DialError {
    fn from(error: TransportError) -> Self {
        use TransportError as E;
        match error {
            E::Connect(cause) => dial_error(&cause),
            E::Interface(interface, cause) => Self::Interface { interface, cause: io_error(&cause) },
            E::Source(address, cause) => Self::Source { address, cause: io_error(&cause) },
            E::NoMd5 => Self::NoMd5,
            E::NoAo => Self::NoAo,
            E::Open(_)
            | E::Ttl(_)
            | E::MinTtl(_)
            | E::UserTimeout(_)
            | E::SegmentSize(_)
            | E::Md5(_)
            | E::Ao(_) => Self::Other(error.in_words()),
        }
    }
}

impl Transport {
    /// The peer's address as it appears on the socket of its own family.
    pub(super) fn ip(&self) -> IpAddr {
        self.address.remote.ip().to_canonical()
    }

    /// Whether the peer may connect to a socket bound to this address.
    pub(super) fn concerns(&self, listener: SocketAddr) -> bool {
        self.ip().is_ipv4() == listener.ip().to_canonical().is_ipv4()
    }

    /// Sets the options of this peer on a socket that is not connected yet, or was just accepted.
    pub(super) fn prepare(&self, socket: &SockRef<'_>, peering: Peering) -> Result<(), TransportError> {
        use TransportError as E;
        sockopt::set_min_ttl(socket, self.reach.min_ttl()).map_err(E::MinTtl)?;
        sockopt::set_ttl(socket, self.reach.ttl(peering)).map_err(E::Ttl)?;
        if let Some(interface) = &self.interface {
            socket
                .bind_device(Some(interface.as_bytes()))
                .map_err(|error| E::Interface(interface.clone(), error))?;
        }
        if let Some(size) = self.segment_size {
            socket.set_tcp_mss(size.into()).map_err(E::SegmentSize)?;
        }
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout).map_err(E::UserTimeout)?;
        }
        Ok(())
    }

    /// Sets the key of this peer on a socket. An accepted socket has it from its listener.
    pub(super) fn authenticate(&self, socket: &SockRef<'_>) -> Result<(), TransportError> {
        let missing = |error: &io::Error| error.raw_os_error() == Some(libc::ENOPROTOOPT);
        match &self.authentication {
            None => Ok(()),
            Some(Authentication::Md5(secret)) => {
                sockopt::set_md5_key(socket, self.ip(), secret).map_err(|error| match missing(&error) {
                    true => TransportError::NoMd5,
                    false => TransportError::Md5(error),
                })
            }
            Some(Authentication::Ao(key)) => sockopt::add_ao_key(socket, self.ip(), &key.parameters())
                .map_err(|error| match missing(&error) {
                    true => TransportError::NoAo,
                    false => TransportError::Ao(error),
                }),
        }
    }

    /// The same for a listener that may have the key.
    pub(super) fn authenticate_again(&self, socket: &SockRef<'_>) -> Result<(), TransportError> {
        match self.authenticate(socket) {
            Err(TransportError::Ao(error)) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            result => result,
        }
    }

    /// Removes the key of this peer from a listener. A missing key is no error.
    pub(super) fn forget(&self, socket: &SockRef<'_>) {
        forget(socket, self.ip(), self.key());
    }

    /// The kind of the key.
    pub(super) fn key(&self) -> Key {
        match &self.authentication {
            None => Key::None,
            Some(Authentication::Md5(_)) => Key::Md5,
            Some(Authentication::Ao(key)) => Key::Ao { send_id: key.send_id, receive_id: key.receive_id },
        }
    }
}

/// Removes the key of a peer from a listener. A missing key is no error.
pub(super) fn forget(socket: &SockRef<'_>, ip: IpAddr, key: Key) {
    let _gone = match key {
        Key::None => Ok(()),
        Key::Md5 => sockopt::clear_md5_key(socket, ip),
        Key::Ao { send_id, receive_id } => sockopt::delete_ao_key(socket, ip, send_id, receive_id),
    };
}
