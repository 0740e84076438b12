//! The wiring: sockets, tasks and signals around the pure engine.
//!
//! ```text
//!  signals ─┐
//!  control ─┤                     ┌─► runner (thread "probes")
//!  runner ──┼─► loop ─► Engine ───┼─► peers ─► speaker
//!  netlink ─┤   (one event        ├─► binder ─► netlink
//!  peers ───┘    at a time)       └─► log, state directory, answers
//! ```
//!
//! One loop on one thread owns everything, so there are no locks. It awaits only channels, all of them cancel-safe; an
//! effect never waits. The clock is read here, once for the events that are there at once.

mod commands;
mod reload;
mod saver;

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tracing::{error, info, warn};
use vipcast_bgp::net::bfd::BfdEvent;

use self::reload::{Asker, Finished, Reloads};
use self::saver::Saver;
use crate::check::report::CheckReport;
use crate::check::runner::{Runner, raise_descriptor_limit};
use crate::config::model::Config;
use crate::control::api::Refusal;
use crate::control::server::{Reply, Request, Server, ServerError};
use crate::engine::{Drain, DrainClock, Effect, Engine, Event, Left, Record};
use crate::exporters::Exporters;
use crate::journal;
use crate::names::ServiceName;
use crate::peers::{PeerStreams, Peers};
use crate::restart::Rehearsal;
use crate::signals::{Signal, Signals};
use crate::state::{StateDir, StateError};
use crate::vip::namespace::{NamespaceError, NamespaceLock};
use crate::vip::{Binder, VipError};

/// What a peer is told when we stop for good (RFC 9003).
const GOODBYE: &str = "vipcast is shutting down";
/// What a stop may take beside `drain_time` and `unbind_delay`: routers that are slow to close, thousands of addresses.
const STOP_MARGIN: Duration = Duration::from_secs(60);
/// Check results that may wait for the engine.
const REPORTS: usize = 1024;
/// Events of a kind that are handled at once, at most.
const AT_ONCE: usize = 256;
/// The same for addresses: somebody who flushes thousands does so within milliseconds, and they are withdrawn together.
const ADDRESSES_AT_ONCE: usize = 4096;

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The network namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ServerError),
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
    engine: Engine,
    peers: Peers,
    exporters: Exporters,
    runner: Runner,
    binder: Binder,
    state: Arc<StateDir>,
    saver: Saver,
    config_path: PathBuf,
    started: Instant,
    ending: Option<Ending>,
    /// What happened and is not in the log yet.
    records: Vec<Record>,
    /// The program that is to follow is tried out, and this is whoever asked for it.
    rehearsal: Option<(Rehearsal, Reply)>,
    reloads: Reloads,
    inputs: Inputs,
    _namespace: NamespaceLock,
    // Last, so that the socket goes when everything else is gone.
    server: Server,
}

/// What is left to do when the daemon has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing.
    Stopped,
    /// The next process.
    Restart,
}

/// Everything that the loop waits for.
#[derive(Debug)]
struct Inputs {
    checks: mpsc::Receiver<CheckReport>,
    addresses: mpsc::UnboundedReceiver<Event>,
    peers: PeerStreams,
    requests: mpsc::Receiver<Request>,
    signals: Signals,
}

/// What happened, before it is known what it means to the engine.
enum Happening {
    Events(Vec<Event>),
    Nothing,
    Request(Request),
    HangUp,
    Reloaded(Finished),
    Rehearsed(Result<(), Refusal>),
    Bfd(BfdEvent),
}

impl Daemon {
    /// Takes hold of everything the daemon needs: nothing is announced yet.
    ///
    /// # Errors
    /// Whatever is needed cannot be had; nothing stays behind.
    pub async fn start(config_path: PathBuf, config: Config) -> Result<Self, DaemonError> {
        raise_descriptor_limit();
        let state = Arc::new(StateDir::open(&config.state_dir)?);
        let namespace = NamespaceLock::take()?;
        let left = Left {
            drains: with_clocks(state.drains()?),
            held: state.held_back()?,
            announced: state.take_announced()?,
        };
        let (server, requests) = Server::start(&config.control)?;
        let (reports, checks) = mpsc::channel(REPORTS);
        let (address_events, addresses) = mpsc::unbounded_channel();
        let (peers, peer_streams) = Peers::start(&config);
        let binder = Binder::start(address_events, &config.state_dir).await?;
        Ok(Self {
            inputs: Inputs {
                checks,
                addresses,
                peers: peer_streams,
                requests,
                signals: Signals::new().map_err(DaemonError::Signals)?,
            },
            _namespace: namespace,
            engine: Engine::new(Arc::new(config), left),
            peers,
            exporters: Exporters::new(Instant::now()),
            runner: Runner::start(reports).map_err(DaemonError::Checks)?,
            binder,
            saver: Saver::start(Arc::clone(&state)),
            state,
            reloads: Reloads::new(config_path.clone()),
            config_path,
            started: Instant::now(),
            ending: None,
            records: Vec::new(),
            rehearsal: None,
            server,
        })
    }

    /// Runs until a shutdown is complete, or the next process is to take over.
    pub async fn run(mut self) -> Ending {
        // The binder has listed them already. Before sessions begin, because an OPEN says what has stayed.
        if let Ok(addresses) = self.inputs.addresses.try_recv() {
            self.handle(vec![addresses]);
        }
        let effects = self.engine.start(Instant::now());
        self.perform(effects);
        notify_systemd(&[sd_notify::NotifyState::Ready]);
        loop {
            for record in self.records.drain(..) {
                journal::log(&record);
            }
            if let Some(ending) = self.ending {
                return self.end(ending).await;
            }
            let now = Instant::now();
            if self.exporters.deadline() <= now {
                self.listen_for_exporters(now);
            }
            let deadline = self.engine.deadline().into_iter().chain([self.exporters.deadline()]).min();
            let rehearsal = self.rehearsal.as_mut().map(|(result, _)| result);
            match self.inputs.next(&mut self.peers, deadline, rehearsal, &mut self.reloads).await {
                Happening::Events(events) => {
                    self.handle(events);
                    // Sessions send what is new before it is written down, and before more of it is looked at.
                    tokio::task::yield_now().await;
                }
                Happening::Nothing => {}
                Happening::Request(request) => self.answer(request),
                Happening::HangUp => self.reloads.ask(Asker::Signal),
                Happening::Reloaded(finished) => self.reloaded(finished),
                Happening::Rehearsed(result) => self.rehearsed(result),
                Happening::Bfd(event) => self.peers.bfd_changed(&event),
            }
        }
    }

    fn listen_for_exporters(&mut self, now: Instant) {
        let host = self.peers.host();
        let statuses: Vec<_> = self.peers.paths().collect();
        let paths = statuses
            .iter()
            .flat_map(|(name, paths)| paths.iter().map(|(prefix, path)| (*name, *prefix, path.next_hop)));
        self.exporters.listen(&self.engine, paths, |ip| host.has(ip), now);
    }

    async fn end(mut self, ending: Ending) -> Ending {
        self.saver.finish().await;
        match ending {
            Ending::Stopped => {
                self.peers.stop_bfd();
                info!("stopped");
            }
            Ending::Restart => {
                info!("restarting: addresses and routes stay");
                // What nobody will answer is refused.
                self.inputs.requests.close();
                while self.inputs.requests.try_recv().is_ok() {}
                self.server.finish().await;
            }
        }
        ending
    }

    fn handle(&mut self, events: Vec<Event>) {
        if events.iter().any(|event| matches!(event, Event::Shutdown)) {
            let shutdown = &self.engine.config().shutdown;
            let wanted =
                shutdown.drain_time.saturating_add(shutdown.unbind_delay).saturating_add(STOP_MARGIN);
            let wanted = u32::try_from(wanted.as_micros()).unwrap_or(u32::MAX);
            notify_systemd(&[
                sd_notify::NotifyState::Stopping,
                sd_notify::NotifyState::ExtendTimeoutUsec(wanted),
            ]);
        }
        let effects = self.engine.handle_all(events, Instant::now());
        self.perform(effects);
    }

    /// Performs effects in their order, and those that follow from them.
    fn perform(&mut self, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Configure { config, restarted } => {
                    self.runner.set(config.checks.clone(), &config.services);
                    self.exporters.look(&config);
                    if let Some(renamed) = self.peers.configure(&config, restarted) {
                        queue.extend(self.engine.handle(renamed, Instant::now()));
                    }
                }
                Effect::Bind(address) => self.binder.bind(address),
                Effect::Unbind(address) => self.binder.unbind(address),
                Effect::Advertise(advertised) => self.peers.advertise(advertised),
                Effect::SaveDrains(drains) => {
                    if let Err(error) = self.state.save_drains(&drains) {
                        error!(
                            error = &error as &dyn std::error::Error,
                            "a drain will not survive a restart"
                        );
                    }
                }
                Effect::SaveHeldBack(held_back) => self.saver.save(held_back),
                Effect::StopPeers => {
                    self.peers.stop_all(GOODBYE);
                    if self.peers.all_stopped() {
                        queue.extend(self.engine.handle(Event::PeersStopped, Instant::now()));
                    }
                }
                Effect::Record(record) => self.records.push(record),
                Effect::Exit => self.ending = Some(Ending::Stopped),
            }
        }
    }
}

impl Inputs {
    /// Waits for whatever comes first. What could delay a fail-over is looked at first.
    async fn next(
        &mut self,
        peers: &mut Peers,
        deadline: Option<Instant>,
        rehearsal: Option<&mut Rehearsal>,
        reloads: &mut Reloads,
    ) -> Happening {
        let rehearsed = async {
            match rehearsal {
                Some(result) => result.await.unwrap_or_else(|_gone| {
                    Err(Refusal { error: "cannot try the program out: no thread".to_owned(), hint: None })
                }),
                None => pending().await,
            }
        };
        let timer = async {
            match deadline {
                Some(at) => sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        let one = |event: Event| Happening::Events(vec![event]);
        let concerning = |event: Option<Event>| event.map_or(Happening::Nothing, one);
        let (mut addresses, mut checks) = (Vec::new(), Vec::new());
        tokio::select! {
            biased;
            signal = self.signals.next() => match signal {
                Signal::Stop => one(Event::Shutdown),
                Signal::Hangup => Happening::HangUp,
                Signal::Unknown => Happening::Nothing,
            },
            1.. = self.addresses.recv_many(&mut addresses, ADDRESSES_AT_ONCE) => Happening::Events(addresses),
            1.. = self.checks.recv_many(&mut checks, AT_ONCE) => {
                Happening::Events(checks.into_iter().map(Event::Check).collect())
            }
            Some((id, event)) = self.peers.events.recv() => match peers.event(id, event) {
                events if events.is_empty() => Happening::Nothing,
                events => Happening::Events(events),
            },
            event = peers.next_bfd() => Happening::Bfd(event),
            Some(router_id) = self.peers.identified.recv() => {
                peers.identified(router_id);
                Happening::Nothing
            }
            Some(id) = self.peers.stopped.recv() => {
                let gone = peers.stopped(id);
                if peers.is_over() { one(Event::PeersStopped) } else { concerning(gone) }
            }
            Some(read) = self.peers.keys.recv() => {
                peers.key_read(read);
                Happening::Nothing
            }
            () = timer => one(Event::Tick),
            finished = reloads.finished() => Happening::Reloaded(finished),
            result = rehearsed => Happening::Rehearsed(result),
            Some(request) = self.requests.recv() => Happening::Request(request),
        }
    }
}

/// Gives drains that were saved a place on this process's clock; those that ended meanwhile are dropped.
fn with_clocks(
    drains: std::collections::BTreeMap<ServiceName, Drain>,
) -> std::collections::BTreeMap<ServiceName, Drain> {
    let (now, instant) = (Timestamp::now(), Instant::now());
    let in_force = drains.into_iter().filter(|(_, drain)| drain.until.is_none_or(|until| until > now));
    let with_clock = in_force.map(|(service, mut drain)| {
        let left = drain.until.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
        drain.clock =
            DrainClock { withdraw_at: None, lift_at: left.and_then(|left| instant.checked_add(left)) };
        (service, drain)
    });
    with_clock.collect()
}

fn notify_systemd(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "cannot notify systemd");
    }
}
