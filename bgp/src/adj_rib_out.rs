//! The routes sent on one session, and the difference to the desired set, packed into as few UPDATEs as possible.
//!
//! ```text
//!  set(&Routes) ─► what changed ─┐                       ┌─► withdraw ─┐
//!                  since the last├─ difference by prefix ┤             ├─► next_update() ─► UPDATE
//!           what the peer has ───┘                       └─► announce ─┘        │
//!                     ▲                                                         │
//!                     └───────────────────── sent ◄─────────────────────────────┘
//! ```
//!
//! Only changes cost time: one route among 100,000 costs the same as one among ten. A session whose peer is up to date
//! holds only the set, which all sessions share.
//!
//! An UPDATE is made only when the caller asks for it, so a peer that does not read costs the difference and no queue:
//! after any number of changes only the last set is sent. Withdrawals go first. An [`AdjRibOut`] lives exactly as long
//! as its session.

mod egress;
mod frozen;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use self::egress::unreach;
pub use self::egress::{Egress, Export};
use crate::next_hop::SessionNextHops;
use crate::prefix_map::{Change, PrefixMap};
use crate::route::{RouteAttributes, Routes, family_of};
use crate::wire::{Family, Update, encoded_prefix_len};

/// The routes of one Established session.
#[derive(Debug, Clone)]
pub struct AdjRibOut {
    egress: Egress,
    /// The desired set, bits behind the prefix lengths cleared.
    wanted: Routes,
    /// The prefixes for which the peer differs from the set, with the attributes that the peer has; `None`: no route.
    behind: BTreeMap<IpNet, Option<Arc<RouteAttributes>>>,
    sent_count: usize,
    /// Prefixes that were sent, and that the peer has asked for again.
    resend: BTreeSet<IpNet>,
    withdraw: BTreeSet<IpNet>,
    announce: BTreeSet<Due>,
    withheld: PrefixMap<Withheld>,
    /// Withheld prefixes whose route does not fit into a message. Each set tries them again.
    too_large: BTreeSet<IpNet>,
    end_of_rib: BTreeSet<Family>,
    /// End-of-RIB waits, because the set is not whole yet (RFC 4724 §4.1).
    hold_end_of_rib: bool,
}

/// A route that is due. In the order of the UPDATEs: equal attributes together, and IPv4 prefixes first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    attributes: Arc<RouteAttributes>,
    prefix: IpNet,
}

/// The reason why a desired route is not sent on this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// The peer did not offer its family.
    FamilyNotNegotiated,
    /// The session has no next hop for its family, and a wrong one would blackhole.
    NoNextHop,
    /// Its attributes leave no room for a prefix in a 4,096-byte message.
    AttributesTooLarge,
    /// Its export has ended, or ends: see [`Export`].
    Drained,
}

impl AdjRibOut {
    /// A new session: no route is sent, and an End-of-RIB (RFC 4724 §2) is due for every family.
    pub fn new(egress: Egress) -> Self {
        Self {
            end_of_rib: egress.families.clone(),
            egress,
            wanted: Routes::new(),
            behind: BTreeMap::new(),
            sent_count: 0,
            resend: BTreeSet::new(),
            withdraw: BTreeSet::new(),
            announce: BTreeSet::new(),
            withheld: PrefixMap::new(),
            too_large: BTreeSet::new(),
            hold_end_of_rib: false,
        }
    }

    /// Holds or releases the End-of-RIB that is due. Routes are never held.
    pub fn hold_end_of_rib(&mut self, hold: bool) {
        self.hold_end_of_rib = hold;
    }

    /// Replaces the desired set. A route that the peer already has is not sent again. Takes O(changes · log n) if
    /// `routes` was made from the set before.
    ///
    /// Bits behind the prefix length do not count: on the wire `10.0.0.1/24` and `10.0.0.2/24` are one prefix, and the
    /// first of the two counts.
    pub fn set(&mut self, routes: &Routes) {
        let wanted = canonical(routes);
        let before = std::mem::replace(&mut self.wanted, wanted.clone());
        let again = std::mem::take(&mut self.too_large);
        for Change { prefix, old, new } in before.diff(&wanted) {
            self.forget_plan(&prefix, old);
            let has = self.behind.remove(&prefix).unwrap_or_else(|| old.cloned());
            if !self.egress.sends_the_same(family_of(&prefix), has.as_deref(), new.map(Arc::as_ref)) {
                self.behind.insert(prefix, has);
            }
            self.plan(prefix, new);
        }
        self.plan_again(again);
    }

    /// Replaces the session's next hops. `routes` is the desired set. Routes with a changed next hop are sent again;
    /// routes left without one are withdrawn.
    pub fn set_next_hops(&mut self, next_hops: SessionNextHops, routes: &Routes) {
        let before = std::mem::replace(&mut self.egress.next_hops, next_hops);
        let moved = |family: &Family| before.of(*family) != next_hops.of(*family);
        let families: Vec<Family> = self.egress.families.iter().copied().filter(moved).collect();
        if families.is_empty() {
            return;
        }
        self.set(routes);
        let is_moved = |prefix: &IpNet| families.contains(&family_of(prefix));
        let sent: Vec<IpNet> = self.sent().filter(is_moved).collect();
        self.resend.extend(&sent);
        let wanted = self.wanted.clone();
        self.plan_again(wanted.keys().copied().filter(is_moved).chain(sent));
    }

    /// Replaces the export. `routes` is the desired set. Routes that stay are sent again with or without
    /// GRACEFUL_SHUTDOWN; the others are withdrawn, or sent.
    pub fn set_export(&mut self, export: Export, routes: &Routes) {
        if std::mem::replace(&mut self.egress.export, export) == export {
            return;
        }
        self.set(routes);
        let sent: Vec<IpNet> = self.sent().collect();
        self.resend.extend(&sent);
        let wanted = self.wanted.clone();
        self.plan_again(wanted.keys().copied().chain(sent));
    }

    /// Replaces the MULTI_EXIT_DISC of the routes without their own, which are sent again. `routes` is the desired set.
    pub fn set_med(&mut self, med: Option<u32>, routes: &Routes) {
        if std::mem::replace(&mut self.egress.med, med) == med {
            return;
        }
        self.set(routes);
        let wanted = self.wanted.clone();
        let lacks = |route: Option<&Arc<RouteAttributes>>| route.is_some_and(|route| route.med.is_none());
        let is_changed = |prefix: &IpNet| {
            lacks(wanted.get(prefix)) || lacks(self.behind.get(prefix).and_then(Option::as_ref))
        };
        let changed: Vec<IpNet> = self.sent().filter(is_changed).collect();
        self.resend.extend(&changed);
        self.plan_again(changed);
    }

    /// Sends all routes of `family` again, without a change (RFC 2918 §4). `routes` is the desired set.
    pub fn refresh(&mut self, family: Family, routes: &Routes) {
        self.set(routes);
        let sent: Vec<IpNet> = self.sent().filter(|prefix| family_of(prefix) == family).collect();
        self.resend.extend(&sent);
        self.plan_again(sent);
    }

    /// The next UPDATE that is due, counted as sent from now on; `None` when the peer has the desired set.
    pub fn next_update(&mut self) -> Option<Update> {
        self.next_withdrawal().or_else(|| self.next_announcement()).or_else(|| {
            let family = if self.hold_end_of_rib { None } else { self.end_of_rib.pop_first() }?;
            Some(Update::new_end_of_rib(family))
        })
    }

    /// Whether [`Self::next_update`] has nothing left.
    pub fn is_synced(&self) -> bool {
        let told = self.hold_end_of_rib || self.end_of_rib.is_empty();
        self.withdraw.is_empty() && self.announce.is_empty() && told
    }

    /// The number of prefixes that the peer has from us.
    pub fn sent_count(&self) -> usize {
        self.sent_count
    }

    /// The desired routes that this session cannot carry, each with its reason.
    pub fn withheld(&self) -> &PrefixMap<Withheld> {
        &self.withheld
    }

    /// The prefixes that the peer has from us, in no order.
    fn sent(&self) -> impl Iterator<Item = IpNet> {
        let as_wanted = self.wanted.keys().filter(|prefix| !self.behind.contains_key(*prefix));
        let otherwise = self.behind.iter().filter(|(_, has)| has.is_some()).map(|(prefix, _)| prefix);
        as_wanted.chain(otherwise).copied()
    }

    fn is_sent(&self, prefix: &IpNet) -> bool {
        match self.behind.get(prefix) {
            Some(has) => has.is_some(),
            None => self.wanted.contains_key(prefix),
        }
    }

    /// Plans a prefix that is desired with `attributes`; `None`: not desired. It must not be planned already.
    fn plan(&mut self, prefix: IpNet, attributes: Option<&Arc<RouteAttributes>>) {
        let Some(attributes) = attributes else {
            if self.is_sent(&prefix) {
                self.withdraw.insert(prefix);
            }
            return;
        };
        if let Some(reason) = self.egress.obstacle(&prefix, attributes, self.is_sent(&prefix)) {
            self.withhold(prefix, reason);
        } else if self.resend.contains(&prefix) || self.behind.contains_key(&prefix) {
            self.announce.insert(Due { attributes: Arc::clone(attributes), prefix });
        }
    }

    /// Undoes [`Self::plan`] of a prefix that was desired with `attributes`.
    fn forget_plan(&mut self, prefix: &IpNet, attributes: Option<&Arc<RouteAttributes>>) {
        self.withdraw.remove(prefix);
        self.withheld.remove(prefix);
        if let Some(attributes) = attributes {
            self.announce.remove(&Due { attributes: Arc::clone(attributes), prefix: *prefix });
        }
    }

    fn plan_again(&mut self, prefixes: impl IntoIterator<Item = IpNet>) {
        let wanted = self.wanted.clone();
        for prefix in prefixes {
            let attributes = wanted.get(&prefix);
            self.forget_plan(&prefix, attributes);
            self.plan(prefix, attributes);
        }
    }

    /// Withholds the route, and withdraws an earlier version of it: the peer must not keep an outdated route.
    fn withhold(&mut self, prefix: IpNet, reason: Withheld) {
        self.withheld.insert(prefix, reason);
        if self.is_sent(&prefix) {
            self.withdraw.insert(prefix);
        }
    }

    fn next_withdrawal(&mut self) -> Option<Update> {
        let family = family_of(self.withdraw.first()?);
        let room = self.egress.room(&unreach(family, &[]))?;
        let batch = front(&self.withdraw, family, room);
        for prefix in &batch {
            self.withdraw.remove(prefix);
            self.resend.remove(prefix);
            self.sent_count -= 1;
            if self.wanted.contains_key(prefix) {
                self.behind.insert(*prefix, None);
            } else {
                self.behind.remove(prefix);
            }
        }
        Some(unreach(family, &batch))
    }

    fn next_announcement(&mut self) -> Option<Update> {
        loop {
            let Due { attributes, prefix: first } = self.announce.first()?.clone();
            let group = self.announce.iter().take_while(|due| due.attributes == attributes);
            let family = family_of(&first);
            let room = self.egress.room(&self.egress.reach(family, &attributes, &[])).unwrap_or(0);
            if room < encoded_prefix_len(&first) {
                // A shorter prefix of the same attributes may still fit.
                let is_unfit =
                    |prefix: &IpNet| family_of(prefix) == family && room < encoded_prefix_len(prefix);
                let unfit: Vec<Due> = group.filter(|due| is_unfit(&due.prefix)).cloned().collect();
                for due in unfit {
                    self.announce.remove(&due);
                    self.too_large.insert(due.prefix);
                    self.withhold(due.prefix, Withheld::AttributesTooLarge);
                }
                if let Some(update) = self.next_withdrawal() {
                    return Some(update);
                }
                continue;
            }
            let batch = front(group.map(|due| &due.prefix), family, room);
            for prefix in &batch {
                self.announce.pop_first();
                self.resend.remove(prefix);
                if self.behind.remove(prefix).is_some_and(|has| has.is_none()) {
                    self.sent_count += 1;
                }
            }
            return Some(self.egress.reach(family, &attributes, &batch));
        }
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        let attributes = if Arc::ptr_eq(&self.attributes, &other.attributes) {
            Ordering::Equal
        } else {
            self.attributes.cmp(&other.attributes)
        };
        attributes.then_with(|| self.prefix.cmp(&other.prefix))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `routes` with the bits behind the prefix lengths cleared. The same map if none are set.
fn canonical(routes: &Routes) -> Routes {
    if routes.is_truncated() {
        return routes.clone();
    }
    let mut canonical = Routes::new();
    for (prefix, attributes) in routes {
        let prefix = prefix.trunc();
        if !canonical.contains_key(&prefix) {
            canonical.insert(prefix, Arc::clone(attributes));
        }
    }
    canonical
}

/// The first prefixes of `family` at the front of `prefixes` that fit into `room` bytes.
fn front<'a>(prefixes: impl IntoIterator<Item = &'a IpNet>, family: Family, mut room: usize) -> Vec<IpNet> {
    let mut batch = Vec::new();
    for prefix in prefixes.into_iter().take_while(|prefix| family_of(prefix) == family) {
        let Some(rest) = room.checked_sub(encoded_prefix_len(prefix)) else { break };
        room = rest;
        batch.push(*prefix);
    }
    batch
}

#[cfg(test)]
mod tests;
