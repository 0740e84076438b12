//! The BFD driver: a separate thread named `bfd`, with real-time priority if the host grants it.
//!
//! ```text
//!   Bfd ── set(whole desired set), report() ─► channel, eventfd ─┐
//!                                                                ▼
//!   ┌───────────────────────── thread ──────────────────────────────────────────────┐
//!   │ ppoll ─► read both clocks ─► commands ─► every packet there is ─► what is due │──► events
//!   │   ▲        UDP 3784, 4784: TTL, interface, kernel stamp                  │    │
//!   │   └──────────── the earliest deadline ◄── Session::handle ◄──────────────┘    │
//!   │                                               └─► the session's own socket    │
//!   └───────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The path of a packet allocates nothing, logs nothing and never waits. Commands, changes of state and lost addresses
//! may allocate. Sessions are a desired set: [`Bfd::set`] applies the differences. A changed timer is negotiated while
//! the session stays Up; a changed address or interface makes a new session; a session that is no longer wanted sends
//! AdminDown for the other side's detection time, and is removed.
//!
//! ```no_run
//! use std::collections::BTreeMap;
//!
//! use vipcast_bgp::bfd::SessionSettings;
//! use vipcast_bgp::net::bfd::{Bfd, Options};
//!
//! # async fn watch() -> Result<(), Box<dyn std::error::Error>> {
//! let (bfd, mut events) = Bfd::start(Options::default())?;
//! println!("{}", bfd.priority());
//! bfd.set(BTreeMap::from([("tor".into(), SessionSettings::new("10.0.0.1".parse()?))]));
//! while let Some(event) = events.recv().await {
//!     println!("{}: {}", event.session, event.transition);
//! }
//! # Ok(())
//! # }
//! ```

mod deadlines;
mod receive;
mod settings;
mod thread;
mod transmit;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub use self::settings::{Options, Priority, Report, SessionReport};
use self::thread::Thread;
use super::frozen::ThawError;
use super::sockopt::realtime;
use super::{Descriptors, clock};
use crate::bfd::{BfdEvent, Sessions};
use crate::frozen;

/// The time-out of a caller that waits for the thread, which answers within microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// The running thread. Dropping this sends an AdminDown for each session, and the thread repeats it for the other
/// sides' detection times; [`Bfd::stop`] waits for that.
#[derive(Debug)]
pub struct Bfd {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    priority: Priority,
    /// Disconnected when the thread ends.
    alive: Receiver<()>,
    /// The thread has ended without a word.
    frozen: bool,
}

/// A command for the thread.
#[derive(Debug)]
enum Command {
    Set(Sessions),
    Report(SyncSender<Report>),
    Slow(Duration),
    IsSlow(Duration, SyncSender<bool>),
    /// Give the state back; no packet is sent any more.
    Freeze(SyncSender<Box<Thread>>),
    /// End all sessions; the sender is used when the first AdminDown of each session was sent.
    Stop(SyncSender<()>),
}

impl Bfd {
    /// Starts the thread, without sessions. The receiver gets every change of state of every desired session, and must
    /// be read.
    ///
    /// # Errors
    /// The kernel has no thread or no eventfd for us. A denied real-time priority is no error: see [`Bfd::priority`].
    pub fn start(options: Options) -> io::Result<(Self, UnboundedReceiver<BfdEvent>)> {
        Self::start_with(options, Ok)
    }

    fn start_with<E: From<io::Error>>(
        options: Options,
        prepare: impl FnOnce(Thread) -> Result<Thread, E>,
    ) -> Result<(Self, UnboundedReceiver<BfdEvent>), E> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let wake = Arc::new(wake.map_err(io::Error::from)?);
        let (events, receiver) = unbounded_channel();
        let (commands, orders) = channel();
        let (granted, grant) = sync_channel(1);
        let (living, alive) = sync_channel(1);
        let thread = prepare(Thread::new(&options, orders, Arc::clone(&wake), events))?;
        std::thread::Builder::new().name("bfd".to_owned()).spawn(move || {
            // An error means that the caller has gone.
            let _caller = granted.send(ask_for(options.priority));
            thread.run();
            drop(living);
        })?;
        let priority = grant.recv().map_err(io::Error::other)?;
        Ok((Self { commands, wake, priority, alive, frozen: false }, receiver))
    }

    /// Ends the thread without a word, and puts its sockets into `descriptors`. Packets wait in them, with the times of
    /// their arrival. Sessions that are ending go on with that after the thaw.
    ///
    /// Events that nobody has read yet stay in the receiver of [`Self::start`].
    ///
    /// # Errors
    /// The thread does not answer within a second.
    pub fn freeze(mut self, descriptors: &mut Descriptors) -> io::Result<frozen::BfdThread> {
        let (answer, answered) = sync_channel(1);
        self.tell(Command::Freeze(answer));
        let thread = answered.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        self.frozen = true;
        Ok(thread.freeze(descriptors))
    }

    /// Goes on where the frozen thread was: what was due meanwhile is sent at once. The options must be the same. The
    /// receiver gets `news` first, the events that nobody had read at the freeze.
    ///
    /// # Errors
    /// The form is damaged; its sockets are closed then.
    pub fn thaw(
        options: Options,
        frozen: &frozen::BfdThread,
        news: Vec<BfdEvent>,
        descriptors: &mut Descriptors,
    ) -> Result<(Self, UnboundedReceiver<BfdEvent>), ThawError> {
        Self::start_with(options, |thread| thread.thaw(frozen, news, descriptors, clock::now()))
    }

    /// Before a pause: negotiates longer timers with the sessions that are Up and whose detection time, in either
    /// direction, is shorter than `least`. [`Self::is_slow`] tells when that is done; the next [`Self::set`] restores
    /// the timers.
    pub fn slow(&self, least: Duration) {
        self.tell(Command::Slow(least));
    }

    /// Whether a pause of less than `least` brings no session down: the other sides know the timers. `None` if the
    /// thread does not answer within a second.
    pub fn is_slow(&self, least: Duration) -> Option<bool> {
        self.ask_is_slow(least).recv_timeout(PATIENCE).ok()
    }

    /// The same for a caller that must not wait.
    pub fn ask_is_slow(&self, least: Duration) -> Receiver<bool> {
        let (answer, answered) = sync_channel(1);
        self.tell(Command::IsSlow(least, answer));
        answered
    }

    /// The scheduling priority of the thread; the caller logs it at start.
    pub fn priority(&self) -> &Priority {
        &self.priority
    }

    /// Replaces the set of desired sessions.
    pub fn set(&self, sessions: Sessions) {
        self.tell(Command::Set(sessions));
    }

    /// A snapshot of all sessions; `None` if the thread does not answer within a second.
    pub fn report(&self) -> Option<Report> {
        let (answer, answered) = sync_channel(1);
        self.tell(Command::Report(answer));
        answered.recv_timeout(PATIENCE).ok()
    }

    /// Ends all sessions with AdminDown and waits for the other sides' detection times, at most `limit`. Returns
    /// whether they have passed.
    pub fn stop(self, limit: Duration) -> bool {
        self.say_goodbye();
        // The channel carries no data; it disconnects when the thread ends.
        self.alive.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
    }

    fn say_goodbye(&self) {
        let (said, done) = sync_channel(1);
        self.tell(Command::Stop(said));
        // A late or ended thread: the caller cannot wait any longer.
        let _done = done.recv_timeout(PATIENCE);
    }

    fn tell(&self, command: Command) {
        // Both fail only if the thread has ended, or did not look after 2⁶⁴ wake-ups.
        if self.commands.send(command).is_ok() {
            let _woken = self.wake.write(1);
        }
    }
}

impl Drop for Bfd {
    fn drop(&mut self) {
        if !self.frozen {
            self.say_goodbye();
        }
    }
}

/// Gives the calling thread a real-time priority, if the host grants it: one less than that of the thread of a [`Bfd`], so
/// that it never keeps that one waiting. It outlives an `execve`: on a busy machine a hand-over would otherwise wait for its
/// turn while BFD is silent.
pub fn hurry() {
    let _granted = ask_for(Options::default().priority.map(|priority| priority.saturating_sub(1).max(1)));
}

/// Ends [`hurry`], also that of the program before.
///
/// # Errors
/// The kernel refuses.
pub fn no_hurry() -> io::Result<()> {
    realtime::set_ordinary()
}

fn ask_for(priority: Option<u8>) -> Priority {
    let Some(priority) = priority else { return Priority::Ordinary(None) };
    match realtime::set_fifo(priority) {
        Ok(()) => Priority::RealTime(priority),
        Err(error) => Priority::Ordinary(Some(error.to_string())),
    }
}
