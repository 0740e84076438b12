//! One probe of one check of any kind: ends at its time-out, and has a result in words.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{Semaphore, mpsc};
use vipcast_bgp::Instant;
use vipcast_bgp::net::clock;
use vipcast_node::health::report::Outcome;
use vipcast_node::model::Check;
use vipcast_node::names::CheckName;

use super::file_reader::FileReader;
use super::kind::{Probe, definition};
use super::owners::Owners;
use super::permit::{Attempt, Queue, Waiting};
use super::resolve::Resolver;
use super::tls::SystemTrust;
use super::words;
use crate::vip::Here;

#[cfg(test)]
pub(crate) mod tests;

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
pub(super) struct Drained(mpsc::Receiver<()>);

impl Drained {
    /// Waits until nothing is left.
    pub(super) async fn wait(mut self) {
        while self.0.recv().await.is_some() {}
    }
}

/// An event is no reason to ask sooner after the last question than this: whatever happens how often, the thread is not
/// busy with one check.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

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
    /// Sockets of BGP and of the control socket, netlink, epoll, the state directory, stderr: 30 with one peer and no client.
    const OTHERS: u64 = 36;
    /// With any number of descriptors: a probe without one fails with that reason.
    const LEAST: u64 = 8;
    /// However many there are: more would only make each of them late.
    const MOST: u64 = 4096;
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(LEAST, |(soft, _)| soft);
    let places = (allowed / 4 * 3).saturating_sub(OTHERS).clamp(LEAST, MOST);
    usize::try_from(places).unwrap_or(Semaphore::MAX_PERMITS)
}

/// Probes one check, again and again.
#[derive(Debug)]
pub(super) struct Prober {
    name: CheckName,
    check: Arc<Check>,
    shared: Arc<Shared>,
    probe: Box<dyn Probe>,
    asked: Instant,
    started: Option<Instant>,
    waiting: Waiting,
}

impl Prober {
    pub(super) fn new(name: CheckName, check: Arc<Check>, shared: impl Into<Arc<Shared>>) -> Self {
        let shared = shared.into();
        let probe = Arc::clone(definition(&check)).probe(&shared);
        Self { name, check, shared, probe, asked: clock::now(), started: None, waiting: Waiting::default() }
    }

    /// Asks once. A panic is a failed probe (I4).
    ///
    /// Cancel-safe: dropping it closes the sockets and kills the process group of the probe.
    pub(super) async fn probe(&mut self) -> Outcome {
        let Self { name, check, shared, probe, .. } = self;
        let mut queue = Queue::new(&self.waiting);
        self.asked = queue.began;
        let answer = {
            // Boxed by the kind, so that a check that waits for its next probe does not hold the room that a TLS handshake needs.
            let asking = probe.ask(Attempt { name, check, shared, queue: &mut queue });
            caught(asking).await.unwrap_or_else(|panic| Err(format!("the probe panicked: {panic}")))
        };
        let took = clock::now() - queue.began;
        let passed = answer.is_ok();
        if !passed {
            self.probe.failed();
        }
        let detail = match answer {
            Ok(text) | Err(text) => words::one_line(text),
        };
        self.started = Some(queue.began);
        Outcome { passed, detail, took }
    }

    /// When the last probe began: it had its permit.
    pub(super) fn started(&self) -> Option<Instant> {
        self.started
    }

    /// Whether a probe waits for its permit, also while it does.
    pub(super) fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    /// Ends when something has happened that may have changed the answer: an event never decides, it is a reason to ask
    /// now. Never for the kinds that have to be polled.
    ///
    /// Cancel-safe: an event between two waits ends the next wait at once. A caller stops waiting to probe.
    pub(super) async fn changed(&mut self) {
        self.probe.changed().await;
        let not_before = self.asked + LEAST_PAUSE;
        // A timer is late by up to a millisecond, even when its time has come already.
        if clock::now() < not_before {
            Box::pin(clock::sleep_until(not_before)).await;
        }
    }
}

/// Runs `work`; a panic inside is its error, in the words of the panic.
async fn caught<T>(mut work: Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Result<T, String> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => {
            Poll::Ready(Err(match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                (Some(text), _) => (*text).into(),
                (None, Some(text)) => text.clone(),
                (None, None) => "without a message".into(),
            }))
        }
    })
    .await
}
