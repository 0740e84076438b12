//! The raw sockets of an instance (feature `net`): one for each interface and family.
//!
//! It needs CAP_NET_RAW. A socket is bound to its interface, sends with TTL 255 and the instance's own source, hears no packet of
//! its own, and receives nothing but protocol 112. What it gives is what [`Packet::decode`] takes.
//!
//! ```text
//!  Socket::open(interface, link) ──► receive: payload, endpoints, TTL ──► Packet::decode ──► Input::Received
//!                                ◄── send ◄── Transmission::packets ◄── Output::Transmit
//! ```

pub mod clock;

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Type};

use crate::advertisement::Packet;
use crate::config::Config;
use crate::discard::Discard;
use crate::endpoints::Endpoints;
use crate::iana::{CLASS_SELECTOR_6, GROUP_V4, GROUP_V6, PROTOCOL, TTL};

/// An IPv4 header with all options, and the longest packet: 255 addresses of 16 octets.
const MAX_PACKET: usize = 60 + 8 + 255 * 16;

/// The shortest IPv4 header.
const IPV4_HEADER: usize = 20;

/// A raw socket on one interface, for one address family.
#[derive(Debug)]
pub struct Socket {
    socket: socket2::Socket,
    interface: u32,
    v6: bool,
    /// It accepts packets with a lower TTL, for unicast peers behind routers.
    least_ttl: u8,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens the socket, and joins the group unless the configuration has unicast peers.
    ///
    /// # Errors
    /// Without CAP_NET_RAW or such an interface.
    pub fn open(interface: &str, config: &Config) -> io::Result<Self> {
        let (v6, multicast) = (config.link.form().is_v6(), config.link.peers().is_empty());
        let index = if_nametoindex(interface)?;
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = socket2::Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        if v6 {
            setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            socket.set_tclass_v6(CLASS_SELECTOR_6)?;
            socket.set_unicast_hops_v6(u32::from(TTL))?;
            socket.set_multicast_hops_v6(u32::from(TTL))?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_if_v6(index)?;
            if multicast {
                socket.join_multicast_v6(&GROUP_V6, index)?;
            }
        } else {
            socket.set_tos_v4(CLASS_SELECTOR_6)?;
            socket.set_ttl_v4(u32::from(TTL))?;
            socket.set_multicast_ttl_v4(u32::from(TTL))?;
            socket.set_multicast_loop_v4(false)?;
            if multicast {
                socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
            }
        }
        Ok(Self { socket, interface: index, v6, least_ttl: config.least_ttl, buffer: vec![0; MAX_PACKET] })
    }

    /// The next packet; `None` if there is none. It does not wait. A packet that is dropped is `Some(Err(…))`.
    ///
    /// # Errors
    /// If the interface is down or gone, for example.
    pub fn receive(&mut self) -> io::Result<Option<Result<Packet, Discard>>> {
        if self.v6 { self.receive_v6() } else { self.receive_v4() }
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// If the interface is down or the source is not there, for example. The next one may well succeed.
    pub fn send(&self, endpoints: &Endpoints, payload: &[u8]) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        let slices = [IoSlice::new(payload)];
        match *endpoints {
            Endpoints::V4 { source, destination } => {
                let info = in_pktinfo {
                    ipi_ifindex: i32::try_from(self.interface).unwrap_or(0),
                    ipi_spec_dst: in_addr { s_addr: u32::from(source).to_be() },
                    ipi_addr: in_addr { s_addr: 0 },
                };
                let to = SockaddrIn::from(SocketAddrV4::new(destination, 0));
                sendmsg(fd, &slices, &[ControlMessage::Ipv4PacketInfo(&info)], MsgFlags::empty(), Some(&to))?;
            }
            Endpoints::V6 { source, destination } => {
                let info = in6_pktinfo {
                    ipi6_ifindex: self.interface,
                    ipi6_addr: in6_addr { s6_addr: source.octets() },
                };
                let scope = if destination.is_unicast_link_local() || destination.is_multicast() {
                    self.interface
                } else {
                    0
                };
                let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, scope));
                sendmsg(fd, &slices, &[ControlMessage::Ipv6PacketInfo(&info)], MsgFlags::empty(), Some(&to))?;
            }
        }
        Ok(())
    }

    /// The kernel hands over the IP header with the packet.
    fn receive_v4(&mut self) -> io::Result<Option<Result<Packet, Discard>>> {
        let fd = self.socket.as_raw_fd();
        let Some(length) = next(|| {
            let mut slices = [IoSliceMut::new(&mut self.buffer)];
            recvmsg::<SockaddrIn>(fd, &mut slices, None, MsgFlags::MSG_DONTWAIT).map(|message| message.bytes)
        })?
        else {
            return Ok(None);
        };
        let packet = self.buffer.get(..length).unwrap_or(&self.buffer);
        let Some(header) = packet.first_chunk::<IPV4_HEADER>() else {
            return Ok(Some(Err(Discard::Truncated)));
        };
        let (first, ttl) = (header[0], header[8]);
        let (_, addresses) = header.split_at(12);
        let [source, destination] = match addresses.as_chunks::<4>().0 {
            &[source, destination] => [source, destination].map(Ipv4Addr::from),
            _ => return Ok(Some(Err(Discard::Truncated))),
        };
        let payload = packet.get(usize::from(first & 0x0F) * 4..).unwrap_or_default();
        let endpoints = Endpoints::V4 { source, destination };
        Ok(Some(Packet::decode(payload, endpoints, ttl, self.least_ttl)))
    }

    fn receive_v6(&mut self) -> io::Result<Option<Result<Packet, Discard>>> {
        let fd = self.socket.as_raw_fd();
        let mut control = nix::cmsg_space!(in6_pktinfo, i32);
        let Some((length, source, destination, ttl)) = next(|| {
            let mut slices = [IoSliceMut::new(&mut self.buffer)];
            let message =
                recvmsg::<SockaddrIn6>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
            let (mut destination, mut ttl) = (None, 0);
            for control in message.cmsgs().into_iter().flatten() {
                // No other control message was requested.
                #[expect(
                    clippy::wildcard_enum_match_arm,
                    reason = "the enum has every control message there is"
                )]
                match control {
                    ControlMessageOwned::Ipv6HopLimit(limit) => ttl = u8::try_from(limit).unwrap_or(0),
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                    }
                    _ => {}
                }
            }
            let source = message.address.map(|address| address.ip());
            Ok((message.bytes, source, destination, ttl))
        })?
        else {
            return Ok(None);
        };
        let (Some(source), Some(destination)) = (source, destination) else {
            return Ok(Some(Err(Discard::OtherFamily)));
        };
        let payload = self.buffer.get(..length).unwrap_or(&self.buffer);
        let endpoints = Endpoints::V6 { source, destination };
        Ok(Some(Packet::decode(payload, endpoints, ttl, self.least_ttl)))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `None` if nothing is there.
fn next<T>(mut receive: impl FnMut() -> nix::Result<T>) -> io::Result<Option<T>> {
    loop {
        match receive() {
            Ok(received) => return Ok(Some(received)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The first link-local address of the interface with `v6`, else its first IPv4 address: the source that RFC 9568 §5.1 asks for.
///
/// # Errors
/// If the interface has none, or the kernel cannot tell.
pub fn primary_address(interface: &str, v6: bool) -> io::Result<IpAddr> {
    let addresses = nix::ifaddrs::getifaddrs()?.filter(|address| address.interface_name == interface);
    let mut candidates = addresses.filter_map(|address| {
        let address = address.address?;
        let v4 = || address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let link_local = || {
            let address = address.as_sockaddr_in6()?.ip();
            address.is_unicast_link_local().then_some(IpAddr::V6(address))
        };
        if v6 { link_local() } else { v4() }
    });
    let family = if v6 { "link-local" } else { "IPv4" };
    candidates.next().ok_or_else(|| io::Error::other(format!("{interface} has no {family} address")))
}
