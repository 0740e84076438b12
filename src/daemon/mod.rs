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

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tracing::{error, info, warn};

use crate::check::report::CheckReport;
use crate::check::runner::Runner;
use crate::config::{self, Diagnostics, Loaded, model::Config};
use crate::control::api::{Done, DrainRequest, Refusal, Services};
use crate::control::server::{Answer, Command, Request, Server, ServerError};
use crate::control::view::{self, PeerInfo, Surroundings};
use crate::engine::{Drain, DrainClock, Effect, Engine, Event};
use crate::journal;
use crate::names::ServiceName;
use crate::peers::{PeerStreams, Peers, PeersError};
use crate::state::{StateDir, StateError};
use crate::vip::{Binder, VipError};

/// What a peer is told when we stop for good (RFC 9003).
const GOODBYE: &str = "vipcast is shutting down";
/// Check results that may wait for the engine.
const REPORTS: usize = 1024;
/// Events of a kind that are handled at once, at most.
const AT_ONCE: usize = 256;

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ServerError),
    /// BGP.
    #[error(transparent)]
    Peers(#[from] PeersError),
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
    runner: Runner,
    binder: Binder,
    state: StateDir,
    config_path: PathBuf,
    started: Instant,
    exiting: bool,
    inputs: Inputs,
    // Last, so that the socket goes when everything else is gone.
    _server: Server,
}

/// Everything that the loop waits for.
#[derive(Debug)]
struct Inputs {
    checks: mpsc::Receiver<CheckReport>,
    addresses: mpsc::UnboundedReceiver<Event>,
    peers: PeerStreams,
    requests: mpsc::Receiver<Request>,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What happened, before it is known what it means to the engine.
enum Happening {
    Events(Vec<Event>),
    Nothing,
    Request(Request),
    Reload,
}

impl Daemon {
    /// Takes hold of everything the daemon needs: nothing is announced yet.
    ///
    /// # Errors
    /// Whatever is needed cannot be had; nothing stays behind.
    pub async fn start(config_path: PathBuf, config: Config) -> Result<Self, DaemonError> {
        raise_descriptor_limit();
        let state = StateDir::open(&config.state_dir)?;
        let drains = with_clocks(state.drains()?);
        let (server, requests) = Server::start(&config.control)?;
        let (reports, checks) = mpsc::channel(REPORTS);
        let (address_events, addresses) = mpsc::unbounded_channel();
        let (peers, peer_streams) = Peers::start(&config)?;
        let signal = |kind| signal(kind).map_err(DaemonError::Signals);
        let binder = Binder::start(address_events, &config.state_dir).await?;
        Ok(Self {
            inputs: Inputs {
                checks,
                addresses,
                peers: peer_streams,
                requests,
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
            },
            engine: Engine::new(Arc::new(config), drains),
            peers,
            runner: Runner::start(reports).map_err(DaemonError::Checks)?,
            binder,
            state,
            config_path,
            started: Instant::now(),
            exiting: false,
            _server: server,
        })
    }

    /// Runs until a shutdown is complete.
    pub async fn run(mut self) {
        let effects = self.engine.start(Instant::now());
        self.perform(effects);
        notify_systemd(&[sd_notify::NotifyState::Ready]);
        while !self.exiting {
            let deadline = self.engine.deadline();
            match self.inputs.next(&mut self.peers, deadline).await {
                Happening::Events(events) => self.handle(events),
                Happening::Nothing => {}
                Happening::Request(request) => self.answer(request),
                Happening::Reload => self.hang_up(),
            }
        }
        info!("stopped");
    }

    fn handle(&mut self, events: Vec<Event>) {
        if events.iter().any(|event| matches!(event, Event::Shutdown)) {
            notify_systemd(&[sd_notify::NotifyState::Stopping]);
        }
        let effects = self.engine.handle_all(events, Instant::now());
        self.perform(effects);
    }

    /// Performs effects in their order, and those that follow from them.
    fn perform(&mut self, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Configure(config) => {
                    self.runner.set(config.checks.clone());
                    self.peers.configure(&config);
                }
                Effect::Bind(address) => self.binder.bind(address),
                Effect::Unbind(address) => self.binder.unbind(address),
                Effect::Advertise(version, routes) => self.peers.advertise(version, &routes),
                Effect::SaveDrains(drains) => {
                    if let Err(error) = self.state.save_drains(&drains) {
                        error!(
                            error = &error as &dyn std::error::Error,
                            "a drain will not survive a restart"
                        );
                    }
                }
                Effect::StopPeers => {
                    self.peers.stop_all(GOODBYE);
                    if self.peers.all_stopped() {
                        queue.extend(self.engine.handle(Event::PeersStopped, Instant::now()));
                    }
                }
                Effect::Record(record) => journal::log(&record),
                Effect::Exit => self.exiting = true,
            }
        }
    }

    fn answer(&mut self, Request { command, answer }: Request) {
        let now = Instant::now();
        let answered = match command {
            Command::Status => Answer::ok(&view::status(&self.engine, &self.surroundings(), now)),
            Command::Explain(vip) => match view::explain(&self.engine, &self.surroundings(), vip, now) {
                Some(explanation) => Answer::ok(&explanation),
                None => Answer::not_found(&Refusal {
                    error: format!("no service has the VIP {vip}"),
                    hint: Some("`vipcast status` lists them".to_owned()),
                }),
            },
            Command::Drain(request) => self.drain(request),
            Command::Undrain(request) => self.undrain(&request.services),
            Command::Reload => match self.reload() {
                Ok(message) => Answer::ok(&Done { message }),
                Err(refusal) => Answer::conflict(&refusal),
            },
        };
        // The client may have gone meanwhile.
        drop(answer.send(answered));
    }

    fn surroundings(&self) -> Surroundings {
        let info = |status: &vipcast_bgp::PeerStatus, name| {
            status.last_down.as_ref().and_then(|(reason, _)| self.peers.hint(name, reason))
        };
        let peers = self.peers.status().map(|(name, peer, status)| {
            (name.clone(), PeerInfo { peer: peer.clone(), hint: info(&status, name), status })
        });
        Surroundings {
            peers: peers.collect(),
            router_id: self.peers.router_id(),
            started: self.started,
            config: self.config_path.display().to_string(),
        }
    }

    fn drain(&mut self, DrainRequest { services, by, reason, for_ms }: DrainRequest) -> Answer {
        let services = match self.services(&services) {
            Ok(services) => services,
            Err(answer) => return answer,
        };
        let (since, lasts) = (Timestamp::now(), for_ms.map(Duration::from_millis));
        let until = lasts.map(|lasts| since.checked_add(lasts));
        let (Ok(until), Some(lift_at)) = (
            until.transpose(),
            lasts.map_or(Some(None), |lasts| Instant::now().checked_add(lasts).map(Some)),
        ) else {
            let hint = Some("leave `--for` out to drain until `undrain`".to_owned());
            return Answer::bad_request(&Refusal { error: "that is too long from now".to_owned(), hint });
        };
        let clock = DrainClock { withdraw_at: None, lift_at };
        let drain = Drain { by, reason, since, until, clock };
        self.handle(services.iter().map(|service| Event::Drain(service.clone(), drain.clone())).collect());
        let drain_time = self.engine.config().shutdown.drain_time;
        let until = until.map(|until| format!(" until {until:.0}")).unwrap_or_default();
        Answer::ok(&Done {
            message: format!("draining {}{until}: withdrawn in {drain_time:?}", list(&services)),
        })
    }

    fn undrain(&mut self, services: &Services) -> Answer {
        let services = match self.services(services) {
            Ok(services) => services,
            Err(answer) => return answer,
        };
        let (drained, others): (Vec<_>, Vec<_>) =
            services.into_iter().partition(|service| self.engine.facts().drains.contains_key(service));
        self.handle(drained.iter().cloned().map(Event::Undrain).collect());
        let message = match (drained.is_empty(), others.is_empty()) {
            (false, _) => format!("{} no longer drained", list(&drained)),
            (true, _) => format!("{} not drained before either", list(&others)),
        };
        Answer::ok(&Done { message })
    }

    fn services(&self, services: &Services) -> Result<Vec<ServiceName>, Answer> {
        let configured = &self.engine.config().services;
        match services {
            Services::All => Ok(configured.keys().cloned().collect()),
            Services::Service(name) => match configured.get_key_value(name.as_str()) {
                Some((name, _)) => Ok(vec![name.clone()]),
                None => Err(Answer::not_found(&Refusal {
                    error: format!("there is no service {name:?}"),
                    hint: Some(format!(
                        "services: {}",
                        list(&configured.keys().cloned().collect::<Vec<_>>())
                    )),
                })),
            },
        }
    }

    /// SIGHUP: a reload that nobody waits for.
    fn hang_up(&mut self) {
        match self.reload() {
            Ok(message) => info!("{message}"),
            Err(Refusal { error, hint }) => {
                error!(hint = hint.unwrap_or_default(), "{error}; the running configuration stays");
            }
        }
    }

    /// Follows the configuration file as it is now, or leaves everything as it was (I8).
    fn reload(&mut self) -> Result<String, Refusal> {
        if self.engine.facts().shutdown.is_some() {
            return Err(Refusal { error: "vipcast is stopping".to_owned(), hint: None });
        }
        let Loaded { config, warnings } =
            config::load(&self.config_path).map_err(|diagnostics| broken(&diagnostics))?;
        let running = self.engine.config();
        let fixed = [
            ("state_dir", config.state_dir != running.state_dir),
            ("control", config.control != running.control),
            ("log", config.log != running.log),
            ("router_id", config.router_id != running.router_id),
            ("listen", config.listen != running.listen),
        ];
        let changed: Vec<&str> = fixed.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect();
        if !changed.is_empty() {
            return Err(Refusal {
                error: format!("a reload cannot change {}", changed.join(", ")),
                hint: Some(
                    "restart vipcast, or put it back; nothing else of the file was applied".to_owned(),
                ),
            });
        }
        for warning in warnings.iter() {
            warn!(message = warning.message, "configuration");
        }
        self.handle(vec![Event::Reload(Arc::new(config))]);
        Ok(format!("{} is in force", self.config_path.display()))
    }
}

fn broken(diagnostics: &Diagnostics) -> Refusal {
    Refusal { error: diagnostics.render(false), hint: None }
}

impl Inputs {
    /// Waits for whatever comes first. What could delay a fail-over is looked at first.
    async fn next(&mut self, peers: &mut Peers, deadline: Option<Instant>) -> Happening {
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
            _ = self.terminate.recv() => one(Event::Shutdown),
            _ = self.interrupt.recv() => one(Event::Shutdown),
            1.. = self.addresses.recv_many(&mut addresses, AT_ONCE) => Happening::Events(addresses),
            1.. = self.checks.recv_many(&mut checks, AT_ONCE) => {
                Happening::Events(checks.into_iter().map(Event::Check).collect())
            }
            Some((id, event)) = self.peers.events.recv() => concerning(peers.event(id, event)),
            Some(id) = self.peers.stopped.recv() => {
                let gone = peers.stopped(id);
                if peers.is_over() { one(Event::PeersStopped) } else { concerning(gone) }
            }
            () = timer => one(Event::Tick),
            _ = self.hangup.recv() => Happening::Reload,
            Some(request) = self.requests.recv() => Happening::Request(request),
        }
    }
}

/// Thousands of checks that hang hold thousands of sockets; the usual soft limit of 1,024 would fail the others (I4).
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    if let Err(error) = limit.and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard)) {
        warn!(%error, "cannot raise the limit of open files");
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

fn list(services: &[ServiceName]) -> String {
    services.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn notify_systemd(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "cannot notify systemd");
    }
}
