//! A host with a vipcast: the node, and its ports.
//!
//! The ports decide nothing. Each hands in its inputs, some time later and in its own order, and performs the node's
//! effects. Only this file and [`checks`](crate::checks) know the node's inputs and effects by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vipcast_bgp::fsm::Input as PeerInput;
use vipcast_bgp::{Instant, PeerEvent, PeerStatus, Routes, Watched};
use vipcast_node::commands::{Command, Refusal};
use vipcast_node::effect::{Effect, Ending, PeerId, Start};
use vipcast_node::engine::{Advertised, Asked, Binding, Event, Left};
use vipcast_node::input::{Input, Read};
use vipcast_node::jobs::{Next, NotRead, Program, Ticket};
use vipcast_node::names::CheckName;
use vipcast_node::node::{Birth, Node};
use vipcast_node::outbox::Outbox;

use crate::action::Behaviour;
use crate::disk::{self, Disk};
use crate::kernel::Kernel;
use crate::net::Owner;
use crate::probe::{self, Running};
use crate::shape::{Shape, Site, router_at};
use crate::truth::Truth;
use crate::world::{Due, Machine, Setup, World};

/// What brings news to a node; each keeps its own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// Notifications of the kernel.
    Kernel,
    /// Its answers, which come no earlier than what they are about.
    Answers,
    /// Results of checks.
    Checks,
    /// Events of peers.
    Peers,
    /// Commands and signals.
    Operator,
    /// The disk.
    Disk,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub site: Site,
    /// It has power, and has booted.
    pub on: bool,
    /// How often it has booted.
    pub boot: u64,
    /// How many processes there were.
    pub epoch: u64,
    /// The process, if it runs.
    pub node: Option<Node>,
    /// The configuration file; `None`: it is broken.
    pub file: Option<Shape>,
    /// What the process last read there.
    pub reading: Option<Shape>,
    /// The next process is the follower of a restart.
    pub restarted: bool,
    /// Nobody reads what the kernel says: the next program has not asked it yet.
    pub deaf: bool,
    /// How far the wall clock is off, in seconds.
    pub wall_offset: i64,
    /// Its kernel.
    pub kernel: Kernel,
    /// Its disk.
    pub disk: Disk,
    /// What can be probed.
    pub services: BTreeMap<String, Behaviour>,
    /// The checks that run.
    pub checks: BTreeMap<CheckName, Running>,
    /// What the world knows of it.
    pub truth: Truth,
    pub(crate) runs: u64,
    armed: Option<Instant>,
    pub(crate) sessions: BTreeMap<PeerId, Peering>,
    pub(crate) advertised: Advertised,
    pub(crate) watched: Arc<Watched>,
    orders: BTreeMap<Port, Instant>,
    tickets: u64,
}

/// A peer of the node, as it runs.
#[derive(Debug)]
pub(crate) struct Peering {
    pub(crate) speaker: usize,
    router: usize,
}

impl Host {
    /// A host on which nothing runs yet.
    pub fn new(number: usize, setup: Setup) -> Self {
        Self {
            name: format!("edge-{}", number + 1),
            site: Site { node: number, routers: setup.routers, graceful: setup.graceful },
            on: true,
            boot: 0,
            epoch: 0,
            node: None,
            file: Some(Shape::default()),
            reading: None,
            restarted: false,
            deaf: false,
            wall_offset: 0,
            kernel: Kernel::default(),
            disk: Disk::default(),
            services: probe::services(),
            checks: BTreeMap::new(),
            truth: Truth::default(),
            runs: 0,
            armed: None,
            sessions: BTreeMap::new(),
            advertised: Advertised::default(),
            watched: Arc::default(),
            orders: BTreeMap::new(),
            tickets: 0,
        }
    }

    /// What its peers were last given.
    pub fn announced(&self) -> &Routes {
        &self.advertised.routes
    }

    /// The peer that was started first of those that run.
    pub fn first_peer(&self) -> Option<PeerId> {
        self.sessions.keys().next().copied()
    }

    /// The peer that takes connections of a router.
    pub fn speaker_for(&self, router: usize) -> Option<usize> {
        self.sessions.values().find(|peering| peering.router == router).map(|peering| peering.speaker)
    }
}

impl World {
    /// A process begins, unless there is one, or the host has no power.
    pub fn start_process(&mut self, number: usize, boot: u64) {
        let now = self.clocks(number);
        let host = &mut self.hosts[number];
        if host.node.is_some() || !host.on || host.boot != boot {
            return;
        }
        // A broken file keeps it from starting (I8): the operator mends it, and systemd tries again.
        let shape = host.file.get_or_insert_with(|| host.truth.shape.clone().unwrap_or_default()).clone();
        host.epoch += 1;
        let restarted = std::mem::take(&mut host.restarted);
        let unread = host.disk.hangs;
        let left = match unread {
            true => Left { unread, ..Left::default() },
            false => host.disk.left(boot, now, restarted),
        };
        host.disk.unread = unread;
        let config = Arc::new(shape.config(host.site));
        let birth = Birth {
            config: Arc::clone(&config),
            warnings: Vec::new(),
            path: "/etc/vipcast.yaml".to_owned(),
            left,
            version: ("sim".to_owned(), None),
            seed: self.rng.number(),
        };
        let mut node = Node::new(birth);
        let listing = host.kernel.listing();
        host.advertised = Advertised::default();
        host.truth.starts(shape, config, &host.disk, self.now);
        self.trace.tell(self.now, || format!("{}: starts", self.hosts[number].name));
        let out = node.start([Input::Fact(Event::Listed(listing))], now);
        self.steps += 1;
        self.hosts[number].node = Some(node);
        self.perform(number, out);
    }

    /// Tells the process of a host something, after a delay and behind what the port has told it before.
    pub fn tell(&mut self, number: usize, port: Port, after: Duration, input: Input) {
        let host = &mut self.hosts[number];
        let mut at = self.now + after;
        at = at.max(host.orders.get(&port).copied().unwrap_or(at));
        if port == Port::Answers {
            at = at.max(host.orders.get(&Port::Kernel).copied().unwrap_or(at));
        }
        host.orders.insert(port, at);
        self.agenda.add(at, Due::Told { node: number, epoch: host.epoch, input: Box::new(input) });
    }

    /// The process hears something.
    pub fn deliver(&mut self, number: usize, epoch: u64, input: Input) {
        if self.hosts[number].epoch != epoch || self.hosts[number].node.is_none() {
            return;
        }
        let mut inputs = Vec::new();
        let mut next = Some(input);
        while let Some(input) = next {
            self.note_told(number, &input);
            match self.setup.bug {
                None => inputs.push(input),
                Some(bug) => inputs.extend(bug.hears(&self.hosts[number], input)),
            }
            next = self.told_too(number, epoch);
        }
        self.handle_all(number, inputs);
    }

    /// The timer of a node has gone off.
    pub fn tick_node(&mut self, number: usize, at: Instant) {
        let now = self.now;
        let host = &mut self.hosts[number];
        if host.armed != Some(at) {
            return;
        }
        host.armed = None;
        let Some(node) = &host.node else { return };
        if node.deadline().is_some_and(|deadline| deadline <= now) {
            self.handle_all(number, vec![Input::Tick]);
        } else {
            self.arm_node(number);
        }
    }

    fn handle_all(&mut self, number: usize, inputs: Vec<Input>) {
        let now = self.clocks(number);
        let Some(node) = self.hosts[number].node.as_mut() else { return };
        self.steps += u64::try_from(inputs.len()).unwrap_or_default();
        let out = node.handle_all(inputs, now);
        self.perform(number, out);
    }

    fn arm_node(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        let Some(deadline) = host.node.as_ref().and_then(Node::deadline) else { return };
        if host.armed.is_none_or(|armed| armed > deadline) {
            let at = deadline.max(self.now);
            host.armed = Some(at);
            self.agenda.add(at, Due::Timer(Machine::Node(number)));
        }
    }

    /// Does what the node says.
    pub(crate) fn perform(&mut self, number: usize, out: Outbox) {
        let mut effects = out.effects;
        if let Some(bug) = self.setup.bug {
            effects = bug.does(&self.hosts[number], effects);
        }
        // As in the daemon, which notes the order and goes on when everything else is done.
        let hands_over = effects.iter().any(|effect| matches!(effect, Effect::HandOver));
        for effect in effects {
            self.perform_one(number, effect);
        }
        if hands_over {
            self.hand_over(number);
        }
        self.arm_node(number);
    }

    fn perform_one(&mut self, number: usize, effect: Effect) {
        match effect {
            Effect::Configure { config, restarted: _ } => self.run_checks(number, &config.checks),
            Effect::Bind(address) => self.request(number, address, Asked::Bind),
            Effect::Unbind(address) => {
                self.i2_nobody_needs_it(number, &address);
                self.i3_it_is_ours(number, &address);
                self.request(number, address, Asked::Unbind);
            }
            Effect::Advertise(advertised) => {
                let before = std::mem::replace(&mut self.hosts[number].advertised, advertised.clone());
                self.i2_what_is_new_is_bound(number, &before.routes, &advertised.routes);
                let Advertised { version, routes, extent } = advertised;
                self.give_all(number, || PeerInput::Advertise(version, routes.clone(), extent));
            }
            Effect::StartPeer(start) => self.start_peer(number, *start),
            Effect::StopPeer(id, notification) => {
                if let Some(Peering { speaker, .. }) = self.hosts[number].sessions.remove(&id) {
                    self.speak(speaker, PeerInput::Stop(notification));
                    let after = self.rng.between(Duration::from_millis(1), Duration::from_millis(20));
                    self.tell(number, Port::Peers, after, Input::PeerEnded(id));
                }
            }
            Effect::Tune(id, tuning) => self.give(number, id, PeerInput::Tune(tuning)),
            Effect::Liveness(id, liveness) => self.give(number, id, PeerInput::Liveness(liveness)),
            Effect::Watch(watched) => {
                self.hosts[number].watched = Arc::clone(&watched);
                self.give_all(number, || PeerInput::Watch(Arc::clone(&watched)));
            }
            Effect::SaveOverrides(overrides) | Effect::Merged(overrides) => {
                let host = &mut self.hosts[number];
                host.disk.unread = false;
                let (orders, forces) = (host.truth.orders.clone(), host.truth.forces.clone());
                let boot = host.boot;
                let wish = host.disk.wish();
                (wish.overrides, wish.boot) = ((*overrides).clone(), boot);
                (wish.orders, wish.forces) = (orders, forces);
                self.write(number);
            }
            Effect::SaveHeldBack(held) => {
                self.hosts[number].disk.wish().held = (*held).clone();
                self.write(number);
            }
            Effect::TellWhenSaved(ticket, patience) => self.tell_when_saved(number, ticket, patience),
            Effect::ReadConfiguration => {
                let after = self.rng.between(Duration::from_millis(1), Duration::from_millis(30));
                let host = &mut self.hosts[number];
                host.reading.clone_from(&host.file);
                let read = match &host.file {
                    Some(shape) => {
                        Ok(Read { config: Arc::new(shape.config(host.site)), warnings: Vec::new() })
                    }
                    None => Err(NotRead::from(Refusal { error: "it is broken".to_owned(), hint: None })),
                };
                self.tell(number, Port::Operator, after, Input::Read(read));
            }
            Effect::Rehearse(_) => {
                let after = self.rng.between(Duration::from_millis(30), Duration::from_millis(200));
                let program = Program { version: "next".to_owned(), commit: None };
                let next = Next { program, older_form: None };
                self.tell(number, Port::Operator, after, Input::Rehearsed(Ok(next)));
            }
            // Last of all.
            Effect::HandOver => {}
            Effect::LeaveNote(vips) => {
                let disk = &mut self.hosts[number].disk;
                let result = match (disk.hangs, disk.full) {
                    (true, _) => Err("the state directory does not answer".to_owned()),
                    (false, true) => Err("no space left on device".to_owned()),
                    (false, false) => {
                        disk.file.note = Some(vips);
                        Ok(())
                    }
                };
                let after = Duration::from_millis(if self.hosts[number].disk.hangs { 2000 } else { 10 });
                self.tell(number, Port::Disk, after, Input::NoteLeft(result));
            }
            Effect::WithdrawNote => self.hosts[number].disk.file.note = None,
            Effect::Answer(_, answer) => {
                let name = &self.hosts[number].name;
                self.trace.tell(self.now, || format!("{name}: answers {answer:?}"));
            }
            Effect::Exit(ending) => self.exits(number, ending),
            // Told to systemd or logind.
            Effect::Stopping(_) | Effect::LetMachineStop => {}
            // The node takes connections as soon as it has a peer for them.
            Effect::Listen(_) => {}
            // No peer of these worlds has any of this.
            Effect::Bfd(_) | Effect::ListenForRouters(_) | Effect::LookForKeys(_) => {}
            // The node's own.
            Effect::Export(_) | Effect::StopPeers => {}
        }
    }

    fn start_peer(&mut self, number: usize, start: Start) {
        let Start { id, transport, config, advertised, watched, liveness } = start;
        let std::net::IpAddr::V4(address) = transport.address.remote.ip() else { return };
        let (router, epoch) = (router_at(address), self.hosts[number].epoch);
        let speaker = self.new_speaker(config, Owner::Node { node: number, epoch, id, router });
        self.hosts[number].sessions.insert(id, Peering { speaker, router });
        self.hosts[number].watched = Arc::clone(&watched);
        self.speak(speaker, PeerInput::Watch(watched));
        self.speak(speaker, PeerInput::Advertise(advertised.version, advertised.routes, advertised.extent));
        self.speak(speaker, PeerInput::Liveness(liveness));
        self.speak(speaker, PeerInput::Start);
    }

    fn give(&mut self, number: usize, id: PeerId, input: PeerInput) {
        if let Some(speaker) = self.hosts[number].sessions.get(&id).map(|peering| peering.speaker) {
            self.speak(speaker, input);
        }
    }

    fn give_all(&mut self, number: usize, input: impl Fn() -> PeerInput) {
        let speakers: Vec<usize> =
            self.hosts[number].sessions.values().map(|peering| peering.speaker).collect();
        for speaker in speakers {
            self.speak(speaker, input());
        }
    }

    /// A peer has something to say.
    pub fn peer_says(
        &mut self,
        number: usize,
        epoch: u64,
        id: PeerId,
        event: PeerEvent,
        status: Box<PeerStatus>,
    ) {
        if self.hosts[number].epoch == epoch {
            let after = self.rng.between(Duration::ZERO, Duration::from_micros(300));
            self.tell(number, Port::Peers, after, Input::Peer { id, event, status });
        }
    }

    fn request(&mut self, number: usize, address: Binding, asked: Asked) {
        let after = self.rng.between(Duration::from_micros(20), Duration::from_millis(2));
        let boot = self.hosts[number].boot;
        self.agenda.add(self.now + after, Due::Request { node: number, boot, address, asked });
    }

    /// The kernel looks at a request.
    pub fn kernel_works(&mut self, number: usize, boot: u64, address: Binding, asked: Asked) {
        let now = self.now;
        let host = &mut self.hosts[number];
        if host.boot != boot || !host.on {
            return;
        }
        let done = host.kernel.work(address, asked, now);
        let name = &host.name;
        let word = match asked {
            Asked::Bind => "binds",
            Asked::Unbind => "unbinds",
        };
        self.trace.tell(now, || match &done.answer {
            Ok(()) => format!("{name}: {word} {}", address.vip().short()),
            Err(why) => format!("{name}: {word} {}: {why}", address.vip().short()),
        });
        self.kernel_says(number, done.news.into_iter().collect());
        let lost = self.hosts[number].kernel.mumbles;
        let after = self.rng.between(Duration::ZERO, Duration::from_millis(1));
        self.tell(number, Port::Answers, after, Input::Fact(Event::Answered(address, done.answer)));
        if lost {
            // Whoever has lost an answer lists everything.
            let listing = self.hosts[number].kernel.listing();
            self.tell(number, Port::Kernel, after, Input::Fact(Event::Listed(listing)));
        }
    }

    /// The kernel says what has changed, to whoever listens.
    pub fn kernel_says(&mut self, number: usize, news: Vec<Event>) {
        self.dirty[number] = true;
        if self.hosts[number].deaf {
            return;
        }
        let late = if self.rng.chance(3) { 40_000 } else { 1_000 };
        for event in news {
            let after = self.rng.between(Duration::from_micros(20), Duration::from_micros(late));
            self.tell(number, Port::Kernel, after, Input::Fact(event));
        }
    }

    /// An operator or a signal.
    pub fn command(&mut self, number: usize, command: Command) {
        let host = &mut self.hosts[number];
        host.tickets += 1;
        let (ticket, by) = (Ticket(host.tickets), "alice".to_owned());
        self.tell(number, Port::Operator, Duration::ZERO, Input::Command { ticket, by, command });
    }

    /// The process has ended by itself.
    fn exits(&mut self, number: usize, ending: Ending) {
        self.i9_it_ended_well(number, ending);
        let name = &self.hosts[number].name;
        self.trace.tell(self.now, || format!("{name}: exits, {ending:?}"));
        let host = &mut self.hosts[number];
        host.restarted = ending == Ending::Restart;
        // An end waits for what is to be written, if the disk takes it.
        if !host.disk.hangs && !host.disk.full && !host.disk.unread {
            host.disk.grant();
        }
        let after = if ending == Ending::Restart { 20 } else { 1000 };
        self.end_process(number, true);
        self.start_later(number, Duration::from_millis(after));
    }

    /// Whatever the reason, there is no process any more; `says`: the kernel closes its connections.
    pub fn end_process(&mut self, number: usize, says: bool) {
        let host = &mut self.hosts[number];
        if host.node.take().is_none() {
            return;
        }
        host.truth.ends(self.now);
        host.epoch += 1;
        host.armed = None;
        host.deaf = false;
        host.checks.clear();
        let peerings = std::mem::take(&mut host.sessions);
        host.disk.forget();
        self.dirty[number] = true;
        for Peering { speaker, .. } in peerings.into_values() {
            self.kill_speaker(speaker, says);
        }
        for router in 0..self.routers.len() {
            let pair = self.pair_index(number, router);
            self.pairs[pair].since[crate::net::NODE] = None;
        }
    }

    /// systemd starts it again, and waits for a disk that does not answer.
    pub fn start_later(&mut self, number: usize, after: Duration) {
        let host = &self.hosts[number];
        let waits = if host.disk.hangs { disk::PATIENCE } else { Duration::ZERO };
        self.agenda.add(self.now + after + waits, Due::Start { node: number, boot: host.boot });
    }
}
