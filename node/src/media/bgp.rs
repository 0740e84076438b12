//! BGP: each VIP that is announced is a route with attributes.
//!
//! ```text
//!  Announce ─► `announce` of the service
//!  Demote   ─► `demoted` of the service; path length and LOCAL_PREF by rank
//!              leaving: GRACEFUL_SHUTDOWN (RFC 8326) as well
//!  Withhold ─► no route
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::vip::Vip;
use vipcast_bgp::RouteAttributes;
use vipcast_bgp::wire::{Community, Family, iana};

use crate::engine::{Demotion, Verdict};
use crate::model::Service;

/// The routes of one service. VIPs of a family with the same verdict share their attributes, so that thousands of VIPs
/// need little memory and few UPDATEs.
#[derive(Debug)]
pub struct ServiceRoutes<'a> {
    service: &'a Service,
    shared: BTreeMap<(Family, Option<Demotion>), Arc<RouteAttributes>>,
}

impl<'a> ServiceRoutes<'a> {
    /// The routes of `service`, made on demand.
    pub fn new(service: &'a Service) -> Self {
        Self { service, shared: BTreeMap::new() }
    }

    /// The route of a VIP; `None` while it is withheld.
    pub fn of(&mut self, vip: &Vip, verdict: &Verdict) -> Option<Arc<RouteAttributes>> {
        let how = match verdict {
            Verdict::Announce => None,
            Verdict::Demote { how, reason: _ } => Some(*how),
            Verdict::Withhold(_) => return None,
        };
        let (service, family) = (self.service, vip.family());
        let shared = self.shared.entry((family, how));
        Some(Arc::clone(shared.or_insert_with(|| Arc::new(attributes(service, how, family)))))
    }
}

fn attributes(service: &Service, how: Option<Demotion>, family: Family) -> RouteAttributes {
    let rank = how.and_then(Demotion::rank);
    let announce = match rank {
        None => &service.announce,
        Some(_) => &service.demoted,
    };
    let mut communities = announce.communities.clone();
    let mut local_pref = rank.map_or(announce.local_pref, |rank| Some(service.preference(rank)));
    match how {
        Some(Demotion::Leaving(_)) => {
            communities.insert(Community(iana::community::GRACEFUL_SHUTDOWN));
            // RFC 8326 §4.1: over iBGP the community alone has no effect; the lowest preference has.
            local_pref = Some(0);
        }
        Some(Demotion::Worse(_)) | None => {}
    }
    RouteAttributes {
        as_path_prepend: rank.map_or(announce.as_path_prepend, |rank| service.prepends(rank)),
        med: announce.med,
        local_pref,
        communities,
        extended_communities: announce.extended_communities.clone(),
        link_bandwidth: announce.link_bandwidth,
        large_communities: announce.large_communities.clone(),
        next_hop: announce.next_hop.of(family),
    }
}
