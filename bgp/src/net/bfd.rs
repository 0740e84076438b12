//! The BFD driver: a thread of its own, named `bfd`, with real-time priority where that is granted.
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
//! A packet that comes or goes allocates nothing, logs nothing and waits for nobody. What the operator does, a change of
//! state and an address that is gone may allocate. Sessions are a desired set: [`Bfd::set`] changes what differs. A changed timer is
//! negotiated while the session stays Up; a changed address or interface makes a new session; one that is no longer
//! wanted says AdminDown for as long as the other needs to notice, and is forgotten.
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
use super::sockopt::realtime;
use crate::bfd::{BfdEvent, Sessions};

/// How long a caller waits for the thread, which answers within microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// The running thread. Dropping this hands an AdminDown for each session to the kernel, and leaves the thread to repeat
/// it for as long as the others need to notice; [`Bfd::stop`] waits for that.
#[derive(Debug)]
pub struct Bfd {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    priority: Priority,
    /// Gone when the thread is.
    alive: Receiver<()>,
}

/// What the thread is told.
#[derive(Debug)]
enum Command {
    Set(Sessions),
    Report(SyncSender<Report>),
    /// Say goodbye; the sender is used when the first goodbye of each session was sent.
    Stop(SyncSender<()>),
}

impl Bfd {
    /// Starts the thread, with no sessions. The receiver has every change of state of every session that is wanted, and
    /// must be read.
    ///
    /// # Errors
    /// The kernel has no thread or no eventfd for us. That real-time priority is not granted is no error: see
    /// [`Bfd::priority`].
    pub fn start(options: Options) -> io::Result<(Self, UnboundedReceiver<BfdEvent>)> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let (events, receiver) = unbounded_channel();
        let (commands, orders) = channel();
        let (granted, grant) = sync_channel(1);
        let (living, alive) = sync_channel(1);
        let theirs = Arc::clone(&wake);
        std::thread::Builder::new().name("bfd".to_owned()).spawn(move || {
            // Nobody waits for it if the caller is gone.
            let _caller = granted.send(ask_for(options.priority));
            Thread::new(&options, orders, theirs, events).run();
            drop(living);
        })?;
        let priority = grant.recv().map_err(io::Error::other)?;
        Ok((Self { commands, wake, priority, alive }, receiver))
    }

    /// How the thread competes for a processor; to be logged at start.
    pub fn priority(&self) -> &Priority {
        &self.priority
    }

    /// From now on exactly these sessions.
    pub fn set(&self, sessions: Sessions) {
        self.tell(Command::Set(sessions));
    }

    /// Everything about all sessions; `None` when the thread does not answer within a second.
    pub fn report(&self) -> Option<Report> {
        let (answer, answered) = sync_channel(1);
        self.tell(Command::Report(answer));
        answered.recv_timeout(PATIENCE).ok()
    }

    /// Ends all sessions with AdminDown and waits until the others had their detection times to notice, at most for
    /// `limit`. Whether they had.
    pub fn stop(self, limit: Duration) -> bool {
        self.say_goodbye();
        // Nothing is ever sent; it ends when the thread drops its end.
        self.alive.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
    }

    fn say_goodbye(&self) {
        let (said, done) = sync_channel(1);
        self.tell(Command::Stop(said));
        // Late or gone: there is nothing left to wait for.
        let _done = done.recv_timeout(PATIENCE);
    }

    fn tell(&self, command: Command) {
        // Either fails only when the thread is gone, or when it has been woken 2⁶⁴ times and has not looked.
        if self.commands.send(command).is_ok() {
            let _woken = self.wake.write(1);
        }
    }
}

impl Drop for Bfd {
    fn drop(&mut self) {
        self.say_goodbye();
    }
}

fn ask_for(priority: Option<u8>) -> Priority {
    let Some(priority) = priority else { return Priority::Ordinary(None) };
    match realtime::set_fifo(priority) {
        Ok(()) => Priority::RealTime(priority),
        Err(error) => Priority::Ordinary(Some(error.to_string())),
    }
}
