//! Recovery of a VIP whose service was down and is healthy again: it may warm up (`warm_up`), and it may be held back
//! (`preempt`) until an operator promotes it or a time has passed.
//!
//! ```text
//!            down                              healthy again
//!  (none) ──────────► Recovery{down, lost} ──────────────────► Recovery{warm_until, held} ──► (none)
//!             degraded: only `lost`                              │        │
//!                                                             the time  the time, or Event::Promote
//! ```
//!
//! Only services with `warm_up` or `preempt` take part. Held-back VIPs are also in the state directory. A daemon that
//! starts holds back the VIPs that it had before, because another node has their traffic now; not after a graceful
//! restart, which keeps the traffic.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::vip::Vip;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;

use super::condition::{Health, health};
use super::forces::Force;
use super::overrides::Override;
use super::{Engine, Touched};
use crate::effect::Effect;
use crate::model::{Config, OnDegraded, Preempt, Role, Service};
use crate::names::ServiceName;
use crate::outbox::Outbox;
use crate::record::What;

/// A VIP whose service is, or was, down or degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Whether it is down now, or unsettled since it was.
    pub down: bool,
    /// Whether its traffic went to another node since it was last announced plainly.
    pub lost: bool,
    /// Whether an operator has promoted it: it takes over as soon as it is healthy.
    pub promoted: bool,
    /// The end of its warm-up.
    pub warm_until: Option<Instant>,
    /// Set while it is held back.
    pub held: Option<Held>,
}

/// The length of a hold-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Until an operator promotes it.
    UntilPromoted,
    /// Until then, or until an operator promotes it.
    Until(Instant),
}

/// VIPs that are held back after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// VIPs that are held back, or down.
    pub held: BTreeSet<Vip>,
    /// All VIPs of services with `preempt: false` or a delay: their traffic goes to another node when this daemon ends.
    pub watched: BTreeSet<Vip>,
}

impl Service {
    /// Whether the service has `warm_up` or `preempt`.
    pub(super) fn recovers(&self) -> bool {
        self.warm_up.is_some() || self.preempt() != Preempt::AtOnce
    }

    /// When the service takes its traffic back after it was down.
    pub(super) fn preempt(&self) -> Preempt {
        match self.role {
            Role::Active(preempt) => preempt,
            Role::Standby => Preempt::AtOnce,
        }
    }
}

impl Held {
    fn from(preempt: Preempt, now: Instant) -> Option<Self> {
        match preempt {
            Preempt::AtOnce => None,
            Preempt::After(delay) => Some(Self::Until(now + delay)),
            Preempt::Never => Some(Self::UntilPromoted),
        }
    }
}

impl Recovery {
    /// The next value, with this health of the service.
    fn after(self, health: &Health, service: &Service, now: Instant) -> Self {
        // A degraded VIP is a worse path than a standby, or none: another node has its traffic.
        let loses = match health {
            Health::Degraded(_) => {
                service.on_degraded != OnDegraded::Ignore && service.preempt() != Preempt::AtOnce
            }
            Health::Passing | Health::Failing(_) | Health::Unsettled(_) => false,
        };
        match health {
            Health::Unsettled(_) => self,
            Health::Failing(_) => {
                Self { down: true, lost: true, promoted: self.promoted, warm_until: None, held: None }
            }
            Health::Degraded(_) if loses && !self.down => Self { lost: true, held: None, ..self },
            Health::Passing | Health::Degraded(_) => Self {
                down: false,
                lost: loses,
                promoted: self.promoted && loses,
                warm_until: match service.warm_up {
                    Some(warm_up) if self.down && !self.promoted => Some(now + warm_up),
                    Some(_) | None => self.warm_until,
                },
                held: if self.lost && !self.promoted && !loses {
                    Held::from(service.preempt(), now)
                } else {
                    self.held
                },
            },
        }
    }

    /// The next change by time.
    fn deadline(&self) -> Option<Instant> {
        let held = match self.held {
            Some(Held::Until(until)) => Some(until),
            Some(Held::UntilPromoted) | None => None,
        };
        [self.warm_until, held].into_iter().flatten().min()
    }
}

impl Engine {
    /// Holds back the VIPs that a predecessor held back and, except after a graceful restart, all that it had: another
    /// node has their traffic now. Services that were promoted since are not held back. A promotion from before goes on
    /// waiting.
    pub(super) fn hold_back(&mut self, left: &HeldBack, graceful: bool, promoted: &BTreeSet<ServiceName>) {
        let held = if graceful { &left.held } else { &left.watched };
        let holds = |service: &Service| service.preempt() != Preempt::AtOnce;
        let services = self.config.services.iter();
        for (_, service) in services.filter(|(name, service)| holds(service) && !promoted.contains(*name)) {
            for vip in service.vips.intersection(held) {
                let recovery = self.facts.recovering.entry(*vip).or_default();
                recovery.lost |= recovery.held.is_none();
            }
        }
        let promotions = self.facts.overrides.promotions.keys();
        for service in promotions.filter_map(|service| self.config.services.get(service)) {
            for vip in &service.vips {
                if let Some(recovery) = self.facts.recovering.get_mut(vip) {
                    recovery.promoted = recovery.lost;
                }
            }
        }
    }

    /// Updates the recovery of each VIP of a service.
    pub(super) fn note_recovery<'a>(
        &mut self,
        name: &ServiceName,
        service: &Service,
        vips: impl Iterator<Item = &'a Vip>,
        now: Instant,
    ) {
        if !service.recovers() {
            return;
        }
        // Announced as if it were healthy: the traffic is here.
        let forced = self.facts.force(name.as_str()) == Some(Force::Up);
        for vip in vips {
            if forced {
                self.facts.recovering.remove(vip);
                continue;
            }
            let before = self.facts.recovering.get(vip).copied().unwrap_or_default();
            let health = health(&service.checks, Some(vip), &self.facts);
            let after = before.after(&health, service, now);
            if after == Recovery::default() {
                self.facts.recovering.remove(vip);
            } else {
                self.facts.recovering.insert(*vip, after);
            }
        }
    }

    /// Applies the rules of a new configuration to running recoveries.
    pub(super) fn follow_new_rules(&mut self, now: Instant) {
        let config = Arc::clone(&self.config);
        for service in config.services.values() {
            for vip in &service.vips {
                let Some(recovery) = self.facts.recovering.get_mut(vip) else { continue };
                recovery.held = match (recovery.held, service.preempt()) {
                    (Some(Held::Until(until)), Preempt::After(_)) => Some(Held::Until(until)),
                    (Some(_), preempt) => Held::from(preempt, now),
                    (None, _) => None,
                };
                recovery.warm_until = recovery.warm_until.filter(|_| service.warm_up.is_some());
            }
        }
        self.facts.recovering.retain(|_, recovery| *recovery != Recovery::default());
        self.watched = watched(&config);
    }

    /// Ends recoveries whose time is over at `now`, and returns their services.
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
        self.facts.recovering.retain(|_, recovery| *recovery != Recovery::default());
        over
    }

    /// Folds a promotion: the service takes its traffic back, warm or not.
    pub(super) fn fold_promotion(
        &mut self,
        service: ServiceName,
        promotion: Override,
        out: &mut Outbox,
    ) -> Touched {
        let Some(vips) = self.config.services.get(&service).map(|service| &service.vips) else {
            return Touched::Nothing;
        };
        let vips = vips.clone();
        self.note_promoted(&service);
        let mut waits = false;
        for vip in &vips {
            let Some(recovery) = self.facts.recovering.get_mut(vip) else { continue };
            let promoted = recovery.down || recovery.lost;
            waits |= promoted;
            *recovery = Recovery { promoted, warm_until: None, held: None, ..*recovery };
        }
        self.facts.recovering.retain(|_, recovery| *recovery != Recovery::default());
        if waits {
            let promotions = &mut Arc::make_mut(&mut self.facts.overrides).promotions;
            promotions.insert(service.clone(), Arc::new(promotion.clone()));
        }
        out.tell(What::Promoted(service.clone(), promotion));
        Touched::services([service].into())
    }

    /// Drops promotions that have nothing left to wait for.
    pub(super) fn follow_promotions(&mut self) {
        if self.facts.overrides.promotions.is_empty() {
            return;
        }
        let (config, recovering) = (&self.config, &self.facts.recovering);
        let waits = |service: &ServiceName| {
            let vips = config.services.get(service).map(|service| &service.vips);
            vips.into_iter().flatten().any(|vip| recovering.get(vip).is_some_and(|it| it.promoted))
        };
        let over = |service: &&ServiceName| !waits(service);
        let over: Vec<_> = self.facts.overrides.promotions.keys().filter(over).cloned().collect();
        for service in over {
            Arc::make_mut(&mut self.facts.overrides).promotions.remove(&service);
        }
    }

    /// The next end of a warm-up or hold-back.
    pub(super) fn recovery_deadline(&self) -> Option<Instant> {
        self.facts.recovering.values().filter_map(Recovery::deadline).min()
    }

    /// Saves the held-back VIPs if they have changed.
    pub(super) fn save_held_back(&mut self, out: &mut Outbox) {
        let is_held = |recovery: &Recovery| recovery.lost || recovery.held.is_some();
        let recovering = self.facts.recovering.iter();
        let held = recovering.filter(|(vip, recovery)| self.watched.contains(*vip) && is_held(recovery));
        let held: BTreeSet<Vip> = held.map(|(vip, _)| *vip).collect();
        if held != self.saved.held || self.watched != self.saved.watched {
            self.saved = HeldBack { held, watched: self.watched.clone() };
            out.push(Effect::SaveHeldBack(Arc::new(self.saved.clone())));
        }
    }
}

/// The VIPs that a reboot holds back.
pub(super) fn watched(config: &Config) -> BTreeSet<Vip> {
    let holding = config.services.values().filter(|service| service.preempt() != Preempt::AtOnce);
    holding.flat_map(|service| service.vips.iter().copied()).collect()
}
