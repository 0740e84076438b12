//! The engine: one pure machine that folds events into facts, decides about the services they touch, and plans.
//!
//! ```text
//!  Event ─► fold ─► Facts ─► decide (touched services) ─► Desired ─► plan ─► Effect …
//!              │                                             ▲
//!              └─ time: deadline() ─► Event::Tick            └─ Actual: what was set in motion
//! ```
//!
//! Events that are there at once are folded before anything is decided ([`Engine::handle_all`]): what five thousand
//! addresses have in common is done once, and an address that vanished and is back makes no difference.
//!
//! Reload, drain, drift, adoption and shutdown are facts like any other; none has a path of its own.

mod decide;
mod facts;
mod plan;
mod shutdown;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vipcast_bgp::{Routes, Version};

pub use self::decide::Decision;
use self::decide::{decide, is_host_address};
pub use self::facts::{
    Address, Asked, CheckFact, Drain, DrainClock, Event, Facts, Owner, PeerFact, Shutdown,
};
use self::plan::{Actual, Desired, Step, plan};
pub use self::verdict::{Reason, Verdict};
use crate::check::report::{CheckReport, HealthState};
use crate::config::model::{Condition, Config, Service};
use crate::names::{CheckName, PeerName, ServiceName};

/// Pause before an address that could not be bound or unbound is tried again.
const ADDRESS_RETRY: Duration = Duration::from_secs(1);

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run exactly the checks and peers of this configuration.
    Configure(Arc<Config>),
    /// Put the address on the host.
    Bind(Address),
    /// Give every peer this whole set.
    Advertise(Version, Arc<Routes>),
    /// Take the address off the host.
    Unbind(Address),
    /// Keep these drains across a restart.
    SaveDrains(BTreeMap<ServiceName, Drain>),
    /// Close every session with Cease / Administrative Shutdown; answer with [`Event::PeersStopped`].
    StopPeers,
    /// Write it down.
    Record(Record),
    /// End the process.
    Exit,
}

/// What is worth writing down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The decision about a VIP changed.
    Vip {
        /// Which.
        vip: IpNet,
        /// Its service.
        service: ServiceName,
        /// The decision before, if there was one.
        from: Option<Verdict>,
        /// The decision now; `None`: no longer configured.
        to: Option<Verdict>,
        /// The fact behind the reason, in words.
        cause: Option<String>,
    },
    /// A check changed its state.
    Check {
        /// Which.
        check: CheckName,
        /// The state now.
        state: HealthState,
        /// The result that brought it about.
        detail: String,
    },
    /// One of our addresses vanished and is put back.
    AddressLost(Address),
    /// An address of a predecessor was found.
    AddressAdopted(Address),
    /// An address could not be bound or unbound.
    AddressFailed(Address, String),
    /// An operator's drain began (`Some`) or ended.
    Drain(ServiceName, Option<Drain>),
    /// The shutdown entered a phase.
    Shutdown(Shutdown),
}

/// A decision in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The service that the VIP belongs to.
    pub service: ServiceName,
    /// What was decided.
    pub decision: Decision,
    /// When the verdict last changed.
    pub since: Instant,
}

/// The engine. See the [module](self).
#[derive(Debug, Clone)]
pub struct Engine {
    config: Arc<Config>,
    facts: Facts,
    standing: BTreeMap<IpNet, Standing>,
    desired: Desired,
    actual: Actual,
    /// Which services each check decides about.
    users: BTreeMap<CheckName, BTreeSet<ServiceName>>,
    /// When it was last planned. What time alone made possible until then is under way.
    acted_at: Option<Instant>,
}

/// What an event may change.
#[derive(Debug, PartialEq, Eq)]
enum Touched {
    /// Nothing that a decision or a plan rests on.
    Nothing,
    /// The plan, and the decisions about these services.
    Services(BTreeSet<ServiceName>),
    /// Everything.
    All,
}

impl Touched {
    const PLAN: Self = Self::Services(BTreeSet::new());

    fn and(self, other: Self) -> Self {
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
    /// An engine that knows its configuration and the drains that a predecessor left, and nothing else yet.
    pub fn new(config: Arc<Config>, drains: BTreeMap<ServiceName, Drain>) -> Self {
        let mut facts = Facts { drains, ..Facts::default() };
        facts.retain(&config);
        facts.peers = config.peers.keys().map(|peer| (peer.clone(), PeerFact::default())).collect();
        let (standing, desired, actual) = (BTreeMap::new(), Desired::default(), Actual::default());
        Self { users: users(&config), config, facts, standing, desired, actual, acted_at: None }
    }

    /// The first effects.
    pub fn start(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = vec![Effect::Configure(Arc::clone(&self.config))];
        let mut records = Vec::new();
        self.decide(Touched::All, now, &mut records);
        self.carry_out(now, &mut effects);
        effects.extend(records);
        effects
    }

    /// Takes one event.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        self.handle_all([event], now)
    }

    /// Takes events that happened in this order, and acts on what they come to.
    pub fn handle_all(&mut self, events: impl IntoIterator<Item = Event>, now: Instant) -> Vec<Effect> {
        let (mut effects, mut records) = (Vec::new(), Vec::new());
        if self.facts.shutdown == Some(Shutdown::Done) {
            return effects;
        }
        let mut touched = Touched::Nothing;
        for event in events {
            touched = touched.and(self.fold(event, now, &mut effects, &mut records));
        }
        // By far the most frequent event is a check with the same result again: nothing can follow from it.
        if touched != Touched::Nothing {
            self.decide(touched, now, &mut records);
            self.carry_out(now, &mut effects);
            while self.advance_shutdown(now, &mut effects) {
                self.decide(Touched::All, now, &mut records);
                self.carry_out(now, &mut effects);
            }
        }
        effects.extend(records);
        effects
    }

    /// When [`Event::Tick`] is due. It may have passed already.
    pub fn deadline(&self) -> Option<Instant> {
        if self.facts.shutdown == Some(Shutdown::Done) {
            return None;
        }
        let drains =
            self.facts.drains.values().flat_map(|drain| [drain.clock.withdraw_at, drain.clock.lift_at]);
        let shutdown = self.facts.shutdown.and_then(shutdown::deadline);
        let addresses =
            self.acted_at.and_then(|at| self.actual.deadline(&self.facts, self.unbind_delay(), at));
        drains.chain([shutdown, addresses]).flatten().min()
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Everything known.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Every decision in force, by VIP.
    pub fn standing(&self) -> &BTreeMap<IpNet, Standing> {
        &self.standing
    }

    /// The last version advertised.
    pub fn version(&self) -> Version {
        self.actual.advertised.0
    }

    /// Changes the facts, and says which services they touch.
    fn fold(
        &mut self,
        event: Event,
        now: Instant,
        effects: &mut Vec<Effect>,
        records: &mut Vec<Effect>,
    ) -> Touched {
        match event {
            Event::Reload(config) => self.fold_config(config, effects, records),
            Event::Check(report) => self.fold_check(report, records),
            Event::Addresses(addresses) => self.fold_addresses(addresses, records),
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
            Event::Tick => self.fold_time(now, effects, records),
        }
    }

    fn fold_config(
        &mut self,
        config: Arc<Config>,
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
        effects.push(Effect::Configure(Arc::clone(&self.config)));
        Touched::All
    }

    fn fold_addresses(&mut self, addresses: BTreeMap<Address, Owner>, records: &mut Vec<Effect>) -> Touched {
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
        self.facts.addresses = addresses;
        self.facts.addresses_known = true;
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
        let CheckReport { check, definition, mut state, mut since, outcome, at } = report;
        // A late report of a check that a reload has removed or changed.
        if self.config.checks.get(&check) != Some(&definition) {
            return Touched::Nothing;
        }
        let before = self.facts.checks.get(&check).map(|fact| (fact.state, fact.since));
        if let (HealthState::Unknown, Some((settled, entered))) = (state, before) {
            // Its definition has changed: until the new one settles, the old answer is the best there is.
            (state, since) = (settled, entered);
        }
        if before.map(|(state, _)| state) != Some(state) {
            let detail = outcome.detail.clone();
            records.push(Effect::Record(Record::Check { check: check.clone(), state, detail }));
        }
        self.facts.checks.insert(check.clone(), CheckFact { state, since, outcome, at });
        if before.map(|(state, _)| state.verdict()) == Some(state.verdict()) {
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
        let mut touched = BTreeSet::new();
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

    fn services_of(&self, address: &Address) -> Touched {
        let standing = self.standing.get(&IpNet::from(address.ip));
        Touched::Services(standing.map(|standing| standing.service.clone()).into_iter().collect())
    }

    /// Decides again about the services touched, and writes down what changed.
    fn decide(&mut self, touched: Touched, now: Instant, records: &mut Vec<Effect>) {
        let config = Arc::clone(&self.config);
        match touched {
            Touched::Nothing => {}
            Touched::Services(names) => {
                for (name, service) in names.iter().filter_map(|name| config.services.get_key_value(name)) {
                    self.decide_service(name, service, now, records);
                }
            }
            Touched::All => {
                let configured: BTreeSet<&IpNet> = config.services.values().flat_map(|s| &s.vips).collect();
                let gone: Vec<IpNet> =
                    self.standing.keys().filter(|vip| !configured.contains(vip)).copied().collect();
                for vip in gone {
                    self.forget(vip, records);
                }
                for (name, service) in &config.services {
                    self.decide_service(name, service, now, records);
                }
            }
        }
    }

    fn decide_service(
        &mut self,
        name: &ServiceName,
        service: &Service,
        now: Instant,
        records: &mut Vec<Effect>,
    ) {
        for (vip, decision) in decide(name, service, &self.facts, now) {
            let before = self.standing.get(&vip);
            if before.is_some_and(|before| before.decision == decision && before.service == *name)
                && self.is_bound_on(&vip, &service.interface)
            {
                continue;
            }
            let from = before.map(|before| before.decision.verdict.clone());
            let mut since = before.map_or(now, |before| before.since);
            if from.as_ref() != Some(&decision.verdict) {
                since = now;
                let (service, to) = (name.clone(), Some(decision.verdict.clone()));
                let cause = self.cause(&decision.verdict);
                records.push(Effect::Record(Record::Vip { vip, service, from, to, cause }));
            }
            match decision.verdict.attributes() {
                Some(attributes) => {
                    Arc::make_mut(&mut self.desired.routes).insert(vip, Arc::clone(attributes));
                }
                None if self.desired.routes.contains_key(&vip) => {
                    Arc::make_mut(&mut self.desired.routes).remove(&vip);
                }
                None => {}
            }
            if decision.bind {
                self.desired.addresses.insert(vip.addr(), service.interface.clone());
            } else if is_host_address(&vip) {
                self.desired.addresses.remove(&vip.addr());
            }
            self.standing.insert(vip, Standing { service: name.clone(), decision, since });
        }
    }

    /// Whether a VIP that is to be bound is to be bound on `interface` already.
    fn is_bound_on(&self, vip: &IpNet, interface: &str) -> bool {
        self.desired.addresses.get(&vip.addr()).is_none_or(|bound_on| bound_on == interface)
    }

    fn forget(&mut self, vip: IpNet, records: &mut Vec<Effect>) {
        let Some(standing) = self.standing.remove(&vip) else { return };
        Arc::make_mut(&mut self.desired.routes).remove(&vip);
        if is_host_address(&vip) {
            self.desired.addresses.remove(&vip.addr());
        }
        let from = Some(standing.decision.verdict);
        records.push(Effect::Record(Record::Vip {
            vip,
            service: standing.service,
            from,
            to: None,
            cause: None,
        }));
    }

    /// What the check that is to blame said last.
    fn cause(&self, verdict: &Verdict) -> Option<String> {
        match verdict.reason()? {
            Reason::CheckUnknown { check } | Reason::CheckDown { check } => {
                self.facts.checks.get(check).map(|fact| fact.outcome.detail.clone())
            }
            Reason::NotBound
            | Reason::Draining
            | Reason::Drained
            | Reason::ShuttingDown
            | Reason::Shutdown => None,
        }
    }

    /// Sets in motion whatever can be now; what is under way is not asked for again.
    fn carry_out(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let unbind_delay = self.unbind_delay();
        self.acted_at = Some(now);
        loop {
            self.actual.settle(&self.facts, unbind_delay, now);
            let steps = plan(&self.desired, &self.actual, &self.facts, unbind_delay, now);
            // A withdrawal that nobody has to be told of may be settled at once, and then something is left to do.
            let again = steps.iter().any(|step| matches!(step, Step::Advertise(..)));
            effects.extend(steps.into_iter().map(|step| self.begin(step)));
            if !again {
                return;
            }
        }
    }

    fn begin(&mut self, step: Step) -> Effect {
        match step {
            Step::Bind(address) => {
                self.facts.asked.insert(address.clone(), Asked::Bind);
                Effect::Bind(address)
            }
            Step::Unbind(address) => {
                self.facts.asked.insert(address.clone(), Asked::Unbind);
                Effect::Unbind(address)
            }
            Step::Advertise(version, routes) => {
                self.actual.advertised(version, &routes);
                Effect::Advertise(version, routes)
            }
        }
    }

    /// Enters the next phase of a shutdown, if the present one is over.
    fn advance_shutdown(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        let Some(phase) = self.facts.shutdown else { return false };
        let (version, routes) = &self.actual.advertised;
        let advertised = (*version, routes.is_empty());
        let Some(next) = shutdown::advance(phase, &self.config.shutdown, &self.facts, advertised, now) else {
            return false;
        };
        self.facts.shutdown = Some(next);
        effects.push(Effect::Record(Record::Shutdown(next)));
        match next {
            Shutdown::Ceasing { .. } => effects.push(Effect::StopPeers),
            // Also those whose end nobody reported: nothing is told to them any more.
            Shutdown::Unbinding { .. } => {
                self.facts.peers.values_mut().for_each(|fact| *fact = PeerFact::default())
            }
            Shutdown::Done => {
                effects.push(Effect::Exit);
                return false;
            }
            Shutdown::Draining { .. } | Shutdown::Withdrawing { .. } | Shutdown::Settling { .. } => {}
        }
        true
    }

    /// None in a hurry, and none once every session is closed: then no router has a route to us any more.
    fn unbind_delay(&self) -> Duration {
        let closed = matches!(self.facts.shutdown, Some(Shutdown::Unbinding { .. } | Shutdown::Done));
        if self.facts.hurry || closed { Duration::ZERO } else { self.config.shutdown.unbind_delay }
    }
}

/// Which services each check decides about.
fn users(config: &Config) -> BTreeMap<CheckName, BTreeSet<ServiceName>> {
    fn collect(
        condition: &Condition,
        service: &ServiceName,
        users: &mut BTreeMap<CheckName, BTreeSet<ServiceName>>,
    ) {
        match condition {
            Condition::Check(check) => {
                users.entry(check.clone()).or_default().insert(service.clone());
            }
            Condition::All(of) | Condition::Any(of) | Condition::AtLeast(_, of) => {
                for part in of {
                    collect(part, service, users);
                }
            }
        }
    }
    let mut users = BTreeMap::new();
    for (name, service) in &config.services {
        collect(&service.checks, name, &mut users);
    }
    users
}
