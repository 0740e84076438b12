//! A whole peer, driven with bytes, time, connection events, desired and watched sets.
//!
//! ```text
//!   input ─► settings, then one Op after another ─► Input ─► fsm::Peer ─► Output ─► Bench: the invariants:
//!                                                                                     sides, window, deadlines,
//!                                                                                     and the peer's view of us
//! ```

mod input;
mod made;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use ipnet::IpNet;
use vipcast_bgp::fsm::{CloseReason, ConnId, DialError, Endpoints, Input, Liveness, Output, Peer};
use vipcast_bgp::wire::{
    AsPath, AsWidth, Attribute, Family, HEADER_LEN, MAX_MESSAGE_LEN, Message, Notification, Origin,
    RefreshKind, RouteRefresh, SessionContext, Update,
};
use vipcast_bgp::{Extent, Path, PeerConfig, PeerEvent, Routes, State, Version, Watched, family_of};

use self::input::{Op, Piece, settings};
use self::made::{routes, their_open, watched};
use super::wrap;
use vipcast_bgp::time::Instant;

/// More than that teaches nothing and costs speed.
const MAX_OPS: usize = 100;

/// Nothing but a NOTIFICATION is sent while so much waits for the kernel (`SEND_WINDOW` in `fsm/connection.rs`).
const WINDOW: usize = 64 * 1024;

const OUR_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// Settings and operations, in the order of the octets.
pub fn peer(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok((config, endpoints)) = settings(&mut input) else { return };
    let mut bench = Bench::new(config, endpoints);
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        let Ok(op) = Op::arbitrary(&mut input) else { break };
        bench.perform(op);
    }
}

pub(crate) fn from_message(message: &[u8]) -> Vec<Vec<u8>> {
    // Accept, OPEN, KEEPALIVE, then this.
    let mut inputs = Vec::new();
    if let Some((kind, body)) = wrap::kind_and_body(message)
        && let Ok(length) = u8::try_from(body.len())
    {
        inputs.push([&[0x10, 0, 3, 4, 8, 0, 0, 0xFF, 8, 0, 1, 8, 0, 6, kind, length], body].concat());
    }
    inputs
}

/// The peer, and an observer's knowledge of it.
struct Bench {
    peer: Peer,
    endpoints: Endpoints,
    now: Instant,
    running: bool,
    /// All that ever were, so that late events of those that are gone can be made.
    seen: Vec<ConnId>,
    live: BTreeMap<ConnId, Live>,
    session: Option<View>,
    wanted: Routes,
    extent: Extent,
    version: u64,
    watched: Arc<Watched>,
    /// Families that the peer may be asked for once more, because more of them is watched.
    questions: BTreeSet<Family>,
}

/// The routes that the peer has from us.
struct View {
    context: SessionContext,
    /// Whether it keeps our routes over a restart.
    keeps: bool,
    /// Families whose End-of-RIB is owed.
    owed: BTreeSet<Family>,
    /// With their MED.
    routes: BTreeMap<IpNet, u32>,
    /// Families between the begin and the end of a refresh, and what was not sent again yet: at the end the peer
    /// forgets it (RFC 7313 §4.2).
    refreshing: BTreeMap<Family, BTreeSet<IpNet>>,
}

impl View {
    /// The prefix was sent again, or withdrawn.
    fn refreshed(&mut self, prefix: &IpNet) {
        for stale in self.refreshing.values_mut() {
            stale.remove(prefix);
        }
    }
}

struct Live {
    ours: bool,
    dialling: bool,
    /// Given to the kernel and not yet taken by it.
    unsent: usize,
}

impl Bench {
    fn new(config: PeerConfig, endpoints: Endpoints) -> Self {
        Self {
            peer: Peer::new(config),
            endpoints,
            now: Instant::BOOT,
            running: false,
            seen: Vec::new(),
            live: BTreeMap::new(),
            session: None,
            wanted: Routes::new(),
            extent: Extent::Whole,
            version: 0,
            watched: Arc::default(),
            questions: BTreeSet::new(),
        }
    }

    fn perform(&mut self, op: Op<'_>) {
        match op {
            Op::Advance(by) => self.now += by,
            Op::Deadline => {
                if let Some(deadline) = self.peer.deadline() {
                    self.now = self.now.max(deadline);
                    self.tick();
                }
            }
            Op::Tick => self.tick(),
            Op::Start => {
                self.running = true;
                self.input(Input::Start);
            }
            Op::Stop => {
                self.running = false;
                self.input(Input::Stop(Notification::cease(2, "enough")));
                assert!(self.live.is_empty(), "a stopped peer has no connection");
            }
            Op::Accept => {
                let conn = self.peer.allocate();
                self.live.insert(conn, Live { ours: false, dialling: false, unsent: 0 });
                self.seen.push(conn);
                self.input(Input::Accepted(conn, self.endpoints.clone()));
            }
            Op::Dialled(which) => {
                let endpoints = self.endpoints.clone();
                self.named(which, |conn| Input::Dialled(conn, endpoints.clone()));
            }
            Op::DialFailed(which) => self.named(which, |conn| Input::DialFailed(conn, DialError::Refused)),
            Op::Closed(which) => self.named(which, |conn| Input::Closed(conn, CloseReason::EndedByPeer)),
            Op::Liveness(which) => {
                let liveness = match which % 4 {
                    0 => Liveness::Unknown,
                    1 => Liveness::Awaited,
                    2 => Liveness::Up,
                    _ => Liveness::Lost("silence".to_owned()),
                };
                self.input(Input::Liveness(liveness));
            }
            Op::Addresses(which, stays, beside) => {
                let mut endpoints = self.endpoints.clone();
                if !beside {
                    endpoints.interface_addresses.clear();
                }
                let ends = stays.then_some(endpoints);
                self.named(which, |conn| Input::AddressesChanged(conn, ends.clone()));
            }
            Op::Received(which, piece) => {
                let bytes = self.encode(&piece);
                self.named(which, |conn| Input::Received(conn, bytes.clone()));
            }
            Op::Split(which, piece, at) => {
                let bytes = self.encode(&piece);
                let at = usize::from(at).min(bytes.len());
                self.named(which, |conn| Input::Received(conn, bytes.slice(..at)));
                self.named(which, |conn| Input::Received(conn, bytes.slice(at..)));
            }
            Op::Sent(which, bytes) => self.named(which, |conn| Input::Sent(conn, bytes)),
            Op::SentAll => {
                while let Some((&conn, live)) = self.live.iter().find(|(_, live)| live.unsent > 0) {
                    let bytes = live.unsent;
                    self.input(Input::Sent(conn, bytes));
                }
            }
            Op::Advertise { count, med, flags } => {
                self.version += 1;
                // Large sets cost time; two of them are enough to fill the window and to change what is in it.
                let count = if self.version <= 2 { count } else { count.min(64) };
                self.wanted = routes(count, med, flags);
                self.extent = if flags & 128 != 0 { Extent::Partial } else { Extent::Whole };
                self.input(Input::Advertise(Version(self.version), self.wanted.clone(), self.extent));
            }
            Op::Watch(which) => {
                let watched = Arc::new(watched(which));
                self.questions.extend(watched.difference(&self.watched).map(family_of));
                self.watched = Arc::clone(&watched);
                self.input(Input::Watch(watched));
            }
        }
    }

    fn tick(&mut self) {
        self.input(Input::Tick);
        assert!(
            self.peer.deadline().is_none_or(|at| at > self.now),
            "a Tick that leaves work is a busy loop"
        );
    }

    /// An input for one of the connections there ever were. One that is gone is ignored.
    fn named(&mut self, which: u8, input: impl Fn(ConnId) -> Input) {
        let Some(index) = usize::from(which).checked_rem(self.seen.len()) else { return };
        let conn = self.seen[index];
        if self.live.contains_key(&conn) {
            return self.input(input(conn));
        }
        let before = (self.peer.status(self.now), self.peer.deadline());
        let outputs = self.peer.handle(input(conn), self.now);
        // A connection that was made too late must be closed.
        assert!(outputs.is_empty() || outputs == [Output::Close(conn)], "{outputs:?}");
        assert_eq!((self.peer.status(self.now), self.peer.deadline()), before);
    }

    fn input(&mut self, input: Input) {
        let received = match &input {
            Input::Received(_, bytes) => bytes.len(),
            Input::Sent(conn, bytes) => {
                if let Some(live) = self.live.get_mut(conn) {
                    live.unsent = live.unsent.saturating_sub(*bytes);
                }
                0
            }
            Input::Dialled(conn, _) => {
                if let Some(live) = self.live.get_mut(conn) {
                    live.dialling = false;
                }
                0
            }
            Input::DialFailed(conn, _) => {
                if self.live.get(conn).is_some_and(|live| live.dialling) {
                    self.live.remove(conn);
                }
                0
            }
            Input::Start
            | Input::HostChanged
            | Input::Tune(_)
            | Input::Stop(_)
            | Input::Advertise(..)
            | Input::Watch(_)
            | Input::Accepted(..)
            | Input::Queue(..)
            | Input::Closed(..)
            | Input::Liveness(_)
            | Input::AddressesChanged(..)
            | Input::Tick => 0,
        };
        let outputs = self.peer.handle(input, self.now);
        // The incoming messages, with the rest from before, and the outgoing bytes in one window.
        let limit =
            8 + (received + MAX_MESSAGE_LEN) / HEADER_LEN + 2 * (WINDOW + MAX_MESSAGE_LEN) / HEADER_LEN;
        assert!(outputs.len() <= limit, "{} outputs", outputs.len());
        for output in outputs {
            self.output(output);
        }
        self.at_rest();
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Dial(conn) => {
                assert!(self.running && self.peer.config().mode.dials());
                let known = self.live.insert(conn, Live { ours: true, dialling: true, unsent: 0 });
                assert!(known.is_none(), "an id names one connection");
                self.seen.push(conn);
            }
            Output::Close(conn) => {
                self.live.remove(&conn).expect("a connection is closed once");
                // The routes are gone with the session, whether or not it was reported yet.
            }
            Output::Send { conn, bytes } => self.sent(conn, &bytes),
            Output::Event(PeerEvent::Established(session)) => {
                assert!(self.session.is_none(), "one session at a time");
                // The first routes of a session come without a request.
                self.questions.clear();
                let context = session.context(self.peer.config().peering());
                self.session = Some(View {
                    context,
                    keeps: session.graceful_restart.is_some(),
                    owed: session.families,
                    routes: BTreeMap::new(),
                    refreshing: BTreeMap::new(),
                });
            }
            Output::Event(PeerEvent::Down { was_established, reason }) => {
                assert_eq!(self.session.is_some() && was_established, was_established, "{reason}");
                if was_established {
                    self.session = None;
                }
                assert!(!reason.to_string().is_empty());
                let _hint = reason.hint(self.peer.config(), &self.peer.status(self.now).seen);
            }
            Output::Event(PeerEvent::Update(update)) => {
                assert!(self.peer.config().deliver_updates);
                assert!(update.announced().count() <= MAX_MESSAGE_LEN);
            }
            Output::Event(PeerEvent::Synced(version)) => self.synced(version),
            Output::Event(PeerEvent::Acknowledged(_) | PeerEvent::Stalled(_)) => {
                assert!(self.session.is_some(), "only a session delivers");
            }
            Output::Look(conn) => {
                let unsent = self.live.get(&conn).expect("only a connection that stands is looked at").unsent;
                assert!(self.session.is_some() && unsent < usize::MAX);
            }
        }
    }

    /// One whole message, to a connection that stands, within the window.
    fn sent(&mut self, conn: ConnId, bytes: &[u8]) {
        let live = self.live.get_mut(&conn).expect("nothing is sent on a connection that is gone");
        assert!(!live.dialling, "nothing is sent on a connection that does not stand yet");
        let context = self.session.as_ref().map_or(SessionContext::default(), |view| view.context);
        let message =
            Message::decode(bytes, &context).unwrap_or_else(|error| panic!("we send {bytes:02x?}: {error}"));
        let room = live.unsent < WINDOW;
        live.unsent += bytes.len();
        match message {
            Message::Notification(_) => {}
            Message::Open(_) | Message::Keepalive => assert!(room, "the window is full"),
            Message::Update(update) => {
                assert!(room, "the window is full");
                assert_eq!(update.malformed, []);
                let view = self.session.as_mut().expect("UPDATEs come after Established");
                if let Some(family) = update.end_of_rib() {
                    assert!(view.owed.remove(&family), "End-of-RIB comes once");
                    let held = view.keeps && self.extent == Extent::Partial;
                    assert!(!held, "the peer drops what is not decided yet");
                }
                let med = update.attributes.iter().find_map(|attribute| {
                    if let Attribute::MultiExitDisc(med) = attribute { Some(*med) } else { None }
                });
                for prefix in update.withdrawn_prefixes() {
                    assert!(
                        view.routes.remove(&prefix).is_some(),
                        "{prefix} is withdrawn but was not announced"
                    );
                    view.refreshed(&prefix);
                }
                for prefix in update.announced() {
                    view.routes.insert(prefix, med.expect("every route has one"));
                    view.refreshed(&prefix);
                }
            }
            Message::RouteRefresh(refresh) => {
                assert!(room, "the window is full");
                let view = self.session.as_mut().expect("a refresh comes after Established");
                let family = refresh.family;
                match refresh.subtype {
                    RefreshKind::Begin => {
                        let stale = view.routes.keys().filter(|prefix| family_of(prefix) == family).copied();
                        assert_eq!(view.refreshing.insert(family, stale.collect()), None, "begun twice");
                    }
                    RefreshKind::End => {
                        let stale = view.refreshing.remove(&family).expect("ended but not begun");
                        assert!(stale.is_empty(), "the peer forgets {stale:?}");
                    }
                    RefreshKind::Normal => {
                        assert!(
                            self.questions.remove(&family),
                            "nothing new is watched, and nothing asked for"
                        );
                    }
                    RefreshKind::Other(_) => panic!("a reserved subtype"),
                }
            }
        }
    }

    /// The peer has the desired set, except routes that are withheld with a reason.
    fn synced(&self, version: Version) {
        assert_eq!(version, Version(self.version));
        let status = self.peer.status(self.now);
        let View { keeps, owed, routes, refreshing, .. } =
            self.session.as_ref().expect("only a session has a view of us");
        assert!(refreshing.is_empty(), "a refresh that does not end");
        assert!(self.live.values().all(|live| live.unsent == 0), "the kernel has it all");
        let held = *keeps && self.extent == Extent::Partial;
        assert!(held || owed.is_empty(), "End-of-RIB is owed for {owed:?}");
        let carried = self.wanted.iter().filter(|(prefix, _)| !status.withheld.contains_key(prefix));
        let expected: BTreeMap<IpNet, u32> = carried
            .map(|(prefix, attributes)| (*prefix, attributes.med.expect("every route has one")))
            .collect();
        assert_eq!(routes, &expected);
        assert_eq!(status.advertised, expected.len());
    }

    /// The invariants between any two inputs.
    fn at_rest(&self) {
        for ours in [true, false] {
            let count = self.live.values().filter(|live| live.ours == ours).count();
            assert!(count <= 1, "{count} connections of one side");
        }
        let deadline = self.peer.deadline();
        assert!(self.live.is_empty() || deadline.is_some(), "a connection without a deadline is for ever");
        let held_back = self.peer.status(self.now).held_back;
        if self.running && self.peer.config().mode.dials() && !held_back {
            assert!(deadline.is_some(), "a peer that dials and awaits nothing has given up");
        }
        if !self.running {
            assert!(self.live.is_empty() && deadline.is_none(), "a stopped peer rests");
        }
        if self.session.is_some() {
            assert_eq!(self.live.len(), 1, "a session that stands has no sibling");
        }
        let status = self.peer.status(self.now);
        assert_eq!(status.state == State::Established, self.session.is_some());
        assert_eq!(status.session.is_some(), status.state >= State::OpenConfirm);
        assert!(status.paths.is_empty() || self.session.is_some(), "paths of a session that is gone");
        for (prefix, path) in status.paths.iter() {
            assert!(self.watched.contains(prefix), "{prefix} is kept, and not watched");
            let kept = path.communities.len().max(path.large_communities.len());
            assert!(path.as_path.len() <= Path::MAX_ASNS && kept <= Path::MAX_COMMUNITIES, "{path:?}");
        }
        let most = WINDOW + 2 * MAX_MESSAGE_LEN;
        assert!(self.live.values().all(|live| live.unsent <= most), "more than a window is queued");
    }

    fn encode(&self, piece: &Piece<'_>) -> Bytes {
        let config = self.peer.config();
        let message = match *piece {
            Piece::Raw(octets) => return Bytes::copy_from_slice(octets),
            Piece::Body(kind, body) => return wrap::frame(kind, body).into(),
            Piece::Open(flags) => Message::Open(their_open(config, flags)),
            Piece::Keepalive => Message::Keepalive,
            Piece::Update(octet) => Message::Update(Update {
                withdrawn: vec![Ipv4Addr::new(198, 51, 100, octet).into()],
                attributes: vec![
                    Attribute::Origin(Origin::Igp),
                    Attribute::AsPath(AsPath::sequence([config.peer_as])),
                    Attribute::NextHop(Ipv4Addr::new(10, 0, 0, 1)),
                ],
                nlri: (0..=octet % 4).map(|last| Ipv4Addr::new(203, 0, 113, last).into()).collect(),
                malformed: Vec::new(),
            }),
            Piece::Refresh(flags) => {
                let family = if flags & 1 == 0 { Family::IPV4_UNICAST } else { Family::IPV6_UNICAST };
                Message::RouteRefresh(RouteRefresh::new(family, RefreshKind::from(flags >> 1)))
            }
            Piece::Notification(code, subcode) => {
                Message::Notification(Notification::new(code, subcode, Bytes::from_static(b"\x02by")))
            }
        };
        let context = self
            .session
            .as_ref()
            .map_or(SessionContext::new(AsWidth::Four, config.peering()), |view| view.context);
        message.encode(&context).expect("it is short")
    }
}
