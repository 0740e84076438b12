//! Speakers and BFD drivers that are frozen, written as text, and thawed again and again, while the other side sees one
//! session. The exec between is left out: the descriptors stay in this process.

#![expect(clippy::unwrap_used, reason = "a test that cannot begin has failed")]
#![expect(clippy::print_stdout, reason = "measurements")]

#[path = "hand_over/form.rs"]
mod form;
mod support;
#[path = "hand_over/told.rs"]
mod told;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use vipcast_bgp::frozen;
use vipcast_bgp::fsm::{DialError, DownReason, Liveness};
use vipcast_bgp::jitter::Jitter;
use vipcast_bgp::net::{Descriptors, PeerHandle, PeerId, Resume, Speaker, Thawed, knock};
use vipcast_bgp::secret::Secret;
use vipcast_bgp::transport::{Authentication, PeerAddress, Transport};
use vipcast_bgp::wire::iana::notification::{CEASE, cease};
use vipcast_bgp::wire::{Message, Notification, Peering};
use vipcast_bgp::{ConnectMode, PeerConfig, PeerEvent, PeerStatus, RouteAttributes, Routes, State, Version};

use support::{PATIENCE, RAW_AS, Raw, config, open};

/// A speaker with one peer that can be handed over.
struct Node {
    speaker: Speaker,
    events: UnboundedReceiver<(PeerId, PeerEvent)>,
    handle: PeerHandle,
    transport: Transport,
    config: PeerConfig,
    listens: Option<SocketAddr>,
    /// The events of all lives.
    told: Vec<PeerEvent>,
}

impl Node {
    fn new(listen: Option<IpAddr>, transport: impl Into<Transport>, config: PeerConfig) -> Self {
        let (mut speaker, events, _notices) = Speaker::new();
        let listens = listen.map(|ip| speaker.listen((ip, 0).into()).unwrap());
        let transport = transport.into();
        let handle = speaker.add_peer(transport.clone(), config.clone());
        Self { speaker, events, handle, transport, config, listens, told: Vec::new() }
    }

    async fn freeze(mut self) -> (String, Descriptors, Transport, PeerConfig, Vec<PeerEvent>) {
        let mut descriptors = Descriptors::new();
        let form = self.speaker.freeze([(7, &mut self.handle)], &mut descriptors).await;
        self.note();
        let text = serde_json::to_string(&form).unwrap();
        (text, descriptors, self.transport, self.config, self.told)
    }

    /// Through the frozen form as text.
    async fn hand_over(self) -> Self {
        let listens = self.listens;
        let (text, mut descriptors, transport, config, told) = self.freeze().await;
        let form: frozen::Speaker = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&form).unwrap(), text);
        let resume = Resume {
            id: 7,
            transport: transport.clone(),
            config: config.clone(),
            liveness: Liveness::Unknown,
        };
        let thawed = Speaker::thaw(&form, &mut descriptors, vec![resume]);
        let Thawed { speaker, events, mut handles, .. } =
            thawed.unwrap_or_else(|error| panic!("{error:?}: {text}"));
        assert!(descriptors.is_empty(), "{descriptors:?}");
        let handle = handles.remove(&7).unwrap();
        Self { speaker, events, handle, transport, config, listens, told }
    }

    /// Takes in what has happened.
    fn note(&mut self) {
        self.told.extend(std::iter::from_fn(|| self.events.try_recv().ok()).map(|(_, event)| event));
    }

    fn sessions(&self) -> usize {
        self.told.iter().filter(|event| matches!(event, PeerEvent::Established(_))).count()
    }

    fn losses(&self) -> usize {
        self.told.iter().filter(|event| matches!(event, PeerEvent::Down { .. })).count()
    }
}

async fn wait(what: &str, handle: &PeerHandle, done: impl Fn(&PeerStatus) -> bool) -> PeerStatus {
    let begin = Instant::now();
    loop {
        let status = handle.status();
        if done(&status) {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "no {what} after {PATIENCE:?}: {status:?}");
        sleep(Duration::from_millis(1)).await;
    }
}

fn is_up(status: &PeerStatus) -> bool {
    status.state == State::Established
}

/// Routes, each with attributes of its own, so that each takes an UPDATE of its own.
fn routes(count: u32, med: u32) -> Routes {
    let host = |n| IpNet::from(IpAddr::from(Ipv4Addr::from(0xC000_0200 + n)));
    let attributes = |n| Arc::new(RouteAttributes { med: Some(med + n), ..RouteAttributes::default() });
    (0..count).map(|n| (host(n), attributes(n))).collect()
}

fn at(ip: IpAddr, source: IpAddr) -> PeerAddress {
    PeerAddress { remote: (ip, 1).into(), source: Some(source) }
}

/// A node that accepts, and one that dials it.
fn pair(a: IpAddr, b: IpAddr, key: Option<&[u8]>) -> (Node, Node) {
    let key = || key.map(|key| Authentication::Md5(Secret::new(key).unwrap()));
    let keyed = |address| Transport { authentication: key(), ..Transport::from(address) };
    let passive = Node::new(Some(a), keyed(at(b, a)), config(65001, 65002, ConnectMode::Passive, 9));
    let remote = passive.listens.unwrap();
    let to = keyed(PeerAddress { remote, source: Some(b) });
    let active = Node::new(Some(b), to, config(65002, 65001, ConnectMode::Active, 9));
    (passive, active)
}

#[tokio::test]
async fn a_session_goes_on_and_nobody_is_told() {
    let (mut a, b) = pair([127, 7, 1, 1].into(), [127, 7, 1, 2].into(), None);
    wait("session", &a.handle, is_up).await;
    a.handle.advertise(Version(1), routes(100, 1));
    wait("routes", &b.handle, |status| status.counters.prefixes_received == 100).await;
    let before = wait("acknowledgement", &a.handle, |status| status.acknowledged == 100).await;
    for round in 0..50 {
        a = a.hand_over().await;
        let after = a.handle.status();
        assert_eq!(after, before, "round {round}");
    }
    a.handle.advertise(Version(2), routes(101, 1));
    wait("one route more", &b.handle, |status| status.counters.prefixes_received == 101).await;
    a.note();
    let synced = |version| PeerEvent::Synced(Version(version));
    assert_eq!((a.sessions(), a.losses()), (1, 0));
    assert_eq!(a.told.iter().filter(|event| **event == synced(1)).count(), 1, "{:?}", a.told);
    assert!(a.told.contains(&synced(2)), "{:?}", a.told);
}

/// A set that differs from others in about every second route.
fn random_routes(random: &mut Jitter, count: u32) -> Routes {
    let med = u32::try_from(random.next() % 3).unwrap() * 100_000;
    let mut chosen = Routes::new();
    for (prefix, attributes) in &routes(count, med) {
        if !random.next().is_multiple_of(4) {
            chosen.insert(*prefix, Arc::clone(attributes));
        }
    }
    chosen
}

async fn wait_told(node: &mut Node, event: &PeerEvent) {
    let begin = Instant::now();
    while !node.told.contains(event) {
        assert!(begin.elapsed() < PATIENCE, "no {event:?} among {:?}", node.told);
        sleep(Duration::from_millis(1)).await;
        node.note();
    }
}

/// A node that dials a listener, with routes and nothing else.
fn dialler(address: SocketAddr) -> Node {
    let to = PeerAddress { remote: address, source: None };
    Node::new(None, to, config(65001, RAW_AS, ConnectMode::Active, 240))
}

#[tokio::test]
async fn a_session_over_ipv6_goes_on() {
    let ip: IpAddr = "::1".parse().unwrap();
    let (a, b) = pair(ip, ip, None);
    goes_on_together(a, b).await;
}

#[tokio::test]
async fn a_session_with_a_key_goes_on_and_the_listener_keeps_the_key() {
    let (ip, other) = (IpAddr::from([127, 7, 4, 1]), IpAddr::from([127, 7, 4, 2]));
    let (a, b) = pair(ip, other, Some(b"correct-horse"));
    sleep(Duration::from_millis(1)).await;
    if matches!(&b.handle.status().last_down, Some((DownReason::DialFailed(DialError::NoMd5), _))) {
        println!("SKIPPED: this kernel has no TCP MD5");
        return;
    }
    let (a, b) = goes_on_together(a, b).await;
    // A new session passes the listener of the frozen program with the key, and no connection without it does.
    let to = a.listens.unwrap();
    drop(b.handle);
    wait("end", &a.handle, |status| !is_up(status)).await;
    let transport = b.transport.clone();
    let again = Node::new(None, transport.clone(), config(65002, 65001, ConnectMode::Active, 9));
    wait("another session", &again.handle, is_up).await;
    let unsigned = Transport { authentication: None, ..transport };
    let knocked = knock(&unsigned, Peering::External, Duration::from_millis(300)).await;
    assert!(matches!(knocked, Err(DialError::NoAnswer { .. })), "{knocked:?} at {to}");
}

/// Both sides are handed over in turn, while both change their routes.
async fn goes_on_together(mut a: Node, mut b: Node) -> (Node, Node) {
    wait("session", &a.handle, is_up).await;
    wait("session", &b.handle, is_up).await;
    let mut random = Jitter::new(1);
    let (mut one, mut other) = (Routes::new(), Routes::new());
    for version in 1..=100 {
        (one, other) = (random_routes(&mut random, 100), random_routes(&mut random, 100));
        a.handle.advertise(Version(version), one.clone());
        b.handle.advertise(Version(version), other.clone());
        if random.next().is_multiple_of(2) {
            sleep(Duration::from_micros(random.next() % 2_000)).await;
        }
        a = a.hand_over().await;
        b = b.hand_over().await;
    }
    for (node, count) in [(&mut a, one.len()), (&mut b, other.len())] {
        wait_told(node, &PeerEvent::Acknowledged(Version(100))).await;
        let status = node.handle.status();
        assert_eq!((status.advertised, status.acknowledged), (count, count));
        assert_eq!((node.sessions(), node.losses()), (1, 0), "{:?}", node.told);
    }
    let received = |node: &Node| {
        let counters = node.handle.status().counters;
        counters.updates_received
    };
    let sent = |node: &Node| node.handle.status().counters.updates_sent;
    assert_eq!((sent(&a), sent(&b)), (received(&b), received(&a)), "an UPDATE was lost, or came twice");
    (a, b)
}

/// Dials under way, connections without an OPEN, and collisions: frozen from the first moment on.
#[tokio::test]
async fn two_peers_that_are_handed_over_while_they_meet_have_one_session() {
    let mut random = Jitter::new(3);
    for round in 0..30 {
        let (ip, other) = (IpAddr::from([127, 7, 5, 1]), IpAddr::from([127, 7, 5, 2]));
        let both = |local, peer| config(local, peer, ConnectMode::Both, 9);
        let mut a = Node::new(Some(ip), at(other, ip), both(65001, 65002));
        let remote = a.listens.unwrap();
        let mut b = Node::new(Some(other), PeerAddress { remote, source: Some(other) }, both(65002, 65001));
        // Now the first one can dial the second.
        drop(a);
        let remote = b.listens.unwrap();
        a = Node::new(None, PeerAddress { remote, source: Some(ip) }, both(65001, 65002));
        let begin = Instant::now();
        while !(is_up(&a.handle.status()) && is_up(&b.handle.status())) {
            assert!(begin.elapsed() < PATIENCE, "{:?} {:?}", a.handle.status(), b.handle.status());
            for _ in 0..random.next() % 12 {
                yield_now().await;
            }
            if random.next().is_multiple_of(3) {
                sleep(Duration::from_micros(random.next() % 3_000)).await;
            }
            if random.next().is_multiple_of(2) {
                a = a.hand_over().await;
            } else {
                b = b.hand_over().await;
            }
        }
        a.handle.advertise(Version(1), routes(10, 1));
        wait("routes", &b.handle, |status| status.counters.prefixes_received == 10).await;
        for node in [&mut a, &mut b] {
            node.note();
            let lost = |event: &PeerEvent| matches!(event, PeerEvent::Down { was_established: true, .. });
            assert_eq!(node.sessions(), 1, "round {round}: {:?}", node.told);
            assert!(!node.told.iter().any(lost), "round {round}: {:?}", node.told);
        }
    }
}

#[tokio::test]
async fn a_connection_that_nobody_has_taken_yet_is_taken_by_the_next_program() {
    for steps in 0..40 {
        let ip = IpAddr::from([127, 7, 6, 1]);
        let from = [127, 7, 6, 2];
        let mut node =
            Node::new(Some(ip), at(from.into(), ip), config(65001, RAW_AS, ConnectMode::Passive, 240));
        for _ in 0..5 {
            yield_now().await;
        }
        let mut raw = Raw::dial(from, node.listens.unwrap()).await;
        for _ in 0..steps {
            yield_now().await;
        }
        node = node.hand_over().await;
        raw.send(&open(240)).await;
        node = node.hand_over().await;
        raw.send(&Message::Keepalive).await;
        assert!(matches!(raw.receive().await, Some(Message::Open(_))), "after {steps} steps");
        assert_eq!(raw.receive().await, Some(Message::Keepalive));
        wait("session", &node.handle, is_up).await;
    }
}

#[tokio::test]
async fn the_last_words_of_a_connection_are_said_by_the_next_program() {
    for steps in 0..30 {
        let (listener, address) = Raw::listen_small([127, 7, 7, 1]);
        let mut node = dialler(address);
        let mut raw = Raw::establish(&listener, 240).await;
        wait("session", &node.handle, is_up).await;
        // More than the window takes, so that the last words wait.
        node.handle.advertise(Version(1), routes(2_000, 1));
        sleep(Duration::from_millis(5)).await;
        // An OPEN is an error here.
        raw.send(&open(240)).await;
        for _ in 0..steps {
            yield_now().await;
        }
        node = node.hand_over().await;
        node = node.hand_over().await;
        let mut last = None;
        while let Some(message) = raw.receive().await {
            last = Some(message);
        }
        let Some(Message::Notification(said)) = last else { panic!("after {steps} steps: {last:?}") };
        let unexpected = Notification::unexpected_message(3);
        assert_eq!((said.code, said.subcode), (unexpected.code, unexpected.subcode));
        drop(node);
    }
}

#[tokio::test]
async fn a_peer_that_is_not_taken_over_is_closed_and_the_others_go_on() {
    let (first, to_first) = Raw::listen([127, 7, 8, 1]);
    let (second, to_second) = Raw::listen([127, 7, 8, 2]);
    let (mut speaker, _events, _notices) = Speaker::new();
    let settings = || config(65001, RAW_AS, ConnectMode::Active, 240);
    let address = |remote| PeerAddress { remote, source: None };
    let mut one = speaker.add_peer(address(to_first), settings());
    let mut other = speaker.add_peer(address(to_second), settings());
    let (mut raw_one, mut raw_other) =
        (Raw::establish(&first, 240).await, Raw::establish(&second, 240).await);
    wait("session", &one, is_up).await;
    wait("session", &other, is_up).await;
    let mut descriptors = Descriptors::new();
    let form = speaker.freeze([(1, &mut one), (2, &mut other)], &mut descriptors).await;
    let resume = |id, remote: SocketAddr| Resume {
        id,
        transport: address(remote).into(),
        config: settings(),
        liveness: Liveness::Unknown,
    };
    let thawed = Speaker::thaw(&form, &mut descriptors, vec![resume(2, to_second)]).unwrap();
    assert_eq!(thawed.handles.keys().collect::<Vec<_>>(), [&2]);
    let mut last = None;
    while let Some(message) = raw_one.receive().await {
        assert!(matches!(message, Message::Update(_) | Message::Notification(_)), "{message:?}");
        last = Some(message);
    }
    let Some(Message::Notification(said)) = last else { panic!("closed without a word: {last:?}") };
    assert_eq!((said.code, said.subcode), (CEASE, cease::OTHER_CONFIGURATION_CHANGE));
    thawed.handles[&2].advertise(Version(1), routes(1, 1));
    let is_route = |message: &Message| matches!(message, Message::Update(it) if it.announced().count() == 1);
    while !is_route(&raw_other.receive().await.expect("an open connection")) {}
}

#[tokio::test]
async fn bfd_that_goes_down_in_the_pause_ends_the_session_and_what_it_was_told_before_does_not() {
    let (listener, address) = Raw::listen([127, 7, 9, 1]);
    let node = dialler(address);
    let mut raw = Raw::establish(&listener, 240).await;
    wait("session", &node.handle, is_up).await;
    node.handle.liveness(Liveness::Up);
    let resume = |node: &(String, Descriptors, Transport, PeerConfig, Vec<PeerEvent>), liveness| Resume {
        id: 7,
        transport: node.2.clone(),
        config: node.3.clone(),
        liveness,
    };
    let mut frozen = node.freeze().await;
    for liveness in [Liveness::Up, Liveness::Lost("no packets".to_owned())] {
        let form = serde_json::from_str(&frozen.0).unwrap();
        let peers = vec![resume(&frozen, liveness.clone())];
        let thawed = Speaker::thaw(&form, &mut frozen.1, peers).unwrap();
        let Thawed { mut speaker, mut handles, .. } = thawed;
        let mut handle = handles.remove(&7).unwrap();
        if liveness != Liveness::Up {
            let is_last = |message: &Message| matches!(message, Message::Notification(_));
            while !is_last(&raw.receive().await.expect("a NOTIFICATION")) {}
            break;
        }
        handle.advertise(Version(1), routes(1, 1));
        let is_route =
            |message: &Message| matches!(message, Message::Update(it) if it.announced().count() == 1);
        while !is_route(&raw.receive().await.expect("an open connection")) {}
        let form = speaker.freeze([(7, &mut handle)], &mut frozen.1).await;
        frozen.0 = serde_json::to_string(&form).unwrap();
    }
}

#[tokio::test]
async fn a_peer_is_told_every_change_of_bfd_since_the_freeze() {
    let (listener, address) = Raw::listen([127, 7, 9, 2]);
    let node = dialler(address);
    let mut raw = Raw::establish(&listener, 240).await;
    wait("session", &node.handle, is_up).await;
    node.handle.liveness(Liveness::Up);
    let (text, mut descriptors, transport, config, _) = node.freeze().await;
    let mut form: frozen::Speaker = serde_json::from_str(&text).unwrap();
    let frozen::Speaker::V1(v1) = &mut form;
    // It is up again at the end.
    v1.peers[0].untold = [&Liveness::Lost("no packets".to_owned()), &Liveness::Up].map(Into::into).to_vec();
    let resume = Resume { id: 7, transport, config, liveness: Liveness::Up };
    let thawed = Speaker::thaw(&form, &mut descriptors, vec![resume]).unwrap();
    let mut last = None;
    while let Some(message) = raw.receive().await {
        last = Some(message);
    }
    let Some(Message::Notification(said)) = last else { panic!("the loss is forgotten: {last:?}") };
    assert_eq!((said.code, said.subcode), (CEASE, cease::BFD_DOWN));
    drop(thawed);
}
