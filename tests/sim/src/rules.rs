//! The invariants that the world can check. They are checked after every step, for every node that the step touched.
//!
//! | | the check |
//! | --- | --- |
//! | I1, I4, I10, I12 | each router's routes against the [expected ones](crate::truth), a moment after those have changed |
//! | I2, I3 | each request to the kernel and each set of routes, when it is made |
//! | I7 | each UPDATE changes a route; each end of a session has a reason |
//! | I9 | the remains after the end of a process |

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use vipcast_bgp::fsm::DownReason;
use vipcast_bgp::wire::iana::notification::{CEASE, cease};
use vipcast_bgp::{Instant, Routes};
use vipcast_node::effect::Ending;
use vipcast_node::engine::{Binding, Owner};
use vipcast_node::vip::Vip;

use crate::net::{NODE, ROUTER};
use crate::shape::{DRAIN_TIME, LONGEST_HOLD, RESTART_TIME, UNBIND_DELAY, Word};
use crate::truth::{Expect, Expected, always_bound, is_carried, service_of};
use crate::world::{Due, World};

/// How long it takes at most until what has changed on a host is so at a router, where nothing is in the way.
pub const SLACK: Duration = Duration::from_millis(400);
/// How late the kernel's word may be.
pub const NEWS: Duration = Duration::from_millis(150);
/// How long a disturbance may be felt: a hold time, a restart time, and the longest pause between two attempts.
const FELT: Duration = LONGEST_HOLD.saturating_add(RESTART_TIME).saturating_add(Duration::from_secs(35));
/// How long a stop may take, with the patience for routers and for the kernel.
const STOP: Duration = Duration::from_secs(60);

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: &'static str,
    pub what: String,
    pub at: Instant,
}

impl Violation {
    /// One of now.
    pub fn new(rule: &'static str, what: String) -> Self {
        Self { rule, what, at: Instant::BOOT }
    }
}

impl World {
    /// A rule was broken; the first one counts.
    pub fn violated(&mut self, violation: Violation) {
        if self.violation.is_none() {
            self.violation = Some(Violation { at: self.now, ..violation });
        }
    }

    /// Asks the rules about every node that something has happened to.
    pub fn look_at_the_dirty(&mut self) {
        for node in 0..self.dirty.len() {
            if std::mem::take(&mut self.dirty[node]) {
                self.look_at(node);
            }
        }
    }

    fn look_at(&mut self, node: usize) {
        let mut again = self.refresh(node);
        let mut sooner = |at: Instant| again = Some(again.map_or(at, |again: Instant| again.min(at)));
        let expects: Vec<(IpNet, Expected)> =
            self.hosts[node].truth.expects.iter().map(|(vip, expected)| (*vip, *expected)).collect();
        let mut broken = None;
        for router in 0..self.routers.len() {
            for (vip, expected) in &expects {
                match self.late(router, node, vip, expected) {
                    Some((at, _)) if at > self.now => sooner(at),
                    Some((_, violation)) => broken = broken.or(Some(violation)),
                    None => {}
                }
            }
        }
        if let Some(since) = self.hosts[node].truth.stopping {
            let end = since + STOP + self.kept() * 2;
            sooner(end.max(self.now));
            if end <= self.now {
                let what = format!("{} does not stop", self.hosts[node].name);
                broken = broken.or(Some(Violation::new("I9 a stop ends", what)));
            }
        }
        if let Some(violation) = broken {
            return self.violated(violation);
        }
        let now = self.now;
        let look_at = &mut self.hosts[node].truth.look_at;
        if let Some(at) = again.filter(|at| look_at.is_none_or(|look| look <= now || look > *at)) {
            *look_at = Some(at);
            self.agenda.add(at, Due::Look(node));
        }
    }

    /// What a router has of a VIP is not what it should: when that is too late, and what is wrong then.
    fn late(
        &self,
        router: usize,
        node: usize,
        vip: &IpNet,
        expected: &Expected,
    ) -> Option<(Instant, Violation)> {
        let rib = &self.routers[router].ribs[node];
        let pair = &self.pairs[self.pair_index(node, router)];
        let has = rib.routes.get(vip).filter(|_| !rib.stale.contains(vip)).copied();
        let (name, host) = (&self.routers[router].name, &self.hosts[node].name);
        match (expected.what, has) {
            (Expect::Any, _) | (Expect::Absent, None) => None,
            (Expect::Absent, Some(_)) => {
                let disturbed = pair.disturbed.unwrap_or(Instant::BOOT);
                let late = match pair.since {
                    // What was held up on the way has come in by now.
                    [Some(ours), Some(theirs)] if !pair.is_cut() => {
                        expected.since.max(disturbed).max(ours).max(theirs) + SLACK
                    }
                    [_, _] if !pair.is_cut() && disturbed + FELT < expected.since => expected.since + SLACK,
                    [_, _] => expected.since.max(disturbed) + FELT,
                };
                let what = format!("{name} has {vip} from {host}, and should not");
                Some((late, Violation::new("I1 announced only while it may be", what)))
            }
            (Expect::Present(route), Some(has)) if route == has => None,
            (Expect::Present(route), has) => {
                let [Some(ours), Some(theirs)] = pair.since else { return None };
                let began = ours.max(theirs);
                let stopping = self.hosts[node].truth.stopping;
                // A node that stops and has no session withdraws at once, whoever comes back then.
                if pair.is_cut() || stopping.is_some_and(|stopping| began + SLACK > stopping) {
                    return None;
                }
                let from = began.max(expected.since).max(pair.disturbed.unwrap_or(Instant::BOOT));
                let has = has.map_or_else(|| "nothing".to_owned(), |has| has.to_string());
                let what = format!("{name} should have {vip} from {host}, {route}; it has {has}");
                Some((from + SLACK, Violation::new("I4 announced whenever it may be", what)))
            }
        }
    }

    /// Whether nothing was in the way of a session for a moment before `since`, and has been since.
    fn is_calm(&self, router: usize, node: usize, since: Instant) -> bool {
        let pair = &self.pairs[self.pair_index(node, router)];
        let quiet = pair.disturbed.is_none_or(|at| at + SLACK < since);
        // The router's end stands since before, so that nothing of an earlier session is felt.
        quiet && !pair.is_cut() && pair.since[ROUTER].is_none_or(|began| began + SLACK < since)
    }

    fn kept(&self) -> Duration {
        if self.setup.graceful { RESTART_TIME + LONGEST_HOLD } else { Duration::ZERO }
    }

    /// A route was withdrawn: it must not have been right for a while.
    pub fn i4_it_left_for_a_reason(&mut self, router: usize, node: usize, vip: IpNet) {
        self.refresh(node);
        let Some(expected) = self.hosts[node].truth.expects.get(&vip).copied() else { return };
        let right = matches!(expected.what, Expect::Present(_)) && expected.since + SLACK < self.now;
        if right && self.is_calm(router, node, self.now) {
            let what = format!(
                "{} withdrew {vip} from {}, and nothing is wrong with it",
                self.hosts[node].name, self.routers[router].name
            );
            self.violated(Violation::new("I4 withdrawn for a reason", what));
        }
    }

    /// A session has ended for a router.
    pub fn i7_it_ended_for_a_reason(&mut self, router: usize, node: usize, reason: &DownReason) {
        let host = &self.hosts[node];
        let pair = &self.pairs[self.pair_index(node, router)];
        // The process may have begun while the end of its predecessor's session was on the way.
        let born = host.truth.started.is_some_and(|at| at + SLACK > self.now);
        let is_calm = !pair.is_cut() && !born && pair.disturbed.is_none_or(|at| at + FELT < self.now);
        let runs = host.node.is_some() && host.truth.stopping.is_none();
        let reset = host.truth.resets.get(&router).is_some_and(|at| {
            let held_up = pair.disturbed.is_some_and(|disturbed| disturbed > *at);
            *at + if held_up { FELT } else { Duration::from_secs(5) } > self.now
        });
        let reconfigured = match reason {
            DownReason::Received(notification) => {
                let inner = notification.inside_hard_reset().unwrap_or_else(|| notification.clone());
                inner.code == CEASE
                    && matches!(inner.subcode, cease::OTHER_CONFIGURATION_CHANGE | cease::PEER_DECONFIGURED)
            }
            DownReason::Sent(_)
            | DownReason::Closed(_)
            | DownReason::DialFailed(_)
            | DownReason::SendHoldTimerExpired
            | DownReason::LocalAddressGone
            | DownReason::BfdDown(_)
            | DownReason::Stopped(_) => false,
        };
        if runs && !reset && (is_calm || reconfigured) {
            let what =
                format!("the session of {} with {} ended: {reason}", host.name, self.routers[router].name);
            self.violated(Violation::new("I7 a session ends for a reason", what));
        }
    }

    /// A set of routes is given to the peers.
    pub fn i2_what_is_new_is_bound(&mut self, node: usize, before: &Routes, after: &Routes) {
        let kernel = &self.hosts[node].kernel;
        let truth = &self.hosts[node].truth;
        // In the moment of a reload it may have been announced by the configuration before.
        let replaced = truth.replaced.as_ref().filter(|(_, until)| *until == self.now).map(|(old, _)| old);
        let in_force = || truth.config.iter().chain(replaced);
        let is_new =
            |vip: &&IpNet| !before.contains_key(vip) && in_force().all(|config| is_carried(config, vip));
        let was_bound = |vip: &IpNet| {
            let lost = kernel.lost.get(vip);
            kernel.is_usable((*vip).into()) || lost.is_some_and(|lost| *lost + NEWS > self.now)
        };
        if let Some(vip) = after.keys().filter(is_new).find(|vip| !was_bound(vip)) {
            let what = format!("{} announces {vip}, which is not bound", self.hosts[node].name);
            self.violated(Violation::new("I2 bind before announce", what));
        }
    }

    /// An address or a local route is about to be taken off the host.
    pub fn i2_nobody_needs_it(&mut self, node: usize, address: &Binding) {
        let host = &self.hosts[node];
        let elsewhere = host.kernel.holders(address.vip()).any(|other| other != *address);
        if elsewhere || host.truth.hurried {
            return;
        }
        let vip = address.vip().prefix();
        let of_service = host.truth.config.as_ref().and_then(|config| service_of(config, &vip));
        if of_service.is_some_and(|(_, service)| service.carrier(&vip.into()).is_none()) {
            // It may be announced without being bound.
            return;
        }
        for router in 0..self.routers.len() {
            let pair = &self.pairs[self.pair_index(node, router)];
            let rib = &self.routers[router].ribs[node];
            // A stop has a patience of its own, and gives up a router that is silent.
            if rib.stale.contains(&vip) && host.truth.stopping.is_none() {
                let what = format!(
                    "{} unbinds {vip}, which {} keeps from before",
                    host.name, self.routers[router].name
                );
                return self.violated(Violation::new("I2 nobody keeps it", what));
            }
            let Some(began) = pair.since[NODE] else { continue };
            let has = rib.routes.contains_key(&vip) && !rib.stale.contains(&vip);
            let left = rib.withdrawn.get(&vip).filter(|left| **left >= began);
            let soon = left.is_some_and(|left| *left + UNBIND_DELAY > self.now);
            if has || soon {
                let word = if has { "has" } else { "had a moment ago" };
                let what = format!("{} unbinds {vip}, which {} {word}", host.name, self.routers[router].name);
                return self.violated(Violation::new("I2 withdraw, wait, unbind", what));
            }
        }
    }

    /// The same address must be ours, as far as can be known.
    pub fn i3_it_is_ours(&mut self, node: usize, address: &Binding) {
        let kernel = &self.hosts[node].kernel;
        let changed = kernel.lost.get(&address.vip()).is_some_and(|lost| *lost + NEWS > self.now);
        if kernel.bindings.get(address) == Some(&Owner::Other) && !changed {
            let what =
                format!("{} unbinds {}, which someone else put there", self.hosts[node].name, address.ip);
            self.violated(Violation::new("I3 only our own addresses", what));
        }
    }

    /// A process has ended by itself.
    pub fn i9_it_ended_well(&mut self, node: usize, ending: Ending) {
        self.refresh(node);
        let host = &self.hosts[node];
        if ending == Ending::Restart {
            return;
        }
        let Some(since) = host.truth.stopping else {
            let what = format!("{} ends, and nobody asked for it", host.name);
            return self.violated(Violation::new("I9 a stop is asked for", what));
        };
        let keeps = host.truth.shape.as_ref().is_some_and(|shape| shape.has(Word::Keep));
        let failed =
            host.truth.kernel_has_failed_since(since - STOP) || host.kernel.refuses || host.kernel.mumbles;
        let hurried = host.truth.hurried;
        let left = host.kernel.ours().next().copied();
        if let Some(left) = left.filter(|_| !keeps && !failed) {
            let what = format!("{} ends and leaves {} behind", host.name, left.ip);
            return self.violated(Violation::new("I9 a stop leaves nothing", what));
        }
        let open = (0..self.routers.len())
            .find(|router| self.pairs[self.pair_index(node, *router)].since[NODE].is_some());
        if let Some(router) = open {
            let what = format!("{} ends with a session to {}", host.name, self.routers[router].name);
            return self.violated(Violation::new("I9 a stop closes every session", what));
        }
        // A node without any session has nobody to wait for.
        let alone = host.truth.stopped_alone
            || (0..self.routers.len()).any(|router| {
                let disturbed = self.pairs[self.pair_index(node, router)].disturbed;
                disturbed.is_some_and(|at| at >= since)
            });
        let early = !hurried && !alone && since + DRAIN_TIME > self.now;
        let was_announced = (0..self.routers.len()).any(|router| {
            let withdrawn = &self.routers[router].ribs[node].withdrawn;
            withdrawn.values().any(|at| *at >= since)
        });
        // What was drained before may be gone before that, and then nothing is waited for.
        let stays = host_expects_any(&self.hosts[node].truth.expects);
        if early && was_announced && stays {
            let what = format!("{} ends before its drain time is over", host.name);
            self.violated(Violation::new("I9 a stop drains", what));
        }
    }

    /// Faults have stopped for long enough: everything is as it should be.
    pub fn everything_is_so(&mut self) {
        for node in 0..self.hosts.len() {
            self.refresh(node);
            if let Some(what) = self.what_is_not_so(node) {
                return self.violated(Violation::new("liveness", what));
            }
        }
    }

    fn what_is_not_so(&self, node: usize) -> Option<String> {
        let host = &self.hosts[node];
        let name = &host.name;
        if host.node.is_none() || host.truth.stopping.is_some() {
            return Some(format!("{name} does not run"));
        }
        for router in 0..self.routers.len() {
            let router_name = &self.routers[router].name;
            let pair = &self.pairs[self.pair_index(node, router)];
            if pair.since.contains(&None) {
                return Some(format!("{name} has no session with {router_name}"));
            }
            let rib = &self.routers[router].ribs[node];
            if let Some(vip) = rib.stale.first() {
                return Some(format!("{router_name} keeps {vip} of {name} from before"));
            }
            for (vip, expected) in &host.truth.expects {
                let has = rib.routes.get(vip).copied();
                let right = match expected.what {
                    Expect::Any => true,
                    Expect::Absent => has.is_none(),
                    Expect::Present(route) => has == Some(route),
                };
                if !right {
                    return Some(format!(
                        "{router_name} has {has:?} for {vip} of {name}: {:?}",
                        expected.what
                    ));
                }
            }
        }
        let config = host.truth.config.as_ref()?;
        let always = always_bound(config);
        if let Some(vip) = always.iter().find(|vip| !host.kernel.is_usable(Vip::from(**vip))) {
            return Some(format!("{vip} is not bound on {name}"));
        }
        let configured =
            |address: &Binding| config.services.values().any(|service| service.vips.contains(&address.vip()));
        let left = host.kernel.ours().find(|address| !configured(address));
        left.map(|address| format!("{} was left on {name}", address.ip))
    }
}

/// Whether any of them should still be at a router.
fn host_expects_any(expects: &BTreeMap<IpNet, Expected>) -> bool {
    expects.values().any(|expected| matches!(expected.what, Expect::Present(_)))
}
