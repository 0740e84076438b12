//! A socket for echo requests to one host: a datagram socket if the system grants it, or else a raw one.
//!
//! Both are connected, so that the kernel drops packets of other hosts without a wake-up. A raw socket still receives
//! all answers of its host; the token of each probe distinguishes them. ICMP errors of routers are in the error queue
//! (IP_RECVERR), with their sender.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use vipcast_node::model::Via;

use super::packet::{Echo, IcmpError, Version};

/// The origins of an error in the queue that are ICMP and ICMPv6 (linux/errqueue.h).
const FROM_ICMP: [u8; 2] = [2, 3];

/// The error if neither kind is permitted.
pub(super) const NEEDED: &str =
    "not permitted: needs CAP_NET_RAW, or a group within net.ipv4.ping_group_range";

fn not_permitted(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::PermissionDenied { io::Error::other(NEEDED) } else { error }
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct EchoSocket {
    /// Not of UDP, but it sends, receives and waits all the same, and that is all that is asked of it.
    socket: UdpSocket,
    version: Version,
    raw: bool,
}

/// What there is to hear.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The request with this sequence number was answered.
    Answer(u16),
    /// One of the requests was refused.
    Refusal(IcmpError),
    /// Something that concerns others.
    Noise,
}

impl EchoSocket {
    /// Opens it.
    ///
    /// # Errors
    /// Those of the system, and [`NEEDED`] when it grants neither kind.
    pub(super) fn open(to: IpAddr, via: &Via) -> io::Result<Self> {
        let version = Version::of(to);
        let (domain, protocol) = match version {
            Version::V4 => (Domain::IPV4, Protocol::ICMPV4),
            Version::V6 => (Domain::IPV6, Protocol::ICMPV6),
        };
        let (socket, raw) = match Socket::new(domain, Type::DGRAM.nonblocking(), Some(protocol)) {
            Ok(socket) => (socket, false),
            // A process outside net.ipv4.ping_group_range gets EACCES, even root.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let raw = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol));
                (raw.map_err(not_permitted)?, true)
            }
            Err(error) => return Err(error),
        };
        if let Some(interface) = &via.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        if let Some(source) = via.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match version {
            Version::V4 => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            Version::V6 => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        socket.connect(&SocketAddr::new(to, 0).into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, version, raw })
    }

    /// Sends a packet, unless there is something to hear of an earlier one, which fails the first attempt. Never waits: a packet
    /// for which there is no room is lost, as it might be on the way.
    pub(super) fn send(&self, echo: &Echo, packet: &[u8]) -> io::Result<Option<IcmpError>> {
        let send = || match SockRef::from(&self.socket).send(packet) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(_) | Err(_) => Ok(None),
        };
        send().or_else(|_| match self.complaint(echo)? {
            Some(Heard::Refusal(refusal)) => Ok(Some(refusal)),
            Some(Heard::Answer(_) | Heard::Noise) | None => send(),
        })
    }

    /// Waits for something. Cancel-safe: nothing is taken before it is returned.
    pub(super) async fn hear(&self, echo: &Echo, buffer: &mut [u8]) -> io::Result<Heard> {
        let nothing = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        loop {
            let ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
            // First, because with each error in the queue the socket fails once as well, without telling more.
            if ready.is_error() {
                let complaint = || self.complaint(echo)?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
                match self.socket.try_io(Interest::ERROR, complaint) {
                    Err(error) if nothing(&error) => {}
                    heard => return heard,
                }
                if let Some(error) = self.socket.take_error()? {
                    return Err(error);
                }
            }
            match self.socket.try_recv(buffer) {
                Err(error) if nothing(&error) => {}
                received => {
                    let with_ip_header = self.raw && self.version == Version::V4;
                    let answered = echo.answered(&buffer[..received?], with_ip_header);
                    return Ok(answered.map_or(Heard::Noise, Heard::Answer));
                }
            }
        }
    }

    /// What is in the error queue; `None` when that is empty.
    fn complaint(&self, echo: &Echo) -> io::Result<Option<Heard>> {
        let mut quoted = [0; 64];
        let mut control =
            nix::cmsg_space!(nix::libc::sock_extended_err, nix::libc::sockaddr_in6, nix::libc::sockaddr_in);
        let mut slices = [IoSliceMut::new(&mut quoted)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        let received = match recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), flags) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut refusal = None;
        for message in received.cmsgs()? {
            #[expect(clippy::wildcard_enum_match_arm, reason = "the enum has every control message there is")]
            let (error, from) = match message {
                ControlMessageOwned::Ipv4RecvErr(error, from) => {
                    (error, from.map(|from| IpAddr::from(u32::from_be(from.sin_addr.s_addr).to_be_bytes())))
                }
                ControlMessageOwned::Ipv6RecvErr(error, from) => {
                    (error, from.map(|from| IpAddr::from(from.sin6_addr.s6_addr)))
                }
                _ => continue,
            };
            if FROM_ICMP.contains(&error.ee_origin) {
                let from = from.filter(|from| !from.is_unspecified());
                let (version, icmp_type, code) = (self.version, error.ee_type, error.ee_code);
                refusal = Some(IcmpError { version, icmp_type, code, from });
            }
        }
        let length = received.bytes;
        // A socket of datagrams is told of its own alone.
        let about_us = !self.raw || echo.is_about_us(&quoted[..length]);
        Ok(Some(refusal.filter(|_| about_us).map_or(Heard::Noise, Heard::Refusal)))
    }
}
