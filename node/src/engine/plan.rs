//! Plans the steps from the actual to the desired state, in the one order that never blackholes:
//!
//! 1. bind missing VIPs; a VIP is announced only when the kernel has reported its binding,
//! 2. advertise the whole set, if it differs from the last one,
//! 3. unbind our bindings that are no longer wanted, but only after every established peer's TCP has acknowledged the
//!    withdrawal and the unbind delay has passed. The plan waits for a peer that acknowledges nothing as long as its
//!    session lasts, which its hold timer, the Send Hold Timer and TCP_USER_TIMEOUT bound; a shutdown has its own
//!    time-out.
//!
//! Only this module knows the order. It looks only at changed VIPs, so that one VIP among thousands costs no more than
//! one among ten.

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

/// The desired state.
#[derive(Debug, Clone, Default)]
pub(super) struct Desired {
    /// VIPs that should be bound, each with its carrier and the name of its interface.
    pub(super) bindings: Table<Vip, (Carrier, String)>,
    /// Routes that every peer should have from us.
    pub(super) routes: Routes,
    /// Whether the routes are complete.
    pub(super) extent: Extent,
}

/// A set of routes for the peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertised {
    /// The number of the set.
    pub version: Version,
    /// All routes.
    pub routes: Routes,
    /// Whether every VIP is decided, after a restart.
    pub extent: Extent,
}

/// The change of [`Desired`] by a new decision about a VIP.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The route has changed, or is gone.
    pub(super) route: Option<Reroute>,
    /// Whether the desired binding has changed.
    pub(super) binding: bool,
}

/// Two routes of one VIP that differ; `None` is no route.
#[derive(Debug, Clone)]
pub(super) struct Reroute {
    pub(super) from: Option<Arc<RouteAttributes>>,
    pub(super) to: Option<Arc<RouteAttributes>>,
}

/// The steps under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Actual {
    /// The last advertised set.
    pub(super) advertised: Advertised,
    /// The end of a restart, until the peers have acknowledged it.
    pub(super) handover: Option<Handover>,
    /// The first whole set: a peer with this version or a later one keeps no earlier route.
    pub(super) whole_since: Option<Version>,
    /// The number of our bindings at the last look during the unbinding.
    pub(super) left: usize,
    /// VIPs that were announced and no longer are.
    pub(super) retiring: BTreeMap<Vip, Retiring>,
    /// VIPs that are not bound as desired, or have changed since the last look.
    pub(super) open: Keys<Vip>,
    /// For each announced VIP, the version of the last change of its route.
    pub(super) sent_in: Table<Vip, Version>,
    /// VIPs whose desired route differs from the advertised one.
    pub(super) changed: Table<Vip, Reroute>,
    /// Names of missing interfaces that are recorded already.
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
    /// Add this binding.
    Bind(Binding),
    /// Give this set to every peer.
    Advertise(Advertised),
    /// Remove this binding.
    Unbind(Binding),
}

/// The steps from `actual` to `desired`, in order. Empty if there is no difference; a second plan changes nothing.
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

/// Whether no router can still send us packets for the binding's VIP.
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
        // If the VIP only moves to another interface, to the other carrier, or to another program's binding, that one
        // must be usable first.
        let mut others = facts.lasting(vip).filter(|(other, _)| *other != binding);
        return others.any(|(other, held)| {
            let belongs = held.owner == Owner::Other || desired.has(other, facts);
            belongs && facts.unusable(other, held).is_none()
        });
    }
    let announced = |routes: &Routes| routes.contains_key(&vip.prefix());
    if announced(&desired.routes) {
        // A wider prefix whose service does not bind it any more, but still announces it.
        return !vip.is_host();
    }
    if announced(&actual.advertised.routes) {
        return false;
    }
    // A router may keep routes of our predecessor, and is not reached yet.
    if actual.advertised.extent == Extent::Partial || actual.handover.is_some() {
        return false;
    }
    match actual.retiring.get(&vip) {
        Some(retiring) => retiring.settled_at.is_some_and(|at| at + unbind_delay <= now),
        // Not announced since our start; a predecessor that announced it is dead, and its sessions with it.
        None => true,
    }
}

impl Desired {
    /// Sets the desired state of a VIP: its route and its binding.
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

    /// The desired binding of a VIP.
    pub(super) fn wanted(&self, vip: Vip) -> Option<Wanted<'_>> {
        let (carrier, interface) = self.bindings.get(&vip)?;
        Some(Wanted { carrier: *carrier, interface })
    }

    /// Whether our binding is the desired one.
    fn has(&self, binding: &Binding, facts: &Facts) -> bool {
        let vip = binding.vip();
        self.wanted(vip).and_then(|wanted| wanted.of(vip, facts)) == Some(*binding)
    }

    /// Whether `vip` is as desired, and stays so until an event about it.
    fn is_met(&self, vip: Vip, facts: &Facts) -> bool {
        self.wanted(vip).is_none_or(|wanted| facts.is_there(vip, wanted))
            && facts.ours_of(vip).all(|binding| self.has(binding, facts))
    }
}

impl Actual {
    /// Notes a change of a VIP's desired state: the plan looks at its route and its binding.
    pub(super) fn look_at(&mut self, vip: Vip, change: Change) {
        if change.route.is_some() || change.binding {
            self.open.insert(vip);
        }
        match (change.route, self.changed.entry(vip)) {
            (None, _) => {}
            (Some(reroute), Entry::Vacant(entry)) => drop(entry.insert(reroute)),
            // Back to the advertised route.
            (Some(Reroute { to, .. }), Entry::Occupied(entry)) if entry.get().from == to => {
                drop(entry.swap_remove())
            }
            (Some(Reroute { to, .. }), Entry::Occupied(mut entry)) => entry.get_mut().to = to,
        }
    }

    /// Notes a change of these VIPs' actual bindings: the plan looks at them.
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

    /// Drops VIPs that are as desired now, and those that wait for routers or for an answer of the kernel, which
    /// reopens them.
    pub(super) fn close(&mut self, desired: &Desired, facts: &Facts) {
        let retiring = &self.retiring;
        // Reopened when its withdrawal settles.
        let waits = |vip: &Vip| {
            retiring.get(vip).is_some_and(|retiring| retiring.settled_at.is_none())
                && !desired.bindings.contains_key(vip)
        };
        self.open.retain(|vip| {
            !facts.is_listed || !waits(vip) && !facts.is_asked(*vip) && !desired.is_met(*vip, facts)
        });
        // After a start, or a change of all VIPs, this frees the memory for all of them.
        if self.open.is_empty() {
            self.open = Keys::default();
        }
    }

    /// Notes the withdrawals that every established peer has acknowledged, and drops those that are long over. A new
    /// session may have begun with an earlier set, so it counts as well.
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

    /// The next time after `acted_at` at which another step becomes possible.
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
