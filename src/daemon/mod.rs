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
mod drains;
mod heartbeat;
mod orphans;
mod reload;
mod wall;

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::info;
use vipcast_bgp::Instant;
use vipcast_bgp::bfd::BfdEvent;
use vipcast_bgp::net::clock;
use vipcast_node::effect::Effect;
use vipcast_node::engine::{Asked, Engine, Event};
use vipcast_node::health::report::CheckNews;
use vipcast_node::model::Config;
use vipcast_node::now::Now;
use vipcast_node::outbox::Outbox;

use self::heartbeat::{Heartbeat, Systemd};
use self::reload::{Asker, Finished, Reloads};
use self::wall::{CLOCK_LOOK, WallClock};
use crate::check::runner::{Runner, raise_descriptor_limit};
use crate::control::api::Refusal;
use crate::control::server::{Reply, Request, Server};
use crate::exporters::Exporters;
use crate::journal::Journal;
use crate::peers::{PeerStreams, Peers};
use crate::restart::Rehearsal;
use crate::signals::{Signal, Signals};
use crate::state::{Late, Opened, StateError, Store};
use crate::vip::namespace::{NamespaceError, NamespaceLock};
use crate::vip::{Binder, VipError};

/// What a peer is told when we stop for good (RFC 9003).
const GOODBYE: &str = "vipcast is shutting down";
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
    store: Store,
    clock: WallClock,
    config_path: PathBuf,
    started: Instant,
    systemd: Systemd,
    heartbeat: Heartbeat,
    ending: Option<Ending>,
    journal: Journal,
    next_record: u64,
    /// The program that is to follow is tried out, and this is whoever asked for it.
    rehearsal: Option<(Rehearsal, Reply)>,
    /// It was accepted, and what it has to know is being written down.
    note: Option<(Rehearsal, Reply)>,
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
    /// Nothing can be done about so many addresses that the kernel has not removed.
    Left(usize),
    /// The next process.
    Restart,
}

/// Everything that the loop waits for.
#[derive(Debug)]
struct Inputs {
    checks: mpsc::Receiver<CheckNews>,
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
    Late(Late),
}

impl Daemon {
    /// Takes hold of everything the daemon needs: nothing is announced yet.
    ///
    /// # Errors
    /// Whatever is needed cannot be had; nothing stays behind.
    pub async fn start(config_path: PathBuf, config: Config) -> Result<Self, DaemonError> {
        raise_descriptor_limit();
        orphans::adopt();
        let Opened { store, left } = Store::open(&config.state_dir, state_mode(&config))?;
        let namespace = NamespaceLock::take()?;
        let (server, requests) = Server::start(&config.control).await;
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
            exporters: Exporters::new(clock::now()),
            runner: Runner::start(reports, binder.here()).map_err(DaemonError::Checks)?,
            binder,
            store,
            clock: WallClock::new(),
            reloads: Reloads::new(config_path.clone()),
            config_path,
            started: clock::now(),
            systemd: Systemd::new(),
            heartbeat: Heartbeat::of_environment(clock::now()),
            ending: None,
            journal: Journal::start(),
            next_record: 1,
            rehearsal: None,
            note: None,
            server,
        })
    }

    /// Runs until a shutdown is complete, or the next process is to take over.
    pub async fn run(mut self) -> Ending {
        // The binder has listed them already. Before sessions begin, because an OPEN says what has stayed.
        if let Ok(addresses) = self.inputs.addresses.try_recv() {
            self.handle(vec![addresses]);
        }
        let mut out = self.outbox();
        self.engine.start(clock::now(), &mut out);
        self.perform(out);
        self.heartbeat.say("READY=1");
        loop {
            self.binder.ask();
            if let Some(ending) = self.ending {
                return self.end(ending).await;
            }
            self.look_at_the_clock();
            let now = clock::now();
            self.beat(now);
            if self.exporters.deadline() <= now {
                self.listen_for_exporters(now);
            }
            let look = self.engine.facts().drains.any_ends().then(|| now + CLOCK_LOOK);
            let deadlines =
                [self.engine.deadline(), look, Some(self.exporters.deadline()), self.heartbeat.deadline()];
            let deadline = deadlines.into_iter().flatten().min();
            let rehearsal = self.rehearsal.as_mut().or(self.note.as_mut()).map(|(result, _)| result);
            match self
                .inputs
                .next(&mut self.peers, &mut self.store, deadline, rehearsal, &mut self.reloads)
                .await
            {
                Happening::Events(events) => {
                    self.handle(events);
                    // Sessions send what is new before the kernel is asked for anything, and before more is looked at.
                    tokio::task::yield_now().await;
                }
                Happening::Nothing => {}
                Happening::Request(request) => self.answer(request),
                Happening::HangUp => self.reloads.ask(Asker::Signal),
                Happening::Reloaded(finished) => self.reloaded(finished),
                Happening::Rehearsed(result) if self.note.is_some() => self.noted(result),
                Happening::Rehearsed(result) => self.rehearsed(result),
                Happening::Bfd(event) => self.peers.bfd_changed(&event),
                Happening::Late(late) => self.merge(late),
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
        if self.note.take().is_some() {
            // The end came while it was written down for a next process.
            self.store.withdraw_announced();
        }
        self.store.finish().await;
        self.journal.finish().await;
        match ending {
            Ending::Stopped | Ending::Left(_) => {
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

    /// How the shutdown went.
    fn stopped(&self) -> Ending {
        let left = self.engine.facts().ours().count();
        if left == 0 || self.engine.config().shutdown.keep_addresses {
            Ending::Stopped
        } else {
            Ending::Left(left)
        }
    }

    fn look_at_the_clock(&mut self) {
        if let Some(wall) = self.clock.step() {
            info!(wall = format!("{wall:.0}"), "the clock was set");
            self.handle(vec![Event::WallClock(wall)]);
        }
    }

    /// The state directory was slow at the start, or is another one, and has told what is in it now.
    fn merge(&mut self, Late(left): Late) {
        self.handle(vec![Event::Late(Box::new(left))]);
        self.store.merged(Arc::clone(&self.engine.facts().drains));
    }

    fn handle(&mut self, events: Vec<Event>) {
        if events.iter().any(|event| matches!(event, Event::Shutdown)) {
            let takes = u64::try_from(self.engine.stop_takes().as_micros()).unwrap_or(u64::MAX);
            self.heartbeat.say(format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={takes}"));
            self.beat(clock::now());
        }
        let mut out = self.outbox();
        self.engine.handle_all(events, clock::now(), &mut out);
        self.perform(out);
        self.heartbeat.changed();
    }

    /// Tells systemd that the loop turns, and how things are.
    fn beat(&mut self, now: Instant) {
        let status = || {
            let (peers, up) = self.peers.status().fold((0, 0), |(all, up), (_, _, status)| {
                (all + 1, up + usize::from(status.state == vipcast_bgp::State::Established))
            });
            let vips: usize = self.engine.config().services.values().map(|service| service.vips.len()).sum();
            // Given to the peers is not announced: a router has it, or not.
            let announced = self.engine.announced().filter(|vip| self.engine.reached(vip) > 0).count();
            format!("{up} of {peers} sessions up, {announced} of {vips} VIPs announced")
        };
        if let Some(message) = self.heartbeat.turn(now, status) {
            let taken = self.systemd.tell(&message);
            self.heartbeat.told(taken, now);
        }
    }

    /// For one wake-up.
    fn outbox(&self) -> Outbox {
        Outbox::new(Now { mono: clock::now(), wall: Timestamp::now() }, self.next_record)
    }

    /// Performs effects in their order, and those that follow from them.
    fn perform(&mut self, out: Outbox) {
        let mut queue = VecDeque::from(self.told(out));
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Configure { config, restarted } => {
                    self.runner.set(config.checks.clone(), &config.services);
                    self.exporters.look(&config);
                    if let Some(renamed) = self.peers.configure(&config, restarted) {
                        queue.extend(self.follow_up(renamed));
                    }
                }
                Effect::Bind(address) => self.binder.change(address, Asked::Bind),
                Effect::Unbind(address) => self.binder.change(address, Asked::Unbind),
                Effect::Advertise(advertised) => self.peers.advertise(advertised),
                Effect::SaveDrains(drains) => {
                    self.store.save_drains(drains);
                }
                Effect::SaveHeldBack(held_back) => self.store.save_held_back(held_back),
                Effect::StopPeers => {
                    self.peers.stop_all(GOODBYE);
                    if self.peers.all_stopped() {
                        queue.extend(self.follow_up(Event::PeersStopped));
                    }
                }
                Effect::Exit => self.ending = Some(self.stopped()),
            }
        }
    }

    fn follow_up(&mut self, event: Event) -> Vec<Effect> {
        let mut out = self.outbox();
        self.engine.handle(event, clock::now(), &mut out);
        self.told(out)
    }

    /// Passes on what happened, and leaves what is to be done.
    fn told(&mut self, out: Outbox) -> Vec<Effect> {
        self.next_record = out.next();
        out.records.into_iter().for_each(|record| self.journal.note(record));
        out.effects
    }
}

impl Inputs {
    /// Waits for whatever comes first. What could delay a fail-over is looked at first.
    async fn next(
        &mut self,
        peers: &mut Peers,
        store: &mut Store,
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
                Some(at) => clock::sleep_until(at).await,
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
                Happening::Events(checks.into_iter().map(Event::from).collect())
            }
            Some((id, event)) = self.peers.events.recv() => match peers.event(id, event) {
                events if events.is_empty() => Happening::Nothing,
                events => Happening::Events(events),
            },
            event = peers.next_bfd() => Happening::Bfd(event),
            Some(heard) = self.peers.heard.recv() => concerning(peers.heard(&heard)),
            Some(router_id) = self.peers.identified.recv() => {
                peers.identified(router_id);
                Happening::Nothing
            }
            late = store.late() => Happening::Late(late),
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

/// For whom the state directory is open, where it is made: a group may have to reach the control socket in it.
fn state_mode(config: &Config) -> u32 {
    let reached = config.control.group.is_some() && config.control.socket.starts_with(&config.state_dir);
    if reached { 0o711 } else { 0o700 }
}
