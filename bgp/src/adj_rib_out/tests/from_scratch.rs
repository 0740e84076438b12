//! The UPDATEs are the same as those of a rib that keeps all sent routes, and plans everything anew at each change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use super::{NEXT_HOP, NEXT_HOP_6, attributes, egress, prefix};
use crate::adj_rib_out::{AdjRibOut, Egress, Export, Withheld, front, unreach};
use crate::next_hop::{NextHop, SessionNextHops};
use crate::route::{RouteAttributes, Routes, family_of};
use crate::wire::{Family, SessionContext, Update, encoded_prefix_len};

struct FromScratch {
    egress: Egress,
    sent: BTreeMap<IpNet, Arc<RouteAttributes>>,
    resend: BTreeSet<IpNet>,
    withdraw: BTreeSet<IpNet>,
    announce: BTreeMap<Arc<RouteAttributes>, Vec<IpNet>>,
    withheld: BTreeMap<IpNet, Withheld>,
    end_of_rib: BTreeSet<Family>,
}

impl FromScratch {
    fn new(egress: Egress) -> Self {
        Self {
            end_of_rib: egress.families.clone(),
            egress,
            sent: BTreeMap::new(),
            resend: BTreeSet::new(),
            withdraw: BTreeSet::new(),
            announce: BTreeMap::new(),
            withheld: BTreeMap::new(),
        }
    }

    fn set(&mut self, routes: &Routes) {
        let mut wanted = BTreeMap::new();
        for (prefix, attributes) in routes {
            wanted.entry(prefix.trunc()).or_insert(attributes);
        }
        self.announce.clear();
        self.withheld.clear();
        self.withdraw = self.sent.keys().filter(|prefix| !wanted.contains_key(*prefix)).copied().collect();
        for (prefix, attributes) in wanted {
            // The peer cannot tell one from the other.
            if self.has(&prefix, attributes) {
                self.sent.insert(prefix, Arc::clone(attributes));
            }
            if let Some(reason) = self.egress.obstacle(&prefix, attributes, self.sent.contains_key(&prefix)) {
                self.withhold(prefix, reason);
            } else if self.resend.contains(&prefix) || !self.has(&prefix, attributes) {
                self.announce.entry(Arc::clone(attributes)).or_default().push(prefix);
            }
        }
    }

    /// Whether the peer was told the same, to the byte.
    fn has(&self, prefix: &IpNet, attributes: &RouteAttributes) -> bool {
        let update = |route: &RouteAttributes| self.egress.reach(family_of(prefix), route, &[*prefix]);
        self.sent.get(prefix).is_some_and(|sent| update(sent) == update(attributes))
    }

    fn set_next_hops(&mut self, next_hops: SessionNextHops, routes: &Routes) {
        let before = std::mem::replace(&mut self.egress.next_hops, next_hops);
        let moved = |family: &Family| before.of(*family) != next_hops.of(*family);
        let families: Vec<Family> = self.egress.families.iter().copied().filter(moved).collect();
        if !families.is_empty() {
            self.resend.extend(self.sent.keys().filter(|prefix| families.contains(&family_of(prefix))));
            self.set(routes);
        }
    }

    fn set_export(&mut self, export: Export, routes: &Routes) {
        if std::mem::replace(&mut self.egress.export, export) != export {
            self.resend.extend(self.sent.keys());
            self.set(routes);
        }
    }

    fn set_med(&mut self, med: Option<u32>, routes: &Routes) {
        if std::mem::replace(&mut self.egress.med, med) != med {
            let lacks = |route: Option<&Arc<RouteAttributes>>| route.is_some_and(|route| route.med.is_none());
            let is_changed = |prefix: &&IpNet| lacks(routes.get(prefix)) || lacks(self.sent.get(prefix));
            self.resend.extend(self.sent.keys().filter(is_changed));
            self.set(routes);
        }
    }

    fn refresh(&mut self, family: Family, routes: &Routes) {
        self.resend.extend(self.sent.keys().filter(|prefix| family_of(prefix) == family));
        self.set(routes);
    }

    fn withhold(&mut self, prefix: IpNet, reason: Withheld) {
        self.withheld.insert(prefix, reason);
        if self.sent.contains_key(&prefix) {
            self.withdraw.insert(prefix);
        }
    }

    fn next_update(&mut self) -> Option<Update> {
        let next = self.next_withdrawal().or_else(|| self.next_announcement());
        next.or_else(|| self.end_of_rib.pop_first().map(Update::new_end_of_rib))
    }

    fn next_withdrawal(&mut self) -> Option<Update> {
        let family = family_of(self.withdraw.first()?);
        let batch = front(&self.withdraw, family, self.egress.room(&unreach(family, &[]))?);
        for prefix in &batch {
            self.withdraw.remove(prefix);
            self.sent.remove(prefix);
            self.resend.remove(prefix);
        }
        Some(unreach(family, &batch))
    }

    fn next_announcement(&mut self) -> Option<Update> {
        loop {
            let (attributes, mut group) = self.announce.pop_first()?;
            let Some(first) = group.first() else { continue };
            let family = family_of(first);
            let room = self.egress.room(&self.egress.reach(family, &attributes, &[])).unwrap_or(0);
            if room < encoded_prefix_len(first) {
                let (unfit, fit): (Vec<IpNet>, Vec<IpNet>) =
                    group.iter().partition(|p| family_of(p) == family && room < encoded_prefix_len(p));
                self.announce.insert(attributes, fit);
                for prefix in unfit {
                    self.withhold(prefix, Withheld::AttributesTooLarge);
                }
                if let Some(update) = self.next_withdrawal() {
                    return Some(update);
                }
                continue;
            }
            let batch = front(&group, family, room);
            group.drain(..batch.len());
            for prefix in &batch {
                self.sent.insert(*prefix, Arc::clone(&attributes));
                self.resend.remove(prefix);
            }
            let update = self.egress.reach(family, &attributes, &batch);
            self.announce.insert(attributes, group);
            return Some(update);
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    /// Another set, that shares nothing with the last one.
    Set(BTreeMap<IpNet, Arc<RouteAttributes>>),
    /// The last one with a few changes.
    Change(Vec<(IpNet, Option<Arc<RouteAttributes>>)>),
    /// The set before the last one again.
    Undo,
    Refresh(Family),
    NextHops(SessionNextHops),
    Export(Export),
    Med(Option<u32>),
    NextUpdates(usize),
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::IPV4_UNICAST), Just(Family::IPV6_UNICAST)]
}

fn next_hops() -> impl Strategy<Value = SessionNextHops> {
    let v4 = NextHop::V4(NEXT_HOP);
    let v6 = NextHop::V6 { global: NEXT_HOP_6, link_local: None };
    let both = NextHop::V6 { global: NEXT_HOP_6, link_local: Some("fe80::2".parse().unwrap()) };
    let hop = prop_oneof![Just(None), Just(Some(v4)), Just(Some(v6)), Just(Some(both))];
    (hop, prop_oneof![Just(None), Just(Some(v6)), Just(Some(both))])
        .prop_map(|(v4, v6)| SessionNextHops { v4, v6 })
}

/// Some bring their own next hop.
fn route() -> impl Strategy<Value = Arc<RouteAttributes>> {
    (attributes(), any::<bool>()).prop_map(|(attributes, own)| {
        let next_hop = own.then_some(NEXT_HOP.into());
        Arc::new(RouteAttributes { next_hop, ..(*attributes).clone() })
    })
}

/// Some have bits behind their length.
fn any_prefix() -> impl Strategy<Value = IpNet> {
    prop_oneof![9 => prefix().prop_map(|prefix| prefix.trunc()), 1 => prefix()]
}

fn op() -> impl Strategy<Value = Op> {
    let change = (any_prefix(), proptest::option::weighted(0.7, route()));
    prop_oneof![
        1 => proptest::collection::btree_map(any_prefix(), route(), 0..40).prop_map(Op::Set),
        5 => proptest::collection::vec(change, 0..5).prop_map(Op::Change),
        1 => Just(Op::Undo),
        1 => family().prop_map(Op::Refresh),
        1 => next_hops().prop_map(Op::NextHops),
        1 => prop::sample::select(vec![Export::Plain, Export::Leaving, Export::Nothing]).prop_map(Op::Export),
        1 => prop::sample::select(vec![None, Some(0), Some(7)]).prop_map(Op::Med),
        5 => (0..6_usize).prop_map(Op::NextUpdates),
    ]
}

proptest! {
    #![proptest_config(crate::testing::cases(80))]

    #[test]
    fn every_update_is_the_one_that_a_rib_planned_from_scratch_sends(
        ops in proptest::collection::vec(op(), 1..60),
        internal: bool,
        both_families: bool,
    ) {
        let context = if internal { SessionContext::internal() } else { SessionContext::external() };
        let mut egress = egress(context);
        if !both_families {
            egress.families.remove(&Family::IPV6_UNICAST);
        }
        let (mut rib, mut model) = (AdjRibOut::new(egress.clone()), FromScratch::new(egress));
        let (mut wanted, mut before) = (Routes::new(), Routes::new());
        for op in ops.into_iter().chain([Op::NextUpdates(usize::MAX)]) {
            let last = wanted.clone();
            match op {
                Op::Set(routes) => wanted = routes.into_iter().collect(),
                Op::Change(changes) => for (prefix, route) in changes {
                    match route {
                        Some(route) => drop(wanted.insert(prefix, route)),
                        None => drop(wanted.remove(&prefix)),
                    }
                },
                Op::Undo => wanted = before.clone(),
                Op::Refresh(family) => {
                    rib.refresh(family, &wanted);
                    model.refresh(family, &wanted);
                    continue;
                }
                Op::NextHops(next_hops) => {
                    rib.set_next_hops(next_hops, &wanted);
                    model.set_next_hops(next_hops, &wanted);
                    continue;
                }
                Op::Export(export) => {
                    rib.set_export(export, &wanted);
                    model.set_export(export, &wanted);
                    continue;
                }
                Op::Med(med) => {
                    rib.set_med(med, &wanted);
                    model.set_med(med, &wanted);
                    continue;
                }
                Op::NextUpdates(count) => {
                    for _ in 0..count {
                        let update = rib.next_update();
                        prop_assert_eq!(&update, &model.next_update());
                        prop_assert_eq!(rib.sent_count(), model.sent.len());
                        prop_assert!(rib.withheld().iter().eq(&model.withheld));
                        if update.is_none() {
                            break;
                        }
                    }
                    continue;
                }
            }
            before = last;
            rib.set(&wanted);
            model.set(&wanted);
            prop_assert!(rib.withheld().iter().eq(&model.withheld));
        }
        prop_assert!(rib.is_synced());
        // A synced peer is behind only in the withheld routes.
        prop_assert!(rib.behind.keys().eq(rib.withheld.keys()));
        prop_assert!(rib.announce.is_empty() && rib.withdraw.is_empty() && rib.resend.is_empty());
    }
}
