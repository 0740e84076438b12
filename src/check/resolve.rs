//! Looks names up by the system's resolver, so that a hanging resolver harms neither the daemon nor another service.
//!
//! `getaddrinfo` blocks, cannot be cancelled, and takes half a minute when no name server answers. So
//! * a lookup runs on the runtime's pool of blocking threads, within the bounds of [`Lanes`]: those of one service never wait for
//!   those of another. The thread, not the probe, holds the slot: a probe that gives up at its time-out frees nothing
//!   that is still in use;
//! * a name has one lookup at a time, and all callers share its answer: a hanging name holds one thread;
//! * names that [`local`] knows, those in /etc/hosts and `localhost`, wait for no slot;
//! * the last addresses of a name are used for [`KEPT`] while the resolver is silent or fails. The answer that a name
//!   does not
//!   exist ends that.
//!
//! While the resolver answers, addresses are not cached.

mod local;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::local::Local;
use super::lanes::{Bounds, Lanes, Slot};
use super::pool::{self, NoResult};
use super::words;

/// Lookups at the same time.
pub(super) const LOOKUPS: Bounds = Bounds { of_one: 8, most: 256 };
/// How long the last addresses of a name are used when no newer ones can be had.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// How long a lookup may take before the last addresses are used, if there are any.
const PATIENCE: Duration = Duration::from_millis(250);
/// Names whose last addresses are kept: a server that redirects may name any number.
const NAMES: usize = 4096;

/// Addresses, in the order to try them; never empty.
type Addresses = Arc<[IpAddr]>;

/// Why there are none, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LookupFailure {
    /// The resolver says that there are none.
    None(Arc<str>),
    /// The resolver does not say.
    NoAnswer(Arc<str>),
}

/// What came of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) addresses: Addresses,
    /// Why these are not from now: `address of 40 s ago: the resolver does not answer`.
    pub(super) remark: Option<String>,
}

/// A lookup with waiting callers.
#[derive(Debug)]
struct Lookup {
    answer: watch::Receiver<Option<Result<Addresses, LookupFailure>>>,
    tell: Arc<watch::Sender<Option<Result<Addresses, LookupFailure>>>>,
    since: Instant,
    /// The services that want it, each of which waits for a slot of its own until one has begun.
    owners: BTreeSet<String>,
    begun: bool,
}

#[derive(Debug, Default)]
struct HostNames {
    pending: BTreeMap<String, Lookup>,
    last: BTreeMap<String, (Addresses, Instant)>,
}

/// FileReader names up. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    names: Arc<Mutex<HostNames>>,
    lanes: Lanes,
    local: Local,
    lookup: fn(&str) -> io::Result<Vec<IpAddr>>,
}

impl Resolver {
    /// The system's resolver.
    pub(super) fn system() -> Self {
        let lookup = |name: &str| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect());
        Self::new(lookup, Local::system())
    }

    fn new(lookup: fn(&str) -> io::Result<Vec<IpAddr>>, local: Local) -> Self {
        Self { names: Arc::default(), lanes: Lanes::new(LOOKUPS), local, lookup }
    }

    /// The addresses of `host`, which may be an address itself, for a check of the service `owner`, which has `time`.
    ///
    /// Cancel-safe: the lookup goes on, and its answer goes to the other callers.
    ///
    /// # Errors
    /// What the resolver said, in words.
    pub(super) async fn addresses(
        &self,
        host: &str,
        owner: &str,
        time: Duration,
    ) -> Result<Resolved, Arc<str>> {
        let fresh = |addresses| Resolved { addresses, remark: None };
        if let Ok(address) = host.parse() {
            return Ok(fresh([address].into()));
        }
        let (mut answer, since) = self.ask(host, owner);
        let answered = async {
            match answer.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(addresses)) => addresses.clone(),
                Ok(None) | Err(_) => {
                    Err(LookupFailure::NoAnswer("the lookup ended without an answer".into()))
                }
            }
        };
        let Some((last, at)) = self.last(host) else {
            return answered.await.map(fresh).map_err(|failure| match failure {
                LookupFailure::None(cause) | LookupFailure::NoAnswer(cause) => cause,
            });
        };
        let old = |cause: &str| Resolved {
            addresses: last.clone(),
            remark: Some(format!("address of {} ago: {cause}", words::duration(at.elapsed()))),
        };
        match tokio::time::timeout_at((since + PATIENCE.min(time / 2)).into(), answered).await {
            Ok(Ok(addresses)) => Ok(fresh(addresses)),
            Ok(Err(LookupFailure::None(cause))) => Err(cause),
            Ok(Err(LookupFailure::NoAnswer(cause))) => Ok(old(&cause)),
            Err(_silence) => Ok(old("the resolver does not answer")),
        }
    }

    /// The last addresses, if they may still be used.
    fn last(&self, host: &str) -> Option<(Addresses, Instant)> {
        self.names().last.get(host).filter(|(_, at)| at.elapsed() < KEPT).cloned()
    }

    /// An answer that will come, and when it was asked for first.
    fn ask(
        &self,
        host: &str,
        owner: &str,
    ) -> (watch::Receiver<Option<Result<Addresses, LookupFailure>>>, Instant) {
        let mut names = self.names();
        let asked = names.pending.entry(host.into()).or_insert_with(|| {
            let (tell, answer) = watch::channel(None);
            Lookup { answer, tell: tell.into(), since: Instant::now(), owners: BTreeSet::new(), begun: false }
        });
        if !asked.begun && asked.owners.insert(owner.into()) {
            tokio::spawn(self.clone().wait_and_look_up(host.into(), owner.into()));
        }
        (asked.answer.clone(), asked.since)
    }

    /// When it is this service's turn, unless another one's has come before.
    async fn wait_and_look_up(self, host: String, owner: String) {
        let slot = match self.local.knows(&host).await {
            true => None,
            false => Some(self.lanes.slot(&owner).await),
        };
        let tell = match self.names().pending.get_mut(&host) {
            Some(asked) if !asked.begun => {
                asked.begun = true;
                Arc::clone(&asked.tell)
            }
            Some(_) | None => return,
        };
        let result = self.look_up(host.clone(), slot).await;
        let mut names = self.names();
        match &result {
            Ok(addresses) => names.keep(&host, addresses),
            Err(LookupFailure::None(_)) => drop(names.last.remove(&host)),
            Err(LookupFailure::NoAnswer(_)) => {}
        }
        names.pending.remove(&host);
        drop(names);
        tell.send_replace(Some(result));
    }

    async fn look_up(&self, name: String, slot: Option<Slot>) -> Result<Addresses, LookupFailure> {
        let lookup = self.lookup;
        let asked = name.clone();
        match pool::run(slot, move || lookup(&asked)).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses.into()),
            // RFC 6761 §6.3: independent of the resolver.
            _ if local::is_localhost(&name) => Ok(local::LOCALHOST.into()),
            Ok(Ok(_)) => Err(LookupFailure::None("it has no address".into())),
            Ok(Err(error)) => Err(failure(&error)),
            Err(NoResult::Panicked) => Err(LookupFailure::NoAnswer("the lookup panicked".into())),
            Err(NoResult::NoThread) => {
                Err(LookupFailure::NoAnswer("this host has no thread left to look up names".into()))
            }
        }
    }

    fn names(&self) -> MutexGuard<'_, HostNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostNames {
    fn keep(&mut self, host: &str, addresses: &Addresses) {
        if self.last.len() >= NAMES && !self.last.contains_key(host) {
            self.last.retain(|_, (_, at)| at.elapsed() < KEPT);
            if self.last.len() >= NAMES {
                return;
            }
        }
        self.last.insert(host.into(), (Arc::clone(addresses), Instant::now()));
    }
}

/// Whether a name is known not to have addresses, which only the words of the C library tell here: EAI_NONAME and EAI_NODATA of
/// glibc and of musl. Everything else (EAI_AGAIN, EAI_FAIL, a file that cannot be opened) says nothing about the name.
fn failure(error: &io::Error) -> LookupFailure {
    const ANSWERS: [&str; 4] = [
        "Name or service not known",
        "No address associated with hostname",
        "Name does not resolve",
        "Name has no usable address",
    ];
    let text = words::io_error(error);
    let text = text.trim_start_matches("failed to lookup address information: ");
    match ANSWERS.contains(&text) {
        true => LookupFailure::None(text.into()),
        false => LookupFailure::NoAnswer(text.into()),
    }
}
