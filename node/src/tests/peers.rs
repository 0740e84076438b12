//! Which peers run, and what becomes of them when the configuration, a key, a router or BFD changes.

use std::net::Ipv6Addr;
use std::num::NonZeroU8;

use vipcast_bgp::bfd::{BfdEvent, Cause, Diagnostic, State, Transition};
use vipcast_bgp::fsm::DownReason;
use vipcast_bgp::secret::Secret;
use vipcast_bgp::transport::Authentication;

use super::*;
use crate::model::{Bfd, KeyPlace, KeyPurpose, KeySource, RouterAddress};

#[test]
fn a_start_tells_what_runs_and_starts_every_peer_with_the_set_of_then() {
    let (_, lines) = Story::begin(config());
    assert_eq!(
        lines,
        [
            "configure 1 services",
            "listen",
            "watch 1 prefixes",
            "start 10.0.1.1:179 with set 0",
            "start 10.0.1.3:179 with set 0",
            "# started 0.1.0",
            "# speaker 10.0.1.2"
        ]
    );
}

#[test]
fn no_session_begins_before_the_router_id_is_known() {
    let (mut story, lines) = Story::begin(Config { router_id: None, ..config() });
    assert!(
        !lines.iter().any(|line| line.starts_with("start") || line.starts_with("# speaker")),
        "{lines:?}"
    );
    assert_eq!(
        story.tell(Input::Identified(Ipv4Addr::new(10, 0, 1, 2))),
        ["start 10.0.1.1:179 with set 0", "start 10.0.1.3:179 with set 0", "# speaker 10.0.1.2"]
    );
}

#[test]
fn a_peer_without_its_key_starts_when_the_key_is_there_and_no_other_waits_for_it() {
    let mut config = config();
    let source = KeySource { place: KeyPlace::File("/etc/key".into()), purpose: KeyPurpose::Md5 };
    config.peers.get_mut("tor-b").unwrap().key_source = Some(source.clone());
    let (mut story, lines) = Story::begin(config);
    assert!(lines.contains(&"look for keys of [\"tor-b\"]".to_owned()), "{lines:?}");
    assert!(!lines.contains(&"start 10.0.1.3:179 with set 0".to_owned()), "{lines:?}");
    let look = |key| Input::Key { peer: "tor-b".into(), source: source.clone(), key };
    assert_eq!(story.tell(look(Err("no file".to_owned()))), ["# no key of tor-b: no file"]);
    assert_eq!(story.tell(look(Err("no file".to_owned()))), [""; 0], "it is told once");
    let key = Authentication::Md5(Secret::new(b"s3cret").unwrap());
    assert_eq!(
        story.tell(look(Ok(key.clone()))),
        ["look for keys of []", "start 10.0.1.3:179 with set 0", "# key of tor-b"]
    );
    assert_eq!(story.tell(look(Ok(key))), [""; 0], "nobody waits any more");
}

#[test]
fn i7_a_reload_touches_only_the_sessions_that_it_changes() {
    let mut story = Story::with_sessions(config());
    let before = config();
    let mut after = config();
    // Another hold time is another session; another back-off is not; another name is not.
    after.peers.get_mut("tor-a").unwrap().hold_time = HoldTime::from_secs(30).unwrap();
    let tor_b = after.peers.remove("tor-b").unwrap();
    after.peers.insert("spine".into(), Peer { connect_retry: Duration::from_secs(5), ..tor_b });
    let a = story.id(&"tor-a".into());
    let b = story.id(&"tor-b".into());
    story.tell(Input::HangUp);
    assert_eq!(
        story.tell(read(after)),
        [
            "configure 1 services",
            "stop: Cease / Other Configuration Change",
            "tune",
            "# tor-b is spine now",
            "# tor-a stopped: Cease / Other Configuration Change",
            "# reloaded by SIGHUP"
        ]
    );
    assert_eq!(story.id(&"spine".into()), b, "its session goes on");
    // The same peer must not connect twice.
    assert_eq!(story.tell(Input::PeerEnded(a)), ["start 10.0.1.1:179 with set 0"]);
    assert_ne!(story.id(&"tor-a".into()), a);
    story.tell(Input::HangUp);
    let mut none = before;
    none.peers.retain(|name, _| name.as_str() == "tor-a");
    none.peers.get_mut("tor-a").unwrap().hold_time = HoldTime::from_secs(30).unwrap();
    let lines = story.tell(read(none));
    assert_eq!(lines[1], "stop: Cease / Peer De-configured");
}

#[test]
fn what_happens_to_a_session_is_told_and_what_happened_to_one_that_is_gone_is_not() {
    let (mut story, _) = Story::begin(config());
    let tor: PeerName = "tor-a".into();
    assert_eq!(story.up(&tor, None), ["# tor-a up"]);
    assert!(story.node.engine().facts().peers["tor-a"].established);
    let down =
        |was_established| PeerEvent::Down { reason: DownReason::SendHoldTimerExpired, was_established };
    let lines = story.happens(&tor, down(true));
    assert_eq!(lines, [format!("# tor-a down: {}", DownReason::SendHoldTimerExpired)]);
    assert!(!story.node.engine().facts().peers["tor-a"].established);
    let lines = story.happens(&tor, down(false));
    assert_eq!(lines, [format!("# tor-a failed: {}", DownReason::SendHoldTimerExpired)]);
    let late =
        Input::Peer { id: PeerId(99), event: down(true), status: Box::new(PeerStatus::idle(story.now.mono)) };
    assert_eq!(story.tell(late), [""; 0]);
}

#[test]
fn a_router_on_a_link_is_a_peer_as_soon_as_it_is_heard() {
    let mut config = config();
    let tor_b = config.peers.get_mut("tor-b").unwrap();
    tor_b.address = RouterAddress::OnLink(None);
    tor_b.interface = Some("swp1".to_owned());
    let (mut story, lines) = Story::begin(config);
    assert!(lines.contains(&"listen for routers on {\"swp1\"}".to_owned()), "{lines:?}");
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let heard = |interface: &str| Input::Heard { interface: interface.to_owned(), router };
    assert_eq!(story.tell(heard("swp2")), [""; 0], "nobody asked");
    assert_eq!(story.tell(heard("swp1")), ["start [fe80::1]:179 with set 0", "# router fe80::1"]);
    assert_eq!(story.tell(heard("swp1")), [""; 0]);
}

#[test]
fn what_bfd_says_reaches_its_peer_and_a_strict_one_waits_for_it() {
    let mut config = config();
    let bfd = Bfd { strict: true, multiplier: NonZeroU8::new(3).unwrap(), ..Bfd::default() };
    config.peers.get_mut("tor-a").unwrap().bfd = Some(bfd);
    let (mut story, lines) = Story::begin(config);
    assert!(lines.contains(&"BFD [\"tor-a\"]".to_owned()), "{lines:?}");
    let at = story.now.mono;
    let change = |from, to, cause| {
        let transition = Transition { from, to, cause, diagnostic: Diagnostic::NONE, at };
        Input::Bfd(BfdEvent { session: "tor-a".into(), transition })
    };
    assert_eq!(
        story.tell(change(
            State::Init,
            State::Up,
            Cause::Received { state: State::Up, diagnostic: Diagnostic::NONE }
        )),
        ["liveness Up", "# BFD of tor-a up"]
    );
    story.up(&"tor-a".into(), None);
    let lines = story.ask(1, Command::Restart);
    let why = "tor-a watches us with BFD and would take the restart for a failure; \
               tor-a would drop our routes: graceful restart is not negotiated";
    assert_eq!(lines[0], format!("answer 1: NO: {why}"));
    let lines = story.tell(change(State::Up, State::Down, Cause::DetectionTimeExpired));
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("liveness Lost") && lines[1] == "liveness Awaited", "{lines:?}");
}
