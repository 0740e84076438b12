//! The hand-over, the part of the old program: freezes everything in an order in which BFD is silent for the shortest
//! time, and becomes the next program.
//!
//! ```text
//!  the loop goes on ───────────────────────────────────────────────────────────────► │ silence
//!  settle, prepare ─► slow BFD ─► doors ─► readers of events ─► look ─► checks ─► flush │ sessions ─► last inputs ─► form ─► BFD ─► execve
//! ```
//!
//! Until the silence everything can be thawed in this process, and is if a condition has changed or something hangs.
//! What may fail is done before it. Signals stay pending, and are for the next program.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use vipcast_bgp::net::{Descriptors, clock};
use vipcast_node::commands::Refusal;
use vipcast_node::input::Input;
use vipcast_node::model::Config;

use super::{Daemon, HOOKS_PATIENCE_OF_RESTART, read_clocks};
use crate::check::runner::Frozen;
use crate::control::server::{Handed, Server};
use crate::events::file::EventFile;
use crate::handover::{self, Copy, Events, Memory, Metrics, OfDaemon, Sockets, Told, V2, Version};
use crate::hooks::{Hooks, Places};
use crate::journal;
use crate::log::{self, trouble};
use crate::restart::{self, Rehearsed};
use crate::version::Identity;
use crate::vip::namespace::NamespaceLock;

/// The longest wait for what is under way: saves, and sessions that are being closed.
const SETTLE: Duration = Duration::from_secs(3);
/// A silence of BFD that no session may take for a failure: several times what one takes with a thousand VIPs.
const SILENCE: Duration = Duration::from_millis(100);
/// The longest wait for a reload of files that were changed during the upgrade, and the interval between looks.
const CHANGED_PATIENCE: Duration = Duration::from_secs(1);
const CHANGED_AGAIN: Duration = Duration::from_millis(20);
/// The longest wait for routers to take longer timers, and the interval between looks.
const SLOW_PATIENCE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The interval between looks for an answer of the thread of BFD.
const BFD_ANSWERS: Duration = Duration::from_millis(1);
/// The longest wait for an empty backlog of the log, while the loop goes on.
const BACKLOG: Duration = Duration::from_secs(1);
/// The same for the last few lines before the silence.
const FLUSH: Duration = Duration::from_millis(200);
/// The same in the silence.
const LAST_FLUSH: Duration = Duration::from_millis(20);

/// What can fail, and is made before anything is closed.
struct Prepared {
    /// For the form.
    form: Memory,
    /// For the latest events.
    events: File,
    /// The texts of the configuration in force.
    configuration: File,
    in_force: Config,
    state_lock: Option<OwnedFd>,
    namespace_lock: Option<OwnedFd>,
    rehearsed: Rehearsed,
    /// The form that it reads.
    version: Version,
}

/// What was closed while the loop went on. `None`: that was not reached.
#[derive(Default)]
struct Closed {
    doors: Option<Handed>,
    readers: Option<(Places, u64)>,
    checks: Option<Frozen>,
}

impl Daemon {
    /// Becomes the next program. Returns the daemon if it goes on here.
    ///
    /// # Errors
    /// Sessions are frozen, and the next program could not be started: this process must end.
    pub(super) async fn hand_over(mut self) -> io::Result<Self> {
        let prepared = match self.prepare().await {
            Ok(prepared) => prepared,
            Err(refusal) => return Ok(self.stays(refusal.error)),
        };
        let mut closed = Closed::default();
        if let Err(refusal) = self.close(&mut closed, &prepared).await {
            return Ok(self.resume(closed, refusal.error).await);
        }
        let Prepared {
            form: memory,
            events: mut lines,
            configuration,
            state_lock,
            namespace_lock,
            version,
            in_force: _,
            rehearsed: _,
        } = prepared;
        // The loop's last lines are in the log before the silence.
        self.journal.flushed(FLUSH).await;
        log::flush(FLUSH);
        let frozen_at = clock::now();
        let mut descriptors = Descriptors::new();
        let mut speaker = self.speaker.freeze(&mut descriptors).await;
        let old_bfd = match version {
            Version::V1 => self.speaker.freeze_bfd(&mut descriptors)?,
            Version::V2 => None,
        };
        self.take_the_last();
        self.speaker.complete(&mut speaker);
        let failures = self.journal.freeze(LAST_FLUSH).await.unwrap_or_else(|| {
            // They are neither in the log nor in the events, and that is not hidden.
            self.counts.left_out(self.journal.waiting());
            journal::Frozen::default()
        });
        let (run, begin, latest) = self.events.freeze();
        // Without them the next program has no events from before, which is no reason to end here.
        if let Err(error) = handover::fill(&mut lines, &latest) {
            trouble!(%error, "the latest events are not handed over");
        }
        let lines = descriptors.put(lines);
        let configuration = descriptors.put(configuration);
        let mut put = |descriptor: Option<OwnedFd>| descriptor.map(|descriptor| descriptors.put(descriptor));
        let Handed { control, api, metrics } = closed.doors.unwrap_or_default();
        let (hooks, unwritten) = closed.readers.unwrap_or_default();
        let form = Box::new(V2 {
            by: Identity::program(),
            frozen_at,
            // Known when they are inherited.
            descriptors: [].into(),
            configuration,
            node: self.node.freeze(),
            speaker,
            checks: closed
                .checks
                .into_iter()
                .flatten()
                .map(|(name, health)| (name.to_string(), health))
                .collect(),
            sockets: Sockets {
                control: control.and_then(|(socket, file)| Some((put(Some(socket))?, put(Some(file))?))),
                api: put(api),
                metrics: put(metrics),
                state_lock: put(state_lock),
                namespace_lock: put(namespace_lock),
            },
            events: Events {
                run,
                begin,
                lines,
                unwritten,
                hooks: hooks.into_iter().map(|(name, place)| (name.to_string(), place)).collect(),
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
            results: self.runner.results(),
            told: Told { failures, strangers: self.speaker.strangers() },
        });
        log::flush(LAST_FLUSH);
        if version == Version::V1 {
            return Err(memory.hand_over_v1(form, old_bfd, descriptors));
        }
        let written = memory.write(form, descriptors)?;
        // Last, so that it is silent for the shortest time.
        let mut sockets = Descriptors::new();
        let bfd = self.speaker.freeze_bfd(&mut sockets)?;
        Err(written.hand_over(bfd, self.speaker.news_of_bfd(), sockets))
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

    /// Looks once more at the configuration, and makes what may fail. From here on signals are for the next program.
    async fn prepare(&mut self) -> Result<Prepared, Refusal> {
        let rehearsed = self.jobs.rehearsed.clone();
        let Some((rehearsed, version)) = rehearsed.and_then(|it| it.form.map(|form| (it, form))) else {
            return Err(refused("no program was tried out for it".to_owned()));
        };
        let until = clock::now() + CHANGED_PATIENCE;
        let (in_force, texts) = loop {
            self.settle().await?;
            let reading = self.jobs.reading.again();
            let (config, texts) = self.meanwhile(reading).await?;
            let is_same = config == **self.node.engine().config();
            if is_same && self.node.may_hand_over().is_ok() {
                self.inputs.are_last = true;
                break (config, texts);
            }
            if !is_same && until <= clock::now() {
                let path = self.config_path.display();
                return Err(refused(format!("{path} was changed during the upgrade, and is not in force")));
            }
            // Who changes the file may be about to ask for a reload.
            self.meanwhile(clock::sleep_until(clock::now() + CHANGED_AGAIN)).await;
        };
        let make = || {
            Ok::<_, io::Error>(Prepared {
                form: Memory::new()?,
                events: handover::memory("vipcast events")?,
                configuration: handover::memory_with("vipcast configuration", &serde_json::to_vec(&texts)?)?,
                in_force,
                state_lock: self.store.lock()?,
                namespace_lock: self.namespace.as_ref().and_then(NamespaceLock::freeze),
                rehearsed,
                version,
            })
        };
        make().map_err(|error| refused(format!("no memory for the state: {error}")))
    }

    /// Negotiates longer timers where the silence could exceed a detection time.
    async fn slow_bfd(&mut self) -> Result<(), Refusal> {
        let until = clock::now() + SLOW_PATIENCE;
        self.speaker.slow_bfd(SILENCE);
        while !self.bfd_is_slow().await? {
            if until <= clock::now() {
                let peers = self.speaker.quick_bfd(SILENCE).join(", ");
                return Err(refused(format!(
                    "BFD with {peers} could go down in the pause: the router has not agreed to longer timers"
                )));
            }
            self.meanwhile(clock::sleep_until(clock::now() + LOOK_AGAIN)).await;
        }
        Ok(())
    }

    /// Whether no session of BFD goes down in the silence. Refuses if its thread does not answer.
    async fn bfd_is_slow(&mut self) -> Result<bool, Refusal> {
        let until = clock::now() + SLOW_PATIENCE;
        let Some(answer) = self.speaker.ask_bfd_is_slow(SILENCE) else { return Ok(true) };
        loop {
            match answer.try_recv() {
                Ok(is_slow) => return Ok(is_slow),
                Err(TryRecvError::Empty) if clock::now() < until => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    return Err(refused("the thread of BFD does not answer".to_owned()));
                }
            }
            self.meanwhile(clock::sleep_until(clock::now() + BFD_ANSWERS)).await;
        }
    }

    /// Closes everything that the loop can be without for a moment. What was closed is in `closed`, whatever is refused.
    async fn close(&mut self, closed: &mut Closed, prepared: &Prepared) -> Result<(), Refusal> {
        self.slow_bfd().await?;
        let hangs =
            |what: &str| Err(refused(format!("{what} does not end, and the upgrade would wait for it")));
        let closing = self.server.freeze();
        let (doors, has_ended) = self.meanwhile(closing).await;
        closed.doors = Some(doors);
        if !has_ended {
            return hangs("the thread of the control socket");
        }
        let (hooks, file) = (self.hooks.freeze(HOOKS_PATIENCE_OF_RESTART), self.event_file.freeze());
        let ((hooks, has_ended), (unwritten, is_written)) =
            self.meanwhile(async { tokio::join!(hooks, file) }).await;
        closed.readers = Some((hooks, unwritten));
        if !has_ended {
            return hangs("the thread of the hooks");
        }
        if !is_written {
            return hangs("the write of the file of events");
        }
        let looked = self.meanwhile(restart::look_again(prepared.rehearsed.clone())).await;
        looked.unwrap_or_else(|_gone| Err(refused("no thread to look at the program".to_owned())))?;
        let flushed = self.journal.flushed(BACKLOG);
        if !self.meanwhile(flushed).await {
            return hangs("the backlog of the log");
        }
        let freezing = self.runner.freeze();
        closed.checks = self.meanwhile(freezing).await;
        if closed.checks.is_none() {
            return hangs("the thread of the checks");
        }
        if !self.bfd_is_slow().await? {
            return Err(refused("a session of BFD with short timers came up".to_owned()));
        }
        if prepared.in_force != **self.node.engine().config() {
            return Err(refused("a reload came in between".to_owned()));
        }
        self.node.may_hand_over()
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
        let Closed { doors, readers, checks: _ } = closed;
        let config = Arc::clone(self.node.engine().config());
        self.runner.go_on();
        self.speaker.restore_bfd();
        if let Some((hooks, unwritten)) = readers {
            self.hooks = Hooks::thaw(self.events.clone(), hooks, self.hooks.deliveries().clone());
            self.hooks.set(&config.hooks);
            self.event_file = EventFile::new(self.events.clone(), &config.state_dir, unwritten);
            self.event_file.set(config.event_file);
        }
        if let Some(doors) = doors {
            let opening = Server::thaw(&config, self.events.clone(), false, doors);
            (self.server, self.inputs.requests) = self.meanwhile(opening).await;
        }
        self.stays(why)
    }

    /// A copy of the state for the rehearsal.
    pub(super) fn copy(&self) -> Copy {
        Copy { by: Identity::program(), at: self.now.wall, node: self.node.freeze() }
    }

    /// Nothing was changed.
    fn stays(mut self, why: String) -> Self {
        (self.hands_over, self.inputs.are_last) = (false, false);
        self.not_upgraded = Some(why.clone());
        self.handle([Input::NotHandedOver(why)]);
        self
    }
}

fn refused(error: String) -> Refusal {
    Refusal { error, hint: None }
}
