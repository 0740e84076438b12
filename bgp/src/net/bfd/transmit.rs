//! The sending socket of one session, with a source port that never changes (RFC 5881 §4).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::receive::Port;
use crate::bfd::PACKET_LEN;
use crate::bfd::SessionSettings;
use crate::bfd::iana::{CLASS_SELECTOR_6, SOURCE_PORTS, TTL};
use crate::frozen::{Error, agree, count};
use crate::net::frozen::{ThawError, take};
use crate::net::{Descriptors, sockopt};

/// The socket is open, or the next packet opens it: an address or an interface may appear later, or go and come back. A
/// session that cannot send soon leaves Up, and then tries once a second, which is enough back-off.
#[derive(Debug)]
pub(super) struct Transmitter {
    port: u16,
    socket: Option<Socket>,
    /// The index of the configured interface when the socket was opened.
    interface: Option<u32>,
    /// Whether the socket was once open with this port.
    proven: bool,
    errors: u64,
    error: Option<io::Error>,
}

/// The fields of a frozen session that are the socket's, see [`Session`](crate::frozen::bfd_thread::Session).
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) port: u16,
    pub(super) socket: Option<u32>,
    pub(super) index: Option<u32>,
    pub(super) proven: bool,
    pub(super) errors: u64,
    pub(super) error: Option<String>,
}

impl Transmitter {
    pub(super) fn new(port: u16) -> Self {
        Self { port, socket: None, interface: None, proven: false, errors: 0, error: None }
    }

    /// Writes its part of the form of a session.
    pub(super) fn freeze(self, descriptors: &mut Descriptors) -> Frozen {
        let Self { port, socket, interface, proven, errors, error } = self;
        let socket = socket.map(|socket| descriptors.put(socket));
        Frozen { port, socket, index: interface, proven, errors, error: error.map(|error| error.to_string()) }
    }

    pub(super) fn thaw(frozen: Frozen, descriptors: &mut Descriptors) -> Result<Self, ThawError> {
        let Frozen { port, socket, index, proven, errors, error } = frozen;
        if !SOURCE_PORTS.contains(&port) {
            return Err(Error::Range("port").into());
        }
        let socket = match socket {
            Some(number) => Some(Socket::from(take(descriptors, number, Type::DGRAM, "session")?)),
            None => None,
        };
        if let Some(socket) = &socket {
            let bound = socket.local_addr()?.as_socket().map(|address| address.port());
            agree(bound == Some(port) && proven, "sessions.socket")?;
        }
        let errors = count(errors, "errors")?;
        Ok(Self { port, socket, interface: index, proven, errors, error: error.map(io::Error::other) })
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

    /// Opens the socket. `another` gives free ports, in case another program has ours.
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

    /// Hands a packet to the kernel. A refused packet is lost and counted, but does not end the session.
    pub(super) fn send(&mut self, packet: &[u8; PACKET_LEN]) {
        let Some(socket) = &self.socket else {
            self.errors += 1;
            return;
        };
        let sent = match socket.send(packet) {
            // The kernel reports an ICMP error of an earlier packet by refusing this one; it accepts the next.
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

/// Whether the error proves that the socket's address and interface still exist. If they are gone, or one of the same
/// name was made anew, the kernel returns `ENETUNREACH`, `EINVAL` or `ENODEV`.
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

/// A link-local address needs its interface.
fn scoped(ip: IpAddr, port: u16, interface: Option<u32>) -> SocketAddr {
    match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            SocketAddrV6::new(v6, port, 0, interface.unwrap_or(0)).into()
        }
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(ip, port),
    }
}
