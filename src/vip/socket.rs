//! A netlink socket, read one datagram at a time. Functions do not wait unless they say so.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockFilter, SockRef};

/// Larger than one write of the kernel (32 KiB).
const DATAGRAM: usize = 64 << 10;
/// Length, type, flags, sequence number, port (struct nlmsghdr).
const HEADER: usize = 16;

/// A socket for routes, links and addresses.
pub(super) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
}

/// The common part of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

impl Netlink {
    /// A socket in these groups with this filter, and with a receive buffer of `room` bytes. The filter only saves
    /// work: without it, the reader drops the same messages.
    ///
    /// # Errors
    /// The system has no socket left.
    pub(super) fn open(room: usize, filter: &[SockFilter], groups: &[u32]) -> io::Result<Self> {
        let netlink = Self::new(room)?;
        // Before the first message.
        if let Err(error) = SockRef::from(&netlink.as_fd()).attach_filter(filter) {
            tracing::debug!(%error, "no packet filter: every route of the host is heard of");
        }
        for group in groups {
            netlink.socket.add_membership(*group)?;
        }
        Ok(netlink)
    }

    /// A socket for requests with strict checking (Linux 4.20): the kernel lists only the requested table of routes. An
    /// older kernel lists all of them.
    ///
    /// # Errors
    /// The system has no socket left.
    pub(super) fn strict(room: usize) -> io::Result<Self> {
        let netlink = Self::new(room)?;
        match netlink.socket.set_netlink_get_strict_chk(true) {
            Err(error) if error.raw_os_error() != Some(Errno::ENOPROTOOPT as i32) => Err(error),
            Ok(()) | Err(_) => Ok(netlink),
        }
    }

    fn new(room: usize) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind_auto()?;
        // Without CAP_NET_ADMIN the buffer is smaller, and overruns cause more listings.
        if setsockopt(&socket, sockopt::RcvBufForce, &room).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &room)?;
        }
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Sends to the kernel, which carries out the request before this returns.
    ///
    /// # Errors
    /// The kernel refuses the message.
    pub(super) fn send(&self, messages: &[u8]) -> io::Result<()> {
        self.socket.send_to(messages, &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// Reads the next datagram; its messages are then in [`Self::frames`]. Returns whether there was one.
    ///
    /// # Errors
    /// ENOBUFS: the buffer overflowed, and messages are lost.
    pub(super) fn receive(&mut self) -> io::Result<bool> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, 0) {
                // Messages of other senders than the kernel are ignored.
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The messages of the last datagram.
    pub(super) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        frames(&self.buffer)
    }

    /// Waits for a datagram, until `deadline`, and reads it.
    ///
    /// # Errors
    /// Like [`Self::receive`], or there was none in time.
    pub(super) fn wait(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            if self.is_readable_before(deadline)? && self.receive()? {
                return Ok(());
            }
        }
    }

    fn is_readable_before(&self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        readable(&[self.as_fd()], Some(left)).map(|readable| readable[0])
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Waits until a descriptor is readable or has an error, or the time is over; returns which ones are ready.
///
/// # Errors
/// The system has no memory for it.
pub(super) fn readable<const N: usize>(
    descriptors: &[BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = descriptors.each_ref().map(|descriptor| PollFd::new(descriptor, PollFlags::IN));
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) => Ok(polled.map(|polled| !polled.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok([false; N]),
        Err(error) => Err(error.into()),
    }
}

/// Whether the receive buffer overflowed.
pub(super) fn is_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENOBUFS as i32)
}

fn frames(datagram: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let &[l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, _, _, _, _] = rest.first_chunk::<HEADER>()?;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let body = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Frame {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            body,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_read_message_by_message_and_a_torn_one_ends_it() {
        let message = |kind: u16, body: &[u8]| {
            let length = u32::try_from(HEADER + body.len()).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(2_u16.to_ne_bytes());
            bytes.extend(7_u32.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let datagram = [message(20, &[1, 2, 3]), message(21, &[])].concat();
        let read: Vec<(u16, u16, u32, &[u8])> =
            frames(&datagram).map(|frame| (frame.kind, frame.flags, frame.sequence, frame.body)).collect();
        assert_eq!(read, [(20, 2, 7, &[1, 2, 3][..]), (21, 2, 7, &[])]);
        assert_eq!(frames(&datagram[..datagram.len() - 1]).count(), 1);
        assert_eq!(frames(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).count(), 0);
        assert_eq!(frames(&[]).count(), 0);
    }
}
