//! Evaluates the condition of a service over its checks, and finds the decisive check.

use crate::vip::Vip;

use super::facts::Facts;
use crate::model::Condition;
use crate::names::CheckName;

/// The health of a service for one VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// The condition holds.
    Passing,
    /// The condition holds only with a degraded check: the first of them.
    Degraded(CheckName),
    /// The condition does not hold: the first check that is down.
    Failing(CheckName),
    /// Not decidable yet: the first check that has not settled.
    Unsettled(CheckName),
}

/// The health for `vip`, which matters only if the condition differs by VIP.
pub(super) fn health(condition: &Condition, vip: Option<&Vip>, facts: &Facts) -> Health {
    let (needed, of) = match condition {
        Condition::Check(check) => return of_check(check, vip, facts),
        Condition::EachVip(checks) => {
            let check = vip.and_then(|vip| checks.get(vip));
            return check.map_or(Health::Passing, |check| of_check(check, vip, facts));
        }
        Condition::All(of) => (of.len(), of),
        Condition::Any(of) => (1, of),
        Condition::AtLeast(needed, of) => (*needed, of),
    };
    let mut passing = 0;
    let (mut degraded, mut failing, mut unsettled) = (Vec::new(), Vec::new(), Vec::new());
    for part in of {
        match health(part, vip, facts) {
            Health::Passing => passing += 1,
            Health::Degraded(check) => degraded.push(check),
            Health::Failing(check) => failing.push(check),
            Health::Unsettled(check) => unsettled.push(check),
        }
    }
    if passing >= needed {
        return Health::Passing;
    }
    let with_degraded = passing + degraded.len();
    if with_degraded >= needed
        && let Some(check) = degraded.into_iter().next()
    {
        return Health::Degraded(check);
    }
    let out_of_reach = with_degraded + unsettled.len() < needed;
    match (out_of_reach, failing.into_iter().next(), unsettled.into_iter().next()) {
        (true, Some(check), _) => Health::Failing(check),
        (_, _, Some(check)) => Health::Unsettled(check),
        (_, Some(check), None) => Health::Failing(check),
        // Unreachable: fewer parts than needed, which the configuration refuses.
        (_, None, None) => Health::Passing,
    }
}

fn of_check(check: &CheckName, vip: Option<&Vip>, facts: &Facts) -> Health {
    let fact = facts.checks.get(check);
    match fact.and_then(|fact| fact.state.verdict()) {
        Some(true) if fact.is_some_and(|fact| fact.degraded.is_some()) => Health::Degraded(check.clone()),
        Some(true) => Health::Passing,
        Some(false) => Health::Failing(check.clone()),
        None => facts.kept(check, vip).unwrap_or_else(|| Health::Unsettled(check.clone())),
    }
}
