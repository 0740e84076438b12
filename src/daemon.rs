//! The ports around the pure [`Node`]: sockets, tasks, threads and signals.
//!
//! ```text
//!  signals ─┐                      ┌─► runner (thread "probes")
//!  control ─┤                      ├─► speaker ─► routers
//!  runner ──┼─ Input ─► Node ──────┼─► binder ─► netlink
//!  netlink ─┤   (one wake-up       ├─► store ─► state directory
//!  speaker ─┘    at a time)        └─► journal, answers
//! ```
//!
//! One loop on one thread owns everything, so there are no locks. It awaits only channels, all of them cancel-safe; an
//! effect never waits. The clocks are read once for each wake-up. Nothing is decided here.

mod answers;
mod begin;
mod effects;
mod handing;
mod heartbeat;
mod orphans;
mod reading;

use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use vipcast_bgp::net::clock;
use vipcast_bgp::{Instant, State};
use vipcast_node::commands::Refusal;
use vipcast_node::effect::Ending;
use vipcast_node::engine::Event;
use vipcast_node::health::report::CheckNews;
use vipcast_node::input::Input;
use vipcast_node::jobs::{Ticket, Unsaved};
use vipcast_node::model::Config;
use vipcast_node::node::Node;
use vipcast_node::now::Now;
use vipcast_node::observe::Observer;

use self::answers::Waiting;
use self::begin::Begin;
pub(crate) use self::begin::{HandedOver, in_words};
use self::heartbeat::{Heartbeat, Systemd};
use self::reading::Reading;
use crate::check::runner::Runner;
use crate::control::server::{Request, Server};
use crate::drain_file::DrainFile;
use crate::events::file::EventFile;
use crate::events::ring::Ring;
use crate::exporters::Exporters;
use crate::hooks::Hooks;
use crate::journal::Journal;
use crate::logind::Logind;
use crate::metrics::counts::Counts;
use crate::restart::{Rehearsal, Rehearsed};
use crate::signals::{Signal, Signals};
use crate::speaker::{self, Said, Speaker};
use crate::state::{Late, StateError, Store};
use crate::vip::namespace::{NamespaceError, NamespaceLock};
use crate::vip::{Binder, VipError};

/// The most check results that wait for the node.
const REPORTS: usize = 1024;
/// The most inputs of a kind that are handled together.
const AT_ONCE: usize = 256;
/// The same for addresses: a flush removes thousands within milliseconds, and they are withdrawn together.
const ADDRESSES_AT_ONCE: usize = 4096;
/// The longest wait of a stop for hooks, when the VIPs are withdrawn.
const HOOKS_PATIENCE: Duration = Duration::from_secs(3);
/// The longest wait of a restart for hooks.
const HOOKS_PATIENCE_OF_RESTART: Duration = Duration::from_millis(500);

/// The reason why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The network namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// Addresses.
    #[error(transparent)]
    Vip(#[from] VipError),
    /// The thread of the checks.
    #[error("cannot start the checks")]
    Checks(#[source] io::Error),
    /// Signals.
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
}

/// The running daemon.
#[derive(Debug)]
pub struct Daemon {
    node: Node,
    /// Between the node and the ports, if this daemon only observes.
    observer: Option<Observer>,
    speaker: Speaker,
    exporters: Exporters,
    runner: Runner,
    binder: Binder,
    store: Store,
    drain_file: DrainFile,
    /// `None`: this daemon only observes.
    logind: Option<Logind>,
    config_path: PathBuf,
    started: Instant,
    born: Timestamp,
    /// The clocks at this wake-up.
    now: Now,
    systemd: Systemd,
    heartbeat: Heartbeat,
    ending: Option<Ending>,
    journal: Journal,
    events: Ring,
    event_file: EventFile,
    hooks: Hooks,
    counts: Counts,
    waiting: Waiting,
    /// Running jobs of the node.
    jobs: Jobs,
    inputs: Inputs,
    /// Inputs of the ports at the start.
    known: Vec<Input>,
    begin: Begin,
    /// The hand-over that this process came from.
    handed_over: Option<HandedOver>,
    /// The node wants to hand over.
    hands_over: bool,
    /// The reason why the last hand-over did not take place.
    not_upgraded: Option<String>,
    namespace: Option<NamespaceLock>,
    // Last, so that the socket is removed after everything else.
    server: Server,
}

/// The jobs of the node that the loop waits for.
#[derive(Debug)]
struct Jobs {
    reading: Reading,
    /// The test of the next program.
    rehearsal: Option<Rehearsal>,
    /// The program of the last one that was tested, for a hand-over.
    rehearsed: Option<Rehearsed>,
    /// The write of the note for it.
    note: Option<oneshot::Receiver<Result<(), String>>>,
    saving: JoinSet<(Ticket, Result<(), Unsaved>)>,
}

/// The streams of inputs.
#[derive(Debug)]
struct Inputs {
    checks: mpsc::Receiver<CheckNews>,
    addresses: mpsc::UnboundedReceiver<Event>,
    speaker: speaker::Streams,
    /// Other inputs of ports.
    ports: mpsc::UnboundedReceiver<Input>,
    requests: mpsc::Receiver<Request>,
    signals: Signals,
    /// Before a hand-over: signals stay pending, for the next program.
    are_last: bool,
}

/// The cause of a wake-up.
enum Happening {
    Inputs(Vec<Input>),
    /// The end of a job, or of a caller's wait.
    Job(Input),
    Said(Said),
    Request(Request),
    Nothing,
}

impl Daemon {
    /// Runs until a shutdown is complete, or the next process takes over.
    ///
    /// # Errors
    /// A hand-over failed in its last moment: this process must end.
    pub async fn run(mut self) -> io::Result<Ending> {
        self.begin();
        self.heartbeat.say("READY=1");
        loop {
            if let Some(ending) = self.ending {
                self.binder.ask();
                return Ok(self.end(ending).await);
            }
            if self.hands_over {
                self = self.hand_over().await?;
                continue;
            }
            let happening = self.next().await;
            self.take(happening).await;
        }
    }

    fn begin(&mut self) {
        // The binder has already listed them. Before sessions begin, because the OPEN depends on them.
        let addresses = self.inputs.addresses.try_recv().ok().map(Input::Fact);
        let known = addresses.into_iter().chain(std::mem::take(&mut self.known));
        self.now = read_clocks();
        match std::mem::replace(&mut self.begin, Begin::Start) {
            Begin::Start => {
                let known = self.seen(known);
                let out = self.node.start(known, self.now);
                self.perform(out);
            }
            Begin::GoOn(out, unanswered) => {
                self.perform(out);
                let unanswered =
                    unanswered.into_iter().map(|binding| Input::Fact(Event::Unanswered(binding)));
                self.handle(known.chain(unanswered).collect::<Vec<_>>());
            }
        }
    }

    /// The next cause of a wake-up. Cancel-safe.
    async fn next(&mut self) -> Happening {
        self.binder.ask();
        self.now = read_clocks();
        self.beat();
        if self.observer.is_none() && self.exporters.deadline() <= self.now.mono {
            self.listen_for_exporters();
        }
        let exporters = self.observer.is_none().then(|| self.exporters.deadline());
        let deadlines = [self.node.deadline(), exporters, self.heartbeat.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        self.inputs.next(&mut self.speaker, &mut self.store, deadline, &mut self.jobs).await
    }

    async fn take(&mut self, happening: Happening) {
        self.now = read_clocks();
        match happening {
            Happening::Inputs(inputs) => {
                self.handle(inputs);
                // Sessions send the new routes before requests go to the kernel, and before more inputs are read.
                tokio::task::yield_now().await;
            }
            Happening::Said(said) => {
                let input = self.speaker.input(said);
                self.handle(input);
                tokio::task::yield_now().await;
            }
            Happening::Job(end) => {
                let mut inputs = self.waiting.given_up();
                inputs.push(end);
                self.handle(inputs);
            }
            Happening::Request(request) => {
                let input = self.request(request);
                self.handle(input);
            }
            Happening::Nothing => {}
        }
    }

    fn listen_for_exporters(&mut self) {
        let host = self.speaker.host();
        let running = self.node.peers().running().iter();
        let statuses: Vec<_> = running
            .filter_map(|(name, running)| Some((name, self.speaker.status(running.id)?.paths)))
            .collect();
        let paths = statuses
            .iter()
            .flat_map(|(name, paths)| paths.iter().map(|(prefix, path)| (*name, *prefix, path.next_hop)));
        self.exporters.listen(self.node.engine(), paths, |ip| host.has(ip), self.now.mono);
    }

    async fn end(mut self, ending: Ending) -> Ending {
        self.store.finish().await;
        match ending {
            Ending::Stopped | Ending::Left(_) => {
                self.speaker.stop_bfd();
                self.now = read_clocks();
                let noticed: Vec<Input> = std::iter::from_fn(|| self.inputs.ports.try_recv().ok()).collect();
                self.handle(noticed);
            }
            Ending::Restart => {
                // Requests that get no answer any more are refused.
                self.inputs.requests.close();
                while self.inputs.requests.try_recv().is_ok() {}
                self.server.finish().await;
            }
        }
        self.journal.finish().await;
        let patience = match ending {
            Ending::Stopped | Ending::Left(_) => HOOKS_PATIENCE,
            // Nothing is withdrawn meanwhile.
            Ending::Restart => HOOKS_PATIENCE_OF_RESTART,
        };
        tokio::join!(self.event_file.finish(), self.hooks.finish(patience));
        ending
    }

    fn handle(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let inputs = self.seen(inputs);
        let out = self.node.handle_all(inputs, self.now);
        self.perform(out);
        if !self.jobs.reading.is_under_way() {
            self.heartbeat.reload_ends();
        }
        self.heartbeat.changed();
    }

    /// Tells systemd that the loop runs, and the status.
    fn beat(&mut self) {
        let status = || {
            let (engine, peers) = (self.node.engine(), self.node.peers());
            let states = peers.running().values().filter_map(|running| self.speaker.status(running.id));
            let (peers, up) = states.fold((0, 0), |(all, up), status| {
                (all + 1, up + usize::from(status.state == State::Established))
            });
            let vips: usize = engine.config().services.values().map(|service| service.vips.len()).sum();
            if self.observer.is_some() {
                let ready = engine.announced().count();
                return format!("only observing: {ready} of {vips} VIPs would be announced");
            }
            // A VIP counts as announced only if a router has it.
            let announced = engine.announced().filter(|vip| engine.reached(vip) > 0).count();
            format!("{up} of {peers} sessions up, {announced} of {vips} VIPs announced")
        };
        if let Some(message) = self.heartbeat.turn(self.now.mono, status) {
            let taken = self.systemd.tell(&message);
            self.heartbeat.told(taken, self.now.mono);
        }
    }

    /// The inputs as the node sees them.
    fn seen(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Input> {
        match &mut self.observer {
            Some(observer) => inputs.into_iter().flat_map(|input| observer.see(input)).collect(),
            None => inputs.into_iter().collect(),
        }
    }
}

impl Jobs {
    /// The next job that ends. Cancel-safe: running jobs go on.
    async fn next(&mut self) -> Input {
        let rehearsed = async {
            match &mut self.rehearsal {
                Some(result) => result.await.unwrap_or_else(|_gone| {
                    Err(Refusal { error: "cannot try the program out: no thread".to_owned(), hint: None })
                }),
                None => pending().await,
            }
        };
        let noted = async {
            match &mut self.note {
                Some(result) => result.await.unwrap_or_else(|_gone| Err("no answer".to_owned())),
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(Ok((ticket, result))) = self.saving.join_next() => Input::Saved(ticket, result),
            read = self.reading.finished() => Input::Read(read),
            result = rehearsed => {
                self.rehearsal = None;
                Input::Rehearsed(result.map(|rehearsed| {
                    let next = rehearsed.next();
                    self.rehearsed = Some(rehearsed);
                    next
                }))
            }
            result = noted => {
                self.note = None;
                Input::NoteLeft(result)
            }
        }
    }
}

impl Inputs {
    /// Waits for the next input. Inputs that matter for a fail-over come first.
    async fn next(
        &mut self,
        speaker: &mut Speaker,
        store: &mut Store,
        deadline: Option<Instant>,
        jobs: &mut Jobs,
    ) -> Happening {
        let timer = async {
            match deadline {
                Some(at) => clock::sleep_until(at).await,
                None => pending().await,
            }
        };
        let one = |input: Input| Happening::Inputs(vec![input]);
        let (mut addresses, mut checks) = (Vec::new(), Vec::new());
        tokio::select! {
            biased;
            signal = self.signals.next(), if !self.are_last => match signal {
                Signal::Stop => one(Input::Stop),
                Signal::Hangup => one(Input::HangUp),
                Signal::Upgrade => one(Input::Upgrade),
                Signal::Unknown => Happening::Nothing,
            },
            1.. = self.addresses.recv_many(&mut addresses, ADDRESSES_AT_ONCE) => {
                Happening::Inputs(addresses.into_iter().map(Input::Fact).collect())
            }
            1.. = self.checks.recv_many(&mut checks, AT_ONCE) => {
                Happening::Inputs(checks.into_iter().map(Input::from).collect())
            }
            said = self.speaker.next() => Happening::Said(said),
            event = speaker.next_bfd() => one(event),
            Some(input) = self.ports.recv() => one(input),
            Late(left) = store.late() => one(Input::Late(Box::new(left))),
            () = timer => one(Input::Tick),
            end = jobs.next() => Happening::Job(end),
            Some(request) = self.requests.recv() => Happening::Request(request),
        }
    }
}

/// Both clocks; the only place where the node's time is read.
fn read_clocks() -> Now {
    Now { mono: clock::now(), wall: Timestamp::now() }
}

/// The seed of the node's randomness.
fn chance() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// The mode of a new state directory: a group may have to reach the control socket in it.
fn state_mode(config: &Config) -> u32 {
    let reached = config.control.group.is_some() && config.control.socket.starts_with(&config.state_dir);
    if reached { 0o711 } else { 0o700 }
}
