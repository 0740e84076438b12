//! Folds events into facts: the changed facts, the state to save, the records, and the touched services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use vipcast_bgp::Instant;

use super::facts::{CheckFact, Event, PeerFact};
use super::{Engine, Was, kept, shutdown};
use crate::health::report::{CheckReport, HealthState};
use crate::model::{Config, Peer};
use crate::names::{CheckName, PeerName, ServiceName};
use crate::outbox::Outbox;
use crate::record::What;
use crate::table::Table;
use crate::vip::Vip;

/// The decisions and plans that an event may change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// No decision and no plan.
    Nothing,
    /// The plan, the decisions about these services, and those about these single VIPs.
    These(BTreeSet<ServiceName>, BTreeSet<Vip>),
    /// Everything.
    All,
}

impl Touched {
    pub(super) const PLAN: Self = Self::These(BTreeSet::new(), BTreeSet::new());

    /// The plan, and the decisions about these services.
    pub(super) fn services(names: BTreeSet<ServiceName>) -> Self {
        Self::These(names, BTreeSet::new())
    }

    /// The plan, and the decision about this VIP, if it is configured.
    pub(super) fn vip(vip: Vip) -> Self {
        Self::These(BTreeSet::new(), [vip].into())
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, touched) | (touched, Self::Nothing) => touched,
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::These(mut services, mut vips), Self::These(others, other_vips)) => {
                services.extend(others);
                vips.extend(other_vips);
                Self::These(services, vips)
            }
        }
    }
}

impl Engine {
    /// Changes the facts, and returns the touched services.
    pub(super) fn fold(&mut self, event: Event, now: Instant, out: &mut Outbox) -> Touched {
        match event {
            Event::Reload(config) => self.fold_config(config, now, out),
            Event::Check(report) => self.fold_check(report, out),
            Event::CheckWaits(check, definition) => self.fold_waits(&check, &definition, now),
            Event::Listed(listing) => self.fold_listing(listing, now, out),
            Event::Link(index, link) => self.fold_link(index, link),
            Event::Added(address, fact) => self.fold_added(address, fact, now),
            Event::Removed(address) => self.fold_removed(address, now, out),
            Event::Answered(address, result) => self.fold_answer(address, result, now, out),
            Event::Unanswered(address) => self.fold_unanswered(address),
            Event::PeerUp(peer) => self.fold_peer(peer, |fact| {
                let PeerFact { keeps_until, asked_before, .. } = *fact;
                *fact = PeerFact { established: true, keeps_until, asked_before, ..PeerFact::default() };
            }),
            Event::PeersRenamed(renamed) => {
                // All at once: two peers may have swapped their names.
                let facts: Vec<_> = renamed
                    .iter()
                    .filter_map(|(from, to)| Some((to.clone(), self.facts.peers.remove(from)?)))
                    .collect();
                self.facts.peers.extend(facts);
                self.rename_drained(&renamed);
                Touched::PLAN
            }
            Event::PeerWithholds(peer, withheld) => self.fold_peer(peer, |fact| fact.withheld = withheld),
            Event::PeerDown(peer) => {
                // Its next session begins without a route.
                self.facts.peers_leaving.remove(&peer);
                let asked = self.config.peers.get(&peer).and_then(Peer::keeps_routes);
                let (nothing, version) = (self.actual.advertised.routes.is_empty(), self.version());
                let touched = self.fold_peer(peer.clone(), |fact| {
                    // A peer that has the empty set keeps no route.
                    let told = fact.keeps_until.is_none() && nothing && fact.synced >= Some(version);
                    let asked_before = fact.asked_before;
                    let keeps_until = if fact.established && !told {
                        asked.max(asked_before).map(|time| now + time)
                    } else {
                        fact.keeps_until
                    };
                    *fact = PeerFact { keeps_until, asked_before, ..PeerFact::default() };
                });
                // A peer that is no longer configured is dropped, unless it may keep our routes: the NOTIFICATION may
                // be lost.
                let keeps = self.facts.peers.get(&peer).is_some_and(|fact| fact.keeps_until.is_some());
                if !keeps && !self.config.peers.contains_key(&peer) {
                    self.facts.peers.remove(&peer);
                }
                touched
            }
            Event::PeerSynced(peer, version) => {
                let whole = self.actual.whole_since.is_some_and(|since| version >= since);
                self.fold_peer(peer, |fact| {
                    fact.synced = Some(version);
                    fact.keeps_until = fact.keeps_until.filter(|_| !whole);
                })
            }
            Event::Drain { scope, drain, replace } => self.fold_drain(scope, &drain, replace, now, out),
            Event::Undrain(scope, order) => self.fold_undrain(scope, order, out),
            Event::DrainPeer { peer, drain, replace } => self.fold_peer_drain(peer, drain, replace, now, out),
            Event::UndrainPeer(peer, order) => self.fold_peer_undrain(&peer, order, out),
            Event::Force { scope, to, with } => self.fold_force(scope, to, &with, out),
            Event::Clear(scope, order) => self.fold_clear(scope, order, out),
            Event::Cordon(cordon, drain) => self.fold_cordon(cordon, drain, now, out),
            Event::Late(left) => self.fold_late(*left, now, out),
            Event::WallClock(wall) => self.fold_wall(wall, now, out),
            Event::Shutdown => {
                if self.facts.shutdown.is_some() {
                    self.facts.hurry = true;
                } else {
                    let phase = shutdown::begin(&self.config.shutdown, now);
                    self.leave(|_| true, now + self.config.shutdown.drain_time);
                    self.facts.shutdown = Some(phase);
                    out.tell(What::Shutdown(phase));
                }
                Touched::All
            }
            Event::PeersStopped => {
                self.facts.sessions_closed = true;
                Touched::PLAN
            }
            Event::Promote(service, promotion) => self.fold_promotion(service, promotion, out),
            // A Tick carries only the time.
            Event::Tick => Touched::Nothing,
        }
    }

    fn fold_config(&mut self, config: Arc<Config>, now: Instant, out: &mut Outbox) -> Touched {
        // A reload would start peers that are being stopped.
        if self.facts.shutdown.is_some() {
            return Touched::Nothing;
        }
        let was = kept::before(&self.config, &self.facts);
        let before = std::mem::replace(&mut self.config, config);
        let keeps = before.peers.iter().map(|(name, peer)| (name.clone(), peer.keeps_routes())).collect();
        self.follow_config(&before, &was, &keeps, now, out);
        out.push(self.configure());
        Touched::All
    }

    /// Applies the configuration to the facts. `before` is the one until now: the names in it, and its checks. `was` is the
    /// health of every VIP then, `keeps` the time for which each peer may keep our routes after its session.
    pub(super) fn follow_config(
        &mut self,
        before: &Config,
        was: &BTreeMap<Vip, Was>,
        keeps: &BTreeMap<PeerName, Option<Duration>>,
        now: Instant,
        out: &mut Outbox,
    ) {
        self.keep(before, was, now);
        self.facts.retain(&self.config);
        self.follow_drains(before, out);
        self.follow_forces(before, out);
        self.follow_peer_drains(before, out);
        if self.facts.peers.is_empty() {
            self.reach.begin(now);
        }
        for peer in self.config.peers.keys() {
            self.facts.peers.entry(peer.clone()).or_default();
        }
        for (name, asked) in keeps {
            if let Some(fact) = self.facts.peers.get_mut(name) {
                fact.asked_before = fact.asked_before.max(*asked);
            }
        }
        // The operator may have fixed the cause of the errors.
        self.facts.binding_errors.clear();
        self.users = users(&self.config);
        self.follow_new_rules(now);
    }

    fn fold_check(&mut self, report: CheckReport, out: &mut Outbox) -> Touched {
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
        let reported = state;
        let before = self.facts.checks.get(&check);
        if let (HealthState::Unknown, Some(settled)) = (state, before) {
            // The definition has changed: until the new check settles, the old state is the best one.
            (state, since) = (settled.state, settled.since);
            (degraded, held_until) = (settled.degraded.clone(), settled.held_until);
        }
        if before.map(|fact| fact.state) != Some(state) {
            let detail = outcome.detail.clone();
            out.tell(What::Check { check: check.clone(), state, detail });
        }
        let fact = CheckFact { state, since, degraded, held_until, outcome, at };
        let (verdict, degraded) = (fact.state.verdict(), fact.degraded.clone());
        let earlier = self.facts.checks.insert(check.clone(), fact);
        let was_degraded = earlier.as_ref().is_some_and(|earlier| earlier.degraded.is_some());
        if was_degraded != degraded.is_some() {
            out.tell(What::Degraded { check: check.clone(), limit: degraded.clone() });
        }
        let is_settled = verdict.is_some() && reported != HealthState::Unknown;
        let before = earlier.map(|earlier| earlier.state.verdict());
        if is_settled {
            self.settled(&check, verdict == Some(false) && before != Some(verdict));
        }
        if before == Some(verdict) && was_degraded == degraded.is_some() {
            return Touched::Nothing;
        }
        self.users.get(&check).map_or(Touched::Nothing, |users| Touched::services(users.clone()))
    }

    fn fold_peer(&mut self, peer: PeerName, change: impl FnOnce(&mut PeerFact)) -> Touched {
        let Some(fact) = self.facts.peers.get_mut(&peer) else { return Touched::Nothing };
        let before = fact.clone();
        change(fact);
        if *fact == before { Touched::Nothing } else { Touched::PLAN }
    }

    /// The changes by time alone.
    pub(super) fn fold_time(&mut self, now: Instant, out: &mut Outbox) -> Touched {
        // A shutdown keeps the peers that kept routes: a router's forwarding plane takes a moment longer.
        if self.facts.shutdown.is_none() {
            for peer in self.facts.peers.values_mut() {
                peer.keeps_until = peer.keeps_until.filter(|until| *until > now);
            }
        }
        self.facts.peers.retain(|peer, fact| {
            fact.established || fact.keeps_until.is_some() || self.config.peers.contains_key(peer)
        });
        let pending = self.fold_pending(now, out);
        let mut touched = self.fold_recovery_time(now);
        touched.extend(self.fold_contest_time(now, out));
        Touched::services(touched).and(pending).and(self.fold_override_time(now, out))
    }
}

/// The services that depend on each check.
pub(super) fn users(config: &Config) -> Table<CheckName, BTreeSet<ServiceName>> {
    let mut users = Table::<CheckName, BTreeSet<ServiceName>>::default();
    for (name, service) in &config.services {
        for check in service.checks.checks(None) {
            users.entry(check.clone()).or_default().insert(name.clone());
        }
    }
    users
}
