//! The paths that a peer announces to prefixes that we may announce ourselves: other speakers with the same prefix.
//!
//! ```text
//!                  ┌─ not watched: nothing is kept ─────────────────► (counted by the machine)
//!  UPDATE ─► each prefix
//!                  └─ watched ─► at most one Path of bounded size ──► status
//! ```
//!
//! An announcing host has no use for a routing table, and no peer may make its memory grow: the table holds at most one
//! path for each watched prefix, under 1 KiB each. No decision depends on these paths.
//!
//! An [`AdjRibIn`] lives exactly as long as its session: the paths go with the session.

mod frozen;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;

use crate::prefix_map::PrefixMap;
use crate::route::family_of;
use crate::wire::{
    AsWidth, Asn, Attribute, Community, ErrorAction, Family, LargeCommunity, MpNlri, Origin, Peering,
    RefreshKind, Role, SessionContext, Update, is_host,
};

/// Prefixes whose paths are remembered, bits behind the prefix length cleared.
pub type Watched = BTreeSet<IpNet>;

/// The paths by prefix. Prefixes of one UPDATE share one path.
pub type Paths = PrefixMap<Arc<Path>>;

/// A path to a watched prefix: the attributes that identify the announcer to an operator, cut to a bounded size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Path {
    /// The next hop; the global address of two.
    pub next_hop: IpAddr,
    /// The ASNs of the path, nearest first, including those in sets; at most [`Self::MAX_ASNS`].
    pub as_path: Vec<Asn>,
    /// The number of ASNs left out at the far end of the AS path.
    pub more_asns: usize,
    /// The origin AS: the last of the whole AS path; `None` for our own AS.
    pub origin_as: Option<Asn>,
    /// ORIGIN.
    pub origin: Origin,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF, from iBGP peers.
    pub local_pref: Option<u32>,
    /// At most [`Self::MAX_COMMUNITIES`].
    pub communities: Vec<Community>,
    /// At most [`Self::MAX_COMMUNITIES`].
    pub large_communities: Vec<LargeCommunity>,
    /// The number of communities of both kinds left out.
    pub more_communities: usize,
    /// The announcer: we, or another speaker.
    pub whose: Whose,
}

impl Path {
    /// Longer AS paths are cut. Legitimate paths on the Internet are shorter.
    pub const MAX_ASNS: usize = 32;
    /// The most communities of a kind that a path keeps.
    pub const MAX_COMMUNITIES: usize = 16;
}

/// The announcer of a path, as far as the path shows it.
///
/// A router may reflect our own route: FRR sends it to every member of an update group that has more than one. So a
/// path alone does not prove that another speaker announces the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Another speaker.
    Other,
    /// Our own route, reflected: its next hop is an address of ours, or its ORIGINATOR_ID our identifier (RFC 4456 §8).
    Ours,
    /// Either. The path starts in our AS, where other nodes may be; or the peer has replaced its neighbors' AS numbers
    /// by its own (`as-override`).
    Unclear,
}

/// The session's parameters for received routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// Families that both sides offered; routes of other families are ignored.
    pub families: BTreeSet<Family>,
    /// The decoding parameters of the session.
    pub context: SessionContext,
    /// Our ASN towards this peer.
    pub local_as: Asn,
    /// The peer's ASN.
    pub peer_as: Asn,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Whether IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Our role towards the peer (RFC 9234).
    pub role: Option<Role>,
    /// Addresses that are next hops of our own announcements.
    pub addresses: BTreeSet<IpAddr>,
}

/// The paths for watched prefixes of one Established session.
#[derive(Debug, Clone)]
pub struct AdjRibIn {
    ingress: Ingress,
    watched: Arc<Watched>,
    lengths: Lengths,
    /// Shared with the readers of the status.
    paths: Paths,
    /// Prefixes not announced again since the begin of a refresh (RFC 7313 §4.2).
    stale: BTreeSet<IpNet>,
}

impl AdjRibIn {
    /// An empty table.
    pub fn new(ingress: Ingress, watched: Arc<Watched>) -> Self {
        let lengths = Lengths::of(&watched, &ingress.families);
        Self { ingress, watched, lengths, paths: Paths::new(), stale: BTreeSet::new() }
    }

    /// Replaces our own addresses. Paths heard before keep their announcer.
    pub fn set_addresses(&mut self, addresses: BTreeSet<IpAddr>) {
        self.ingress.addresses = addresses;
    }

    /// Replaces the watched prefixes. Paths to other prefixes are dropped. Returns the session's families with new
    /// watched prefixes: the peer may have announced paths to them before.
    pub fn watch(&mut self, watched: Arc<Watched>) -> BTreeSet<Family> {
        let new = watched.difference(&self.watched).map(family_of);
        let new = new.filter(|family| self.ingress.families.contains(family)).collect();
        let gone: Vec<IpNet> =
            self.paths.keys().filter(|prefix| !watched.contains(*prefix)).copied().collect();
        for prefix in gone {
            self.paths.remove(&prefix);
            self.stale.remove(&prefix);
        }
        self.lengths = Lengths::of(&watched, &self.ingress.families);
        self.watched = watched;
        new
    }

    /// Takes the watched prefixes of an UPDATE. A prefix that it both withdraws and announces is announced (RFC 4271
    /// §4.3); a prefix with a malformed announcement is withdrawn (RFC 7606 §2).
    pub fn learn(&mut self, update: &Update) {
        if self.watched.is_empty() {
            return;
        }
        for prefix in update.withdrawn_prefixes() {
            self.forget(&prefix);
        }
        if update.action() == Some(ErrorAction::TreatAsWithdraw) {
            return;
        }
        // NLRI and MP_REACH_NLRI of one UPDATE have separate next hops.
        self.learn_all(update, update.nlri.iter().copied().map(IpNet::V4), || {
            update.attributes.iter().find_map(|attribute| {
                if let Attribute::NextHop(address) = attribute { Some(IpAddr::V4(*address)) } else { None }
            })
        });
        if let Some(reach) = update.mp_reach() {
            let (v4, v6): (&[Ipv4Net], &[Ipv6Net]) = match &reach.nlri {
                MpNlri::Ipv4(prefixes) => (prefixes, &[]),
                MpNlri::Ipv6(prefixes) => (&[], prefixes),
                MpNlri::Opaque(_) => (&[], &[]),
            };
            let prefixes = v4.iter().copied().map(IpNet::V4).chain(v6.iter().copied().map(IpNet::V6));
            self.learn_all(update, prefixes, || reach.next_hop.address());
        }
    }

    /// The peer begins or ends a refresh of a family: paths that it did not announce in between are dropped (RFC 7313
    /// §4.2).
    pub fn refreshed(&mut self, family: Family, kind: RefreshKind) {
        match kind {
            RefreshKind::Begin => {
                self.stale.extend(self.paths.keys().filter(|prefix| family_of(prefix) == family));
            }
            RefreshKind::End => {
                let gone: Vec<IpNet> =
                    self.stale.iter().filter(|p| family_of(p) == family).copied().collect();
                for prefix in gone {
                    self.forget(&prefix);
                }
            }
            RefreshKind::Normal | RefreshKind::Other(_) => {}
        }
    }

    /// The peer's paths to the watched prefixes.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    fn learn_all(
        &mut self,
        update: &Update,
        prefixes: impl Iterator<Item = IpNet>,
        next_hop: impl Fn() -> Option<IpAddr>,
    ) {
        // Made at the first watched prefix; most UPDATEs have none.
        let mut path: Option<Arc<Path>> = None;
        for prefix in prefixes {
            if !self.watches(&prefix) {
                continue;
            }
            if path.is_none() {
                let next_hop = next_hop().filter(|next_hop| self.ingress.may_lead_by(*next_hop, &prefix));
                path = next_hop.and_then(|next_hop| self.ingress.path(update, next_hop)).map(Arc::new);
            }
            // An unusable path still replaces the one before.
            let Some(path) = &path else {
                self.forget(&prefix);
                continue;
            };
            self.stale.remove(&prefix);
            if self.paths.get(&prefix) != Some(path) {
                self.paths.insert(prefix, Arc::clone(path));
            }
        }
    }

    fn forget(&mut self, prefix: &IpNet) {
        if self.watches(prefix) && self.paths.remove(prefix).is_some() {
            self.stale.remove(prefix);
        }
    }

    fn watches(&self, prefix: &IpNet) -> bool {
        self.lengths.contain(prefix) && self.watched.contains(prefix)
    }
}

impl Ingress {
    /// Whether the next hop is usable: it can be a host's (RFC 4271 §6.3), and its family was negotiated for the prefix
    /// (RFC 8950 §4). An unusable next hop is no error of the message, so the decoder accepts it.
    fn may_lead_by(&self, next_hop: IpAddr, prefix: &IpNet) -> bool {
        is_host(next_hop)
            && match (prefix, next_hop) {
                (IpNet::V4(_), IpAddr::V4(_)) | (IpNet::V6(_), IpAddr::V6(_)) => true,
                (IpNet::V4(_), IpAddr::V6(_)) => self.extended_next_hop,
                (IpNet::V6(_), IpAddr::V4(_)) => false,
            }
    }

    /// Whether the route is a leak, and so not eligible (RFC 9234 §5, ingress 1 and 2).
    fn is_leak(&self, update: &Update) -> bool {
        let marked = update.attributes.iter().find_map(|attribute| {
            if let Attribute::OnlyToCustomer(asn) = attribute { Some(*asn) } else { None }
        });
        match (self.role, marked) {
            // The peer is a customer, or a route server's client.
            (Some(Role::Provider | Role::Rs), Some(_)) => true,
            (Some(Role::Peer), Some(asn)) => asn != self.peer_as,
            (Some(Role::Customer | Role::RsClient) | None, _) | (_, None) => false,
        }
    }

    fn path(&self, update: &Update, next_hop: IpAddr) -> Option<Path> {
        // A two-octet peer's AS path is in two attributes.
        let merged = (self.context.as_width == AsWidth::Two).then(|| {
            let attributes = update.attributes.clone();
            let mut merged = Update { attributes, ..Update::default() };
            merged.merge_as4();
            merged
        });
        let update = merged.as_ref().unwrap_or(update);
        if self.is_leak(update) {
            return None;
        }
        let as_path = update.as_path()?;
        // A router of another AS prepends its own number (RFC 4271 §5.1.2); through a route server its client does.
        if self.context.peering == Peering::External && as_path.segments.is_empty() {
            return None;
        }
        let all = as_path.asns().count();
        let mut path = Path {
            next_hop,
            as_path: as_path.asns().take(Path::MAX_ASNS).collect(),
            more_asns: all.saturating_sub(Path::MAX_ASNS),
            origin_as: as_path.asns().last(),
            origin: Origin::Incomplete,
            med: None,
            local_pref: None,
            communities: Vec::new(),
            large_communities: Vec::new(),
            more_communities: 0,
            whose: Whose::Other,
        };
        let mut originator = None;
        for attribute in &update.attributes {
            match attribute {
                Attribute::Origin(origin) => path.origin = *origin,
                Attribute::MultiExitDisc(med) => path.med = Some(*med),
                Attribute::LocalPref(preference) => path.local_pref = Some(*preference),
                Attribute::OriginatorId(router_id) => originator = Some(*router_id),
                Attribute::Communities(all) => {
                    path.communities = all.iter().take(Path::MAX_COMMUNITIES).copied().collect();
                    path.more_communities += all.len() - path.communities.len();
                }
                Attribute::LargeCommunities(all) => {
                    path.large_communities = all.iter().take(Path::MAX_COMMUNITIES).copied().collect();
                    path.more_communities += all.len() - path.large_communities.len();
                }
                Attribute::AsPath(_)
                | Attribute::NextHop(_)
                | Attribute::AtomicAggregate
                | Attribute::Aggregator { .. }
                | Attribute::ClusterList(_)
                | Attribute::MpReach(_)
                | Attribute::MpUnreach(_)
                | Attribute::ExtendedCommunities(_)
                | Attribute::As4Path(_)
                | Attribute::As4Aggregator { .. }
                | Attribute::OnlyToCustomer(_)
                | Attribute::Unknown { .. } => {}
            }
        }
        let overridden = self.context.peering == Peering::External
            && all > 1
            && as_path.asns().all(|asn| asn == self.peer_as);
        path.whose = if self.addresses.contains(&next_hop) || originator == Some(self.router_id) {
            Whose::Ours
        } else if path.origin_as == Some(self.local_as) || overridden {
            Whose::Unclear
        } else {
            Whose::Other
        };
        Some(path)
    }
}

/// The lengths of the watched prefixes: most routes of a full table are ruled out by their length, without a search.
#[derive(Debug, Clone)]
struct Lengths {
    v4: [bool; Ipv4Addr::BITS as usize + 1],
    v6: [bool; std::net::Ipv6Addr::BITS as usize + 1],
}

impl Lengths {
    fn of(watched: &Watched, families: &BTreeSet<Family>) -> Self {
        let mut lengths = Self { v4: [false; _], v6: [false; _] };
        for prefix in watched.iter().filter(|prefix| families.contains(&family_of(prefix))) {
            if let Some(length) = lengths.slots(prefix).get_mut(usize::from(prefix.prefix_len())) {
                *length = true;
            }
        }
        lengths
    }

    fn contain(&self, prefix: &IpNet) -> bool {
        let slots: &[bool] = match prefix {
            IpNet::V4(_) => &self.v4,
            IpNet::V6(_) => &self.v6,
        };
        slots.get(usize::from(prefix.prefix_len())).copied().unwrap_or(false)
    }

    fn slots(&mut self, prefix: &IpNet) -> &mut [bool] {
        match prefix {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        }
    }
}

#[cfg(test)]
mod tests;
