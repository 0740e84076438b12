//! BFD drivers that are frozen, written as text, and thawed again and again: the other side sees one session that is
//! always Up. In the end as many descriptors are open as in the beginning.

#![expect(clippy::unwrap_used, reason = "a test that cannot begin has failed")]
#![expect(clippy::disallowed_methods, reason = "real sockets and their clock")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use vipcast_bgp::bfd::{BfdEvent, Interval, SessionConfig, SessionSettings, State};
use vipcast_bgp::frozen::{self, BfdThread};
use vipcast_bgp::jitter::Jitter;
use vipcast_bgp::net::bfd::{Bfd, Options, SessionReport};
use vipcast_bgp::net::{Descriptors, clock};

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

/// A driver with one session, `it`.
struct Node {
    bfd: Bfd,
    events: UnboundedReceiver<BfdEvent>,
    settings: SessionSettings,
    options: Options,
    told: Vec<BfdEvent>,
}

impl Node {
    fn start(local: Ipv4Addr, remote: Ipv4Addr, config: SessionConfig) -> Self {
        let options = Options { listen_v4: local, ..Options::default() };
        let (bfd, events) = Bfd::start(options).unwrap();
        let settings =
            SessionSettings { local: Some(local.into()), config, ..SessionSettings::new(remote.into()) };
        let node = Self { bfd, events, settings, options, told: Vec::new() };
        node.want();
        node
    }

    fn want(&self) {
        self.bfd.set(BTreeMap::from([("it".into(), self.settings.clone())]));
    }

    fn note(&mut self) {
        self.told.extend(std::iter::from_fn(|| self.events.try_recv().ok()));
    }

    fn hand_over(self, pause: Duration) -> Self {
        let Self { bfd, mut events, settings, options, told } = self;
        let mut descriptors = Descriptors::new();
        let form = bfd.freeze(&mut descriptors).unwrap();
        // What nobody has read goes with it.
        let news = std::iter::from_fn(|| events.try_recv().ok()).collect();
        let text = serde_json::to_string(&form).unwrap();
        std::thread::sleep(pause);
        let form: BfdThread = serde_json::from_str(&text).unwrap();
        let (bfd, events) = Bfd::thaw(options, &form, news, &mut descriptors)
            .unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(descriptors.is_empty(), "{text}");
        Self { bfd, events, settings, options, told }
    }

    fn report(&self) -> SessionReport {
        self.bfd.report().unwrap().sessions["it"].clone()
    }

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
    let (first, second) = (Node::start(one, other, config), Node::start(other, one, config));
    for node in [&first, &second] {
        node.wait_for("up", |report| report.status.state == State::Up);
    }
    (first, second)
}

/// Changes from Up, on either side.
fn downs(node: &Node) -> u64 {
    node.report().status.counters.downs
}

#[test]
fn the_other_side_never_notices_a_new_program() {
    // On a busy machine a single hand-over takes a second or two.
    let (mut first, second) = pair(timers(100, 200));
    let before = first.report();
    let (packets, began) = (before.status.counters.transmitted, Instant::now());
    let mut random = Jitter::new(1);
    let mut worst = Duration::ZERO;
    for _ in 0..300 {
        std::thread::sleep(Duration::from_micros(random.next() % 20_000));
        let begin = Instant::now();
        first = first.hand_over(Duration::from_micros(random.next() % 3_000));
        worst = worst.max(begin.elapsed());
        first.want();
    }
    assert_eq!((downs(&first), downs(&second)), (0, 0));
    first.note();
    assert_eq!(first.told.iter().filter(|event| event.transition.to == State::Up).count(), 1);
    let after = first.report();
    let packets = after.status.counters.transmitted - packets;
    let least = began.elapsed().div_duration_f64(Duration::from_millis(100) + worst);
    assert!(
        packets as f64 >= least.floor(),
        "{packets} packets and not {least}, with {worst:?} for a hand-over"
    );
    assert_eq!(after.status.discriminator, before.status.discriminator);
    assert_eq!((after.source_port, after.send_errors), (before.source_port, before.send_errors));
    assert_eq!(second.report().status.remote.unwrap().discriminator, before.status.discriminator);
    assert_eq!(second.report().discarded, before.discarded);
    println!("300 hand-overs, the longest took {worst:?}");
}

#[test]
fn packets_of_the_pause_have_the_time_of_their_arrival() {
    let (mut first, second) = pair(timers(50, 200));
    first.wait_for("settled", |report| !report.status.polling);
    let before = first.report().status.counters.received;
    let mut descriptors = Descriptors::new();
    let form = first.bfd.freeze(&mut descriptors).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    // From now on no packet comes.
    let (mut silent, options) = (Descriptors::new(), second.options);
    let silent_form = second.bfd.freeze(&mut silent).unwrap();
    let thawed = clock::now();
    (first.bfd, first.events) = Bfd::thaw(first.options, &form, Vec::new(), &mut descriptors).unwrap();
    // Those of the pause are read at once.
    first.wait_for("what came meanwhile", |report| report.status.counters.received >= before + 8);
    assert_eq!(downs(&first), 0);
    let BfdThread::V1(form) = first.bfd.freeze(&mut descriptors).unwrap();
    let frozen::Session::V1(machine) = &form.sessions[0].machine;
    let last = machine.remote.unwrap().at;
    assert!(last < thawed, "{last:?} {thawed:?}");
    assert_eq!(machine.counters.late_wakeups, 0);
    let (bfd, _events) = Bfd::thaw(options, &silent_form, Vec::new(), &mut silent).unwrap();
    assert_eq!(bfd.report().unwrap().sessions["it"].status.counters.downs, 0);
}

#[test]
fn slow_timers_make_room_for_a_long_pause_and_the_next_set_restores_them() {
    let (mut first, second) = pair(timers(100, 20));
    let pause = Duration::from_secs(10);
    assert_eq!(first.bfd.is_slow(pause), Some(false));
    first.bfd.slow(pause);
    let begin = Instant::now();
    while first.bfd.is_slow(pause) != Some(true) {
        assert!(begin.elapsed() < SOON, "{:?}", first.report());
        std::thread::sleep(Duration::from_millis(1));
    }
    let there =
        second.wait_for("slow", |report| report.status.detection_time.is_some_and(|time| time >= pause));
    assert_eq!(there.status.state, State::Up);
    first = first.hand_over(Duration::from_millis(500));
    assert_eq!((downs(&first), downs(&second)), (0, 0));
    first.want();
    for node in [&first, &second] {
        node.wait_for("fast again", |report| report.status.detection_time == Some(Duration::from_secs(2)));
    }
    assert_eq!((downs(&first), downs(&second)), (0, 0));
}

#[test]
fn a_session_that_is_ending_says_so_in_the_next_program_too() {
    let (mut first, second) = pair(timers(100, 30));
    second.wait_for("settled", |report| !report.status.polling);
    first.bfd.set(BTreeMap::new());
    first = first.hand_over(Duration::ZERO);
    let told = second.wait_for("told", |report| {
        report.status.remote.is_some_and(|remote| remote.state == State::AdminDown)
    });
    // It is repeated, at the slow pace, until the detection time has passed.
    let received = told.status.counters.received;
    second.wait_for("told again", |report| report.status.counters.received > received);
    assert!(first.bfd.stop(SOON));
}

#[test]
fn damaged_forms_are_refused_and_their_sockets_closed() {
    let (first, _second) = pair(timers(100, 5));
    let options = first.options;
    let mut descriptors = Descriptors::new();
    let form = first.bfd.freeze(&mut descriptors).unwrap();
    let whole = serde_json::to_value(&form).unwrap();
    let copy = || {
        let mut copied = Descriptors::new();
        for (_, descriptor) in descriptors.iter() {
            copied.put(descriptor.try_clone_to_owned().unwrap());
        }
        copied
    };
    let why = |change: &dyn Fn(&mut Value)| {
        let mut damaged = whole.clone();
        change(&mut damaged["v1"]);
        match serde_json::from_value::<BfdThread>(damaged) {
            Ok(form) => {
                let error = Bfd::thaw(options, &form, Vec::new(), &mut copy()).unwrap_err();
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
            }
            Err(unread) => unread.to_string(),
        }
    };
    let own = |form: &mut Value| form["sessions"].as_array_mut().unwrap().clone();
    let again = own(&mut whole.clone()["v1"])[0].clone();
    assert_eq!(
        why(&|form| form["sessions"].as_array_mut().unwrap().push(again.clone())),
        "the socket of a session is missing"
    );
    assert_eq!(why(&|form| form["sessions"][0]["socket"] = 99.into()), "the socket of a session is missing");
    assert_eq!(why(&|form| form["sessions"][0]["port"] = 7.into()), "port is out of range");
    assert_eq!(
        why(&|form| form["sessions"][0]["port"] = 49152.into()),
        "sessions.socket contradicts other fields"
    );
    assert_eq!(
        why(&|form| form["receivers"] = Value::Array(Vec::new())),
        "receivers contradicts other fields"
    );
    assert_eq!(why(&|form| form["receivers"][0]["ipv6"] = true.into()), "receivers contradicts other fields");
    assert_eq!(why(&|form| form["emptied"] = u64::MAX.into()), "emptied is later than now");
    assert_eq!(why(&|form| form["discarded"] = serde_json::json!([["Fun", 1]])), "discarded is out of range");
    assert!(why(&|form| form["more"] = 1.into()).starts_with("unknown field `more`"));
    let late = why(&|form| form["sessions"][0]["machine"]["v1"]["since"] = u64::MAX.into());
    assert_eq!(late, "since is later than now");
}

/// Version 1 of the form, as the first program that had it wrote it.
const GOLDEN: &str = include_str!("hand_over/bfd_v1.json");

#[test]
fn the_first_version_of_the_form_is_read_for_ever() {
    let form: BfdThread = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(serde_json::to_string_pretty(&form).unwrap() + "\n", GOLDEN);
    let BfdThread::V1(v1) = &form;
    assert_eq!((v1.sessions.len(), v1.receivers.len()), (2, 4));
    let newer = GOLDEN.replacen("v1", "v2", 1);
    let error = serde_json::from_str::<BfdThread>(&newer).unwrap_err().to_string();
    assert!(error.starts_with("unknown variant `v2`"), "{error}");
}
