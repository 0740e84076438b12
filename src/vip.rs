//! The addresses and local routes of this host: what is there, put on, taken off, and watched.
//!
//! ```text
//!  engine ── Bind, Unbind ──► requester ── requests ──► kernel
//!                                │ answers, listings      │ notifications
//!  engine ◄────── events ─────  listener ◄───────────────┘
//! ```
//!
//! Two threads, because the kernel may take its time with a request, and neither the daemon's loop nor the news of an
//! address that vanishes waits for that. The kernel's notifications and listings are believed, in its order (`view`);
//! an answer to a request closes a question. Listings are asked for at the start, when notifications were lost, when an
//! answer does not fit, and from time to time.
//!
//! Our addresses carry the address protocol 86 (IFA_PROTO, Linux 5.18), our routes the route protocol 86, so that whoever
//! comes after a crash knows them as ours; the kernel itself is the state file (I3). That no other daemon that lives has any of
//! them is what the lock of the network namespace is for ([`namespace`]). Older kernels: a note of the addresses in the state
//! directory instead.

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
use vipcast_node::engine::{Asked, Binding, Event};
use vipcast_node::input::Input;
use vipcast_node::notice::Notice;

pub use self::here::Here;
use self::listener::{Listener, subscribe};
use self::note::Notes;
use self::requester::{Job, Requester};
use self::view::View;

/// How long the start waits for the first listing. A kernel that is busy for longer is waited for by nobody.
const FIRST_LISTING: Duration = Duration::from_secs(2);

/// Why the addresses of the host cannot be managed.
#[derive(Debug, thiserror::Error)]
pub enum VipError {
    /// The netlink socket cannot be made.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// A thread cannot be made.
    #[error("cannot start the threads of addresses")]
    Thread(#[source] io::Error),
}

/// Puts addresses and local routes on the host and takes them off. Dropping it ends the threads; what is there stays.
#[derive(Debug)]
pub struct Binder {
    jobs: sync::Sender<Job>,
    /// What is to be asked for and was not yet.
    changes: Vec<(Binding, Asked)>,
    here: Here,
}

impl Binder {
    /// Starts the threads. The first event is [`Event::Listed`]; it is there when this returns, unless the kernel is
    /// very slow, which is the input.
    ///
    /// # Errors
    /// There is no netlink here, which no Linux lacks, or no thread to be had.
    pub async fn start(
        events: mpsc::UnboundedSender<Event>,
        state_dir: &Path,
    ) -> Result<(Self, Option<Input>), VipError> {
        let notes = Notes::of_host(state_dir).await;
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

    /// What is on the host, as the kernel tells it.
    pub fn here(&self) -> Here {
        self.here.clone()
    }

    /// Puts something on the host, or takes it off, from the next [`Self::ask`] on. The answer is [`Event::Answered`]; that
    /// it is there, or gone, is told by itself.
    pub fn change(&mut self, binding: Binding, asked: Asked) {
        self.changes.push((binding, asked));
    }

    /// Asks the kernel for everything that is to be changed, in that order.
    pub fn ask(&mut self) {
        if !self.changes.is_empty() {
            // The thread ends only with the binder.
            drop(self.jobs.send(Job::Change(std::mem::take(&mut self.changes))));
        }
    }
}

impl Drop for Binder {
    fn drop(&mut self) {
        drop(self.jobs.send(Job::Stop));
    }
}
