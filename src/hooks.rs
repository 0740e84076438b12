//! Hooks: programs and webhooks that are told of events.
//!
//! ```text
//!  main thread                   │  thread "hooks"
//!  Hooks::set(…) ────── watch ───┼─► keep_running: desired vs running hooks
//!                                │      │ starts, aborts
//!  journal ─► Ring ──────────────┼──────┴─► one Worker per hook: a Reader, one delivery at a time
//!  status, metrics ◄─── Tally ───┼────────────┘
//! ```
//!
//! **The queue** of a hook is the ring of events: a slow hook costs no memory, and nobody waits for it. Events that leave
//! the ring before the hook comes to them are counted, and the next event that it gets says how many.
//!
//! **Delivery.** In order, one at a time. A program is run once for an event, whatever becomes of it; a request is repeated
//! until its time is over, with the same id. No delivery is repeated after a restart of the daemon.
//!
//! **Thread.** Only with hooks, from the first on; not that of the probes, so that hooks delay no check. A hook with
//! the same definition goes on at a reload; a changed one begins where it was.
//!
//! **Cancel safety.** `keep_running` awaits a watch and a `JoinSet`. A worker may be aborted at any await: its program is
//! killed with its group, its connection is closed.

pub(crate) mod definition;
mod signature;
mod tally;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use vipcast_node::model::Question;
use vipcast_node::names::HookName;

use self::definition::{Action, Hook};
pub(crate) use self::tally::{Tallied, Tally};
use self::worker::Worker;
use crate::check::lent::Lent;
use crate::events::ring::Ring;
use crate::log::{failure, trouble};

/// The wait at the end for programs that were killed.
const GRACE: Duration = Duration::from_secs(1);
/// Look-ups of names, users and files that may hang at a time.
const BLOCKING: usize = 64;

/// The port. Dropping it aborts what is delivered.
#[derive(Debug)]
pub(crate) struct Hooks {
    ring: Ring,
    tally: Tally,
    /// `None`: there never was a hook, or the thread has been told to end.
    wanted: Option<watch::Sender<Wanted>>,
    /// Closed when the thread has ended.
    ended: Option<mpsc::Receiver<()>>,
    is_new: bool,
}

/// The desired hooks.
#[derive(Debug, Clone, Default)]
struct Wanted {
    hooks: BTreeMap<HookName, Question>,
    /// The position at which new hooks begin.
    begin: u64,
    /// The position at which all hooks end.
    end: Option<u64>,
}

impl Hooks {
    /// Without hooks yet.
    pub(crate) fn new(ring: Ring) -> Self {
        Self { ring, tally: Tally::default(), wanted: None, ended: None, is_new: true }
    }

    /// Replaces the set of running hooks. Returns at once. Those of the first call are told everything since the start.
    pub(crate) fn set(&mut self, hooks: &BTreeMap<HookName, Question>) {
        let begin = if std::mem::take(&mut self.is_new) { 0 } else { self.ring.end() };
        if !hooks.is_empty() && self.wanted.is_none() {
            self.start();
        }
        if let Some(wanted) = &self.wanted {
            wanted.send_replace(Wanted { hooks: hooks.clone(), begin, end: None });
        }
    }

    fn start(&mut self) {
        let (wanted, wishes) = watch::channel(Wanted::default());
        let (alive, ended) = mpsc::channel(1);
        let (ring, tally) = (self.ring.clone(), self.tally.clone());
        let started = thread::Builder::new().name("hooks".to_owned()).spawn(move || {
            let _alive = alive;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .thread_name("hooks-blocking")
                .max_blocking_threads(BLOCKING)
                .build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(keep_running(wishes, ring, tally));
                    // Not `drop`: a look-up that hangs must not hold up the end.
                    runtime.shutdown_background();
                }
                Err(error) => failure!(%error, "no hooks: their thread has no runtime"),
            }
        });
        match started {
            Ok(_) => (self.wanted, self.ended) = (Some(wanted), Some(ended)),
            Err(error) => failure!(%error, "no thread for hooks"),
        }
    }

    /// The deliveries, for metrics.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The hooks that fail, in words.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.tally.warnings()
    }

    /// Waits until the events so far are delivered, at most for `patience`; then kills what still runs.
    pub(crate) async fn finish(&mut self, patience: Duration) {
        let (Some(wanted), Some(mut ended)) = (self.wanted.take(), self.ended.take()) else { return };
        let end = self.ring.end();
        wanted.send_modify(|wanted| wanted.end = Some(end));
        if tokio::time::timeout(patience, ended.recv()).await.is_err() {
            drop(wanted);
            // A thread that hangs is left behind.
            drop(tokio::time::timeout(GRACE * 2, ended.recv()).await);
        }
    }
}

/// Everything that happens on the thread, until [`Hooks`] is dropped or at its end.
async fn keep_running(mut wishes: watch::Receiver<Wanted>, ring: Ring, tally: Tally) {
    let (lent, drained) = Lent::new();
    let mut hooks = Tasks {
        ring,
        tally,
        lent: Arc::new(lent),
        end: watch::Sender::new(None),
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    let mut is_ending = false;
    while !(is_ending && hooks.tasks.is_empty()) {
        tokio::select! {
            changed = wishes.changed() => match changed {
                Ok(()) => {
                    let wanted = wishes.borrow_and_update().clone();
                    is_ending = wanted.end.is_some();
                    hooks.reconcile(wanted);
                }
                Err(_) => break,
            },
            Some(ended) = hooks.tasks.join_next_with_id() => hooks.ended(ended),
        }
    }
    hooks.tasks.shutdown().await;
    drop(hooks);
    if tokio::time::timeout(GRACE, drained.wait()).await.is_err() {
        trouble!("a program of a hook cannot be killed; it is left behind");
    }
}

/// A hook that runs.
struct Running {
    definition: Question,
    place: Arc<AtomicU64>,
    task: AbortHandle,
}

struct Tasks {
    ring: Ring,
    tally: Tally,
    lent: Arc<Lent>,
    end: watch::Sender<Option<u64>>,
    running: BTreeMap<HookName, Running>,
    tasks: JoinSet<()>,
}

impl Tasks {
    /// Ends what is not wanted, or not wanted so, and begins what is missing.
    fn reconcile(&mut self, Wanted { hooks, begin, end }: Wanted) {
        self.tally.retain(|name| hooks.contains_key(name));
        for running in self.running.extract_if(.., |name, _| !hooks.contains_key(name)) {
            running.1.task.abort();
        }
        for (name, definition) in hooks {
            let place = match self.running.get(&name) {
                Some(running) if running.definition == definition => continue,
                Some(running) => {
                    running.task.abort();
                    running.place.load(Ordering::Relaxed)
                }
                None => begin,
            };
            self.begin(name, definition, place);
        }
        self.end.send_replace(end);
    }

    fn begin(&mut self, name: HookName, definition: Question, place: u64) {
        let place = Arc::new(AtomicU64::new(place));
        let worker = Worker {
            name: name.clone(),
            hook: Hook::of(&definition).clone(),
            ring: self.ring.clone(),
            place: Arc::clone(&place),
            tally: self.tally.clone(),
            lent: Arc::clone(&self.lent),
            end: self.end.subscribe(),
        };
        let task = self.tasks.spawn(worker.run());
        self.running.insert(name, Running { definition, place, task });
    }

    /// A task ends at the end, when it is aborted, or by a panic, which is a bug.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let Err(error) = ended else { return };
        let id = error.id();
        let found = self.running.iter().find(|(_, running)| running.task.id() == id);
        if let Some((name, running)) = found
            && error.is_panic()
        {
            failure!(hook = %name, %error, "the hook panicked, and goes on behind that event");
            let (name, definition) = (name.clone(), running.definition.clone());
            // The place of a program is behind its event already.
            let is_webhook = matches!(Hook::of(&definition).action, Action::Webhook(_));
            let place = running.place.load(Ordering::Relaxed) + u64::from(is_webhook);
            let place = place.min(self.ring.end());
            self.begin(name, definition, place);
        }
    }
}

#[cfg(test)]
mod tests;
