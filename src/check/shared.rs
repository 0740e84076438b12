//! What all checks share, each thing with its bounds.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{Semaphore, mpsc};

use super::file_reader::FileReader;
use super::owners::Owners;
use super::resolve::Resolver;
use super::tls::SystemTrust;
use crate::vip::Here;

/// What all checks share, each thing with its bounds.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Names to addresses.
    pub(super) resolver: Resolver,
    /// The authorities that this system trusts.
    pub(super) system_trust: SystemTrust,
    /// How many files are looked at at the same time, also on the way to sockets and for what is `remembered`.
    pub(super) file_reader: FileReader,
    /// How many questions are under way over the network at the same time: each needs a descriptor, and those of BGP
    /// must not run out.
    pub(super) places: Arc<Semaphore>,
    /// The owners of the checks.
    pub(super) owners: Owners,
    /// The addresses that are on this host.
    pub(super) here: Here,
    /// Held by all work that the end must wait for.
    pub(super) alive: mpsc::Sender<()>,
    /// What the checks of one kind share.
    of_kinds: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// Ends when nothing holds [`Shared::alive`] any more.
#[derive(Debug)]
pub(crate) struct Drained(mpsc::Receiver<()>);

impl Drained {
    /// Waits until nothing is left.
    pub(crate) async fn wait(mut self) {
        while self.0.recv().await.is_some() {}
    }
}

impl Shared {
    /// What the system has, and what is allowed of it; the second ends when the last program has gone.
    pub(super) fn new() -> (Self, Drained) {
        let (alive, drained) = mpsc::channel(1);
        let shared = Self {
            resolver: Resolver::system(),
            system_trust: SystemTrust::default(),
            file_reader: FileReader::default(),
            places: Arc::new(Semaphore::new(places())),
            owners: Owners::default(),
            here: Here::default(),
            alive,
            of_kinds: Mutex::default(),
        };
        (shared, Drained(drained))
    }

    /// What the checks of one kind share, made for the first of them.
    pub(super) fn of_kind<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut of_kinds = self.of_kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let known = of_kinds.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make()));
        Arc::clone(known).downcast().expect("it is found by its type")
    }
}

/// How many questions may be under way over the network at a time: three quarters of the descriptors that this process may
/// have, but for those that it needs before it asks anything.
fn places() -> usize {
    /// Sockets of BGP and of the control socket, netlink, epoll, signals, the state directory, stderr: 39 with one peer and no
    /// client.
    const OTHERS: u64 = 48;
    /// With any number of descriptors: a probe without one fails with that reason.
    const LEAST: u64 = 4;
    /// However many there are: more would only make each of them late.
    const MOST: u64 = 4096;
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(LEAST, |(soft, _)| soft);
    let places = (allowed / 4 * 3).saturating_sub(OTHERS).clamp(LEAST, MOST);
    usize::try_from(places).unwrap_or(Semaphore::MAX_PERMITS)
}
