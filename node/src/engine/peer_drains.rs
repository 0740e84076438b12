//! Operators' drains of peers: a router in maintenance loses our routes, its session stays, and no other peer gets an
//! UPDATE.
//!
//! ```text
//!             drain --peer                     drain_time, or the end of its session
//!  it has routes ─────────► GRACEFUL_SHUTDOWN ──────────────────────────────────────► it has none
//!  it has none   ─────────► it gets none                                                  │
//!                                                            undrain, or its end ◄────────┘
//! ```
//!
//! Like a drain of a service it never adds a route: what the peer did not have when the drain began, or what is withdrawn
//! meanwhile, is not sent. [`Export`] of the session does that. A drained peer reports all routes as
//! [`Withheld`](vipcast_bgp::adj_rib_out::Withheld), so a VIP counts as reached only at other peers.
//!
//! A drain follows its router to another name, and waits for a peer that is not configured.

use std::collections::BTreeMap;
use std::sync::Arc;

use vipcast_bgp::{Export, Instant};

use super::overrides::{Order, Override, WAITING};
use super::{Engine, Touched};
use crate::effect::Effect;
use crate::model::Config;
use crate::names::PeerName;
use crate::outbox::Outbox;
use crate::record::What;

impl Engine {
    pub(super) fn fold_peer_drain(
        &mut self,
        peer: PeerName,
        drain: Override,
        replace: bool,
        now: Instant,
        out: &mut Outbox,
    ) -> Touched {
        let known = self.facts.overrides.peers.contains_key(&peer);
        if !known && !self.config.peers.contains_key(&peer) {
            return Touched::Nothing;
        }
        if replace {
            self.note_peer_drain(&peer);
        }
        self.add_peer_drain(peer, &Arc::new(drain), replace, now, out);
        Touched::Nothing
    }

    /// Adds the drain of a peer, unless the one in force ends later.
    pub(super) fn add_peer_drain(
        &mut self,
        peer: PeerName,
        drain: &Arc<Override>,
        replace: bool,
        now: Instant,
        out: &mut Outbox,
    ) {
        let before = self.facts.overrides.peers.get(&peer);
        if before.is_some_and(|before| !replace && !drain.outlasts(before)) {
            return;
        }
        let established = self.facts.peers.get(&peer).is_some_and(|fact| fact.established);
        if before.is_none() && established {
            let until = now + self.config.shutdown.drain_time;
            self.facts.peers_leaving.insert(peer.clone(), until);
        }
        out.tell(What::PeerDrained(peer.clone(), (**drain).clone()));
        Arc::make_mut(&mut self.facts.overrides).peers.insert(peer, Arc::clone(drain));
    }

    pub(super) fn fold_peer_undrain(&mut self, peer: &PeerName, order: Order, out: &mut Outbox) -> Touched {
        self.note_peer_drain(peer);
        if self.facts.overrides.peers.contains_key(peer) {
            self.lift_peer_drain(peer, Some(order), out);
        }
        Touched::Nothing
    }

    fn lift_peer_drain(&mut self, peer: &PeerName, order: Option<Order>, out: &mut Outbox) {
        Arc::make_mut(&mut self.facts.overrides).peers.remove(peer);
        self.facts.peers_leaving.remove(peer);
        out.tell(What::PeerUndrained(peer.clone(), order));
    }

    /// Lifts drains of peers that have ended at `now`.
    pub(super) fn end_peer_drains(&mut self, now: Instant, out: &mut Outbox) {
        let peers = self.facts.overrides.peers.iter();
        let ended: Vec<_> = peers.filter(|(_, one)| one.is_over(now)).map(|(peer, _)| peer.clone()).collect();
        for peer in ended {
            self.lift_peer_drain(&peer, None, out);
        }
    }

    /// Moves the drains of renamed peers with their sessions.
    pub(super) fn rename_drained(&mut self, renamed: &BTreeMap<PeerName, PeerName>) {
        if self.facts.overrides.peers.is_empty() {
            return;
        }
        let peers = &mut Arc::make_mut(&mut self.facts.overrides).peers;
        let moved: Vec<_> =
            renamed.iter().filter_map(|(from, to)| Some((to.clone(), peers.remove(from)?))).collect();
        peers.extend(moved);
        let leaving = &mut self.facts.peers_leaving;
        let moved: Vec<_> =
            renamed.iter().filter_map(|(from, to)| Some((to.clone(), leaving.remove(from)?))).collect();
        leaving.extend(moved);
    }

    /// Records, after a reload, the drains that wait for their peer and those that have found it; drops surplus ones.
    pub(super) fn follow_peer_drains(&mut self, before: &Config, out: &mut Outbox) {
        let drains = &self.facts.overrides.peers;
        for peer in drains.keys() {
            let (was, is) = (before.peers.contains_key(peer), self.config.peers.contains_key(peer));
            if was != is {
                out.tell(What::PeerDrainWaits { peer: peer.clone(), waits: !is });
            }
        }
        let waiting = drains.iter().filter(|(peer, _)| !self.config.peers.contains_key(*peer));
        let mut waiting: Vec<_> = waiting.map(|(peer, drain)| (drain.since, peer.clone())).collect();
        waiting.sort();
        waiting.truncate(waiting.len().saturating_sub(WAITING));
        for (_, peer) in waiting {
            self.lift_peer_drain(&peer, None, out);
        }
    }

    /// The exports of the drained peers.
    pub(super) fn exports_at(&self, now: Instant) -> BTreeMap<PeerName, Export> {
        let leaves = |peer: &PeerName| self.facts.peers_leaving.get(peer).is_some_and(|until| *until > now);
        let export = |peer: &PeerName| if leaves(peer) { Export::Leaving } else { Export::Nothing };
        self.facts.overrides.peers.keys().map(|peer| (peer.clone(), export(peer))).collect()
    }

    /// Gives the peers their exports, if they have changed.
    pub(super) fn set_exports(&mut self, now: Instant, out: &mut Outbox) {
        if self.facts.overrides.peers.is_empty() && self.exports.is_empty() {
            return;
        }
        self.facts.peers_leaving.retain(|_, until| *until > now);
        let exports = self.exports_at(now);
        if self.exports != exports {
            self.exports.clone_from(&exports);
            out.push(Effect::Export(exports));
        }
    }

    /// The next withdrawal from a drained peer.
    pub(super) fn peer_leaving_deadline(&self) -> Option<Instant> {
        self.facts.peers_leaving.values().min().copied()
    }
}
