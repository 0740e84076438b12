//! Runs the checks, on a thread of their own.
//!
//! ```text
//!   main thread                │  thread "probes"
//!                              │
//!   Runner::set(checks) ─watch─┼─► keep_running: desired vs running checks
//!                              │      │ starts, aborts
//!                              │      ▼
//!                              │   one task per check: Health ◄──► Prober
//!   engine ◄──────mpsc─────────┼──────┘ CheckReport, if it is news (`telling`)
//!   status ◄── on demand ──────┼──────┘ else its numbers
//! ```
//!
//! **Desired state.** [`Runner::set`] replaces the set of running checks. A check with the same definition goes on
//! unchanged; a changed or removed one ends at once, with its connection and its processes; a changed one begins anew.
//! Only the newest set counts.
//!
//! **A slow receiver** delays a check, but no report is lost: a check whose report does not fit into the channel waits
//! with it, and probes again when it is handed over. So there is at most one waiting report per check, transitions are
//! never dropped, and the channel is fair among checks.
//!
//! **Isolation.** A check is a task that shares only bounded resources with others (`shared::Shared`). A panic inside a
//! probe is a failed probe; a panic outside ends the task, and the check begins anew in `Unknown`.
//!
//! **A hand-over.** `Runner::freeze` ends every check, and returns the health of each check and what it has told. A probe
//! under way is dropped, and the next program makes it anew; a check whose probe is not due yet waits for its own time.
//! If the hand-over is given up, `Runner::go_on` does the same on this thread.
//!
//! **Cancel safety.** `keep_running` awaits only `watch::Receiver::changed` and `JoinSet::join_next_with_id`, which are
//! cancel-safe. A check's task may be aborted at any await: its probe is dropped (see `probe`), with a report that was
//! not handed over.

use std::collections::BTreeMap;
use std::future::pending;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::pin;
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;
use std::{io, thread};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use vipcast_bgp::Instant;
use vipcast_bgp::net::clock;
use vipcast_node::frozen;
use vipcast_node::health::report::{CheckNews, CheckReport, Outcome};
use vipcast_node::health::{Health, Input, Judged, Output};
use vipcast_node::model::{Check, Service};
use vipcast_node::names::{CheckName, ServiceName};
use vipcast_node::table::Table;

use super::file_reader::READS;
use super::kinds::exec::RUNNING;
use super::lateness::Lateness;
use super::owners::{Owner, owners};
use super::probe::Prober;
use super::resolve::LOOKUPS;
use super::shared::Shared;
use super::tally::Tally;
use super::telling::{Gone, Latest, Teller, Told};
use crate::log::{failure, trouble};
use crate::vip::Here;

#[cfg(test)]
mod tests;

/// How far apart the first probes of checks that begin together are on average: a thousand begin within a second.
const APART: Duration = Duration::from_millis(1);
/// But the first probe of none is later than this.
const WITHIN: Duration = Duration::from_secs(1);
/// How often it is told that a probe waits for its turn.
const WAITS_TOLD: Duration = Duration::from_secs(1);
/// How long the end waits for killed programs to go.
const GRACE: Duration = Duration::from_secs(1);
/// How long the end waits for the thread, which is abandoned then: nothing that a check waits for holds up a stop.
const PATIENCE: Duration = Duration::from_secs(3);

/// The desired checks.
#[derive(Debug, Clone, Default)]
struct Wanted {
    checks: Table<CheckName, Arc<Check>>,
    owners: Table<CheckName, Owner>,
    /// The number of a freeze: every check gives its health, and does not go on before this is `None` again.
    freezes: Option<u64>,
}

/// The frozen health of each check.
pub type Frozen = BTreeMap<CheckName, frozen::Health>;

/// The numbers of results, in their frozen form.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Results {
    /// The number of probes since the start.
    probes: u64,
    /// Of each check whose latest result was no news: how long the probe took, in nanoseconds, and when the result came.
    latest: BTreeMap<String, (u64, Instant)>,
}

/// Runs checks and reports every result that says anything new. Dropping it ends them all.
#[derive(Debug)]
pub struct Runner {
    /// `None` once it has been told to end.
    wanted: Option<watch::Sender<Wanted>>,
    /// What each freeze has given, by its number.
    given: watch::Receiver<Option<(u64, Frozen)>>,
    /// The number of the last freeze.
    freezes: u64,
    lateness: Arc<Lateness>,
    latest: Latest,
    tally: Tally,
    thread: Option<Thread>,
}

/// A thread, and a channel whose other end it drops when it ends.
#[derive(Debug)]
struct Thread {
    handle: thread::JoinHandle<()>,
    ended: blocking::Receiver<()>,
}

impl Runner {
    /// Starts the thread, with no check yet, on a host that has the addresses of `here`. Results go to `reports`; when its receiver is gone, nothing is probed.
    ///
    /// # Errors
    /// When the system grants no thread, or no epoll instance.
    pub fn start(reports: mpsc::Sender<CheckNews>, here: Here) -> io::Result<Self> {
        Self::thaw(reports, here, Frozen::new(), Tally::default(), Results::default())
    }

    /// The same after a hand-over: checks with a frozen health go on with it in the first set. One that cannot be thawed
    /// begins anew.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn thaw(
        reports: mpsc::Sender<CheckNews>,
        here: Here,
        frozen: Frozen,
        tally: Tally,
        before: Results,
    ) -> io::Result<Self> {
        let (wanted, wishes) = watch::channel(Wanted::default());
        let Results { probes, latest } = before;
        let lateness = Arc::new(Lateness::after(probes));
        let noted = Arc::clone(&lateness);
        let latest = Latest::thaw(latest, clock::now());
        let teller = Teller::new(reports, latest.clone(), tally.clone());
        let (tell, began) = blocking::sync_channel(1);
        let (ends, ended) = blocking::channel();
        let (give, given) = watch::channel(None);
        // It makes the runtime itself: one that comes to nothing must not be dropped on a thread that runs another.
        let handle = thread::Builder::new().name("probes".into()).spawn(move || {
            let _dropped_at_the_end: blocking::Sender<()> = ends;
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => {
                    tell.send(Err(error)).ok();
                    return;
                }
            };
            tell.send(Ok(())).ok();
            runtime.block_on(run(wishes, teller, here, noted, frozen, give));
            // Not `drop`: a lookup that hangs on its blocking thread must not hold up the end.
            runtime.shutdown_background();
        })?;
        began.recv().unwrap_or_else(|_panicked| Err(io::Error::other("its thread panicked")))?;
        let (wanted, thread) = (Some(wanted), Some(Thread { handle, ended }));
        Ok(Self { wanted, given, freezes: 0, lateness, latest, tally, thread })
    }

    /// Replaces the set of running checks, and the services that they are asked for. Returns at once.
    pub fn set(&self, checks: Table<CheckName, Arc<Check>>, services: &Table<ServiceName, Service>) {
        if let Some(wanted) = &self.wanted {
            let owners = owners(services);
            wanted.send_modify(|wanted| *wanted = Wanted { checks, owners, freezes: wanted.freezes });
        }
    }

    /// How late probes began so far.
    pub fn lateness(&self) -> &Lateness {
        &self.lateness
    }

    /// The numbers of results that were not reported because nothing else was new in them.
    pub fn latest(&self) -> &Latest {
        &self.latest
    }

    /// The numbers of results, for the next program.
    pub(crate) fn results(&self) -> Results {
        Results { probes: self.lateness.probes(), latest: self.latest.freeze() }
    }

    /// The results of the checks since the start.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Ends every check, kills every program, and returns the health of each. Reports must be taken meanwhile: a check that
    /// waits for room hands its report over first. `None`: the thread hangs. [`Self::go_on`] takes it back.
    pub(crate) fn freeze(&mut self) -> impl Future<Output = Option<Frozen>> + use<> {
        self.freezes += 1;
        let (number, mut given) = (self.freezes, self.given.clone());
        if let Some(wanted) = &self.wanted {
            wanted.send_modify(|wanted| wanted.freezes = Some(number));
        }
        async move {
            let is_given =
                |given: &Option<(u64, Frozen)>| given.as_ref().is_some_and(|(of, _)| *of == number);
            match tokio::time::timeout(PATIENCE, given.wait_for(is_given)).await {
                Ok(Ok(given)) => given.clone().map(|(_, frozen)| frozen),
                Ok(Err(_)) | Err(_) => None,
            }
        }
    }

    /// After a freeze, whether it has succeeded or not: every check goes on where it was.
    pub(crate) fn go_on(&self) {
        if let Some(wanted) = &self.wanted {
            wanted.send_modify(|wanted| wanted.freezes = None);
        }
    }

    /// Ends every check, kills every program, and ends the thread. Blocks until that is done: a few milliseconds, and at most
    /// a second when a program cannot be killed, or three when the thread itself hangs. Dropping the runner does the same.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            thread.end(PATIENCE);
        }
    }
}

impl Thread {
    /// Waits until it has ended, or abandons it.
    fn end(self, patience: Duration) {
        match self.ended.recv_timeout(patience) {
            Err(blocking::RecvTimeoutError::Timeout) => {
                trouble!("the thread of the checks hangs; it is left behind");
            }
            Ok(()) | Err(blocking::RecvTimeoutError::Disconnected) => {
                if self.handle.join().is_err() {
                    failure!("the thread of the checks panicked");
                }
            }
        }
    }
}

/// Thousands of checks that hang hold thousands of sockets; the usual soft limit of 1,024 would fail the others (I4).
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    if let Err(error) = limit.and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard)) {
        trouble!(%error, "cannot raise the limit of open files");
    }
}

/// What checks run on: one thread, and a bounded number for what blocks.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("probes-blocking")
        // Every lookup, and every look at a file or a directory of users, that the bounds allow, and some for /etc/hosts, netlink and
        // expressions.
        .max_blocking_threads(LOOKUPS.most + READS.most + RUNNING + 4)
        .build()
}

/// One check that runs.
struct Running {
    definition: Arc<Check>,
    task: AbortHandle,
}

/// Everything that happens on the thread, until the [`Runner`] is dropped.
async fn run(
    mut wishes: watch::Receiver<Wanted>,
    teller: Teller,
    here: Here,
    lateness: Arc<Lateness>,
    mut frozen: Frozen,
    give: watch::Sender<Option<(u64, Frozen)>>,
) {
    loop {
        let (teller, here, lateness) = (teller.clone(), here.clone(), Arc::clone(&lateness));
        let ended = keep_running(&mut wishes, teller, here, lateness, frozen).await;
        let Some((number, health)) = ended else { return };
        give.send_replace(Some((number, health.clone())));
        // Until the hand-over, or until it is given up.
        if wishes.wait_for(|wanted| wanted.freezes != Some(number)).await.is_err() {
            return;
        }
        wishes.mark_changed();
        frozen = health;
    }
}

/// Runs the checks until a freeze, with its number and the health of each; `None`: until the [`Runner`] is dropped.
async fn keep_running(
    wishes: &mut watch::Receiver<Wanted>,
    teller: Teller,
    here: Here,
    lateness: Arc<Lateness>,
    frozen: Frozen,
) -> Option<(u64, Frozen)> {
    let (mut shared, drained) = Shared::new();
    shared.here = here;
    let mut checks = CheckTasks {
        shared: Arc::new(shared),
        teller,
        lateness,
        seeds: RandomState::new(),
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
        frozen,
        freezes: watch::Sender::new(false),
    };
    let mut frozen = None;
    loop {
        tokio::select! {
            changed = wishes.changed() => match changed {
                Ok(()) => {
                    let wanted = wishes.borrow_and_update().clone();
                    if let Some(number) = wanted.freezes {
                        frozen = Some((number, checks.freeze().await));
                        break;
                    }
                    checks.reconcile(wanted);
                }
                Err(_) => break,
            },
            Some(ended) = checks.tasks.join_next_with_id() => checks.ended(ended),
        }
    }
    checks.tasks.shutdown().await;
    drop(checks);
    if tokio::time::timeout(GRACE, drained.wait()).await.is_err() {
        trouble!("a program of a check cannot be killed; it is left behind");
    }
    frozen
}

/// What runs.
struct CheckTasks {
    shared: Arc<Shared>,
    teller: Teller,
    lateness: Arc<Lateness>,
    seeds: RandomState,
    running: BTreeMap<CheckName, Running>,
    tasks: JoinSet<Option<(CheckName, frozen::Health)>>,
    /// Of the program before, for the first set.
    frozen: Frozen,
    freezes: watch::Sender<bool>,
}

impl CheckTasks {
    /// Ends what is not wanted, or not wanted so, and begins what is missing.
    fn reconcile(&mut self, Wanted { checks: wanted, owners, freezes: _ }: Wanted) {
        self.shared.owners.set(owners);
        self.running.retain(|name, running| {
            let keep = wanted.get(name) == Some(&running.definition);
            if !keep {
                running.task.abort();
            }
            keep
        });
        let goes_on = |name: &CheckName| self.running.contains_key(name) || self.frozen.contains_key(name);
        self.teller.begin_round(goes_on);
        let missing: Vec<_> =
            wanted.into_iter().filter(|(name, _)| !self.running.contains_key(name)).collect();
        let spread = spread(missing.len());
        for (name, definition) in missing {
            self.begin(name, definition, spread);
        }
        self.frozen.clear();
    }

    /// Ends every check, and returns the health of each.
    async fn freeze(&mut self) -> Frozen {
        self.freezes.send_replace(true);
        // Those that were not begun.
        let mut frozen = std::mem::take(&mut self.frozen);
        while let Some(ended) = self.tasks.join_next().await {
            // A task that was aborted or panicked has no health: the check begins anew.
            frozen.extend(ended.ok().flatten());
        }
        frozen
    }

    /// The health of the program before, or a new one.
    fn health(&mut self, name: &CheckName, definition: &Check, spread: Duration) -> Health {
        let now = clock::now();
        let frozen = self.frozen.remove(name).map(|frozen| Health::thaw(definition, &frozen, now));
        match frozen {
            Some(Ok(health)) => return health,
            Some(Err(error)) => trouble!(%error, "check {name} begins anew after the upgrade"),
            None => {}
        }
        Health::new(definition, spread, self.seeds.hash_one((name, now)), now)
    }

    fn begin(&mut self, name: CheckName, definition: Arc<Check>, spread: Duration) {
        let health = self.health(&name, &definition, spread);
        let prober = Prober::new(name.clone(), Arc::clone(&definition), Arc::clone(&self.shared));
        // In a box: what an `async fn` is given would stand in its future twice.
        let watched =
            Box::new(Watched { name: name.clone(), definition: Arc::clone(&definition), health, prober });
        let freezes = self.freezes.subscribe();
        let watch = watched.watch_over(self.teller.clone(), Arc::clone(&self.lateness), freezes);
        let task = self.tasks.spawn(watch);
        self.running.insert(name, Running { definition, task });
    }

    /// A task ends when it is aborted, when the receiver of reports is gone, or by a panic, which is a bug.
    fn ended(&mut self, ended: Result<(tokio::task::Id, Option<(CheckName, frozen::Health)>), JoinError>) {
        let Err(error) = ended else { return };
        let id = error.id();
        let found = self.running.iter().find(|(_, running)| running.task.id() == id);
        if let Some((name, running)) = found
            && error.is_panic()
        {
            let (name, definition) = (name.clone(), Arc::clone(&running.definition));
            let (teller, news) = (self.teller.clone(), CheckNews::Panicked(name.clone(), error.to_string()));
            // Behind the reports that wait for room.
            self.tasks.spawn(async move {
                drop(teller.news().send(news).await);
                None
            });
            self.begin(name, definition, WITHIN);
        }
    }
}

/// Waits for a hand-over. Cancel-safe.
async fn frozen(freezes: &mut watch::Receiver<bool>) {
    if freezes.wait_for(|freezes| *freezes).await.is_err() {
        // The task is about to be aborted.
        pending::<()>().await;
    }
}

/// The time within which the first probes of `count` checks are started.
fn spread(count: usize) -> Duration {
    let others = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
    APART.saturating_mul(others).min(WITHIN)
}

/// One check that is watched over by its task.
struct Watched {
    name: CheckName,
    definition: Arc<Check>,
    health: Health,
    prober: Prober,
}

impl Watched {
    /// Runs until it is aborted, it freezes, or the receiver of reports is gone.
    async fn watch_over(
        mut self: Box<Self>,
        teller: Teller,
        lateness: Arc<Lateness>,
        mut freezes: watch::Receiver<bool>,
    ) -> Option<(CheckName, frozen::Health)> {
        let mut told = Told::default();
        let mut result = None;
        loop {
            let outcome = result.take();
            let due = self.health.deadline();
            let input = match (&outcome, due) {
                (Some(outcome), _) => Input::Finished(outcome),
                (None, None) => Input::Tick,
                (None, Some(due)) => tokio::select! {
                    biased;
                    () = frozen(&mut freezes) => return Some(self.freeze()),
                    () = self.prober.changed() => Input::Hint,
                    () = clock::sleep_until(due) => Input::Tick,
                },
            };
            let now = clock::now();
            for output in self.health.handle(input, now) {
                match output {
                    Output::Probe => {
                        let outcome = tokio::select! {
                            biased;
                            outcome = self.probe(teller.news()) => outcome,
                            () = frozen(&mut freezes) => return Some(self.freeze()),
                        };
                        if let (Input::Tick, Some(due), Some(started)) = (input, due, self.prober.started()) {
                            lateness.note(started.saturating_duration_since(due), started);
                        }
                        result = Some(outcome);
                    }
                    Output::Report(judged) => {
                        let Some(outcome) = outcome.clone() else { continue };
                        if let Err(Gone) = teller.tell(&mut told, self.report(judged, outcome, now)).await {
                            return None;
                        }
                    }
                }
            }
        }
    }

    fn freeze(&self) -> (CheckName, frozen::Health) {
        (self.name.clone(), self.health.freeze(&self.definition))
    }

    /// Probes, and tells from time to time that it waits for its turn.
    async fn probe(&mut self, news: &mpsc::Sender<CheckNews>) -> Outcome {
        let waits = self.prober.waiting();
        let mut probing = pin!(self.prober.probe());
        loop {
            tokio::select! {
                biased;
                outcome = &mut probing => return outcome,
                () = waits.long(WAITS_TOLD) => {
                    // When there is no room, the engine has enough to do; it is told again.
                    let _no_room =
                        news.try_send(CheckNews::Waits(self.name.clone(), Arc::clone(&self.definition)));
                }
            }
        }
    }

    fn report(&self, judged: Judged, mut outcome: Outcome, at: Instant) -> CheckReport {
        let Judged { state, since, degraded, failed, held_until } = judged;
        if let Some(limit) = failed {
            outcome = Outcome { passed: false, detail: limit, ..outcome };
        }
        let (check, definition) = (self.name.clone(), Arc::clone(&self.definition));
        CheckReport { check, definition, state, since, degraded, held_until, outcome, at }
    }
}
