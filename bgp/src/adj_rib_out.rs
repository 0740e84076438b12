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

mod frozen;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::next_hop::{NextHop, SessionNextHops};
use crate::prefix_map::{Change, PrefixMap};
use crate::route::{RouteAttributes, Routes, family_of};
use crate::wire::{
    AsPath, AsWidth, Asn, Attribute, Community, ExtendedCommunity, Family, MAX_MESSAGE_LEN, Message,
    MpNextHop, MpNlri, MpReach, MpUnreach, Origin, Peering, Role, SessionContext, Update, encoded_prefix_len,
    iana,
};

/// The session's parameters for sent routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// Families that both sides offered.
    pub families: BTreeSet<Family>,
    /// The encoding parameters of the session.
    pub context: SessionContext,
    /// Our ASN towards this peer.
    pub local_as: Asn,
    /// Next hops by family, for routes without their own.
    pub next_hops: SessionNextHops,
    /// Our role towards the peer (RFC 9234).
    pub role: Option<Role>,
    /// The MULTI_EXIT_DISC of routes without their own; `None`: not sent.
    pub med: Option<u32>,
    /// The export of routes.
    pub export: Export,
}

/// The export of routes on a session: a router in maintenance loses them gracefully (RFC 8326), and the session stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Export {
    /// Every route is sent as it is.
    #[default]
    Plain,
    /// The routes that the peer has carry GRACEFUL_SHUTDOWN, with LOCAL_PREF 0 on iBGP sessions. No other route is sent.
    Leaving,
    /// No route is sent, and those that the peer has are withdrawn.
    Nothing,
}

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

impl Egress {
    /// The reason why a route cannot be sent; `is_sent`: whether the peer has the prefix.
    fn obstacle(&self, prefix: &IpNet, attributes: &RouteAttributes, is_sent: bool) -> Option<Withheld> {
        let family = family_of(prefix);
        let drained = match self.export {
            Export::Plain => false,
            Export::Leaving => !is_sent,
            Export::Nothing => true,
        };
        if !self.families.contains(&family) {
            Some(Withheld::FamilyNotNegotiated)
        } else if self.next_hop(family, attributes).is_none() {
            Some(Withheld::NoNextHop)
        } else {
            drained.then_some(Withheld::Drained)
        }
    }

    /// Whether both routes are sent with the same attributes, or both are absent: LOCAL_PREF stays inside an AS (RFC
    /// 4271 §5.1.5), and our AS path is empty there.
    fn sends_the_same(
        &self,
        family: Family,
        one: Option<&RouteAttributes>,
        other: Option<&RouteAttributes>,
    ) -> bool {
        let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
        let told = |route: &RouteAttributes| match self.context.peering {
            Peering::External => (u32::from(route.as_path_prepend), self.next_hop(family, route)),
            Peering::Internal => (self.preference(route), self.next_hop(family, route)),
        };
        let RouteAttributes {
            as_path_prepend: _,
            local_pref: _,
            next_hop: _,
            med: _,
            communities,
            extended_communities,
            link_bandwidth,
            large_communities,
        } = one;
        told(one) == told(other)
            && self.med(one) == self.med(other)
            && (*communities == other.communities || self.communities(one) == self.communities(other))
            && *extended_communities == other.extended_communities
            && *link_bandwidth == other.link_bandwidth
            && *large_communities == other.large_communities
    }

    /// The route's own next hop if it has the right family, else the session's.
    fn next_hop(&self, family: Family, attributes: &RouteAttributes) -> Option<NextHop> {
        let own = attributes.next_hop.filter(|address| family_of(&(*address).into()) == family);
        own.map(NextHop::from).or_else(|| self.next_hops.of(family))
    }

    fn reach(&self, family: Family, route: &RouteAttributes, prefixes: &[IpNet]) -> Update {
        let mut attributes = vec![Attribute::Origin(Origin::Igp), Attribute::AsPath(self.as_path(route))];
        if let Some(med) = self.med(route) {
            attributes.push(Attribute::MultiExitDisc(med));
        }
        if self.context.peering == Peering::Internal {
            attributes.push(Attribute::LocalPref(self.preference(route)));
        }
        let communities = self.communities(route);
        if !communities.is_empty() {
            attributes.push(Attribute::Communities(communities.iter().copied().collect()));
        }
        let bandwidth =
            route.link_bandwidth.map(|rate| ExtendedCommunity::link_bandwidth(self.local_as, rate));
        if bandwidth.is_some() || !route.extended_communities.is_empty() {
            let all = bandwidth.into_iter().chain(route.extended_communities.iter().copied());
            attributes.push(Attribute::ExtendedCommunities(all.collect()));
        }
        if !route.large_communities.is_empty() {
            attributes.push(Attribute::LargeCommunities(route.large_communities.iter().copied().collect()));
        }
        if self.context.as_width == AsWidth::Two
            && !self.local_as.fits_two_octets()
            && self.context.peering == Peering::External
        {
            attributes.push(Attribute::As4Path(self.as_path(route)));
        }
        // Our routes originate here, so none has the attribute already (RFC 9234 §5, egress 1).
        if self.role.is_some_and(Role::marks_routes) {
            attributes.push(Attribute::OnlyToCustomer(self.local_as));
        }
        let mut nlri = Vec::new();
        match self.next_hop(family, route) {
            Some(NextHop::V4(next_hop)) => {
                attributes.push(Attribute::NextHop(next_hop));
                nlri = v4(prefixes);
            }
            Some(NextHop::V6 { global, link_local }) => {
                let next_hop = MpNextHop::Ipv6 { global, link_local };
                let nlri = if family == Family::IPV4_UNICAST {
                    MpNlri::Ipv4(v4(prefixes))
                } else {
                    MpNlri::Ipv6(v6(prefixes))
                };
                attributes.push(Attribute::MpReach(MpReach { family, next_hop, nlri }));
            }
            None => {}
        }
        Update { withdrawn: Vec::new(), attributes, nlri, malformed: Vec::new() }
    }

    /// LOCAL_PREF on an iBGP session. RFC 8326 §4.1: there GRACEFUL_SHUTDOWN alone has no effect; the lowest preference has.
    fn preference(&self, route: &RouteAttributes) -> u32 {
        match self.export {
            Export::Leaving => 0,
            Export::Plain | Export::Nothing => route.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
        }
    }

    fn med(&self, route: &RouteAttributes) -> Option<u32> {
        route.med.or(self.med)
    }

    fn communities<'a>(&self, route: &'a RouteAttributes) -> Cow<'a, BTreeSet<Community>> {
        match self.export {
            Export::Leaving => {
                let mut communities = route.communities.clone();
                communities.insert(Community(iana::community::GRACEFUL_SHUTDOWN));
                Cow::Owned(communities)
            }
            Export::Plain | Export::Nothing => Cow::Borrowed(&route.communities),
        }
    }

    fn as_path(&self, route: &RouteAttributes) -> AsPath {
        let times = match self.context.peering {
            Peering::External => 1 + usize::from(route.as_path_prepend),
            Peering::Internal => 0,
        };
        AsPath::sequence(std::iter::repeat_n(self.local_as, times))
    }

    /// The room for prefixes, in bytes, in an UPDATE with the attributes of `empty`.
    fn room(&self, empty: &Update) -> Option<usize> {
        let used = Message::Update(empty.clone()).encode(&self.context).ok()?.len();
        // If the prefixes are inside an attribute, its length field grows to two octets.
        let growth = usize::from(empty.mp_reach().is_some() || empty.mp_unreach().is_some());
        MAX_MESSAGE_LEN.checked_sub(used + growth)
    }
}

/// RFC 4271 §9.1.1 leaves the value open; this is what every implementation uses.
const DEFAULT_LOCAL_PREF: u32 = 100;

fn unreach(family: Family, prefixes: &[IpNet]) -> Update {
    let (withdrawn, attributes) = if family == Family::IPV4_UNICAST {
        (v4(prefixes), Vec::new())
    } else {
        (Vec::new(), vec![Attribute::MpUnreach(MpUnreach { family, nlri: MpNlri::Ipv6(v6(prefixes)) })])
    };
    Update { withdrawn, attributes, nlri: Vec::new(), malformed: Vec::new() }
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

fn v4(prefixes: &[IpNet]) -> Vec<Ipv4Net> {
    prefixes.iter().filter_map(|prefix| if let IpNet::V4(net) = prefix { Some(*net) } else { None }).collect()
}

fn v6(prefixes: &[IpNet]) -> Vec<Ipv6Net> {
    prefixes.iter().filter_map(|prefix| if let IpNet::V6(net) = prefix { Some(*net) } else { None }).collect()
}

#[cfg(test)]
mod tests;
