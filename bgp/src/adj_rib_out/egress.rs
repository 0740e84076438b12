//! The parameters of a session for sent routes, and the UPDATEs made by them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Withheld;
use crate::next_hop::{NextHop, SessionNextHops};
use crate::route::{RouteAttributes, family_of};
use crate::wire::{
    AsPath, AsWidth, Asn, Attribute, Community, ExtendedCommunity, Family, MAX_MESSAGE_LEN, Message,
    MpNextHop, MpNlri, MpReach, MpUnreach, Origin, Peering, Role, SessionContext, Update, iana,
};

/// RFC 4271 §9.1.1 leaves the value open; this is what every implementation uses.
const DEFAULT_LOCAL_PREF: u32 = 100;

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

impl Egress {
    /// The reason why a route cannot be sent; `is_sent`: whether the peer has the prefix.
    pub(super) fn obstacle(
        &self,
        prefix: &IpNet,
        attributes: &RouteAttributes,
        is_sent: bool,
    ) -> Option<Withheld> {
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
    pub(super) fn sends_the_same(
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

    pub(super) fn reach(&self, family: Family, route: &RouteAttributes, prefixes: &[IpNet]) -> Update {
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
    pub(super) fn room(&self, empty: &Update) -> Option<usize> {
        let used = Message::Update(empty.clone()).encode(&self.context).ok()?.len();
        // If the prefixes are inside an attribute, its length field grows to two octets.
        let growth = usize::from(empty.mp_reach().is_some() || empty.mp_unreach().is_some());
        MAX_MESSAGE_LEN.checked_sub(used + growth)
    }
}

pub(super) fn unreach(family: Family, prefixes: &[IpNet]) -> Update {
    let (withdrawn, attributes) = if family == Family::IPV4_UNICAST {
        (v4(prefixes), Vec::new())
    } else {
        (Vec::new(), vec![Attribute::MpUnreach(MpUnreach { family, nlri: MpNlri::Ipv6(v6(prefixes)) })])
    };
    Update { withdrawn, attributes, nlri: Vec::new(), malformed: Vec::new() }
}

fn v4(prefixes: &[IpNet]) -> Vec<Ipv4Net> {
    prefixes.iter().filter_map(|prefix| if let IpNet::V4(net) = prefix { Some(*net) } else { None }).collect()
}

fn v6(prefixes: &[IpNet]) -> Vec<Ipv6Net> {
    prefixes.iter().filter_map(|prefix| if let IpNet::V6(net) = prefix { Some(*net) } else { None }).collect()
}
