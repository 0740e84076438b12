//! The begin of a daemon: all resources, made anew or handed over by the program before.
//!
//! ```text
//!  start ─────────────────────────────────────────────────┐
//!  thaw ── Node::thaw ─► Speaker::thaw ─► the pause is over ─┴─► rest: locks, events, doors, addresses, checks
//! ```

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use vipcast_bgp::net::{Descriptors, clock};
use vipcast_node::engine::{Binding, Left};
use vipcast_node::input::Input;
use vipcast_node::jobs::Program;
use vipcast_node::model::Config;
use vipcast_node::names::CheckName;
use vipcast_node::node::{Birth, Node, Thawed};
use vipcast_node::notice::Notice;
use vipcast_node::observe::Observer;
use vipcast_node::outbox::Outbox;

use super::answers::Waiting;
use super::heartbeat::{Heartbeat, Systemd};
use super::reading::{Reading, told};
use super::{Daemon, DaemonError, Inputs, Jobs, REPORTS, chance, orphans, read_clocks, state_mode};
use crate::check::runner::{Frozen, Results, Runner, raise_descriptor_limit};
use crate::check::tally::Tally;
use crate::config::{Diagnostics, Loaded};
use crate::control::server::{Handed, Server};
use crate::drain_file::DrainFile;
use crate::events::file::EventFile;
use crate::events::ring::Ring;
use crate::exporters::Exporters;
use crate::handover::{self, Events, OfDaemon, Sockets, V2};
use crate::hooks::{Deliveries, Hooks, Places};
use crate::journal::{self, Journal};
use crate::log::trouble;
use crate::logind::Logind;
use crate::metrics::counts::Counts;
use crate::signals::Signals;
use crate::speaker::{self, BfdRunning, Speaker};
use crate::state::{Opened, Store};
use crate::version::{VERSION, commit};
use crate::vip::Binder;
use crate::vip::namespace::NamespaceLock;

/// The hand-over that this process came from.
#[derive(Debug, Clone)]
pub(crate) struct HandedOver {
    /// The program before.
    pub(crate) from: Program,
    /// When this one took over.
    pub(crate) at: Timestamp,
    /// The time in which no session was served.
    pub(crate) pause: Duration,
    /// The number of hand-overs since the start.
    pub(crate) count: u64,
}

/// How the node begins.
#[derive(Debug)]
pub(super) enum Begin {
    /// It is new.
    Start,
    /// It goes on: effects for the ports, and requests to the kernel that have no answer.
    GoOn(Outbox, Vec<Binding>),
}

/// What the program before has left, apart from the node and its sessions.
#[derive(Debug, Default)]
struct Before {
    checks: Frozen,
    doors: Handed,
    state_lock: Option<OwnedFd>,
    namespace_lock: Option<OwnedFd>,
    ring: Option<Ring>,
    unwritten: u64,
    hooks: Places,
    counts: Counts,
    tally: Tally,
    deliveries: Deliveries,
    results: Results,
    failures: journal::Frozen,
    of_daemon: Option<OfDaemon>,
    handed_over: Option<HandedOver>,
}

/// The node with its sessions.
struct Heart {
    node: Node,
    begin: Begin,
    speaker: Speaker,
    streams: speaker::Streams,
    known: Vec<Input>,
}

impl Daemon {
    /// Acquires all resources of the daemon, without announcing anything. With an `observer` it shares nothing with a
    /// daemon on the same host that announces: no lock, no state directory. `failed`: a hand-over to this process failed,
    /// for this reason.
    ///
    /// # Errors
    /// A resource is missing; nothing stays behind.
    pub async fn start(
        config_path: PathBuf,
        loaded: Loaded,
        observer: Option<Observer>,
        failed: Option<String>,
    ) -> Result<Self, DaemonError> {
        let Loaded { mut config, warnings } = loaded;
        if let Some(observer) = &observer {
            observer.reduce(&mut config);
        }
        let config = Arc::new(config);
        let (path, ports) = (config_path.clone(), mpsc::unbounded_channel());
        let heart = |left| {
            let (speaker, streams, known) = Speaker::start(&config, ports.0.clone());
            let node = Node::new(birth(&config, &warnings, &path, left));
            Heart { node, begin: Begin::Start, speaker, streams, known: known.into_iter().collect() }
        };
        let mut daemon =
            Self::assemble(config_path, &config, observer, Before::default(), &ports.0, heart).await?;
        daemon.inputs.ports = ports.1;
        daemon.known.extend(failed.map(Input::HandOverFailed));
        Ok(daemon)
    }

    /// Goes on where the program before was. Its BFD sessions run already.
    ///
    /// # Errors
    /// The reason, in words. Then this process must [begin anew](handover::give_up).
    pub(crate) async fn thaw(
        config_path: PathBuf,
        loaded: Loaded,
        form: V2,
        mut descriptors: Descriptors,
        bfd: Option<BfdRunning>,
    ) -> Result<Self, String> {
        let Loaded { config, warnings } = loaded;
        let config = Arc::new(config);
        let V2 {
            by,
            frozen_at,
            descriptors: _,
            configuration: _,
            node,
            speaker,
            checks,
            sockets,
            events,
            metrics,
            daemon,
            results,
            told,
        } = form;
        let birth = birth(&config, &warnings, &config_path, Left::default());
        let Thawed { node, peers, unanswered, out } =
            Node::thaw(birth, &node, &|id| speaker.has(id.as_u64()), read_clocks())
                .map_err(|error| format!("the state of the node: {error}"))?;
        let ports = mpsc::unbounded_channel();
        let (speaker, streams) = Speaker::thaw(&speaker, &mut descriptors, peers, bfd, ports.0.clone())
            .map_err(|error| format!("the sessions: {}", in_words(&error)))?;
        speaker.know_strangers(told.strangers);
        let known = if node.peers().router_id().is_none() { speaker.find_identity(&config) } else { None };
        let pause = clock::now().saturating_duration_since(frozen_at);
        let counted = metrics;
        let Sockets { control, api, metrics, state_lock, namespace_lock } = sockets;
        let mut take = |number: Option<u32>| descriptors.take(number?);
        let doors = Handed {
            control: control.and_then(|(socket, file)| Some((take(Some(socket))?, take(Some(file))?))),
            api: take(api),
            metrics: take(metrics),
        };
        let (state_lock, namespace_lock) = (take(state_lock), take(namespace_lock));
        let lines = take(Some(events.lines));
        let mut before = Before {
            checks: checks
                .into_iter()
                .map(|(name, health)| (CheckName::from(name.as_str()), health))
                .collect(),
            doors,
            state_lock,
            namespace_lock,
            handed_over: Some(HandedOver {
                from: by.clone(),
                at: Timestamp::now(),
                pause,
                count: daemon.hand_overs.saturating_add(1),
            }),
            of_daemon: Some(daemon),
            counts: Counts::thaw(counted.counts),
            tally: Tally::thaw(counted.checks),
            deliveries: Deliveries::thaw(counted.hooks),
            results,
            failures: told.failures,
            ..Before::default()
        };
        before.remember(events, lines);
        let heart = |left: Left| {
            // The program before had not read the state directory.
            let late = (node.engine().is_unread() && !left.unread).then(|| Input::Late(Box::new(left)));
            let known = known.into_iter().chain(late).collect();
            Heart { node, begin: Begin::GoOn(out, unanswered), speaker, streams, known }
        };
        let mut daemon = Self::assemble(config_path, &config, None, before, &ports.0, heart)
            .await
            .map_err(|error| in_words(&error))?;
        daemon.inputs.ports = ports.1;
        daemon.known.insert(0, Input::HandedOver { from: by, pause });
        Ok(daemon)
    }

    /// Everything around a node and its sessions.
    async fn assemble(
        config_path: PathBuf,
        config: &Config,
        observer: Option<Observer>,
        before: Before,
        tell: &mpsc::UnboundedSender<Input>,
        heart: impl FnOnce(Left) -> Heart,
    ) -> Result<Self, DaemonError> {
        let observes = observer.is_some();
        let is_thawed = before.handed_over.is_some();
        raise_descriptor_limit();
        orphans::adopt();
        let mode = state_mode(config);
        let Opened { store, left } = match observes {
            true => Store::none(),
            false if is_thawed => Store::thaw(&config.state_dir, mode, before.state_lock)?,
            false => Store::open(&config.state_dir, mode)?,
        };
        let namespace = if observes { None } else { Some(NamespaceLock::thaw(before.namespace_lock)?) };
        let (events, counts) = (before.ring.unwrap_or_else(Ring::new), before.counts);
        let (server, requests) = Server::thaw(config, events.clone(), observes, before.doors).await;
        let (reports, checks) = mpsc::channel(REPORTS);
        let (address_events, addresses) = mpsc::unbounded_channel();
        let Heart { node, begin, speaker, streams, known } = heart(left);
        let state_dir = (!observes).then_some(config.state_dir.as_path());
        let (binder, unlisted) = Binder::start(address_events, state_dir).await?;
        let observing = observes.then(|| Notice::Observing { socket: config.control.socket.clone() });
        let mut drain_file = DrainFile::start(tell.clone(), config.drain_file.as_deref());
        let drained = drain_file.at_start().await;
        let logind = (!observes).then(|| Logind::start(tell.clone()));
        let event_file = EventFile::new(events.clone(), &config.state_dir, before.unwritten);
        let hooks = Hooks::thaw(events.clone(), before.hooks, before.deliveries);
        let now = read_clocks();
        let (started, born) =
            before.of_daemon.map_or((now.mono, now.wall), |daemon| (daemon.started, daemon.born));
        let runner = Runner::thaw(reports, binder.here(), before.checks, before.tally, before.results);
        Ok(Self {
            inputs: Inputs {
                checks,
                addresses,
                speaker: streams,
                // Those of the caller follow.
                ports: mpsc::unbounded_channel().1,
                requests,
                signals: Signals::new().map_err(DaemonError::Signals)?,
                are_last: false,
            },
            known: known
                .into_iter()
                .chain(unlisted)
                .chain(observing.map(Input::Noticed))
                .chain(drained)
                .collect(),
            begin,
            namespace,
            node,
            observer,
            speaker,
            exporters: Exporters::new(tell.clone(), now.mono),
            runner: runner.map_err(DaemonError::Checks)?,
            binder,
            store,
            drain_file,
            logind,
            jobs: Jobs {
                reading: Reading::new(config_path.clone()),
                rehearsal: None,
                rehearsed: None,
                note: None,
                saving: JoinSet::new(),
            },
            config_path,
            started,
            born,
            handed_over: before.handed_over,
            hands_over: false,
            not_upgraded: None,
            now,
            systemd: Systemd::new(),
            heartbeat: Heartbeat::of_environment(now.mono),
            ending: None,
            journal: Journal::start(events.clone(), counts.clone(), observes, &before.failures),
            events,
            event_file,
            hooks,
            counts,
            waiting: Waiting::default(),
            server,
        })
    }
}

impl Before {
    /// Takes the events of the program before, and the places of their readers. Without them there are no events from
    /// before, which is not fatal.
    fn remember(&mut self, events: Events, lines: Option<OwnedFd>) {
        let Events { run, begin, lines: _, unwritten, hooks } = events;
        let content = lines
            .ok_or_else(|| io::Error::other("there is no file of them"))
            .and_then(|lines| handover::content(&File::from(lines)))
            .and_then(|lines| Ok(Ring::thaw(run, begin, &lines)?));
        match content {
            Ok(ring) => {
                // A reader behind the last event would wait for as many more.
                let end = ring.end();
                let sane = |(position, missed): (u64, u64)| (position.min(end), missed.min(end));
                self.ring = Some(ring);
                self.unwritten = unwritten.min(end);
                self.hooks =
                    hooks.into_iter().map(|(name, place)| (name.as_str().into(), sane(place))).collect();
            }
            Err(error) => trouble!(%error, "the events of the program before are forgotten"),
        }
    }
}

fn birth(config: &Arc<Config>, warnings: &Diagnostics, path: &Path, left: Left) -> Birth {
    Birth {
        config: Arc::clone(config),
        warnings: told(warnings),
        path: path.display().to_string(),
        left,
        version: (VERSION.to_owned(), commit().map(str::to_owned)),
        seed: chance(),
    }
}

/// An error and its causes.
pub(crate) fn in_words(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_behind_the_last_event_is_taken_for_its_end() {
        let lines =
            r#"{"seq":1,"at":"2026-01-01T00:00:00.000Z","event":"announced","level":"info","message":"up"}"#;
        let file = handover::memory_with("test", lines.as_bytes()).unwrap();
        let hooks = [("page".to_owned(), (u64::MAX, u64::MAX)), ("late".to_owned(), (6, 1))].into();
        let events = Events { run: "0".to_owned(), begin: 5, lines: 1, unwritten: u64::MAX, hooks };
        let mut before = Before::default();
        before.remember(events, Some(file.into()));
        assert_eq!((before.unwritten, before.ring.map(|ring| ring.end())), (6, Some(6)));
        let places: Vec<_> = before.hooks.into_values().collect();
        assert_eq!(places, [(6, 1), (6, 6)]);
    }
}
