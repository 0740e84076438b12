//! The thread that tracks the host's links and addresses: it reads them once, and then follows the kernel's
//! notifications.
//!
//! ```text
//!  kernel ── RTM_NEWADDR, … ──► thread "lookout" ── Host ──► watch channel ──► peer tasks
//! ```
//!
//! A host may have tens of thousands of foreign addresses that come and go in bursts; this thread keeps their cost away
//! from the sessions. The first change after a quiet time is passed on at once, further ones at most ten times a
//! second. When the socket overflows, everything is read again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use tokio::sync::watch;

use super::clock;
use super::notices::Notices;
use super::rtnetlink::{Message, Question, messages};
use crate::host::Host;
use crate::notice::Notice;
use crate::time::Instant;

/// The shortest time between two snapshots.
const PACE: Duration = Duration::from_millis(100);
/// The pause between two attempts to read the host.
const AGAIN: Duration = Duration::from_secs(1);
/// The kernel writes at most 32 KiB at a time.
const DATAGRAM: usize = 64 << 10;
/// The receive buffer, if the kernel grants it: some 10,000 changes.
const RECEIVE_BUFFER: usize = 8 << 20;
/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR (linux/rtnetlink.h).
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// The handle of the thread. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Lookout {
    host: watch::Receiver<Host>,
    /// Closed when this is dropped, which ends the thread.
    _stop: Option<UnixStream>,
}

impl Lookout {
    /// Starts the thread. Without it the host's addresses are unknown, and only the sessions' own addresses are next
    /// hops.
    pub(super) fn start(notices: Notices) -> Self {
        let (pictures, host) = watch::channel(Host::default());
        let unknown = notices.clone();
        let started = UnixStream::pair().and_then(|(stop, stopped)| {
            let thread = std::thread::Builder::new().name("lookout".to_owned()).stack_size(128 << 10);
            thread.spawn(move || run(&stopped, &pictures, &notices)).map(|_thread| stop)
        });
        let tell = |error: &io::Error| unknown.tell(Notice::HostUnknown { error: error.to_string() });
        Self { host, _stop: started.inspect_err(tell).ok() }
    }

    /// The host's links and addresses, and their changes.
    pub(super) fn host(&self) -> watch::Receiver<Host> {
        self.host.clone()
    }
}

fn run(stopped: &UnixStream, pictures: &watch::Sender<Host>, notices: &Notices) {
    loop {
        match Watch::open().and_then(|watch| watch.run(stopped, pictures, notices)) {
            Ok(()) => return,
            Err(error) => {
                notices.tell(Notice::HostUnheard { error: error.to_string() });
                if wait(stopped, None, AGAIN).is_ok_and(|(stop, _)| stop) {
                    return;
                }
            }
        }
    }
}

/// A socket, and the host as read from it.
struct Watch {
    socket: OwnedFd,
    host: Host,
    /// The remaining questions, and whether an answer is awaited.
    asking: Asking,
    sequence: u32,
    /// When it was last begun to ask for everything.
    asked_at: Option<Instant>,
    /// Whether the host differs from the last snapshot.
    is_news: bool,
    told_at: Option<Instant>,
    /// The time when the socket was last empty, read just before.
    empty_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// Notifications were lost, or an answer is torn: start again when the socket is empty, but not more often than
    /// pictures are told.
    Afresh,
    For(Question),
    Nothing,
}

impl Watch {
    fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        // A size above the system's limit needs CAP_NET_ADMIN.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Self {
            socket,
            host: Host::default(),
            asking: Asking::Afresh,
            sequence: 0,
            asked_at: None,
            is_news: false,
            told_at: None,
            empty_at: None,
        })
    }

    /// Runs until the other end of `stopped` is closed.
    fn run(
        mut self,
        stopped: &UnixStream,
        pictures: &watch::Sender<Host>,
        notices: &Notices,
    ) -> io::Result<()> {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let before = clock::now();
            let is_empty = self.read(&mut buffer, notices)?;
            if is_empty {
                self.empty_at = Some(before);
            }
            let (due, now) = (self.due(), clock::now());
            if due.is_some_and(|due| due <= now) {
                match self.asking {
                    Asking::Afresh if is_empty => self.ask_afresh(now)?,
                    Asking::Afresh => {}
                    Asking::For(_) | Asking::Nothing => self.tell(pictures, is_empty, now),
                }
                continue;
            }
            if is_empty {
                let patience = due.map_or(Duration::MAX, |due| due - now);
                if wait(stopped, Some(&self.socket), patience)?.0 {
                    return Ok(());
                }
            }
        }
    }

    /// Reads a datagram. Returns whether there was none.
    fn read(&mut self, buffer: &mut [u8], notices: &Notices) -> io::Result<bool> {
        let length = match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
            Ok(length) => length,
            Err(Errno::EAGAIN) => return Ok(true),
            Err(Errno::EINTR) => return Ok(false),
            Err(Errno::ENOBUFS) => {
                notices.tell(Notice::HostMissed);
                self.asking = Asking::Afresh;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        for message in messages(buffer.get(..length).unwrap_or_default()) {
            match message {
                Message::Change(change) => self.is_news |= self.host.fold(change),
                // All answers here are to our own questions, or to those before a fresh start.
                Message::Torn => self.asking = Asking::Afresh,
                Message::Done => match self.asking {
                    Asking::For(Question::Links) => self.ask(Question::Addresses)?,
                    Asking::For(Question::Addresses) => {
                        self.asking = Asking::Nothing;
                        self.is_news = true;
                    }
                    Asking::Afresh | Asking::Nothing => {}
                },
                Message::Refused(errno) => return Err(io::Error::from_raw_os_error(errno)),
            }
        }
        Ok(false)
    }

    fn ask_afresh(&mut self, now: Instant) -> io::Result<()> {
        self.host = Host::default();
        self.asked_at = Some(now);
        self.ask(Question::Links)
    }

    fn ask(&mut self, question: Question) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.asking = Asking::For(question);
        send(self.socket.as_raw_fd(), &question.encode(self.sequence), MsgFlags::empty())?;
        Ok(())
    }

    /// When the next question for everything, or the next snapshot is due. `None` while an answer is awaited, or nothing is new.
    fn due(&self) -> Option<Instant> {
        let last = match self.asking {
            Asking::Afresh => self.asked_at,
            Asking::Nothing if self.is_news => self.told_at,
            Asking::For(_) | Asking::Nothing => return None,
        };
        Some(last.map_or(Instant::BOOT, |at| at + PACE))
    }

    fn tell(&mut self, pictures: &watch::Sender<Host>, is_empty: bool, now: Instant) {
        self.host.complete_at = self.empty_at;
        pictures.send_replace(self.host.clone());
        self.told_at = Some(now);
        // In the middle of a burst the snapshot may be incomplete; another one follows.
        self.is_news = !is_empty;
    }
}

/// Waits. Returns whether to stop, and whether the socket is readable.
fn wait(stopped: &UnixStream, socket: Option<&OwnedFd>, patience: Duration) -> io::Result<(bool, bool)> {
    let mut descriptors = vec![PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
    descriptors.extend(socket.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
    // Rounded up, so that the thread does not spin for the last part of a millisecond.
    let milliseconds = i32::try_from(patience.as_micros().div_ceil(1000)).ok();
    let timeout =
        milliseconds.map_or(PollTimeout::NONE, |ms| PollTimeout::try_from(ms).unwrap_or(PollTimeout::NONE));
    match poll(&mut descriptors, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = descriptors.iter().map(|descriptor| descriptor.any().unwrap_or(true));
    Ok((ready.next().unwrap_or(false), ready.next().unwrap_or(false)))
}
