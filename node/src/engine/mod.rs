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

mod address;
mod condition;
mod contest;
mod decide;
mod drains;
mod facts;
mod fold;
mod kept;
mod kernel;
mod late;
mod plan;
pub mod reach;
mod recovery;
mod restart;
mod shutdown;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vipcast_bgp::Instant;
use vipcast_bgp::{Extent, Version};

pub use self::address::{Address, AddressFact, AddressState, Link, Links, Listing, Owner, Place, Unusable};
pub use self::contest::Contest;
pub use self::decide::Decision;
use self::decide::{decide, is_host_address};
pub use self::drains::{Drain, Drains, Ends, Everything, Leaving, Order, Scope};
pub use self::facts::{Asked, CheckFact, Event, Facts, PeerFact, Shutdown};
use self::fold::{Touched, users};
pub use self::kept::Kept;
use self::late::Meanwhile;
pub use self::plan::Advertised;
use self::plan::{Actual, Desired, Step, plan};
use self::reach::Reach;
pub use self::recovery::{Held, HeldBack, Recovery};
pub use self::restart::Restart;
pub use self::verdict::{Reason, Verdict};
use crate::effect::Effect;
use crate::model::{Config, Service};
use crate::names::{CheckName, ServiceName};
use crate::outbox::Outbox;
use crate::record::What;

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

/// What a predecessor left in the state directory.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// Operators' drains.
    pub drains: Drains,
    /// VIPs that must not take over by themselves.
    pub held: HeldBack,
    /// The VIPs that were announced when a graceful restart was asked for, on this boot.
    pub announced: Option<BTreeSet<IpNet>>,
    /// The state directory has not answered: what is in it comes later ([`Event::Late`]).
    pub unread: bool,
}

/// The engine. See the [module](self).
#[derive(Debug, Clone)]
pub struct Engine {
    config: Arc<Config>,
    facts: Facts,
    standing: BTreeMap<IpNet, Standing>,
    desired: Desired,
    actual: Actual,
    reach: Reach,
    /// Which services each check decides about.
    users: BTreeMap<CheckName, BTreeSet<ServiceName>>,
    /// What a predecessor announced when it left for a graceful restart.
    announced_before: Option<BTreeSet<IpNet>>,
    /// What operators have said since the state directory was read.
    meanwhile: Meanwhile,
    /// VIPs that a reboot holds back.
    watched: BTreeSet<IpNet>,
    /// What was last saved of what is held back.
    saved: HeldBack,
    /// The drains that were last saved.
    saved_drains: Arc<Drains>,
    /// See [`Self::deadline`].
    due: Option<Instant>,
    /// When it was last planned. What time alone made possible until then is under way.
    acted_at: Option<Instant>,
}

impl Engine {
    /// An engine that knows its configuration and what a predecessor left, and nothing else yet.
    pub fn new(config: Arc<Config>, left: Left) -> Self {
        let mut facts = Facts { drains: Arc::new(left.drains), ..Facts::default() };
        facts.retain(&config);
        facts.peers = config.peers.keys().map(|peer| (peer.clone(), PeerFact::default())).collect();
        facts.restart = restart::restart_time(&config).map(|_| Restart::default());
        let extent = if facts.restart.is_some() { Extent::Partial } else { Extent::Whole };
        let actual = Actual {
            advertised: Advertised { extent, ..Advertised::default() },
            whole_since: (extent == Extent::Whole).then(Version::default),
            ..Actual::default()
        };
        let mut engine = Self {
            users: users(&config),
            watched: recovery::watched(&config),
            config,
            saved_drains: Arc::clone(&facts.drains),
            facts,
            standing: BTreeMap::new(),
            desired: Desired { extent, ..Desired::default() },
            actual,
            reach: Reach::default(),
            announced_before: left.announced,
            meanwhile: Meanwhile::new(left.unread),
            saved: left.held.clone(),
            acted_at: None,
            due: None,
        };
        let graceful = engine.announced_before.is_some();
        engine.hold_back(&left.held, graceful, &BTreeSet::new());
        engine
    }

    /// The first effects. Where a peer keeps our routes over a restart, the addresses of the host should be told first
    /// ([`Event::Addresses`]): what the peers are told depends on them.
    pub fn start(&mut self, now: Instant, out: &mut Outbox) {
        out.push(self.configure());
        self.decide(Touched::All, now, out);
        self.end_restart(now, out);
        self.carry_out(now, out);
        self.save_held_back(out);
        self.due = self.next_deadline();
    }

    /// Takes one event.
    pub fn handle(&mut self, event: Event, now: Instant, out: &mut Outbox) {
        self.handle_all([event], now, out);
    }

    /// Takes events that happened in this order, and acts on what they come to.
    pub fn handle_all(&mut self, events: impl IntoIterator<Item = Event>, now: Instant, out: &mut Outbox) {
        if self.facts.shutdown == Some(Shutdown::Done) {
            return;
        }
        let mut touched = Touched::Nothing;
        // What was due comes first, also when whatever happens has overtaken the timer.
        if self.due.is_some_and(|due| due <= now) {
            touched = self.fold_time(now, out);
        }
        for event in events {
            self.reach.note(&event);
            touched = touched.and(self.fold(event, now, out));
        }
        self.save_drains(out);
        // By far the most frequent event is a check with the same result again: nothing can follow from it.
        if touched != Touched::Nothing {
            self.decide(touched, now, out);
            self.end_restart(now, out);
            self.carry_out(now, out);
            self.note_missing_links(out);
            while self.advance_shutdown(now, out) {
                self.decide(Touched::All, now, out);
                self.end_restart(now, out);
                self.carry_out(now, out);
            }
            self.save_held_back(out);
        }
        self.follow_reach(now, out);
        self.due = self.next_deadline();
    }

    /// When [`Event::Tick`] is due. It may have passed already; any event that comes later stands for it.
    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.facts.shutdown == Some(Shutdown::Done) {
            return None;
        }
        let restart = self.facts.restart.as_ref().and_then(|restart| restart.until);
        let longest_kept = self.longest_kept();
        let shutdown =
            self.facts.shutdown.and_then(|phase| shutdown::deadline(phase, longest_kept, self.acted_at));
        let addresses =
            self.acted_at.and_then(|at| self.actual.deadline(&self.facts, self.unbind_delay(), at));
        let reach = self.reach.deadline();
        let pending = self.facts.pending.values().min().copied();
        let later = |at: &Instant| self.acted_at.is_none_or(|acted_at| *at > acted_at);
        let kept = self.facts.peers.values().filter_map(|peer| peer.keeps_until).filter(later).min();
        let others = [
            pending,
            kept,
            shutdown,
            addresses,
            restart,
            self.recovery_deadline(),
            self.drain_deadline(),
            reach,
        ];
        others.into_iter().flatten().min()
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
        self.actual.advertised.version
    }

    /// The VIPs that the peers were last given.
    pub fn announced(&self) -> impl Iterator<Item = &IpNet> {
        self.actual.advertised.routes.keys()
    }

    /// Decides again about the services touched, and writes down what changed.
    fn decide(&mut self, touched: Touched, now: Instant, out: &mut Outbox) {
        let config = Arc::clone(&self.config);
        match touched {
            Touched::Nothing => {}
            Touched::Services(names) => {
                for (name, service) in names.iter().filter_map(|name| config.services.get_key_value(name)) {
                    self.decide_service(name, service, now, out);
                }
            }
            Touched::All => {
                let configured: BTreeSet<&IpNet> = config.services.values().flat_map(|s| &s.vips).collect();
                let gone: Vec<IpNet> =
                    self.standing.keys().filter(|vip| !configured.contains(vip)).copied().collect();
                for vip in gone {
                    self.forget(vip, out);
                }
                for (name, service) in &config.services {
                    self.decide_service(name, service, now, out);
                }
            }
        }
    }

    fn decide_service(&mut self, name: &ServiceName, service: &Service, now: Instant, out: &mut Outbox) {
        self.note_recovery(service, now);
        for (vip, decision) in decide(name, service, &self.facts, now) {
            if let Some(mut restart) = self.facts.restart.take() {
                let failed = self.facts.obstacle(vip.addr(), &service.interface).is_some();
                restart.note(vip, &decision, failed);
                self.facts.restart = Some(restart);
            }
            self.note_leaving(&vip, name.as_str(), &decision, now);
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
                out.tell(What::Vip { vip, service, from, to, cause });
                self.reach.decided(vip, &decision.verdict, now);
            }
            self.actual.changed.insert(vip);
            match decision.verdict.attributes() {
                Some(attributes) => {
                    self.desired.routes.insert(vip, Arc::clone(attributes));
                }
                None => {
                    self.desired.routes.remove(&vip);
                }
            }
            if is_host_address(&vip) {
                self.actual.open.insert(vip.addr());
                if decision.bind {
                    self.desired.addresses.insert(vip.addr(), service.interface.clone());
                } else {
                    self.desired.addresses.remove(&vip.addr());
                }
            }
            self.standing.insert(vip, Standing { service: name.clone(), decision, since });
        }
    }

    /// Whether a VIP that is to be bound is to be bound on `interface` already.
    fn is_bound_on(&self, vip: &IpNet, interface: &str) -> bool {
        self.desired.addresses.get(&vip.addr()).is_none_or(|bound_on| bound_on == interface)
    }

    fn forget(&mut self, vip: IpNet, out: &mut Outbox) {
        let Some(standing) = self.standing.remove(&vip) else { return };
        self.reach.forget(&vip);
        self.facts.leaving.remove(&vip);
        if let Some(restart) = &mut self.facts.restart {
            restart.undecided.remove(&vip);
        }
        self.desired.routes.remove(&vip);
        self.actual.changed.insert(vip);
        if is_host_address(&vip) {
            self.actual.open.insert(vip.addr());
            self.desired.addresses.remove(&vip.addr());
        }
        let from = Some(standing.decision.verdict);
        out.tell(What::Vip { vip, service: standing.service, from, to: None, cause: None });
    }

    /// What the check that is to blame said last.
    fn cause(&self, verdict: &Verdict) -> Option<String> {
        match verdict.reason()? {
            Reason::CheckUnknown { check } | Reason::CheckDown { check } => {
                self.facts.checks.get(check).map(|fact| fact.outcome.detail.clone())
            }
            Reason::CheckDegraded { check } => self.facts.checks.get(check)?.degraded.clone(),
            Reason::Standby
            | Reason::WarmingUp
            | Reason::HeldBack
            | Reason::NotBound
            | Reason::Unusable { .. }
            | Reason::Contested
            | Reason::Draining
            | Reason::Drained
            | Reason::ShuttingDown
            | Reason::Shutdown => None,
        }
    }

    /// The configuration in force, for whoever runs it.
    fn configure(&self) -> Effect {
        Effect::Configure {
            config: Arc::clone(&self.config),
            restarted: self.facts.restart.as_ref().map(|restart| restart.preserved.clone()),
        }
    }

    /// Sets in motion whatever can be now; what is under way is not asked for again.
    fn carry_out(&mut self, now: Instant, out: &mut Outbox) {
        let unbind_delay = self.unbind_delay();
        self.acted_at = Some(now);
        loop {
            self.actual.settle(&self.facts, unbind_delay, now);
            let steps = plan(&self.desired, &self.actual, &self.facts, unbind_delay, now);
            // A withdrawal that nobody has to be told of may be settled at once, and then something is left to do.
            let advertises = steps.iter().any(|step| matches!(step, Step::Advertise(..)));
            out.effects.extend(steps.into_iter().map(|step| self.begin(step)));
            if !advertises || self.facts.told(now) < Some(self.version()) {
                break;
            }
        }
        self.actual.close(&self.desired, &self.facts);
    }

    /// Says once of an interface that VIPs wait for that it is not there.
    fn note_missing_links(&mut self, out: &mut Outbox) {
        let Facts { links, addresses_known: true, .. } = &self.facts else { return };
        self.actual.missing_links.retain(|name| links.index_of(name).is_none());
        for ip in &self.actual.open {
            if let Some(name) = self.desired.addresses.get(ip)
                && links.index_of(name).is_none()
                && self.actual.missing_links.insert(name.clone())
            {
                out.tell(What::NoInterface(name.clone()));
            }
        }
    }

    fn begin(&mut self, step: Step) -> Effect {
        match step {
            Step::Bind(address) => {
                self.facts.asked.insert(address, Asked::Bind);
                Effect::Bind(address)
            }
            Step::Unbind(address) => {
                self.facts.asked.insert(address, Asked::Unbind);
                Effect::Unbind(address)
            }
            Step::Advertise(advertised) => {
                self.actual.advertise(advertised.clone());
                Effect::Advertise(advertised)
            }
        }
    }

    /// Enters the next phase of a shutdown, if the present one is over.
    fn advance_shutdown(&mut self, now: Instant, out: &mut Outbox) -> bool {
        let Some(phase) = self.facts.shutdown else { return false };
        let Advertised { version, routes, .. } = &self.actual.advertised;
        let advertised = (*version, routes.is_empty());
        let phase = self.note_progress(phase, now);
        let kept = self.longest_kept();
        let advance = shutdown::advance(phase, &self.config.shutdown, &self.facts, advertised, kept, now);
        let Some(next) = advance else {
            return false;
        };
        self.facts.shutdown = Some(next);
        out.tell(What::Shutdown(next));
        match next {
            Shutdown::Ceasing { .. } => out.push(Effect::StopPeers),
            // Also those whose end nobody reported: nothing is told to them any more.
            Shutdown::Unbinding { .. } => {
                self.facts.peers.values_mut().for_each(|fact| *fact = PeerFact::default())
            }
            Shutdown::Done => {
                let left: Vec<Address> = self.facts.ours().cloned().collect();
                if !left.is_empty() && !self.config.shutdown.keep_addresses {
                    out.tell(What::AddressesLeft(left));
                }
                out.push(Effect::Exit);
                return false;
            }
            Shutdown::Draining { .. } | Shutdown::Withdrawing { .. } | Shutdown::Settling { .. } => {}
        }
        true
    }

    /// The patience with the kernel begins anew with each address that it has removed.
    fn note_progress(&mut self, phase: Shutdown, now: Instant) -> Shutdown {
        let Shutdown::Unbinding { until } = phase else { return phase };
        let left = self.facts.ours().count();
        let until = if left < self.actual.left { now + shutdown::UNBIND_PATIENCE } else { until };
        self.actual.left = left;
        self.facts.shutdown = Some(Shutdown::Unbinding { until });
        Shutdown::Unbinding { until }
    }

    /// None in a hurry, and none once every session is closed: then no router has a route to us any more.
    fn unbind_delay(&self) -> Duration {
        let closed = matches!(self.facts.shutdown, Some(Shutdown::Unbinding { .. } | Shutdown::Done));
        if self.facts.hurry || closed { Duration::ZERO } else { self.config.shutdown.unbind_delay }
    }
}
