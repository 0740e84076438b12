//! Facts in, decisions out. Pure: the same facts at the same time always give the same decisions.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use vipcast_bgp::wire::{Community, iana};
use vipcast_bgp::{RouteAttributes, family_of};

use super::condition::{Health, health};
use super::facts::{Facts, Shutdown};
use super::verdict::{Reason, Verdict};
use crate::config::model::{BindPolicy, OnDegraded, OnDown, Rank, Role, Service};
use crate::names::ServiceName;

/// What is to become of one VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether and how it is announced.
    pub verdict: Verdict,
    /// Whether its address should be on the host.
    pub bind: bool,
}

/// Decides about every VIP of a service.
pub(super) fn decide(
    name: &ServiceName,
    service: &Service,
    facts: &Facts,
    now: Instant,
) -> BTreeMap<IpNet, Decision> {
    let alike = !service.checks.differs_by_vip() && !service.recovers();
    let common = alike.then(|| intent(name, service, None, facts, now));
    let stays = match facts.shutdown {
        Some(Shutdown::Unbinding { .. } | Shutdown::Done) => false,
        Some(
            Shutdown::Draining { .. }
            | Shutdown::Withdrawing { .. }
            | Shutdown::Settling { .. }
            | Shutdown::Ceasing { .. },
        )
        | None => true,
    };
    // Prefixes of a family share their attributes, so that thousands of VIPs stay small and pack into few UPDATEs.
    let mut shared = BTreeMap::new();
    let decision = |vip: &IpNet| {
        let own;
        let intent = match &common {
            Some(intent) => intent,
            None => {
                own = intent(name, service, Some(vip), facts, now);
                &own
            }
        };
        let wanted = service.bind == BindPolicy::Always || !matches!(intent, Intent::Withhold(_));
        let bind = stays && wanted && is_host_address(vip);
        let obstacle = is_host_address(vip).then(|| obstacle(vip.addr(), service, facts, now)).flatten();
        let mut attributes = |rank, graceful| {
            let route = || Arc::new(route(service, rank, vip, graceful));
            Arc::clone(shared.entry((family_of(vip), rank, graceful)).or_insert_with(route))
        };
        let verdict = match (intent, obstacle) {
            (Intent::Withhold(reason), _) => Verdict::Withhold(reason.clone()),
            (Intent::Announce | Intent::Demote { .. }, Some(reason)) => Verdict::Withhold(reason),
            (Intent::Announce, None) => Verdict::Announce(attributes(None, false)),
            (Intent::Demote { rank, graceful, reason }, None) => {
                Verdict::Demote(attributes(*rank, *graceful), reason.clone())
            }
        };
        (*vip, Decision { verdict, bind })
    };
    service.vips.iter().map(decision).collect()
}

/// Why nobody can reach the service at this address through this host, whatever its health.
fn obstacle(ip: IpAddr, service: &Service, facts: &Facts, now: Instant) -> Option<Reason> {
    let contest = facts.contests.get(&ip).filter(|contest| contest.is_repeated());
    if contest.is_some_and(|contest| !contest.may_be_announced(now)) {
        return Some(Reason::Contested);
    }
    if facts.is_bound(ip) {
        return None;
    }
    let mut unusable =
        facts.lasting(ip).filter_map(|(address, held)| Some((address, facts.unusable(address, held)?)));
    Some(unusable.next().map_or(Reason::NotBound, |(address, why)| Reason::Unusable {
        interface: facts.shown_name(address, &service.interface),
        why,
    }))
}

/// Whether a VIP is an address that we bind, and not a wider prefix.
pub(super) fn is_host_address(vip: &IpNet) -> bool {
    vip.prefix_len() == vip.max_prefix_len()
}

/// What a VIP would be announced as, were its address bound.
enum Intent {
    Announce,
    /// As a worse path (`rank`), with GRACEFUL_SHUTDOWN (`graceful`), or both.
    Demote {
        rank: Option<Rank>,
        graceful: bool,
        reason: Reason,
    },
    Withhold(Reason),
}

/// Whoever stops us or drains the service wins over its checks; GRACEFUL_SHUTDOWN does not: a service that is down
/// while it is drained is withdrawn. `vip` matters only where VIPs of the service may differ.
fn intent(name: &ServiceName, service: &Service, vip: Option<&IpNet>, facts: &Facts, now: Instant) -> Intent {
    let graceful = match (facts.shutdown, facts.drains.get(name)) {
        (None, None) => None,
        (Some(Shutdown::Draining { .. }), None) => Some(Reason::ShuttingDown),
        (None | Some(Shutdown::Draining { .. }), Some(drain)) => {
            if drain.clock.withdraw_at.is_none_or(|at| at <= now) {
                return Intent::Withhold(Reason::Drained);
            }
            Some(Reason::Draining)
        }
        (Some(_), _) => return Intent::Withhold(Reason::Shutdown),
    };
    let mut worst = match service.role {
        Role::Standby => Some((Rank::Standby, Reason::Standby)),
        Role::Active(_) => None,
    };
    let mut demote = |rank, reason| {
        if worst.as_ref().is_none_or(|(worst, _)| *worst < rank) {
            worst = Some((rank, reason));
        }
    };
    match (health(&service.checks, vip, facts), service.on_down, service.on_degraded) {
        (Health::Unsettled(check), _, _) => return Intent::Withhold(Reason::CheckUnknown { check }),
        (Health::Failing(check), OnDown::Withdraw, _) => {
            return Intent::Withhold(Reason::CheckDown { check });
        }
        (Health::Failing(check), OnDown::Demote, _) => demote(Rank::Down, Reason::CheckDown { check }),
        (Health::Degraded(check), _, OnDegraded::Withdraw) => {
            return Intent::Withhold(Reason::CheckDegraded { check });
        }
        (Health::Degraded(check), _, OnDegraded::Demote) => {
            demote(Rank::Degraded, Reason::CheckDegraded { check });
        }
        (Health::Degraded(_), _, OnDegraded::Ignore) | (Health::Passing, _, _) => {}
    }
    if let Some(recovery) = vip.and_then(|vip| facts.recovering.get(vip)) {
        if recovery.held.is_some() {
            demote(Rank::Degraded, Reason::HeldBack);
        }
        if recovery.warm_until.is_some_and(|until| until > now) {
            demote(Rank::Degraded, Reason::WarmingUp);
        }
    }
    match (graceful, worst) {
        (None, None) => Intent::Announce,
        (Some(reason), worst) => Intent::Demote { rank: worst.map(|(rank, _)| rank), graceful: true, reason },
        (None, Some((rank, reason))) => Intent::Demote { rank: Some(rank), graceful: false, reason },
    }
}

fn route(service: &Service, rank: Option<Rank>, vip: &IpNet, graceful: bool) -> RouteAttributes {
    let announce = match rank {
        None => &service.announce,
        Some(_) => &service.demoted,
    };
    let mut communities = announce.communities.clone();
    if graceful {
        communities.insert(Community(iana::community::GRACEFUL_SHUTDOWN));
    }
    RouteAttributes {
        as_path_prepend: rank.map_or(announce.as_path_prepend, |rank| service.prepends(rank)),
        med: announce.med,
        // RFC 8326 §4.1: inside an AS the community alone moves nothing; the lowest preference does.
        local_pref: if graceful {
            Some(0)
        } else {
            rank.map_or(announce.local_pref, |rank| Some(service.preference(rank)))
        },
        communities,
        extended_communities: announce.extended_communities.clone(),
        link_bandwidth: announce.link_bandwidth,
        large_communities: announce.large_communities.clone(),
        next_hop: announce.next_hop.of(family_of(vip)),
    }
}
