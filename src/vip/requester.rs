//! The thread that sends requests to the kernel: to add and remove addresses and local routes, and for listings.
//!
//! The kernel carries out a request while it is sent, and any holder of its lock of network configuration (a driver, a
//! tool with ten thousand addresses) delays it. So only this thread sends requests. Its socket is in no group, so that
//! notifications cannot crowd out an answer. After an error or a silence the socket is replaced, and its requests count
//! as refused; the next listing shows whether they were carried out.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rustix::event::{EventfdFlags, eventfd};
use vipcast_node::engine::{Asked, Binding, Listing};

use super::message::{self, Notice};
use super::note::Notes;
use super::socket::{Frame, Netlink};

/// The most requests that are sent and answered together.
const AT_ONCE: usize = 128;
/// The receive buffer, for their answers and for a part of a listing.
const ROOM: usize = 1 << 20;
/// The time-out of an answer. The kernel writes it before it takes the next request.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most repeats of a listing that was interrupted by a change.
const TRIES: u32 = 20;
/// The pause before a repeat.
const PAUSE: Duration = Duration::from_millis(20);

/// linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// A job of the thread.
#[derive(Debug)]
pub(super) enum Job {
    Change(Vec<(Binding, Asked)>),
    List,
    Stop,
}

/// The result of a job.
#[derive(Debug)]
pub(super) enum Done {
    Answers(Vec<(Binding, Asked, Result<(), Refusal>)>),
    Listing(io::Result<Listing>),
    Stopped,
}

/// The reason of a failed request.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The kernel's error.
    Kernel(Errno),
    /// There was no answer.
    Silent(io::Error),
}

pub(super) struct Requester {
    pub(super) jobs: Receiver<Job>,
    pub(super) done: Sender<Done>,
    /// Written when `done` has a result.
    pub(super) wake: Arc<OwnedFd>,
    pub(super) notes: Notes,
    /// Opened on demand, and again after an error.
    pub(super) socket: Option<Netlink>,
    pub(super) sequence: u32,
}

/// A listing of this moment, for a caller without a daemon. Addresses that only its note knows as ours are another
/// program's here. Blocks.
///
/// # Errors
/// The kernel does not answer.
pub(super) fn list() -> io::Result<Listing> {
    let ((_, jobs), (done, _)) = (mpsc::channel(), mpsc::channel());
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    Requester { jobs, done, wake, notes: Notes::default(), socket: None, sequence: 0 }.list()
}

impl Requester {
    pub(super) fn run(mut self) {
        let mut next = None;
        while let Some(job) = next.take().or_else(|| self.jobs.recv().ok()) {
            match job {
                Job::Change(mut changes) => {
                    while changes.len() < AT_ONCE
                        && let Ok(job) = self.jobs.try_recv()
                    {
                        match job {
                            Job::Change(more) => changes.extend(more),
                            Job::List | Job::Stop => {
                                next = Some(job);
                                break;
                            }
                        }
                    }
                    for batch in changes.chunks(AT_ONCE) {
                        let answers = self.change(batch);
                        self.tell(Done::Answers(answers));
                    }
                }
                Job::List => {
                    let listing = self.list();
                    self.tell(Done::Listing(listing));
                }
                Job::Stop => break,
            }
        }
        self.tell(Done::Stopped);
    }

    fn tell(&self, done: Done) {
        // An error occurs only while the daemon ends. A full counter also wakes the listener.
        drop(self.done.send(done));
        rustix::io::write(&*self.wake, &1_u64.to_ne_bytes()).ok();
    }

    fn change(&mut self, batch: &[(Binding, Asked)]) -> Vec<(Binding, Asked, Result<(), Refusal>)> {
        let binds = batch.iter().filter(|(_, asked)| *asked == Asked::Bind);
        // Before the request, so that a crash between the two leaves a superfluous entry, never an unknown address.
        self.notes.add(binds.map(|(binding, _)| *binding));
        let messages = batch.iter().map(|(binding, asked)| message::change(binding, *asked)).collect();
        let (answers, failed) = self.ask(messages);
        let answers: Vec<_> = (batch.iter().copied().zip(answers))
            .map(|((binding, asked), answer)| {
                let result = match (answer, asked) {
                    (Some(Ok(())), _) => Ok(()),
                    // The binding or its interface is already gone.
                    (Some(Err(Errno::EADDRNOTAVAIL | Errno::ESRCH | Errno::ENODEV)), Asked::Unbind) => Ok(()),
                    (Some(Err(errno)), _) => Err(Refusal::Kernel(errno)),
                    (None, _) => Err(Refusal::Silent(silence(failed.as_ref()))),
                };
                (binding, asked, result)
            })
            .collect();
        let not_ours = answers.iter().filter(|(_, asked, result)| match (asked, result) {
            (Asked::Bind, Err(Refusal::Kernel(_))) | (Asked::Unbind, Ok(())) => true,
            (Asked::Bind | Asked::Unbind, _) => false,
        });
        self.notes.remove(not_ours.map(|(binding, ..)| *binding));
        answers
    }

    /// Sends messages together, and collects their answers: `None` if the socket failed meanwhile.
    fn ask(
        &mut self,
        mut messages: Vec<NetlinkMessage<RouteNetlinkMessage>>,
    ) -> (Vec<Option<Result<(), Errno>>>, Option<io::Error>) {
        let first = self.sequence.wrapping_add(1);
        for message in &mut messages {
            self.sequence = self.sequence.wrapping_add(1);
            message.header.sequence_number = self.sequence;
        }
        let mut answers: Vec<Option<Result<(), Errno>>> = messages.iter().map(|_| None).collect();
        let mut open = answers.len();
        let outcome = self.exchange(&mut messages, |frame| {
            let position = usize::try_from(frame.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
            if let (NLMSG_ERROR, Some(answer)) = (frame.kind, answers.get_mut(position)) {
                open -= usize::from(answer.is_none());
                *answer = Some(errno(frame.body));
            }
            open == 0
        });
        (answers, outcome.err())
    }

    /// A complete listing, of one moment if possible.
    fn list(&mut self) -> io::Result<Listing> {
        // As often as listings are requested.
        self.notes.save_again();
        let mut tries = 0;
        loop {
            tries += 1;
            let mut listing = Listing::default();
            let mut whole = true;
            for question in message::listings() {
                whole &= self.list_one(question, &mut listing)?;
            }
            if whole || tries == TRIES {
                return Ok(listing);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Returns whether the host did not change meanwhile.
    fn list_one(
        &mut self,
        mut question: NetlinkMessage<RouteNetlinkMessage>,
        listing: &mut Listing,
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        question.header.sequence_number = self.sequence;
        let (sequence, notes) = (self.sequence, self.notes.clone());
        let (mut whole, mut refused) = (true, None);
        self.exchange(&mut [question], |frame| {
            if frame.sequence != sequence {
                return false;
            }
            whole &= frame.flags & NLM_F_DUMP_INTR == 0;
            if matches!(frame.kind, NLMSG_DONE | NLMSG_ERROR) {
                refused = errno(frame.body).err();
                return true;
            }
            match message::read(frame.kind, frame.body).map(|notice| notes.owned(notice)) {
                Some(Notice::Link(index, Some(link))) => drop(listing.links.insert(index, link)),
                Some(Notice::Added(binding, fact)) => drop(listing.bindings.insert(binding, fact)),
                Some(Notice::Link(_, None) | Notice::Removed(_)) | None => {}
            }
            false
        })?;
        match refused {
            // A kernel without policy routing for IPv6 has no table local.
            None | Some(Errno::ENOENT) => Ok(whole),
            Some(errno) => Err(errno.into()),
        }
    }

    /// Sends messages and reads until `each` is done. After an error the socket is replaced.
    fn exchange(
        &mut self,
        messages: &mut [NetlinkMessage<RouteNetlinkMessage>],
        mut each: impl FnMut(Frame<'_>) -> bool,
    ) -> io::Result<()> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => Netlink::strict(ROOM)?,
        };
        let mut bytes = Vec::new();
        for message in messages {
            message.finalize();
            let begin = bytes.len();
            bytes.resize(begin + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[begin..]);
        }
        socket.send(&bytes)?;
        let mut enough = false;
        while !enough {
            // The time-out restarts with each datagram.
            socket.wait(Instant::now() + PATIENCE)?;
            for frame in socket.frames() {
                enough |= each(frame);
            }
        }
        self.socket = Some(socket);
        Ok(())
    }
}

/// The first field of NLMSG_ERROR and NLMSG_DONE: zero, or a negative error number.
fn errno(body: &[u8]) -> Result<(), Errno> {
    match body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code)) {
        0 => Ok(()),
        code => Err(Errno::from_raw(code.saturating_neg())),
    }
}

fn silence(cause: Option<&io::Error>) -> io::Error {
    cause.map_or_else(
        || io::ErrorKind::TimedOut.into(),
        |error| io::Error::new(error.kind(), error.to_string()),
    )
}
