//! A raw ICMPv6 socket on one interface: receives packets with source and hop limit, and sends to all nodes on the
//! link.
//!
//! The kernel passes on only router messages, so that no ping and no neighbor wakes the loop. Joining a group, and
//! leaving it by closing the socket, wait for the kernel's lock of network configuration, which may be held for long
//! while links come and go: a thread does both.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::packet::{ADVERTISEMENT, HOP_LIMIT, Malformed, Packet, SOLICITATION};
use crate::blocking::Threads;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 2);

/// The time-out for joining the group.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket.
#[derive(Debug)]
pub(super) struct LinkSocket {
    /// Not a UDP socket, but sending, receiving and waiting work the same.
    socket: UdpSocket,
    index: u32,
    // After the socket, so that this closes it.
    _closing: Closing,
}

/// The same socket, closed on its own thread.
#[derive(Debug)]
struct Closing(Option<Socket>);

impl Drop for Closing {
    fn drop(&mut self) {
        let socket = self.0.take();
        let thread = thread::Builder::new().name("link".to_owned()).stack_size(64 << 10);
        // Without a thread the socket is closed here.
        drop(thread.spawn(move || drop(socket)));
    }
}

impl LinkSocket {
    /// # Errors
    /// CAP_NET_RAW is missing, the interface is gone, or the kernel is busy with the network's configuration.
    pub(super) async fn open(threads: &Threads, interface: &str, index: u32) -> io::Result<Self> {
        let interface = interface.to_owned();
        let made = threads.within(PATIENCE, move || Self::make(&interface, index)).await;
        let socket = made.map_err(io::Error::other)??;
        let closing = Closing(Some(socket.try_clone()?));
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, index, _closing: closing })
    }

    /// Blocks.
    fn make(interface: &str, index: u32) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking(), Some(Protocol::ICMPV6))?;
        socket.attach_filter(&about_routers())?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_recv_hoplimit_v6(true)?;
        socket.set_multicast_hops_v6(HOP_LIMIT.unsigned_abs())?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_loop_v6(false)?;
        socket.join_multicast_v6(&ALL_ROUTERS, index)?;
        Ok(socket)
    }

    /// The next router message. Cancel-safe: a packet is taken only when it is returned.
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

    /// Sends a packet to all nodes. A packet without room in the socket is lost, like one lost on the way.
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

/// Passes on router solicitations and advertisements: a packet begins with its type.
fn about_routers() -> [SockFilter; 5] {
    let step = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    [
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 0),
        // Jumps over the next two, or over one, or none.
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, SOLICITATION.into()),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, ADVERTISEMENT.into()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    #[tokio::test]
    async fn only_what_is_about_routers_wakes_the_loop() {
        let threads = Threads::new("link", 1);
        let socket = match LinkSocket::open(&threads, "lo", 1).await {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                eprintln!("SKIPPED: raw sockets need CAP_NET_RAW");
                return;
            }
            opened => opened.unwrap(),
        };
        let other = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
        let to = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
        // Echo request, which is also answered, neighbor solicitation and advertisement, and an unassigned type.
        for kind in [128, 135, 136, 1, ADVERTISEMENT, 128, SOLICITATION] {
            other.send_to(&[kind, 0, 0, 0, 0, 0, 0, 0], &to.into()).unwrap();
        }
        let limit = Duration::from_secs(60);
        for _ in 0..2 {
            let (source, _) = tokio::time::timeout(limit, socket.receive()).await.unwrap().unwrap();
            assert_eq!(source, Ipv6Addr::LOCALHOST);
        }
        assert_eq!(socket.take().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
