//! Operators' drains: of one service, or of everything.
//!
//! ```text
//!             drain                          drain_time, or it is withheld for another reason
//!  announced ───────► GRACEFUL_SHUTDOWN set ─────────────────────────────────────────────────► withheld
//!  withheld  ───────► withheld                                                                    │
//!                                                                         undrain, or its end ◄───┘
//! ```
//!
//! **A drain never adds a route and never improves one.** [`Leaving`] has the VIPs that were announced when it began, and only
//! as long as they have been announced without a gap. A VIP that recovers meanwhile stays withheld. A shutdown does the same.
//!
//! **Of two drains the one that ends later holds**, so that nobody shortens a colleague's by accident; see [`Drains::add`].
//!
//! **A drain of everything is a record of its own**, so it holds for services that come with a later reload. A drain of a
//! service that is not configured waits for it: drop-ins come and go.
//!
//! **Its end** is a time of the monotonic clock, which nobody sets. A reboot leaves only the wall clock, which may be wrong
//! until NTP has set it: it is looked at again whenever it is set ([`Drains::set_wall`]), and no drain outlasts its own
//! length ([`Ends::at_most`]).

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

/// Drains of services that are not configured, at most. The oldest go first.
const WAITING: usize = 1000;

/// An operator's drain. Survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drain {
    /// Who asked for it, and why.
    pub order: Order,
    /// When, on the wall clock.
    pub since: Timestamp,
    /// When it ends by itself; `None`: until it is lifted.
    pub ends: Option<Ends>,
}

/// Who asked for something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// When a drain ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// On the wall clock.
    pub wall: Timestamp,
    /// On the monotonic clock.
    pub at: Instant,
    /// For a drain of before a reboot: the wall clock decides, but it ends then at the latest.
    pub at_most: Option<Instant>,
}

/// What is drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every service, those that come later included.
    Everything,
    /// One.
    Service(ServiceName),
}

/// A drain of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Everything {
    /// It.
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
    /// The worst that it was meanwhile: it does not become better again.
    pub(super) rank: Option<Rank>,
    /// It was withheld meanwhile: it does not come back.
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
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.everything.is_none() && self.services.is_empty()
    }

    /// The drains that hold for a service: its own, and that of everything.
    pub fn of(&self, service: &str) -> impl Iterator<Item = &Arc<Drain>> {
        let everything = self.everything.iter().filter(|everything| !everything.except.contains(service));
        self.services.get(service).into_iter().chain(everything.map(|everything| &everything.drain))
    }

    /// The drain of exactly this.
    pub fn get(&self, scope: &Scope) -> Option<&Arc<Drain>> {
        match scope {
            Scope::Everything => self.everything.as_ref().map(|everything| &everything.drain),
            Scope::Service(service) => self.services.get(service),
        }
    }

    /// Adds a drain. One that would end no later than the one in force changes nothing, unless it is to `replace` it: nobody
    /// shortens a colleague's drain unasked. A drain of everything always holds for services that had been taken out of it.
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

    /// Lifts every drain that holds for this, and says whether there was any.
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

    /// Lifts what has ended at `now`, and says which.
    fn lift_ended(&mut self, now: Instant) -> Vec<(Scope, Arc<Drain>)> {
        let over = |drain: &Drain| drain.ends.is_some_and(|ends| ends.at <= now);
        let ended = self.services.extract_if(.., |_, drain| over(drain));
        let mut ended: Vec<_> = ended.map(|(service, drain)| (Scope::Service(service), drain)).collect();
        let everything = self.everything.take_if(|everything| over(&everything.drain));
        ended.extend(everything.map(|everything| (Scope::Everything, everything.drain)));
        ended
    }

    /// The wall clock was set to `wall`. Times of this boot move with it; a drain of before the boot ends when the clock says
    /// so.
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

    /// When the next one ends by itself.
    fn deadline(&self) -> Option<Instant> {
        let everything = self.everything.iter().map(|everything| &everything.drain);
        let drains = self.services.values().chain(everything);
        drains.filter_map(|drain| drain.ends.map(|ends| ends.at)).min()
    }

    /// Whether any ends by itself.
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
    /// What the wall clock, which says `wall` at `now`, makes of it.
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
        // One that waits for its service is as good as any other; a name that nobody knows is none.
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

    /// Notes which of the services' VIPs are announced now: those alone may be for a little longer.
    pub(super) fn leave(&mut self, services: impl Fn(&ServiceName) -> bool, until: Instant) {
        for (vip, standing) in &self.standing {
            if standing.decision.verdict.is_announced() && services(&standing.service) {
                let rank = standing.decision.verdict.rank();
                self.facts.leaving.entry(*vip).or_insert(Leaving { until, rank, out: false });
            }
        }
    }

    /// Keeps [`Leaving`] in line with what was decided about a VIP.
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

    /// Lifts what is over at `now`, and withdraws what has been announced for long enough since its drain began.
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

    /// Says which drains wait for their service after a reload, and which have found it; forgets what is too many.
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

    /// When a drain ends, or a drained VIP is withdrawn.
    pub(super) fn drain_deadline(&self) -> Option<Instant> {
        let leaving = self.facts.leaving.values().map(|leaving| leaving.until);
        let leaving = leaving.filter(|_| self.facts.shutdown.is_none() || !self.facts.drains.is_empty());
        let acted_at = self.acted_at;
        leaving
            .filter(|until| acted_at.is_none_or(|at| *until > at))
            .chain(self.facts.drains.deadline())
            .min()
    }

    /// Has the drains saved, when they are not what was saved last.
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
