//! Events into facts: what each changes, what has to be saved or written down with it, and what it may change further on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::effect::{Effect, Record};
use super::facts::{CheckFact, Drain, Event, PeerFact};
use super::{Engine, shutdown};
use crate::check::report::{CheckReport, HealthState};
use crate::config::model::Config;
use crate::names::{CheckName, PeerName, ServiceName};

/// What an event may change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// Nothing that a decision or a plan rests on.
    Nothing,
    /// The plan, and the decisions about these services.
    Services(BTreeSet<ServiceName>),
    /// Everything.
    All,
}

impl Touched {
    pub(super) const PLAN: Self = Self::Services(BTreeSet::new());

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, touched) | (touched, Self::Nothing) => touched,
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Services(mut services), Self::Services(others)) => {
                services.extend(others);
                Self::Services(services)
            }
        }
    }
}

impl Engine {
    /// Changes the facts, and says which services they touch.
    pub(super) fn fold(
        &mut self,
        event: Event,
        now: Instant,
        effects: &mut Vec<Effect>,
        records: &mut Vec<Effect>,
    ) -> Touched {
        match event {
            Event::Reload(config) => self.fold_config(config, now, effects, records),
            Event::Check(report) => self.fold_check(report, records),
            Event::Addresses(listing) => self.fold_listing(listing, now, records),
            Event::Link(index, link) => self.fold_link(index, link),
            Event::AddressAdded(address, fact) => self.fold_added(address, fact, now),
            Event::AddressRemoved(address) => self.fold_removed(address, now, records),
            Event::Answered(address, result) => self.fold_answer(address, result, now, records),
            Event::PeerUp(peer) => {
                self.fold_peer(peer, |fact| *fact = PeerFact { established: true, ..PeerFact::default() })
            }
            Event::PeerDown(peer) if !self.config.peers.contains_key(&peer) => {
                self.facts.peers.remove(&peer).map_or(Touched::Nothing, |_| Touched::PLAN)
            }
            Event::PeerDown(peer) => self.fold_peer(peer, |fact| *fact = PeerFact::default()),
            Event::PeersRenamed(renamed) => {
                // All at once: two may have changed places.
                let facts: Vec<_> = renamed
                    .into_iter()
                    .filter_map(|(from, to)| Some((to, self.facts.peers.remove(&from)?)))
                    .collect();
                self.facts.peers.extend(facts);
                Touched::PLAN
            }
            Event::PeerWithholds(peer, withheld) => self.fold_peer(peer, |fact| fact.withheld = withheld),
            Event::PeerSynced(peer, version) => self.fold_peer(peer, |fact| fact.synced = Some(version)),
            Event::Drain(service, drain) => self.fold_drain(service, drain, now, effects, records),
            Event::Undrain(service) => {
                if self.facts.drains.remove(&service).is_none() {
                    return Touched::Nothing;
                }
                records.push(Effect::Record(Record::Drain(service.clone(), None)));
                effects.push(Effect::SaveDrains(self.facts.drains.clone()));
                Touched::Services([service].into())
            }
            Event::Shutdown => {
                if self.facts.shutdown.is_some() {
                    self.facts.hurry = true;
                } else {
                    let phase = shutdown::begin(&self.config.shutdown, now);
                    self.facts.shutdown = Some(phase);
                    effects.push(Effect::Record(Record::Shutdown(phase)));
                }
                Touched::All
            }
            Event::PeersStopped => {
                self.facts.sessions_closed = true;
                Touched::PLAN
            }
            Event::Promote(service) => self.fold_promotion(service, records),
            Event::Tick => self.fold_time(now, effects, records),
        }
    }

    fn fold_config(
        &mut self,
        config: Arc<Config>,
        now: Instant,
        effects: &mut Vec<Effect>,
        records: &mut Vec<Effect>,
    ) -> Touched {
        // It would start the peers again that are being stopped.
        if self.facts.shutdown.is_some() {
            return Touched::Nothing;
        }
        self.config = config;
        let drained: Vec<ServiceName> = self.facts.drains.keys().cloned().collect();
        self.facts.retain(&self.config);
        if self.facts.drains.len() != drained.len() {
            effects.push(Effect::SaveDrains(self.facts.drains.clone()));
        }
        let lifted = drained.into_iter().filter(|service| !self.facts.drains.contains_key(service));
        records.extend(lifted.map(|service| Effect::Record(Record::Drain(service, None))));
        for peer in self.config.peers.keys() {
            self.facts.peers.entry(peer.clone()).or_default();
        }
        // Whoever reloads may have mended what went wrong.
        self.facts.address_errors.clear();
        self.users = users(&self.config);
        self.follow_new_rules(now);
        effects.push(self.configure());
        Touched::All
    }

    fn fold_drain(
        &mut self,
        service: ServiceName,
        mut drain: Drain,
        now: Instant,
        effects: &mut Vec<Effect>,
        records: &mut Vec<Effect>,
    ) -> Touched {
        if !self.config.services.contains_key(&service) {
            return Touched::Nothing;
        }
        let already = self.facts.drains.get(&service).map(|earlier| earlier.clock.withdraw_at);
        drain.clock.withdraw_at = already.unwrap_or(Some(now + self.config.shutdown.drain_time));
        records.push(Effect::Record(Record::Drain(service.clone(), Some(drain.clone()))));
        self.facts.drains.insert(service.clone(), drain);
        effects.push(Effect::SaveDrains(self.facts.drains.clone()));
        Touched::Services([service].into())
    }

    fn fold_check(&mut self, report: CheckReport, records: &mut Vec<Effect>) -> Touched {
        let CheckReport {
            check,
            definition,
            mut state,
            mut since,
            mut degraded,
            mut held_until,
            outcome,
            at,
        } = report;
        // A late report of a check that a reload has removed or changed.
        if self.config.checks.get(&check) != Some(&definition) {
            return Touched::Nothing;
        }
        let before = self.facts.checks.get(&check);
        if let (HealthState::Unknown, Some(settled)) = (state, before) {
            // Its definition has changed: until the new one settles, the old answer is the best there is.
            (state, since) = (settled.state, settled.since);
            (degraded, held_until) = (settled.degraded.clone(), settled.held_until);
        }
        if before.map(|fact| fact.state) != Some(state) {
            let detail = outcome.detail.clone();
            records.push(Effect::Record(Record::Check { check: check.clone(), state, detail }));
        }
        let fact = CheckFact { state, since, degraded, held_until, outcome, at };
        let (verdict, degraded) = (fact.state.verdict(), fact.degraded.clone());
        let earlier = self.facts.checks.insert(check.clone(), fact);
        let was_degraded = earlier.as_ref().is_some_and(|earlier| earlier.degraded.is_some());
        if was_degraded != degraded.is_some() {
            records.push(Effect::Record(Record::Degraded { check: check.clone(), limit: degraded.clone() }));
        }
        let before = earlier.map(|earlier| earlier.state.verdict());
        if before == Some(verdict) && was_degraded == degraded.is_some() {
            return Touched::Nothing;
        }
        self.users.get(&check).map_or(Touched::Nothing, |users| Touched::Services(users.clone()))
    }

    fn fold_peer(&mut self, peer: PeerName, change: impl FnOnce(&mut PeerFact)) -> Touched {
        let Some(fact) = self.facts.peers.get_mut(&peer) else { return Touched::Nothing };
        let before = fact.clone();
        change(fact);
        if *fact == before { Touched::Nothing } else { Touched::PLAN }
    }

    fn fold_time(&mut self, now: Instant, effects: &mut Vec<Effect>, records: &mut Vec<Effect>) -> Touched {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut touched = self.fold_recovery_time(now);
        touched.extend(self.fold_contest_time(now, records));
        for (service, drain) in &mut self.facts.drains {
            if due(drain.clock.withdraw_at) {
                drain.clock.withdraw_at = None;
                touched.insert(service.clone());
            }
        }
        let lifted: BTreeMap<_, _> =
            self.facts.drains.extract_if(.., |_, drain| due(drain.clock.lift_at)).collect();
        if !lifted.is_empty() {
            effects.push(Effect::SaveDrains(self.facts.drains.clone()));
        }
        for service in lifted.into_keys() {
            records.push(Effect::Record(Record::Drain(service.clone(), None)));
            touched.insert(service);
        }
        Touched::Services(touched)
    }
}

/// Which services each check decides about.
pub(super) fn users(config: &Config) -> BTreeMap<CheckName, BTreeSet<ServiceName>> {
    let mut users: BTreeMap<CheckName, BTreeSet<ServiceName>> = BTreeMap::new();
    for (name, service) in &config.services {
        for check in service.checks.checks(None) {
            users.entry(check.clone()).or_default().insert(name.clone());
        }
    }
    users
}
