//! A raw ICMPv6 socket on one interface: what comes in with its source and hop limit, what goes out to everybody on the link.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::packet::{HOP_LIMIT, Malformed, Packet};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 2);

/// The socket.
#[derive(Debug)]
pub(super) struct LinkSocket {
    /// Not of UDP, but it sends, receives and waits all the same, and that is all that is asked of it.
    socket: UdpSocket,
    index: u32,
}

impl LinkSocket {
    /// # Errors
    /// CAP_NET_RAW is missing, or the interface is gone.
    pub(super) fn open(interface: &str, index: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking(), Some(Protocol::ICMPV6))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_recv_hoplimit_v6(true)?;
        socket.set_multicast_hops_v6(HOP_LIMIT.unsigned_abs())?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_loop_v6(false)?;
        socket.join_multicast_v6(&ALL_ROUTERS, index)?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, index })
    }

    /// The next packet that is about routers. Cancel-safe: nothing is taken before it is returned.
    pub(super) async fn receive(&self) -> io::Result<(Ipv6Addr, Result<Option<Packet>, Malformed>)> {
        loop {
            self.socket.readable().await?;
            match self.socket.try_io(Interest::READABLE, || self.take()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }

    fn take(&self) -> io::Result<(Ipv6Addr, Result<Option<Packet>, Malformed>)> {
        let mut buffer = [0; 2048];
        let mut control = nix::cmsg_space!(nix::libc::c_int);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        let received = recvmsg::<SockaddrIn6>(fd, &mut slices, Some(&mut control), flags)?;
        let source = received.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
        #[expect(clippy::wildcard_enum_match_arm, reason = "the enum has every control message there is")]
        let hop_limit = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv6HopLimit(hop_limit) => Some(hop_limit),
            _ => None,
        });
        let length = received.bytes;
        Ok((source, Packet::decode(buffer.get(..length).unwrap_or_default(), source, hop_limit)))
    }

    /// Says something to everybody whom it concerns. What there is no room for is lost, as it might be on the way.
    pub(super) fn send(&self, packet: Packet, link_layer: Option<[u8; 6]>) -> io::Result<()> {
        let group = match packet {
            Packet::Solicitation => ALL_ROUTERS,
            Packet::Advertisement => ALL_NODES,
        };
        let to = SocketAddrV6::new(group, 0, 0, self.index);
        match SockRef::from(&self.socket).send_to(&packet.encode(link_layer), &to.into()) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
