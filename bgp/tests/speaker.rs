//! Two speakers, or one and a raw TCP peer, over loopback addresses. Every wait is for a condition, with a time-out
//! that tells the last status.

#![expect(clippy::print_stdout, reason = "measurements")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::time::{Instant, sleep, timeout};
use vipcast_bgp::fsm::{DownReason, Tuning};
use vipcast_bgp::net::{PeerHandle, PeerId, Speaker};
use vipcast_bgp::transport::PeerAddress;
use vipcast_bgp::wire::{Attribute, Message, Notification, iana};
use vipcast_bgp::{
    ConnectMode, Notice, PeerConfig, PeerEvent, PeerStatus, RouteAttributes, Routes, State, Version,
};

use support::{PATIENCE, Raw, config, encode, open};

type Events = UnboundedReceiver<(PeerId, PeerEvent)>;

/// A speaker that listens on its own loopback address. Tests run side by side, so each has addresses of its own.
struct Node {
    ip: Ipv4Addr,
    speaker: Speaker,
    events: Events,
    notices: Receiver<Notice>,
    listens: SocketAddr,
}

impl Node {
    fn new(ip: [u8; 4]) -> Self {
        let (mut speaker, events, notices) = Speaker::new();
        let listens = speaker.listen((ip, 0).into()).expect("loopback address");
        Self { ip: ip.into(), speaker, events, notices, listens }
    }

    /// The notices until now.
    fn noticed(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.notices.try_recv().ok()).collect()
    }

    fn peer(&mut self, remote: SocketAddr, config: PeerConfig) -> PeerHandle {
        self.speaker.add_peer(PeerAddress { remote, source: Some(self.ip.into()) }, config)
    }
}

/// Two speakers that know each other.
fn pair(subnet: u8, modes: (ConnectMode, ConnectMode)) -> (Node, PeerHandle, Node, PeerHandle) {
    let (mut a, mut b) = (Node::new([127, 1, subnet, 1]), Node::new([127, 1, subnet, 2]));
    let to_b = a.peer(b.listens, config(65001, 65002, modes.0, 9));
    let to_a = b.peer(a.listens, config(65002, 65001, modes.1, 9));
    (a, to_b, b, to_a)
}

async fn wait(what: &str, handle: &PeerHandle, done: impl Fn(&PeerStatus) -> bool) -> PeerStatus {
    let begin = Instant::now();
    loop {
        let status = handle.status();
        if done(&status) {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "no {what} after {PATIENCE:?}: {status:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

async fn wait_established(handle: &PeerHandle) -> PeerStatus {
    wait("session", handle, |status| status.state == State::Established).await
}

async fn wait_event(events: &mut Events, wanted: PeerEvent) {
    let mut seen = Vec::new();
    loop {
        match timeout(PATIENCE, events.recv()).await {
            Ok(Some((_, event))) if event == wanted => return,
            Ok(Some((_, event))) => seen.push(event),
            Ok(None) | Err(_) => panic!("no {wanted:?} among {seen:?}"),
        }
    }
}

fn routes(count: u32, med: u32) -> Routes {
    let host = |n| IpNet::from(IpAddr::from(Ipv4Addr::from(0xC000_0200 + n)));
    // Each has attributes of its own, so that each takes an UPDATE of its own.
    let attributes = |n| Arc::new(RouteAttributes { med: Some(med * 100 + n), ..RouteAttributes::default() });
    (0..count).map(|n| (host(n), attributes(n))).collect()
}

fn shutdown(text: &str) -> Notification {
    Notification::cease(iana::notification::cease::ADMINISTRATIVE_SHUTDOWN, text)
}

#[tokio::test]
async fn a_session_comes_up_whoever_dials() {
    let modes = [
        (ConnectMode::Active, ConnectMode::Passive),
        (ConnectMode::Passive, ConnectMode::Active),
        (ConnectMode::Both, ConnectMode::Both),
    ];
    for (subnet, modes) in (1..).zip(modes) {
        let (_a, to_b, _b, to_a) = pair(subnet, modes);
        let (here, there) = (wait_established(&to_b).await, wait_established(&to_a).await);
        let (here, there) = (here.endpoints.unwrap(), there.endpoints.unwrap());
        assert_eq!((here.local, here.remote), (there.remote, there.local), "they mean different connections");
    }
}

#[tokio::test]
async fn what_one_side_announces_the_other_receives() {
    let (mut a, to_b, _b, to_a) = pair(10, (ConnectMode::Both, ConnectMode::Both));
    to_b.advertise(Version(1), routes(1_000, 1));
    wait_event(&mut a.events, PeerEvent::Synced(Version(1))).await;
    assert_eq!(to_b.status().advertised, 1_000);
    wait("routes", &to_a, |status| status.counters.prefixes_received == 1_000).await;

    to_b.advertise(Version(2), routes(10, 1));
    wait_event(&mut a.events, PeerEvent::Synced(Version(2))).await;
    wait("withdrawals", &to_a, |status| status.counters.prefixes_withdrawn == 990).await;
    assert_eq!(to_b.status().advertised, 10);
    assert_eq!(to_a.status().counters.prefixes_received, 1_000, "what stays is not sent again");
}

#[tokio::test]
async fn settings_and_routes_that_change_at_once_are_one_update() {
    let mut node = Node::new([127, 1, 60, 1]);
    let (listener, address) = Raw::listen([127, 1, 60, 2]);
    let config = config(65001, 65002, ConnectMode::Active, 240);
    let settings = config.tuning();
    let peer = node.peer(address, config);
    let mut raw = Raw::establish(&listener, 240).await;
    wait_established(&peer).await;
    let mut routes = Routes::new();
    for number in 1..=20_u8 {
        routes.insert(IpNet::from(IpAddr::from([192, 0, 2, number])), Arc::default());
        routes.remove(&IpNet::from(IpAddr::from([192, 0, 2, number - 1])));
        let tuning = Tuning { med: Some(number.into()), ..settings };
        // In either order.
        if number % 2 == 0 {
            peer.tune(tuning);
        }
        peer.advertise(Version(number.into()), routes.clone());
        peer.tune(tuning);
        wait_event(&mut node.events, PeerEvent::Synced(Version(number.into()))).await;
        let mut told = BTreeSet::new();
        while told.is_empty() {
            let Message::Update(update) = raw.receive().await.expect("an open connection") else { continue };
            let is_med = |it: &Attribute| *it == Attribute::MultiExitDisc(number.into());
            for prefix in update.announced() {
                assert!(update.attributes.iter().any(is_med), "{prefix}: {:?}", update.attributes);
                assert_eq!(prefix.addr(), IpAddr::from([192, 0, 2, number]), "it is withdrawn");
                assert!(told.insert(prefix), "{prefix} was sent twice");
            }
        }
    }
}

#[tokio::test]
async fn stop_tells_the_other_side_why() {
    let (_a, to_b, _b, to_a) = pair(20, (ConnectMode::Both, ConnectMode::Both));
    wait_established(&to_b).await;
    wait_established(&to_a).await;
    let begin = Instant::now();
    to_b.stop(shutdown("kernel update, back at 10:00")).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "stop took {:?}", begin.elapsed());
    let status = wait("goodbye", &to_a, |status| status.last_down.is_some()).await;
    let Some((DownReason::Received(notification), _)) = status.last_down else { panic!("{status:?}") };
    assert_eq!(notification, shutdown("kernel update, back at 10:00"));
}

#[tokio::test]
async fn dropping_the_handle_closes_the_session_without_a_word() {
    let (_a, to_b, _b, to_a) = pair(30, (ConnectMode::Active, ConnectMode::Passive));
    wait_established(&to_b).await;
    wait_established(&to_a).await;
    drop(to_b);
    let status = wait("close", &to_a, |status| status.last_down.is_some()).await;
    assert!(matches!(status.last_down, Some((DownReason::Closed(_), _))), "{status:?}");
}

#[tokio::test]
async fn strangers_are_closed_and_so_are_peers_that_we_left() {
    let mut node = Node::new([127, 1, 40, 1]);
    let handle = node.peer(([127, 1, 40, 2], 1).into(), config(65001, 65002, ConnectMode::Passive, 9));
    let dial = |from: [u8; 4]| Raw::dial(from, node.listens);
    assert_eq!(dial([127, 1, 40, 3]).await.receive().await, None, "a stranger");
    assert!(matches!(dial([127, 1, 40, 2]).await.receive().await, Some(Message::Open(_))), "the peer");
    handle.stop(shutdown("")).await;
    assert_eq!(dial([127, 1, 40, 2]).await.receive().await, None, "a peer of former times");
    assert_eq!(dial([127, 1, 40, 3]).await.receive().await, None, "a stranger again");
    let stranger = |last| Notice::Stranger { ip: [127, 1, 40, last].into() };
    assert_eq!(node.noticed(), [stranger(3), stranger(2)], "each stranger is told of once");
}

#[tokio::test]
async fn a_port_that_another_program_has_is_listened_on_when_it_is_free() {
    let mut node = Node::new([127, 1, 41, 1]);
    let other = std::net::TcpListener::bind("127.1.41.2:0").unwrap();
    let address = other.local_addr().unwrap();
    let error = node.speaker.listen(address).expect_err("the port is in use");
    node.speaker.listen_later(address, &error);
    assert_eq!(
        node.speaker.not_listening().collect::<Vec<_>>(),
        [(address, "address already in use".to_owned())]
    );
    drop(other);
    let noticed = timeout(PATIENCE, node.notices.recv()).await.expect("a notice");
    assert_eq!(noticed, Some(Notice::Listens { address }));
    assert_eq!(node.speaker.not_listening().count(), 0);
    assert_eq!(Raw::dial([127, 1, 41, 3], address).await.receive().await, None, "a stranger");
}

/// A caller that keeps no log drops the notices.
#[tokio::test]
async fn nothing_changes_where_nobody_reads_the_notices() {
    let (mut speaker, _events, _) = Speaker::new();
    let address = speaker.listen(([127, 1, 42, 1], 0).into()).expect("loopback address");
    assert_eq!(Raw::dial([127, 1, 42, 2], address).await.receive().await, None, "a stranger");
}

/// A KEEPALIVE at least every second, no matter how the neighbours behave.
async fn keepalives_are_on_time(mut raw: Raw, until: Duration) {
    let begin = Instant::now();
    let mut last = begin;
    let mut worst = Duration::ZERO;
    while begin.elapsed() < until {
        if raw.receive().await.expect("an open connection") == Message::Keepalive {
            worst = worst.max(last.elapsed());
            last = Instant::now();
            raw.send(&Message::Keepalive).await;
        }
    }
    println!("the longest time between two KEEPALIVEs was {worst:?}");
    assert!(worst < Duration::from_millis(1_300), "{worst:?} between two KEEPALIVEs");
}

#[tokio::test]
async fn a_peer_that_stops_reading_costs_a_window_and_delays_nobody() {
    const CHANGES: u32 = 10_000;
    let mut node = Node::new([127, 1, 50, 1]);
    let (stalled_listener, stalled_at) = Raw::listen([127, 1, 50, 2]);
    let (healthy_listener, healthy_at) = Raw::listen([127, 1, 50, 3]);
    let stalled = node.peer(stalled_at, config(65001, 65002, ConnectMode::Active, 240));
    let healthy = node.peer(healthy_at, config(65001, 65002, ConnectMode::Active, 3));
    let mut reader = Raw::establish(&stalled_listener, 240).await;
    let on_time = tokio::spawn(keepalives_are_on_time(
        Raw::establish(&healthy_listener, 3).await,
        Duration::from_secs(4),
    ));
    wait_established(&stalled).await;
    wait_established(&healthy).await;

    for change in 1..=CHANGES {
        stalled.advertise(Version(u64::from(change)), routes(50, change));
        tokio::task::yield_now().await;
    }
    let sent = stalled.status().counters.updates_sent;
    println!("{sent} of {} UPDATEs were made for a peer that reads nothing", 50 * CHANGES);
    assert!(sent < u64::from(50 * CHANGES / 4), "{sent} UPDATEs for a peer that reads nothing");
    on_time.await.unwrap();

    // It wakes up, and ends with the last set.
    let wanted: BTreeMap<IpNet, u32> =
        routes(50, CHANGES).iter().map(|(prefix, attributes)| (*prefix, attributes.med.unwrap())).collect();
    let mut held = BTreeMap::new();
    while held != wanted {
        let Message::Update(update) = reader.receive().await.expect("an open connection") else { continue };
        let med = update.attributes.iter().find_map(|attribute| {
            if let Attribute::MultiExitDisc(med) = attribute { Some(*med) } else { None }
        });
        held.extend(update.announced().map(|prefix| (prefix, med.unwrap())));
    }
    wait_event(&mut node.events, PeerEvent::Synced(Version(u64::from(CHANGES)))).await;
}

/// Bytes are no sign of life, messages are.
#[tokio::test]
async fn a_peer_that_sends_a_byte_a_second_is_given_up() {
    let mut node = Node::new([127, 1, 60, 1]);
    let (listener, address) = Raw::listen([127, 1, 60, 2]);
    let handle = node.peer(address, config(65001, 65002, ConnectMode::Active, 3));
    // The OPEN may come in pieces.
    let mut raw = Raw::accept(&listener).await;
    for octet in encode(&open(3)).iter().chain(&encode(&Message::Keepalive)) {
        raw.stream.write_all(&[*octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    wait_established(&handle).await;
    let (mut read, mut write) = raw.stream.into_split();
    let drip = tokio::spawn(async move {
        for octet in encode(&Message::Keepalive) {
            if write.write_all(&[octet]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    let mut all = Vec::new();
    timeout(PATIENCE, read.read_to_end(&mut all)).await.expect("the end of the connection").unwrap();
    assert!(all.ends_with(&encode(&Message::Notification(Notification::hold_timer_expired()))));
    drip.abort();
    let status = wait("end", &handle, |status| status.last_down.is_some()).await;
    assert!(matches!(status.last_down, Some((DownReason::Sent(_), _))), "{status:?}");
}

/// If this process slept, data that the peer sent in time still counts.
#[test]
fn a_process_that_was_stopped_longer_than_the_hold_time_keeps_its_sessions() {
    use std::io::{Read as _, Write as _};

    let listener = std::net::TcpListener::bind("127.1.70.2:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (done, finished) = std::sync::mpsc::channel::<()>();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sink = stream.try_clone().unwrap();
        std::thread::spawn(move || while matches!(sink.read(&mut [0; 4096]), Ok(1..)) {});
        stream.write_all(&encode(&open(3))).unwrap();
        while finished.recv_timeout(Duration::from_millis(500)).is_err() {
            stream.write_all(&encode(&Message::Keepalive)).unwrap();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut node = Node::new([127, 1, 70, 1]);
        let handle = node.peer(address, config(65001, 65002, ConnectMode::Active, 3));
        wait_established(&handle).await;
        // The whole runtime stands still, as in a stopped or starved process.
        std::thread::sleep(Duration::from_secs(4));
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(200) {
            sleep(Duration::from_millis(5)).await;
        }
        let status = handle.status();
        assert_eq!((status.state, status.counters.established), (State::Established, 1), "{status:?}");
    });
    drop(runtime);
    done.send(()).unwrap();
    peer.join().unwrap();
}

/// The reason is worth more than the error that comes with it.
#[tokio::test]
async fn a_notification_is_heard_even_when_our_writes_fail() {
    let mut node = Node::new([127, 1, 80, 1]);
    let (listener, address) = Raw::listen([127, 1, 80, 2]);
    let handle = node.peer(address, config(65001, 65002, ConnectMode::Active, 9));
    let mut raw = Raw::establish(&listener, 9).await;
    wait_established(&handle).await;
    // Unread bytes of ours make the close a reset, behind the NOTIFICATION.
    handle.advertise(Version(1), routes(50, 1));
    wait("routes", &handle, |status| status.advertised == 50).await;
    raw.send(&Message::Notification(shutdown("maintenance"))).await;
    drop(raw);
    for change in 2..50 {
        handle.advertise(Version(change), routes(50, u32::try_from(change).unwrap()));
    }
    let status = wait("end", &handle, |status| status.last_down.is_some()).await;
    let Some((DownReason::Received(notification), _)) = status.last_down else { panic!("{status:?}") };
    assert_eq!(notification, shutdown("maintenance"));
}
