//! The engine against tables, stories and a model of everything around it.
//!
//! [`world`] is that model; [`properties`] drives it at random. The stories compare effects as lines of text.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the effects and records of a node the engine has a part"
)]

mod addresses;
mod causes;
mod cordons;
mod decide;
mod drains;
mod forces;
mod handover;
mod lifecycle;
mod peer_drains;
mod plan;
mod properties;
mod reach;
mod recovery;
mod reloads;
mod restart;
mod routes;
mod shutdown;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::vip::Vip;
use jiff::Timestamp;
use vipcast_bgp::Instant;
use vipcast_bgp::wire::{Asn, Community, Family, iana};
use vipcast_bgp::{RestartTime, RouteAttributes, Routes};

use super::*;
use crate::health::report::{CheckReport, HealthState, Outcome};
use crate::media::bgp::ServiceRoutes;
use crate::model::{
    self, Announce, BindPolicy, Carrier, Check, Condition, GracefulRestart, NextHops, OnDegraded, OnDown,
    Peer, Preempt, Question, Rank, Role, Service,
};
use crate::names::PeerName;
use crate::now::Now;
use crate::record::What;

const UP: HealthState = HealthState::Up;
const DOWN: HealthState = HealthState::Down;
const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A prefix, or an address as a host prefix.
fn net(text: &str) -> Vip {
    text.parse().unwrap()
}

/// The interfaces of every host here; the index of each is its place, from 1 on.
const INTERFACES: [&str; 3] = ["lo", "eth0", "eth1"];

fn index(interface: &str) -> u32 {
    let place = INTERFACES.iter().position(|name| *name == interface).unwrap();
    u32::try_from(place).unwrap() + 1
}

fn link(name: &str) -> Link {
    Link { name: name.into(), altnames: BTreeSet::new(), up: true }
}

fn links() -> Links {
    INTERFACES.iter().map(|name| (index(name), link(name))).collect()
}

fn on(interface: &str, address: &str) -> Binding {
    Binding::host(ip(address), index(interface))
}

/// Everything that is there, on a host with those interfaces.
fn listed(bindings: BTreeMap<Binding, BindingFact>) -> Event {
    Event::Listed(Listing { links: links(), bindings })
}

fn list<const N: usize>(addresses: [(Binding, Owner); N]) -> Event {
    listed(addresses.map(|(address, owner)| (address, owner.into())).into())
}

/// The kernel's notification that an address is there.
fn added(address: Binding, owner: Owner) -> Event {
    Event::Added(address, owner.into())
}

/// The kernel has done what it was asked for.
fn done(address: Binding) -> Event {
    Event::Answered(address, Ok(()))
}

fn refused(address: Binding, why: &str) -> Event {
    Event::Answered(address, Err(why.into()))
}

fn one(check: &str) -> Condition {
    Condition::Check(check.into())
}

/// A service on `lo` that withdraws when one of `checks` is down.
fn service<const V: usize, const C: usize>(vips: [&str; V], checks: [&str; C]) -> Service {
    Service::new(vips.map(net), Condition::All(checks.map(one).into()))
}

fn definition(port: u16) -> Arc<Check> {
    Arc::new(Check {
        interval: SECOND,
        fast_interval: ms(100),
        timeout: ms(500),
        rise: NonZeroU32::MIN,
        fall: NonZeroU32::MIN,
        ..Check::new(Question::new(port))
    })
}

fn peer(last: u8) -> Peer {
    Peer::new(Ipv4Addr::new(10, 0, 1, last).into(), Asn(65001), Asn(65000))
}

/// Two routers, the checks that the services name, 3 s to drain and 1 s to unbind.
fn config<const N: usize>(services: [(&str, Service); N]) -> Config {
    let services = services.into_iter().map(|(name, service)| (name.into(), service));
    let mut config = Config::new([("tor-a".into(), peer(1)), ("tor-b".into(), peer(3))], services);
    config.router_id = Some(Ipv4Addr::new(10, 0, 1, 2));
    config.checks = users(&config).into_keys().map(|check| (check, definition(80))).collect();
    config
}

/// Two services, each with one VIP and one check.
fn two() -> Config {
    config([("dns", service(["192.0.2.2"], ["answers"])), ("web", service(["192.0.2.1"], ["alive"]))])
}

fn outcome(state: HealthState) -> Outcome {
    let passed = state.verdict() == Some(true);
    Outcome { passed, detail: if passed { "200 OK" } else { "refused" }.into(), took: ms(1) }
}

fn report(config: &Config, check: &str, state: HealthState, now: Instant) -> Event {
    let definition = Arc::clone(&config.checks[check]);
    Event::Check(CheckReport {
        check: check.into(),
        definition,
        state,
        since: now,
        degraded: None,
        held_until: None,
        outcome: outcome(state),
        at: now,
    })
}

/// A report of a check that is up, and degraded or not.
fn degraded(config: &Config, check: &str, limit: Option<&str>, now: Instant) -> Event {
    let Event::Check(report) = report(config, check, HealthState::Up, now) else { unreachable!("it is one") };
    Event::Check(CheckReport { degraded: limit.map(str::to_owned), ..report })
}

fn order() -> Order {
    Order { by: "alice".into(), reason: None }
}

/// A drain since noon of 1970-01-01 by the wall clock.
fn a_drain(ends: Option<Instant>) -> Override {
    let since = jiff::Timestamp::UNIX_EPOCH;
    Override { order: order(), since, ends: ends.map(|at| Ends { wall: since, at, at_most: None }) }
}

fn scope(what: &str) -> Scope {
    if what == "everything" { Scope::Everything } else { Scope::Service(what.into()) }
}

/// An operator drains a service, or `everything`.
fn drain(what: &str, ends: Option<Instant>) -> Event {
    Event::Drain { scope: scope(what), drain: a_drain(ends), replace: false }
}

/// An operator forces a service, or `everything`.
fn force(what: &str, to: Force, ends: Option<Instant>) -> Event {
    Event::Force { scope: scope(what), to, with: a_drain(ends) }
}

fn undrain(what: &str) -> Event {
    Event::Undrain(scope(what), order())
}

fn drains_of(service: &str) -> Scoped {
    Scoped { everything: None, services: [(service.into(), Arc::new(a_drain(None)))].into() }
}

/// The state of a predecessor with these drains.
fn left_with(drains: Scoped) -> Left {
    Left { overrides: Overrides { drains, ..Overrides::default() }, ..Left::default() }
}

fn left_drained(service: &str) -> Left {
    left_with(drains_of(service))
}

fn is_graceful(attributes: &RouteAttributes) -> bool {
    attributes.communities.contains(&Community(iana::community::GRACEFUL_SHUTDOWN))
}

/// An effect as a line.
fn show(told: &Told) -> String {
    let at = |binding: &Binding| {
        let what = match binding.kind {
            Kind::Address { .. } => binding.ip.to_string(),
            Kind::Route { .. } => format!("route {}", binding.vip().short()),
        };
        let name = INTERFACES.iter().find(|name| index(name) == binding.index);
        name.map_or_else(|| format!("{what} on #{}", binding.index), |name| format!("{what} on {name}"))
    };
    let place = |place: &Place| {
        let what = match place.route {
            Some(vip) => format!("route {}", vip.short()),
            None => place.ip.to_string(),
        };
        format!("{what} on {}", place.interface)
    };
    match told {
        Told::Effect(Effect::Configure { restarted: None, .. }) => "configure".into(),
        Told::Effect(Effect::Configure { restarted: Some(preserved), .. }) => {
            format!("configure, restarted with {}", show_families(preserved))
        }
        Told::Effect(Effect::Bind(address)) => format!("bind {}", at(address)),
        Told::Effect(Effect::Unbind(address)) => format!("unbind {}", at(address)),
        Told::Effect(Effect::Advertise(Advertised { version, routes, extent })) => {
            let extent = if *extent == Extent::Partial { " and more" } else { "" };
            format!("advertise {}: {}{extent}", version.0, show_routes(routes))
        }
        Told::Effect(Effect::SaveOverrides(overrides)) => {
            format!("save {}", show_overrides(overrides))
        }
        Told::Effect(Effect::SaveHeldBack(held_back)) => {
            let held: Vec<String> = held_back.held.iter().map(|vip| vip.ip().to_string()).collect();
            format!("save held back: {}", if held.is_empty() { "nothing".into() } else { held.join(", ") })
        }
        Told::Effect(Effect::StopPeers) => "stop peers".into(),
        Told::Effect(Effect::LetMachineStop) => "let the machine stop".into(),
        Told::Effect(Effect::Export(exports)) => {
            let shown = exports.iter().map(|(peer, export)| format!("{peer} {export:?}"));
            format!("export: {}", shown.collect::<Vec<_>>().join(", "))
        }
        Told::Effect(Effect::Exit(_)) => "exit".into(),
        Told::Effect(of_the_node) => unreachable!("the engine wants {of_the_node:?}"),
        Told::Record(What::Vip { vip, from, to, cause, .. }) => {
            let word = |verdict: &Option<Verdict>| match verdict {
                None => "-".into(),
                Some(verdict) => match verdict.reason() {
                    None => verdict.word().to_owned(),
                    Some(reason) => format!("{} ({})", verdict.word(), reason.name()),
                },
            };
            // Of drains it is always the same; see `tests::causes`.
            let cause = cause.as_ref().filter(|cause| !cause.contains("by alice"));
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("# {}: {} -> {}{cause}", vip.ip(), word(from), word(to))
        }
        Told::Record(What::Reached { vip, routers, .. }) => {
            format!("# {} at {routers} routers", vip.ip())
        }
        Told::Record(What::Unreached { vips, why }) => format!("# {vips:?} at no router ({why})"),
        Told::Record(What::Check { check, state, .. }) => format!("# check {check} {state:?}"),
        Told::Record(What::Degraded { check, limit: Some(limit) }) => {
            format!("# {check} degraded: {limit}")
        }
        Told::Record(What::Degraded { check, limit: None }) => format!("# {check} no longer degraded"),
        Told::Record(What::Promoted(service, _)) => format!("# {service} promoted"),
        Told::Record(What::AddressLost(lost)) => format!("# lost {}", place(lost)),
        Told::Record(What::AddressStays { place: stays, losses }) => {
            format!("# {} stays after {losses} losses", place(stays))
        }
        Told::Record(What::AddressAdopted(adopted)) => format!("# adopted {}", place(adopted)),
        Told::Record(What::AddressFailed(failed, error)) => {
            format!("# failed {}: {error}", place(failed))
        }
        Told::Record(What::NoInterface(name)) => format!("# no interface {name}"),
        Told::Record(What::AddressesLeft(left)) => format!("# {} left", left.len()),
        Told::Record(What::Drained(what, _)) => format!("# {what} drained"),
        Told::Record(What::Undrained(what, _)) => format!("# {what} undrained"),
        Told::Record(What::MachineMayStop) => "# the machine may stop".to_owned(),
        Told::Record(What::DrainWaits { service, waits }) => {
            format!("# the drain of {service} {}", if *waits { "waits" } else { "holds again" })
        }
        Told::Record(What::PeerDrained(peer, _)) => format!("# peer {peer} drained"),
        Told::Record(What::PeerUndrained(peer, _)) => format!("# peer {peer} undrained"),
        Told::Record(What::PeerDrainWaits { peer, waits }) => {
            format!("# the drain of peer {peer} {}", if *waits { "waits" } else { "holds again" })
        }
        Told::Record(What::Forced { scope, to, .. }) => format!("# {scope} forced {}", to.word()),
        Told::Record(What::Cleared(what, _)) => format!("# {what} no longer forced"),
        Told::Record(What::ForceWaits { service, waits, .. }) => {
            format!("# the force of {service} {}", if *waits { "waits" } else { "holds again" })
        }
        Told::Record(What::Restarting { preserved }) => {
            format!("# restarting with {}", show_families(preserved))
        }
        Told::Record(What::Restarted { undecided }) => {
            format!("# restarted, {} undecided", undecided.len())
        }
        Told::Record(What::Shutdown(phase)) => {
            format!("# {}", phase.word())
        }
        Told::Record(of_the_node) => unreachable!("the engine tells {of_the_node:?}"),
    }
}

/// `drains: web; up: dns`; of no override of any kind: `drains: nothing`.
fn show_overrides(overrides: &Overrides) -> String {
    let Overrides { drains, forces: Forces { up, down }, peers, promotions } = overrides;
    let names = |scoped: &Scoped| {
        let everything = scoped.everything.iter().map(|_| "everything".to_owned());
        everything.chain(scoped.services.keys().map(ToString::to_string)).collect::<Vec<_>>().join(", ")
    };
    let of_peers = peers.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let promoted = promotions.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let kinds = [
        ("drains", names(drains)),
        ("up", names(up)),
        ("down", names(down)),
        ("peers", of_peers),
        ("promoted", promoted),
    ];
    let shown = kinds.iter().filter(|(_, names)| !names.is_empty());
    let shown: Vec<_> = shown.map(|(kind, names)| format!("{kind}: {names}")).collect();
    if shown.is_empty() { "drains: nothing".to_owned() } else { shown.join("; ") }
}

fn show_families(families: &BTreeSet<Family>) -> String {
    let words: Vec<String> = families.iter().map(ToString::to_string).collect();
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
}

fn show_routes(routes: &Routes) -> String {
    let route = |(prefix, attributes): (&IpNet, &Arc<RouteAttributes>)| {
        let prepended = "+".repeat(attributes.as_path_prepend.into());
        let med = attributes.med.map(|med| format!(" med {med}")).unwrap_or_default();
        let graceful = if is_graceful(attributes) { " graceful" } else { "" };
        format!("{}{prepended}{med}{graceful}", prefix.addr())
    };
    if routes.is_empty() { "nothing".into() } else { routes.iter().map(route).collect::<Vec<_>>().join(", ") }
}

fn is_of_reach(told: &Told) -> bool {
    matches!(told, Told::Record(What::Reached { .. } | What::Unreached { .. }))
}

/// The output of an engine, effects first.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Effect(Effect),
    Record(What),
}

fn now(mono: Instant) -> Now {
    Now { mono, wall: Timestamp::UNIX_EPOCH }
}

/// The output of the engine after this call.
fn follows(engine: &mut Engine, now: Instant, action: impl FnOnce(&mut Engine, &mut Outbox)) -> Vec<Told> {
    let mut out = Outbox::new(self::now(now), 1);
    action(engine, &mut out);
    let effects = out.effects.into_iter().map(Told::Effect);
    effects.chain(out.records.into_iter().map(|record| Told::Record(record.what))).collect()
}

fn start(engine: &mut Engine, now: Instant) -> Vec<Told> {
    follows(engine, now, |engine, out| engine.start(now, out))
}

fn handle(engine: &mut Engine, event: Event, now: Instant) -> Vec<Told> {
    handle_all(engine, [event], now)
}

fn handle_all(engine: &mut Engine, events: impl IntoIterator<Item = Event>, now: Instant) -> Vec<Told> {
    let events: Vec<Event> = events.into_iter().collect();
    handover::i13_nobody_notices(engine, &events, now);
    follows(engine, now, |engine, out| engine.handle_all(events, now, out))
}

/// The same, without the hand-over of a copy.
fn handled(engine: &mut Engine, event: Event, now: Instant) -> Vec<Told> {
    follows(engine, now, |engine, out| engine.handle(event, now, out))
}

/// An engine and a clock, for stories: the test plays everyone else.
struct Story {
    engine: Engine,
    epoch: Instant,
    now: Instant,
}

impl Story {
    /// Nothing has happened yet.
    fn begin(config: Config) -> Self {
        Self::begin_with(config, Left::default())
    }

    fn begin_with(config: Config, left: Left) -> Self {
        let now = Instant::BOOT;
        Self { engine: Engine::new(Arc::new(config), left), epoch: now, now }
    }

    /// Every VIP is bound, both routers have everything, every check is up; the version is 1.
    fn announced(config: Config) -> Self {
        let mut story = Self::begin(config);
        let (addresses, checks): (Vec<Binding>, Vec<CheckName>) = {
            let config = story.engine.config();
            let host = |service: &Service| {
                let index = index(&service.interface);
                let vips = service.vips.iter();
                vips.filter_map(|vip| Some(Binding::ours(*vip, service.carrier(vip)?, index)))
                    .collect::<Vec<_>>()
            };
            (config.services.values().flat_map(host).collect(), config.checks.keys().cloned().collect())
        };
        start(&mut story.engine, story.now);
        for peer in ["tor-a", "tor-b"] {
            story.tell(Event::PeerUp(peer.into()));
        }
        story.tell(list([]));
        let config = Arc::clone(story.engine.config());
        let added = addresses.into_iter().flat_map(|address| [added(address, Owner::Us), done(address)]);
        let reports = checks.iter().map(|check| report(&config, check.as_str(), UP, story.now));
        let effects = handle_all(&mut story.engine, added.chain(reports), story.now);
        assert!(
            effects.iter().any(|effect| matches!(
                effect,
                Told::Effect(Effect::Advertise(Advertised { version: Version(1), .. }))
            )),
            "{effects:?}"
        );
        story.synced(1);
        story
    }

    /// The output after an event, without records of reach; see `tests::reach`.
    fn tell(&mut self, event: Event) -> Vec<String> {
        let effects = handle(&mut self.engine, event, self.now);
        effects.iter().filter(|effect| !is_of_reach(effect)).map(show).collect()
    }

    /// The kernel puts an address on the host, and says so, and answers.
    fn bound(&mut self, address: Binding) -> Vec<String> {
        let effects = handle_all(&mut self.engine, [added(address, Owner::Us), done(address)], self.now);
        effects.iter().filter(|effect| !is_of_reach(effect)).map(show).collect()
    }

    /// The kernel takes it off, and says so, and answers.
    fn unbound(&mut self, address: Binding) -> Vec<String> {
        let effects = handle_all(&mut self.engine, [Event::Removed(address), done(address)], self.now);
        effects.iter().filter(|effect| !is_of_reach(effect)).map(show).collect()
    }

    fn check(&mut self, check: &str, state: HealthState) -> Vec<String> {
        let report = report(&Arc::clone(self.engine.config()), check, state, self.now);
        self.tell(report)
    }

    /// Both routers have everything of `version`.
    fn synced(&mut self, version: u64) -> Vec<String> {
        let mut effects = self.tell(Event::PeerSynced("tor-a".into(), Version(version)));
        effects.extend(self.tell(Event::PeerSynced("tor-b".into(), Version(version))));
        effects
    }

    /// The output by time alone, each line with the milliseconds since the beginning.
    fn wait(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        let mut lines = Vec::new();
        while let Some(at) = self.engine.deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let at = (self.now - self.epoch).as_millis();
            lines.extend(self.tell(Event::Tick).into_iter().map(|line| format!("{at} {line}")));
            assert!(
                self.engine.deadline().is_none_or(|at| at > self.now),
                "the same deadline again after a tick"
            );
        }
        self.now = end;
        lines
    }

    fn reload(&mut self, config: Config) -> Vec<String> {
        self.tell(Event::Reload(Arc::new(config)))
    }
}
