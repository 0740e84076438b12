//! How the TCP connection with a peer is made: from where, how far, and with which key.
//!
//! | | we send with TTL | we drop below TTL |
//! | --- | --- | --- |
//! | eBGP | 1 | – |
//! | iBGP | 255 | – |
//! | [`Reach::Multihop`] n | n | – |
//! | [`Reach::TtlSecurity`] n (GTSM, RFC 5082) | 255 | 256 − n |
//! | SYN-ACKs of a listener | 255, so that a peer with GTSM takes them | the least of all its peers |
//!
//! An eBGP session that leaves the link needs `Multihop`, as with FRR, BIRD and the hardware vendors: a route that
//! is learnt by accident over a detour does not carry it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::SockRef;

use super::sockopt::{self, AoParameters};
use super::words::{dial_error, in_words};
use crate::fsm::{CloseReason, DialError, DownReason};
use crate::transport::{AoAlgorithm, AoKey, Authentication, Reach, Transport};
use crate::wire::Peering;
use crate::wire::iana::notification::HOLD_TIMER_EXPIRED;

impl Reach {
    fn ttl(self, peering: Peering) -> u8 {
        match (self, peering) {
            (Self::ByPeering, Peering::External) => 1,
            (Self::ByPeering, Peering::Internal) | (Self::TtlSecurity(_), _) => u8::MAX,
            (Self::Multihop(hops), _) => hops.get(),
        }
    }

    /// The lowest TTL that is let in; 0: any.
    pub(super) fn min_ttl(self) -> u8 {
        match self {
            Self::ByPeering | Self::Multihop(_) => 0,
            Self::TtlSecurity(hops) => u8::MAX - (hops.get() - 1),
        }
    }
}

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

/// A socket that is not what its peer needs.
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
            Self::Connect(cause) => in_words(cause),
            Self::Open(cause)
            | Self::Interface(_, cause)
            | Self::Source(_, cause)
            | Self::Ttl(cause)
            | Self::MinTtl(cause)
            | Self::UserTimeout(cause)
            | Self::SegmentSize(cause)
            | Self::Md5(cause)
            | Self::Ao(cause) => format!("{self}: {}", in_words(cause)),
        }
    }
}

/// What the peer is told of a dial that got no farther.
impl From<TransportError> for DialError {
    fn from(error: TransportError) -> Self {
        use TransportError as E;
        match error {
            E::Connect(cause) => dial_error(&cause),
            E::Interface(interface, cause) => Self::Interface { interface, cause: in_words(&cause) },
            E::Source(address, cause) => Self::Source { address, cause: in_words(&cause) },
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

    /// Whether a socket bound to this address is one of those that the peer may come in by.
    pub(super) fn concerns(&self, listener: SocketAddr) -> bool {
        self.ip().is_ipv4() == listener.ip().to_canonical().is_ipv4()
    }

    /// Makes a socket that is not connected yet, or was just accepted, one of this peer's.
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

    /// Gives a socket the key of this peer. An accepted socket has it from its listener.
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

    /// Takes the key of this peer from a listener. One that is not there is gone already.
    pub(super) fn forget(&self, socket: &SockRef<'_>) {
        let _gone = match &self.authentication {
            None => Ok(()),
            Some(Authentication::Md5(_)) => sockopt::clear_md5_key(socket, self.ip()),
            Some(Authentication::Ao(key)) => {
                sockopt::delete_ao_key(socket, self.ip(), key.send_id, key.receive_id)
            }
        };
    }

    /// What an operator should look at when a connection failed in a way that `Self` may be the cause of.
    pub fn hint(&self, peering: Peering, reason: &DownReason) -> Option<String> {
        let one_hop = self.reach.ttl(peering) == 1;
        let is_silence = match reason {
            // ICMP says that the TTL ran out, and the kernel says this.
            DownReason::DialFailed(DialError::NoRoute) | DownReason::Closed(CloseReason::NoRoute)
                if one_hop =>
            {
                return Some("is it up? If it is not on this link, set `multihop` on both sides".to_owned());
            }
            DownReason::DialFailed(error) => error.is_silence(),
            DownReason::Closed(reason) => reason.is_silence(),
            // It lets the handshake pass, and then drops what has not come with TTL 255.
            DownReason::Sent(notification) | DownReason::Received(notification)
                if notification.code == HOLD_TIMER_EXPIRED
                    && !matches!(self.reach, Reach::TtlSecurity(_)) =>
            {
                return Some("is it up? If it wants TTL security, set `ttl_security` here too".to_owned());
            }
            DownReason::Received(_)
            | DownReason::Sent(_)
            | DownReason::SendHoldTimerExpired
            | DownReason::LocalAddressGone
            | DownReason::BfdDown(_)
            | DownReason::Stopped(_) => return None,
        };
        if !is_silence {
            return None;
        }
        let text = match (&self.authentication, self.reach) {
            (Some(_), _) => {
                "no answer: wrong or missing TCP MD5 or TCP-AO password on either side, or a firewall"
            }
            (None, Reach::TtlSecurity(_)) => {
                "no answer: `ttl_security` must be set on both sides with the same number of hops, or a firewall"
            }
            (None, Reach::ByPeering | Reach::Multihop(_)) => {
                "no answer: is it up, does it want a password or TTL security, is there a firewall?"
            }
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;
    use crate::fsm::Dropped;
    use crate::secret::Secret;
    use crate::transport::PeerAddress;

    fn hops(n: u8) -> NonZeroU8 {
        NonZeroU8::new(n).unwrap()
    }

    #[test]
    fn the_ttl_follows_the_kind_of_session() {
        let cases = [
            (Reach::ByPeering, Peering::External, 1, 0),
            (Reach::ByPeering, Peering::Internal, 255, 0),
            (Reach::Multihop(hops(3)), Peering::External, 3, 0),
            (Reach::TtlSecurity(hops(1)), Peering::External, 255, 255),
            (Reach::TtlSecurity(hops(3)), Peering::Internal, 255, 253),
            (Reach::TtlSecurity(hops(255)), Peering::External, 255, 1),
        ];
        for (reach, peering, ttl, min_ttl) in cases {
            assert_eq!((reach.ttl(peering), reach.min_ttl()), (ttl, min_ttl), "{reach:?} {peering:?}");
        }
    }

    #[test]
    fn a_hint_follows_the_cause_and_what_the_transport_may_have_to_do_with_it() {
        let address = PeerAddress { remote: "10.0.0.1:179".parse().unwrap(), source: None };
        let plain = Transport::from(address);
        let key = Authentication::Md5(Secret::new(b"hunter2").unwrap());
        let signed = Transport { authentication: Some(key), ..plain.clone() };
        let far = Transport { reach: Reach::Multihop(hops(3)), ..plain.clone() };
        let near = Transport { reach: Reach::TtlSecurity(hops(1)), ..plain.clone() };
        let off_link = "is it up? If it is not on this link, set `multihop` on both sides";
        let any = "no answer: is it up, does it want a password or TTL security, is there a firewall?";
        let key = "no answer: wrong or missing TCP MD5 or TCP-AO password on either side, or a firewall";
        let ttl =
            "no answer: `ttl_security` must be set on both sides with the same number of hops, or a firewall";

        let no_answer = DownReason::DialFailed(DialError::NoAnswer { dropped: Some(Dropped::LowTtl) });
        let gave_up = DownReason::DialFailed(DialError::TimedOut { dropped: None });
        let timed_out = DownReason::Closed(CloseReason::TimedOut { dropped: None });
        for silence in [&no_answer, &gave_up, &timed_out] {
            let hints = [&plain, &far, &signed, &near].map(|t| t.hint(Peering::External, silence).unwrap());
            assert_eq!(hints, [any, any, key, ttl], "{silence}");
        }
        let dialled = DownReason::DialFailed(DialError::NoRoute);
        let closed = DownReason::Closed(CloseReason::NoRoute);
        for no_route in [&dialled, &closed] {
            let hints = [&plain, &far, &signed, &near].map(|t| t.hint(Peering::External, no_route));
            assert_eq!(hints, [Some(off_link.to_owned()), None, Some(off_link.to_owned()), None]);
            assert_eq!(plain.hint(Peering::Internal, no_route), None);
        }
        for answered in [
            DownReason::DialFailed(DialError::Refused),
            DownReason::DialFailed(DialError::Other("no answer to the connection request".to_owned())),
            DownReason::Closed(CloseReason::EndedByPeer),
            DownReason::Closed(CloseReason::Reset),
        ] {
            assert_eq!(plain.hint(Peering::External, &answered), None, "{answered}");
        }
    }

    #[test]
    fn a_transport_does_not_show_its_key() {
        let address = PeerAddress { remote: "10.0.0.1:179".parse().unwrap(), source: None };
        let secret = Secret::new(b"hunter2").unwrap();
        let ao =
            AoKey { secret: secret.clone(), send_id: 1, receive_id: 1, algorithm: AoAlgorithm::HmacSha1 };
        for key in [Authentication::Md5(secret), Authentication::Ao(ao)] {
            let shown = format!("{:?}", Transport { authentication: Some(key), ..address.into() });
            assert!(shown.contains("Secret(…)") && !shown.contains("hunter2"), "{shown}");
        }
    }
}
