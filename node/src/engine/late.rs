//! Merges a state directory that answers after the start, or is mounted then, with the commands since the start.
//!
//! ```text
//!  start ─► Meanwhile: keeps what operators lift, replace and promote ─► Event::Late ─► merged
//! ```
//!
//! **Commands since the start win**: an override that was lifted stays lifted, even if the daemon did not know of it. Of
//! two drains the later end counts, as always; a service that has a force keeps it.
//!
//! **Held-back VIPs** are held back from then on. A VIP with `preempt` that has taken over since the start gives its
//! traffic back, because no operator promoted it.

use std::collections::BTreeSet;
use std::sync::Arc;

use vipcast_bgp::Instant;

use super::forces::Forces;
use super::overrides::{Overrides, Scope, Scoped};
use super::{Engine, Left, Touched};
use crate::frozen::engine as frozen;
use crate::names::{PeerName, ServiceName};
use crate::outbox::Outbox;
use crate::record::What;

/// Commands of operators since the state directory was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Meanwhile {
    /// Whether the directory was never read.
    is_unread: bool,
    drains: Since,
    /// A force counts as lifting what was there.
    forces: Since,
    /// Peers whose drain was lifted or replaced.
    peers: BTreeSet<PeerName>,
    promoted: BTreeSet<ServiceName>,
}

/// Commands about overrides of one kind.
#[derive(Debug, Clone, Default)]
struct Since {
    /// Services whose overrides were lifted.
    lifted: BTreeSet<ServiceName>,
    all_lifted: bool,
    /// Overrides that were replaced.
    replaced: BTreeSet<ServiceName>,
    all_replaced: bool,
}

impl Since {
    fn freeze(&self) -> frozen::Since {
        let Self { lifted, all_lifted, replaced, all_replaced } = self;
        frozen::Since {
            lifted: lifted.clone(),
            all_lifted: *all_lifted,
            replaced: replaced.clone(),
            all_replaced: *all_replaced,
        }
    }

    fn thaw(frozen: &frozen::Since) -> Self {
        let frozen::Since { lifted, all_lifted, replaced, all_replaced } = frozen;
        Self {
            lifted: lifted.clone(),
            all_lifted: *all_lifted,
            replaced: replaced.clone(),
            all_replaced: *all_replaced,
        }
    }

    fn note_lifted(&mut self, scope: &Scope) {
        match scope {
            Scope::Everything => self.all_lifted = true,
            Scope::Service(service) => self.lifted.extend([service.clone()]),
        }
    }

    fn note_replaced(&mut self, scope: &Scope) {
        match scope {
            Scope::Everything => self.all_replaced = true,
            Scope::Service(service) => self.replaced.extend([service.clone()]),
        }
    }

    fn applied_to(&self, mut late: Scoped) -> Scoped {
        if self.all_lifted {
            return Scoped::default();
        }
        if self.all_replaced {
            late.everything = None;
        }
        late.services.retain(|service, _| !self.replaced.contains(service));
        for service in &self.lifted {
            late.lift(&Scope::Service(service.clone()));
        }
        late
    }
}

impl Meanwhile {
    pub(super) fn new(is_unread: bool) -> Self {
        Self { is_unread, ..Self::default() }
    }

    pub(super) fn freeze(&self) -> frozen::Meanwhile {
        let Self { is_unread, drains, forces, peers, promoted } = self;
        frozen::Meanwhile {
            is_unread: *is_unread,
            drains: drains.freeze(),
            forces: forces.freeze(),
            peers: peers.clone(),
            promoted: promoted.clone(),
        }
    }

    pub(super) fn thaw(frozen: &frozen::Meanwhile) -> Self {
        let frozen::Meanwhile { is_unread, drains, forces, peers, promoted } = frozen;
        Self {
            is_unread: *is_unread,
            drains: Since::thaw(drains),
            forces: Since::thaw(forces),
            peers: peers.clone(),
            promoted: promoted.clone(),
        }
    }

    fn applied_to(&self, late: Overrides) -> Overrides {
        let Overrides { drains, forces: Forces { up, down }, mut peers, promotions } = late;
        peers.retain(|peer, _| !self.peers.contains(peer));
        Overrides {
            drains: self.drains.applied_to(drains),
            forces: Forces { up: self.forces.applied_to(up), down: self.forces.applied_to(down) },
            peers,
            promotions,
        }
    }
}

impl Engine {
    /// Whether the state directory has not been read yet: unknown overrides and held-back VIPs may follow.
    pub fn is_unread(&self) -> bool {
        self.meanwhile.is_unread
    }

    /// Notes that drains were lifted, known or not.
    pub(super) fn note_lifted(&mut self, scope: &Scope) {
        self.meanwhile.drains.note_lifted(scope);
    }

    /// Notes that a drain replaces any other.
    pub(super) fn note_replaced(&mut self, scope: &Scope) {
        self.meanwhile.drains.note_replaced(scope);
    }

    /// Notes that forces were lifted or replaced, known or not.
    pub(super) fn note_cleared(&mut self, scope: &Scope) {
        self.meanwhile.forces.note_lifted(scope);
    }

    /// Notes that the drain of a peer was lifted or replaced, known or not.
    pub(super) fn note_peer_drain(&mut self, peer: &PeerName) {
        self.meanwhile.peers.insert(peer.clone());
    }

    /// Notes that an operator promoted a service.
    pub(super) fn note_promoted(&mut self, service: &ServiceName) {
        self.meanwhile.promoted.insert(service.clone());
    }

    pub(super) fn fold_late(&mut self, left: Left, now: Instant, out: &mut Outbox) -> Touched {
        let meanwhile = std::mem::take(&mut self.meanwhile);
        let Left { overrides, held, announced, unread: _, forgotten: _ } = left;
        let Overrides { drains, forces, peers, promotions } = meanwhile.applied_to(overrides);
        let ours = Arc::make_mut(&mut self.facts.overrides);
        for (service, promotion) in promotions {
            ours.promotions.entry(service).or_insert(promotion);
        }
        for (scope, to, with) in ours.forces.merge(forces) {
            out.tell(What::Forced { scope, to, with: (*with).clone() });
        }
        // A shutdown withdraws everything anyway.
        if self.facts.shutdown.is_none() {
            self.hold_back(&held, announced.is_some(), &meanwhile.promoted);
        }
        self.merge_drains(drains, now, out);
        for (peer, drain) in peers {
            self.add_peer_drain(peer, &drain, false, now, out);
        }
        Touched::All
    }

    fn merge_drains(&mut self, late: Scoped, now: Instant, out: &mut Outbox) {
        if late.is_empty() {
            return;
        }
        let drains = &mut Arc::make_mut(&mut self.facts.overrides).drains;
        let mut added = Vec::new();
        if let Some(everything) = late.everything {
            let drain = Arc::clone(&everything.common);
            match &mut drains.everything {
                Some(ours) if !drain.outlasts(&ours.common) => {}
                // The excepted services of our newer drain count.
                Some(ours) => {
                    ours.common = Arc::clone(&drain);
                    added.push((Scope::Everything, drain));
                }
                none @ None => {
                    *none = Some(everything);
                    added.push((Scope::Everything, drain));
                }
            }
        }
        for (service, drain) in late.services {
            let scope = Scope::Service(service);
            if drains.add(&scope, &drain, false) {
                added.push((scope, drain));
            }
        }
        for (scope, drain) in added {
            out.tell(What::Drained(scope, (*drain).clone()));
        }
        let overrides = Arc::clone(&self.facts.overrides);
        self.leave(
            |service| overrides.drains.of(service.as_str()).next().is_some(),
            now + self.config.shutdown.drain_time,
        );
    }
}
