//! The address of a peer, its distance, and the signature of its connection; `net` sets these on sockets.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::time::Duration;

use crate::fsm::{CloseReason, DialError, DownReason};
use crate::secret::Secret;
use crate::wire::Peering;
use crate::wire::iana::notification::HOLD_TIMER_EXPIRED;

/// The address of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its address and the port that we dial. It may connect to us from any port.
    pub remote: SocketAddr,
    /// The local address that we dial from; `None`: the source address of the route.
    pub source: Option<IpAddr>,
}

/// The address of a peer, and the options of its sockets. A [`PeerAddress`] converts into one without options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// The address.
    pub address: PeerAddress,
    /// The interface of its packets, in both directions (SO_BINDTODEVICE); `None`: any.
    pub interface: Option<String>,
    /// The distance that the peer may have.
    pub reach: Reach,
    /// The signature of its segments; `None`: unsigned. A peer with a key never has a session without it: if the kernel
    /// rejects the key, there is no session.
    pub authentication: Option<Authentication>,
    /// The time without an acknowledgement after which the kernel ends the connection (TCP_USER_TIMEOUT); `None`: the
    /// kernel's default, about 15 minutes. If it is shorter than the Send Hold Timer, it fires first.
    pub user_timeout: Option<Duration>,
    /// The maximum segment size in bytes, 88 to 32,767 (TCP_MAXSEG); `None`: that of the first link of the path. On
    /// incoming connections the kernel negotiates it before the peer is known: there the least of all peers applies.
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

/// The distance that a peer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// An eBGP peer is on the same link, an iBGP peer anywhere.
    #[default]
    ByPeering,
    /// At most this number of hops; 1 is the same link.
    Multihop(NonZeroU8),
    /// At most this number of hops, proved by the TTL: both sides send with TTL 255 (GTSM, RFC 5082). 1 is the same
    /// link.
    TtlSecurity(NonZeroU8),
}

impl Reach {
    pub(crate) fn ttl(self, peering: Peering) -> u8 {
        match (self, peering) {
            (Self::ByPeering, Peering::External) => 1,
            (Self::ByPeering, Peering::Internal) | (Self::TtlSecurity(_), _) => u8::MAX,
            (Self::Multihop(hops), _) => hops.get(),
        }
    }

    /// The lowest TTL that is accepted; 0: any.
    #[cfg(feature = "net")]
    pub(crate) fn min_ttl(self) -> u8 {
        match self {
            Self::ByPeering | Self::Multihop(_) => 0,
            Self::TtlSecurity(hops) => u8::MAX - (hops.get() - 1),
        }
    }
}

impl Transport {
    /// The hint for the operator when these settings may be the cause of a failed connection.
    pub fn hint(&self, peering: Peering, reason: &DownReason) -> Option<String> {
        let one_hop = self.reach.ttl(peering) == 1;
        let is_silence = match reason {
            // The kernel reports an ICMP time exceeded as this error.
            DownReason::DialFailed(DialError::NoRoute) | DownReason::Closed(CloseReason::NoRoute)
                if one_hop =>
            {
                return Some(
                    "is the router up? If it is not on this link, set `multihop` on both sides".to_owned(),
                );
            }
            DownReason::DialFailed(error) => error.is_silence(),
            DownReason::Closed(reason) => reason.is_silence(),
            // The router accepts the handshake, and then drops packets without TTL 255.
            DownReason::Sent(notification) | DownReason::Received(notification)
                if notification.code == HOLD_TIMER_EXPIRED
                    && !matches!(self.reach, Reach::TtlSecurity(_)) =>
            {
                return Some(
                    "is the router up? If it wants TTL security, set `ttl_security` here too".to_owned(),
                );
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
                "no answer: is the router up, does it want a password or TTL security, is there a firewall?"
            }
        };
        Some(text.to_owned())
    }
}

/// The signature of a connection's segments.
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
    /// The algorithm of the MAC.
    pub algorithm: AoAlgorithm,
}

/// The algorithm of a MAC: the two that RFC 5926 requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AoAlgorithm {
    /// HMAC-SHA-1-96.
    HmacSha1,
    /// AES-128-CMAC-96.
    AesCmac128,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsm::Dropped;

    fn hops(n: u8) -> NonZeroU8 {
        NonZeroU8::new(n).unwrap()
    }

    #[cfg(feature = "net")]
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
        let off_link = "is the router up? If it is not on this link, set `multihop` on both sides";
        let any =
            "no answer: is the router up, does it want a password or TTL security, is there a firewall?";
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
