//! The world: nodes, routers, the wires between them, and one clock.
//!
//! ```text
//!  agenda ─► the next due item ─► one machine handles it ─► its outputs are scheduled, or performed ─► the rules
//! ```
//!
//! A step is one input handled by one machine: a node, a peer, or a check.

use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_node::engine::{Asked, Binding};
use vipcast_node::health::report::Outcome;
use vipcast_node::input::Input;
use vipcast_node::names::CheckName;
use vipcast_node::now::Now;

use crate::action::{Action, Timed};
use crate::agenda::Agenda;
use crate::bug::Bug;
use crate::host::Host;
use crate::net::{Packet, Pair, Speaker, Wire};
use crate::rng::Rng;
use crate::router::Router;
use crate::rules::Violation;
use crate::trace::Trace;

/// What comes in within this time, and nothing else meanwhile, is handed in together.
const TOGETHER: Duration = Duration::from_micros(300);

/// What a world is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// All chance follows from it.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// How many routers there are.
    pub routers: usize,
    /// Whether routers keep routes over a restart.
    pub graceful: bool,
    /// Whether routers wait for the nodes to connect.
    pub passive: bool,
    /// The bug that is planted.
    pub bug: Option<Bug>,
}

/// What is due.
#[derive(Debug)]
pub enum Due {
    /// Something happens from outside.
    Action(Box<Action>),
    /// The timer of a machine.
    Timer(Machine),
    /// Something arrives on a wire.
    Packet {
        /// On which.
        wire: usize,
        /// At which side.
        to: usize,
        packet: Packet,
    },
    /// A side of a wire is told that it has broken.
    Broken {
        /// Which wire.
        wire: usize,
        /// Which side.
        side: usize,
    },
    /// A kernel looks at a request.
    Request {
        /// Of which node.
        node: usize,
        /// Of which boot.
        boot: u64,
        /// About what.
        address: Binding,
        /// What is asked.
        asked: Asked,
    },
    /// A process is told something.
    Told {
        /// Which node.
        node: usize,
        /// Which of its processes.
        epoch: u64,
        input: Box<Input>,
    },
    /// A process looks again whether it may be handed over.
    HandOver {
        /// Of which node.
        node: usize,
        /// Which of its processes.
        epoch: u64,
        /// Until when it waits for what passes.
        until: Instant,
    },
    /// The next program asks a kernel for everything.
    Listing {
        /// Of which node.
        node: usize,
        /// Which of its processes.
        epoch: u64,
        /// Requests without an answer.
        unanswered: Vec<Binding>,
    },
    /// A probe has ended.
    Probed {
        /// On which node.
        node: usize,
        /// By which of its processes.
        epoch: u64,
        /// Of which check.
        check: CheckName,
        /// Of which run of it.
        run: u64,
        /// With what.
        outcome: Outcome,
    },
    /// A write to a state directory has come to an end.
    Written {
        /// Of which node.
        node: usize,
        /// By which of its processes.
        epoch: u64,
    },
    /// A process begins.
    Start {
        /// On which node.
        node: usize,
        /// On which boot.
        boot: u64,
    },
    /// A host boots.
    Boot {
        /// Which node.
        node: usize,
    },
    /// A router begins anew.
    StartRouter(usize),
    /// What a router keeps of a node may be too old.
    Stale {
        /// Which router.
        router: usize,
        /// Of which node.
        node: usize,
    },
    /// The rules want to look at a node.
    Look(usize),
}

/// A machine with a timer.
#[derive(Debug, Clone)]
pub enum Machine {
    /// The node of a host.
    Node(usize),
    /// A peer.
    Speaker(usize),
    /// A check of a host.
    Check(usize, CheckName),
}

/// Everything.
#[derive(Debug)]
pub struct World {
    /// What it is made of.
    pub setup: Setup,
    /// The time.
    pub now: Instant,
    /// Inputs that were handled so far.
    pub steps: u64,
    /// The nodes' hosts.
    pub hosts: Vec<Host>,
    /// The routers.
    pub routers: Vec<Router>,
    /// What happened.
    pub trace: Trace,
    /// It ends after so many steps.
    pub last_step: u64,
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// Nodes about which something has changed since the rules last looked.
    pub(crate) dirty: Vec<bool>,
    pub(crate) agenda: Agenda<Due>,
    pub(crate) rng: Rng,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) speakers: Vec<Option<Speaker>>,
}

impl World {
    /// A world whose hosts and routers have just begun.
    pub fn new(setup: Setup) -> Self {
        let mut world = Self {
            setup,
            now: Instant::from_nanos(1_000_000),
            steps: 0,
            hosts: (0..setup.nodes).map(|number| Host::new(number, setup)).collect(),
            routers: (0..setup.routers).map(|number| Router::new(number, setup.nodes)).collect(),
            trace: Trace::default(),
            last_step: u64::MAX,
            violation: None,
            dirty: vec![true; setup.nodes],
            agenda: Agenda::default(),
            rng: Rng::of(setup.seed, 0),
            pairs: (0..setup.nodes * setup.routers).map(|_| Pair::default()).collect(),
            wires: Vec::new(),
            speakers: Vec::new(),
        };
        for router in 0..setup.routers {
            world.start_router(router);
        }
        for node in 0..setup.nodes {
            let at = world.now + world.rng.between(Duration::ZERO, Duration::from_millis(500));
            world.agenda.add(at, Due::Start { node, boot: 0 });
        }
        world
    }

    /// What else the process is told at once: whoever wakes a node hands in all that is there by then.
    pub fn told_too(&mut self, node: usize, epoch: u64) -> Option<Input> {
        let is_his =
            |due: &Due| matches!(due, Due::Told { node: n, epoch: e, .. } if (*n, *e) == (node, epoch));
        let (at, due) = self.agenda.pop_if(self.now + TOGETHER, is_his)?;
        self.now = self.now.max(at);
        if let Due::Told { input, .. } = due { Some(*input) } else { None }
    }

    /// Adds what is to happen from outside.
    pub fn schedule(&mut self, actions: &[Timed]) {
        for Timed { at, action } in actions {
            self.agenda.add(*at, Due::Action(Box::new(action.clone())));
        }
    }

    /// Runs until `end`, or until a rule is broken.
    pub fn run_until(&mut self, end: Instant) {
        while self.violation.is_none()
            && self.steps < self.last_step
            && self.agenda.next_at().is_some_and(|at| at <= end)
        {
            let Some((at, due)) = self.agenda.pop() else { break };
            self.now = self.now.max(at);
            self.happens(at, due);
            self.look_at_the_dirty();
        }
        if self.violation.is_none() {
            self.now = self.now.max(end);
        }
    }

    fn happens(&mut self, at: Instant, due: Due) {
        match due {
            Due::Action(action) => self.act(*action),
            Due::Timer(Machine::Node(node)) => self.tick_node(node, at),
            Due::Timer(Machine::Speaker(speaker)) => self.tick_speaker(speaker, at),
            Due::Timer(Machine::Check(node, check)) => self.tick_check(node, check, at),
            Due::Packet { wire, to, packet } => self.arrive(wire, to, packet),
            Due::Broken { wire, side } => self.broken(wire, side),
            Due::Request { node, boot, address, asked } => self.kernel_works(node, boot, address, asked),
            Due::Told { node, epoch, input } => self.deliver(node, epoch, *input),
            Due::HandOver { node, epoch, until } => self.hand_over_until(node, epoch, until),
            Due::Listing { node, epoch, unanswered } => self.list_anew(node, epoch, unanswered),
            Due::Probed { node, epoch, check, run, outcome } => {
                self.probed(node, epoch, &check, run, outcome)
            }
            Due::Written { node, epoch } => self.written(node, epoch),
            Due::Start { node, boot } => self.start_process(node, boot),
            Due::Boot { node } => self.boot(node),
            Due::StartRouter(router) => self.start_router(router),
            Due::Stale { router, node } => self.drop_stale(router, node),
            Due::Look(node) => self.dirty[node] = true,
        }
    }

    /// Both clocks of a host.
    pub fn clocks(&self, node: usize) -> Now {
        let epoch = 1_800_000_000_i64 + self.hosts[node].wall_offset;
        let wall = jiff::Timestamp::from_second(epoch).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let wall = wall.checked_add(self.now - Instant::BOOT).unwrap_or(wall);
        Now { mono: self.now, wall }
    }
}
