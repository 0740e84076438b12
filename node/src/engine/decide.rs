//! Facts in, decisions out. Pure: the same facts at the same time always give the same decisions.

use crate::vip::Vip;
use vipcast_bgp::Instant;

use super::condition::{Health, health};
use super::facts::{Facts, Shutdown};
use super::forces::Force;
use super::verdict::{Demotion, Reason, Verdict};
use crate::model::{OnDegraded, OnDown, Rank, Role, Service};
use crate::names::ServiceName;

/// The decision about one VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether and how well it is served.
    pub verdict: Verdict,
    /// Whether it should be bound on the host.
    pub bind: bool,
}

/// Decides about VIPs of a service, in their order.
pub(super) fn decide<'a>(
    name: &ServiceName,
    service: &Service,
    vips: impl Iterator<Item = &'a Vip> + Clone,
    facts: &Facts,
    now: Instant,
) -> Vec<(Vip, Decision)> {
    decide_under(facts.force(name.as_str()), name, service, vips, facts, now)
}

/// The decisions under another force than that among the facts, so that `explain` can ask for those without it.
pub(super) fn decide_under<'a>(
    force: Option<Force>,
    name: &ServiceName,
    service: &Service,
    vips: impl Iterator<Item = &'a Vip> + Clone,
    facts: &Facts,
    now: Instant,
) -> Vec<(Vip, Decision)> {
    // A drain or shutdown is decided by VIP: not all of them may have been announced.
    let leaves = facts.shutdown.is_some() || facts.is_drained(name.as_str());
    let alike = !service.checks.differs_by_vip() && !service.recovers() && !leaves;
    let alike = alike && (facts.kept.is_empty() || !vips.clone().any(|vip| facts.kept.contains_key(vip)));
    let common = alike.then(|| intent(name, service, None, facts, force, now));
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
    let decision = |vip: &Vip| {
        let intent = common.clone().unwrap_or_else(|| intent(name, service, Some(vip), facts, force, now));
        let wanted = service.bind.is_lasting() || intent.is_announced();
        let bind = stays && wanted && service.carrier(vip).is_some();
        let obstacle = obstacle(*vip, service, facts, now);
        let verdict = match obstacle {
            Some(reason) if intent.is_announced() => Verdict::Withhold(reason),
            Some(_) | None => intent,
        };
        (*vip, Decision { verdict, bind })
    };
    vips.map(decision).collect()
}

/// The reason why the VIP is unreachable on this host, independent of the service's health. `None` for a VIP that is
/// never bound.
fn obstacle(vip: Vip, service: &Service, facts: &Facts, now: Instant) -> Option<Reason> {
    service.carrier(&vip)?;
    let contest = facts.contests.get(&vip).filter(|contest| contest.is_repeated());
    if contest.is_some_and(|contest| !contest.may_be_announced(now)) {
        return Some(Reason::Contested);
    }
    if facts.is_bound(vip) {
        return None;
    }
    let mut unusable =
        facts.lasting(vip).filter_map(|(binding, held)| Some((binding, facts.unusable(binding, held)?)));
    Some(unusable.next().map_or(Reason::NotBound, |(binding, why)| Reason::Unusable {
        interface: facts.shown_name(binding, &service.interface),
        why,
    }))
}

/// The verdict about a bound VIP. A shutdown or a drain wins over a force, and a force over the checks of a service. A
/// shutdown or a drain never adds a route: only a VIP that was announced before, and still would be, is drained
/// gracefully. `vip` matters only if the VIPs of the service differ.
fn intent(
    name: &ServiceName,
    service: &Service,
    vip: Option<&Vip>,
    facts: &Facts,
    force: Option<Force>,
    now: Instant,
) -> Verdict {
    let leaving = vip.and_then(|vip| facts.leaving.get(vip));
    let graceful = match (facts.shutdown, facts.is_drained(name.as_str()), leaving) {
        (None, false, _) => None,
        (Some(Shutdown::Draining { .. }), false, Some(leaving)) => Some((leaving, Reason::ShuttingDown)),
        (None | Some(Shutdown::Draining { .. }), true, Some(leaving)) if leaving.until > now => {
            Some((leaving, Reason::Draining))
        }
        (None | Some(Shutdown::Draining { .. }), true, _) => return Verdict::Withhold(Reason::Drained),
        (Some(_), _, _) => return Verdict::Withhold(Reason::Shutdown),
    };
    // The operator wants it gone now: no drain time.
    if force == Some(Force::Down) {
        return Verdict::Withhold(Reason::ForcedDown);
    }
    let forced = force == Some(Force::Up);
    let mut worst = match service.role {
        Role::Standby => Some((Rank::Standby, Reason::Standby)),
        Role::Active(_) => None,
    };
    let mut demote = |rank, reason| {
        if worst.as_ref().is_none_or(|(worst, _)| *worst < rank) {
            worst = Some((rank, reason));
        }
    };
    let health = if forced { Health::Passing } else { health(&service.checks, vip, facts) };
    match (health, service.on_down, service.on_degraded) {
        (Health::Unsettled(check), _, _) => return Verdict::Withhold(Reason::CheckUnknown { check }),
        (Health::Failing(check), OnDown::Withdraw, _) => {
            return Verdict::Withhold(Reason::CheckDown { check });
        }
        (Health::Failing(check), OnDown::Demote, _) => demote(Rank::Down, Reason::CheckDown { check }),
        (Health::Degraded(check), _, OnDegraded::Withdraw) => {
            return Verdict::Withhold(Reason::CheckDegraded { check });
        }
        (Health::Degraded(check), _, OnDegraded::Demote) => {
            demote(Rank::Degraded, Reason::CheckDegraded { check });
        }
        (Health::Degraded(_), _, OnDegraded::Ignore) | (Health::Passing, _, _) => {}
    }
    if let Some(recovery) = vip.and_then(|vip| facts.recovering.get(vip)).filter(|_| !forced) {
        if recovery.held.is_some() {
            demote(Rank::Degraded, Reason::HeldBack);
        }
        if recovery.warm_until.is_some_and(|until| until > now) {
            demote(Rank::Degraded, Reason::WarmingUp);
        }
    }
    match (graceful, worst) {
        (None, None) => Verdict::Announce,
        // A VIP that was withheld, or has lost its address, does not come back.
        (Some((leaving, _)), _)
            if leaving.out || vip.is_none_or(|vip| obstacle(*vip, service, facts, now).is_some()) =>
        {
            let drained = facts.is_drained(name.as_str());
            Verdict::Withhold(if drained { Reason::Drained } else { Reason::Shutdown })
        }
        (Some((leaving, reason)), worst) => {
            let rank = worst.map(|(rank, _)| rank).max(leaving.rank);
            Verdict::Demote { how: Demotion::Leaving(rank), reason }
        }
        (None, Some((rank, reason))) => Verdict::Demote { how: Demotion::Worse(rank), reason },
    }
}
