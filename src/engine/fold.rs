//! Events into facts: what each changes, what has to be saved or written down with it, and what it may change further on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::effect::{Effect, Record};
use super::facts::{Address, Asked, CheckFact, Drain, Event, Owner, PeerFact};
use super::{Engine, shutdown};
use crate::check::report::{CheckReport, HealthState};
use crate::config::model::Config;
use crate::names::{CheckName, PeerName, ServiceName};

/// Pause before an address that could not be bound or unbound is tried again.
const ADDRESS_RETRY: Duration = Duration::from_secs(1);

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
    const PLAN: Self = Self::Services(BTreeSet::new());

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
            Event::Addresses(addresses) => self.fold_addresses(addresses, now, records),
            Event::AddressAdded(address, owner) => {
                let settled = self.answered(&address, Asked::Bind) | self.mended(&address);
                if self.facts.addresses.insert(address.clone(), owner) == Some(owner) && !settled {
                    return Touched::Nothing;
                }
                match self.services_of(&address) {
                    // Someone else's business.
                    touched if touched == Touched::PLAN && owner == Owner::Other && !settled => {
                        Touched::Nothing
                    }
                    touched => touched,
                }
            }
            Event::AddressRemoved(address) => {
                let answered = self.answered(&address, Asked::Unbind);
                let mended = self.mended(&address);
                let removed = self.facts.addresses.remove(&address);
                if removed == Some(Owner::Us) && !answered {
                    records.push(Effect::Record(Record::AddressLost(address.clone())));
                }
                if removed.is_none() && !answered && !mended {
                    return Touched::Nothing;
                }
                self.services_of(&address)
            }
            Event::AddressFailed(address, error) => self.fold_failure(address, error, now, records),
            Event::PeerUp(peer) => {
                self.fold_peer(peer, |fact| *fact = PeerFact { established: true, synced: None })
            }
            Event::PeerDown(peer) if !self.config.peers.contains_key(&peer) => {
                self.facts.peers.remove(&peer).map_or(Touched::Nothing, |_| Touched::PLAN)
            }
            Event::PeerDown(peer) => self.fold_peer(peer, |fact| *fact = PeerFact::default()),
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

    fn fold_addresses(
        &mut self,
        addresses: BTreeMap<Address, Owner>,
        now: Instant,
        records: &mut Vec<Effect>,
    ) -> Touched {
        if self.facts.addresses_known && self.facts.addresses == addresses {
            return Touched::Nothing;
        }
        let of_ours = |addresses: &BTreeMap<Address, Owner>, record: fn(Address) -> Record| {
            let ours = addresses.iter().filter(|(_, owner)| **owner == Owner::Us);
            ours.map(|(address, _)| record(address.clone())).map(Effect::Record).collect::<Vec<_>>()
        };
        if self.facts.addresses_known {
            let mut gone = self.facts.addresses.clone();
            gone.retain(|address, _| {
                !addresses.contains_key(address) && !self.facts.asked.contains_key(address)
            });
            records.extend(of_ours(&gone, Record::AddressLost));
        } else {
            records.extend(of_ours(&addresses, Record::AddressAdopted));
        }
        let listed = self.facts.addresses.keys().chain(addresses.keys()).map(|address| address.ip);
        self.actual.open.extend(listed.chain(self.desired.addresses.keys().copied()));
        self.facts.addresses = addresses;
        if !std::mem::replace(&mut self.facts.addresses_known, true) {
            self.begin_restart(now, records);
        }
        Touched::All
    }

    fn fold_failure(
        &mut self,
        address: Address,
        error: String,
        now: Instant,
        records: &mut Vec<Effect>,
    ) -> Touched {
        let asked = self.facts.asked.remove(&address);
        let touched = self.services_of(&address);
        // Someone else was faster: it is there, and that was all we wanted.
        if asked == Some(Asked::Bind) && self.facts.addresses.contains_key(&address) {
            return touched;
        }
        let failed = (error.clone(), now + ADDRESS_RETRY);
        let before = self.facts.address_errors.insert(address.clone(), failed);
        if before.is_none_or(|(before, _)| before != error) {
            records.push(Effect::Record(Record::AddressFailed(address, error)));
        }
        touched
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
        let before = *fact;
        change(fact);
        if *fact == before { Touched::Nothing } else { Touched::PLAN }
    }

    fn fold_time(&mut self, now: Instant, effects: &mut Vec<Effect>, records: &mut Vec<Effect>) -> Touched {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut touched = self.fold_recovery_time(now);
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

    /// Whether that answers `question` about an address. While another one is open, this is what happened before it.
    fn answered(&mut self, address: &Address, question: Asked) -> bool {
        let answered = self.facts.asked.get(address) == Some(&question);
        if answered {
            self.facts.asked.remove(address);
        }
        answered
    }

    /// Whether an address was in error: it has changed, so that stands no more.
    fn mended(&mut self, address: &Address) -> bool {
        self.facts.address_errors.remove(address).is_some()
    }

    /// The service that has the address, which is looked at again.
    fn services_of(&mut self, address: &Address) -> Touched {
        self.actual.open.insert(address.ip);
        let standing = self.standing.get(&IpNet::from(address.ip));
        Touched::Services(standing.map(|standing| standing.service.clone()).into_iter().collect())
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
