//! The node as its ports see it: inputs in, effects and records out, as lines of text.

mod commands;
mod handover;
mod peers;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use vipcast_bgp::wire::{Asn, Family};
use vipcast_bgp::{HoldTime, Instant, PeerEvent, PeerStatus, Session};

use crate::commands::{Answer, Command, Services};
use crate::effect::{Effect, PeerId};
use crate::engine::{Event, Left, Listing};
use crate::input::{Input, Read};
use crate::jobs::{Ticket, Way};
use crate::model::{Condition, Config, Peer, Service};
use crate::names::PeerName;
use crate::node::{Birth, Node};
use crate::now::Now;
use crate::outbox::Outbox;
use crate::record::{OfSession, What};

/// A node and its clocks.
struct Story {
    node: Node,
    now: Now,
    /// What was recorded so far.
    seen: u64,
    /// What the ports were given last.
    given: handover::Given,
}

impl Story {
    /// It has begun on a host that has no addresses yet.
    fn begin(config: Config) -> (Self, Vec<String>) {
        let now = Now { mono: Instant::BOOT, wall: "2026-11-27T12:00:00Z".parse::<Timestamp>().unwrap() };
        let node = Node::new(Birth {
            config: Arc::new(config),
            warnings: Vec::new(),
            path: "vipcast.yaml".to_owned(),
            left: Left::default(),
            version: ("0.1.0".to_owned(), None),
            seed: 7,
        });
        let mut story = Self { node, now, seen: 0, given: handover::Given::default() };
        let listing = Input::Fact(Event::Listed(Listing::default()));
        let out = story.node.start([listing], now);
        let lines = story.lines(out);
        (story, lines)
    }

    /// The same, and both sessions are up; nothing is told of that.
    fn with_sessions(config: Config) -> Self {
        let (mut story, _) = Self::begin(config);
        for peer in story.peers() {
            story.up(&peer, None);
        }
        story
    }

    fn peers(&self) -> Vec<PeerName> {
        self.node.peers().running().keys().cloned().collect()
    }

    fn id(&self, peer: &PeerName) -> PeerId {
        self.node.peers().running()[peer.as_str()].id
    }

    /// The session with a peer comes up; it may keep our routes over a restart.
    fn up(&mut self, peer: &PeerName, keeping: Option<vipcast_bgp::fsm::Keeping>) -> Vec<String> {
        let session = Session {
            peer_router_id: Ipv4Addr::new(10, 0, 0, 1),
            peer_as: Asn(65000),
            hold_time: 9,
            families: [Family::IPV4_UNICAST].into(),
            four_octet_as: true,
            route_refresh: true,
            enhanced_route_refresh: false,
            extended_next_hop: false,
            peer_role: None,
            graceful_restart: keeping,
        };
        self.happens(peer, PeerEvent::Established(session))
    }

    fn happens(&mut self, peer: &PeerName, event: PeerEvent) -> Vec<String> {
        let status = Box::new(PeerStatus::idle(self.now.mono));
        self.tell(Input::Peer { id: self.id(peer), event, status })
    }

    fn tell(&mut self, input: Input) -> Vec<String> {
        // A clone is told the same, and must come to the same.
        let mut twin = self.node.clone();
        let handed_over = handover::handed_over(&self.node, &self.given, self.now);
        let forms = handover::forms(&self.node);
        let out = self.node.handle(input.clone(), self.now);
        if handed_over.is_some() && handover::may_be_last(&input) {
            handover::handed_over_late(&self.node, &forms, self.now);
        }
        assert_eq!(twin.handle(input.clone(), self.now), out, "the same input at the same time");
        if let Some((mut thawed, mut twin)) = handed_over {
            let out = thawed.handle(input.clone(), self.now);
            assert_eq!(out, twin.handle(input, self.now), "I13: after a hand-over");
        }
        self.lines(out)
    }

    fn ask(&mut self, ticket: u64, command: Command) -> Vec<String> {
        self.tell(Input::Command { ticket: Ticket(ticket), by: "alice".to_owned(), command })
    }

    fn wait(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall = self.now.wall.checked_add(time).unwrap();
    }

    fn lines(&mut self, out: Outbox) -> Vec<String> {
        for effect in &out.effects {
            let _known = self.given.has(effect);
        }
        for record in &out.records {
            self.seen += 1;
            assert_eq!((record.seq, record.at), (self.seen, self.now), "numbered without a gap, and dated");
        }
        let effects = out.effects.iter().filter_map(show);
        effects.chain(out.records.iter().filter_map(|record| told(&record.what))).collect()
    }
}

/// What of the effects is of interest here.
#[expect(clippy::wildcard_enum_match_arm, reason = "what the engine wants has tests of its own")]
fn show(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::StartPeer(start) => {
            let address = start.transport.address.remote;
            format!("start {address} with set {}", start.advertised.version.0)
        }
        Effect::StopPeer(_, notification) => format!("stop: {notification}"),
        Effect::Tune(..) => "tune".to_owned(),
        Effect::Liveness(_, liveness) => format!("liveness {liveness:?}"),
        Effect::Watch(watched) => format!("watch {} prefixes", watched.len()),
        Effect::Bfd(sessions) => format!("BFD {:?}", sessions.keys().collect::<Vec<_>>()),
        Effect::Listen(_) => "listen".to_owned(),
        Effect::ListenForRouters(links) => format!("listen for routers on {links:?}"),
        Effect::LookForKeys(sources) => format!("look for keys of {:?}", sources.keys().collect::<Vec<_>>()),
        Effect::Configure { config, .. } => format!("configure {} services", config.services.len()),
        Effect::Answer(ticket, answer) => format!("answer {}: {}", ticket.0, words(answer)),
        Effect::TellWhenSaved(ticket, patience) => format!("tell {} when saved, in {patience:?}", ticket.0),
        Effect::ReadConfiguration => "read the configuration".to_owned(),
        Effect::Rehearse(Way::GracefulRestart) => "rehearse".to_owned(),
        Effect::Rehearse(Way::HandOver { .. }) => "rehearse a hand-over".to_owned(),
        Effect::HandOver => "hand over".to_owned(),
        Effect::LeaveNote(vips) => format!("leave a note of {} VIPs", vips.len()),
        Effect::WithdrawNote => "withdraw the note".to_owned(),
        Effect::LetMachineStop => "let the machine stop".into(),
        Effect::Stopping(takes) => format!("stopping, in {takes:?}"),
        Effect::Exit(ending) => format!("exit {ending:?}"),
        _of_the_engine => return None,
    })
}

fn words(answer: &Answer) -> String {
    match answer {
        Answer::Done { message, warning: None } => message.clone(),
        Answer::Done { message, warning: Some(warning) } => format!("{message} ({warning})"),
        Answer::Preview(preview) => format!("{preview:?}"),
        Answer::NotFound(refusal) | Answer::BadRequest(refusal) | Answer::Conflict(refusal) => {
            format!("NO: {}", refusal.error)
        }
    }
}

/// What of the records is of interest here.
#[expect(clippy::wildcard_enum_match_arm, reason = "what the engine tells has tests of its own")]
fn told(what: &What) -> Option<String> {
    Some(match what {
        What::Started { version, .. } => format!("# started {version}"),
        What::SpeakerStarted { router_id } => format!("# speaker {router_id}"),
        What::PeerRenamed { peer, was } => format!("# {was} is {peer} now"),
        What::Session { peer, what, .. } => match what {
            OfSession::Up { .. } => format!("# {peer} up"),
            OfSession::FromService(local) => format!("# {peer} from {local}"),
            OfSession::Down { reason, .. } => format!("# {peer} down: {reason}"),
            OfSession::Failed { reason, .. } => format!("# {peer} failed: {reason}"),
            OfSession::Stalled(_) => format!("# {peer} stalled"),
        },
        What::SessionStopped { peer, reason } => format!("# {peer} stopped: {reason}"),
        What::BfdUp { peer, .. } => format!("# BFD of {peer} up"),
        What::BfdDown { peer, .. } => format!("# BFD of {peer} down"),
        What::KeyFound { peer } => format!("# key of {peer}"),
        What::KeyMissing { peer, reason } => format!("# no key of {peer}: {reason}"),
        What::RouterFound { router, .. } => format!("# router {router}"),
        What::Commanded { by, command, refused } => {
            format!("# {by}: {command}{}", refused.as_ref().map(|_| " refused").unwrap_or_default())
        }
        What::Reloaded { by, .. } => format!("# reloaded by {by}"),
        What::NotReloaded { by, error, .. } => format!("# not reloaded by {by}: {error}"),
        What::ReloadGivenUp { by } => format!("# {by} has given up"),
        What::RestartAsked { by } => format!("# {by} wants a restart"),
        What::NotRestarted { reason } => format!("# not restarted: {reason}"),
        What::UpgradeAsked { by, dry } => {
            format!("# {by} wants an upgrade{}", if *dry { ", rehearsed only" } else { "" })
        }
        What::Rehearsed { next, older_form: None } => format!("# rehearsed {next}"),
        What::Rehearsed { next, older_form: Some(form) } => format!("# rehearsed {next} with {form}"),
        What::NotUpgraded { reason, .. } => format!("# not upgraded: {reason}"),
        What::HandingOver { next } => format!("# handing over to {next}"),
        What::Upgraded { from, to, pause } => format!("# upgraded from {from} to {to} in {pause:?}"),
        What::NotThawed { reason } => format!("# not thawed: {reason}"),
        What::Leaving => "# leaving".to_owned(),
        What::Stopped => "# stopped".to_owned(),
        What::ClockSet { wall } => format!("# clock {wall:.0}"),
        _of_the_engine => return None,
    })
}

fn peer(last: u8) -> Peer {
    Peer::new(Ipv4Addr::new(10, 0, 1, last).into(), Asn(65001), Asn(65000))
}

/// Two routers, and one service that needs no check.
fn config() -> Config {
    let web = Service::new(["192.0.2.1/32".parse().unwrap()], Condition::All(Vec::new()));
    let peers = [("tor-a".into(), peer(1)), ("tor-b".into(), peer(3))];
    Config { router_id: Some(Ipv4Addr::new(10, 0, 1, 2)), ..Config::new(peers, [("web".into(), web)]) }
}

fn read(config: Config) -> Input {
    Input::Read(Ok(Read { config: Arc::new(config), warnings: Vec::new() }))
}

fn web() -> Services {
    Services::Service("web".to_owned())
}

fn drain(lasts: Option<Duration>) -> Command {
    Command::Drain { services: web(), reason: None, lasts, replace: false }
}
