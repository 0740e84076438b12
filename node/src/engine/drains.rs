//! Operators' drains: of one service, or of everything.
//!
//! ```text
//!             drain                          drain_time, or it is withheld for another reason
//!  announced ───────► GRACEFUL_SHUTDOWN set ─────────────────────────────────────────────────► withheld
//!  withheld  ───────► withheld                                                                    │
//!                                                                         undrain, or its end ◄───┘
//! ```
//!
//! **A drain never adds a route and never improves one.** [`Leaving`] has the VIPs that were announced when the drain
//! began and were announced without a gap since. A VIP that recovers during the drain stays withheld. A shutdown does
//! the same.
//!
//! **Of two drains the later end counts**, so that no operator shortens a colleague's drain by accident; see
//! [`Scoped::add`](super::overrides::Scoped::add).

use std::sync::Arc;

use crate::vip::Vip;
use vipcast_bgp::Instant;

use super::facts::Facts;
use super::overrides::{Order, Override, Scope};
use super::{Decision, Engine, Touched};
use crate::model::{Config, Rank};
use crate::names::ServiceName;
use crate::outbox::Outbox;
use crate::record::What;

/// A VIP that was announced when its drain, or the shutdown, began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// When it is withdrawn.
    pub until: Instant,
    /// The worst rank since then: it does not become better again.
    pub(super) rank: Option<Rank>,
    /// Whether it was withheld since then: it does not come back.
    pub(super) out: bool,
}

impl Facts {
    /// Whether a service is drained, by an operator or from outside.
    pub(crate) fn is_drained(&self, service: &str) -> bool {
        !self.cordons.is_empty() || self.overrides.drains.of(service).next().is_some()
    }
}

impl Engine {
    pub(super) fn fold_drain(
        &mut self,
        scope: Scope,
        drain: &Override,
        replace: bool,
        now: Instant,
        out: &mut Outbox,
    ) -> Touched {
        if !self.is_heeded(&scope) {
            return Touched::Nothing;
        }
        if replace {
            self.note_replaced(&scope);
        }
        let drains = &mut Arc::make_mut(&mut self.facts.overrides).drains;
        if !drains.add(&scope, drain, replace) {
            return Touched::Nothing;
        }
        let drain = drains.get(&scope).map_or_else(|| drain.clone(), |drain| (**drain).clone());
        let until = now + self.config.shutdown.drain_time;
        self.leave(
            |name| matches!(&scope, Scope::Everything) || scope == Scope::Service(name.clone()),
            until,
        );
        out.tell(What::Drained(scope.clone(), drain));
        Self::touched_by(scope)
    }

    pub(super) fn fold_undrain(&mut self, scope: Scope, order: Order, out: &mut Outbox) -> Touched {
        self.note_lifted(&scope);
        if !Arc::make_mut(&mut self.facts.overrides).drains.lift(&scope) {
            return Touched::Nothing;
        }
        out.tell(What::Undrained(scope.clone(), Some(order)));
        Self::touched_by(scope)
    }

    /// Notes the VIPs of these services that are announced now: only those stay announced for the drain time.
    pub(super) fn leave(&mut self, services: impl Fn(&ServiceName) -> bool, until: Instant) {
        for (vip, standing) in &self.standing {
            if standing.decision.verdict.is_announced() && services(&standing.service) {
                let rank = standing.decision.verdict.rank();
                self.facts.leaving.entry(*vip).or_insert(Leaving { until, rank, out: false });
            }
        }
    }

    /// Updates [`Leaving`] after a decision about a VIP.
    pub(super) fn note_leaving(&mut self, vip: &Vip, service: &str, decision: &Decision, now: Instant) {
        let Some(leaving) = self.facts.leaving.get_mut(vip) else { return };
        leaving.rank = leaving.rank.max(decision.verdict.rank());
        let until = leaving.until;
        leaving.out |= !decision.verdict.is_announced();
        let drained = self.facts.is_drained(service);
        let stays = if drained { until > now } else { self.facts.shutdown.is_some() };
        if !stays {
            self.facts.leaving.remove(vip);
        }
    }

    /// The services with VIPs whose drain time is over.
    pub(super) fn fold_leaving_time(&self, now: Instant) -> Touched {
        let standing = &self.standing;
        let over = self.facts.leaving.iter().filter(|(_, leaving)| leaving.until <= now);
        let services = over.filter_map(|(vip, _)| standing.get(vip).map(|standing| standing.service.clone()));
        Touched::services(services.collect())
    }

    /// Lifts drains that have ended at `now`.
    pub(super) fn end_drains(&mut self, now: Instant, out: &mut Outbox) -> Touched {
        let mut touched = Touched::Nothing;
        for scope in Arc::make_mut(&mut self.facts.overrides).drains.lift_ended(now) {
            out.tell(What::Undrained(scope.clone(), None));
            touched = touched.and(Self::touched_by(scope));
        }
        touched
    }

    /// Records, after a reload, the drains that wait for their service and those that have found it; drops surplus
    /// ones.
    pub(super) fn follow_drains(&mut self, before: &Config, out: &mut Outbox) {
        let drains = &self.facts.overrides.drains;
        for (service, waits) in drains.moved(before, &self.config) {
            out.tell(What::DrainWaits { service, waits });
        }
        for service in drains.surplus(&self.config) {
            Arc::make_mut(&mut self.facts.overrides).drains.services.remove(&service);
            out.tell(What::Undrained(Scope::Service(service), None));
        }
    }

    /// The next withdrawal of a drained VIP.
    pub(super) fn leaving_deadline(&self) -> Option<Instant> {
        let leaving = self.facts.leaving.values().map(|leaving| leaving.until);
        let drains = &self.facts.overrides.drains;
        let leaving = leaving.filter(|_| {
            self.facts.shutdown.is_none() || !drains.is_empty() || !self.facts.cordons.is_empty()
        });
        let acted_at = self.acted_at;
        leaving.filter(|until| acted_at.is_none_or(|at| *until > at)).min()
    }
}
