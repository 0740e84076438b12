//! The engine: one pure machine that folds events into facts, decides about the services they touch, and plans.
//!
//! ```text
//!  Event ─► fold ─► Facts ─► decide (touched services) ─► set ─► Desired ─► plan ─► Effect …
//!              │                                           │                  ▲
//!              └─ time: deadline() ─► Event::Tick          └─ Record          └─ Actual: actions under way
//! ```
//!
//! Events that are available at once are all folded before the engine decides ([`Engine::handle_all`]): the common part
//! of five thousand addresses is done once, and an address that vanished and came back makes no difference.
//!
//! Reload, drain, drift, adoption and shutdown are facts like any other; none has a separate code path.

mod binding;
mod bindings;
mod carry;
mod cause;
mod condition;
mod contest;
mod cordons;
mod decide;
mod drains;
mod facts;
mod fold;
mod forces;
pub(crate) mod frozen;
mod kept;
mod kernel;
mod known;
mod late;
mod link;
mod overrides;
mod peer_drains;
mod plan;
pub mod reach;
mod recovery;
mod restart;
mod set;
mod shutdown;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vipcast_bgp::Instant;
use vipcast_bgp::{Export, Extent, RouteAttributes, Version};

pub use self::binding::{
    AddressState, Binding, BindingFact, Kind, Owner, Place, ROUTE_METRIC, Unusable, Wanted,
};
pub use self::bindings::Bindings;
pub use self::contest::Contest;
pub use self::cordons::{Cordon, Farewell};
pub use self::decide::Decision;
use self::decide::decide;
pub use self::drains::Leaving;
pub use self::facts::{Asked, CheckFact, Event, Facts, PeerFact, Shutdown};
use self::fold::{Touched, users};
pub use self::forces::{Force, Forces};
pub use self::kept::Kept;
pub(crate) use self::kept::Was;
pub use self::known::Known;
use self::late::Meanwhile;
pub use self::link::{Link, Links, Listing};
pub use self::overrides::{Ends, Everything, Order, Override, Overrides, Scope, Scoped};
pub use self::plan::Advertised;
use self::plan::{Actual, Desired};
use self::reach::Reach;
pub use self::recovery::{Held, HeldBack, Recovery};
pub use self::restart::Restart;
pub use self::verdict::{Demotion, Reason, Verdict};
use crate::effect::Effect;
use crate::model::Config;
use crate::names::{CheckName, PeerName, ServiceName};
use crate::outbox::Outbox;
use crate::table::Table;
use crate::vip::Vip;

/// A decision in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The service that the VIP belongs to.
    pub service: ServiceName,
    /// The decision.
    pub decision: Decision,
    /// When the verdict last changed.
    pub since: Instant,
}

/// The state that a predecessor left in the state directory.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// Operators' overrides.
    pub overrides: Overrides,
    /// VIPs that must not take over by themselves.
    pub held: HeldBack,
    /// The VIPs that were announced when a graceful restart was requested, in this boot.
    pub announced: Option<BTreeSet<Vip>>,
    /// The state directory has not answered: its content comes later ([`Event::Late`]).
    pub unread: bool,
    /// Unreadable overrides: the service and the reason.
    pub forgotten: Vec<(String, String)>,
}

/// The engine. See the [module](self).
#[derive(Debug, Clone)]
pub struct Engine {
    config: Arc<Config>,
    facts: Facts,
    standing: Table<Vip, Standing>,
    desired: Desired,
    actual: Actual,
    reach: Reach,
    /// The services that depend on each check.
    users: Table<CheckName, BTreeSet<ServiceName>>,
    /// The VIPs that a predecessor announced when it ended for a graceful restart.
    announced_before: Option<BTreeSet<Vip>>,
    /// Commands of operators since the state directory was read.
    meanwhile: Meanwhile,
    /// VIPs that a reboot holds back.
    watched: BTreeSet<Vip>,
    /// The held-back VIPs as last saved.
    saved: HeldBack,
    /// The overrides that were last saved.
    saved_overrides: Arc<Overrides>,
    /// The exports as last given to the peers.
    exports: BTreeMap<PeerName, Export>,
    /// See [`Self::deadline`].
    due: Option<Instant>,
    /// The time of the last plan. Every step that was possible until then is under way.
    acted_at: Option<Instant>,
}

impl Engine {
    /// An engine with its configuration and the state of a predecessor, and without other facts.
    pub fn new(config: Arc<Config>, left: Left) -> Self {
        let mut facts = Facts { overrides: Arc::new(left.overrides), ..Facts::default() };
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
            saved_overrides: Arc::clone(&facts.overrides),
            facts,
            standing: Table::default(),
            desired: Desired { extent, ..Desired::default() },
            actual,
            reach: Reach::default(),
            announced_before: left.announced,
            meanwhile: Meanwhile::new(left.unread),
            saved: left.held.clone(),
            exports: BTreeMap::new(),
            acted_at: None,
            due: None,
        };
        let graceful = engine.announced_before.is_some();
        engine.hold_back(&left.held, graceful, &BTreeSet::new());
        engine
    }

    /// The first effects. If a peer keeps our routes over a restart, the addresses of the host should come first
    /// ([`Event::Listed`]): the OPEN to the peers depends on them.
    pub fn start(&mut self, now: Instant, out: &mut Outbox) {
        // The peers start with the configuration.
        self.set_exports(now, out);
        out.push(self.configure());
        self.follow(Touched::All, now, out);
        self.save_held_back(out);
        self.due = self.next_deadline();
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, now: Instant, out: &mut Outbox) {
        self.handle_all([event], now, out);
    }

    /// Handles events in their order, and acts on their combined result.
    pub fn handle_all(&mut self, events: impl IntoIterator<Item = Event>, now: Instant, out: &mut Outbox) {
        if self.facts.shutdown == Some(Shutdown::Done) {
            return;
        }
        let mut touched = Touched::Nothing;
        // Due timers come first, even if another event was faster.
        if self.due.is_some_and(|due| due <= now) {
            touched = self.fold_time(now, out);
        }
        for event in events {
            self.reach.note(&event);
            touched = touched.and(self.fold(event, now, out));
        }
        self.act(touched, now, out);
    }

    /// Decides and plans, after events were folded.
    fn act(&mut self, touched: Touched, now: Instant, out: &mut Outbox) {
        self.save_overrides(out);
        self.set_exports(now, out);
        // By far the most frequent event is a repeated result of a check, which has no effect.
        if touched != Touched::Nothing {
            self.follow(touched, now, out);
            self.note_missing_links(out);
            while self.advance_shutdown(now, out) {
                self.follow(Touched::All, now, out);
            }
            self.save_held_back(out);
            self.follow_promotions();
            self.save_overrides(out);
        }
        self.advance_farewell(now, out);
        self.follow_reach(now, out);
        self.due = self.next_deadline();
    }

    /// Decides about the touched services, updates the desired state, and plans.
    fn follow(&mut self, touched: Touched, now: Instant, out: &mut Outbox) {
        let config = Arc::clone(&self.config);
        if touched == Touched::All {
            self.forget_unconfigured(&config, out);
        }
        match touched {
            Touched::Nothing => {}
            Touched::These(services, vips) => {
                for (service, vips) in self.by_service(vips, &services) {
                    self.decide(&config, &service, Some(&vips), now, out);
                }
                services.iter().for_each(|service| self.decide(&config, service, None, now, out));
            }
            Touched::All => {
                config.services.keys().for_each(|service| self.decide(&config, service, None, now, out));
            }
        }
        self.end_restart(now, out);
        self.plan(now, out);
    }

    /// The touched single VIPs, by service.
    fn by_service(
        &self,
        vips: BTreeSet<Vip>,
        whole: &BTreeSet<ServiceName>,
    ) -> BTreeMap<ServiceName, BTreeSet<Vip>> {
        let mut by_service: BTreeMap<ServiceName, BTreeSet<Vip>> = BTreeMap::new();
        for vip in vips {
            if let Some(standing) = self.standing.get(&vip).filter(|it| !whole.contains(&it.service)) {
                by_service.entry(standing.service.clone()).or_default().insert(vip);
            }
        }
        by_service
    }

    /// Decides about these VIPs of a service, or about all of them, and updates the desired state.
    fn decide(
        &mut self,
        config: &Config,
        service: &ServiceName,
        vips: Option<&BTreeSet<Vip>>,
        now: Instant,
        out: &mut Outbox,
    ) {
        let Some((name, service)) = config.services.get_key_value(service) else { return };
        let vips = vips.unwrap_or(&service.vips);
        self.note_recovery(name, service, vips.iter(), now);
        let decisions = decide(name, service, vips.iter(), &self.facts, now);
        self.set(name, service, decisions, now, out);
    }

    /// When [`Event::Tick`] is due. It may have passed already; any later event has the same effect.
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
            self.leaving_deadline(),
            self.facts.overrides.deadline(),
            self.peer_leaving_deadline(),
            self.farewell_deadline(),
            reach,
        ];
        others.into_iter().flatten().min()
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// All facts.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Every decision in force, by VIP.
    pub fn standing(&self) -> &Table<Vip, Standing> {
        &self.standing
    }

    /// The last version advertised.
    pub fn version(&self) -> Version {
        self.actual.advertised.version
    }

    /// The route that the peers should have of a VIP; `None` while it is withheld.
    pub fn route(&self, vip: &Vip) -> Option<&Arc<RouteAttributes>> {
        self.desired.routes.get(&vip.prefix())
    }

    /// The VIPs that `other` wants bound otherwise than this engine, and those that it does not want bound.
    pub(crate) fn bindings_changed_in(&self, other: &Self) -> (BTreeSet<Vip>, BTreeSet<Vip>) {
        let (ours, theirs) = (&self.desired.bindings, &other.desired.bindings);
        let bound = theirs.iter().filter(|(vip, wanted)| ours.get(*vip) != Some(wanted));
        let unbound = ours.keys().filter(|vip| !theirs.contains_key(*vip));
        (bound.map(|(vip, _)| *vip).collect(), unbound.copied().collect())
    }

    /// The last advertised set.
    pub(crate) fn advertised(&self) -> &Advertised {
        &self.actual.advertised
    }

    /// The VIPs of the last advertised set.
    pub fn announced(&self) -> impl Iterator<Item = Vip> {
        self.actual.advertised.routes.keys().map(|prefix| Vip::from(*prefix))
    }

    /// The effect that puts the configuration in force.
    pub(crate) fn configure(&self) -> Effect {
        Effect::Configure {
            config: Arc::clone(&self.config),
            restarted: self.facts.restart.as_ref().map(|restart| restart.preserved.clone()),
        }
    }
}
