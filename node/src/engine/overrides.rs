//! Overrides of operators: drains, forces and promotions, by scope and with an end.
//!
//! **An override of everything is stored as such**, so it includes services of a later reload. An override of a service
//! that is not configured waits for it: drop-ins come and go.
//!
//! **The end of an override** is a time of the monotonic clock, which cannot be set. After a reboot only the wall clock is
//! left, which may be wrong until NTP has set it: the end is computed again whenever the clock is set
//! ([`Overrides::set_wall`]), and no override outlasts its own length ([`Ends::at_most`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use vipcast_bgp::Instant;

use super::forces::Forces;
use super::{Engine, Touched};
use crate::effect::Effect;
use crate::model::Config;
use crate::names::{PeerName, ServiceName};
use crate::outbox::Outbox;

/// The most overrides of services or peers that are not configured, of each kind. The oldest are dropped first.
pub(super) const WAITING: usize = 1000;

/// An operator's override. Survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Override {
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

/// The end of an override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// On the wall clock.
    pub wall: Timestamp,
    /// On the monotonic clock.
    pub at: Instant,
    /// The latest end of an override from before a reboot, which otherwise ends by the wall clock.
    pub at_most: Option<Instant>,
}

/// The scope of an override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every service, including those that are added later.
    Everything,
    /// One service.
    Service(ServiceName),
}

/// An override of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Everything {
    /// The override that all services have in common.
    pub common: Arc<Override>,
    /// Services for which it was lifted one by one.
    pub except: BTreeSet<ServiceName>,
}

/// The overrides of one kind, by scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scoped {
    /// The override of everything.
    pub everything: Option<Everything>,
    /// Overrides of services, configured or not.
    pub services: BTreeMap<ServiceName, Arc<Override>>,
}

/// All overrides in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Scoped of services.
    pub drains: Scoped,
    /// Services that are forced up or down.
    pub forces: Forces,
    /// Scoped of peers, configured or not.
    pub peers: BTreeMap<PeerName, Arc<Override>>,
    /// Promotions of services that are not healthy yet.
    pub promotions: BTreeMap<ServiceName, Arc<Override>>,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("every service"),
            Self::Service(service) => service.fmt(f),
        }
    }
}

impl Override {
    /// Whether it ends later than `other`.
    pub fn outlasts(&self, other: &Self) -> bool {
        match (self.ends, other.ends) {
            (None, None) | (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(ours), Some(theirs)) => ours.at > theirs.at,
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends.at <= now)
    }
}

impl Scoped {
    /// Whether there is no override.
    pub fn is_empty(&self) -> bool {
        self.everything.is_none() && self.services.is_empty()
    }

    /// The overrides of a service: its own, and that of everything.
    pub fn of(&self, service: &str) -> impl Iterator<Item = &Arc<Override>> {
        let everything = self.everything.iter().filter(|everything| !everything.except.contains(service));
        self.services.get(service).into_iter().chain(everything.map(|everything| &everything.common))
    }

    /// The override with exactly this scope.
    pub fn get(&self, scope: &Scope) -> Option<&Arc<Override>> {
        match scope {
            Scope::Everything => self.everything.as_ref().map(|everything| &everything.common),
            Scope::Service(service) => self.services.get(service),
        }
    }

    /// Adds an override. One that ends no later than the one in force changes nothing, except with `replace`: no
    /// operator shortens a colleague's drain by accident. An override of everything always includes services that were
    /// excepted before.
    pub fn add(&mut self, scope: &Scope, new: &Override, replace: bool) -> bool {
        let holds = self.get(scope).filter(|earlier| !replace && !new.outlasts(earlier)).cloned();
        let is_new = holds.is_none();
        let common = holds.unwrap_or_else(|| Arc::new(new.clone()));
        match scope {
            Scope::Everything => {
                let before = self.everything.replace(Everything { common, except: BTreeSet::new() });
                is_new || before.is_some_and(|before| !before.except.is_empty())
            }
            Scope::Service(service) => {
                self.services.insert(service.clone(), common);
                is_new
            }
        }
    }

    /// Lifts every override of this scope, and returns whether there was any.
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

    /// Lifts the overrides that have ended at `now`, and returns their scopes.
    pub(super) fn lift_ended(&mut self, now: Instant) -> Vec<Scope> {
        let ended = self.services.extract_if(.., |_, one| one.is_over(now));
        let mut ended: Vec<_> = ended.map(|(service, _)| Scope::Service(service)).collect();
        let everything = self.everything.take_if(|everything| everything.common.is_over(now));
        ended.extend(everything.map(|_| Scope::Everything));
        ended
    }

    /// Overrides of services that are not configured.
    pub fn waiting<'a>(
        &'a self,
        config: &'a Config,
    ) -> impl Iterator<Item = (&'a ServiceName, &'a Arc<Override>)> {
        self.services.iter().filter(|(service, _)| !config.services.contains_key(*service))
    }

    /// The services of overrides that a reload has removed (`true`) or brought back.
    pub(super) fn moved<'a>(
        &'a self,
        before: &'a Config,
        after: &'a Config,
    ) -> impl Iterator<Item = (ServiceName, bool)> + use<'a> {
        self.services.keys().filter_map(|service| {
            let (was, is) = (before.services.contains_key(service), after.services.contains_key(service));
            (was != is).then(|| (service.clone(), !is))
        })
    }

    /// The oldest overrides of services that are not configured, beyond [`WAITING`].
    pub(super) fn surplus(&self, config: &Config) -> Vec<ServiceName> {
        let mut waiting: Vec<_> =
            self.waiting(config).map(|(service, one)| (one.since, service.clone())).collect();
        waiting.sort();
        waiting.truncate(waiting.len().saturating_sub(WAITING));
        waiting.into_iter().map(|(_, service)| service).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Override>> {
        self.services.values().chain(self.everything.iter().map(|everything| &everything.common))
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Arc<Override>> {
        let everything = self.everything.iter_mut().map(|everything| &mut everything.common);
        self.services.values_mut().chain(everything)
    }
}

impl Overrides {
    /// The wall clock was set to `wall`. The wall times of overrides of this boot move with it; an override from before
    /// the boot ends by the wall clock.
    pub(super) fn set_wall(&mut self, wall: Timestamp, now: Instant) {
        let Self { drains, forces: Forces { up, down }, peers, promotions } = self;
        let scoped = drains.all_mut().chain(up.all_mut()).chain(down.all_mut());
        for one in scoped.chain(peers.values_mut()).chain(promotions.values_mut()) {
            let Some(mut ends) = one.ends else { continue };
            let mut since = one.since;
            match ends.at_most {
                Some(at_most) => ends.at = ends.wall_at(wall, now).min(at_most),
                None => {
                    let Ok(left) = wall.checked_add(ends.at.saturating_duration_since(now)) else { continue };
                    since = since.checked_add(left.duration_since(ends.wall)).unwrap_or(since);
                    ends.wall = left;
                }
            }
            if one.ends != Some(ends) {
                let one = Arc::make_mut(one);
                (one.ends, one.since) = (Some(ends), since);
            }
        }
    }

    /// The next end of an override.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let Self { drains, forces: Forces { up, down }, peers, promotions } = self;
        let scoped = drains.all().chain(up.all()).chain(down.all());
        let all = scoped.chain(peers.values()).chain(promotions.values());
        all.filter_map(|one| one.ends.map(|ends| ends.at)).min()
    }

    /// Whether any override has an end.
    pub fn any_ends(&self) -> bool {
        self.deadline().is_some()
    }
}

impl Ends {
    /// The end by the wall clock, which is `wall` at `now`.
    pub fn wall_at(&self, wall: Timestamp, now: Instant) -> Instant {
        let left = Duration::try_from(self.wall.duration_since(wall)).unwrap_or_default();
        now.checked_add(left).unwrap_or(now)
    }
}

impl Engine {
    /// Lifts overrides that have ended at `now`, and withdraws VIPs whose drain time is over.
    pub(super) fn fold_override_time(&mut self, now: Instant, out: &mut Outbox) -> Touched {
        let touched = self.fold_leaving_time(now);
        if self.facts.overrides.deadline().is_none_or(|at| at > now) {
            return touched;
        }
        self.end_peer_drains(now, out);
        touched.and(self.end_drains(now, out)).and(self.end_forces(now, out))
    }

    pub(super) fn fold_wall(&mut self, wall: Timestamp, now: Instant, out: &mut Outbox) -> Touched {
        if !self.facts.overrides.any_ends() {
            return Touched::Nothing;
        }
        Arc::make_mut(&mut self.facts.overrides).set_wall(wall, now);
        self.fold_override_time(now, out)
    }

    /// Saves the overrides if they have changed.
    pub(super) fn save_overrides(&mut self, out: &mut Outbox) {
        let (saved, overrides) = (&self.saved_overrides, &self.facts.overrides);
        if !Arc::ptr_eq(saved, overrides) && saved != overrides {
            out.push(Effect::SaveOverrides(Arc::clone(overrides)));
        }
        self.saved_overrides = Arc::clone(&self.facts.overrides);
    }

    /// The decisions that an override of this scope may change.
    pub(super) fn touched_by(scope: Scope) -> Touched {
        match scope {
            Scope::Everything => Touched::All,
            Scope::Service(service) => Touched::services([service].into()),
        }
    }

    /// Whether an override of this scope is heeded: it may wait for its service, but only one with a valid name.
    pub(super) fn is_heeded(&self, scope: &Scope) -> bool {
        let Scope::Service(service) = scope else { return true };
        let Overrides { drains, forces: Forces { up, down }, .. } = &*self.facts.overrides;
        self.config.services.contains_key(service)
            || [drains, up, down].iter().any(|scoped| scoped.services.contains_key(service))
    }
}
