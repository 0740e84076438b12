//! Wires: TCP connections between a node and a router as ordered streams of bytes, which may be late, delayed, reset,
//! or silently dead.
//!
//! ```text
//!  fsm::Peer ── Dial, Send, Close ──► wire ── (delay, in order) ──► Accepted, Received, Closed ──► fsm::Peer
//!                                       │
//!                                       └ cut: bytes in flight wait, as TCP would send them again
//! ```
//!
//! Side 0 of a wire is the node's, side 1 the router's.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use vipcast_bgp::fsm::{
    CloseReason, ConnId, DialError, Endpoints, Input, Output, Peer, PeerEvent, SendQueue,
};
use vipcast_bgp::{Instant, PeerConfig};
use vipcast_node::effect::PeerId;

use crate::shape::link_addresses;
use crate::world::{Due, Machine, World};

/// The side of a wire that is the node's.
pub const NODE: usize = 0;
/// The side of a wire that is the router's.
pub const ROUTER: usize = 1;

/// A peer machine, and the connections that it knows.
#[derive(Debug)]
pub struct Speaker {
    /// The machine.
    pub peer: Peer,
    /// Whose it is.
    pub owner: Owner,
    /// Its connections that stand or are being made.
    conns: Vec<(ConnId, usize)>,
    /// When its timer goes off.
    pub armed: Option<Instant>,
}

/// Whose a [`Speaker`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A peer of a node, of one of its processes.
    Node {
        /// Which node.
        node: usize,
        /// Which of its processes.
        epoch: u64,
        /// What the node calls it.
        id: PeerId,
        /// Which router it is for.
        router: usize,
    },
    /// A neighbour of a router.
    Router {
        /// Which router.
        router: usize,
        /// Which node it is for.
        node: usize,
    },
}

/// What is between a node and a router.
#[derive(Debug, Default)]
pub struct Pair {
    /// Nothing that is sent to this side arrives.
    pub silent: [bool; 2],
    /// When something last happened that is felt for a while.
    pub disturbed: Option<Instant>,
    /// When the session began, for the node and for the router.
    pub since: [Option<Instant>; 2],
    /// Connections of which an end is open.
    wires: Vec<usize>,
}

/// A TCP connection.
#[derive(Debug)]
pub struct Wire {
    pair: usize,
    ends: [Option<(usize, ConnId)>; 2],
    open: [bool; 2],
    /// Nothing arrives any more, and nobody is told.
    dead: bool,
    /// What is under way arrives no earlier than this, at each side.
    not_before: [Instant; 2],
    /// What is held up, and for which side.
    held: Vec<(usize, Packet)>,
    /// Bytes on the way to each side.
    in_flight: [usize; 2],
}

/// What travels on a wire.
#[derive(Debug)]
pub enum Packet {
    /// Somebody dials.
    Syn,
    /// The other side has accepted.
    SynAck,
    /// Nobody listens there.
    Refused,
    /// Bytes of the stream.
    Data(Bytes),
    /// The other side has closed.
    Fin,
    /// The other side knows nothing of this connection.
    Reset,
}

impl Pair {
    /// Whether something does not pass.
    pub fn is_cut(&self) -> bool {
        self.silent != [false, false]
    }
}

impl Owner {
    fn side(self) -> usize {
        match self {
            Self::Node { .. } => NODE,
            Self::Router { .. } => ROUTER,
        }
    }

    fn ends(self) -> (usize, usize) {
        match self {
            Self::Node { node, router, .. } | Self::Router { router, node } => (node, router),
        }
    }
}

impl World {
    /// Makes a machine; it has to be started.
    pub fn new_speaker(&mut self, config: PeerConfig, owner: Owner) -> usize {
        let peer = Peer::new(config);
        self.speakers.push(Some(Speaker { peer, owner, conns: Vec::new(), armed: None }));
        self.speakers.len() - 1
    }

    /// What is between the two ends.
    pub fn pair_index(&self, node: usize, router: usize) -> usize {
        node * self.routers.len() + router
    }

    /// Has a machine handle an input, and performs what comes out in its order before it hears what came of that.
    pub fn speak(&mut self, which: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.now;
            let Some(speaker) = self.speakers.get_mut(which).and_then(Option::as_mut) else { return };
            let owner = speaker.owner;
            let outputs = speaker.peer.handle(input, now);
            self.steps += 1;
            for output in outputs {
                match output {
                    Output::Dial(conn) => self.dial(which, owner, conn),
                    Output::Send { conn, bytes } => inputs.extend(self.send_bytes(which, owner, conn, bytes)),
                    Output::Look(conn) => inputs.extend(self.queue_of(which, owner, conn)),
                    Output::Close(conn) => self.close(which, owner, conn),
                    Output::Event(event) => self.peer_event(which, owner, event),
                }
            }
        }
        self.arm_speaker(which);
    }

    /// Its timer has gone off.
    pub fn tick_speaker(&mut self, which: usize, at: Instant) {
        let now = self.now;
        let Some(speaker) = self.speakers.get_mut(which).and_then(Option::as_mut) else { return };
        if speaker.armed != Some(at) {
            return;
        }
        speaker.armed = None;
        if speaker.peer.deadline().is_some_and(|deadline| deadline <= now) {
            self.speak(which, Input::Tick);
        } else {
            self.arm_speaker(which);
        }
    }

    /// Ends a machine at once: its connections are closed by the kernel, or, with the power, by nobody.
    pub fn kill_speaker(&mut self, which: usize, says: bool) {
        let Some(speaker) = self.speakers.get_mut(which).and_then(Option::take) else { return };
        let side = speaker.owner.side();
        for (_, wire) in speaker.conns {
            self.wires[wire].open[side] = false;
            if says {
                self.send(wire, 1 - side, Packet::Fin);
            } else {
                self.wires[wire].dead = true;
            }
            self.prune(wire);
        }
    }

    /// Nothing passes between the two any more, or does again.
    pub fn set_cut(&mut self, pair: usize, cut: bool) {
        self.silence(pair, [cut, cut]);
    }

    /// What is sent to these sides does not arrive until it does again.
    pub fn silence(&mut self, pair: usize, silent: [bool; 2]) {
        let before = std::mem::replace(&mut self.pairs[pair].silent, silent);
        if before == silent {
            return;
        }
        self.disturb(pair);
        for wire in self.pairs[pair].wires.clone() {
            // What still cannot pass is held again.
            for (to, packet) in std::mem::take(&mut self.wires[wire].held) {
                self.send(wire, to, packet);
            }
        }
    }

    /// Resets every connection between the two, or, silently, makes them dead.
    pub fn break_wires(&mut self, pair: usize, silently: bool) {
        self.disturb(pair);
        self.pairs[pair].since = [None, None];
        for wire in self.pairs[pair].wires.clone() {
            self.wires[wire].dead = true;
            for side in [NODE, ROUTER] {
                if !silently {
                    let at = self.now + self.delay(pair);
                    self.agenda.add(at, Due::Broken { wire, side });
                }
            }
        }
    }

    /// Something happened between the two that is felt for a while.
    pub fn disturb(&mut self, pair: usize) {
        self.pairs[pair].disturbed = Some(self.now);
        self.dirty[pair / self.routers.len()] = true;
    }

    /// The connection has broken for this side.
    pub fn broken(&mut self, wire: usize, side: usize) {
        self.closed(wire, side, CloseReason::Reset);
    }

    /// Something arrives.
    pub fn arrive(&mut self, wire: usize, to: usize, packet: Packet) {
        let pair = self.wires[wire].pair;
        if self.wires[wire].dead {
            return;
        }
        if self.pairs[pair].silent[to] {
            if !matches!(packet, Packet::Syn) {
                self.wires[wire].held.push((to, packet));
            }
            return;
        }
        match packet {
            Packet::Syn => self.accept(wire, to),
            Packet::SynAck => match self.wires[wire].ends[to].filter(|_| self.wires[wire].open[to]) {
                Some((speaker, conn)) => {
                    let ends = self.endpoints(wire, to);
                    self.speak(speaker, Input::Dialled(conn, ends));
                }
                None => self.send(wire, 1 - to, Packet::Reset),
            },
            Packet::Refused => {
                if let Some((speaker, conn)) = self.wires[wire].ends[to] {
                    self.wires[wire].open[to] = false;
                    self.forget_conn(speaker, conn);
                    self.prune(wire);
                    self.speak(speaker, Input::DialFailed(conn, DialError::Refused));
                }
            }
            Packet::Data(bytes) => {
                let in_flight = &mut self.wires[wire].in_flight[to];
                *in_flight = in_flight.saturating_sub(bytes.len());
                match self.wires[wire].ends[to].filter(|_| self.wires[wire].open[to]) {
                    Some((speaker, conn)) => {
                        self.overhear(speaker, &bytes);
                        self.speak(speaker, Input::Received(conn, bytes));
                    }
                    None if self.is_powered(wire, to) => self.send(wire, 1 - to, Packet::Reset),
                    None => {}
                }
            }
            Packet::Fin => self.closed(wire, to, CloseReason::EndedByPeer),
            Packet::Reset => self.closed(wire, to, CloseReason::Reset),
        }
    }

    fn accept(&mut self, wire: usize, to: usize) {
        let pair = self.wires[wire].pair;
        let (node, router) = (pair / self.routers.len(), pair % self.routers.len());
        let listener = if to == NODE {
            self.hosts[node].speaker_for(router)
        } else {
            self.routers[router].listener(node)
        };
        let Some(which) = listener else {
            if self.is_powered(wire, to) {
                self.send(wire, 1 - to, Packet::Refused);
            }
            return;
        };
        let Some(speaker) = self.speakers.get_mut(which).and_then(Option::as_mut) else { return };
        let conn = speaker.peer.allocate();
        speaker.conns.push((conn, wire));
        self.wires[wire].ends[to] = Some((which, conn));
        self.wires[wire].open[to] = true;
        self.send(wire, 1 - to, Packet::SynAck);
        let ends = self.endpoints(wire, to);
        self.speak(which, Input::Accepted(conn, ends));
    }

    /// Whether somebody there answers at all.
    fn is_powered(&self, wire: usize, side: usize) -> bool {
        let node = self.wires[wire].pair / self.routers.len();
        side == ROUTER || self.hosts[node].on
    }

    fn closed(&mut self, wire: usize, side: usize, reason: CloseReason) {
        let Some((speaker, conn)) = self.wires[wire].ends[side].filter(|_| self.wires[wire].open[side])
        else {
            return;
        };
        self.wires[wire].open[side] = false;
        self.forget_conn(speaker, conn);
        self.prune(wire);
        self.speak(speaker, Input::Closed(conn, reason));
    }

    fn dial(&mut self, which: usize, owner: Owner, conn: ConnId) {
        let side = owner.side();
        let (node, router) = owner.ends();
        let pair = self.pair_index(node, router);
        let (mut ends, mut open) = ([None, None], [false, false]);
        (ends[side], open[side]) = (Some((which, conn)), true);
        let wire = self.wires.len();
        self.wires.push(Wire {
            pair,
            ends,
            open,
            dead: false,
            not_before: [self.now; 2],
            held: Vec::new(),
            in_flight: [0; 2],
        });
        self.pairs[pair].wires.push(wire);
        if let Some(speaker) = self.speakers[which].as_mut() {
            speaker.conns.push((conn, wire));
        }
        self.send(wire, 1 - side, Packet::Syn);
    }

    fn send_bytes(&mut self, which: usize, owner: Owner, conn: ConnId, bytes: Bytes) -> Option<Input> {
        let wire = self.wire_of(which, conn)?;
        let (to, count) = (1 - owner.side(), bytes.len());
        self.wires[wire].in_flight[to] += count;
        self.send(wire, to, Packet::Data(bytes));
        // The kernel has room for more than a session with a handful of routes has to say.
        Some(Input::Sent(conn, count))
    }

    fn queue_of(&self, which: usize, owner: Owner, conn: ConnId) -> Option<Input> {
        let wire = self.wire_of(which, conn)?;
        let unacknowledged = self.wires[wire].in_flight[1 - owner.side()];
        let queue = SendQueue { unacknowledged, retransmissions: 0, segment: 1460 };
        Some(Input::Queue(conn, queue))
    }

    /// Closes every connection of a machine that is not among these.
    pub fn close_others(&mut self, which: usize, kept: &[u64]) {
        let Some(speaker) = self.speakers.get(which).and_then(Option::as_ref) else { return };
        let owner = speaker.owner;
        let others =
            speaker.conns.iter().map(|(conn, _)| *conn).filter(|conn| !kept.contains(&conn.as_u64()));
        for conn in others.collect::<Vec<_>>() {
            self.close(which, owner, conn);
        }
    }

    fn close(&mut self, which: usize, owner: Owner, conn: ConnId) {
        let Some(wire) = self.wire_of(which, conn) else { return };
        let side = owner.side();
        self.forget_conn(which, conn);
        if std::mem::replace(&mut self.wires[wire].open[side], false) {
            self.send(wire, 1 - side, Packet::Fin);
        }
        self.prune(wire);
    }

    /// After a delay, and behind what is under way to the same side.
    fn send(&mut self, wire: usize, to: usize, packet: Packet) {
        let pair = self.wires[wire].pair;
        if self.wires[wire].dead {
            return;
        }
        if self.pairs[pair].silent[to] {
            if !matches!(packet, Packet::Syn) {
                self.wires[wire].held.push((to, packet));
            }
            return;
        }
        let at = (self.now + self.delay(pair)).max(self.wires[wire].not_before[to]);
        self.wires[wire].not_before[to] = at;
        self.agenda.add(at, Due::Packet { wire, to, packet });
    }

    /// Mostly a link of a rack; now and then a queue on the way.
    fn delay(&mut self, _pair: usize) -> Duration {
        let (least, most) = if self.rng.chance(2) { (1_000, 20_000) } else { (50, 500) };
        self.rng.between(Duration::from_micros(least), Duration::from_micros(most))
    }

    fn endpoints(&self, wire: usize, side: usize) -> Endpoints {
        let pair = self.wires[wire].pair;
        let [router, node] = link_addresses(pair / self.routers.len(), pair % self.routers.len());
        let (local, remote) = if side == NODE { (node, router) } else { (router, node) };
        let [a, b, c, d] = local.octets().map(u16::from);
        Endpoints {
            local: (local, 179).into(),
            remote: (remote, 179).into(),
            interface_addresses: vec![std::net::Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, a, b, c, d).into()],
            local_is_service: false,
        }
    }

    fn wire_of(&self, which: usize, conn: ConnId) -> Option<usize> {
        let speaker = self.speakers.get(which)?.as_ref()?;
        speaker.conns.iter().find(|(known, _)| *known == conn).map(|(_, wire)| *wire)
    }

    fn forget_conn(&mut self, which: usize, conn: ConnId) {
        if let Some(speaker) = self.speakers.get_mut(which).and_then(Option::as_mut) {
            speaker.conns.retain(|(known, _)| *known != conn);
        }
    }

    fn prune(&mut self, wire: usize) {
        let pair = self.wires[wire].pair;
        let wires = &self.wires;
        self.pairs[pair].wires.retain(|wire| wires[*wire].open != [false, false]);
    }

    fn peer_event(&mut self, which: usize, owner: Owner, event: PeerEvent) {
        match owner {
            Owner::Node { node, epoch, id, router } => {
                let pair = self.pair_index(node, router);
                self.note_session(pair, NODE, &event);
                let Some(speaker) = self.speakers[which].as_ref() else { return };
                let status = Box::new(speaker.peer.status(self.now));
                self.peer_says(node, epoch, id, event, status);
            }
            Owner::Router { router, node } => {
                let pair = self.pair_index(node, router);
                self.note_session(pair, ROUTER, &event);
                self.router_hears(router, node, event);
            }
        }
    }

    fn note_session(&mut self, pair: usize, side: usize, event: &PeerEvent) {
        match event {
            PeerEvent::Established(_) => self.pairs[pair].since[side] = Some(self.now),
            PeerEvent::Down { was_established: true, .. } => self.pairs[pair].since[side] = None,
            PeerEvent::Down { was_established: false, .. }
            | PeerEvent::Update(_)
            | PeerEvent::Synced(_)
            | PeerEvent::Acknowledged(_)
            | PeerEvent::Stalled(_) => return,
        }
        self.dirty[pair / self.routers.len()] = true;
    }

    fn arm_speaker(&mut self, which: usize) {
        let Some(speaker) = self.speakers.get_mut(which).and_then(Option::as_mut) else { return };
        let Some(deadline) = speaker.peer.deadline() else { return };
        if speaker.armed.is_none_or(|armed| armed > deadline) {
            let at = deadline.max(self.now);
            speaker.armed = Some(at);
            self.agenda.add(at, Due::Timer(Machine::Speaker(which)));
        }
    }
}
