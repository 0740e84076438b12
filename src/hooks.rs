//! Hooks: programs and webhooks that are told of events.
//!
//! ```text
//!  main thread                   │  thread "hooks"
//!  Hooks::set(…) ────── watch ───┼─► keep_running: desired vs running hooks
//!                                │      │ starts, aborts
//!  journal ─► Ring ──────────────┼──────┴─► one Worker per hook: a Reader, one delivery at a time
//!  status, metrics ◄ Deliveries ─┼────────────┘
//! ```
//!
//! **The queue** of a hook is the ring of events: a slow hook costs no memory, and the daemon never waits for a hook. Events
//! that leave the ring before the hook comes to them are counted, and the next event that it gets says how many.
//!
//! **Delivery.** In order, one at a time. A program is run once for an event, whatever becomes of it; a request is repeated
//! until its time is over, with the same id. No delivery is repeated after a restart of the daemon. A delivery that is cut
//! off has failed; the log has the number of events that the stop left.
//!
//! **Thread.** Only with hooks, from the first on; not that of the probes, so that hooks delay no check. A hook with
//! the same definition goes on at a reload; a changed one begins where it was.
//!
//! **Cancel safety.** `keep_running` awaits a watch and a `JoinSet`. A worker may be aborted at any await: its program is
//! killed with its group, its connection is closed.

pub(crate) mod definition;
mod deliveries;
mod place;
mod signature;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use vipcast_node::model::Question;
use vipcast_node::names::HookName;

use self::definition::{Action, Hook};
pub(crate) use self::deliveries::{Deliveries, OfHook};
use self::place::{Place, Spot};
use self::worker::Worker;
use crate::check::lent::Lent;
use crate::events::ring::Ring;
use crate::log::{failure, trouble};

/// The wait at the end for programs that were killed.
const GRACE: Duration = Duration::from_secs(1);
/// Look-ups of names, users and files that may hang at a time.
const BLOCKING: usize = 64;
/// The failure of a delivery that a reload cuts off.
const BY_RELOAD: &str = "killed by a reload";

/// The port. Dropping it aborts what is delivered.
#[derive(Debug)]
pub(crate) struct Hooks {
    ring: Ring,
    deliveries: Deliveries,
    /// `None`: there never was a hook, or the thread has been told to end.
    wanted: Option<watch::Sender<Wanted>>,
    /// Closed when the thread has ended.
    ended: Option<mpsc::Receiver<()>>,
    is_new: bool,
}

/// The desired hooks.
#[derive(Debug, Clone, Default)]
struct Wanted {
    /// Each with the position at which it begins, unless it runs already: where it was first wanted.
    hooks: BTreeMap<HookName, (Question, u64)>,
    /// The position at which all hooks end.
    end: Option<u64>,
}

impl Wanted {
    /// Other hooks. Those that are new begin at this position.
    fn replace(&mut self, hooks: &BTreeMap<HookName, Question>, begin: u64) {
        let since = |name| self.hooks.get(name).map_or(begin, |(_, since)| *since);
        self.hooks = hooks.iter().map(|(name, hook)| (name.clone(), (hook.clone(), since(name)))).collect();
    }
}

impl Hooks {
    /// Without hooks yet.
    pub(crate) fn new(ring: Ring) -> Self {
        Self { ring, deliveries: Deliveries::default(), wanted: None, ended: None, is_new: true }
    }

    /// Replaces the set of running hooks. Returns at once. Those of the first call are told everything since the start.
    pub(crate) fn set(&mut self, hooks: &BTreeMap<HookName, Question>) {
        let begin = if std::mem::take(&mut self.is_new) { 0 } else { self.ring.end() };
        if !hooks.is_empty() && self.wanted.is_none() {
            self.start();
        }
        if let Some(wanted) = &self.wanted {
            // The thread may not have seen the last set yet.
            wanted.send_modify(|wanted| wanted.replace(hooks, begin));
        }
    }

    fn start(&mut self) {
        let (wanted, wishes) = watch::channel(Wanted::default());
        let (alive, ended) = mpsc::channel(1);
        let (ring, deliveries) = (self.ring.clone(), self.deliveries.clone());
        let started = thread::Builder::new().name("hooks".to_owned()).spawn(move || {
            let _alive = alive;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .thread_name("hooks-blocking")
                .max_blocking_threads(BLOCKING)
                .build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(keep_running(wishes, ring, deliveries));
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
    pub(crate) fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// The hooks that fail, in words.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.deliveries.warnings()
    }

    /// Waits until the events so far are delivered, at most for `patience`; then kills what still runs.
    pub(crate) async fn finish(&mut self, patience: Duration) {
        let (Some(wanted), Some(mut ended)) = (self.wanted.take(), self.ended.take()) else { return };
        let end = self.ring.end();
        wanted.send_modify(|wanted| wanted.end = Some(end));
        if tokio::time::timeout(patience, ended.recv()).await.is_err() {
            drop(wanted);
            if tokio::time::timeout(GRACE * 2, ended.recv()).await.is_err() {
                trouble!("the thread of the hooks does not end; it is left behind with its events");
            }
        }
    }
}

/// Everything that happens on the thread, until [`Hooks`] is dropped or at its end.
async fn keep_running(mut wishes: watch::Receiver<Wanted>, ring: Ring, deliveries: Deliveries) {
    let (lent, drained) = Lent::new();
    let mut hooks = Tasks {
        ring,
        deliveries,
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
    hooks.abandon();
    hooks.tasks.shutdown().await;
    drop(hooks);
    if tokio::time::timeout(GRACE, drained.wait()).await.is_err() {
        trouble!("a program of a hook cannot be killed; it is left behind");
    }
}

/// A hook that runs.
struct Running {
    definition: Question,
    place: Place,
    task: AbortHandle,
}

impl Running {
    fn is_webhook(&self) -> bool {
        matches!(Hook::of(&self.definition).action, Action::Webhook(_))
    }
}

struct Tasks {
    ring: Ring,
    deliveries: Deliveries,
    lent: Arc<Lent>,
    end: watch::Sender<Option<u64>>,
    running: BTreeMap<HookName, Running>,
    tasks: JoinSet<()>,
}

impl Tasks {
    /// Aborts the hooks that are no longer wanted or have another definition, and begins those that do not run.
    fn reconcile(&mut self, Wanted { hooks, end }: Wanted) {
        for (name, running) in self.running.extract_if(.., |name, _| !hooks.contains_key(name)) {
            running.task.abort();
            if let Some(began) = running.place.now().under_way {
                self.deliveries.end(&name, began.elapsed(), Err(BY_RELOAD.to_owned()));
            }
        }
        self.deliveries.retain(|name| hooks.contains_key(name));
        for (name, (definition, begin)) in hooks {
            let spot = match self.running.get(&name) {
                Some(running) if running.definition == definition => continue,
                Some(running) => {
                    running.task.abort();
                    let spot = running.place.now();
                    // The successor sends a request again.
                    if let Some(began) = spot.under_way.filter(|_| !running.is_webhook()) {
                        self.deliveries.end(&name, began.elapsed(), Err(BY_RELOAD.to_owned()));
                    }
                    spot
                }
                None => Spot { position: begin, ..Spot::default() },
            };
            self.begin(name, definition, spot);
        }
        self.end.send_replace(end);
    }

    fn begin(&mut self, name: HookName, definition: Question, spot: Spot) {
        let place = Place::new(spot);
        let worker = Worker {
            name: name.clone(),
            hook: Hook::of(&definition).clone(),
            ring: self.ring.clone(),
            place: place.clone(),
            deliveries: self.deliveries.clone(),
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
            let (name, definition, mut spot) =
                (name.clone(), running.definition.clone(), running.place.now());
            if let Some(began) = spot.under_way {
                self.deliveries.end(&name, began.elapsed(), Err("vipcast panicked".to_owned()));
            }
            // The place of a program is behind its event already.
            spot.position = (spot.position + u64::from(running.is_webhook())).min(self.ring.end());
            self.begin(name, definition, spot);
        }
    }

    /// Records what the end cuts off: the deliveries under way have failed, and the log has the number of events that wait.
    fn abandon(&self) {
        let end = (*self.end.borrow()).unwrap_or_else(|| self.ring.end());
        for (name, running) in &self.running {
            let Spot { mut position, under_way, .. } = running.place.now();
            if let Some(began) = under_way {
                self.deliveries.end(name, began.elapsed(), Err("killed by the stop".to_owned()));
                position += u64::from(running.is_webhook());
            }
            self.deliveries
                .leave(name, worker::left(Hook::of(&running.definition), &self.ring, position..end));
        }
    }
}

#[cfg(test)]
mod tests;
