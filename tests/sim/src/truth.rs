//! The world's own knowledge of a node: its configuration, the operators' orders, its stop; and the expected state of
//! each VIP from that and from the host.
//!
//! It states the engine's decisions a second time, more coarsely and from the actual world instead of the node's
//! inputs. If the node is free to choose, it says [`Expect::Any`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vipcast_bgp::Instant;
use vipcast_node::commands::{Command, Services};
use vipcast_node::engine::Force;
use vipcast_node::input::Input;
use vipcast_node::model::{Condition, Config, OnDown, Role, Service};
use vipcast_node::names::CheckName;
use vipcast_node::vip::Vip;

use crate::disk::{Disk, NEVER};
use crate::host::Host;
use crate::kernel::LONG_AGO;
use crate::net::NODE;
use crate::orders::{Forces, Orders};
use crate::rib::Route;
use crate::rules::{NEWS, SLACK};
use crate::shape::{DRAIN_TIME, Shape};
use crate::world::World;

/// An address that was taken away once may be announced or not for so long.
const ONCE: Duration = Duration::from_millis(500);
/// How much longer the path of a standby is.
const STANDBY: usize = 1;

/// What routers should have of a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Either is right.
    Any,
    /// Nothing.
    Absent,
    /// This.
    Present(Route),
}

/// Since when something is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub what: Expect,
    /// Whether a drain holds. When another cause takes its place in one instant, the node may have learned of the two one
    /// after the other, and what it said in between is on its way.
    drained: bool,
    /// Since when both are so.
    pub since: Instant,
}

/// A VIP that is being withdrawn by an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leaving {
    until: Instant,
    /// What was expected when it began, or since something took it away.
    was: Expect,
}

/// What an operator has ordered, of a service or of everything.
#[derive(Debug)]
enum Order {
    Drain(Option<String>, Option<Instant>),
    Undrain(Option<String>),
    Force(Option<String>, Force, Option<Instant>),
    Clear(Option<String>),
}

impl Order {
    fn apply(&self, orders: &mut Orders, forces: &mut Forces) {
        match self {
            Self::Drain(service, ends) => orders.drain(service.as_deref(), *ends),
            Self::Undrain(service) => orders.undrain(service.as_deref()),
            Self::Force(service, to, ends) => forces.force(service.as_deref(), *to, *ends),
            Self::Clear(service) => forces.clear(service.as_deref()),
        }
    }
}

/// What is known of a node.
#[derive(Debug, Default)]
pub struct Truth {
    /// The configuration in force.
    pub shape: Option<Shape>,
    /// The same.
    pub config: Option<Arc<Config>>,
    /// The one before, and until when it was in force.
    pub replaced: Option<(Arc<Config>, Instant)>,
    /// What operators have ordered.
    pub orders: Orders,
    /// What operators have forced.
    pub forces: Forces,
    /// When it was told to stop.
    pub stopping: Option<Instant>,
    /// It had no session then, or one so young that it may not have known of it.
    pub stopped_alone: bool,
    /// It was told so twice.
    pub hurried: bool,
    /// The wall clock was set.
    pub wall_was_set: bool,
    /// When its process began.
    pub started: Option<Instant>,
    /// When a reload last made another session of that with each router.
    pub resets: BTreeMap<usize, Instant>,
    /// What routers should have.
    pub expects: BTreeMap<IpNet, Expected>,
    /// When the rules look again.
    pub look_at: Option<Instant>,
    kernel_failed: Option<Instant>,
    /// The state directory has not been read.
    unread: bool,
    /// What operators have ordered meanwhile.
    meanwhile: Vec<Order>,
    /// The end of a drain depends on the wall clock.
    by_wall: bool,
    leaving: BTreeMap<IpNet, Leaving>,
    /// Checks that a reload has brought or changed.
    fresh: BTreeSet<CheckName>,
}

impl Truth {
    /// A process begins.
    pub fn starts(&mut self, shape: Shape, config: Arc<Config>, disk: &Disk, now: Instant) {
        let mut orders = if disk.unread { Orders::default() } else { disk.file.orders.clone() };
        let mut forces = if disk.unread { Forces::default() } else { disk.file.forces.clone() };
        orders.expire(now);
        forces.expire(now);
        *self = Self {
            shape: Some(shape),
            config: Some(config),
            by_wall: self.by_wall || disk.by_wall,
            orders,
            forces,
            unread: disk.unread,
            started: Some(now),
            wall_was_set: self.wall_was_set,
            kernel_failed: self.kernel_failed,
            expects: std::mem::take(&mut self.expects),
            look_at: self.look_at,
            resets: std::mem::take(&mut self.resets),
            ..Self::default()
        };
    }

    /// The process has ended.
    pub fn ends(&mut self, _now: Instant) {
        self.started = None;
        self.stopping = None;
        self.hurried = false;
        self.leaving.clear();
    }

    /// The kernel begins to fail, or stops to.
    pub fn kernel_fails(&mut self, now: Instant) {
        self.kernel_failed = Some(now);
    }

    /// Whether the kernel has failed since then.
    pub fn kernel_has_failed_since(&self, since: Instant) -> bool {
        self.kernel_failed.is_some_and(|at| at >= since)
    }

    /// VIPs of these services are announced a little longer, if they are.
    fn leave(&mut self, of: impl Fn(&str) -> bool, now: Instant) {
        let Some(config) = &self.config else { return };
        for (name, service) in config.services.iter().filter(|(name, _)| of(name.as_str())) {
            for vip in service.vips.iter().map(Vip::prefix) {
                // Of what has just changed the node may not have heard.
                let news =
                    |expected: &Expected| expected.since + NEWS > now && expected.what != Expect::Absent;
                let was = match self.expects.get(&vip) {
                    None => Expect::Absent,
                    Some(expected) if news(expected) => Expect::Any,
                    Some(expected) => expected.what,
                };
                if was != Expect::Absent && !self.orders.hold(name.as_str(), now) {
                    self.leaving.entry(vip).or_insert(Leaving { until: now + DRAIN_TIME, was });
                }
            }
        }
    }

    fn obey(&mut self, order: Order) {
        order.apply(&mut self.orders, &mut self.forces);
        if self.unread {
            self.meanwhile.push(order);
        }
    }

    /// Whether a command about a service is heeded.
    fn knows(&self, service: Option<&str>, now: Instant) -> bool {
        let configured =
            |service: &str| self.config.as_ref().is_some_and(|config| config.services.contains_key(service));
        let waits = |service: &str| self.orders.knows(service, now) || self.forces.knows(service, now);
        service.is_none_or(|service| configured(service) || waits(service))
    }

    fn reload(&mut self, shape: Shape, config: Arc<Config>, routers: usize, now: Instant) {
        if let (Some(before), Some(old)) = (&self.shape, &self.config) {
            let resets = (0..routers).filter(|router| before.resets(&shape, *router));
            self.resets.extend(resets.map(|router| (router, now)));
            let fresh = config.checks.iter().filter(|(name, check)| old.checks.get(*name) != Some(check));
            self.fresh.extend(fresh.map(|(name, _)| name.clone()));
            self.fresh.retain(|name| config.checks.contains_key(name));
        }
        self.replaced = self.config.replace(config).map(|old| (old, now));
        self.shape = Some(shape);
    }
}

impl World {
    /// Takes note of what a node is told.
    pub fn note_told(&mut self, number: usize, input: &Input) {
        self.refresh(number);
        let (now, routers) = (self.now, self.routers.len());
        let knows_a_session = (0..routers).any(|router| {
            let began = self.pairs[self.pair_index(number, router)].since[NODE];
            began.is_some_and(|began| began + SLACK <= now)
        });
        let host = &mut self.hosts[number];
        let truth = &mut host.truth;
        match input {
            Input::Command { command: Command::Drain { services, lasts, .. }, .. } => {
                let service = name(services);
                if truth.knows(service, now) {
                    let order = Order::Drain(service.map(str::to_owned), lasts.map(|lasts| now + lasts));
                    truth.leave(|name| service.is_none_or(|service| service == name), now);
                    truth.obey(order);
                }
            }
            Input::Command { command: Command::Undrain { services, .. }, .. } => {
                let service = name(services);
                if truth.knows(service, now) {
                    truth.obey(Order::Undrain(service.map(str::to_owned)));
                }
            }
            Input::Command { command: Command::Force { to, services, lasts, .. }, .. } => {
                let service = name(services);
                if truth.knows(service, now) {
                    let ends = lasts.map(|lasts| now + lasts);
                    truth.obey(Order::Force(service.map(str::to_owned), *to, ends));
                }
            }
            Input::Command { command: Command::Clear { services, .. }, .. } => {
                let service = name(services);
                if truth.knows(service, now) {
                    truth.obey(Order::Clear(service.map(str::to_owned)));
                }
            }
            Input::Stop if truth.stopping.is_some() => truth.hurried = true,
            Input::Stop => {
                truth.leave(|_| true, now);
                truth.stopping = Some(now);
                truth.stopped_alone = !knows_a_session;
            }
            Input::Read(Ok(read)) if truth.stopping.is_none() => {
                if let Some(shape) = host.reading.clone() {
                    truth.reload(shape, Arc::clone(&read.config), routers, now);
                }
                let reset: Vec<usize> =
                    (truth.resets.iter()).filter(|(_, at)| **at == now).map(|(router, _)| *router).collect();
                for router in reset {
                    let pair = self.pair_index(number, router);
                    self.disturb(pair);
                }
            }
            Input::Late(_) => {
                let (mut late, mut forces) = (host.disk.file.orders.clone(), host.disk.file.forces.clone());
                truth.meanwhile.iter().for_each(|order| order.apply(&mut late, &mut forces));
                late.expire(now);
                forces.expire(now);
                truth.unread = false;
                truth.by_wall |= host.disk.by_wall;
                truth.leave(|name| late.hold(name, now), now);
                (truth.orders, truth.forces) = (late, forces);
            }
            Input::Fact(_) | Input::Peer { .. } | Input::Tick => return,
            Input::Read(_)
            | Input::PeerEnded(_)
            | Input::Bfd(_)
            | Input::Heard { .. }
            | Input::Identified(_)
            | Input::Key { .. }
            | Input::Command { .. }
            | Input::GivenUp(_)
            | Input::Rehearsed(_)
            | Input::NoteLeft(_)
            | Input::Saved(..)
            | Input::Noticed(_)
            | Input::Cordon(..)
            | Input::HangUp
            | Input::Upgrade
            | Input::NotHandedOver(_)
            | Input::HandedOver { .. }
            | Input::HandOverFailed(_) => {}
        }
        self.dirty[number] = true;
    }

    /// Works out anew what is expected of a node, and when that may change by itself.
    pub fn refresh(&mut self, number: usize) -> Option<Instant> {
        let now = self.now;
        let host = &mut self.hosts[number];
        host.truth.orders.expire(now);
        host.truth.forces.expire(now);
        let mut again = None;
        let mut vips: BTreeMap<IpNet, bool> = host.truth.expects.keys().map(|vip| (*vip, false)).collect();
        if let Some(config) = &host.truth.config {
            for (name, service) in &config.services {
                let drained = host.truth.orders.hold(name.as_str(), now);
                vips.extend(service.vips.iter().map(|vip| (vip.prefix(), drained)));
            }
        }
        for (vip, drained) in vips {
            let what = expect(host, &vip, now, &mut again);
            let expected = host.truth.expects.entry(vip).or_insert(Expected { what, drained, since: now });
            if (expected.what, expected.drained) != (what, drained) {
                *expected = Expected { what, drained, since: now };
            }
        }
        again
    }
}

fn name(services: &Services) -> Option<&str> {
    match services {
        Services::All => None,
        Services::Service(name) => Some(name),
    }
}

/// Notes when something is to be looked at again.
fn sooner(again: &mut Option<Instant>, at: Instant, now: Instant) {
    if at > now && at != NEVER {
        *again = Some(again.map_or(at, |again| again.min(at)));
    }
}

/// What routers should have of a VIP.
fn expect(host: &mut Host, vip: &IpNet, now: Instant, again: &mut Option<Instant>) -> Expect {
    let plain = plain(host, vip, now, again);
    let Some((name, _)) = host.truth.config.as_ref().and_then(|config| service_of(config, vip)) else {
        host.truth.leaving.remove(vip);
        return plain;
    };
    let truth = &mut host.truth;
    let drained = truth.orders.hold(&name, now);
    if let Some(ends) = truth.orders.ends(&name) {
        sooner(again, ends, now);
    }
    if host.node.is_none() {
        return Expect::Absent;
    }
    let by_wall = truth.by_wall && truth.wall_was_set;
    if by_wall && truth.forces.any_ends() {
        return Expect::Any;
    }
    if truth.unread || by_wall {
        return if plain == Expect::Absent { plain } else { Expect::Any };
    }
    if !drained && truth.stopping.is_none() {
        truth.leaving.remove(vip);
        return plain;
    }
    let Some(leaving) = truth.leaving.get_mut(vip).filter(|_| !truth.hurried) else {
        return Expect::Absent;
    };
    // A stop goes on with what it found announced, also when a drain of it ends meanwhile.
    let until = match truth.stopping {
        Some(stopping) if !drained => stopping + DRAIN_TIME,
        Some(stopping) => leaving.until.min(stopping + DRAIN_TIME),
        None => leaving.until,
    };
    sooner(again, until, now);
    if until <= now {
        leaving.was = Expect::Absent;
    }
    leaving.was = match (leaving.was, plain) {
        // What was taken away does not come back.
        (Expect::Absent, _) | (_, Expect::Absent) => Expect::Absent,
        (was, plain) if was == plain => was,
        (_, _) => Expect::Any,
    };
    match leaving.was {
        Expect::Present(route) => Expect::Present(Route { graceful: true, ..route }),
        was @ (Expect::Absent | Expect::Any) => was,
    }
}

/// The same, were there no drains.
fn plain(host: &Host, vip: &IpNet, now: Instant, again: &mut Option<Instant>) -> Expect {
    let (Some(_), Some(config)) = (&host.node, &host.truth.config) else { return Expect::Absent };
    let Some((name, service)) = service_of(config, vip) else { return Expect::Absent };
    let force = host.truth.forces.of(&name, now);
    if let Some((_, ends)) = force {
        sooner(again, ends, now);
    }
    let up = match force {
        Some((Force::Down, _)) => return Expect::Absent,
        Some((Force::Up, _)) => true,
        None => false,
    };
    let fresh = !up
        && service.checks.checks(None).into_iter().any(|check| {
            let settled = host.checks.get(check).is_some_and(|running| running.seen.verdict.is_some());
            host.truth.fresh.contains(check) && !settled
        });
    let health = if up { Some(true) } else { health(&service.checks, host) };
    let is_down = health != Some(true) && (service.on_down == OnDown::Withdraw || health.is_none());
    if is_down && !fresh {
        return Expect::Absent;
    }
    let is_carried = service.carrier(&Vip::from(*vip)).is_some();
    if is_carried && !host.kernel.is_usable((*vip).into()) {
        return Expect::Absent;
    }
    if is_carried && let Some((taken, times)) = host.kernel.taken.get(vip) {
        // Once is an accident. Of what is taken again the node looks whether it stays, and whether it does so at all where
        // the kernel fails meanwhile is hard to tell.
        let accident = *times == 1 && !host.truth.kernel_has_failed_since(*taken - LONG_AGO);
        let until = *taken + if accident { ONCE } else { LONG_AGO };
        if until > now {
            sooner(again, until, now);
            return Expect::Any;
        }
    }
    if fresh {
        return Expect::Any;
    }
    let prepends = match (health, service.role) {
        (Some(false), _) => usize::from(service.demoted.as_path_prepend),
        (_, Role::Standby) => STANDBY,
        (_, Role::Active(_)) => usize::from(service.announce.as_path_prepend),
    };
    Expect::Present(Route { prepends, med: service.announce.med, graceful: false })
}

/// The service that has a VIP, and its name.
pub fn service_of<'a>(config: &'a Config, vip: &IpNet) -> Option<(String, &'a Service)> {
    let found = config.services.iter().find(|(_, service)| service.vips.contains(vip));
    found.map(|(name, service)| (name.to_string(), service))
}

/// Whether a condition holds; `None`: that is not settled.
fn health(condition: &Condition, host: &Host) -> Option<bool> {
    match condition {
        Condition::Check(check) => host.checks.get(check).and_then(|running| running.seen.verdict),
        Condition::EachVip(_) => None,
        Condition::All(of) => at_least(of.len(), of, host),
        Condition::Any(of) => at_least(1, of, host),
        Condition::AtLeast(needed, of) => at_least(*needed, of, host),
    }
}

fn at_least(needed: usize, of: &[Condition], host: &Host) -> Option<bool> {
    let count = |verdict: Option<bool>| of.iter().filter(|part| health(part, host) == verdict).count();
    let (passing, unknown) = (count(Some(true)), count(None));
    if passing >= needed {
        Some(true)
    } else if passing + unknown < needed {
        Some(false)
    } else {
        None
    }
}

/// The VIPs that should be on a host, healthy or not.
pub fn always_bound(config: &Config) -> BTreeSet<IpNet> {
    let always = config.services.values().filter(|service| service.bind.is_lasting());
    let carried = always.flat_map(|service| service.vips.iter().filter(|vip| service.carrier(vip).is_some()));
    carried.map(Vip::prefix).collect()
}

/// Whether a VIP may be announced only while it is bound.
pub fn is_carried(config: &Config, vip: &IpNet) -> bool {
    service_of(config, vip).is_none_or(|(_, service)| service.carrier(&Vip::from(*vip)).is_some())
}
