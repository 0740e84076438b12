//! Previews of reloads, as words.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use vipcast_bgp::wire::Asn;
use vipcast_bgp::{HoldTime, Instant};

use super::*;
use crate::engine::{Binding, Left, Link, Listing, Owner};
use crate::input::{Input, Read};
use crate::model::{Check, Condition, Peer, Question, Service};
use crate::node::Birth;

fn peer(last: u8) -> Peer {
    Peer::new(Ipv4Addr::new(10, 0, 1, last).into(), Asn(65001), Asn(65000))
}

fn service(vip: &str, checks: &[&str]) -> Service {
    let checks = checks.iter().map(|check| Condition::Check((*check).into())).collect();
    Service::new([vip.parse().unwrap()], Condition::All(checks))
}

fn check(port: u16) -> Arc<Check> {
    Arc::new(Check { rise: NonZeroU32::MIN, ..Check::new(Question::new(port)) })
}

/// Two routers, and two services: `plain` without a check, `web` with one.
fn config() -> Config {
    let peers = [("tor-a".into(), peer(1)), ("tor-b".into(), peer(3))];
    let services =
        [("plain".into(), service("192.0.2.1/32", &[])), ("web".into(), service("192.0.2.2/32", &["web"]))];
    let mut config = Config::new(peers, services);
    config.router_id = Some(Ipv4Addr::new(10, 0, 1, 2));
    config.checks = [("web".into(), check(80))].into_iter().collect();
    config
}

fn now() -> Now {
    Now { mono: Instant::BOOT, wall: "2026-11-27T12:00:00Z".parse().unwrap() }
}

/// A node where `plain` is announced.
fn node() -> Node {
    let mut node = Node::new(Birth {
        config: Arc::new(config()),
        warnings: Vec::new(),
        path: "vipcast.yaml".to_owned(),
        left: Left::default(),
        version: ("0.1.0".to_owned(), None),
        seed: 7,
    });
    node.start([Input::Fact(Event::Listed(Listing::default()))], now());
    let plain: Vip = "192.0.2.1/32".parse().unwrap();
    let mut listing = Listing::default();
    let lo = Link { name: "lo".to_owned(), altnames: BTreeSet::new(), up: true };
    listing.links = [(1, lo)].into_iter().collect();
    let carrier = node.engine.config().services["plain"].carrier(&plain).unwrap();
    let binding = Binding::ours(plain, carrier, 1);
    listing.bindings.insert(binding, Owner::Us.into());
    node.handle(Input::Fact(Event::Listed(listing)), now());
    node
}

/// What would change, each in words; nothing that stays.
fn words(preview: &Preview) -> Vec<String> {
    fn all<T: ToString>(what: &str, names: impl IntoIterator<Item = T>) -> Option<String> {
        let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    }
    let Preview { needs_restart, sessions, bound, unbound, announcements, checks, warnings } = preview;
    assert_eq!(warnings.len(), 0);
    [
        all("needs a restart:", needs_restart),
        all("start", &sessions.started),
        all("stop", &sessions.stopped),
        all("reset", &sessions.reset),
        all("tune", &sessions.tuned),
        all("bind", bound),
        all("unbind", unbound),
        all("announce", &announcements.added),
        all("change", &announcements.changed),
        all("withdraw", &announcements.withdrawn),
        all("new check", &checks.added),
        all("changed check", &checks.changed),
        all("removed check", &checks.removed),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A change of the configuration.
type Change = fn(&mut Config);

#[test]
fn a_preview_says_exactly_what_a_reload_would_touch() {
    let table: [(Change, &[&str]); 13] = [
        (|_| {}, &[]),
        (|config| config.router_id = None, &["needs a restart: router_id"]),
        (|config| drop(config.peers.insert("tor-c".into(), peer(5))), &["start tor-c"]),
        (|config| drop(config.peers.remove("tor-a")), &["stop tor-a"]),
        (|config| config.peers.get_mut("tor-a").unwrap().hold_time = HoldTime::MIN, &["reset tor-a"]),
        (
            |config| config.peers.get_mut("tor-a").unwrap().connect_retry = Duration::from_secs(9),
            &["tune tor-a"],
        ),
        (
            |config| config.peers.get_mut("tor-a").unwrap().med = Some(5),
            &["tune tor-a", "change 192.0.2.1/32"],
        ),
        (
            |config| {
                let tor_a = config.peers.remove("tor-a").unwrap();
                config.peers.insert("tor-x".into(), tor_a);
            },
            &["tune tor-x"],
        ),
        (
            |config| drop(config.services.insert("new".into(), service("192.0.2.3/32", &["web"]))),
            &["bind 192.0.2.3/32", "announce 192.0.2.3/32"],
        ),
        (
            |config| drop(config.services.swap_remove("plain")),
            &["unbind 192.0.2.1/32", "withdraw 192.0.2.1/32"],
        ),
        (|config| config.services.get_mut("plain").unwrap().announce.med = Some(5), &["change 192.0.2.1/32"]),
        (|config| drop(config.checks.insert("web".into(), check(81))), &["changed check web"]),
        (
            |config| {
                config.services.get_mut("web").unwrap().checks = Condition::Check("other".into());
                config.checks = BTreeMap::from([("other".into(), check(80))]).into_iter().collect();
            },
            &["new check other", "removed check web"],
        ),
    ];
    for (change, expected) in table {
        let node = node();
        let mut next = config();
        change(&mut next);
        assert_eq!(words(&node.preview(&Arc::new(next), &[], now())), expected);
    }
}

#[test]
fn a_preview_changes_nothing_and_is_answered_beside_a_reload() {
    let mut node = node();
    let before = node.clone();
    let ask = |ticket, command| Input::Command {
        ticket: crate::jobs::Ticket(ticket),
        by: "alice".to_owned(),
        command,
    };
    node.handle(ask(1, crate::commands::Command::Preview), now());
    let mut next = config();
    next.services.clear();
    let read = || Input::Read(Ok(Read { config: Arc::new(next.clone()), warnings: Vec::new() }));
    let out = node.handle(read(), now());
    let [Effect::Answer(_, crate::commands::Answer::Preview(preview))] = out.effects.as_slice() else {
        panic!("{:?}", out.effects)
    };
    assert_eq!(preview.announcements.withdrawn.len(), 1);
    assert_eq!(out.records, []);
    assert_eq!(node.engine.config(), before.engine.config(), "what runs stays");
}
