//! From what is wanted and what is so to what is to be done, in the one order that never blackholes:
//!
//! 1. bind what is missing; it is announced only once the kernel says that it is there,
//! 2. advertise the whole set, if it differs from the last one,
//! 3. unbind what is ours and no longer wanted, but only after every established peer's TCP has acknowledged its
//!    withdrawal and the unbind delay has passed. A peer that acknowledges nothing is waited for as long as its session
//!    lasts, which its hold timer, the Send Hold Timer and TCP_USER_TIMEOUT bound; a shutdown has its own patience.
//!
//! Nothing else in the daemon knows this order. Only what changed is looked at, so that one VIP of thousands costs no
//! more than one of ten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use indexmap::map::Entry;
use vipcast_bgp::Instant;
use vipcast_bgp::{Extent, RouteAttributes, Routes, Version};

use super::binding::{Binding, Owner, Wanted};
use super::facts::Facts;
use super::restart::Handover;
use crate::model::Carrier;
use crate::table::{Keys, Table};
use crate::vip::Vip;

/// What should be so.
#[derive(Debug, Clone, Default)]
pub(super) struct Desired {
    /// VIPs that should be on the host, as what, and the name of the interface for each.
    pub(super) bindings: Table<Vip, (Carrier, String)>,
    /// Routes that every peer should have from us.
    pub(super) routes: Routes,
    /// Whether that is all there is to say.
    pub(super) extent: Extent,
}

/// A set of routes as the peers are given it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Its number.
    pub version: Version,
    /// All of it.
    pub routes: Routes,
    /// Whether more is to be decided, after a restart.
    pub extent: Extent,
}

/// What a new decision about a VIP has changed of [`Desired`].
#[derive(Debug, Default)]
pub(super) struct Change {
    /// It has another route, or none any more.
    pub(super) route: Option<Reroute>,
    /// It should be bound as something else, somewhere else, or not at all.
    pub(super) binding: bool,
}

/// Two routes of one VIP that differ; `None` is no route.
#[derive(Debug, Clone)]
pub(super) struct Reroute {
    pub(super) from: Option<Arc<RouteAttributes>>,
    pub(super) to: Option<Arc<RouteAttributes>>,
}

/// What was set in motion already.
#[derive(Debug, Clone, Default)]
pub(super) struct Actual {
    /// The last set that was advertised.
    pub(super) advertised: Advertised,
    /// The end of a restart, while peers are to be told of it.
    pub(super) handover: Option<Handover>,
    /// The first version that was the whole set: whoever has it, or a later one, keeps nothing of before.
    pub(super) whole_since: Option<Version>,
    /// Bindings of ours that were left when the unbinding was looked at last.
    pub(super) left: usize,
    /// VIPs that were announced and no longer are.
    pub(super) retiring: BTreeMap<Vip, Retiring>,
    /// VIPs that are not bound as desired, or have changed since that was known.
    pub(super) open: Keys<Vip>,
    /// The set in which the route of each VIP that is announced was last another one.
    pub(super) sent_in: Table<Vip, Version>,
    /// VIPs whose route should be another one than was advertised: from that one to the one desired.
    pub(super) changed: Table<Vip, Reroute>,
    /// Names of interfaces that are wanted and not there, and the log says so.
    pub(super) missing_links: BTreeSet<String>,
}

/// A VIP whose withdrawal is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retiring {
    /// The first version that lacks it.
    pub(super) version: Version,
    /// When every established peer had that version.
    pub(super) settled_at: Option<Instant>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Put it on the host.
    Bind(Binding),
    /// Give every peer this set.
    Advertise(Advertised),
    /// Take it off the host.
    Unbind(Binding),
}

/// The steps from `actual` to `desired`, in order. Empty when there is nothing to do; planning twice changes nothing.
pub(super) fn plan(
    desired: &Desired,
    actual: &Actual,
    facts: &Facts,
    unbind_delay: Duration,
    now: Instant,
) -> Vec<Step> {
    let may_touch = |binding: &Binding| {
        !facts.asked.contains_key(binding)
            && facts.binding_errors.get(binding).is_none_or(|(_, retry_at)| *retry_at <= now)
    };
    let may_put_back = |vip: Vip| facts.contests.get(&vip).is_none_or(|contest| contest.put_back_at() <= now);
    let open = || actual.open.iter().filter(|_| facts.is_listed);
    let missing = open().filter_map(|vip| {
        let wanted = desired.wanted(*vip)?;
        let binding = wanted.of(*vip, facts)?;
        (!facts.is_there(*vip, wanted) && may_put_back(*vip)).then_some(binding)
    });
    let leaving = open().flat_map(|vip| facts.ours_of(*vip)).filter(|binding| !desired.has(binding, facts));
    let may_leave = |binding: &&Binding| may_leave(binding, desired, actual, facts, unbind_delay, now);
    let mut steps: Vec<Step> = missing.filter(&may_touch).map(Step::Bind).collect();
    steps.extend(advertise(desired, actual));
    steps.extend(leaving.filter(|binding| may_touch(binding)).filter(may_leave).copied().map(Step::Unbind));
    steps
}

fn advertise(desired: &Desired, actual: &Actual) -> Option<Step> {
    let Advertised { version: Version(version), routes: _, extent } = &actual.advertised;
    (!actual.changed.is_empty() || desired.extent != *extent).then(|| {
        Step::Advertise(Advertised {
            version: Version(version + 1),
            routes: desired.routes.clone(),
            extent: desired.extent,
        })
    })
}

/// Whether no router can still send us packets for it.
fn may_leave(
    binding: &Binding,
    desired: &Desired,
    actual: &Actual,
    facts: &Facts,
    unbind_delay: Duration,
    now: Instant,
) -> bool {
    let vip = binding.vip();
    if desired.bindings.contains_key(&vip) {
        // It only moves to another interface, to the other carrier, or to someone else: it must be there first, and of use.
        let mut others = facts.lasting(vip).filter(|(other, _)| *other != binding);
        return others.any(|(other, held)| {
            let belongs = held.owner == Owner::Other || desired.has(other, facts);
            belongs && facts.unusable(other, held).is_none()
        });
    }
    let announced = |routes: &Routes| routes.contains_key(&vip.prefix());
    if announced(&desired.routes) {
        // A wider prefix whose service does not bind it any more, and announces it all the same.
        return !vip.is_host();
    }
    if announced(&actual.advertised.routes) {
        return false;
    }
    // A router that keeps what our predecessor announced, and that we have not reached yet.
    if actual.advertised.extent == Extent::Partial || actual.handover.is_some() {
        return false;
    }
    match actual.retiring.get(&vip) {
        Some(retiring) => retiring.settled_at.is_some_and(|at| at + unbind_delay <= now),
        // Not announced since we started; whatever announced it before is dead, and its sessions with it.
        None => true,
    }
}

impl Desired {
    /// Says what should be so of a VIP: its route, and as what and where it should be bound.
    pub(super) fn set(
        &mut self,
        vip: Vip,
        route: Option<Arc<RouteAttributes>>,
        wanted: Option<Wanted<'_>>,
    ) -> Change {
        let is_other_route = self.routes.get(&vip.prefix()) != route.as_ref();
        let reroute = is_other_route.then(|| {
            let from = match &route {
                Some(route) => self.routes.insert(vip.prefix(), Arc::clone(route)),
                None => self.routes.remove(&vip.prefix()),
            };
            Reroute { from, to: route }
        });
        let is_elsewhere = self.wanted(vip) != wanted;
        match wanted {
            _ if !is_elsewhere => {}
            Some(Wanted { carrier, interface }) => {
                self.bindings.insert(vip, (carrier, interface.to_owned()));
            }
            None => drop(self.bindings.swap_remove(&vip)),
        }
        Change { route: reroute, binding: is_elsewhere }
    }

    /// What should carry a VIP.
    pub(super) fn wanted(&self, vip: Vip) -> Option<Wanted<'_>> {
        let (carrier, interface) = self.bindings.get(&vip)?;
        Some(Wanted { carrier: *carrier, interface })
    }

    /// Whether a binding of ours is what should be.
    fn has(&self, binding: &Binding, facts: &Facts) -> bool {
        let vip = binding.vip();
        self.wanted(vip).and_then(|wanted| wanted.of(vip, facts)) == Some(*binding)
    }

    /// Whether `vip` is as it should be, and stays so until something happens to it.
    fn is_met(&self, vip: Vip, facts: &Facts) -> bool {
        self.wanted(vip).is_none_or(|wanted| facts.is_there(vip, wanted))
            && facts.ours_of(vip).all(|binding| self.has(binding, facts))
    }
}

impl Actual {
    /// Something else should be so of a VIP: the plan looks at its route and its binding.
    pub(super) fn look_at(&mut self, vip: Vip, change: Change) {
        if change.route.is_some() || change.binding {
            self.open.insert(vip);
        }
        match (change.route, self.changed.entry(vip)) {
            (None, _) => {}
            (Some(reroute), Entry::Vacant(entry)) => drop(entry.insert(reroute)),
            // Back to what was advertised.
            (Some(Reroute { to, .. }), Entry::Occupied(entry)) if entry.get().from == to => {
                drop(entry.swap_remove())
            }
            (Some(Reroute { to, .. }), Entry::Occupied(mut entry)) => entry.get_mut().to = to,
        }
    }

    /// Something else is so of what these are bound as: the plan looks at them.
    pub(super) fn reopen(&mut self, vips: impl IntoIterator<Item = Vip>) {
        self.open.extend(vips);
    }

    /// Notes that a set was given to every peer.
    pub(super) fn advertise(&mut self, advertised: Advertised) {
        let version = advertised.version;
        for (vip, reroute) in std::mem::take(&mut self.changed) {
            let retiring = if reroute.to.is_some() {
                self.sent_in.insert(vip, version);
                None
            } else {
                self.sent_in.swap_remove(&vip);
                Some(Retiring { version, settled_at: None })
            };
            match retiring {
                Some(retiring) => drop(self.retiring.insert(vip, retiring)),
                None => drop(self.retiring.remove(&vip)),
            }
        }
        if advertised.extent == Extent::Whole {
            self.whole_since = self.whole_since.or(Some(advertised.version));
        }
        self.advertised = advertised;
    }

    /// Forgets what is as desired now, and what waits for routers or for an answer of the kernel: that opens it again.
    pub(super) fn close(&mut self, desired: &Desired, facts: &Facts) {
        let retiring = &self.retiring;
        // Opened again when it settles.
        let waits = |vip: &Vip| {
            retiring.get(vip).is_some_and(|retiring| retiring.settled_at.is_none())
                && !desired.bindings.contains_key(vip)
        };
        self.open.retain(|vip| {
            !facts.is_listed || !waits(vip) && !facts.is_asked(*vip) && !desired.is_met(*vip, facts)
        });
        // After a start, or a change of everything, that is the room of everything.
        if self.open.is_empty() {
            self.open = Keys::default();
        }
    }

    /// Notes which withdrawals every established peer now has, and forgets those that are long over. A session that has
    /// just come up may have begun with an earlier set, so it is waited for too.
    pub(super) fn settle(&mut self, facts: &Facts, unbind_delay: Duration, now: Instant) {
        let told = facts.told(now);
        for (vip, retiring) in &mut self.retiring {
            let settled = told >= Some(retiring.version);
            if settled && retiring.settled_at.is_none() {
                self.open.insert(*vip);
            }
            retiring.settled_at = settled.then_some(retiring.settled_at.unwrap_or(now));
        }
        if let Some(handover) = &mut self.handover {
            let settled = handover.is_settled(facts, now);
            handover.settled_at = settled.then_some(handover.settled_at.unwrap_or(now));
        }
        self.handover.take_if(|handover| handover.settled_at.is_some_and(|at| at + unbind_delay <= now));
        self.retiring.retain(|vip, retiring| {
            retiring.settled_at.is_none_or(|at| at + unbind_delay > now) || !facts.is_absent(*vip)
        });
    }

    /// The next time after `acted_at` at which something becomes possible that was not then.
    pub(super) fn deadline(
        &self,
        facts: &Facts,
        unbind_delay: Duration,
        acted_at: Instant,
    ) -> Option<Instant> {
        let settled = self.retiring.values().filter_map(|retiring| Some(retiring.settled_at? + unbind_delay));
        let handover = self.handover.map(|handover| match handover.settled_at {
            Some(at) => at + unbind_delay,
            None => handover.patience,
        });
        let retries = facts.binding_errors.values().map(|(_, retry_at)| *retry_at);
        let contests = facts.contests.values().filter_map(|contest| contest.deadline(acted_at));
        settled.chain(retries).chain(handover).filter(|at| *at > acted_at).chain(contests).min()
    }
}
