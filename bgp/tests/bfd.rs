//! The BFD driver over loopback: against itself, against the bare machine, and against packets that are wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot begin has failed")]
#![expect(clippy::disallowed_methods, reason = "real sockets and their clock")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use vipcast_bgp::bfd::{BfdEvent, SessionSettings};
use vipcast_bgp::bfd::{
    Cause, Diagnostic, Discard, Hops, Input, Interval, Packet, Session, SessionConfig, State, Transition,
    iana,
};
use vipcast_bgp::net::bfd::{Bfd, Options, SessionReport};
use vipcast_bgp::net::clock;

/// More than anything here takes, on a busy machine too.
const SOON: Duration = Duration::from_secs(30);

/// An address of loopback that no other test has, also not in another run.
fn address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

fn timers(millis: u32, multiplier: u8) -> SessionConfig {
    SessionConfig::new(Interval::from_millis(millis).unwrap(), NonZeroU8::new(multiplier).unwrap())
}

fn session(local: Ipv4Addr, remote: Ipv4Addr, config: SessionConfig) -> SessionSettings {
    SessionSettings { local: Some(local.into()), config, ..SessionSettings::new(remote.into()) }
}

/// A driver with at most one session, `it`.
struct Node {
    bfd: Bfd,
    events: UnboundedReceiver<BfdEvent>,
    settings: SessionSettings,
}

impl Node {
    fn start(local: Ipv4Addr, remote: Ipv4Addr, config: SessionConfig) -> Self {
        let (bfd, events) = Bfd::start(Options { listen_v4: local, ..Options::default() }).unwrap();
        let settings = session(local, remote, config);
        bfd.set(BTreeMap::from([("it".into(), settings.clone())]));
        Self { bfd, events, settings }
    }

    fn configure(&mut self, config: SessionConfig) {
        self.settings.config = config;
        self.bfd.set(BTreeMap::from([("it".into(), self.settings.clone())]));
    }

    fn report(&self) -> SessionReport {
        self.bfd.report().unwrap().sessions["it"].clone()
    }

    /// Waits for the next change into `state`, past others.
    fn wait(&mut self, state: State) -> Transition {
        let begin = Instant::now();
        loop {
            match self.events.try_recv() {
                Ok(event) if event.transition.to == state => return event.transition,
                Ok(_other) => {}
                Err(_none) => {
                    assert!(begin.elapsed() < SOON, "not {state}: {:?}", self.bfd.report());
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// Waits until the status is as it should be.
    fn wait_for(&self, what: &str, done: impl Fn(&SessionReport) -> bool) -> SessionReport {
        let begin = Instant::now();
        loop {
            let report = self.report();
            if done(&report) {
                return report;
            }
            assert!(begin.elapsed() < SOON, "not {what}: {report:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn pair(config: SessionConfig) -> (Node, Node) {
    let (one, other) = (address(), address());
    let (mut first, mut second) = (Node::start(one, other, config), Node::start(other, one, config));
    first.wait(State::Up);
    second.wait(State::Up);
    (first, second)
}

/// The bare machine with two sockets, which can die without a word.
struct Puppet {
    dead: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Puppet {
    fn start(local: Ipv4Addr, remote: Ipv4Addr, config: SessionConfig) -> Self {
        let socket = UdpSocket::bind((local, iana::SINGLE_HOP_PORT)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        socket.set_ttl(255).unwrap();
        let dead = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&dead);
        let thread = std::thread::spawn(move || {
            let mut session = Session::new(config, 7.try_into().unwrap(), 7, clock::now());
            let mut buffer = [0; 100];
            while !told.load(Ordering::Relaxed) {
                let input = match socket.recv(&mut buffer) {
                    Ok(length) => Input::Received {
                        packet: Packet::decode(&buffer[..length]).unwrap(),
                        at: clock::now(),
                    },
                    Err(_nothing) => Input::Tick,
                };
                if let Some(packet) = session.handle(input, clock::now()).transmit {
                    socket.send_to(&packet.encode(), (remote, iana::SINGLE_HOP_PORT)).unwrap();
                }
            }
        });
        Self { dead, thread }
    }

    fn die(self) -> vipcast_bgp::Instant {
        self.dead.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        clock::now()
    }
}

#[test]
fn two_drivers_come_up_with_the_timers_of_both() {
    let (one, other) = (address(), address());
    let mut first = Node::start(one, other, timers(30, 3));
    let mut second = Node::start(other, one, timers(60, 4));
    first.wait(State::Up);
    second.wait(State::Up);
    for (node, detection) in [(&first, 240), (&second, 180)] {
        let report = node.wait_for("settled", |report| {
            report.status.transmit_interval == Some(Duration::from_millis(60)) && !report.status.polling
        });
        assert_eq!(report.status.detection_time, Some(Duration::from_millis(detection)));
        assert!(iana::SOURCE_PORTS.contains(&report.source_port));
        // The side that began first was refused until the other listened.
        assert_eq!((report.send_error, report.discarded.total()), (None, 0));
    }
}

#[test]
fn a_neighbour_that_dies_without_a_word_is_noticed_within_the_detection_time() {
    let (one, other) = (address(), address());
    let mut node = Node::start(one, other, timers(50, 3));
    let puppet = Puppet::start(other, one, timers(50, 3));
    node.wait(State::Up);
    node.wait_for("settled", |report| report.status.detection_time == Some(Duration::from_millis(150)));
    let died = puppet.die();
    let lost = node.wait(State::Down);
    assert_eq!((lost.from, lost.cause), (State::Up, Cause::DetectionTimeExpired));
    assert_eq!(lost.to_string(), "Up to Down: Control Detection Time Expired");
    assert!(lost.is_failure());
    // Its last packet came at most an interval before it died; a thread that wakes late waits one interval more.
    let took = lost.at.saturating_duration_since(died);
    assert!(took >= Duration::from_millis(90), "{took:?}");
    assert!(took <= Duration::from_millis(200) || node.report().status.counters.late_wakeups > 0, "{took:?}");
    assert_eq!(node.report().status.remote, None);
    // And it comes back.
    let puppet = Puppet::start(other, one, timers(50, 3));
    node.wait(State::Up);
    puppet.die();
}

#[test]
fn timers_change_while_up() {
    let (mut first, mut second) = pair(timers(100, 3));
    for (interval, multiplier) in [(20, 3), (200, 5), (50, 3)] {
        first.configure(timers(interval, multiplier));
        second.configure(timers(interval, multiplier));
        for node in [&first, &second] {
            node.wait_for("settled", |report| {
                let interval = Duration::from_millis(interval.into());
                let status = &report.status;
                status.transmit_interval == Some(interval)
                    && status.detection_time == Some(interval * multiplier.into())
                    && !status.polling
            });
        }
    }
    for node in [&first, &second] {
        let counters = node.report().status.counters;
        assert_eq!((counters.ups, counters.downs), (1, 0));
    }
}

#[test]
fn an_operator_takes_a_session_down_and_up_again() {
    let (mut first, mut second) = pair(timers(50, 3));
    first.configure(SessionConfig { admin_down: true, ..timers(50, 3) });
    let down = second.wait(State::Down);
    let told = Cause::Received { state: State::AdminDown, diagnostic: Diagnostic::ADMINISTRATIVELY_DOWN };
    assert_eq!((down.from, down.cause), (State::Up, told));
    assert!(!down.is_failure());
    assert_eq!(first.wait(State::AdminDown).diagnostic, Diagnostic::ADMINISTRATIVELY_DOWN);
    first.configure(timers(50, 3));
    first.wait(State::Up);
    second.wait(State::Up);
}

#[test]
fn a_session_that_is_removed_says_so_and_nobody_is_told_here() {
    let (mut first, mut second) = pair(timers(50, 3));
    first.bfd.set(BTreeMap::new());
    let down = second.wait(State::Down);
    assert!(matches!(down.cause, Cause::Received { state: State::AdminDown, .. }), "{down}");
    assert!(first.bfd.report().unwrap().sessions.is_empty());
    // Wanted again, it is another session.
    let settings = first.settings.clone();
    first.bfd.set(BTreeMap::from([("it".into(), settings)]));
    first.wait(State::Up);
    second.wait(State::Up);
}

#[test]
fn a_driver_that_is_dropped_says_goodbye_and_its_successor_comes_up() {
    let (first, mut second) = pair(timers(50, 3));
    let SessionSettings { local, remote, .. } = first.settings;
    drop(first);
    let down = second.wait(State::Down);
    assert!(matches!(down.cause, Cause::Received { state: State::AdminDown, .. }), "{down}");
    let (Some(IpAddr::V4(local)), IpAddr::V4(remote)) = (local, remote) else { panic!("IPv4") };
    let mut again = Node::start(local, remote, timers(50, 3));
    again.wait(State::Up);
    second.wait(State::Up);
}

#[test]
fn stopping_waits_until_the_others_have_noticed() {
    let (first, mut second) = pair(timers(50, 3));
    let begin = Instant::now();
    assert!(first.bfd.stop(SOON));
    assert!(begin.elapsed() >= Duration::from_millis(150));
    assert!(matches!(second.wait(State::Down).cause, Cause::Received { state: State::AdminDown, .. }));
}

#[test]
fn what_is_wrong_is_dropped_and_counted_and_the_session_stays_as_it_is() {
    let (one, other) = (address(), address());
    let node = Node::start(one, other, timers(50, 3));
    node.wait_for("to have sent", |report| report.status.counters.transmitted > 0);
    let good = Packet {
        diagnostic: Diagnostic::NONE,
        state: State::Down,
        poll: false,
        final_: false,
        control_plane_independent: false,
        demand: false,
        multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: 9.try_into().unwrap(),
        your_discriminator: None,
        desired_min_tx: Interval::from_millis(50),
        required_min_rx: Interval::from_millis(50),
        required_min_echo_rx: None,
    };
    let send = |from: Ipv4Addr, ttl: u32, octets: &[u8]| {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_ttl(ttl).unwrap();
        socket.send_to(octets, (one, iana::SINGLE_HOP_PORT)).unwrap();
    };
    let with = |index: usize, octet: u8| {
        let mut octets = good.encode();
        octets[index] = octet;
        octets
    };
    send(other, 64, &good.encode());
    send(other, 254, &good.encode());
    send(other, 255, &[]);
    send(other, 255, &good.encode()[..23]);
    send(other, 255, &with(0, 0x40));
    send(other, 255, &with(1, 0x41));
    send(other, 255, &with(1, 0xC0));
    send(other, 255, &with(2, 0));
    send(other, 255, &with(3, 23));
    send(other, 255, &with(3, 25));
    send(other, 255, &with(7, 0));
    send(other, 255, &with(11, 5));
    send(other, 255, &[&[0x20, 0x44, 3, 26], &good.encode()[4..], &[1, 2]].concat());
    send(address(), 255, &good.encode());
    let report = node.wait_for("counted", |report| report.discarded.total() == 13);
    let expected = [
        (Discard::Truncated, 2),
        (Discard::Version, 1),
        (Discard::LengthTooShort, 1),
        (Discard::LengthBeyondPayload, 1),
        (Discard::ZeroMultiplier, 1),
        (Discard::Multipoint, 1),
        (Discard::ZeroMyDiscriminator, 1),
        (Discard::ZeroYourDiscriminator, 1),
        (Discard::Authentication, 1),
        (Discard::Ttl, 2),
        (Discard::UnknownDiscriminator, 1),
    ];
    assert_eq!(report.discarded.iter().collect::<Vec<_>>(), expected);
    assert_eq!((report.status.state, report.status.counters.received), (State::Down, 0));
    let strangers = node.bfd.report().unwrap().discarded;
    assert_eq!(strangers.iter().collect::<Vec<_>>(), [(Discard::NoSession, 1)]);
    // The same packet, as it should be.
    send(other, 255, &good.encode());
    node.wait_for("Init", |report| report.status.state == State::Init);
}

#[test]
fn an_address_or_an_interface_that_is_not_there_is_told_and_costs_nobody_else() {
    let (one, other) = (address(), address());
    let (bfd, _events) = Bfd::start(Options { listen_v4: one, ..Options::default() }).unwrap();
    let good = session(one, other, timers(50, 3));
    let absent = SessionSettings { local: Some(Ipv4Addr::new(192, 0, 2, 1).into()), ..good.clone() };
    let nowhere = SessionSettings { interface: Some("vipcast-none".to_owned()), ..good.clone() };
    bfd.set(BTreeMap::from([("absent".into(), absent), ("good".into(), good), ("nowhere".into(), nowhere)]));
    let mut second = Node::start(other, one, timers(50, 3));
    second.wait(State::Up);
    let report = bfd.report().unwrap();
    let error = |name: &str| report.sessions[name].send_error.clone().unwrap_or_default();
    assert!(error("absent").starts_with("Cannot assign requested address"), "{report:?}");
    assert!(error("nowhere").starts_with("No such device"), "{report:?}");
    assert_eq!(report.sessions["good"].send_error, None);
    assert_eq!(report.sessions["absent"].status.state, State::Down);
    let ports: Vec<u16> = report.sessions.values().map(|session| session.source_port).collect();
    assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2], "{ports:?}");
}

/// Only one IPv6 address surely exists, so these sessions talk to themselves; the test is about the sockets.
#[test]
fn ipv6_and_multihop_packets_pass() {
    let (bfd, _events) =
        Bfd::start(Options { listen_v6: Ipv6Addr::LOCALHOST, ..Options::default() }).unwrap();
    let one = Ipv6Addr::LOCALHOST;
    let on = |hops| SessionSettings {
        hops,
        local: Some(one.into()),
        config: timers(50, 3),
        ..SessionSettings::new(one.into())
    };
    let wanted = [("multi", on(Hops::Multi { min_ttl: 255 })), ("single", on(Hops::Single))];
    bfd.set(wanted.into_iter().map(|(name, settings)| (name.into(), settings)).collect());
    let begin = Instant::now();
    loop {
        let report = bfd.report().unwrap();
        if report.sessions.values().all(|session| session.status.state == State::Up) {
            assert_eq!(report.sessions["multi"].discarded.total() + report.discarded.total(), 0);
            return;
        }
        // In a container without IPv6 there is nothing to try.
        if UdpSocket::bind(SocketAddr::from((one, 0))).is_err() {
            eprintln!("SKIPPED ipv6_and_multihop_packets_pass: no IPv6 here");
            return;
        }
        assert!(begin.elapsed() < SOON, "{report:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
