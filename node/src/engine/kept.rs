//! A reload that changes checks does not change verdicts: until a new check has settled, the service keeps its earlier
//! health.
//!
//! ```text
//!  reload: check b is new ─► Kept { health before, [b] } ─► b settles, or its time is over (then it is down) ─► b counts
//!                                                       └► another check of the service goes down: nothing is kept
//! ```
//!
//! The time of a check does not run while its probe waits for a permit: with hundreds of programs and a few permits
//! that may take minutes, and is not the fault of the service.
//!
//! A service without an earlier health, as at a start, is withheld until its checks have settled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::vip::Vip;
use vipcast_bgp::Instant;

use super::condition::{Health, health};
use super::facts::{CheckFact, Facts};
use super::{Engine, Touched};
use crate::health::report::{HealthState, Outcome};
use crate::model::{Check, Config};
use crate::names::{CheckName, ServiceName};
use crate::outbox::Outbox;
use crate::record::What;

/// Added to the time that the results need, for a loaded host and the spread of first probes.
const MARGIN: Duration = Duration::from_secs(5);

/// The health that a VIP keeps over a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The health before the reload.
    pub(super) was: Was,
    /// Checks that have not settled since, and count as that health.
    pub checks: BTreeSet<CheckName>,
}

/// The earlier health of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Was {
    Passing,
    Degraded,
    Failing,
}

impl Was {
    fn of(health: &Health) -> Option<Self> {
        match health {
            Health::Passing => Some(Self::Passing),
            Health::Degraded(_) => Some(Self::Degraded),
            Health::Failing(_) => Some(Self::Failing),
            Health::Unsettled(_) => None,
        }
    }

    /// The health that an unsettled check counts as.
    fn health(self, check: &CheckName) -> Health {
        match self {
            Self::Passing => Health::Passing,
            Self::Degraded => Health::Degraded(check.clone()),
            Self::Failing => Health::Failing(check.clone()),
        }
    }
}

impl Facts {
    /// The health that a check counts as until it has settled.
    pub(super) fn kept(&self, check: &CheckName, vip: Option<&Vip>) -> Option<Health> {
        let kept = self.kept.get(vip?).filter(|kept| kept.checks.contains(check))?;
        Some(kept.was.health(check))
    }

    fn is_settled(&self, check: &CheckName) -> bool {
        self.checks.get(check).is_some_and(|fact| fact.state.verdict().is_some())
    }
}

/// The health of every VIP before a reload.
pub(super) fn before(config: &Config, facts: &Facts) -> BTreeMap<Vip, Was> {
    let of = |vip: &Vip, health: &Health| Was::of(health).map(|was| (*vip, was));
    let each = config.services.values().flat_map(|service| {
        service.vips.iter().filter_map(move |vip| of(vip, &health(&service.checks, Some(vip), facts)))
    });
    each.collect()
}

/// The time within which a check settles, unless its results alternate.
fn time_to_settle(check: &Check) -> Duration {
    (check.interval + check.timeout).saturating_mul(check.rise.max(check.fall).get()).saturating_add(MARGIN)
}

impl Engine {
    /// Keeps verdicts over a reload from the configuration `old`; `was` is the earlier health of every VIP.
    pub(super) fn keep(&mut self, old: &Config, was: &BTreeMap<Vip, Was>, now: Instant) {
        let config = std::sync::Arc::clone(&self.config);
        // A check with a new name and the same definition is the same check.
        let removed: Vec<_> =
            old.checks.iter().filter(|(name, _)| !config.checks.contains_key(*name)).collect();
        for (name, check) in config.checks.iter().filter(|(name, _)| !old.checks.contains_key(*name)) {
            let same = removed.iter().find(|(old, was)| *was == check && self.facts.is_settled(old));
            if let Some(fact) = same.and_then(|(old, _)| self.facts.checks.get(*old)).cloned() {
                self.facts.checks.insert(name.clone(), fact);
            }
        }
        let facts = &mut self.facts;
        facts
            .pending
            .retain(|check, _| config.checks.get(check).is_some_and(|is| old.checks.get(check) == Some(is)));
        // A state of an earlier definition, or under an earlier name, also counts for a while.
        for (name, check) in config.checks.iter().filter(|(name, check)| old.checks.get(*name) != Some(check))
        {
            if facts.is_settled(name) {
                facts.pending.insert(name.clone(), now + time_to_settle(check));
            }
        }
        facts.kept.clear();
        for service in config.services.values() {
            for vip in &service.vips {
                let checks = service.checks.checks(Some(vip)).into_iter();
                let checks: BTreeSet<_> = checks.filter(|check| !facts.is_settled(check)).cloned().collect();
                let Some(was) = was.get(vip).filter(|_| !checks.is_empty()) else { continue };
                for name in &checks {
                    if let Some(check) = config.checks.get(name) {
                        facts.pending.entry(name.clone()).or_insert(now + time_to_settle(check));
                    }
                }
                facts.kept.insert(*vip, Kept { was: *was, checks });
            }
        }
    }

    /// A check has settled, and counts from now on; `fails`: it went down.
    pub(super) fn settled(&mut self, check: &CheckName, fails: bool) {
        self.facts.pending.remove(check);
        if self.facts.kept.is_empty() {
            return;
        }
        let config = std::sync::Arc::clone(&self.config);
        let users = self.users.get(check).into_iter().flatten().filter_map(|user| config.services.get(user));
        for service in users {
            for vip in &service.vips {
                let Some(kept) = self.facts.kept.get_mut(vip) else { continue };
                kept.checks.remove(check);
                // A real failure: unsettled checks no longer keep the earlier health.
                let fails =
                    fails && kept.was != Was::Failing && service.checks.checks(Some(vip)).contains(&check);
                if kept.checks.is_empty() || fails {
                    self.facts.kept.remove(vip);
                }
            }
        }
    }

    /// Gives a check whose probe waits for a permit the whole time again.
    pub(super) fn fold_waits(&mut self, check: &CheckName, definition: &Check, now: Instant) -> Touched {
        // A late report of a check that a reload has removed or changed.
        let is_this = self.config.checks.get(check).is_some_and(|check| **check == *definition);
        if let Some(until) = self.facts.pending.get_mut(check).filter(|_| is_this) {
            *until = (*until).max(now + time_to_settle(definition));
        }
        Touched::Nothing
    }

    /// A check that has not settled in time is down.
    pub(super) fn fold_pending(&mut self, now: Instant, out: &mut Outbox) -> Touched {
        let due = self.facts.pending.extract_if(.., |_, until| *until <= now);
        let due: Vec<CheckName> = due.map(|(check, _)| check).collect();
        let mut touched = Touched::Nothing;
        for check in due {
            let detail = "it has not settled since the reload".to_owned();
            let outcome = Outcome { passed: false, detail: detail.clone(), took: Duration::ZERO };
            let state = HealthState::Down;
            let fact = CheckFact { state, since: now, degraded: None, held_until: None, outcome, at: now };
            self.facts.checks.insert(check.clone(), fact);
            self.settled(&check, true);
            touched = touched.and(
                self.users.get(&check).map_or(Touched::Nothing, |users| Touched::services(users.clone())),
            );
            out.tell(What::Check { check, state, detail });
        }
        touched
    }

    /// Services that keep their verdict until checks have settled.
    pub fn keeps(&self) -> BTreeMap<ServiceName, BTreeSet<CheckName>> {
        let mut keeps: BTreeMap<ServiceName, BTreeSet<CheckName>> = BTreeMap::new();
        for (vip, kept) in &self.facts.kept {
            if let Some(standing) = self.standing.get(vip) {
                keeps.entry(standing.service.clone()).or_default().extend(kept.checks.iter().cloned());
            }
        }
        keeps
    }
}
