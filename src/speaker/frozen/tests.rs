use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::time::sleep;
use vipcast_bgp::bfd::{SessionSettings, State};
use vipcast_bgp::fsm::Liveness;
use vipcast_bgp::net::clock;
use vipcast_node::effect::Effect;
use vipcast_node::engine::{Event, Left, Listing};
use vipcast_node::model::Listen;
use vipcast_node::node::{Birth, Node};
use vipcast_node::now::Now;

use super::*;
use crate::config::tests::config;

/// A router that answers nobody.
const CONFIG: &str = "
router_id: 10.0.0.1
peers:
  tor: {address: 127.9.1.1, local_as: 65001, peer_as: 65000, active: true}
";

/// A port with the one peer of the node.
fn port() -> (Speaker, Start) {
    let config = Arc::new(config(CONFIG));
    let (told, _inputs) = mpsc::unbounded_channel();
    let (mut speaker, _streams, _) = Speaker::start(&config, told);
    let birth = Birth {
        config,
        warnings: Vec::new(),
        path: String::new(),
        left: Left::default(),
        version: (String::new(), None),
        seed: 7,
    };
    let now = Now { mono: clock::now(), wall: Timestamp::now() };
    let out = Node::new(birth).start([Input::Fact(Event::Listed(Listing::default()))], now);
    let start = out
        .effects
        .into_iter()
        .find_map(|effect| if let Effect::StartPeer(start) = effect { Some(*start) } else { None })
        .unwrap();
    speaker.start_peer(start.clone());
    (speaker, start)
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
