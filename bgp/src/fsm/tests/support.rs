//! One peer on a bench: a clock, inputs by name, outputs in words.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::fsm::{
    ConnId, ConnectMode, Endpoints, Extent, Input, Output, Peer, PeerConfig, PeerEvent, SendQueue, State,
    Version,
};
use crate::route::{RouteAttributes, Routes};
use crate::time::Instant;
use crate::wire::{
    Asn, Attribute, Capability, Family, Message, Notification, Open, SessionContext, Update, next_frame,
};

pub(super) const LOCAL_AS: Asn = Asn(65001);
pub(super) const PEER_AS: Asn = Asn(65000);
pub(super) const LOCAL_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const PEER_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

pub(super) fn config(mode: ConnectMode) -> PeerConfig {
    PeerConfig { mode, ..PeerConfig::new(LOCAL_AS, PEER_AS, LOCAL_ID) }
}

/// The epoch of every test; only differences count.
pub(super) fn epoch() -> Instant {
    Instant::BOOT
}

pub(super) fn endpoints() -> Endpoints {
    Endpoints {
        local: ([10, 0, 0, 2], 40000).into(),
        remote: ([10, 0, 0, 1], 179).into(),
        interface_addresses: vec!["2001:db8::2".parse().unwrap()],
        local_is_service: false,
    }
}

pub(super) fn their_open() -> Open {
    let capabilities = vec![
        Capability::Multiprotocol(Family::IPV4_UNICAST),
        Capability::Multiprotocol(Family::IPV6_UNICAST),
        Capability::RouteRefresh,
        Capability::FourOctetAs(PEER_AS),
    ];
    Open::new(PEER_AS, 90, PEER_ID, capabilities)
}

/// The same with another hold time.
pub(super) fn their_open_with_hold(seconds: u16) -> Open {
    let mut open = their_open();
    open.hold_time = seconds;
    open
}

pub(super) fn encode(message: &Message) -> Bytes {
    message.encode(&SessionContext::external()).unwrap()
}

/// Every message in `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Vec<Message> {
    let mut buffer = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(frame) = next_frame(&mut buffer).unwrap() {
        messages.push(Message::decode(&frame, &SessionContext::external()).unwrap());
    }
    assert!(buffer.is_empty(), "half a message was sent");
    messages
}

/// An UPDATE that announces `count` /32s from 10.`first`.0.0 on.
pub(super) fn update(first: u8, count: u32) -> Message {
    use crate::wire::{AsPath, Origin};
    let base = u32::from(Ipv4Addr::new(10, first, 0, 0));
    let nlri = (0..count).map(|n| ipnet::Ipv4Net::from(Ipv4Addr::from(base + n))).collect();
    let attributes = vec![
        Attribute::Origin(Origin::Igp),
        Attribute::AsPath(AsPath::sequence([PEER_AS])),
        Attribute::NextHop(PEER_ID),
    ];
    Message::Update(Update { attributes, nlri, ..Update::default() })
}

/// `count` host routes with one set of attributes, told apart from others by `med`.
pub(super) fn routes(count: u32, med: u32) -> Routes {
    let attributes = Arc::new(RouteAttributes { med: Some(med), ..RouteAttributes::default() });
    let base = u32::from(Ipv4Addr::new(192, 0, 0, 0));
    let net = |n| ipnet::IpNet::from(std::net::IpAddr::from(Ipv4Addr::from(base + n)));
    (0..count).map(|n| (net(n), Arc::clone(&attributes))).collect()
}

/// The kernel holds nothing any more.
pub(super) const ACKNOWLEDGED: SendQueue = SendQueue { unacknowledged: 0, retransmissions: 0, segment: 1460 };

pub(super) struct Bench {
    pub(super) peer: Peer,
    pub(super) now: Instant,
}

impl Bench {
    pub(super) fn new(config: PeerConfig) -> Self {
        Self { peer: Peer::new(config), now: epoch() }
    }

    /// A started peer with one connection in `state`, and the connection. In Connect it dials, beyond it has accepted.
    pub(super) fn at(state: State, mode: ConnectMode) -> (Self, ConnId) {
        Self::at_with(config(mode), state)
    }

    /// The same with these settings.
    pub(super) fn at_with(config: PeerConfig, state: State) -> (Self, ConnId) {
        let mode = config.mode;
        let mut bench = Self::new(config);
        let conn = match state {
            State::Idle => return (bench, ConnId(0)),
            State::Active => {
                bench.input(Input::Start);
                return (bench, ConnId(0));
            }
            State::Connect | State::OpenSent | State::OpenConfirm | State::Established => {
                if mode.dials() {
                    let outputs = bench.input(Input::Start);
                    let [Output::Dial(conn)] = outputs.as_slice() else { panic!("{outputs:?}") };
                    *conn
                } else {
                    bench.input(Input::Start);
                    bench.accept().0
                }
            }
        };
        if state >= State::OpenSent && mode.dials() {
            bench.input(Input::Dialled(conn, endpoints()));
        }
        if state >= State::OpenConfirm {
            bench.receive(conn, &Message::Open(their_open()));
        }
        if state == State::Established {
            bench.receive(conn, &Message::Keepalive);
        }
        assert_eq!(bench.state(), state);
        (bench, conn)
    }

    pub(super) fn state(&self) -> State {
        self.peer.status(self.now).state
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Output> {
        let tick = matches!(input, Input::Tick);
        let outputs = self.peer.handle(input, self.now);
        if tick {
            assert!(
                self.peer.deadline().is_none_or(|at| at > self.now),
                "a Tick that leaves work is a busy loop"
            );
        }
        outputs
    }

    pub(super) fn accept(&mut self) -> (ConnId, Vec<Output>) {
        let conn = self.peer.allocate();
        (conn, self.input(Input::Accepted(conn, endpoints())))
    }

    pub(super) fn receive(&mut self, conn: ConnId, message: &Message) -> Vec<Output> {
        self.input(Input::Received(conn, encode(message)))
    }

    /// Moves the clock to the next deadline and ticks.
    pub(super) fn tick(&mut self) -> Vec<Output> {
        self.now = self.now.max(self.peer.deadline().expect("a deadline"));
        self.input(Input::Tick)
    }

    /// Moves the clock, ticking at every deadline on the way, and returns all outputs with their times.
    pub(super) fn advance(&mut self, by: Duration) -> Vec<(Instant, Output)> {
        let end = self.now + by;
        let mut seen = Vec::new();
        while self.peer.deadline().is_some_and(|at| at <= end) {
            let outputs = self.tick();
            seen.extend(outputs.into_iter().map(|output| (self.now, output)));
        }
        self.now = end;
        seen
    }

    /// The kernel takes everything that `outputs` send, and the peer's TCP acknowledges it, and what that brings about, until
    /// nothing more is sent.
    pub(super) fn acknowledge(&mut self, outputs: Vec<Output>) -> Vec<Output> {
        let mut all = Vec::new();
        let mut waiting = std::collections::VecDeque::from(outputs);
        while let Some(output) = waiting.pop_front() {
            if let Output::Send { conn, bytes } = &output {
                waiting.extend(self.input(Input::Sent(*conn, bytes.len())));
                waiting.extend(self.input(Input::Queue(*conn, ACKNOWLEDGED)));
            }
            all.push(output);
        }
        all
    }

    pub(super) fn advertise(&mut self, version: u64, routes: Routes) -> Vec<Output> {
        self.input(Input::Advertise(Version(version), routes, Extent::Whole))
    }
}

/// Outputs in words, in their order: exact enough to tell any two apart that matter.
pub(super) fn show(outputs: &[Output]) -> String {
    outputs.iter().map(show_one).collect::<Vec<_>>().join(", ")
}

fn show_one(output: &Output) -> String {
    match output {
        Output::Dial(conn) => format!("dial {}", conn.0),
        Output::Send { conn, bytes } => format!("send {} {}", conn.0, show_messages(bytes)),
        Output::Close(conn) => format!("close {}", conn.0),
        Output::Event(PeerEvent::Established(_)) => "Established".to_owned(),
        Output::Event(PeerEvent::Down { reason, was_established }) => {
            format!("Down{} ({reason})", if *was_established { "!" } else { "" })
        }
        Output::Event(PeerEvent::Update(_)) => "Update".to_owned(),
        Output::Event(PeerEvent::Synced(version)) => format!("Synced {}", version.0),
        Output::Event(PeerEvent::Acknowledged(version)) => format!("Acknowledged {}", version.0),
        Output::Event(PeerEvent::Stalled(stall)) => format!("Stalled ({stall})"),
        Output::Look(conn) => format!("look {}", conn.0),
    }
}

fn show_messages(bytes: &[u8]) -> String {
    let messages = decode(bytes);
    let shown = messages.iter().map(|message| match message {
        Message::Open(_) => "OPEN".to_owned(),
        Message::Update(update) => match update.end_of_rib() {
            Some(family) => format!("EoR {family}"),
            None => {
                format!("UPDATE +{} -{}", update.announced().count(), update.withdrawn_prefixes().count())
            }
        },
        Message::Notification(notification) => show_notification(notification),
        Message::Keepalive => "KEEPALIVE".to_owned(),
        Message::RouteRefresh(_) => "ROUTE-REFRESH".to_owned(),
    });
    shown.collect::<Vec<_>>().join("+")
}

fn show_notification(notification: &Notification) -> String {
    let text = notification.shutdown_communication().map(|text| format!(" {text:?}")).unwrap_or_default();
    format!("{}/{}{text}", notification.code, notification.subcode)
}
