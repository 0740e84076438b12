//! Routers on one LAN in simulated time: packets as octets, lost, delayed and cut off; routers that sleep, crash and restart.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use vipcast_vrrp::{Config, Endpoints, Input, Instance, Instant, Output, Packet, State, iana};

use super::random::Random;

/// A router that sleeps keeps this many packets; its kernel drops the others.
const SOCKET_BUFFER: usize = 16;

pub(crate) struct Lan {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) random: Random,
    /// From each to each.
    pub(crate) links: Vec<Vec<Wire>>,
    /// How late a router is at most that does not sleep.
    pub(crate) lateness: Duration,
    /// Inputs handled.
    pub(crate) steps: u64,
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    events: u64,
}

/// One direction between two routers.
#[derive(Clone, Copy)]
pub(crate) struct Wire {
    pub(crate) loss_percent: u64,
    pub(crate) delay: Duration,
}

pub(crate) struct Node {
    /// `None`: it is off.
    pub(crate) instance: Option<Instance>,
    pub(crate) config: Config,
    pub(crate) fault: bool,
    pub(crate) asleep: bool,
    pub(crate) sent: u64,
    inbox: VecDeque<(Vec<u8>, Endpoints, Instant)>,
    wake: Option<Instant>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives { to: usize, payload: Vec<u8>, endpoints: Endpoints },
    Wakes { node: usize },
}

impl Node {
    /// Whether it could be Active.
    pub(crate) fn is_eligible(&self) -> bool {
        self.instance.as_ref().is_some_and(|instance| match instance.state() {
            State::Backup | State::Active => true,
            State::Initialize | State::Fault => false,
        })
    }

    pub(crate) fn is_active(&self) -> bool {
        self.instance.as_ref().is_some_and(|instance| instance.state() == State::Active)
    }
}

impl Lan {
    /// All routers off.
    pub(crate) fn new(configs: Vec<Config>, random: Random) -> Self {
        let wire = Wire { loss_percent: 0, delay: Duration::from_millis(1) };
        let links = vec![vec![wire; configs.len()]; configs.len()];
        let node = |config| Node {
            instance: None,
            config,
            fault: false,
            asleep: false,
            sent: 0,
            inbox: VecDeque::new(),
            wake: None,
        };
        Self {
            now: Instant::BOOT,
            nodes: configs.into_iter().map(node).collect(),
            random,
            links,
            lateness: Duration::from_millis(1),
            steps: 0,
            queue: BinaryHeap::new(),
            events: 0,
        }
    }

    /// The numbers of the routers that are Active.
    pub(crate) fn active(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].is_active()).collect()
    }

    /// Handles everything up to `end`; `seen` looks after each event.
    pub(crate) fn run(&mut self, end: Instant, mut seen: impl FnMut(&Self)) {
        while let Some(Reverse((at, _, _))) = self.queue.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, event))) = self.queue.pop() else { break };
            self.now = at;
            match event {
                Event::Arrives { to, payload, endpoints } => self.arrives(to, payload, endpoints),
                Event::Wakes { node } => self.wakes(node),
            }
            seen(self);
        }
        self.now = end;
        seen(self);
    }

    /// Turns a router on.
    pub(crate) fn start(&mut self, node: usize) {
        let mut instance = Instance::new(self.nodes[node].config.clone(), self.now);
        let fault = self.nodes[node].fault;
        let outputs = instance.handle(Input::Fault(fault), self.now);
        assert_eq!(outputs, []);
        self.nodes[node].instance = Some(instance);
        self.input(node, Input::Start);
    }

    /// Turns a router off, as a crash does.
    pub(crate) fn crash(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.instance = None;
        node.asleep = false;
        node.inbox.clear();
    }

    /// The router handles nothing until it is woken up.
    pub(crate) fn sleep(&mut self, node: usize) {
        self.nodes[node].asleep = true;
    }

    pub(crate) fn wake_up(&mut self, node: usize) {
        self.nodes[node].asleep = false;
        self.wakes(node);
    }

    /// An input of the router's own program.
    pub(crate) fn input(&mut self, node: usize, input: Input) {
        let now = self.now;
        self.steps += 1;
        let Some(instance) = &mut self.nodes[node].instance else { return };
        let outputs = instance.handle(input, now);
        self.nodes[node].sent +=
            outputs.iter().filter(|output| matches!(output, Output::Transmit(_))).count() as u64;
        for output in outputs {
            let Output::Transmit(sent) = output else { continue };
            for (endpoints, payload) in sent.packets() {
                self.send(node, endpoints, &payload);
            }
        }
        self.schedule(node);
    }

    pub(crate) fn lose_what_is_under_way(&mut self) {
        self.queue.retain(|Reverse((_, _, event))| matches!(event, Event::Wakes { .. }));
    }

    fn send(&mut self, from: usize, endpoints: Endpoints, payload: &[u8]) {
        let destination = endpoints.destination();
        for to in 0..self.nodes.len() {
            let multicast = destination == iana::GROUP_V4 || destination == iana::GROUP_V6;
            let wire = self.links[from][to];
            if to == from || !multicast && destination != self.nodes[to].config.link.source() {
                continue;
            }
            if self.random.below(100) < wire.loss_percent {
                continue;
            }
            let at = self.now + self.random.up_to(wire.delay);
            self.push(at, Event::Arrives { to, payload: payload.to_vec(), endpoints });
        }
    }

    fn arrives(&mut self, to: usize, payload: Vec<u8>, endpoints: Endpoints) {
        let node = &mut self.nodes[to];
        if node.instance.is_none() {
            return;
        }
        if node.inbox.len() < SOCKET_BUFFER {
            node.inbox.push_back((payload, endpoints, self.now));
        }
        if !node.asleep {
            self.read(to);
        }
    }

    /// Every packet first, then the deadline, as the driver must.
    fn wakes(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        if here.wake.is_some_and(|at| at <= self.now) {
            here.wake = None;
        }
        if here.asleep {
            return;
        }
        self.read(node);
        let due = self.nodes[node].instance.as_ref().and_then(Instance::deadline);
        if due.is_some_and(|due| due <= self.now) {
            self.input(node, Input::Tick);
            let next = self.nodes[node].instance.as_ref().and_then(Instance::deadline);
            assert!(next.is_none_or(|next| next > self.now), "a Tick left something due");
        }
        self.schedule(node);
    }

    fn read(&mut self, node: usize) {
        while let Some((payload, endpoints, at)) = self.nodes[node].inbox.pop_front() {
            let packet = Packet::decode(&payload, endpoints, iana::TTL, iana::TTL).unwrap();
            self.input(node, Input::Received { packet, at });
        }
    }

    fn schedule(&mut self, node: usize) {
        let here = &self.nodes[node];
        let Some(due) = here.instance.as_ref().and_then(Instance::deadline) else { return };
        if here.wake.is_none_or(|at| due + self.lateness < at) {
            let at = due.max(self.now) + self.random.up_to(self.lateness);
            self.nodes[node].wake = Some(at);
            self.push(at, Event::Wakes { node });
        }
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.events += 1;
        self.queue.push(Reverse((at, self.events, event)));
    }
}
