//! The engine: one pure machine that folds events into facts, decides about the services they touch, and plans.
//!
//! ```text
//!  Event ─► fold ─► Facts ─► decide (touched services) ─► Desired ─► plan ─► Effect …
//!              │                                             ▲
//!              └─ time: deadline() ─► Event::Tick            └─ Actual: what was set in motion
//! ```
//!
//! Reload, drain, drift, adoption and shutdown are facts like any other; none has a path of its own.

mod decide;
mod facts;
mod plan;
mod shutdown;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vipcast_bgp::{Routes, Version};

pub use self::decide::Decision;
use self::decide::{decide, is_host_address};
pub use self::facts::{Address, CheckFact, Drain, DrainClock, Event, Facts, Owner, PeerFact, Shutdown};
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
}

/// The services that an event touches.
enum Touched {
    None,
    Some(BTreeSet<ServiceName>),
    All,
}

impl Engine {
    /// An engine that knows its configuration and the drains that a predecessor left, and nothing else yet.
    pub fn new(config: Arc<Config>, drains: BTreeMap<ServiceName, Drain>) -> Self {
        let mut facts = Facts { drains, ..Facts::default() };
        facts.retain(&config);
        facts.peers = config.peers.keys().map(|peer| (peer.clone(), PeerFact::default())).collect();
        let (standing, desired, actual) = (BTreeMap::new(), Desired::default(), Actual::default());
        Self { users: users(&config), config, facts, standing, desired, actual }
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
        let (mut effects, mut records) = (Vec::new(), Vec::new());
        let is_report = matches!(event, Event::Check(_));
        let touched = self.fold(event, now, &mut effects, &mut records);
        if is_report && matches!(touched, Touched::None) {
            // By far the most frequent event, and nearly always the same result again: nothing can follow from it.
            return records;
        }
        self.decide(touched, now, &mut records);
        self.carry_out(now, &mut effects);
        while self.advance_shutdown(now, &mut effects) {
            self.decide(Touched::All, now, &mut records);
            self.carry_out(now, &mut effects);
        }
        effects.extend(records);
        effects
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let drains =
            self.facts.drains.values().flat_map(|drain| [drain.clock.withdraw_at, drain.clock.lift_at]);
        let shutdown = self.facts.shutdown.and_then(shutdown::deadline);
        let addresses = self.actual.deadline(&self.facts, self.unbind_delay(), now);
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
            Event::Reload(config) => {
                self.config = config;
                let drains = self.facts.drains.len();
                self.facts.retain(&self.config);
                if self.facts.drains.len() != drains {
                    effects.push(Effect::SaveDrains(self.facts.drains.clone()));
                }
                for peer in self.config.peers.keys() {
                    self.facts.peers.entry(peer.clone()).or_default();
                }
                self.users = users(&self.config);
                effects.push(Effect::Configure(Arc::clone(&self.config)));
                Touched::All
            }
            Event::Check(report) => self.fold_check(report, records),
            Event::Addresses(addresses) => {
                if !self.facts.addresses_known {
                    let ours = addresses.iter().filter(|(_, owner)| **owner == Owner::Us);
                    records.extend(ours.map(|(a, _)| Effect::Record(Record::AddressAdopted(a.clone()))));
                }
                self.facts.addresses = addresses;
                self.facts.addresses_known = true;
                Touched::All
            }
            Event::AddressAdded(address, owner) => {
                self.answered(&address);
                let touched = self.services_of(&address);
                self.facts.addresses.insert(address, owner);
                touched
            }
            Event::AddressRemoved(address) => {
                let asked_for = self.actual.in_flight.contains(&address);
                self.answered(&address);
                if self.facts.addresses.remove(&address) == Some(Owner::Us) && !asked_for {
                    records.push(Effect::Record(Record::AddressLost(address.clone())));
                }
                self.services_of(&address)
            }
            Event::AddressFailed(address, error) => {
                self.answered(&address);
                records.push(Effect::Record(Record::AddressFailed(address.clone(), error.clone())));
                self.facts.address_errors.insert(address, (error, now + ADDRESS_RETRY));
                Touched::None
            }
            Event::PeerUp(peer) => self.fold_peer(&peer, PeerFact { established: true, synced: None }),
            Event::PeerDown(peer) => self.fold_peer(&peer, PeerFact::default()),
            Event::PeerSynced(peer, version) => {
                if let Some(fact) = self.facts.peers.get_mut(&peer) {
                    fact.synced = Some(version);
                }
                Touched::None
            }
            Event::Drain(service, mut drain) => {
                let already = self.facts.drains.get(&service).map(|earlier| earlier.clock.withdraw_at);
                drain.clock.withdraw_at = already.unwrap_or(Some(now + self.config.shutdown.drain_time));
                records.push(Effect::Record(Record::Drain(service.clone(), Some(drain.clone()))));
                self.facts.drains.insert(service.clone(), drain);
                effects.push(Effect::SaveDrains(self.facts.drains.clone()));
                Touched::Some([service].into())
            }
            Event::Undrain(service) => {
                if self.facts.drains.remove(&service).is_some() {
                    records.push(Effect::Record(Record::Drain(service.clone(), None)));
                    effects.push(Effect::SaveDrains(self.facts.drains.clone()));
                }
                Touched::Some([service].into())
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
                for peer in self.facts.peers.values_mut() {
                    *peer = PeerFact::default();
                }
                self.facts.shutdown = Some(shutdown::ceased(now));
                Touched::All
            }
            Event::Tick => self.fold_time(now, effects, records),
        }
    }

    fn fold_check(&mut self, report: CheckReport, records: &mut Vec<Effect>) -> Touched {
        let CheckReport { check, definition, mut state, mut since, outcome, at } = report;
        // A late report of a check that a reload has removed or changed.
        if self.config.checks.get(&check) != Some(&definition) {
            return Touched::None;
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
            return Touched::None;
        }
        self.users.get(&check).map_or(Touched::None, |users| Touched::Some(users.clone()))
    }

    fn fold_peer(&mut self, peer: &PeerName, now: PeerFact) -> Touched {
        if let Some(fact) = self.facts.peers.get_mut(peer) {
            *fact = now;
        }
        Touched::None
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
        Touched::Some(touched)
    }

    /// The kernel has said what became of an address: nothing is in flight any more, and no error stands.
    fn answered(&mut self, address: &Address) {
        self.actual.in_flight.remove(address);
        self.facts.address_errors.remove(address);
    }

    fn services_of(&self, address: &Address) -> Touched {
        match self.standing.get(&IpNet::from(address.ip)) {
            Some(standing) => Touched::Some([standing.service.clone()].into()),
            None => Touched::None,
        }
    }

    /// Decides again about the services touched, and writes down what changed.
    fn decide(&mut self, touched: Touched, now: Instant, records: &mut Vec<Effect>) {
        let config = Arc::clone(&self.config);
        match touched {
            Touched::None => {}
            Touched::Some(names) => {
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

    fn carry_out(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let unbind_delay = self.unbind_delay();
        self.actual.settle(&self.facts, unbind_delay, now);
        for step in plan(&self.desired, &self.actual, &self.facts, unbind_delay, now) {
            self.actual.begin(&step);
            effects.push(match step {
                Step::Bind(address) => Effect::Bind(address),
                Step::Advertise(version, routes) => Effect::Advertise(version, routes),
                Step::Unbind(address) => Effect::Unbind(address),
            });
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
            Shutdown::Ceasing => effects.push(Effect::StopPeers),
            Shutdown::Done => effects.push(Effect::Exit),
            Shutdown::Draining { .. }
            | Shutdown::Withdrawing { .. }
            | Shutdown::Settling { .. }
            | Shutdown::Unbinding { .. } => {}
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
