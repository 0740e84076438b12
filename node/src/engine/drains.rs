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
//! [`Drains::add`].
//!
//! **A drain of everything is stored as such**, so it includes services of a later reload. A drain of a service that is
//! not configured waits for it: drop-ins come and go.
//!
//! **The end of a drain** is a time of the monotonic clock, which cannot be set. After a reboot only the wall clock is
//! left, which may be wrong until NTP has set it: the end is computed again whenever the clock is set
//! ([`Drains::set_wall`]), and no drain outlasts its own length ([`Ends::at_most`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::vip::Vip;
use jiff::Timestamp;
use serde::Serialize;
use vipcast_bgp::Instant;

use super::facts::Facts;
use super::{Decision, Engine, Touched};
use crate::effect::Effect;
use crate::model::{Config, Rank};
use crate::names::ServiceName;
use crate::outbox::Outbox;
use crate::record::What;

/// The most drains of services that are not configured. The oldest are dropped first.
const WAITING: usize = 1000;

/// An operator's drain. Survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drain {
    /// The operator and the reason.
    pub order: Order,
    /// The begin, on the wall clock.
    pub since: Timestamp,
    /// The end; `None`: until it is lifted.
    pub ends: Option<Ends>,
}

/// The operator behind a command, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    pub by: String,
    pub reason: Option<String>,
}

/// The end of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// On the wall clock.
    pub wall: Timestamp,
    /// On the monotonic clock.
    pub at: Instant,
    /// The latest end of a drain from before a reboot, which otherwise ends by the wall clock.
    pub at_most: Option<Instant>,
}

/// The scope of a drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every service, including those that are added later.
    Everything,
    /// One service.
    Service(ServiceName),
}

/// A drain of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Everything {
    pub drain: Arc<Drain>,
    /// Services that were put back into traffic one by one.
    pub except: BTreeSet<ServiceName>,
}

/// All drains in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drains {
    /// The drain of everything.
    pub everything: Option<Everything>,
    /// Drains of services, configured or not.
    pub services: BTreeMap<ServiceName, Arc<Drain>>,
}

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

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("every service"),
            Self::Service(service) => service.fmt(f),
        }
    }
}

impl Drain {
    /// Whether it ends later than `other`.
    pub fn outlasts(&self, other: &Self) -> bool {
        match (self.ends, other.ends) {
            (None, None) | (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(ours), Some(theirs)) => ours.at > theirs.at,
        }
    }
}

impl Drains {
    /// Whether there is no drain.
    pub fn is_empty(&self) -> bool {
        self.everything.is_none() && self.services.is_empty()
    }

    /// The drains of a service: its own, and that of everything.
    pub fn of(&self, service: &str) -> impl Iterator<Item = &Arc<Drain>> {
        let everything = self.everything.iter().filter(|everything| !everything.except.contains(service));
        self.services.get(service).into_iter().chain(everything.map(|everything| &everything.drain))
    }

    /// The drain with exactly this scope.
    pub fn get(&self, scope: &Scope) -> Option<&Arc<Drain>> {
        match scope {
            Scope::Everything => self.everything.as_ref().map(|everything| &everything.drain),
            Scope::Service(service) => self.services.get(service),
        }
    }

    /// Adds a drain. A drain that ends no later than the one in force changes nothing, except with `replace`: no
    /// operator shortens a colleague's drain by accident. A drain of everything always includes services that were
    /// excepted before.
    pub fn add(&mut self, scope: &Scope, drain: &Drain, replace: bool) -> bool {
        let holds = self.get(scope).filter(|earlier| !replace && !drain.outlasts(earlier)).cloned();
        let is_new = holds.is_none();
        let drain = holds.unwrap_or_else(|| Arc::new(drain.clone()));
        match scope {
            Scope::Everything => {
                let before = self.everything.replace(Everything { drain, except: BTreeSet::new() });
                is_new || before.is_some_and(|before| !before.except.is_empty())
            }
            Scope::Service(service) => {
                self.services.insert(service.clone(), drain);
                is_new
            }
        }
    }

    /// Lifts every drain of this scope, and returns whether there was any.
    pub fn lift(&mut self, scope: &Scope) -> bool {
        match scope {
            Scope::Everything => {
                let lifted = !self.is_empty();
                *self = Self::default();
                lifted
            }
            Scope::Service(service) => {
                let own = self.services.remove(service).is_some();
                let of_all = self.everything.as_mut();
                of_all.is_some_and(|everything| everything.except.insert(service.clone())) | own
            }
        }
    }

    /// Lifts the drains that have ended at `now`, and returns them.
    fn lift_ended(&mut self, now: Instant) -> Vec<(Scope, Arc<Drain>)> {
        let over = |drain: &Drain| drain.ends.is_some_and(|ends| ends.at <= now);
        let ended = self.services.extract_if(.., |_, drain| over(drain));
        let mut ended: Vec<_> = ended.map(|(service, drain)| (Scope::Service(service), drain)).collect();
        let everything = self.everything.take_if(|everything| over(&everything.drain));
        ended.extend(everything.map(|everything| (Scope::Everything, everything.drain)));
        ended
    }

    /// The wall clock was set to `wall`. The wall times of drains of this boot move with it; a drain from before the
    /// boot ends by the wall clock.
    fn set_wall(&mut self, wall: Timestamp, now: Instant) {
        let everything = self.everything.iter_mut().map(|everything| &mut everything.drain);
        for drain in self.services.values_mut().chain(everything) {
            let Some(mut ends) = drain.ends else { continue };
            let mut since = drain.since;
            match ends.at_most {
                Some(at_most) => ends.at = ends.wall_at(wall, now).min(at_most),
                None => {
                    let Ok(left) = wall.checked_add(ends.at.saturating_duration_since(now)) else { continue };
                    since = since.checked_add(left.duration_since(ends.wall)).unwrap_or(since);
                    ends.wall = left;
                }
            }
            if drain.ends != Some(ends) {
                let drain = Arc::make_mut(drain);
                (drain.ends, drain.since) = (Some(ends), since);
            }
        }
    }

    /// The next end of a drain.
    fn deadline(&self) -> Option<Instant> {
        let everything = self.everything.iter().map(|everything| &everything.drain);
        let drains = self.services.values().chain(everything);
        drains.filter_map(|drain| drain.ends.map(|ends| ends.at)).min()
    }

    /// Whether any drain has an end.
    pub fn any_ends(&self) -> bool {
        self.deadline().is_some()
    }

    /// Drains of services that are not configured.
    pub fn waiting<'a>(
        &'a self,
        config: &'a Config,
    ) -> impl Iterator<Item = (&'a ServiceName, &'a Arc<Drain>)> {
        self.services.iter().filter(|(service, _)| !config.services.contains_key(*service))
    }
}

impl Ends {
    /// The end by the wall clock, which is `wall` at `now`.
    pub fn wall_at(&self, wall: Timestamp, now: Instant) -> Instant {
        let left = Duration::try_from(self.wall.duration_since(wall)).unwrap_or_default();
        now.checked_add(left).unwrap_or(now)
    }
}

impl Facts {
    /// Whether an operator has drained a service.
    pub(super) fn is_drained(&self, service: &str) -> bool {
        self.drains.of(service).next().is_some()
    }
}

impl Engine {
    pub(super) fn fold_drain(
        &mut self,
        scope: Scope,
        drain: &Drain,
        replace: bool,
        now: Instant,
        out: &mut Outbox,
    ) -> Touched {
        // A drain may wait for its service, but only one with a valid name.
        if let Scope::Service(service) = &scope
            && !self.config.services.contains_key(service)
            && !self.facts.drains.services.contains_key(service)
        {
            return Touched::Nothing;
        }
        if replace {
            self.note_replaced(&scope);
        }
        if !Arc::make_mut(&mut self.facts.drains).add(&scope, drain, replace) {
            return Touched::Nothing;
        }
        let until = now + self.config.shutdown.drain_time;
        self.leave(
            |name| matches!(&scope, Scope::Everything) || scope == Scope::Service(name.clone()),
            until,
        );
        let drain = self.facts.drains.get(&scope).map_or_else(|| drain.clone(), |drain| (**drain).clone());
        out.tell(What::Drained(scope.clone(), drain));
        Self::touched_by(scope)
    }

    pub(super) fn fold_undrain(&mut self, scope: Scope, order: Order, out: &mut Outbox) -> Touched {
        self.note_lifted(&scope);
        if !Arc::make_mut(&mut self.facts.drains).lift(&scope) {
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

    /// Lifts drains that have ended at `now`, and withdraws VIPs whose drain time is over.
    pub(super) fn fold_drain_time(&mut self, now: Instant, out: &mut Outbox) -> Touched {
        let standing = &self.standing;
        let over = self.facts.leaving.iter().filter(|(_, leaving)| leaving.until <= now);
        let services = over.filter_map(|(vip, _)| standing.get(vip).map(|standing| standing.service.clone()));
        let mut touched = Touched::services(services.collect());
        if self.facts.drains.deadline().is_some_and(|at| at <= now) {
            for (scope, _) in Arc::make_mut(&mut self.facts.drains).lift_ended(now) {
                out.tell(What::Undrained(scope.clone(), None));
                touched = touched.and(Self::touched_by(scope));
            }
        }
        touched
    }

    pub(super) fn fold_wall(&mut self, wall: Timestamp, now: Instant, out: &mut Outbox) -> Touched {
        if !self.facts.drains.any_ends() {
            return Touched::Nothing;
        }
        Arc::make_mut(&mut self.facts.drains).set_wall(wall, now);
        self.fold_drain_time(now, out)
    }

    /// Records, after a reload, the drains that wait for their service and those that have found it; drops surplus
    /// ones.
    pub(super) fn follow_drains(&mut self, before: &Config, out: &mut Outbox) {
        let drains = &self.facts.drains;
        for service in drains.services.keys() {
            let (was, is) =
                (before.services.contains_key(service), self.config.services.contains_key(service));
            if was != is {
                out.tell(What::DrainWaits { service: service.clone(), waits: !is });
            }
        }
        let mut waiting: Vec<_> =
            drains.waiting(&self.config).map(|(service, drain)| (drain.since, service.clone())).collect();
        if waiting.len() > WAITING {
            waiting.sort();
            let drains = Arc::make_mut(&mut self.facts.drains);
            for (_, service) in &waiting[..waiting.len() - WAITING] {
                drains.services.remove(service);
                out.tell(What::Undrained(Scope::Service(service.clone()), None));
            }
        }
    }

    /// The next end of a drain or withdrawal of a drained VIP.
    pub(super) fn drain_deadline(&self) -> Option<Instant> {
        let leaving = self.facts.leaving.values().map(|leaving| leaving.until);
        let leaving = leaving.filter(|_| self.facts.shutdown.is_none() || !self.facts.drains.is_empty());
        let acted_at = self.acted_at;
        leaving
            .filter(|until| acted_at.is_none_or(|at| *until > at))
            .chain(self.facts.drains.deadline())
            .min()
    }

    /// Saves the drains if they have changed.
    pub(super) fn save_drains(&mut self, out: &mut Outbox) {
        if !Arc::ptr_eq(&self.saved_drains, &self.facts.drains) && self.saved_drains != self.facts.drains {
            out.push(Effect::SaveDrains(Arc::clone(&self.facts.drains)));
        }
        self.saved_drains = Arc::clone(&self.facts.drains);
    }

    fn touched_by(scope: Scope) -> Touched {
        match scope {
            Scope::Everything => Touched::All,
            Scope::Service(service) => Touched::services([service].into()),
        }
    }
}
