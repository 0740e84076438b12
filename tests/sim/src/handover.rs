//! The hand-over of a process to the next program: node, peers and checks are frozen, written, read and thawed, in the
//! order of the daemon. Probes under way and notifications of the kernel are lost; connections stay, but for dials.
//!
//! The next program is the same, and so is its configuration: whatever it does that was not due is a violation (I13).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vipcast_bgp::fsm::{Input as PeerInput, Peer};
use vipcast_bgp::{Instant, State};
use vipcast_node::effect::Start;
use vipcast_node::engine::{Binding, Event, Left};
use vipcast_node::health::Health;
use vipcast_node::input::Input;
use vipcast_node::node::{Birth, Node, Thawed};

use crate::host::Port;
use crate::rules::Violation;
use crate::world::{Due, World};

/// How long a process waits for what passes by itself.
const SETTLE: Duration = Duration::from_secs(3);
/// The interval between looks; a daemon looks after every input.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl World {
    /// The process becomes the next program as soon as the node may be handed over.
    pub fn hand_over(&mut self, number: usize) {
        self.hand_over_until(number, self.hosts[number].epoch, self.now + SETTLE);
    }

    /// The same, if that is by `until`.
    pub fn hand_over_until(&mut self, number: usize, epoch: u64, until: Instant) {
        let host = &self.hosts[number];
        let Some(node) = host.node.as_ref().filter(|_| host.epoch == epoch) else { return };
        if let Err(refusal) = node.may_hand_over() {
            if self.now >= until {
                return self.tell(
                    number,
                    Port::Operator,
                    Duration::ZERO,
                    Input::NotHandedOver(refusal.error),
                );
            }
            self.agenda.add(until.min(self.now + LOOK_AGAIN), Due::HandOver { node: number, epoch, until });
            return;
        }
        let name = self.hosts[number].name.clone();
        self.trace.tell(self.now, || format!("{name}: hands over"));
        if let Err(what) = self.go_on(number) {
            self.violated(Violation::new("I13 a hand-over changes nothing", format!("{name}: {what}")));
        }
    }

    fn go_on(&mut self, number: usize) -> Result<(), String> {
        let now = self.clocks(number);
        self.lose_news(number);
        self.checks_go_on(number)?;
        let host = &mut self.hosts[number];
        let Some(node) = host.node.take() else { return Ok(()) };
        let was_due = node.deadline().is_some_and(|deadline| deadline <= now.mono);
        let birth = Birth {
            config: Arc::clone(node.engine().config()),
            warnings: Vec::new(),
            path: "/etc/vipcast.yaml".to_owned(),
            left: Left::default(),
            version: ("next".to_owned(), None),
            seed: 0,
        };
        let sessions = &host.sessions;
        let thawed = Node::thaw(birth, &rewritten(&node.freeze())?, &|id| sessions.contains_key(&id), now);
        let Thawed { node, peers, unanswered, out } = thawed.map_err(|error| format!("the node: {error}"))?;
        if peers.len() != sessions.len() {
            return Err(format!("{} of {} peers go on", peers.len(), sessions.len()));
        }
        host.node = Some(node);
        for start in peers {
            self.peer_goes_on(number, start)?;
        }
        let done = out.effects.iter().find(|effect| effect.is_felt());
        if let Some(effect) = done.filter(|_| !was_due) {
            return Err(format!("it does {effect:?}"));
        }
        self.perform(number, out);
        let host = &mut self.hosts[number];
        host.deaf = true;
        let epoch = host.epoch;
        let at = self.now + self.rng.between(Duration::from_millis(1), Duration::from_millis(40));
        self.agenda.add(at, Due::Listing { node: number, epoch, unanswered });
        Ok(())
    }

    /// The next program has asked the kernel for everything, and listens to it from now on.
    pub fn list_anew(&mut self, number: usize, epoch: u64, unanswered: Vec<Binding>) {
        let host = &mut self.hosts[number];
        if host.epoch != epoch {
            return;
        }
        host.deaf = false;
        let listing = host.kernel.listing();
        self.tell(number, Port::Kernel, Duration::ZERO, Input::Fact(Event::Listed(listing)));
        for binding in unanswered {
            self.tell(number, Port::Kernel, Duration::ZERO, Input::Fact(Event::Unanswered(binding)));
        }
    }

    /// What the kernel has said and nobody has read.
    fn lose_news(&mut self, number: usize) {
        self.agenda.retain(|due| {
            let Due::Told { node, input, .. } = due else { return true };
            let is_news = matches!(
                **input,
                Input::Fact(Event::Listed(_) | Event::Link(..) | Event::Added(..) | Event::Removed(_))
            );
            *node != number || !is_news
        });
    }

    fn checks_go_on(&mut self, number: usize) -> Result<(), String> {
        let names: Vec<_> = self.hosts[number].checks.keys().cloned().collect();
        for name in names {
            let host = &mut self.hosts[number];
            let Some(running) = host.checks.get_mut(&name) else { continue };
            let frozen = rewritten(&running.health.freeze(&running.definition))?;
            running.health = Health::thaw(&running.definition, &frozen, self.now)
                .map_err(|error| format!("the check {name}: {error}"))?;
            // The result of a probe under way is lost.
            host.runs += 1;
            running.run = host.runs;
            self.arm_check(number, &name);
        }
        Ok(())
    }

    fn peer_goes_on(&mut self, number: usize, start: Start) -> Result<(), String> {
        let Start { id, advertised, watched, liveness, .. } = start;
        let now = self.now;
        let host = &self.hosts[number];
        let Some(which) = host.sessions.get(&id).map(|peering| peering.speaker) else { return Ok(()) };
        let (routes, watched_then) = (host.advertised.routes.clone(), Arc::clone(&host.watched));
        let Some(speaker) = self.speakers.get_mut(which).and_then(Option::as_mut) else { return Ok(()) };
        let before = speaker.peer.status(now);
        let frozen = rewritten(&speaker.peer.freeze())?;
        let config = speaker.peer.config().clone();
        speaker.peer = Peer::thaw(config, &frozen, routes, watched_then, now)
            .map_err(|error| format!("a peer: {error}"))?;
        self.close_others(
            which,
            &frozen.connections().iter().map(|connection| connection.id).collect::<Vec<_>>(),
        );
        self.speak(which, PeerInput::Watch(watched));
        self.speak(which, PeerInput::Advertise(advertised.version, advertised.routes, advertised.extent));
        self.speak(which, PeerInput::Liveness(liveness));
        let after = self.speakers.get(which).and_then(Option::as_ref).map(|speaker| speaker.peer.status(now));
        if before.state == State::Established && after.as_ref() != Some(&before) {
            return Err(format!("a session was {before:?} and is {after:?}"));
        }
        Ok(())
    }
}

/// A frozen form after its way through a file.
fn rewritten<T: Serialize + DeserializeOwned>(frozen: &T) -> Result<T, String> {
    let text = serde_json::to_string(frozen).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))
}
