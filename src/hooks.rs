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
//! until its time is over, with the same id. No delivery is repeated after a restart of the daemon. After an upgrade each
//! hook goes on where it was. A delivery that is cut
//! off has failed; the log has the number of events that the stop left.
//!
//! **Thread.** Only with hooks, from the first on; not that of the probes, so that hooks delay no check. A hook with
//! the same definition goes on at a reload; a changed one begins where it was.
//!
//! **Cancel safety.** `keep_running` awaits a watch and a `JoinSet`. A worker may be aborted at any await: its program is
//! killed with its group, its connection is closed.

pub(crate) mod definition;
pub(crate) mod deliveries;
mod place;
mod signature;
mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
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
    /// The places of the running hooks.
    places: Shared,
    /// The places in the program before, until the first call of [`Self::set`]. Other hooks begin at [`Self::since`].
    begin: Option<BTreeMap<HookName, Spot>>,
    /// 0, or after a hand-over the end of the events then: what is new is told what comes.
    since: u64,
}

/// The places of running hooks, shared with their thread.
type Shared = Arc<Mutex<BTreeMap<HookName, Place>>>;

/// The places of hooks for the next program: the position of each, and the events that it has missed.
pub(crate) type Places = BTreeMap<HookName, (u64, u64)>;

/// The desired hooks.
#[derive(Debug, Clone, Default)]
struct Wanted {
    /// Each with the place at which it begins, unless it runs already: where it was first wanted.
    hooks: BTreeMap<HookName, (Question, Spot)>,
    /// The position at which all hooks end.
    end: Option<u64>,
}

impl Wanted {
    /// Other hooks. Those that are new begin here.
    fn replace(&mut self, hooks: &BTreeMap<HookName, Question>, begin: impl Fn(&HookName) -> Spot) {
        let since = |name| self.hooks.get(name).map_or_else(|| begin(name), |(_, since)| *since);
        self.hooks = hooks.iter().map(|(name, hook)| (name.clone(), (hook.clone(), since(name)))).collect();
    }
}

impl Hooks {
    /// Without hooks yet.
    #[cfg(test)]
    pub(crate) fn new(ring: Ring) -> Self {
        Self::thaw(ring, BTreeMap::new(), Deliveries::default())
    }

    /// Without hooks yet, and with the place of each in the program before, if there was one.
    pub(crate) fn thaw(ring: Ring, places: Places, deliveries: Deliveries) -> Self {
        let spot = |(position, missed)| Spot { position, missed, under_way: None };
        let begin = Some(places.into_iter().map(|(name, place)| (name, spot(place))).collect());
        let (places, since) = (Shared::default(), ring.end());
        Self { ring, deliveries, wanted: None, ended: None, places, begin, since }
    }

    /// Replaces the set of running hooks. Returns at once. Those of the first call are told everything since the start.
    pub(crate) fn set(&mut self, hooks: &BTreeMap<HookName, Question>) {
        let first = self.begin.take();
        let end = if first.is_some() { self.since } else { self.ring.end() };
        let begin = |name: &HookName| {
            let place = first.as_ref().and_then(|places| places.get(name).copied());
            place.unwrap_or(Spot { position: end, ..Spot::default() })
        };
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
        let (ring, deliveries, places) =
            (self.ring.clone(), self.deliveries.clone(), Arc::clone(&self.places));
        let started = thread::Builder::new().name("hooks".to_owned()).spawn(move || {
            let _alive = alive;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .thread_name("hooks-blocking")
                .max_blocking_threads(BLOCKING)
                .build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(keep_running(wishes, ring, deliveries, places));
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

    /// Waits for the deliveries under way, at most for `patience`, and then kills what still runs. Returns the place of
    /// each hook for the next program: its position, and the events that it has missed. A program that was killed is
    /// not run again; a request is made again with the same id. The boolean is false if the thread hangs.
    pub(crate) fn freeze(&mut self, patience: Duration) -> impl Future<Output = (Places, bool)> + use<> {
        // Each is behind this position already.
        let (ended, places) = (self.end_at(0, patience), Arc::clone(&self.places));
        async move {
            let has_ended = ended.await;
            let places = places.lock().unwrap_or_else(PoisonError::into_inner);
            let place = |(name, place): (&HookName, &Place)| {
                let Spot { position, missed, .. } = place.now();
                (name.clone(), (position, missed))
            };
            (places.iter().map(place).collect(), has_ended)
        }
    }

    /// Waits until the events so far are delivered, at most for `patience`; then kills what still runs.
    pub(crate) async fn finish(&mut self, patience: Duration) {
        self.end_at(self.ring.end(), patience).await;
    }

    /// False: the thread hangs, and is left behind.
    fn end_at(&mut self, end: u64, patience: Duration) -> impl Future<Output = bool> + use<> {
        let running = self.wanted.take().zip(self.ended.take());
        async move {
            let Some((wanted, mut ended)) = running else { return true };
            wanted.send_modify(|wanted| wanted.end = Some(end));
            if tokio::time::timeout(patience, ended.recv()).await.is_err() {
                drop(wanted);
                if tokio::time::timeout(GRACE * 2, ended.recv()).await.is_err() {
                    trouble!("the thread of the hooks does not end; it is left behind with its events");
                    return false;
                }
            }
            true
        }
    }
}

/// Everything that happens on the thread, until [`Hooks`] is dropped or at its end.
async fn keep_running(
    mut wishes: watch::Receiver<Wanted>,
    ring: Ring,
    deliveries: Deliveries,
    places: Shared,
) {
    let (lent, drained) = Lent::new();
    let mut hooks = Tasks {
        ring,
        deliveries,
        lent: Arc::new(lent),
        end: watch::Sender::new(None),
        running: BTreeMap::new(),
        places,
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
    places: Shared,
    tasks: JoinSet<()>,
}

impl Tasks {
    /// Aborts the hooks that are no longer wanted or have another definition, and begins those that do not run.
    fn reconcile(&mut self, Wanted { hooks, end }: Wanted) {
        for (name, running) in self.running.extract_if(.., |name, _| !hooks.contains_key(name)) {
            running.task.abort();
            self.places.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
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
                None => begin,
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
        self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), place.clone());
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
