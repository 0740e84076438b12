//! Forces of operators: a service counts as healthy, or as down, whatever its checks say.
//!
//! ```text
//!  force-up    as if healthy: also while unsettled, degraded, held back or warming up
//!              the address must be bound, and a drain or a shutdown wins
//!  force-down  withheld at once, without a drain time; the address stays as for any withheld VIP
//! ```
//!
//! **A later force replaces an earlier one** of the same service, in either direction. A service has at most one force:
//! its own, or else that of everything.

use std::sync::Arc;

use serde::Serialize;
use vipcast_bgp::Instant;

use super::decide::{Decision, decide_under};
use super::facts::Facts;
use super::overrides::{Order, Override, Scope, Scoped};
use super::{Engine, Touched, Verdict};
use crate::model::Config;
use crate::names::ServiceName;
use crate::outbox::Outbox;
use crate::record::What;
use crate::vip::Vip;
use crate::words;

/// The direction of a force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Force {
    /// The service counts as healthy.
    Up,
    /// The service is withheld.
    Down,
}

/// The forces by direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forces {
    /// Services that count as healthy.
    pub up: Scoped,
    /// Services that are withheld.
    pub down: Scoped,
}

impl Force {
    /// The direction in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl Forces {
    /// Whether there is no force.
    pub fn is_empty(&self) -> bool {
        self.up.is_empty() && self.down.is_empty()
    }

    /// The force of a service.
    pub fn of(&self, service: &str) -> Option<(Force, &Arc<Override>)> {
        let up = self.up.of(service).next().map(|one| (Force::Up, one));
        up.or_else(|| self.down.of(service).next().map(|one| (Force::Down, one)))
    }

    /// The force with exactly this scope.
    pub fn get(&self, scope: &Scope) -> Option<(Force, &Arc<Override>)> {
        let up = self.up.get(scope).map(|one| (Force::Up, one));
        up.or_else(|| self.down.get(scope).map(|one| (Force::Down, one)))
    }

    /// The forces of one direction.
    pub fn towards(&self, to: Force) -> &Scoped {
        match to {
            Force::Up => &self.up,
            Force::Down => &self.down,
        }
    }

    fn towards_mut(&mut self, to: Force) -> &mut Scoped {
        match to {
            Force::Up => &mut self.up,
            Force::Down => &mut self.down,
        }
    }

    /// Sets a force, which replaces every earlier one of its scope.
    pub fn set(&mut self, scope: &Scope, to: Force, new: &Override) {
        self.clear(scope);
        self.towards_mut(to).add(scope, new, true);
    }

    /// Lifts every force of this scope, and returns whether there was any.
    pub fn clear(&mut self, scope: &Scope) -> bool {
        self.up.lift(scope) | self.down.lift(scope)
    }

    /// Adds forces that were read late: a service that has a force keeps it.
    pub(super) fn merge(&mut self, late: Self) -> Vec<(Scope, Force, Arc<Override>)> {
        let mut added = Vec::new();
        let had_common = self.get(&Scope::Everything).is_some();
        let Self { up, down } = late;
        for (to, late) in [(Force::Up, up), (Force::Down, down)] {
            for (service, one) in late.services {
                if self.of(service.as_str()).is_none() {
                    self.towards_mut(to).services.insert(service.clone(), Arc::clone(&one));
                    added.push((Scope::Service(service), to, one));
                }
            }
            if let Some(mut everything) = late.everything.filter(|_| !had_common) {
                let Self { up, down } = &*self;
                everything.except.extend(up.services.keys().chain(down.services.keys()).cloned());
                added.push((Scope::Everything, to, Arc::clone(&everything.common)));
                self.towards_mut(to).everything = Some(everything);
            }
        }
        added
    }
}

impl Facts {
    /// The direction in which an operator forces a service.
    pub(super) fn force(&self, service: &str) -> Option<Force> {
        self.overrides.forces.of(service).map(|(to, _)| to)
    }
}

impl Engine {
    pub(super) fn fold_force(
        &mut self,
        scope: Scope,
        to: Force,
        new: &Override,
        out: &mut Outbox,
    ) -> Touched {
        if !self.is_heeded(&scope) {
            return Touched::Nothing;
        }
        self.note_cleared(&scope);
        Arc::make_mut(&mut self.facts.overrides).forces.set(&scope, to, new);
        out.tell(What::Forced { scope: scope.clone(), to, with: new.clone() });
        Self::touched_by(scope)
    }

    pub(super) fn fold_clear(&mut self, scope: Scope, order: Order, out: &mut Outbox) -> Touched {
        self.note_cleared(&scope);
        if !Arc::make_mut(&mut self.facts.overrides).forces.clear(&scope) {
            return Touched::Nothing;
        }
        out.tell(What::Cleared(scope.clone(), Some(order)));
        Self::touched_by(scope)
    }

    /// Lifts forces that have ended at `now`.
    pub(super) fn end_forces(&mut self, now: Instant, out: &mut Outbox) -> Touched {
        let mut touched = Touched::Nothing;
        let forces = &mut Arc::make_mut(&mut self.facts.overrides).forces;
        for scope in forces.up.lift_ended(now).into_iter().chain(forces.down.lift_ended(now)) {
            out.tell(What::Cleared(scope.clone(), None));
            touched = touched.and(Self::touched_by(scope));
        }
        touched
    }

    /// Records, after a reload, the forces that wait for their service and those that have found it; drops surplus
    /// ones.
    pub(super) fn follow_forces(&mut self, before: &Config, out: &mut Outbox) {
        for to in [Force::Up, Force::Down] {
            let forces = self.facts.overrides.forces.towards(to);
            for (service, waits) in forces.moved(before, &self.config) {
                out.tell(What::ForceWaits { service, to, waits });
            }
            for service in forces.surplus(&self.config) {
                let forces = &mut Arc::make_mut(&mut self.facts.overrides).forces;
                forces.towards_mut(to).services.remove(&service);
                out.tell(What::Cleared(Scope::Service(service), None));
            }
        }
    }

    /// The decision about a VIP of a forced service without the force; `None`: it is not forced, or not configured.
    pub fn unforced(&self, vip: &Vip, service: &ServiceName, now: Instant) -> Option<Decision> {
        let (name, service) = self.config.services.get_key_value(service)?;
        self.facts.force(name.as_str())?;
        let decisions = decide_under(None, name, service, std::iter::once(vip), &self.facts, now);
        decisions.into_iter().next().map(|(_, decision)| decision)
    }

    /// The force that alone makes a VIP announced, or announced better, as this verdict says; in words.
    pub(super) fn upheld(
        &self,
        vip: &Vip,
        service: &ServiceName,
        verdict: &Verdict,
        now: Instant,
    ) -> Option<String> {
        let (to, force) = self.facts.overrides.forces.of(service.as_str())?;
        let differs = || self.unforced(vip, service, now).is_some_and(|without| without.verdict != *verdict);
        let upheld = to == Force::Up && verdict.is_announced() && differs();
        upheld.then(|| format!("forced up {}", words::set(force)))
    }
}
