//! The listening sockets of this host, from sock_diag.

#![expect(clippy::wildcard_enum_match_arm, reason = "the enums of netlink are the kernel's and grow with it")]

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use netlink_packet_sock_diag::{IPPROTO_TCP, IPPROTO_UDP, SockDiagMessage};

use super::target::Transport;

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listening {
    pub(crate) address: IpAddr,
    /// IPV6_V6ONLY: with it the IPv6 wildcard is none for IPv4.
    pub(crate) only_v6: bool,
}

impl Listening {
    /// The socket of an answer.
    pub(crate) fn of(socket: &InetResponse) -> Self {
        let only_v6 = socket.nlas.iter().any(|nla| matches!(nla, Nla::SkV6Only(true)));
        Self { address: socket.header.socket_id.source_address, only_v6 }
    }

    /// Whether what is sent to `wanted` arrives here.
    pub(crate) fn covers(self, wanted: IpAddr) -> bool {
        // A socket on ::ffff:192.0.2.1 is one for IPv4.
        match (self.address.to_canonical(), wanted) {
            (own, wanted) if own == wanted => true,
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(_)) => !self.only_v6,
            (own, wanted) => own.is_unspecified() && own.is_ipv4() == wanted.is_ipv4(),
        }
    }
}

/// The question for the listening sockets of a family, on one port or on all.
pub(crate) fn request(transport: Transport, family: u8, port: Option<u16>) -> SockDiagMessage {
    let (protocol, states) = match transport {
        Transport::Tcp => (IPPROTO_TCP, StateFlags::LISTEN),
        // A socket of UDP that is bound and not connected.
        Transport::Udp => (IPPROTO_UDP, StateFlags::CLOSE),
    };
    let socket_id = SocketId { source_port: port.unwrap_or(0), ..SocketId::new_v4() };
    let extensions = ExtensionFlags::empty();
    SockDiagMessage::InetRequest(InetRequest { family, protocol, extensions, states, socket_id })
}

/// The answer that a message is; `None` if it is another.
pub(crate) fn answer(message: SockDiagMessage) -> Option<Box<InetResponse>> {
    match message {
        SockDiagMessage::InetResponse(socket) => Some(socket),
        _ => None,
    }
}
