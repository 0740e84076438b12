//! Facts in, decisions out. Pure: the same facts at the same time always give the same decisions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use vipcast_bgp::wire::{Community, iana};
use vipcast_bgp::{RouteAttributes, family_of};

use super::facts::{Facts, Shutdown};
use super::verdict::{Reason, Verdict};
use crate::config::model::{Announce, BindPolicy, Condition, OnDown, Service};
use crate::names::{CheckName, ServiceName};

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
    let common = (!service.checks.differs_by_vip()).then(|| intent(name, service, None, facts, now));
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
        let bound = !is_host_address(vip) || facts.is_bound(vip.addr());
        let mut attributes = |announce: &Announce, graceful| {
            let key = (family_of(vip), std::ptr::from_ref(announce), graceful);
            Arc::clone(shared.entry(key).or_insert_with(|| Arc::new(route(announce, vip, graceful))))
        };
        let verdict = match intent {
            Intent::Withhold(reason) => Verdict::Withhold(reason.clone()),
            Intent::Announce(_) | Intent::Demote { .. } if !bound => Verdict::Withhold(Reason::NotBound),
            Intent::Announce(announce) => Verdict::Announce(attributes(announce, false)),
            Intent::Demote { announce, graceful, reason } => {
                Verdict::Demote(attributes(announce, *graceful), reason.clone())
            }
        };
        (*vip, Decision { verdict, bind })
    };
    service.vips.iter().map(decision).collect()
}

/// Whether a VIP is an address that we bind, and not a wider prefix.
pub(super) fn is_host_address(vip: &IpNet) -> bool {
    vip.prefix_len() == vip.max_prefix_len()
}

/// What a VIP would be announced as, were its address bound.
enum Intent<'a> {
    Announce(&'a Announce),
    Demote { announce: &'a Announce, graceful: bool, reason: Reason },
    Withhold(Reason),
}

/// Whoever stops us or drains the service wins over its checks; GRACEFUL_SHUTDOWN does not: a service that is down
/// while it is drained is withdrawn. `vip` matters only where the condition differs by VIP.
fn intent<'a>(
    name: &ServiceName,
    service: &'a Service,
    vip: Option<&IpNet>,
    facts: &Facts,
    now: Instant,
) -> Intent<'a> {
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
    let (announce, demoted) = match health(&service.checks, vip, facts) {
        Health::Passing => (&service.announce, None),
        Health::Unsettled(check) => return Intent::Withhold(Reason::CheckUnknown { check }),
        Health::Failing(check) => match &service.on_down {
            OnDown::Withdraw => return Intent::Withhold(Reason::CheckDown { check }),
            OnDown::Demote(announce) => (announce, Some(Reason::CheckDown { check })),
        },
    };
    match (graceful, demoted) {
        (None, None) => Intent::Announce(announce),
        (Some(reason), _) => Intent::Demote { announce, graceful: true, reason },
        (None, Some(reason)) => Intent::Demote { announce, graceful: false, reason },
    }
}

/// Three-valued truth of a condition, with the check to blame.
#[derive(Debug, PartialEq, Eq)]
enum Health {
    Passing,
    Failing(CheckName),
    Unsettled(CheckName),
}

fn health(condition: &Condition, vip: Option<&IpNet>, facts: &Facts) -> Health {
    let one = |check: &CheckName| match facts.checks.get(check).and_then(|fact| fact.state.verdict()) {
        Some(true) => Health::Passing,
        Some(false) => Health::Failing(check.clone()),
        None => Health::Unsettled(check.clone()),
    };
    let (needed, of) = match condition {
        Condition::Check(check) => return one(check),
        Condition::EachVip(checks) => {
            let check = vip.and_then(|vip| checks.get(vip));
            return check.map_or(Health::Passing, one);
        }
        Condition::All(of) => (of.len(), of),
        Condition::Any(of) => (1, of),
        Condition::AtLeast(needed, of) => (*needed, of),
    };
    let (mut passing, mut failing, mut unsettled) = (0, Vec::new(), Vec::new());
    for part in of {
        match health(part, vip, facts) {
            Health::Passing => passing += 1,
            Health::Failing(check) => failing.push(check),
            Health::Unsettled(check) => unsettled.push(check),
        }
    }
    if passing >= needed {
        return Health::Passing;
    }
    let out_of_reach = passing + unsettled.len() < needed;
    match (out_of_reach, failing.into_iter().next(), unsettled.into_iter().next()) {
        (true, Some(check), _) => Health::Failing(check),
        (_, _, Some(check)) => Health::Unsettled(check),
        (_, Some(check), None) => Health::Failing(check),
        // Not reached: fewer parts than needed, which the configuration refuses.
        (_, None, None) => Health::Passing,
    }
}

fn route(announce: &Announce, vip: &IpNet, graceful: bool) -> RouteAttributes {
    let mut communities = announce.communities.clone();
    if graceful {
        communities.insert(Community(iana::community::GRACEFUL_SHUTDOWN));
    }
    RouteAttributes {
        as_path_prepend: announce.as_path_prepend,
        med: announce.med,
        // RFC 8326 §4.1: inside an AS the community alone moves nothing; the lowest preference does.
        local_pref: if graceful { Some(0) } else { announce.local_pref },
        communities,
        extended_communities: announce.extended_communities.clone(),
        link_bandwidth: announce.link_bandwidth,
        large_communities: announce.large_communities.clone(),
        next_hop: announce.next_hop.of(family_of(vip)),
    }
}
