//! Two machines, the wires between them, and a clock: a network in which anything may be late or lost, but what
//! arrives on one connection arrives in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;

use super::frozen::rewritten;
use super::support::{decode, endpoints, epoch};
use crate::fsm::jitter::Jitter;
use crate::fsm::{
    CloseReason, ConnId, DialError, Extent, HoldTime, Input, Output, Peer, PeerConfig, PeerEvent, SendQueue,
    State, Version,
};
use crate::route::Routes;
use crate::time::Instant;
use crate::wire::{Attribute, Message};

/// More than a window in the smallest messages would be; nothing may ever ask for this much at once.
const MANY_OUTPUTS: usize = 200;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) begin: Instant,
    pub(super) peers: [Peer; 2],
    pub(super) log: Vec<(Instant, usize, PeerEvent)>,
    wires: Vec<Wire>,
    agenda: BTreeMap<(Instant, u64), Due>,
    sequence: u64,
    rng: Jitter,
    /// The longest delay of the network.
    pub(super) delay: Duration,
    /// Whether a dial reaches the other side.
    pub(super) reach: Reach,
    versions: u64,
    /// Whether data arrives in two pieces.
    pub(super) split: bool,
    freezes: Option<Freezes>,
}

/// How often a peer is replaced by its thawed self before an input.
struct Freezes {
    percent: u64,
    rng: Jitter,
    /// Peers that get the same inputs and are never frozen.
    twins: Option<[Peer; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Accepts,
    Refuses,
    Drops,
}

/// A TCP connection; ends are indexed by side.
struct Wire {
    ids: [Option<ConnId>; 2],
    open: [bool; 2],
    /// Nothing arrives any more, and neither side gets an event.
    dead: bool,
    /// The earliest arrival of data in flight, for each side.
    not_before: [Instant; 2],
    ribs: [BTreeMap<IpNet, u32>; 2],
}

enum Due {
    Syn { wire: usize, to: usize },
    SynAck { wire: usize, to: usize },
    Refused { wire: usize, to: usize },
    Data { wire: usize, to: usize, bytes: Bytes },
    Fin { wire: usize, to: usize },
    Taken { wire: usize, by: usize, count: usize },
}

impl World {
    pub(super) fn new(configs: [PeerConfig; 2], seed: u64, delay: Duration) -> Self {
        let now = epoch();
        Self {
            now,
            begin: now,
            peers: configs.map(Peer::new),
            log: Vec::new(),
            wires: Vec::new(),
            agenda: BTreeMap::new(),
            sequence: 0,
            rng: Jitter::new(seed),
            delay,
            reach: Reach::Accepts,
            versions: 0,
            split: false,
            freezes: None,
        }
    }

    /// From now on the peers are frozen and thawed before so many inputs of a hundred, and compared with twins that are
    /// not. A peer that dials is not frozen, because it would dial anew.
    pub(super) fn compare_with_twins(&mut self, percent: u64) {
        let twins = Some(self.peers.clone());
        self.freezes = Some(Freezes { percent, rng: Jitter::new(percent), twins });
    }

    /// From now on the peers are frozen and thawed before so many inputs of a hundred.
    pub(super) fn freeze_at_any_moment(&mut self, percent: u64) {
        self.freezes = Some(Freezes { percent, rng: Jitter::new(percent), twins: None });
    }

    fn freeze(&mut self, side: usize) {
        let Some(freezes) = &mut self.freezes else { return };
        let peer = &mut self.peers[side];
        let dials = peer.connections.iter().any(|connection| connection.state() == State::Connect);
        if freezes.rng.next() % 100 < freezes.percent && !(dials && freezes.twins.is_some()) {
            *peer = rewritten(peer, self.now);
        }
    }

    fn compare(&mut self, side: usize, input: Option<Input>, outputs: &[Output]) {
        let Some(twin) = self.freezes.as_mut().and_then(|freezes| freezes.twins.as_mut()) else { return };
        let (twin, peer) = (&mut twin[side], &self.peers[side]);
        let Some(input) = input else { return };
        let shown = format!("{input:?}");
        assert_eq!(outputs, twin.handle(input, self.now), "after {shown:.200}");
        assert_eq!(peer.deadline(), twin.deadline(), "after {shown:.200}");
        assert_eq!(peer.status(self.now), twin.status(self.now), "after {shown:.200}");
    }

    pub(super) fn input(&mut self, side: usize, input: Input) {
        let tick = matches!(input, Input::Tick);
        self.freeze(side);
        let again = self.freezes.is_some().then(|| input.clone());
        let outputs = self.peers[side].handle(input, self.now);
        self.compare(side, again, &outputs);
        assert!(outputs.len() <= MANY_OUTPUTS, "{} outputs at once", outputs.len());
        self.check(side, tick);
        for output in outputs {
            self.perform(side, output);
        }
    }

    pub(super) fn advertise(&mut self, side: usize, routes: Routes) {
        self.advertise_as(side, routes, Extent::Whole);
    }

    pub(super) fn advertise_as(&mut self, side: usize, routes: Routes, extent: Extent) {
        self.versions += 1;
        self.input(side, Input::Advertise(Version(self.versions), routes, extent));
    }

    /// Everything that is due until `by` has passed.
    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done`, at most for `limit`. Whether it came to that.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if !self.step(end) {
                self.now = end;
                return done(self);
            }
        }
        true
    }

    pub(super) fn state(&self, side: usize) -> State {
        self.peers[side].status(self.now).state
    }

    /// Both are Established, on one and the same wire that is not about to end, and neither has another connection.
    pub(super) fn converged(&self) -> bool {
        let end = |side: usize| match self.peers[side].connections.as_slice() {
            [only] if only.state() == State::Established => self.wire_of(side, only.id),
            _ => None,
        };
        end(0).is_some_and(|wire| !self.wires[wire].dead) && end(0) == end(1)
    }

    /// The routes that `side` has received on its Established connection: prefixes with their MED.
    pub(super) fn received(&self, side: usize) -> Option<&BTreeMap<IpNet, u32>> {
        let established = self.peers[side].established()?;
        Some(&self.wires[self.wire_of(side, established.id)?].ribs[side])
    }

    /// How many connections there ever were.
    pub(super) fn wires(&self) -> usize {
        self.wires.len()
    }

    /// Cuts a connection that stands; both ends hear of it.
    pub(super) fn cut(&mut self, which: usize) {
        if let Some(wire) = self.pick(which) {
            for to in [0, 1] {
                self.schedule(wire, to, Due::Fin { wire, to });
            }
            self.wires[wire].dead = true;
        }
    }

    /// From now on nothing arrives on a connected connection, and neither side gets an event.
    pub(super) fn kill(&mut self, which: usize) {
        if let Some(wire) = self.pick(which) {
            self.wires[wire].dead = true;
            self.agenda.retain(|_, due| due.wire() != wire || matches!(due, Due::Taken { .. }));
        }
    }

    fn pick(&self, which: usize) -> Option<usize> {
        let live: Vec<usize> =
            (0..self.wires.len()).filter(|wire| self.wires[*wire].open != [false, false]).collect();
        live.get(which.checked_rem(live.len())?).copied()
    }

    /// The next thing that is due before `end`; false when there is none.
    fn step(&mut self, end: Instant) -> bool {
        let arrival = self.agenda.keys().next().map(|(at, _)| *at);
        let timers = [0, 1].map(|side| self.peers[side].deadline());
        let Some(next) = arrival.into_iter().chain(timers.into_iter().flatten()).min() else { return false };
        if next > end {
            return false;
        }
        self.now = self.now.max(next);
        if arrival == Some(next) {
            let (_, due) = self.agenda.pop_first().unwrap();
            self.arrive(due);
        } else {
            let side = usize::from(timers[0] != Some(next));
            self.input(side, Input::Tick);
        }
        true
    }

    fn arrive(&mut self, due: Due) {
        match due {
            Due::Syn { wire, to } => match self.reach {
                Reach::Accepts => {
                    let conn = self.peers[to].allocate();
                    if let Some(twins) = self.freezes.as_mut().and_then(|freezes| freezes.twins.as_mut()) {
                        assert_eq!(twins[to].allocate(), conn);
                    }
                    self.wires[wire].ids[to] = Some(conn);
                    self.wires[wire].open[to] = true;
                    self.schedule(wire, 1 - to, Due::SynAck { wire, to: 1 - to });
                    self.input(to, Input::Accepted(conn, endpoints()));
                }
                Reach::Refuses => self.schedule(wire, 1 - to, Due::Refused { wire, to: 1 - to }),
                Reach::Drops => {}
            },
            Due::SynAck { wire, to } => self.deliver(wire, to, |conn| Input::Dialled(conn, endpoints())),
            Due::Refused { wire, to } => {
                self.deliver(wire, to, |conn| Input::DialFailed(conn, DialError::Refused));
            }
            Due::Data { wire, to, bytes } => {
                if self.wires[wire].open[to] {
                    apply(&bytes, &mut self.wires[wire].ribs[to]);
                }
                let at = if self.split { bytes.len() / 2 } else { 0 };
                let (front, back) = (bytes.slice(..at), bytes.slice(at..));
                if self.split {
                    self.deliver(wire, to, |conn| Input::Received(conn, front));
                }
                self.deliver(wire, to, |conn| Input::Received(conn, back));
            }
            Due::Fin { wire, to } => {
                self.deliver(wire, to, |conn| Input::Closed(conn, CloseReason::EndedByPeer));
                self.wires[wire].open[to] = false;
            }
            Due::Taken { wire, by, count } => self.deliver(wire, by, |conn| Input::Sent(conn, count)),
        }
    }

    fn deliver(&mut self, wire: usize, side: usize, input: impl FnOnce(ConnId) -> Input) {
        if let (true, Some(conn)) = (self.wires[wire].open[side], self.wires[wire].ids[side]) {
            self.input(side, input(conn));
        }
    }

    fn perform(&mut self, side: usize, output: Output) {
        let to = 1 - side;
        match output {
            Output::Dial(conn) => {
                let mut ids = [None; 2];
                ids[side] = Some(conn);
                let mut open = [false; 2];
                open[side] = true;
                let ribs = [BTreeMap::new(), BTreeMap::new()];
                self.wires.push(Wire { ids, open, dead: false, not_before: [self.now; 2], ribs });
                let wire = self.wires.len() - 1;
                self.schedule(wire, to, Due::Syn { wire, to });
            }
            Output::Send { conn, bytes } => {
                let Some(wire) = self.wire_of(side, conn) else { return };
                let count = bytes.len();
                // A wire that is dead takes a socket buffer's worth; here, nothing.
                if !self.wires[wire].dead {
                    self.schedule(wire, to, Due::Data { wire, to, bytes });
                    self.schedule(wire, side, Due::Taken { wire, by: side, count });
                }
            }
            Output::Close(conn) => {
                let Some(wire) = self.wire_of(side, conn) else { return };
                if self.wires[wire].open[side] {
                    self.wires[wire].open[side] = false;
                    self.schedule(wire, to, Due::Fin { wire, to });
                }
            }
            Output::Look(conn) => {
                let Some(wire) = self.wire_of(side, conn) else { return };
                let (mut under_way, mut not_taken) = (0, 0);
                for due in self.agenda.values() {
                    match due {
                        Due::Data { wire: on, to: end, bytes } if (*on, *end) == (wire, to) => {
                            under_way += bytes.len()
                        }
                        Due::Taken { wire: on, by, count } if (*on, *by) == (wire, side) => {
                            not_taken += count
                        }
                        Due::Syn { .. }
                        | Due::SynAck { .. }
                        | Due::Refused { .. }
                        | Due::Data { .. }
                        | Due::Fin { .. }
                        | Due::Taken { .. } => {}
                    }
                }
                // Nothing that a dead wire or a closed end swallows is ever acknowledged.
                if !self.wires[wire].dead && self.wires[wire].open[to] {
                    let unacknowledged = usize::saturating_sub(under_way, not_taken);
                    let queue = SendQueue { unacknowledged, retransmissions: 0, segment: 1460 };
                    self.input(side, Input::Queue(conn, queue));
                }
            }
            Output::Event(event) => {
                if let PeerEvent::Acknowledged(_) = event {
                    self.check_delivery(side);
                }
                self.log.push((self.now, side, event));
            }
        }
    }

    /// Arrives after a random delay, and behind data in flight to the same end of the same wire.
    fn schedule(&mut self, wire: usize, to: usize, due: Due) {
        if self.wires[wire].dead {
            return;
        }
        let arrival = self.now + self.rng.percent(self.delay, 1, 100);
        let at = arrival.max(self.wires[wire].not_before[to]);
        self.wires[wire].not_before[to] = at;
        self.sequence += 1;
        self.agenda.insert((at, self.sequence), due);
    }

    fn wire_of(&self, side: usize, conn: ConnId) -> Option<usize> {
        self.wires.iter().rposition(|wire| wire.ids[side] == Some(conn))
    }

    /// Acknowledged routes have arrived.
    fn check_delivery(&self, side: usize) {
        let peer = &self.peers[side];
        let Some(established) = peer.established() else { return };
        let Some(wire) = self.wire_of(side, established.id) else { return };
        if !self.wires[wire].open[1 - side] {
            return;
        }
        let withheld = peer.status(self.now).withheld;
        let wanted = peer.wanted.keys().filter(|prefix| !withheld.contains_key(prefix));
        assert!(wanted.eq(self.wires[wire].ribs[1 - side].keys()), "acknowledged, and not there");
    }

    /// The invariants after every input.
    fn check(&self, side: usize, tick: bool) {
        let peer = &self.peers[side];
        let sides: Vec<_> = peer.connections.iter().map(|connection| connection.side).collect();
        assert!(sides.len() <= 2 && (sides.len() < 2 || sides[0] != sides[1]), "connections: {sides:?}");
        let ids: BTreeSet<ConnId> = peer.connections.iter().map(|connection| connection.id).collect();
        assert_eq!(ids.len(), sides.len());
        let deadline = peer.deadline();
        let established = peer.established().is_some();
        let has_timers = peer.config.hold_time != HoldTime::NONE;
        assert!(!(established && has_timers) || deadline.is_some(), "an Established peer without a deadline");
        assert!(!established || sides.len() == 1, "a session and a connection beside it");
        assert!(!tick || deadline.is_none_or(|at| at > self.now), "a Tick that leaves work is a busy loop");
        let ours = sides.contains(&crate::fsm::connection::Side::Ours);
        let far = peer.connections.iter().any(|connection| connection.state() >= State::OpenConfirm);
        let dials = peer.running && peer.config.mode.dials() && !peer.held_back;
        assert!(!dials || ours || far || peer.retry_at.is_some(), "nobody will ever dial");
    }
}

impl Due {
    fn wire(&self) -> usize {
        match self {
            Self::Syn { wire, .. }
            | Self::SynAck { wire, .. }
            | Self::Refused { wire, .. }
            | Self::Data { wire, .. }
            | Self::Fin { wire, .. }
            | Self::Taken { wire, .. } => *wire,
        }
    }
}

/// Applies the UPDATEs in `bytes`, which are whole messages.
fn apply(bytes: &[u8], rib: &mut BTreeMap<IpNet, u32>) {
    for message in decode(bytes) {
        let Message::Update(update) = message else { continue };
        let med = update.attributes.iter().find_map(|attribute| {
            if let Attribute::MultiExitDisc(med) = attribute { Some(*med) } else { None }
        });
        for prefix in update.withdrawn_prefixes() {
            rib.remove(&prefix);
        }
        rib.extend(update.announced().map(|prefix| (prefix, med.unwrap_or_default())));
    }
}
