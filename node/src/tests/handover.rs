//! I13 in every story of a node: before each input a copy is handed over, and does what the node does. And the frozen form
//! of version 1.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use vipcast_bgp::bfd::{BfdEvent, Cause, Diagnostic, State, Transition};

use super::*;
use crate::engine::{Cordon, HeldBack, Link, Order};
use crate::frozen::{self, Error};
use crate::jobs::{Next, Program};
use crate::model::{Bfd, Check, GracefulRestart, KeySource, Question};
use crate::node::Thawed;

/// Version 1, written by the first program that had it.
const GOLDEN: &str = include_str!("node_v1.json");

/// The next program reads the configuration itself, with the keys that are there by now.
fn birth(node: &Node) -> Birth {
    let mut config = Config::clone(node.engine().config());
    for (name, running) in node.peers().running() {
        if let Some(peer) = config.peers.get_mut(name) {
            peer.authentication.clone_from(&running.peer.authentication);
        }
    }
    Birth {
        config: Arc::new(config),
        warnings: Vec::new(),
        path: "vipcast.yaml".to_owned(),
        left: Left::default(),
        version: ("0.2.0".to_owned(), None),
        seed: 8,
    }
}

/// Frozen, written, read and thawed.
fn rewritten(node: &Node, now: Now) -> Thawed {
    let text = serde_json::to_string(&node.freeze()).unwrap();
    let frozen: frozen::Node = serde_json::from_str(&text).unwrap();
    Node::thaw(birth(node), &frozen, &|_| true, now).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The last effects of these kinds.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    keys: BTreeMap<PeerName, KeySource>,
    routers: BTreeSet<String>,
    held_back: Arc<HeldBack>,
}

impl Given {
    /// Takes an effect, and returns whether the port has it already.
    pub(super) fn has(&mut self, effect: &Effect) -> bool {
        #[expect(clippy::wildcard_enum_match_arm, reason = "every other effect does something")]
        match effect {
            Effect::LookForKeys(keys) => std::mem::replace(&mut self.keys, keys.clone()) == *keys,
            Effect::ListenForRouters(on) => std::mem::replace(&mut self.routers, on.clone()) == *on,
            Effect::SaveHeldBack(held) => std::mem::replace(&mut self.held_back, Arc::clone(held)) == *held,
            _ => false,
        }
    }
}

/// Effects that only tell the ports what the node before has told them already.
fn is_restated(effect: &Effect, node: &Node, given: &mut Given) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other effect does something")]
    match effect {
        Effect::Configure { config, restarted: None } => config.services == node.engine().config().services,
        Effect::Listen(listen) => *listen == node.engine().config().listen,
        Effect::Bfd(sessions) => sessions.keys().eq(node.peers().bfd_names().values()),
        Effect::SaveOverrides(overrides) => **overrides == *node.engine().facts().overrides,
        _ => given.has(effect),
    }
}

/// A copy of the node that was handed over; `None`: that is refused now.
pub(super) fn handed_over(node: &Node, given: &Given, now: Now) -> Option<(Node, Node)> {
    node.may_hand_over().ok()?;
    // A change of process that was asked for ends with the program: its next input has another effect here.
    if node.jobs.replacement.is_some() {
        return None;
    }
    let Thawed { node: thawed, peers, unanswered, out } = rewritten(node, now);
    let mut twin = node.clone();
    let twins = twin.handle(Input::Tick, now);
    let new = |out: &Outbox| -> Vec<Effect> {
        let mut given = given.clone();
        out.effects.iter().filter(|effect| !is_restated(effect, &thawed, &mut given)).cloned().collect()
    };
    assert_eq!(new(&out), new(&twins), "I13: the effects of a hand-over");
    assert_eq!(out.records, twins.records, "I13: the records of a hand-over");
    assert!(unanswered.iter().eq(node.engine().facts().asked.keys()));
    let running = node.peers().running();
    assert!(
        peers.iter().map(|start| start.id).eq(running.values().map(|running| running.id)),
        "I13: the peers"
    );
    assert_eq!(thawed.freeze(), twin.freeze(), "I13: the state");
    assert_eq!(thawed.deadline(), twin.deadline(), "I13: the next wake-up");
    Some((thawed, twin))
}

/// Whether the daemon takes such an input after its ports were frozen.
pub(super) fn may_be_last(input: &Input) -> bool {
    matches!(
        input,
        Input::Fact(_)
            | Input::Peer { .. }
            | Input::PeerEnded(_)
            | Input::Bfd(_)
            | Input::Heard { .. }
            | Input::Key { .. }
            | Input::Identified(_)
    )
}

/// The ids of the peers that the port would freeze.
pub(super) fn forms(node: &Node) -> Vec<PeerId> {
    node.peers().running().values().map(|running| running.id).collect()
}

/// A hand-over after an input whose effects had none, because the port was frozen before, with these peers.
pub(super) fn handed_over_late(node: &Node, forms: &[PeerId], now: Now) {
    let has_form = |id| forms.contains(&id);
    let Thawed { node: thawed, peers, out, .. } =
        Node::thaw(birth(node), &node.freeze(), &has_form, now).unwrap();
    let goes_on: BTreeSet<PeerId> = peers.iter().map(|start| start.id).collect();
    let begins = |effect: &Effect| if let Effect::StartPeer(start) = effect { Some(start.id) } else { None };
    let begins: BTreeSet<PeerId> = out.effects.iter().filter_map(begins).collect();
    assert!(goes_on.iter().all(|id| has_form(*id)), "{goes_on:?}");
    let all: Vec<PeerId> = goes_on.iter().chain(&begins).copied().collect();
    let running = thawed.peers().running();
    let ids: BTreeSet<PeerId> = running.values().map(|running| running.id).collect();
    assert_eq!(all.len(), ids.len(), "each peer goes on or starts anew");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), ids);
    for (name, _) in thawed.engine().facts().peers.iter().filter(|(_, fact)| fact.established) {
        assert!(goes_on.contains(&running[name].id), "{name} is up, and does not run");
    }
}

/// A node with a story behind it: BFD, a drain that ends, a router that is not heard, a key that is not there.
fn golden() -> (Node, Now) {
    let mut config = config();
    let [mut third, mut fourth] = [peer(5), peer(7)];
    third.address = crate::model::RouterAddress::OnLink(None);
    third.interface = Some("swp1".to_owned());
    let place = crate::model::KeyPlace::File("/etc/key".into());
    fourth.key_source = Some(crate::model::KeySource { place, purpose: crate::model::KeyPurpose::Md5 });
    config.peers.extend([("spine".into(), third), ("tor-c".into(), fourth)]);
    let tor_a = config.peers.get_mut("tor-a").unwrap();
    tor_a.bfd = Some(Bfd::default());
    tor_a.med = Some(7);
    let (mut story, _) = Story::begin(config);
    for peer in story.peers() {
        story.up(&peer, None);
    }
    let router = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    story.tell(Input::Heard { interface: "swp1".to_owned(), router });
    story.wait(Duration::from_secs(2));
    story.ask(1, drain(Some(Duration::from_secs(600))));
    story.tell(Input::Saved(Ticket(1), Ok(())));
    (story.node, story.now)
}

#[test]
fn a_node_of_version_1_is_read() {
    let (node, now) = golden();
    let frozen::Node::V1(golden) = serde_json::from_str(GOLDEN).unwrap();
    let frozen::Node::V1(written) = node.freeze();
    assert_eq!(golden, written, "a released version never changes");
    let thawed = Node::thaw(birth(&node), &frozen::Node::V1(golden), &|_| true, now).unwrap();
    assert_eq!(thawed.node.freeze(), node.freeze());
}

#[test]
fn a_later_version_and_an_unknown_field_are_refused() {
    let later = GOLDEN.replacen("v1", "v2", 1);
    let error = serde_json::from_str::<frozen::Node>(&later).unwrap_err().to_string();
    assert!(error.contains("unknown variant `v2`"), "{error}");
    let more = GOLDEN.replacen("\"next_record\"", "\"more\": 1, \"next_record\"", 1);
    let error = serde_json::from_str::<frozen::Node>(&more).unwrap_err().to_string();
    assert!(error.contains("unknown field `more`"), "{error}");
}

#[test]
fn what_cannot_be_is_refused_with_the_name_of_the_field() {
    let (node, now) = golden();
    let frozen::Node::V1(good) = node.freeze();
    let thaw = |change: &dyn Fn(&mut frozen::node::V1)| {
        let mut frozen = good.clone();
        change(&mut frozen);
        Node::thaw(birth(&node), &frozen::Node::V1(frozen), &|_| true, now).map(drop)
    };
    let later = now.mono + Duration::from_millis(1);
    assert_eq!(thaw(&|_| {}), Ok(()));
    assert_eq!(thaw(&|frozen| frozen.next_record = u64::MAX), Err(Error::Range("next_record")));
    assert_eq!(thaw(&|frozen| frozen.clocks.as_mut().unwrap().0 = later), Err(Error::Future("clocks")));
    assert_eq!(thaw(&|frozen| frozen.peers.last_id = 1), Err(Error::Contradiction("running.id")));
    assert_eq!(
        thaw(&|frozen| frozen.engine.advertised.routes.push(("192.0.2.9/32".parse().unwrap(), 7, 0))),
        Err(Error::Contradiction("advertised.routes"))
    );
    let peer = |frozen: &mut frozen::node::V1| {
        frozen.engine.peers.values_mut().next().unwrap().asked_before = Some(u64::MAX)
    };
    assert_eq!(thaw(&peer), Err(Error::Range("asked_before")));
    let configured = |frozen: &mut frozen::node::V1| {
        *frozen.engine.configured.peers.values_mut().next().unwrap() = Some(u64::MAX)
    };
    assert_eq!(thaw(&configured), Err(Error::Range("configured.peers")));
    assert_eq!(thaw(&|frozen| frozen.engine.standing[0].since = later), Err(Error::Future("standing.since")));
}

#[test]
fn a_hand_over_is_refused_while_something_is_under_way() {
    let mut story = Story::with_sessions(config());
    let refused = |story: &Story| story.node.may_hand_over().err().map(|refusal| refusal.error);
    assert_eq!(refused(&story), None);
    story.tell(Input::HangUp);
    assert_eq!(refused(&story).as_deref(), Some("a reload is under way"));
    let mut other = config();
    other.peers.get_mut("tor-a").unwrap().hold_time = HoldTime::from_secs(30).unwrap();
    let id = story.id(&"tor-a".into());
    story.tell(read(other));
    assert_eq!(refused(&story).as_deref(), Some("the session with tor-a is being closed"));
    story.tell(Input::PeerEnded(id));
    story.ask(1, drain(None));
    assert_eq!(refused(&story).as_deref(), Some("a command waits for the state directory"));
    story.tell(Input::Saved(Ticket(1), Ok(())));
    assert_eq!(refused(&story), None);
    story.tell(Input::Stop);
    assert_eq!(refused(&story).as_deref(), Some("vipcast is stopping"));
    let mut graceful = config();
    graceful.peers.get_mut("tor-a").unwrap().graceful_restart = Some(GracefulRestart::default());
    let (story, _) = Story::begin(graceful);
    assert_eq!(refused(&story).as_deref(), Some("routers may still keep routes of before the last restart"));
}

type Begin = fn() -> Story;

/// A node without its first listing, and one with this configuration.
fn unlisted() -> Story {
    let birth = Birth { config: Arc::new(config()), ..birth(&Story::with_sessions(config()).node) };
    let now = Now { mono: Instant::BOOT, wall: "2026-11-27T12:00:00Z".parse().unwrap() };
    let mut story = Story { node: Node::new(birth), now, seen: 0, given: Given::default() };
    let out = story.node.start([], now);
    story.lines(out);
    story
}

fn listed() -> Story {
    let (mut story, _) = Story::begin(config());
    let lo = Link { name: "lo".to_owned(), altnames: [].into(), up: true };
    let links = [(1, lo)].into_iter().collect();
    story.tell(Input::Fact(Event::Listed(Listing { links, ..Listing::default() })));
    story
}

fn told_all(inputs: impl IntoIterator<Item = Input>) -> Story {
    let mut story = Story::with_sessions(config());
    inputs.into_iter().for_each(|input| drop(story.tell(input)));
    story
}

fn closing() -> Story {
    let mut other = config();
    other.peers.get_mut("tor-a").unwrap().hold_time = HoldTime::from_secs(30).unwrap();
    told_all([Input::HangUp, read(other)])
}

/// After a graceful restart, with a check that has not settled or without.
fn kept(is_undecided: bool) -> Story {
    let mut graceful = config();
    if is_undecided {
        let alive = Arc::new(Check::new(Question::new("alive")));
        graceful.checks = [("alive".into(), alive)].into_iter().collect();
        graceful.services.get_mut("web").unwrap().checks = Condition::Check("alive".into());
    }
    graceful.peers.get_mut("tor-a").unwrap().graceful_restart = Some(GracefulRestart::default());
    Story::begin(graceful).0
}

fn goes_down() -> Input {
    let order = Order { by: "logind".to_owned(), reason: None };
    Input::Cordon(Cordon::Machine, Some(order))
}

fn unsaved() -> Input {
    Input::Command { ticket: Ticket(1), by: "alice".to_owned(), command: drain(None) }
}

/// The answer to a command, whose refusal is the status 409.
fn answered(story: &mut Story, command: Command) -> Result<String, String> {
    let input = Input::Command { ticket: Ticket(9), by: "alice".to_owned(), command };
    let mut out = story.node.clone().handle(input.clone(), story.now);
    story.tell(input);
    let is_reading = out.effects.contains(&Effect::ReadConfiguration);
    if is_reading {
        let same =
            Input::Read(Ok(Read { config: Arc::clone(story.node.engine().config()), warnings: Vec::new() }));
        story.tell(same);
        let program = Program { version: "9.9.9".to_owned(), commit: None };
        let next = Next { program, older_form: None };
        let rehearsed = Input::Rehearsed(Ok(next));
        out = story.node.clone().handle(rehearsed.clone(), story.now);
        story.tell(rehearsed);
    }
    let answer = |effect| if let Effect::Answer(Ticket(9), answer) = effect { Some(answer) } else { None };
    match out.effects.into_iter().find_map(answer) {
        // A warning would be an exit status of 1.
        Some(Answer::Done { message, warning: None }) => Ok(message),
        Some(Answer::Conflict(refusal)) => Err(refusal.error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_reason_to_refuse_an_upgrade_is_told_by_the_dry_run() {
    let lasting: [(Begin, &str); 7] = [
        (|| told_all([Input::Stop]), "vipcast is stopping"),
        (|| kept(true), "a restart is under way already"),
        (|| kept(false), "routers may still keep routes of before the last restart"),
        (|| told_all([goes_down()]), "the machine is going down"),
        (|| told_all([Input::HangUp]), "a reload is under way"),
        (|| told_all([goes_down(), Input::HangUp]), "the machine is going down; a reload is under way"),
        (
            || {
                told_all([Input::Command {
                    ticket: Ticket(1),
                    by: "alice".to_owned(),
                    command: Command::Upgrade { dry: true },
                }])
            },
            "an upgrade is under way already",
        ),
    ];
    for (story, why) in lasting {
        for dry in [true, false] {
            assert_eq!(answered(&mut story(), Command::Upgrade { dry }), Err(why.to_owned()));
        }
    }
    let passing: [(Begin, &str); 5] = [
        (unlisted, "the addresses of this host are not known yet"),
        (|| told_all([unsaved()]), "a command waits for the state directory"),
        (listed, "a request to the kernel is under way"),
        (closing, "the session with tor-a is being closed"),
        (
            || {
                let mut story = closing();
                story.tell(unsaved());
                story
            },
            "a command waits for the state directory; the session with tor-a is being closed",
        ),
    ];
    for (begin, why) in passing {
        let mut story = begin();
        let error = |story: &Story| story.node.may_hand_over().map_err(|refusal| refusal.error);
        assert_eq!(error(&story), Err(why.to_owned()), "the hand-over waits for it");
        let waits = format!("vipcast 9.9.9 could take over; an upgrade would wait for this first: {why}");
        assert_eq!(answered(&mut story, Command::Upgrade { dry: true }), Ok(waits));
        let asked = answered(&mut begin(), Command::Upgrade { dry: false });
        assert_eq!(asked, Ok("vipcast 9.9.9 can take over".to_owned()));
    }
}

#[test]
fn a_restart_names_everything_that_would_lose_traffic() {
    let mut with_bfd = config();
    with_bfd.peers.get_mut("tor-a").unwrap().bfd = Some(Bfd::default());
    let mut story = Story::with_sessions(with_bfd);
    let session = story.node.peers().bfd_names()["tor-a"].clone();
    let transition = Transition {
        from: State::Init,
        to: State::Up,
        cause: Cause::Received { state: State::Up, diagnostic: Diagnostic::NONE },
        diagnostic: Diagnostic::NONE,
        at: story.now.mono,
    };
    story.tell(Input::Bfd(BfdEvent { session, transition }));
    let why = "tor-a watches us with BFD and would take the restart for a failure; \
               tor-a, tor-b would drop our routes: graceful restart is not negotiated";
    assert_eq!(answered(&mut story, Command::Restart), Err(why.to_owned()));
    let why = "vipcast is stopping; tor-a, tor-b would drop our routes: graceful restart is not negotiated";
    assert_eq!(answered(&mut told_all([Input::Stop]), Command::Restart), Err(why.to_owned()));
}

#[test]
fn a_peer_whose_settings_have_changed_starts_anew_and_no_other() {
    let story = Story::with_sessions(config());
    let Birth { config, .. } = birth(&story.node);
    let mut config = Config::clone(&config);
    config.peers.get_mut("tor-a").unwrap().hold_time = HoldTime::from_secs(30).unwrap();
    config.peers.get_mut("tor-b").unwrap().med = Some(5);
    let birth = Birth { config: Arc::new(config), ..birth(&story.node) };
    let Thawed { node, peers, out, .. } =
        Node::thaw(birth, &story.node.freeze(), &|_| true, story.now).unwrap();
    let [tor_b] = &peers[..] else { panic!("one peer goes on: {peers:?}") };
    assert_eq!((tor_b.id, tor_b.config.med), (story.id(&"tor-b".into()), Some(5)));
    assert!(node.engine().facts().peers["tor-b"].established);
    assert!(!node.engine().facts().peers["tor-a"].established);
    let starts: Vec<String> =
        out.effects.iter().filter_map(show).filter(|it| it.starts_with("start")).collect();
    assert_eq!(starts, ["start 10.0.1.1:179 with set 0"]);
    let told: Vec<String> = out.records.iter().filter_map(|record| told(&record.what)).collect();
    assert_eq!(told, ["# tor-a stopped: its settings have changed during the hand-over"]);
}

/// A router that is known by its link, and a peer without its key: neither runs yet.
fn incomplete() -> Story {
    let mut config = config();
    let [mut third, mut fourth] = [peer(5), peer(7)];
    third.address = crate::model::RouterAddress::OnLink(None);
    third.interface = Some("swp1".to_owned());
    fourth.key_source = Some(key_source());
    config.peers.extend([("spine".into(), third), ("tor-c".into(), fourth)]);
    Story::with_sessions(config)
}

fn key_source() -> crate::model::KeySource {
    let place = crate::model::KeyPlace::File("/etc/key".into());
    crate::model::KeySource { place, purpose: crate::model::KeyPurpose::Md5 }
}

fn heard(last: u16) -> Input {
    let router = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
    Input::Heard { interface: "swp1".to_owned(), router }
}

/// The peers that go on, those that start anew, and what is told.
fn thawed(story: &Story, forms: &[PeerId]) -> (Node, Vec<PeerId>, Vec<String>, Vec<String>) {
    let has_form = |id| forms.contains(&id);
    let thawed = Node::thaw(birth(&story.node), &story.node.freeze(), &has_form, story.now).unwrap();
    let Thawed { node, peers, out, .. } = thawed;
    let goes_on = peers.iter().map(|start| start.id).collect();
    let starts = out.effects.iter().filter_map(show).filter(|it| it.starts_with("start")).collect();
    let told = out.records.iter().filter_map(|record| told(&record.what)).collect();
    (node, goes_on, starts, told)
}

#[test]
fn a_peer_that_the_ports_had_not_started_is_started_by_the_next_program() {
    let mut story = incomplete();
    let forms = forms(&story.node);
    story.tell(heard(1));
    let key = vipcast_bgp::transport::Authentication::Md5(vipcast_bgp::secret::Secret::new(b"key").unwrap());
    story.tell(Input::Key { peer: "tor-c".into(), source: key_source(), key: Ok(key) });
    assert_eq!(story.peers().len(), forms.len() + 2);
    let (mut node, goes_on, starts, told) = thawed(&story, &forms);
    assert_eq!(goes_on, forms);
    assert_eq!(starts, ["start [fe80::1]:179 with set 0", "start 10.0.1.7:179 with set 0"]);
    assert_eq!(told, [""; 0]);
    assert!(node.engine().facts().peers["tor-a"].established);
    assert_eq!(node.handle(Input::Tick, story.now).effects, []);
}

#[test]
fn a_peer_whose_task_has_ended_starts_anew_and_is_down() {
    let story = Story::with_sessions(config());
    let (node, goes_on, starts, told) = thawed(&story, &[story.id(&"tor-b".into())]);
    assert_eq!(goes_on, [story.id(&"tor-b".into())]);
    assert_eq!(starts, ["start 10.0.1.1:179 with set 0"]);
    assert_eq!(told, ["# tor-a stopped: it was lost before the hand-over"]);
    assert!(!node.engine().facts().peers["tor-a"].established);
    assert!(node.engine().facts().peers["tor-b"].established);
}

#[test]
fn a_peer_that_was_to_be_stopped_after_the_freeze_is_down_and_starts_anew() {
    let mut story = incomplete();
    story.tell(heard(1));
    story.up(&"spine".into(), None);
    let forms = forms(&story.node);
    let mut other = Config::clone(story.node.engine().config());
    other.peers.get_mut("spine").unwrap().hold_time = HoldTime::from_secs(30).unwrap();
    story.tell(Input::HangUp);
    story.tell(read(other));
    assert!(!story.peers().contains(&"spine".into()));
    assert!(story.node.engine().facts().peers["spine"].established, "until its end is reported");
    let (node, goes_on, starts, told) = thawed(&story, &forms);
    assert_eq!(goes_on.len(), forms.len() - 1);
    assert_eq!(starts, ["start [fe80::1]:179 with set 0"]);
    assert_eq!(told, [""; 0]);
    assert!(!node.engine().facts().peers["spine"].established);
}

#[test]
fn a_request_without_an_answer_is_waited_for_and_then_repeated_without_a_word() {
    let (mut story, _) = Story::begin(config());
    let lo = Link { name: "lo".to_owned(), altnames: [].into(), up: true };
    let listing = Listing { links: [(1, lo)].into_iter().collect(), ..Listing::default() };
    story.tell(Input::Fact(Event::Listed(listing)));
    let asked: Vec<_> = story.node.engine().facts().asked.keys().copied().collect();
    assert!(!asked.is_empty(), "{:?}", story.node.engine().facts());
    let refused = story.node.may_hand_over().unwrap_err();
    assert_eq!(refused.error, "a request to the kernel is under way");
    let Thawed { mut node, unanswered, .. } =
        Node::thaw(birth(&story.node), &story.node.freeze(), &|_| true, story.now).unwrap();
    assert_eq!(unanswered, asked);
    let out = node.handle(Input::Fact(Event::Unanswered(asked[0])), story.now);
    assert_eq!(out.effects.first(), Some(&Effect::Bind(asked[0])));
    assert_eq!(out.records, []);
    story.tell(Input::Fact(Event::Answered(asked[0], Ok(()))));
}

#[test]
fn with_another_configuration_a_hand_over_does_what_a_reload_does() {
    let mut story = Story::with_sessions(config());
    let mut other = config();
    let api = Service::new(["192.0.2.9/32".parse().unwrap()], Condition::All(Vec::new()));
    other.services.insert("api".into(), api);
    other.services.swap_remove("web");
    let birth = Birth { config: Arc::new(other.clone()), ..birth(&story.node) };
    let thawed = Node::thaw(birth, &story.node.freeze(), &|_| true, story.now).unwrap();
    story.tell(Input::HangUp);
    let lines = story.tell(read(other));
    assert_eq!(thawed.node.engine().standing(), story.node.engine().standing(), "{lines:?}");
    assert_eq!(thawed.node.engine().facts().asked, story.node.engine().facts().asked);
    assert_eq!(thawed.node.engine().version(), story.node.engine().version());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_node_is_refused_or_whole(
        damages in prop::collection::vec((0..4_u8, any::<usize>(), any::<u64>()), 1..4),
        waits in prop::collection::vec(0..100_000_u64, 0..8),
    ) {
        let mut text = GOLDEN.as_bytes().to_vec();
        for (how, at, value) in damages {
            frozen::tests::damage(&mut text, how, at, value);
        }
        let Ok(frozen) = serde_json::from_slice::<frozen::Node>(&text) else { return Ok(()) };
        let (node, mut now) = golden();
        let Ok(Thawed { mut node, .. }) = Node::thaw(birth(&node), &frozen, &|_| true, now) else { return Ok(()) };
        for wait in waits {
            let time = Duration::from_millis(wait);
            now = Now { mono: now.mono + time, wall: now.wall.checked_add(time).unwrap() };
            node.handle(Input::Tick, now);
        }
        node.handle(Input::Stop, now);
        node.freeze();
    }
}
