//! The thread that receives the kernel's notifications, and the only one that sends events to the engine.
//!
//! ```text
//!  kernel ── notifications ──► listener ── events ──► engine
//!  requester ── answers, listings ──┘
//! ```
//!
//! Answers and notifications come on two sockets, so their order is lost; but the kernel notifies before it answers. So
//! this thread takes the requester's answers first, then reads all notifications and sends their events, and only then
//! those of the answers. Between two answers an address may have come and gone; the events show that.
//!
//! The kernel may notify about an IPv6 address only after the answer. Such an answer waits a moment for the
//! notification ([`LATE`]).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::{mpsc, oneshot};
use vipcast_bgp::net::words::io_error;
use vipcast_node::engine::{Asked, Binding, Event, Kind};

use super::message;
use super::note::Notes;
use super::requester::{Done, Job, Refusal};
use super::route;
use super::socket::{Netlink, is_overrun, readable};
use super::view::View;
use crate::log::trouble;

/// RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE (linux/rtnetlink.h).
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
/// The receive buffer, for some twenty thousand notifications. The kernel uses memory only for waiting ones.
const ROOM: usize = 16 << 20;
/// The interval between periodic listings.
const AUDIT: Duration = Duration::from_secs(20);
/// The wait of an answer for its notification.
const LATE: Duration = Duration::from_millis(50);
/// The pause before a failed listing is repeated.
const PAUSE: Duration = Duration::from_secs(1);

/// A socket for notifications about links, addresses and local routes.
///
/// # Errors
/// The system has no socket left.
pub(super) fn subscribe() -> io::Result<Netlink> {
    Netlink::open(ROOM, &route::filter(), &GROUPS)
}

pub(super) struct Listener {
    pub(super) socket: Netlink,
    pub(super) view: View,
    pub(super) jobs: Sender<Job>,
    pub(super) done: Receiver<Done>,
    pub(super) wake: Arc<OwnedFd>,
    pub(super) events: mpsc::UnboundedSender<Event>,
    pub(super) notes: Notes,
    /// Signalled at the first listing.
    pub(super) ready: Option<oneshot::Sender<()>>,
    /// Added bindings without a notification yet, with the end of the wait.
    pub(super) late: VecDeque<(Binding, Instant)>,
    /// When a listing is due.
    pub(super) list_at: Instant,
    /// Whether a listing is under way.
    pub(super) lists: bool,
}

impl Listener {
    pub(super) fn run(mut self) {
        loop {
            self.list_if_due();
            let list_at = (!self.lists).then_some(self.list_at);
            let late = self.late.front().map(|(_, until)| *until);
            let due = list_at.into_iter().chain(late).min();
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
            if let Err(error) = readable(&[self.socket.as_fd(), self.wake.as_fd()], timeout) {
                trouble!(%error, "cannot wait for address changes: trying again");
                std::thread::sleep(PAUSE);
            }
            // An empty read is fine: the descriptor only wakes this thread.
            rustix::io::read(&*self.wake, &mut [0; 8]).ok();
            let done: Vec<Done> = self.done.try_iter().collect();
            self.hear();
            self.tell_late();
            for done in done {
                match done {
                    Done::Answers(answers) => {
                        for (binding, asked, result) in answers {
                            self.answered(binding, asked, result);
                        }
                    }
                    Done::Listing(listing) => {
                        self.lists = false;
                        match listing {
                            Ok(listing) => self.listed(listing),
                            Err(error) => {
                                trouble!(%error, "cannot list the host's addresses: trying again");
                                self.list_at = self.list_at.min(Instant::now() + PAUSE);
                            }
                        }
                    }
                    Done::Stopped => return,
                }
            }
        }
    }

    fn tell(&self, event: Event) {
        drop(self.events.send(event));
    }

    /// Requests a listing as soon as possible.
    fn list_soon(&mut self) {
        self.list_at = Instant::now();
    }

    fn list_if_due(&mut self) {
        if !self.lists && self.list_at <= Instant::now() {
            self.view.asks();
            self.lists = true;
            self.list_at = Instant::now() + AUDIT;
            drop(self.jobs.send(Job::List));
        }
    }

    /// Reads all waiting notifications.
    fn hear(&mut self) {
        let mut flushed = false;
        loop {
            match self.socket.receive() {
                Ok(false) => {
                    if flushed {
                        self.list_soon();
                    }
                    return;
                }
                Ok(true) => {
                    for frame in self.socket.frames() {
                        let Some(notice) = message::read(frame.kind, frame.body) else { continue };
                        let news = self.view.heard(self.notes.owned(notice));
                        flushed |= news.iter().any(|event| takes_routes_along(event, &self.view));
                        for event in news {
                            // An error occurs only while the daemon ends.
                            drop(self.events.send(event));
                        }
                    }
                }
                Err(error) if is_overrun(&error) => {
                    tracing::debug!("more addresses changed than could be told: asking for all");
                    self.list_soon();
                }
                Err(error) => {
                    trouble!(%error, "cannot read address changes: trying again");
                    std::thread::sleep(PAUSE);
                    if let Ok(socket) = subscribe() {
                        self.socket = socket;
                    }
                    self.list_soon();
                    return;
                }
            }
        }
    }

    fn listed(&mut self, listing: vipcast_node::engine::Listing) {
        let first = !self.view.is_listed();
        if let Some(event) = self.view.listed(listing) {
            if !first {
                tracing::debug!("a listing of addresses differs from what was told");
            }
            self.tell(event);
        }
        if let Some(ready) = self.ready.take() {
            ready.send(()).ok();
        }
    }

    /// Sends the answers whose notification has come, or whose wait is over.
    fn tell_late(&mut self) {
        while let Some((binding, until)) = self.late.front().copied()
            && (self.view.has(&binding) || until <= Instant::now())
        {
            self.late.pop_front();
            self.tell(Event::Answered(binding, Ok(())));
        }
    }

    fn answered(&mut self, binding: Binding, asked: Asked, result: Result<(), Refusal>) {
        let suspicious = match (&result, asked) {
            // The request may have been carried out.
            (Err(Refusal::Silent(_)), _) => true,
            (Err(Refusal::Kernel(Errno::EEXIST)), Asked::Bind) => !self.view.has(&binding),
            (Ok(()), Asked::Unbind) => self.view.has(&binding),
            (Ok(()) | Err(Refusal::Kernel(_)), _) => false,
        };
        if suspicious {
            self.list_soon();
        }
        if result.is_ok() && asked == Asked::Bind && !self.view.has(&binding) {
            self.late.push_back((binding, Instant::now() + LATE));
            return;
        }
        let result =
            result.map_err(|refusal| in_words(&binding, &self.view.name_of(binding.index), &refusal));
        self.tell(Event::Answered(binding, result));
    }
}

/// Whether local routes may be gone without a notification: IPv4 routes of an interface go with the interface, and with
/// its last IPv4 address, which on the loopback interface is never a VIP.
fn takes_routes_along(event: &Event, view: &View) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "only these events matter")]
    match event {
        Event::Link(index, _) => *index == view.loopback(),
        Event::Removed(Binding { ip, kind: Kind::Address { .. }, .. }) => ip.is_loopback(),
        _other => false,
    }
}

/// The reason of a failed request, with the fix for common causes.
fn in_words(binding: &Binding, interface: &str, refusal: &Refusal) -> String {
    match refusal {
        Refusal::Kernel(Errno::EPERM) => "not permitted: CAP_NET_ADMIN is needed".to_owned(),
        // In sysctl, `/` stands for a `.` in a name.
        Refusal::Kernel(Errno::EACCES) if binding.ip.is_ipv6() => {
            let interface = interface.replace('.', "/");
            format!("IPv6 is disabled there: net.ipv6.conf.{interface}.disable_ipv6 is 1")
        }
        Refusal::Kernel(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) if binding.ip.is_ipv6() => {
            "this kernel has no IPv6: ipv6.disable=1, or the module is missing".to_owned()
        }
        Refusal::Kernel(errno) => io_error(&(*errno).into()),
        Refusal::Silent(error) => format!("the kernel did not answer: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_that_is_disabled_is_said_by_its_sysctl() {
        let v6 = Binding::host("2001:db8::10".parse().unwrap(), 1);
        let v4 = Binding::host("192.0.2.10".parse().unwrap(), 1);
        for (address, interface, errno, words) in [
            (v6, "lo", Errno::EACCES, "IPv6 is disabled there: net.ipv6.conf.lo.disable_ipv6 is 1"),
            (v6, "eth0.5", Errno::EACCES, "IPv6 is disabled there: net.ipv6.conf.eth0/5.disable_ipv6 is 1"),
            (
                v6,
                "lo",
                Errno::EOPNOTSUPP,
                "this kernel has no IPv6: ipv6.disable=1, or the module is missing",
            ),
            (v4, "lo", Errno::EACCES, "permission denied"),
            (v4, "lo", Errno::EPERM, "not permitted: CAP_NET_ADMIN is needed"),
            (v4, "lo", Errno::EEXIST, "file exists"),
        ] {
            assert_eq!(in_words(&address, interface, &Refusal::Kernel(errno)), words);
        }
    }
}
