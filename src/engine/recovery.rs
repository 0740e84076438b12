//! What follows when a VIP's service was down and is healthy again: it may warm up, and it may have to leave the traffic
//! where it went meanwhile until somebody, or some time, says otherwise.
//!
//! ```text
//!            down                          healthy again
//!  (none) ──────────► Recovery{failed} ──────────────────► Recovery{warm_until, held} ──► (none)
//!                                                             │        │
//!                                                          the time  the time, or Event::Promote
//! ```
//!
//! Only services with `warm_up` or `preempt` take part. What is held back is in the state directory too: a host that boots
//! takes nothing over that it had before, because somebody else has it now.

use std::collections::BTreeSet;
use std::time::Instant;

use ipnet::IpNet;

use super::condition::{Health, health};
use super::effect::{Effect, Record};
use super::{Engine, Touched};
use crate::config::model::{Config, Preempt, Role, Service};
use crate::names::ServiceName;

/// A VIP whose service is, or was, down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// It is down now, or nothing is known of it since it was.
    pub failed: bool,
    /// It warms up until then.
    pub warm_until: Option<Instant>,
    /// It does not take over again.
    pub held: Option<Held>,
}

/// For how long a VIP is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Until an operator says otherwise.
    UntilPromoted,
    /// Until then, or until an operator says otherwise.
    Until(Instant),
}

/// VIPs that must not take over by themselves after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldBack {
    /// Those that are held back, or down.
    pub held: BTreeSet<IpNet>,
    /// All of which the service has `preempt: false` or a delay: after a reboot, these.
    pub watched: BTreeSet<IpNet>,
}

impl Service {
    /// Whether it matters to it that it was down.
    pub(super) fn recovers(&self) -> bool {
        self.warm_up.is_some() || self.preempt() != Preempt::AtOnce
    }

    /// When it takes over again after it was down.
    pub(super) fn preempt(&self) -> Preempt {
        match self.role {
            Role::Active(preempt) => preempt,
            Role::Standby => Preempt::AtOnce,
        }
    }
}

impl Recovery {
    fn is_over(&self) -> bool {
        *self == Self::default()
    }

    /// When something about it changes by itself.
    fn deadline(&self) -> Option<Instant> {
        let held = match self.held {
            Some(Held::Until(until)) => Some(until),
            Some(Held::UntilPromoted) | None => None,
        };
        [self.warm_until, held].into_iter().flatten().min()
    }
}

impl Engine {
    /// Holds back what a predecessor held back, or what had traffic before the host went down.
    pub(super) fn hold_back(&mut self, held: &BTreeSet<IpNet>) {
        for service in self.config.services.values().filter(|service| service.preempt() != Preempt::AtOnce) {
            // As if they had been down until now.
            let failed = Recovery { failed: true, ..Recovery::default() };
            self.facts.recovering.extend(service.vips.intersection(held).map(|vip| (*vip, failed)));
        }
    }

    /// Notes for each VIP of a service whether it is down, and what begins when it no longer is.
    pub(super) fn note_recovery(&mut self, service: &Service, now: Instant) {
        if !service.recovers() {
            return;
        }
        for vip in &service.vips {
            let recovering = self.facts.recovering.get(vip).copied().unwrap_or_default();
            let after = match (health(&service.checks, Some(vip), &self.facts), recovering.failed) {
                (Health::Failing(_), _) => Recovery { failed: true, ..Recovery::default() },
                (Health::Passing | Health::Degraded(_), true) => Recovery {
                    failed: false,
                    warm_until: service.warm_up.map(|warm_up| now + warm_up),
                    held: match service.preempt() {
                        Preempt::AtOnce => None,
                        Preempt::After(delay) => Some(Held::Until(now + delay)),
                        Preempt::Never => Some(Held::UntilPromoted),
                    },
                },
                (Health::Passing | Health::Degraded(_), false) | (Health::Unsettled(_), _) => recovering,
            };
            if after.is_over() {
                self.facts.recovering.remove(vip);
            } else {
                self.facts.recovering.insert(*vip, after);
            }
        }
    }

    /// Ends what is over at `now`, and says whose it was.
    pub(super) fn fold_recovery_time(&mut self, now: Instant) -> BTreeSet<ServiceName> {
        let mut over = BTreeSet::new();
        for (vip, recovery) in &mut self.facts.recovering {
            if recovery.deadline().is_none_or(|deadline| deadline > now) {
                continue;
            }
            recovery.warm_until = recovery.warm_until.filter(|until| *until > now);
            recovery.held = recovery.held.filter(|held| match held {
                Held::Until(until) => *until > now,
                Held::UntilPromoted => true,
            });
            over.extend(self.standing.get(vip).map(|standing| standing.service.clone()));
        }
        self.facts.recovering.retain(|_, recovery| !recovery.is_over());
        over
    }

    /// An operator lets a service take over again, warm or not.
    pub(super) fn fold_promotion(&mut self, service: ServiceName, records: &mut Vec<Effect>) -> Touched {
        let Some(vips) = self.config.services.get(&service).map(|service| &service.vips) else {
            return Touched::Nothing;
        };
        for vip in vips {
            self.facts.recovering.remove(vip);
        }
        records.push(Effect::Record(Record::Promoted(service.clone())));
        Touched::Services([service].into())
    }

    /// When something is over.
    pub(super) fn recovery_deadline(&self) -> Option<Instant> {
        self.facts.recovering.values().filter_map(Recovery::deadline).min()
    }

    /// Has it saved, when it is not what was saved last.
    pub(super) fn save_held_back(&mut self, effects: &mut Vec<Effect>) {
        let is_held = |recovery: &Recovery| recovery.failed || recovery.held.is_some();
        let recovering = self.facts.recovering.iter();
        let held = recovering.filter(|(vip, recovery)| self.watched.contains(*vip) && is_held(recovery));
        let held: BTreeSet<IpNet> = held.map(|(vip, _)| *vip).collect();
        if held != self.saved.held || self.watched != self.saved.watched {
            self.saved = HeldBack { held, watched: self.watched.clone() };
            effects.push(Effect::SaveHeldBack(self.saved.clone()));
        }
    }
}

/// The VIPs that a reboot holds back.
pub(super) fn watched(config: &Config) -> BTreeSet<IpNet> {
    let holding = config.services.values().filter(|service| service.preempt() != Preempt::AtOnce);
    holding.flat_map(|service| service.vips.iter().copied()).collect()
}
