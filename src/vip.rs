//! The addresses and local routes of this host: listed, added, removed, and watched.
//!
//! ```text
//!  engine ── Bind, Unbind ──► requester ── requests ──► kernel
//!                                │ answers, listings      │ notifications
//!  engine ◄────── events ─────  listener ◄───────────────┘
//! ```
//!
//! Two threads, because the kernel may be slow with a request, and neither the daemon's loop nor the event of a lost
//! address may wait for that. Only the kernel's notifications and listings are facts, in its order (`view`); an answer
//! only ends a request. Listings are requested at the start, when notifications were lost, when an answer does not
//! match, and periodically.
//!
//! Our addresses carry the address protocol 86 (IFA_PROTO, Linux 5.18), our routes the route protocol 86, so that the
//! next daemon after a crash recognises them; the kernel itself is the state file (I3). The lock of the network
//! namespace ([`namespace`]) ensures that no other live daemon has such addresses. On older kernels a note in the state
//! directory replaces the mark.

mod here;
mod listener;
mod message;
pub mod namespace;
mod note;
mod requester;
mod route;
mod socket;
mod view;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc as sync};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::{mpsc, oneshot};
use vipcast_node::engine::{Asked, Binding, Event, Listing};
use vipcast_node::input::Input;
use vipcast_node::notice::Notice;

pub use self::here::Here;
use self::listener::{Listener, subscribe};
use self::note::Notes;
use self::requester::{Job, Requester};
use self::view::View;

/// The longest wait of the start for the first listing.
const FIRST_LISTING: Duration = Duration::from_secs(2);

/// The reason why the addresses of the host cannot be managed.
#[derive(Debug, thiserror::Error)]
pub enum VipError {
    /// The netlink socket cannot be made.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// A thread cannot be made.
    #[error("cannot start the threads of addresses")]
    Thread(#[source] io::Error),
}

/// Adds and removes addresses and local routes. Dropping it ends the threads; the addresses and routes stay.
#[derive(Debug)]
pub struct Binder {
    jobs: sync::Sender<Job>,
    /// Requests that were not sent yet.
    changes: Vec<(Binding, Asked)>,
    here: Here,
}

impl Binder {
    /// Starts the threads. The first event is [`Event::Listed`]; it is available when this returns. If the kernel is
    /// very slow, this returns a notice instead. Without a `state_dir` there is no note of our addresses.
    ///
    /// # Errors
    /// The host has no netlink, or no thread.
    pub async fn start(
        events: mpsc::UnboundedSender<Event>,
        state_dir: Option<&Path>,
    ) -> Result<(Self, Option<Input>), VipError> {
        let notes = match state_dir {
            Some(state_dir) => Notes::of_host(state_dir).await,
            None => Notes::default(),
        };
        let socket = subscribe().map_err(VipError::Socket)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let wake = Arc::new(wake.map_err(|error| VipError::Socket(error.into()))?);
        let (jobs, asked) = sync::channel();
        let (answers, done) = sync::channel();
        let (ready, listed) = oneshot::channel();
        let here = Here::default();
        let requester = Requester {
            jobs: asked,
            done: answers,
            wake: Arc::clone(&wake),
            notes: notes.clone(),
            socket: None,
            sequence: 0,
        };
        let listener = Listener {
            socket,
            view: View::new(here.clone()),
            jobs: jobs.clone(),
            done,
            wake,
            events,
            notes,
            ready: Some(ready),
            late: VecDeque::new(),
            list_at: Instant::now(),
            lists: false,
        };
        let thread = |name: &str| thread::Builder::new().name(name.to_owned()).stack_size(256 << 10);
        thread("netlink").spawn(move || requester.run()).map_err(VipError::Thread)?;
        thread("addresses").spawn(move || listener.run()).map_err(VipError::Thread)?;
        let is_late = tokio::time::timeout(FIRST_LISTING, listed).await.is_err();
        let noticed = is_late.then_some(Input::Noticed(Notice::AddressesUnlisted));
        Ok((Self { jobs, changes: Vec::new(), here }, noticed))
    }

    /// The addresses of this host, from the kernel.
    pub fn here(&self) -> Here {
        self.here.clone()
    }

    /// Adds or removes a binding with the next [`Self::ask`]. The answer is [`Event::Answered`]; the change itself is a
    /// separate event.
    pub fn change(&mut self, binding: Binding, asked: Asked) {
        self.changes.push((binding, asked));
    }

    /// Sends all requests to the kernel, in their order.
    pub fn ask(&mut self) {
        if !self.changes.is_empty() {
            // The thread lives as long as the binder.
            drop(self.jobs.send(Job::Change(std::mem::take(&mut self.changes))));
        }
    }
}

/// The interfaces, addresses and local routes of this host at this moment. Blocks.
///
/// # Errors
/// The kernel does not answer.
pub fn listing() -> io::Result<Listing> {
    requester::list()
}

impl Drop for Binder {
    fn drop(&mut self) {
        drop(self.jobs.send(Job::Stop));
    }
}
