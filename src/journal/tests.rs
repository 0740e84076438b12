//! A notice becomes a record, and the record its line.

use std::io::Write;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tracing::level_filters::LevelFilter;
use vipcast_bgp::fsm::{DownReason, Dropped};
use vipcast_bgp::{ArrivalLimit, Instant, Notice as Speaker};
use vipcast_node::effect::{Effect, Ending};
use vipcast_node::engine::Left;
use vipcast_node::input::Input;
use vipcast_node::node::{Birth, Node};
use vipcast_node::notice::{Notice, OtherDaemon};
use vipcast_node::now::Now;
use vipcast_node::record::OfSession;

use super::*;

const CONFIG: &str = "\
router_id: 192.0.2.2
peers: {tor: {address: 192.0.2.1, peer_as: 65000, local_as: 65001}}
checks: {up: {tcp: \"127.0.0.1:80\"}}
services: {web: {vips: [198.51.100.1], checks: [up]}}
";

fn node(left: Left) -> Node {
    let config = Arc::new(crate::config::parse("vipcast.yaml", CONFIG).expect("a configuration").config);
    let version = ("1".to_owned(), None);
    Node::new(Birth { config, warnings: Vec::new(), path: "vipcast.yaml".to_owned(), left, version, seed: 1 })
}

fn at(seconds: u32) -> Now {
    let passed = std::time::Duration::from_secs(1) * seconds;
    Now { mono: Instant::BOOT + passed, wall: Timestamp::UNIX_EPOCH + passed }
}

/// The log lines of these records.
fn log<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);
    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let mut lines = Lines::default();
    tracing::subscriber::with_default(subscriber, || {
        records.into_iter().for_each(|record| drop(lines.tell(record)))
    });
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(|line| line.trim_start().to_owned() + "\n").collect()
}

/// The log lines of a running node with these notices.
fn told(notices: impl IntoIterator<Item = Notice>) -> String {
    let mut node = node(Left::default());
    let begun = node.start([], at(0)).records.len() as u64;
    let out = node.handle_all(notices.into_iter().map(Input::Noticed), at(1));
    let numbers: Vec<u64> = out.records.iter().map(|record| record.seq).collect();
    assert_eq!(numbers, (begun + 1..=begun + numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(out.effects, [], "nothing follows from a notice");
    log(&out.records)
}

#[test]
fn what_the_speaker_notices_is_logged() {
    let (address, ip) = ("0.0.0.0:179".parse().unwrap(), "10.0.0.9".parse().unwrap());
    let (from, peer) = ("10.0.0.1:4711".parse().unwrap(), "10.0.0.1".parse().unwrap());
    let (cause, error) = ("no such device".to_owned(), "Too many open files (os error 24)".to_owned());
    let notices = [
        Speaker::Listens { address },
        Speaker::NotAccepted { error: error.clone() },
        Speaker::Stranger { ip },
        Speaker::KeyNotSet { peer, listener: address, cause: cause.clone() },
        Speaker::ShutOut { from, left_out: 7 },
        Speaker::NotSetUp { from, cause, left_out: 0 },
        Speaker::Unheard { peer, dropped: Dropped::WrongMd5 },
        Speaker::NotLimited { listener: address, limit: ArrivalLimit::SegmentSize, error: error.clone() },
        Speaker::NotLimited { listener: address, limit: ArrivalLimit::LowestTtl, error: error.clone() },
        Speaker::HostUnknown { error: error.clone() },
        Speaker::HostUnheard { error },
        Speaker::HostMissed,
    ];
    assert_eq!(
        told(notices.map(Notice::Speaker)),
        r#"INFO listening for peers address=0.0.0.0:179
WARN cannot accept a BGP connection error=Too many open files (os error 24)
INFO connection from an address that is no peer's, closed; said once an hour ip=10.0.0.9
WARN connections from this peer are refused peer=10.0.0.1 listener=0.0.0.0:179 cause="no such device"
DEBUG connection closed: the key of this peer is not set from=10.0.0.1:4711 left_out=7
WARN connection closed: its socket cannot be set up from=10.0.0.1:4711 cause="no such device" left_out=0
WARN no session with this peer peer=10.0.0.1 cause="segments with a wrong TCP MD5 signature came in and were dropped: the passwords differ"
DEBUG cannot set the segment size address=0.0.0.0:179 error=Too many open files (os error 24)
DEBUG cannot set the lowest TTL to accept address=0.0.0.0:179 error=Too many open files (os error 24)
WARN cannot watch the host's addresses error=Too many open files (os error 24)
WARN cannot hear of the host's addresses; trying again error=Too many open files (os error 24)
DEBUG changes of the host's addresses were lost; asking for all of them
"#
    );
}

#[test]
fn what_other_ports_notice_is_logged() {
    let (address, ip) = ("0.0.0.0:179".parse().unwrap(), "10.0.0.1".parse().unwrap());
    let (interface, error) = ("eth0".to_owned(), "Permission denied (os error 13)".to_owned());
    let hint = Some("a port below 1024 needs CAP_NET_BIND_SERVICE".to_owned());
    let bird = OtherDaemon { name: "bird".to_owned(), pid: 7 };
    let notices = [
        Notice::Deaf { address, error: error.clone(), hint },
        Notice::NoIdentity { towards: Some(ip), error: error.clone() },
        Notice::LinkUnheard { interface, error: error.clone() },
        Notice::BfdStarted { priority: "real-time priority".to_owned() },
        Notice::BfdNotStarted { error },
        Notice::BfdHangs,
        Notice::AddressesUnlisted,
        Notice::CheckPanicked { check: "http".into(), error: "task 9 panicked".to_owned() },
        Notice::OverrideForgotten { what: "drain of web".to_owned(), error: "no reason".to_owned() },
        Notice::OtherDaemons(vec![bird]),
        Notice::AnnouncedElsewhere {
            vip: "192.0.2.10/32".parse().unwrap(),
            peer: "tor".into(),
            next_hop: ip,
        },
    ];
    assert_eq!(
        told(notices),
        r#"WARN cannot listen for peers yet; trying again, and dialling meanwhile address=0.0.0.0:179 error=Permission denied (os error 13) hint="a port below 1024 needs CAP_NET_BIND_SERVICE"
WARN our router id is not known yet: waiting for the address towards the first peer towards="10.0.0.1" error=Permission denied (os error 13) hint="or write `router_id` in the configuration"
WARN cannot look for the router on this link; trying again interface="eth0" error="Permission denied (os error 13)" hint="raw sockets need CAP_NET_RAW"
INFO BFD started priority=real-time priority
ERROR cannot start BFD error=Permission denied (os error 13)
WARN BFD did not end in time
WARN the kernel is slow to list the host's addresses: no VIP is bound until then
ERROR the check panicked and begins anew check=http error=task 9 panicked
WARN a saved override is unreadable and is dropped what="drain of web" error="no reason"
WARN bird (process 7) on this host: if it announces connected or loopback addresses, it also announces VIPs that are withheld here; `bind: announced` keeps them off the host meanwhile hint="bind VIPs only while they are announced (`bind: announced`), or filter addresses of protocol 86 in that daemon"
WARN another daemon on this host announces 192.0.2.10, which is withheld here: tor sends a path whose next hop is 10.0.0.1, an address of this host hint="bind VIPs only while they are announced (`bind: announced`), or filter addresses of protocol 86 in that daemon"
"#
    );
}

#[test]
fn a_drain_that_is_forgotten_is_told_at_the_start_and_when_it_is_read_late() {
    let forgotten = |service: &str| Left {
        forgotten: vec![(service.to_owned(), "no reason".to_owned())],
        ..Left::default()
    };
    let line = |service: &str| {
        format!("WARN a saved override is unreadable and is dropped what=\"{service}\" error=\"no reason\"\n")
    };
    let mut node = node(Left { unread: true, ..forgotten("web") });
    let begun = log(&node.start([], at(0)).records);
    assert_eq!(
        begun.lines().skip(1).take(1).map(|line| format!("{line}\n")).collect::<String>(),
        line("web")
    );
    let late = node.handle(Input::Late(Box::new(forgotten("dns"))), at(1));
    assert!(log(&late.records).starts_with(&line("dns")), "{late:?}");
}

#[test]
fn what_ports_notice_after_the_end_is_told_and_nothing_else_is_heard() {
    let mut node = node(Left::default());
    node.start([], at(0));
    let mut out = node.handle(Input::Stop, at(1));
    for second in 2..60 {
        if out.effects.contains(&Effect::Exit(Ending::Stopped)) {
            break;
        }
        out = node.handle(Input::Tick, at(second));
    }
    assert!(out.effects.contains(&Effect::Exit(Ending::Stopped)), "{out:?}");
    let last = out.next();
    let out = node.handle_all([Input::HangUp, Input::Noticed(Notice::BfdHangs), Input::Stop], at(60));
    assert_eq!((out.effects.len(), out.records.len(), out.next()), (0, 1, last + 1));
    assert_eq!(log(&out.records), "WARN BFD did not end in time\n");
}

#[test]
fn a_daemon_that_only_observes_starts_no_speaker() {
    let started =
        Record { seq: 1, at: at(0), what: What::SpeakerStarted { router_id: [10, 0, 0, 2].into() } };
    assert!(Lines::thaw(true, &Frozen::new()).tell(&started).is_none());
    assert!(Lines::thaw(false, &Frozen::new()).tell(&started).is_some());
}

/// A peer that is down for a day would be told of with every upgrade.
#[test]
fn a_failure_that_was_told_before_a_hand_over_is_not_told_again() {
    let failed = |reason| {
        let what = OfSession::Failed { reason, earlier: None, hint: None };
        let what = What::Session { peer: "tor".into(), address: [192, 0, 2, 1].into(), what };
        Record { seq: 1, at: at(1), what }
    };
    let known = failed(DownReason::SendHoldTimerExpired);
    let mut lines = Lines::default();
    assert!(lines.tell(&known).is_some() && lines.tell(&known).is_none());
    let text = serde_json::to_string(&lines.freeze()).unwrap();
    assert_eq!(text, r#"{"tor":["send_hold_timer_expired"]}"#);
    let mut next = Lines::thaw(false, &serde_json::from_str(&text).unwrap());
    assert!(next.tell(&known).is_none());
    assert!(next.tell(&failed(DownReason::LocalAddressGone)).is_some(), "another one is news");
    let stopped = What::SessionStopped { peer: "tor".into(), reason: "removed".to_owned() };
    assert!(next.tell(&Record { seq: 1, at: at(1), what: stopped }).is_some());
    assert!(next.freeze().is_empty());
    assert!(next.tell(&known).is_some(), "the peer is there again");
}
