//! The receiving sockets: one for each family and port that a session needs.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::super::frozen::{ThawError, take};
use super::super::{Descriptors, clock};
use super::settings::Options;
use crate::bfd::iana::{MULTIHOP_PORT, SINGLE_HOP_PORT};
use crate::bfd::{Arrival, Hops};
use crate::frozen::{agree, bfd_thread as frozen};
use crate::time::Instant;

/// Longer than any packet without authentication. A longer packet is cut, and then dropped because its length field is
/// too large.
const MAX_PAYLOAD: usize = 128;

/// The socket buffer for packets that wait while the thread does not run.
const BUFFER: usize = 1 << 20;

/// The pause before a port is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The family and port of a receiving socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    ipv6: bool,
    multihop: bool,
}

impl Port {
    pub(super) const ALL: [Self; 4] = [
        Self { ipv6: false, multihop: false },
        Self { ipv6: false, multihop: true },
        Self { ipv6: true, multihop: false },
        Self { ipv6: true, multihop: true },
    ];

    pub(super) fn of(remote: IpAddr, hops: Hops) -> Self {
        Self { ipv6: remote.is_ipv6(), multihop: hops.is_multi() }
    }

    pub(super) fn number(hops: Hops) -> u16 {
        if hops.is_multi() { MULTIHOP_PORT } else { SINGLE_HOP_PORT }
    }
}

/// One receiving socket, open or not.
#[derive(Debug)]
pub(super) struct Receiver {
    port: Port,
    address: SocketAddr,
    wanted: bool,
    socket: Option<Socket>,
    error: Option<io::Error>,
    retry_at: Option<Instant>,
}

impl Receiver {
    pub(super) fn new(port: Port, options: &Options) -> Self {
        let number = if port.multihop { MULTIHOP_PORT } else { SINGLE_HOP_PORT };
        let address: IpAddr = if port.ipv6 { options.listen_v6.into() } else { options.listen_v4.into() };
        let address = SocketAddr::new(address, number);
        Self { port, address, wanted: false, socket: None, error: None, retry_at: None }
    }

    pub(super) fn port(&self) -> Port {
        self.port
    }

    /// The socket stays open, and packets wait in it with their stamps.
    pub(super) fn freeze(self, descriptors: &mut Descriptors) -> frozen::Receiver {
        let socket = self.socket.map(|socket| descriptors.put(socket));
        let Port { ipv6, multihop } = self.port;
        frozen::Receiver { ipv6, multihop, wanted: self.wanted, socket }
    }

    /// A socket that was not open is tried at once.
    pub(super) fn thaw(
        &mut self,
        frozen: &frozen::Receiver,
        descriptors: &mut Descriptors,
        now: Instant,
    ) -> Result<(), ThawError> {
        let same = self.port == Port { ipv6: frozen.ipv6, multihop: frozen.multihop };
        agree(same, "receivers")?;
        if let Some(number) = frozen.socket {
            agree(frozen.wanted && self.socket.is_none(), "receivers")?;
            let socket = take(descriptors, number, Type::DGRAM, "receiver")?;
            let port = SockRef::from(&socket).local_addr()?.as_socket().map(|address| address.port());
            agree(port == Some(self.address.port()), "receivers.socket")?;
            self.socket = Some(socket.into());
        }
        self.want(frozen.wanted, now);
        Ok(())
    }

    /// Opens the socket if a session needs it, and closes it otherwise.
    pub(super) fn want(&mut self, wanted: bool, now: Instant) {
        self.wanted = wanted;
        if !wanted {
            (self.socket, self.error, self.retry_at) = (None, None, None);
        } else if self.socket.is_none() {
            self.retry(now);
        }
    }

    /// When [`Receiver::retry`] is due.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    pub(super) fn retry(&mut self, now: Instant) {
        match open(self.address) {
            Ok(socket) => (self.socket, self.error, self.retry_at) = (Some(socket), None, None),
            Err(error) => (self.error, self.retry_at) = (Some(error), Some(now + RETRY)),
        }
    }

    /// The reason why a needed socket is not open.
    pub(super) fn trouble(&self) -> Option<String> {
        self.error.as_ref().map(|error| format!("cannot receive on UDP {}: {error}", self.address))
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// The next packet; `None` if there is none. Allocates nothing.
    pub(super) fn next(&self, buffers: &mut Buffers) -> Option<Received> {
        let fd = self.socket.as_ref()?.as_raw_fd();
        loop {
            let mut slices = [IoSliceMut::new(&mut buffers.payload)];
            let control = Some(buffers.control.0.as_mut_slice());
            let message = match recvmsg::<SockaddrStorage>(fd, &mut slices, control, MsgFlags::MSG_DONTWAIT) {
                Ok(message) => message,
                Err(Errno::EINTR) => continue,
                Err(_nothing_there) => return None,
            };
            let length = message.bytes;
            let source = message.address.as_ref().and_then(ip)?;
            let mut arrival = Arrival {
                source,
                destination: None,
                interface: None,
                // No session accepts a TTL of 0.
                ttl: 0,
                multihop: self.port.multihop,
            };
            let mut stamp = None;
            for control in message.cmsgs().into_iter().flatten() {
                // No other control message was requested.
                #[expect(
                    clippy::wildcard_enum_match_arm,
                    reason = "the enum has every control message there is"
                )]
                match control {
                    ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                        arrival.ttl = u8::try_from(ttl).unwrap_or(0);
                    }
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        arrival.interface = u32::try_from(info.ipi_ifindex).ok();
                        arrival.destination =
                            Some(IpAddr::from(u32::from_be(info.ipi_addr.s_addr).to_be_bytes()));
                    }
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        arrival.interface = Some(info.ipi6_ifindex);
                        arrival.destination = Some(IpAddr::from(info.ipi6_addr.s6_addr));
                    }
                    ControlMessageOwned::ScmTimestampns(time) => stamp = Some(time),
                    _ => {}
                }
            }
            return Some(Received { length, arrival, stamp });
        }
    }
}

/// The arrival of a packet; its octets are in [`Buffers::payload`].
#[derive(Debug)]
pub(super) struct Received {
    pub(super) length: usize,
    pub(super) arrival: Arrival,
    /// By the wall clock.
    pub(super) stamp: Option<TimeSpec>,
}

/// The receive buffers; allocated once.
#[derive(Debug)]
pub(super) struct Buffers {
    payload: [u8; MAX_PAYLOAD],
    control: Control,
}

/// TTL, addresses and the stamp take at most 96 octets.
#[derive(Debug)]
#[repr(align(16))]
struct Control([u8; 128]);

impl Buffers {
    pub(super) fn new() -> Self {
        Self { payload: [0; MAX_PAYLOAD], control: Control([0; 128]) }
    }

    pub(super) fn payload(&self, length: usize) -> &[u8] {
        self.payload.get(..length).unwrap_or(&self.payload)
    }
}

/// Both clocks at one moment, to convert the kernel's wall-clock stamps to the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    wall: Duration,
    /// The time when the sockets were last empty.
    emptied: Instant,
}

impl Moment {
    pub(super) fn read(emptied: Instant) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the kernel stamps packets with the wall clock")]
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { now: clock::now(), wall, emptied }
    }

    /// The time of a packet's stamp. Never before the sockets were last empty, even if the wall clock was set since.
    pub(super) fn instant(&self, stamp: Option<TimeSpec>) -> Instant {
        let age = stamp.map_or(Duration::ZERO, |stamp| self.wall.saturating_sub(Duration::from(stamp)));
        self.now.checked_sub(age).map_or(self.emptied, |at| at.max(self.emptied))
    }
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = || address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4().or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}
