//! The node: all state and all decisions of a vipcast, as one value.
//!
//! ```text
//!               ┌───────────────────────── Node ──────────────────────────┐
//!  Input, Now ─►│ commands, jobs ─┐                                       │─► Outbox { effects, records }
//!               │ peers, liveness ┼─► Event ─► Engine ─► bind, advertise… │
//!               │ facts of ports ─┘                                       │─► deadline()
//!               └─────────────────────────────────────────────────────────┘
//! ```
//!
//! The same inputs at the same times give the same outboxes. A clone behaves like the original.

mod frozen;

use std::sync::Arc;
use std::time::Duration;

use vipcast_bgp::Instant;

pub use self::frozen::Thawed;
use crate::commands::{Answer, Refusal};
use crate::effect::{Effect, Ending};
use crate::engine::{Engine, Event, Left, Override};
use crate::input::Input;
use crate::jobs::{Asker, Jobs, Program, Stage};
use crate::model::Config;
use crate::notice::Notice;
use crate::now::Now;
use crate::outbox::Outbox;
use crate::peers::Peers;
use crate::record::{Warning, What};

/// A smaller change of the wall clock is its slow adjustment.
const STEP: Duration = Duration::from_secs(1);
/// The longest interval between two looks at the wall clock, while an override ends by it.
const CLOCK_LOOK: Duration = Duration::from_secs(60);

/// The initial values of a node.
#[derive(Debug, Clone)]
pub struct Birth {
    /// The configuration.
    pub config: Arc<Config>,
    /// Warnings about it.
    pub warnings: Vec<Warning>,
    /// Its file, for messages.
    pub path: String,
    /// The state that a predecessor left.
    pub left: Left,
    /// The version of vipcast, and its commit.
    pub version: (String, Option<String>),
    /// The seed of all randomness. No two nodes of a network should have the same.
    pub seed: u64,
}

/// A vipcast. See the [module](self).
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) engine: Engine,
    pub(crate) peers: Peers,
    pub(crate) jobs: Jobs,
    /// The configuration file, for messages.
    pub(crate) path: String,
    version: (String, Option<String>),
    /// Warnings to record at the start.
    warnings: Vec<Warning>,
    forgotten: Vec<Notice>,
    /// Both clocks at the last wake-up.
    clocks: Option<Now>,
    /// When the clocks must be compared at the latest.
    look_at: Option<Instant>,
    next_record: u64,
    pub(crate) over: bool,
}

impl Node {
    /// A node with its configuration, and without facts about the world.
    pub fn new(birth: Birth) -> Self {
        let Birth { config, warnings, path, mut left, version, seed } = birth;
        let forgotten = forgotten(&mut left);
        Self {
            peers: Peers::new(config.router_id, seed),
            engine: Engine::new(config, left),
            jobs: Jobs::default(),
            path,
            version,
            warnings,
            forgotten,
            clocks: None,
            look_at: None,
            next_record: 1,
            over: false,
        }
    }

    /// Starts the node. `inputs` should have the host's addresses: the first OPEN to routers that keep our routes
    /// depends on them.
    pub fn start(&mut self, inputs: impl IntoIterator<Item = Input>, now: Now) -> Outbox {
        let mut out = Outbox::new(now, self.next_record);
        let (version, commit) = self.version.clone();
        out.tell(What::Started { version, commit, configuration: self.path.clone() });
        std::mem::take(&mut self.warnings).into_iter().for_each(|warning| out.tell(What::Warned(warning)));
        std::mem::take(&mut self.forgotten).into_iter().for_each(|notice| out.tell(What::Noticed(notice)));
        self.peers.announce_speaker(&mut out);
        self.take_all(inputs, now, &mut out);
        let begin = out.effects.len();
        self.engine.start(now.mono, &mut out);
        self.digest(begin, now, &mut out);
        self.finish(now, out)
    }

    /// Handles one input.
    pub fn handle(&mut self, input: Input, now: Now) -> Outbox {
        self.handle_all([input], now)
    }

    /// Handles inputs that are available at once, in their order, and acts on their combined result. After
    /// [`Effect::Exit`] only notices of ports are still recorded.
    pub fn handle_all(&mut self, inputs: impl IntoIterator<Item = Input>, now: Now) -> Outbox {
        let mut out = Outbox::new(now, self.next_record);
        if self.over {
            for input in inputs {
                if let Input::Noticed(notice) = input {
                    out.tell(What::Noticed(notice));
                }
            }
            return self.finish(now, out);
        }
        if self.clocks.is_some_and(|before| is_set(before, now)) {
            out.tell(What::ClockSet { wall: now.wall });
            self.engine_events([Event::WallClock(now.wall)], now, &mut out);
        }
        self.take_all(inputs, now, &mut out);
        self.finish(now, out)
    }

    /// When [`Input::Tick`] is due. It may have passed already; any later input has the same effect.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.engine.deadline(), self.look_at];
        deadlines.into_iter().flatten().min().filter(|_| !self.over)
    }

    /// The engine: facts and decisions.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The peers.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    fn finish(&mut self, now: Now, out: Outbox) -> Outbox {
        self.clocks = Some(now);
        self.look_at = self.engine.facts().overrides.any_ends().then(|| now.mono + CLOCK_LOOK);
        self.next_record = out.next();
        out
    }

    /// Events handed to the engine together are decided together: the common part of thousands of addresses is done
    /// once.
    fn take_all(&mut self, inputs: impl IntoIterator<Item = Input>, now: Now, out: &mut Outbox) {
        let mut events = Vec::new();
        for input in inputs {
            let waits = matches!(input, Input::Fact(_) | Input::Peer { .. } | Input::Tick);
            if !waits {
                self.engine_events(std::mem::take(&mut events), now, out);
            }
            events.extend(self.take(input, now, out));
            if !waits {
                self.engine_events(std::mem::take(&mut events), now, out);
            }
        }
        self.engine_events(events, now, out);
    }

    /// Acts on an input, and returns the events for the engine.
    fn take(&mut self, input: Input, now: Now, out: &mut Outbox) -> Vec<Event> {
        match input {
            Input::Fact(event) => return vec![event],
            Input::Tick => return vec![Event::Tick],
            Input::Peer { id, event, status } => return self.peers.happened(id, event, *status, out),
            Input::PeerEnded(id) => return self.peers.ended(id, out).into_iter().collect(),
            Input::Heard { interface, router } => {
                return self.peers.heard(&interface, router, now.mono, out).into_iter().collect();
            }
            Input::Cordon(cordon, order) => {
                let drain = order.map(|order| Override { order, since: now.wall, ends: None });
                return vec![Event::Cordon(cordon, drain)];
            }
            Input::Stop => {
                out.push(Effect::Stopping(self.engine.stop_takes()));
                return vec![Event::Shutdown];
            }
            Input::Bfd(event) => self.peers.bfd(&event, out),
            Input::Identified(router_id) => self.peers.identified(router_id, out),
            Input::Noticed(notice) => out.tell(What::Noticed(notice)),
            Input::Key { peer, source, key } => self.peers.key(&peer, &source, key, out),
            Input::Command { ticket, by, command } => self.command(ticket, by, command, now, out),
            Input::GivenUp(ticket) => self.jobs.give_up(ticket),
            Input::Read(read) => self.read(read, now, out),
            Input::Rehearsed(result) => self.rehearsed(result, out),
            Input::NoteLeft(result) => self.note_left(result, out),
            Input::Saved(ticket, result) => self.saved(ticket, result, out),
            Input::HangUp => self.ask_for_reload(Asker::signal(), out),
            Input::Upgrade => self.upgrade_by_signal(out),
            Input::NotHandedOver(why) => self.not_handed_over(why, out),
            Input::HandedOver { from, pause } => {
                let (version, commit) = self.version.clone();
                out.tell(What::Upgraded { from, to: Program { version, commit }, pause });
            }
            Input::HandOverFailed(reason) => out.tell(What::NotThawed { reason }),
            Input::Late(mut left) => {
                forgotten(&mut left).into_iter().for_each(|notice| out.tell(What::Noticed(notice)));
                self.engine_events([Event::Late(left)], now, out);
                out.push(Effect::Merged(Arc::clone(&self.engine.facts().overrides)));
            }
        }
        Vec::new()
    }

    /// Hands events to the engine, and the engine's effects to the peers.
    pub(crate) fn engine_events(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        now: Now,
        out: &mut Outbox,
    ) {
        let mut events = events.into_iter().peekable();
        if events.peek().is_none() {
            return;
        }
        let begin = out.effects.len();
        self.engine.handle_all(events, now.mono, out);
        self.digest(begin, now, out);
    }

    /// Replaces the engine's effects on all peers by effects on each peer, in their place.
    fn digest(&mut self, begin: usize, now: Now, out: &mut Outbox) {
        let mut follows = Vec::new();
        for effect in out.effects.split_off(begin) {
            if let Effect::Configure { config, restarted } = &effect {
                let (config, restarted) = (Arc::clone(config), restarted.clone());
                out.push(effect);
                follows.extend(self.peers.configure(&config, restarted, now.mono, out));
            } else if let Effect::Advertise(advertised) = &effect {
                self.peers.advertise(advertised);
                out.push(effect);
            } else if let Effect::Export(exports) = effect {
                self.peers.set_exports(exports, out);
            } else if effect == Effect::StopPeers {
                follows.extend(self.peers.stop_all(now.mono, out).then_some(Event::PeersStopped));
            } else if let Effect::Exit(ending) = effect {
                out.tell(What::Stopped);
                self.exit(ending, out);
            } else {
                out.push(effect);
            }
        }
        self.engine_events(follows, now, out);
    }

    /// Ends the node, and answers all jobs.
    pub(crate) fn exit(&mut self, ending: Ending, out: &mut Outbox) {
        if self.jobs.replacement.is_some_and(|asked| asked.stage == Stage::Noting) {
            // The end came while the note for the next process was written.
            out.push(Effect::WithdrawNote);
        }
        for ticket in self.jobs.end() {
            let refusal = Refusal::new("vipcast is stopping", "start it again when it has stopped");
            out.push(Effect::Answer(ticket, Answer::Conflict(refusal)));
        }
        out.push(Effect::Exit(ending));
        self.over = true;
    }
}

/// Takes out the notices about unreadable overrides of a predecessor.
fn forgotten(left: &mut Left) -> Vec<Notice> {
    let lost = std::mem::take(&mut left.forgotten).into_iter();
    lost.map(|(what, error)| Notice::OverrideForgotten { what, error }).collect()
}

/// Whether the wall clock was set between these two readings.
fn is_set(before: Now, now: Now) -> bool {
    let passed = now.mono.saturating_duration_since(before.mono);
    let off =
        now.wall.duration_since(before.wall).as_nanos() - i128::try_from(passed.as_nanos()).unwrap_or(0);
    off.unsigned_abs() > STEP.as_nanos()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_in_either_direction_and_one_that_runs_is_not() {
        let minute = Duration::from_secs(60);
        let at = |mono: u32, wall: i64, ms: i64| Now {
            mono: Instant::BOOT + minute * mono,
            wall: Timestamp::from_millisecond(wall * 60_000 + ms).unwrap(),
        };
        assert!(!is_set(at(0, 100, 0), at(1, 101, 0)));
        assert!(is_set(at(1, 101, 0), at(2, 200, 0)));
        assert!(!is_set(at(2, 200, 0), at(3, 201, 0)));
        assert!(is_set(at(3, 201, 0), at(4, 100, 0)));
        assert!(!is_set(at(3, 200, 0), at(4, 201, 900)));
    }
}
