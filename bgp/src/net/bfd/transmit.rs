//! The socket that one session sends by: its own, with a source port that never changes (RFC 5881 §4).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::receive::Port;
use crate::bfd::PACKET_LEN;
use crate::bfd::SessionSettings;
use crate::bfd::iana::{CLASS_SELECTOR_6, TTL};
use crate::net::sockopt;

/// Open, or to be opened by the next packet: an address or an interface may come later, or go and come back. A session
/// that cannot send is not Up for long, and then tries once a second, which is all the back-off there needs to be.
#[derive(Debug)]
pub(super) struct Transmitter {
    port: u16,
    socket: Option<Socket>,
    /// The interface that was asked for, as it was when the socket was opened.
    interface: Option<u32>,
    /// Whether it has been open, with this port.
    proven: bool,
    errors: u64,
    error: Option<io::Error>,
}

impl Transmitter {
    pub(super) fn new(port: u16) -> Self {
        Self { port, socket: None, interface: None, proven: false, errors: 0, error: None }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn interface(&self) -> Option<u32> {
        self.interface
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    pub(super) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Whether the next packet has to open the socket first.
    pub(super) fn is_closed(&self) -> bool {
        self.socket.is_none()
    }

    /// Opens the socket. `another` names ports that no session has, for when somebody else has ours.
    pub(super) fn open(&mut self, settings: &SessionSettings, mut another: impl FnMut() -> u16) {
        const ATTEMPTS: usize = 32;
        for _ in 0..ATTEMPTS {
            match open(settings, self.port) {
                Ok((socket, interface)) => {
                    (self.socket, self.interface, self.proven) = (Some(socket), interface, true);
                    return;
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse && !self.proven => {
                    self.port = another();
                    self.error = Some(error);
                }
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
    }

    /// Hands a packet to the kernel. What it does not take is lost, counted, and no reason to end a session.
    pub(super) fn send(&mut self, packet: &[u8; PACKET_LEN]) {
        let Some(socket) = &self.socket else {
            self.errors += 1;
            return;
        };
        let sent = match socket.send(packet) {
            // An ICMP message about an earlier packet is told by refusing this one; the next is taken.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => socket.send(packet).and(Err(error)),
            sent => sent,
        };
        let Err(error) = sent else {
            self.error = None;
            return;
        };
        self.errors += 1;
        if !is_bound_well(&error) {
            self.socket = None;
        }
        self.error = Some(error);
    }
}

/// The address or the interface that the socket is bound to may have gone, and one of the same name may have come: then
/// the kernel says `ENETUNREACH` as well as `EINVAL` or `ENODEV`. These say that it has not.
fn is_bound_well(error: &io::Error) -> bool {
    const FINE: [Errno; 4] = [Errno::ECONNREFUSED, Errno::EAGAIN, Errno::EPERM, Errno::ENOBUFS];
    FINE.iter().any(|fine| error.raw_os_error() == Some(*fine as i32))
}

fn open(settings: &SessionSettings, port: u16) -> io::Result<(Socket, Option<u32>)> {
    let remote = settings.remote;
    let domain = if remote.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let mut index = None;
    if let Some(interface) = &settings.interface {
        index = Some(if_nametoindex(interface.as_str())?);
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    sockopt::set_ttl(&SockRef::from(&socket), TTL)?;
    if remote.is_ipv6() {
        socket.set_tclass_v6(CLASS_SELECTOR_6)?;
    } else {
        socket.set_tos_v4(CLASS_SELECTOR_6)?;
    }
    let any: IpAddr =
        if remote.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    socket.bind(&scoped(settings.local.unwrap_or(any), port, index).into())?;
    socket.connect(&scoped(remote, Port::number(settings.hops), index).into())?;
    Ok((socket, index))
}

/// A link-local address means nothing without its interface.
fn scoped(ip: IpAddr, port: u16, interface: Option<u32>) -> SocketAddr {
    match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            SocketAddrV6::new(v6, port, 0, interface.unwrap_or(0)).into()
        }
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(ip, port),
    }
}
