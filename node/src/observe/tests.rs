//! A whole node behind an observer, and the effects that are left for the ports.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_bgp::wire::Asn;

use super::*;
use crate::commands::{Command, Services};
use crate::engine::{Left, Link, Listing, Verdict};
use crate::health::report::{CheckReport, HealthState, Outcome};
use crate::input::Read;
use crate::jobs::Ticket;
use crate::model::{Check, Condition, EventFile, Peer, Question, Service};
use crate::node::{Birth, Node};
use crate::now::Now;
use crate::outbox::Outbox;
use crate::record::What;
use crate::vip::Vip;

const VIP: &str = "192.0.2.1/32";
const API: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9567);

/// A router, and a service with one check.
fn config() -> Config {
    let web = Service::new([VIP.parse().unwrap()], Condition::All(vec![Condition::Check("web".into())]));
    let tor = Peer::new("10.0.1.1".parse().unwrap(), Asn(65001), Asn(65000));
    let mut config = Config::new([("tor".into(), tor)], [("web".into(), web)]);
    let check = Check { rise: NonZeroU32::MIN, ..Check::new(Question::new(80)) };
    config.checks = [("web".into(), Arc::new(check))].into_iter().collect();
    config
}

fn control() -> Control {
    Control { socket: "/run/observe.sock".into(), group: None }
}

struct Story {
    node: Node,
    observer: Observer,
    now: Now,
    /// What the ports got.
    effects: Vec<Effect>,
    records: Vec<What>,
}

impl Story {
    fn begin() -> Self {
        let observer = Observer::new(control(), Some(API));
        let mut config = config();
        observer.reduce(&mut config);
        let now = Now { mono: Instant::BOOT, wall: "2026-11-27T12:00:00Z".parse().unwrap() };
        let node = Node::new(Birth {
            config: Arc::new(config),
            warnings: Vec::new(),
            path: "vipcast.yaml".to_owned(),
            left: Left::default(),
            version: ("0.1.0".to_owned(), None),
            seed: 7,
        });
        let mut story = Self { node, observer, now, effects: Vec::new(), records: Vec::new() };
        let known = story.observer.see(listed());
        let out = story.node.start(known, now);
        story.perform(out);
        story
    }

    fn tell(&mut self, input: Input) {
        let seen = self.observer.see(input);
        let out = self.node.handle_all(seen, self.now);
        self.perform(out);
    }

    fn perform(&mut self, mut out: Outbox) {
        loop {
            self.records.extend(out.records.drain(..).map(|record| record.what));
            let mut answers = Vec::new();
            for effect in out.effects.drain(..) {
                match self.observer.act(effect) {
                    Ok(effect) => self.effects.push(effect),
                    Err(answered) => answers.extend(answered),
                }
            }
            if answers.is_empty() {
                return;
            }
            out = self.node.handle_all(answers, self.now);
        }
    }

    fn check(&mut self, state: HealthState) {
        let definition = Arc::clone(&self.node.engine().config().checks["web"]);
        let outcome =
            Outcome { passed: state == HealthState::Up, detail: String::new(), took: Duration::ZERO };
        let at = self.now.mono;
        let report = CheckReport {
            check: "web".into(),
            definition,
            state,
            since: at,
            degraded: None,
            held_until: None,
            outcome,
            at,
        };
        self.tell(Input::Fact(Event::Check(report)));
    }

    fn verdict(&self) -> &Verdict {
        &self.node.engine().standing()[&VIP.parse::<Vip>().unwrap()].decision.verdict
    }
}

/// A host with an address of another vipcast, and the VIP of another program.
fn listed() -> Input {
    let lo = Link { name: "lo".to_owned(), altnames: BTreeSet::new(), up: true };
    let mut listing = Listing { links: [(1, lo)].into_iter().collect(), ..Listing::default() };
    listing.bindings.insert(Binding::host("192.0.2.1".parse().unwrap(), 1), Owner::Us.into());
    listing.bindings.insert(Binding::host("192.0.2.77".parse().unwrap(), 1), Owner::Us.into());
    Input::Fact(Event::Listed(listing))
}

/// Whether only effects on checks, answers and the process were left for the ports.
fn is_harmless(effects: &[Effect]) -> bool {
    effects.iter().all(|effect| {
        matches!(
            effect,
            Effect::Configure { .. } | Effect::Answer(..) | Effect::Stopping(_) | Effect::Exit(_)
        )
    })
}

#[test]
fn a_node_that_observes_decides_by_its_checks_and_nothing_reaches_a_port() {
    let mut story = Story::begin();
    assert!(!story.verdict().is_announced());
    story.check(HealthState::Up);
    assert_eq!(story.verdict(), &Verdict::Announce);
    assert!(story.node.engine().facts().is_bound(VIP.parse().unwrap()), "as if done");
    // The other program loses or moves the address: that is no reason here.
    let theirs = Binding::host("192.0.2.1".parse().unwrap(), 1);
    story.tell(Input::Fact(Event::Removed(theirs)));
    story.tell(Input::Fact(Event::Added(theirs, Owner::Other.into())));
    story.tell(listed());
    assert_eq!(story.verdict(), &Verdict::Announce);
    story.check(HealthState::Down);
    assert!(!story.verdict().is_announced());
    let all = Command::Drain {
        services: Services::Service("web".to_owned()),
        lasts: None,
        reason: None,
        replace: false,
    };
    story.tell(Input::Command { ticket: Ticket(1), by: "alice".to_owned(), command: all });
    assert!(
        story.effects.iter().any(|effect| matches!(effect, Effect::Answer(Ticket(1), _))),
        "it is answered"
    );
    story.tell(Input::Stop);
    story.now.mono += Duration::from_secs(60);
    story.tell(Input::Tick);
    assert!(matches!(story.effects.last(), Some(Effect::Exit(_))), "{:?}", story.effects.last());
    assert!(is_harmless(&story.effects), "{:#?}", story.effects);
    let adopted = |what: &What| matches!(what, What::AddressAdopted(_) | What::AddressLost(_));
    assert!(!story.records.iter().any(adopted), "addresses of another vipcast are not ours");
}

#[test]
fn a_reload_brings_no_peer_and_no_other_socket() {
    let mut story = Story::begin();
    let mut config = config();
    config.control.socket = "/run/vipcast/control.sock".into();
    config.api = Some("192.0.2.200:9467".parse().unwrap());
    config.metrics = Some("192.0.2.200:9468".parse().unwrap());
    config
        .services
        .insert("more".into(), Service::new(["192.0.2.2/32".parse().unwrap()], Condition::All(Vec::new())));
    config.event_file = Some(EventFile { max_size: 1 << 20, keep: 1 });
    let order = Command::Reload;
    story.tell(Input::Command { ticket: Ticket(1), by: "alice".to_owned(), command: order });
    assert_eq!(story.effects.pop(), Some(Effect::ReadConfiguration));
    story.tell(Input::Read(Ok(Read { config: Arc::new(config), warnings: Vec::new() })));
    let running = story.node.engine().config();
    assert_eq!((running.services.len(), running.peers.len(), &running.control), (2, 0, &control()));
    assert_eq!((running.hooks.len(), running.event_file), (0, None));
    assert_eq!((running.api, running.metrics), (Some(API), None), "the ports of the daemon that announces");
    assert!(is_harmless(&story.effects), "{:#?}", story.effects);
}

#[test]
fn an_interface_that_goes_takes_the_believed_bindings_with_it() {
    let mut story = Story::begin();
    story.check(HealthState::Up);
    story.tell(Input::Fact(Event::Link(1, None)));
    assert!(!story.verdict().is_announced());
    let lo = Link { name: "lo".to_owned(), altnames: BTreeSet::new(), up: true };
    story.tell(Input::Fact(Event::Link(7, Some(lo))));
    story.now.mono += Duration::from_secs(60);
    story.tell(Input::Tick);
    assert_eq!(story.verdict(), &Verdict::Announce);
    assert!(is_harmless(&story.effects), "{:#?}", story.effects);
}

#[test]
fn a_listing_without_an_interface_takes_the_believed_bindings_with_it() {
    let mut story = Story::begin();
    story.check(HealthState::Up);
    // Notices of the kernel were lost, and with them that of the end of `lo`.
    story.tell(Input::Fact(Event::Listed(Listing::default())));
    assert!(!story.verdict().is_announced());
    story.tell(listed());
    assert!(
        !story.node.engine().facts().is_bound(VIP.parse().unwrap()),
        "the interface is new, without addresses"
    );
    story.now.mono += Duration::from_secs(60);
    story.tell(Input::Tick);
    assert_eq!(story.verdict(), &Verdict::Announce);
    assert!(is_harmless(&story.effects), "{:#?}", story.effects);
}
