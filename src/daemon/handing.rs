//! The hand-over, the part of the old program: freezes everything in an order in which BFD is silent for the shortest
//! time, and becomes the next program.
//!
//! ```text
//!  the loop goes on ──────────────────────────────────────────────────► │ silence ───────────────────────────────► │
//!  settle ─► doors close ─► readers of events ─► checks freeze ─► flush │ sessions, BFD ─► last inputs ─► node ─► form │ execve
//! ```
//!
//! Until the silence everything can be thawed in this process, and is if the conditions have changed. Signals stay
//! pending, and are for the next program.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use vipcast_bgp::net::{Descriptors, clock};
use vipcast_node::commands::Refusal;
use vipcast_node::input::Input;

use super::{Daemon, HOOKS_PATIENCE_OF_RESTART, REPORTS, read_clocks};
use crate::check::runner::{Frozen, Runner};
use crate::control::server::{Handed, Server};
use crate::events::file::EventFile;
use crate::handover::{self, Copy, CopyV1, Events, Metrics, OfDaemon, Sockets, V1};
use crate::hooks::{Hooks, Places};
use crate::log;
use crate::version::Identity;
use crate::vip::namespace::NamespaceLock;

/// The longest wait for what is under way: saves, and sessions that are being closed.
const SETTLE: Duration = Duration::from_secs(3);
/// A silence of BFD that no session may take for a failure: several times what one takes with a thousand VIPs.
const SILENCE: Duration = Duration::from_millis(100);
/// The longest wait for routers to take longer timers, and the interval between looks.
const SLOW_PATIENCE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The longest wait for the log before the silence.
const FLUSH: Duration = Duration::from_millis(200);
/// The same in the silence.
const LAST_FLUSH: Duration = Duration::from_millis(5);

/// What was closed while the loop went on.
struct Closed {
    doors: Handed,
    hooks: Places,
    unwritten: u64,
    checks: Frozen,
}

impl Daemon {
    /// Becomes the next program. Returns the daemon if it goes on here.
    ///
    /// # Errors
    /// Sessions are frozen, and the next program could not be started: this process must end.
    pub(super) async fn hand_over(mut self) -> io::Result<Self> {
        let memory = match handover::memory("vipcast state") {
            Ok(memory) => memory,
            Err(error) => return Ok(self.stays(format!("no memory for the state: {error}"))),
        };
        if let Err(refusal) = self.settle().await {
            return Ok(self.stays(refusal.error));
        }
        self.slow_bfd().await;
        let closed = self.close().await;
        if let Err(refusal) = self.node.may_hand_over() {
            return Ok(self.resume(closed, refusal.error).await);
        }
        // The names of the loop's last lines are in the log before the silence.
        drop(timeout(FLUSH, self.journal.finish()).await);
        log::flush(FLUSH);
        let frozen_at = clock::now();
        let mut descriptors = Descriptors::new();
        let mut speaker = self.speaker.freeze(&mut descriptors).await;
        // Last, so that it is silent for the shortest time.
        let bfd = self.speaker.freeze_bfd(&mut descriptors)?;
        self.take_the_last();
        self.speaker.complete(&mut speaker);
        drop(timeout(LAST_FLUSH, self.journal.finish()).await);
        let (run, begin, lines) = self.events.freeze();
        let lines = descriptors.put(handover::memory_with("vipcast events", &lines)?);
        let mut put = |descriptor: Option<OwnedFd>| descriptor.map(|descriptor| descriptors.put(descriptor));
        let Handed { control, api, metrics } = closed.doors;
        let form = V1 {
            by: Identity::program(),
            frozen_at,
            // Known when they are inherited.
            descriptors: [].into(),
            node: self.node.freeze(),
            speaker,
            bfd,
            checks: closed.checks.into_iter().map(|(name, health)| (name.to_string(), health)).collect(),
            sockets: Sockets {
                control: control.and_then(|(socket, file)| Some((put(Some(socket))?, put(Some(file))?))),
                api: put(api),
                metrics: put(metrics),
                state_lock: put(self.store.lock()),
                namespace_lock: put(self.namespace.as_ref().and_then(NamespaceLock::freeze)),
            },
            events: Events {
                run,
                begin,
                lines,
                unwritten: closed.unwritten,
                hooks: closed.hooks.into_iter().map(|(name, place)| (name.to_string(), place)).collect(),
            },
            metrics: Metrics {
                counts: self.counts.freeze(),
                checks: self.runner.tally().freeze(),
                hooks: self.hooks.deliveries().freeze(),
            },
            daemon: OfDaemon {
                started: self.started,
                born: self.born,
                hand_overs: self.handed_over.as_ref().map_or(0, |over| over.count),
            },
        };
        log::flush(LAST_FLUSH);
        Err(handover::hand_over(Box::new(form), memory, descriptors))
    }

    /// Everything that the ports have said. Effects on sessions have none any more: the next program makes the
    /// difference.
    fn take_the_last(&mut self) {
        self.now = read_clocks();
        let mut last = Vec::new();
        while let Ok(fact) = self.inputs.addresses.try_recv() {
            last.push(Input::Fact(fact));
        }
        while let Ok(news) = self.inputs.checks.try_recv() {
            last.push(Input::from(news));
        }
        while let Some(said) = self.inputs.speaker.try_next() {
            last.extend(self.speaker.input(said));
        }
        last.extend(std::iter::from_fn(|| self.speaker.try_next_bfd()));
        last.extend(std::iter::from_fn(|| self.inputs.ports.try_recv().ok()));
        self.handle(last);
        self.binder.ask();
    }

    /// Waits for what is under way.
    async fn settle(&mut self) -> Result<(), Refusal> {
        let until = clock::now() + SETTLE;
        loop {
            match self.node.may_hand_over() {
                Err(refusal) if self.ending.is_some() || until <= clock::now() => return Err(refusal),
                // Last octets on their way hold up nothing for long.
                Ok(()) if self.speaker.ending() == 0 || until <= clock::now() => return Ok(()),
                Ok(()) | Err(_) => {}
            }
            let happening = tokio::select! {
                happening = self.next() => happening,
                () = clock::sleep_until(until) => continue,
            };
            self.take(happening).await;
        }
    }

    /// Negotiates longer timers where the silence could exceed a detection time. A router that does not answer does not
    /// hold up the hand-over.
    async fn slow_bfd(&mut self) {
        let until = clock::now() + SLOW_PATIENCE;
        self.speaker.slow_bfd(SILENCE);
        while !self.speaker.bfd_is_slow(SILENCE) && clock::now() < until {
            self.meanwhile(clock::sleep_until(clock::now() + LOOK_AGAIN)).await;
        }
    }

    /// Closes everything that the loop can be without for a moment.
    async fn close(&mut self) -> Closed {
        self.inputs.are_last = true;
        let closing = self.server.freeze();
        let doors = self.meanwhile(closing).await;
        let (hooks, file) = (self.hooks.freeze(HOOKS_PATIENCE_OF_RESTART), self.event_file.freeze());
        let (hooks, unwritten) = self.meanwhile(async { tokio::join!(hooks, file) }).await;
        let freezing = self.runner.freeze();
        let checks = self.meanwhile(freezing).await;
        Closed { doors, hooks, unwritten, checks }
    }

    /// Does this while the loop goes on.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let happening = tokio::select! {
                biased;
                done = &mut work => return done,
                happening = self.next() => happening,
            };
            self.take(happening).await;
        }
    }

    /// Goes on in this process.
    async fn resume(mut self, closed: Closed, why: String) -> Self {
        let Closed { doors, hooks, unwritten, checks } = closed;
        let config = Arc::clone(self.node.engine().config());
        let last: Vec<Input> =
            std::iter::from_fn(|| self.inputs.checks.try_recv().ok()).map(Input::from).collect();
        self.handle(last);
        let (server, requests) = Server::thaw(&config, self.events.clone(), false, doors).await;
        (self.server, self.inputs.requests, self.inputs.are_last) = (server, requests, false);
        self.hooks = Hooks::thaw(self.events.clone(), hooks, self.hooks.deliveries().clone());
        self.hooks.set(&config.hooks);
        self.event_file = EventFile::new(self.events.clone(), &config.state_dir, unwritten);
        self.event_file.set(config.event_file);
        let (reports, results) = mpsc::channel(REPORTS);
        match Runner::thaw(reports, self.binder.here(), checks, self.runner.tally().clone()) {
            Ok(runner) => {
                runner.set(config.checks.clone(), &config.services);
                (self.runner, self.inputs.checks) = (runner, results);
            }
            // Nobody probes any more: verdicts would be worth nothing.
            Err(error) => panic!("the checks cannot go on after a hand-over that was given up: {error}"),
        }
        self.stays(why)
    }

    /// A copy of the state for the rehearsal.
    pub(super) fn copy(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Copy::V1(CopyV1 {
            by: Identity::program(),
            at: self.now.wall,
            node: self.node.freeze(),
        }))
    }

    /// Nothing was changed.
    fn stays(mut self, why: String) -> Self {
        self.hands_over = false;
        self.not_upgraded = Some(why.clone());
        self.handle([Input::NotHandedOver(why)]);
        self
    }
}
