use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::time::sleep;
use vipcast_bgp::bfd::{Cause, Diagnostic, SessionSettings, State, Transition};
use vipcast_bgp::fsm::Liveness;
use vipcast_bgp::net::clock;
use vipcast_node::effect::{Effect, PeerId};
use vipcast_node::engine::{Event, Left, Listing};
use vipcast_node::model::Listen;
use vipcast_node::node::{Birth, Node, Thawed};
use vipcast_node::now::Now;

use super::*;
use crate::config::tests::config;

/// A router that answers nobody.
const CONFIG: &str = "
router_id: 10.0.0.1
peers:
  tor: {address: 127.9.1.1, local_as: 65001, peer_as: 65000, active: true}
";

fn birth(config: Config) -> Birth {
    Birth {
        config: Arc::new(config),
        warnings: Vec::new(),
        path: String::new(),
        left: Left::default(),
        version: (String::new(), None),
        seed: 7,
    }
}

fn now() -> Now {
    Now { mono: clock::now(), wall: Timestamp::now() }
}

/// A node on a host without addresses, its port, and its peers that have begun.
fn node(text: &str) -> (Node, Speaker, Vec<Start>) {
    let (told, _inputs) = mpsc::unbounded_channel();
    let (mut speaker, _streams, _) = Speaker::start(&config(text), told);
    let mut node = Node::new(birth(config(text)));
    let out = node.start([Input::Fact(Event::Listed(Listing::default()))], now());
    let starts = obey(&mut speaker, out.effects);
    (node, speaker, starts)
}

/// The part of effects that is about peers. Returns those that begin.
fn obey(speaker: &mut Speaker, effects: Vec<Effect>) -> Vec<Start> {
    let mut starts = Vec::new();
    for effect in effects {
        #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is about peers here")]
        match effect {
            Effect::StartPeer(start) => {
                speaker.start_peer((*start).clone());
                starts.push(*start);
            }
            Effect::Liveness(id, liveness) => speaker.liveness(id, liveness),
            _ => {}
        }
    }
    starts
}

/// A port with the one peer of the node.
fn port() -> (Speaker, Start) {
    let (_, speaker, mut starts) = node(CONFIG);
    (speaker, starts.remove(0))
}

#[tokio::test]
async fn what_bfd_says_after_the_freeze_is_in_the_form() {
    let (mut speaker, start) = port();
    let mut form = speaker.freeze(&mut Descriptors::new()).await;
    let news = [Liveness::Lost("no packets".to_owned()), Liveness::Up];
    for news in &news {
        speaker.liveness(start.id, news.clone());
    }
    speaker.complete(&mut form);
    let frozen::Speaker::V1(form) = form;
    assert_eq!(form.peers[0].untold.iter().map(Liveness::from).collect::<Vec<_>>(), news);
}

#[tokio::test]
async fn a_port_that_had_not_listened_listens_when_it_is_told_to() {
    let (mut speaker, start) = port();
    for _ in 0..2 {
        let mut descriptors = Descriptors::new();
        let form = speaker.freeze(&mut descriptors).await;
        let (told, _inputs) = mpsc::unbounded_channel();
        (speaker, _) = Speaker::thaw(&form, &mut descriptors, vec![start.clone()], None, told).unwrap();
        // The second time it has the sockets of the first.
        speaker.listen(&Listen { addresses: vec![Ipv4Addr::LOCALHOST.into()], port: 0 });
    }
    let frozen::Speaker::V1(form) = speaker.freeze(&mut Descriptors::new()).await;
    assert_eq!(form.listeners.len(), 1, "{form:?}");
}

#[tokio::test]
async fn a_hand_over_that_was_given_up_restores_the_timers_of_bfd() {
    let [ours, theirs] = [1, 2].map(|last| Ipv4Addr::new(127, 9, 2, last));
    let start = |ip| Bfd::start(Options { listen_v4: ip, ..Options::default() }).unwrap();
    let session = |local: Ipv4Addr, remote: Ipv4Addr| {
        let settings = SessionSettings { local: Some(local.into()), ..SessionSettings::new(remote.into()) };
        Sessions::from([("tor".into(), settings)])
    };
    let ((bfd, _events), (router, _theirs)) = (start(ours), start(theirs));
    router.set(session(theirs, ours));
    let (mut speaker, _) = port();
    speaker.bfd = Some(bfd);
    speaker.bfd(session(ours, theirs));
    let report = |speaker: &Speaker| speaker.bfd_report().unwrap().sessions["tor"].status.clone();
    let until = async |what: &str, speaker: &Speaker, done: &dyn Fn() -> bool| {
        let begin = Instant::now();
        while !done() {
            assert!(begin.elapsed() < Duration::from_secs(30), "not {what}: {:?}", report(speaker));
            sleep(Duration::from_millis(5)).await;
        }
    };
    until("up", &speaker, &|| report(&speaker).state == State::Up).await;
    let before = report(&speaker).config;
    let pause = Duration::from_secs(20);
    speaker.slow_bfd(pause);
    until("slow", &speaker, &|| speaker.ask_bfd_is_slow(pause).is_none_or(|answer| answer.recv().unwrap()))
        .await;
    assert_ne!(report(&speaker).config, before);
    speaker.restore_bfd();
    until("restored", &speaker, &|| report(&speaker).config == before).await;
    assert_eq!(report(&speaker).state, State::Up);
}

/// What the daemon does between the freeze of its ports and its own: everything that they have said goes into the node.
fn take_the_last(node: &mut Node, speaker: &mut Speaker, mut last: Vec<Input>, form: &mut frozen::Speaker) {
    last.extend(std::iter::from_fn(|| speaker.try_next_bfd()));
    let out = node.handle_all(last, now());
    obey(speaker, out.effects);
    speaker.complete(form);
}

#[tokio::test]
async fn a_peer_that_begins_in_the_last_moment_begins_with_the_next_program_and_the_others_go_on() {
    const WITH_A_LINK: &str = "
router_id: 10.0.0.1
peers:
  tor: {address: 127.9.3.1, local_as: 65001, peer_as: 65000, active: true}
  spine: {interface: swp9, local_as: 65001, peer_as: external, active: true}
";
    let (mut node, mut speaker, starts) = node(WITH_A_LINK);
    let tor = starts[0].id;
    let mut descriptors = Descriptors::new();
    let mut form = speaker.freeze(&mut descriptors).await;
    let router: Ipv6Addr = "fe80::1".parse().unwrap();
    let heard = Input::Heard { interface: "swp9".to_owned(), router };
    take_the_last(&mut node, &mut speaker, vec![heard], &mut form);
    let running: Vec<_> = node.peers().running().values().map(|running| running.id).collect();
    let spine = *running.iter().find(|id| **id != tor).expect("the node has begun it");
    assert!(form.has(tor.as_u64()) && !form.has(spine.as_u64()) && speaker.status(spine).is_none());
    let thawed = |has_form: &dyn Fn(PeerId) -> bool| {
        Node::thaw(birth(config(WITH_A_LINK)), &node.freeze(), has_form, now()).unwrap()
    };
    let (told, _inputs) = mpsc::unbounded_channel();
    let with_the_new_one = thawed(&|_| true).peers;
    assert!(Speaker::thaw(&form, &mut Descriptors::new(), with_the_new_one, None, told).is_err());
    let Thawed { peers, out, .. } = thawed(&|id| form.has(id.as_u64()));
    assert_eq!(peers.iter().map(|start| start.id).collect::<Vec<_>>(), [tor]);
    let (told, _inputs) = mpsc::unbounded_channel();
    let (mut next, _streams) = Speaker::thaw(&form, &mut descriptors, peers, None, told).unwrap();
    // Under another id, as each peer that begins.
    let begun = obey(&mut next, out.effects);
    let [begun] = &begun[..] else { panic!("{begun:?}") };
    assert_eq!(begun.transport.address.remote.ip(), IpAddr::V6(router));
    assert!(next.status(tor).is_some() && next.status(begun.id).is_some());
}

#[tokio::test]
async fn a_failure_of_bfd_that_is_read_in_the_last_moment_is_told_by_the_next_program() {
    const WITH_BFD: &str = "
router_id: 10.0.0.1
peers:
  tor: {address: 127.9.4.1, local_as: 65001, peer_as: 65000, active: true, bfd: true}
";
    let (mut node, mut speaker, starts) = node(WITH_BFD);
    let tor = starts[0].id;
    let (events, receiver) = mpsc::unbounded_channel();
    speaker.bfd_events = Some(receiver);
    let change = |from, to, cause| {
        let transition = Transition { from, to, cause, diagnostic: Diagnostic::NONE, at: clock::now() };
        BfdEvent { session: "tor".into(), transition }
    };
    let up = Cause::Received { state: State::Up, diagnostic: Diagnostic::NONE };
    let out = node.handle(Input::Bfd(change(State::Init, State::Up, up)), now());
    obey(&mut speaker, out.effects);
    let mut descriptors = Descriptors::new();
    let mut form = speaker.freeze(&mut descriptors).await;
    events.send(change(State::Up, State::Down, Cause::DetectionTimeExpired)).unwrap();
    assert!(speaker.freeze_bfd(&mut descriptors).unwrap().is_none(), "no thread in this test");
    take_the_last(&mut node, &mut speaker, Vec::new(), &mut form);
    let frozen::Speaker::V1(v1) = &form;
    let untold: Vec<_> = v1.peers[0].untold.iter().map(Liveness::from).collect();
    assert!(matches!(&untold[..], [Liveness::Lost(_)]), "{untold:?}");
    let Thawed { node, peers, .. } =
        Node::thaw(birth(config(WITH_BFD)), &node.freeze(), &|id| form.has(id.as_u64()), now()).unwrap();
    assert_eq!(peers.iter().map(|start| start.id).collect::<Vec<_>>(), [tor]);
    assert!(node.peers().bfd_names().contains_key("tor"));
    let (told, _inputs) = mpsc::unbounded_channel();
    let (next, _streams) = Speaker::thaw(&form, &mut descriptors, peers, None, told).unwrap();
    assert!(next.status(tor).is_some());
}
